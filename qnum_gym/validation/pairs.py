"""Laws of pairs: swaps and storage against density matrices, attempts against photon numbers. [ours]"""

from __future__ import annotations

from collections.abc import Iterator
from math import exp
from typing import Any

from qnum_gym.physics import werner
from qnum_gym.physics.links import DETECTORS, LINK_MODELS, Hardware
from qnum_gym.rules import HOLDS
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator
from qnum_gym.validation import photons
from qnum_gym.validation.density import Matrix, depolarise, swap_circuit, werner_of, werner_state
from qnum_gym.validation.law import Finding, estimated, law
from qnum_gym.validation.running import line, stretches

DENSITY = "density matrices: depolarising channels, Bell measurement, Pauli correction"
PHOTONS = "enumeration of photon numbers: fibre as Kraus operators, beam splitter, detectors"
LIGHT = 2e5  # km/s


def _stored(rho: Matrix, keeps: tuple[float, float]) -> Matrix:
    return depolarise(depolarise(rho, 0, keeps[0]), 1, keeps[1])


def _swapped(left: Matrix, right: Matrix) -> Matrix:
    return sum((chance * rho for chance, rho in swap_circuit(left, right)), 0 * left)


@law("swap", "a swap multiplies Werner parameters, (4)", DENSITY)
def swap(effort: float) -> Iterator[Finding]:
    """Of two pairs, one of them stored before."""
    for a, b in ((0.93, 0.88), (0.4, 1.0), (0.99, 0.5)):
        rho = _swapped(_stored(werner_state(a), (exp(-0.3 * 0.2), exp(-1.7 * 0.2))), werner_state(b))
        measured = float(werner.swap(werner.decay(a, 0.2, 2.0), b))
        yield Finding(f"W₁ = {a}, stored 0.2 s, W₂ = {b}", werner_of(rho), measured)


@law("storage", "each half decays while its node stores it, (5) and §4.4", DENSITY)
def storage(effort: float) -> Iterator[Finding]:
    """Three links that never fail, so that all times are known: the simulator's W, for each `hold`."""
    lengths, coherence, wait = (20.0, 60.0, 100.0), (0.2, 0.3, 0.5, 0.7), 1e-3
    tau = [length / LIGHT + 2e-3 for length in lengths]
    stay = [tau[0] + wait, tau[1] + wait, tau[2]]  # of the moving half, at nodes 1, 2, 3
    for hold in HOLDS:
        scenario = Scenario(
            links=[{"a": i, "b": i + 1, "length_km": km, "capacity": 2000.0} for i, km in enumerate(lengths)],
            sessions=[{"source": 0, "destination": 3, "pacing": "even", "window": 1}],
            nodes=[{"name": node, "coherence_time": time} for node, time in enumerate(coherence)],
            processing_delay=2e-3,
            feedback_delay=0.1,
            hold=hold,
        )
        simulator = Simulator(scenario)
        simulator.set_controls(rates=[5.0], werner=[0.5] * 3)
        gamma = [1.0 / time for time in coherence]
        if hold == "measure":
            gamma[0] = gamma[3] = 0.0
        rho = werner_state(0.5)
        for node, time in enumerate(stay, 1):
            rho = _stored(rho, (exp(-gamma[0] * time), exp(-gamma[node] * time)))
            if node < 3:
                rho = _swapped(rho, werner_state(0.5))
        if hold == "ack":
            back = sum(tau) + 0.1
            rho = _stored(rho, (exp(-gamma[0] * back), exp(-gamma[3] * back)))
        measured = simulator.advance(10.0).sessions.mean_werner[0]
        yield Finding(f"hold: {hold}", werner_of(rho), float(measured), tolerance=1e-9)


@law("photons", "an attempt makes a pair of F with probability p, §2.1", PHOTONS)
def attempts(effort: float) -> Iterator[Finding]:
    """The link models' p at the F enumerated, and the share of attempts that succeed in the simulator."""
    alpha, eta = 0.05, 0.1
    cases = (("resolving", 0.0), ("threshold", 0.0), ("resolving", 1e-4), ("threshold", 1e-4))
    for seed, (detectors, delta) in enumerate(cases):
        p, f = photons.enumerated(alpha, eta, detectors, delta)
        w, case = float(werner.werner(f)), f"single click, {detectors}, δ = {delta:g}"
        hardware = Hardware(1.5 * eta, delta, DETECTORS[detectors])
        yield Finding(f"{case}: p", p, LINK_MODELS["single_click_exact"].success(w, hardware), tolerance=1e-8)
        yield _simulated(
            effort, seed, f"{case}: attempts", p, w,
            link_model="single_click_exact", coupling=eta, detectors=detectors, dark_count=delta,
        )  # fmt: skip
    p, _ = photons.double_click(eta)
    yield Finding("double click: p", p, LINK_MODELS["double_click"].success(0.95, Hardware(1.5 * eta)))
    yield _simulated(effort, 4, "double click: attempts", p, 0.95, link_model="double_click", coupling=eta)
    modes = dict[str, Any](link_model="double_click", coupling=eta, modes=20)
    yield _simulated(effort, 5, "double click, 20 modes: attempts", 1 - (1 - p) ** 20, 0.95, **modes)


def _simulated(effort: float, seed: int, case: str, p: float, w: float, **physics: Any) -> Finding:
    """A link with always enough to do: pairs per attempt."""
    scenario = Scenario(
        links=[{"a": 0, "b": 1, "length_km": 0.0}],
        sessions=[{"source": 0, "destination": 1, "window": 3}],
        initial_werner=w,
        **physics,
    )
    runs = stretches(scenario, [1000.0], [w], seconds=effort * 1000.0 / p, warm_up=1.0, seed=seed)
    return estimated(case, p, [t.links.generated[0] / t.links.attempts[0] for t in runs])


@law("failing swaps", "n − 1 swaps succeed with q each", "q^(n − 1)")
def failing_swaps(effort: float) -> Iterator[Finding]:
    """Share of the q-datagrams that are delivered, of those delivered or lost."""
    for swapping in ("sequential", "parallel"):
        scenario = line(1000.0, 1000.0, 1000.0, swap_success=0.9, swapping=swapping)
        runs = stretches(scenario, [20.0], [0.9] * 3, seconds=effort * 40_000.0, warm_up=10.0)
        shares = [t.sessions.delivered[0] / (t.sessions.delivered[0] + t.truth.dropped[0]) for t in runs]
        yield estimated(swapping, 0.9**2, shares)

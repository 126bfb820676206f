"""The simulator against closed forms, queueing theory and the formula of model.md §7."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import ArrayLike

import qnum_gym
from qnum_gym.physics import werner
from qnum_gym.scenarios import NodeEvent, Scenario, Session
from qnum_gym.simulator import Batch, Simulator, Telemetry

from .networks import line, random_network


def simulate(scenario: Scenario, rates: ArrayLike, werner: ArrayLike, seconds: float, seed: int = 0) -> Telemetry:
    simulator = Simulator(scenario, seed)
    simulator.set_controls(rates=rates, werner=werner)
    return simulator.advance(seconds)


def batches(
    scenario: Scenario, rates: ArrayLike, werner: ArrayLike, seconds: float, warm_up: float, count: int = 20
) -> list[Telemetry]:
    """`count` stretches of one run after a warm-up: their spread is the standard error of their mean."""
    simulator = Simulator(scenario, 1)
    simulator.set_controls(rates=rates, werner=werner)
    simulator.advance(warm_up)
    return [simulator.advance(seconds / count) for _ in range(count)]


def assert_near(samples: list[float] | np.ndarray, expected: float, errors: float = 4.0) -> None:
    samples = np.asarray(samples)
    error = samples.std(ddof=1) / math.sqrt(len(samples))
    assert abs(samples.mean() - expected) < errors * error, f"{samples.mean()} ± {error}, expected {expected}"


# ---- one q-datagram at a time: sequential forwarding (model.md §10) -------------------------------------------------


def test_lone_datagram_over_four_links() -> None:
    """E[W] = Π w (p x / (1 − (1 − p) x))^(n − 1) = 0.610268 and E[attempts] = n/p = 40 for n = 4, p = 0.1, x = 0.99."""
    p, x, w = 0.1, 0.99, 0.95
    coherence_time = -2 * 1e-3 / math.log(x)  # both halves decay for one attempt of 1 ms
    s = line(*[p / 1e-3 / (1 - w)] * 4, window=1, coherence_time=coherence_time)
    runs = batches(s, [1000.0], [w] * 4, seconds=8000.0, warm_up=1.0)
    expected = w**4 * (p * x / (1 - (1 - p) * x)) ** 3
    assert expected == pytest.approx(0.610268, abs=1e-6)
    assert_near([t.sessions.mean_werner[0] for t in runs], expected)
    assert_near([t.links.attempts.sum() / t.sessions.delivered[0] for t in runs], 40.0)


def test_header_latency_costs_time_and_coherence() -> None:
    """Certain links (p = 1): every step is known exactly, down to the nanosecond."""
    s = Scenario(
        links=[{"a": i, "b": i + 1, "length_km": km, "capacity": 2000.0} for i, km in enumerate((20.0, 60.0, 100.0))],
        sessions=[{"source": 0, "destination": 3, "pacing": "even", "window": 1}],
        nodes=[{"name": v, "coherence_time": c} for v, c in enumerate((0.2, 0.3, 0.5, 0.7))],
        processing_delay=2e-3,
        feedback_delay=0.1,
        gate_factor=0.99,
    )
    t = simulate(s, [5.0], [0.5, 0.5, 0.5], 10.0)
    tau = [20 / 2e5 + 2e-3, 60 / 2e5 + 2e-3, 100 / 2e5 + 2e-3]
    stay = [tau[0] + 1e-3, tau[1] + 1e-3, tau[2]]  # at nodes 1, 2, 3
    decay = sum(time * (1 / 0.2 + gamma) for time, gamma in zip(stay, (1 / 0.3, 1 / 0.5, 1 / 0.7), strict=True))
    assert t.sessions.mean_werner[0] == pytest.approx(0.5**3 * 0.99**2 * math.exp(-decay), rel=1e-9)
    assert t.sessions.mean_decay[0] == pytest.approx(decay, rel=1e-9)
    assert t.sessions.mean_log_werner[0] == pytest.approx(3 * math.log(0.5) + 2 * math.log(0.99), rel=1e-12)
    assert t.sessions.mean_latency[0] == pytest.approx(3e-3 + sum(tau), rel=1e-9)
    assert t.sessions.mean_rtt[0] == pytest.approx(2e-3 + 2 * sum(tau) + 0.1, rel=1e-9)


def test_a_first_link_costs_latency_but_no_fidelity() -> None:
    s = line(100.0, coherence_time=0.01)
    t = simulate(s, [9.0], [0.9], 1000.0)
    assert t.sessions.mean_latency[0] > 0.3
    assert t.sessions.mean_werner[0] == pytest.approx(0.9, rel=1e-12)


@pytest.mark.parametrize(
    ("events", "exponent"),
    [
        ([], 2.0 + 1.5 + 0.5),
        ([NodeEvent(time=2.25, node=1, coherence_time=0.5)], 2.0 + (0.25 + 2 * 1.25) + 0.5),
        ([NodeEvent(time=3.0, node=0, coherence_time=0.5)], (1.0 + 2 * 1.0) + 1.5 + 0.5),
        ([NodeEvent(time=3.75, node=2, coherence_time=0.5)], 2.0 + 1.5 + (0.25 + 2 * 0.25)),
    ],
)
def test_coherence_time_that_changes_under_way(events: list[NodeEvent], exponent: float) -> None:
    """∫γ dt decides. Certain attempts of 1 s, headers of 0.5 s: the first pair comes at 2 s, the second at 3.5 s, the
    header at the destination at 4 s; before that the halves lie at the source, at node 1, and then at node 2."""
    links = [{"a": i, "b": i + 1, "length_km": 100_000.0, "capacity": 2.0} for i in range(2)]
    session = Session(source=0, destination=2, pacing="even", window=1)
    s = Scenario(links=links, sessions=[session], cycle_time=1.0, coherence_time=1.0, events=events)
    t = simulate(s, [1.0], [0.5, 0.5], 5.5)
    assert t.sessions.delivered[0] == 1
    assert t.sessions.mean_werner[0] == pytest.approx(0.25 * math.exp(-exponent), rel=1e-12)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_swap_success(q: float) -> None:
    s = line(1000.0, 1000.0, 1000.0, swap_success=q)
    t = simulate(s, [20.0], [0.9] * 3, 5000.0)
    n = t.sessions.delivered[0] + t.truth.drops[0, t.truth.reasons.index("swap_failed")]
    share = t.sessions.delivered[0] / n
    assert abs(share - q**2) < 4 * math.sqrt(q**2 * (1 - q**2) / n)


def test_cutoff_bounds_the_age_of_the_first_pair() -> None:
    cutoff = 0.3
    s = line(1000.0, 100.0, cutoff=cutoff, coherence_time=1.0)
    t = simulate(s, [9.5], [0.9, 0.9], 2000.0)
    assert t.truth.drops[0, t.truth.reasons.index("cutoff")] > 0
    # served at the latest at the cut-off, then geometric with mean 0.1 s: the mean decay stays below their sum
    assert t.sessions.mean_decay[0] < 2 * (cutoff + 0.1)


# ---- queueing theory ------------------------------------------------------------------------------------------------


def test_mm1() -> None:
    """p = 1e-3, load 0.8: 4 in the system on average."""
    runs = batches(line(10.0, window=10**6), [0.8], [0.9], seconds=4e6, warm_up=1e4)
    assert_near([t.links.mean_queue[0] for t in runs], 4.0)
    assert_near([t.links.utilisation[0] for t in runs], 0.8)


def test_mgeo1() -> None:
    """p = 0.1, attempts of 1 ms, load 0.8: 38 ms of waiting before 10 ms of service."""
    runs = batches(line(1000.0, window=10**6), [80.0], [0.9], seconds=2e4, warm_up=100.0)
    assert_near([t.links.mean_sojourn[0] - 0.010 for t in runs], 0.038)


def test_mm1k() -> None:
    """Five in the system, load 0.8: 8.88 % are lost."""
    runs = batches(
        line(10_000.0, 10.0, memory=5, window=10**6, werner_range=(0.9, 0.999)),
        [0.8],
        [0.9, 0.9],
        seconds=1e6,
        warm_up=1e3,
    )
    rho, k = 0.8, 5
    loss = (1 - rho) * rho**k / (1 - rho ** (k + 1))
    assert loss == pytest.approx(0.0888, abs=1e-4)
    assert_near([t.links.dropped[1] / t.links.arrivals[1] for t in runs], loss)


def test_window_closes_the_loop() -> None:
    """One link and a window of k is M/M/1/k whose source pauses: throughput λ (1 − P_k)."""
    rho, k = 0.8, 5
    blocked = (1 - rho) * rho**k / (1 - rho ** (k + 1))
    runs = batches(line(10.0, window=k), [0.8], [0.9], seconds=1e6, warm_up=1e3)
    assert_near([t.sessions.delivered[0] / t.seconds for t in runs], 0.8 * (1 - blocked))


@pytest.mark.parametrize("discipline", ["fifo", "lifo", "fair"])
def test_little_on_every_queue(discipline: str) -> None:
    """Time average of the number = rate of those who leave × their mean sojourn."""
    s = random_network(4, 9, 5, discipline=discipline, memory=20)
    rng = np.random.default_rng(0)
    t = simulate(s, rng.uniform(3, 9, 5), rng.uniform(0.93, 0.96, len(s.links)), 20_000.0)
    used = t.links.generated > 0
    number = t.links.departures * t.links.mean_sojourn / t.seconds
    np.testing.assert_allclose(t.links.mean_queue[used], number[used], rtol=2e-3)
    assert used.sum() > 3


def test_fair_shares_an_overloaded_link_equally() -> None:
    s = line(100.0, 100.0, sessions=2, discipline="fair", memory=10_000, window=10_000)
    t = simulate(s, [4.0, 50.0], [0.5, 0.9], 200.0)  # the memory does not overflow before
    delivered = t.sessions.delivered / t.seconds
    assert delivered[0] == pytest.approx(4.0, rel=0.1)
    assert delivered[1] == pytest.approx(6.0, rel=0.1)


def test_even_pacing_and_poisson_pacing() -> None:
    for pacing, dispersion in (("even", 0.0), ("poisson", 1.0)):
        simulator = Simulator(line(1000.0, pacing=pacing), 0)
        simulator.set_controls(rates=[20.0], werner=[0.9])
        counts = np.array([simulator.advance(1.0).sessions.injected[0] for _ in range(2000)])
        assert counts[1:].mean() == pytest.approx(20.0, rel=0.02)
        assert counts[1:].var() / counts[1:].mean() == pytest.approx(dispersion, abs=0.15)


def test_changing_controls_does_not_bias_the_draws() -> None:
    """Controls that jump between two values every few ms: rates of pairs and injections are the time averages."""
    n = 20  # networks at once
    batch = Batch([Simulator(line(500.0, window=10**6), seed) for seed in range(n)], threads=1)
    rng = np.random.default_rng(1)
    expected = made = injected = asked = 0.0
    for _ in range(3000):
        high, seconds = rng.random(n) < 0.5, rng.uniform(1e-4, 0.02, n)
        rate, w = np.where(high, 100.0, 60.0), np.where(high, 0.9, 0.8)
        batch.set_controls(rates=rate[:, np.newaxis], werner=w[:, np.newaxis])
        batch.advance(seconds)
        t = batch.telemetry()
        asked += rate @ seconds
        injected += t.sessions.injected.sum()
        made += t.links.generated.sum()
        expected += t.links.attempts @ (500.0 * 1e-3 * (1 - w))
    assert abs(injected - asked) < 4 * math.sqrt(asked)
    assert abs(made - expected) < 4 * math.sqrt(expected)


# ---- the whole: formula of §7 ---------------------------------------------------------------------------------------


def loaded(seed: int, load: float, **physics: object) -> tuple[Scenario, np.ndarray, np.ndarray]:
    """A random network, and controls that load its busiest link to `load`."""
    s = random_network(seed, 8, 4, coherence_time=100.0, memory=10**6, window=10**6, **physics)
    a = s.arrays()
    w = np.random.default_rng(seed).uniform(0.9, 0.95, len(s.links))
    sessions = np.bincount(a.hop_link, minlength=len(s.links))
    rate = load * np.min((a.capacity * (1 - w))[sessions > 0] / sessions[sessions > 0])
    return s, np.full(4, rate), w


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_formula_at_small_p(seed: int, load: float) -> None:
    """p ≤ 1e-3: the mean Werner parameter within 3 standard errors of the product formula, for every session."""
    s, rates, w = loaded(seed, load, coupling=0.005)
    expected = qnum_gym.optimum.Problem.from_scenario(s).expected_werner(rates, w)
    assert (s.arrays().capacity * 1e-3 * (1 - w)).max() <= 1e-3
    runs = batches(s, rates, w, seconds=4e6, warm_up=2e4)
    samples = np.array([t.sessions.mean_werner for t in runs])
    error = samples.std(axis=0, ddof=1) / math.sqrt(len(samples))
    assert (np.abs(samples.mean(axis=0) - expected) < 3 * np.maximum(error, 2e-5)).all()


@pytest.mark.parametrize("load", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_formula_at_default_p(seed: int, load: float) -> None:
    s, rates, w = loaded(seed, load)
    expected = qnum_gym.optimum.Problem.from_scenario(s).expected_werner(rates, w)
    t = simulate(s, rates, w, 20_000.0)
    np.testing.assert_allclose(t.sessions.mean_werner, expected, atol=5e-3)


@pytest.mark.parametrize(("measure", "simulated"), [("secret_key", 0.8674), ("negativity", 0.6259)])
def test_default_dumbbell_at_its_optimum(measure: str, simulated: float) -> None:
    """The check value of model.md §10, to 1e-3; at 95 % utilisation, for full first links never settle."""
    s = qnum_gym.scenario("dumbbell", measure=measure)
    best = qnum_gym.optimum.solve(s, decoherence=True, max_utilisation=0.95)
    t = simulate(s, best.rates, best.werner, 5000.0)
    assert t.sessions.mean_werner == pytest.approx(np.full(3, simulated), abs=1e-3)


def test_werner_pairs_and_waiting() -> None:
    """model.md §10: four links of F = 0.95 swapped without decay."""
    w = werner.werner(0.95)
    t = simulate(line(*[1000.0] * 4), [1.0], [w] * 4, 100.0)
    assert werner.fidelity(t.sessions.mean_werner[0]) == pytest.approx(0.819126, abs=1e-6)

"""Laws of whole networks: the formula of model.md §7, and that nothing is lost from the accounts. [ours]"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.topologies import scenario as named
from qnum_gym.simulator import Simulator
from qnum_gym.simulator.state import FATES, REASONS
from qnum_gym.validation.law import Finding, estimated, law
from qnum_gym.validation.running import loaded, stretches

Floats = NDArray[np.float64]


def expected_werner(scenario: Scenario, rates: Floats, werner: Floats) -> Floats:
    """[R] E[W] by (19), written down once more; for `hold: header`, no gate errors, one coherence time."""
    a = scenario.arrays()
    decay = 2.0 / scenario.coherence_time
    slack = a.capacity * (1.0 - werner) - np.bincount(a.hop_link, rates[a.hop_session], len(a.capacity))
    kept: list[float] = []
    for route in scenario.routes:
        links = np.array(route)
        waits = slack[links[1:]] / (slack[links[1:]] + decay)
        kept.append(float(np.prod(werner[links] * np.exp(-decay * a.latency[links])) * np.prod(waits)))
    return np.array(kept)


@law("rate and fidelity", "E[W] = Π w exp(−Γ τ) Π s/(s + Γ), (19)", "Jackson 1957; p = 1e-3 or less")
def formula(effort: float) -> Iterator[Finding]:
    """W of the sessions, worst first, of networks with little light."""
    for name in ("dumbbell", "nsfnet"):
        for load in (0.3, 0.6, 0.9):
            scenario, rates, w = loaded(name, load, coupling=0.01, coherence_time=50.0)
            runs = stretches(scenario, rates, w, seconds=effort * 2e4 / float(rates[0]) / (1 - load), warm_up=2e3)
            expected = expected_werner(scenario, rates, w)
            samples = np.array([t.sessions.mean_werner for t in runs]).mean(axis=1)
            yield estimated(f"{name}, ρ = {load}: mean W", float(expected.mean()), samples, 3e-5)


@law("conservation", "injected = delivered + in flight + dropped", "counting")
def conservation(effort: float) -> Iterator[Finding]:
    """What the telemetry leaves unaccounted for, where everything gets lost; and what the records say otherwise."""
    for swapping in ("sequential", "parallel"):
        for discipline in ("fifo", "lifo", "fair"):
            options = {"swap_success": 0.8, "message_loss": 0.1, "memory": 3, "cutoff": 0.2, "discipline": discipline}
            scenario = named("dumbbell", swapping=swapping, drop_policy="push_out", feedback_delay=0.3, **options)
            simulator = Simulator(scenario, 1, recording=True)
            simulator.set_controls(rates=[30.0] * 3)
            seen = [simulator.advance(effort * 100.0) for _ in range(10)]
            injected = sum(int(t.sessions.injected.sum()) for t in seen)
            delivered = sum(int(t.sessions.delivered.sum()) for t in seen)
            drops = sum((t.truth.drops.sum(axis=0) for t in seen), np.zeros(len(REASONS), np.int64))
            in_flight = int(seen[-1].truth.in_flight.sum())
            case = f"{swapping}, {discipline}"
            yield Finding(f"{case}: accounts", injected, delivered + int(drops.sum()) + in_flight)
            records = simulator.take_records(unfinished=True)
            counted = np.bincount(records["fate"], minlength=len(FATES))
            told = np.array([in_flight, delivered, *drops])
            yield Finding(f"{case}: records", 0.0, float(np.abs(counted - told).sum()))

"""Parallel swapping against closed forms: lone q-datagrams, known times, and fork-join queues."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qnum_gym import optimum
from qnum_gym.scenarios import NodeEvent, Scenario
from qnum_gym.scenarios.topologies import scenario
from qnum_gym.simulator import Batch, Simulator

from .networks import line
from .test_physics import assert_near, batches, simulate

CYCLE = 1e-3  # s
NODES = [{"name": v, "coherence_time": c} for v, c in enumerate((0.2, 0.3, 0.5, 0.7))]


def lone(chances: list[float], werner: float = 0.95, **physics: Any) -> Scenario:
    """A line whose attempts succeed with `chances`, without latency, for one q-datagram at a time."""
    capacities = [p / CYCLE / (1 - werner) for p in chances]
    return line(*capacities, window=1, swapping="parallel", werner_range=(0.85, 0.999), **physics)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_all_pairs_are_there_after_the_maximum_of_n_geometrics(n: int) -> None:
    """T E[max] = T Σ_k 1 − (1 − (1 − p)^k)^n (Bernardes et al., arXiv:1010.0106), and each link makes 1/p attempts."""
    p = 0.1
    expected = CYCLE * sum(1 - (1 - (1 - p) ** k) ** n for k in range(2000))
    inclusion_exclusion = sum((-1) ** (j + 1) * math.comb(n, j) / (1 - (1 - p) ** j) for j in range(1, n + 1))
    assert expected == pytest.approx(CYCLE * inclusion_exclusion, rel=1e-12)
    runs = batches(lone([p] * n), [1000.0], [0.95] * n, seconds=2000.0, warm_up=1.0)
    assert_near([t.sessions.mean_latency[0] for t in runs], expected)
    assert_near([t.links.attempts.sum() / t.sessions.delivered[0] for t in runs], n / p)


@pytest.mark.parametrize("chances", [(0.1, 0.1), (0.05, 0.3)])
def test_two_segments_one_waiting_for_the_other(chances: tuple[float, float]) -> None:
    """E[x^|A − B|] of two geometrics A, B (after Collins et al., PRL 98, 060502; Kamin et al., arXiv:2203.10318).

    Summed from P(B − A = d) = p r (1 − r)^d / (1 − (1 − p)(1 − r)), as the pair made first decays at both of its own
    nodes; for equal links and memories it is p/(2 − p) · (1 + (1 − p) x)/(1 − (1 − p) x)."""
    (p, r), w = chances, 0.95
    gammas = (1 / 0.2, 1 / 0.05, 1 / 0.1)
    x, y = (math.exp(-CYCLE * (gammas[1] + gammas[v])) for v in (0, 2))
    later = 1 + x * (1 - r) / (1 - x * (1 - r)) + y * (1 - p) / (1 - y * (1 - p))
    expected = w**2 * p * r / (1 - (1 - p) * (1 - r)) * later
    nodes = [{"name": v, "coherence_time": 1 / gamma} for v, gamma in enumerate(gammas)]
    runs = batches(lone([p, r], nodes=nodes), [1000.0], [w] * 2, seconds=4000.0, warm_up=1.0)
    assert_near([t.sessions.mean_werner[0] for t in runs], expected)
    if p == r:
        same = lone([p, p], coherence_time=0.1)
        z = math.exp(-2 * CYCLE / 0.1)
        closed = w**2 * p / (2 - p) * (1 + (1 - p) * z) / (1 - (1 - p) * z)
        runs = batches(same, [1000.0], [w] * 2, seconds=4000.0, warm_up=1.0)
        assert_near([t.sessions.mean_werner[0] for t in runs], closed)


def test_three_segments_by_enumeration() -> None:
    """Each half decays where it lies until the pair beside it is there, at the ends until all are."""
    chances, w, gamma = (0.3, 0.2, 0.5), 0.9, np.array([5.0, 20.0, 40.0, 10.0])
    k = np.arange(1, 121)
    a, b, c = np.meshgrid(k, k, k, indexing="ij", sparse=True)
    chance = np.ones((1, 1, 1))
    for p, times in zip(chances, (a, b, c), strict=True):
        chance = chance * (p * (1 - p) ** (times - 1))
    end = np.maximum(np.maximum(a, b), c)
    stored = gamma[0] * (end - a) + gamma[1] * np.abs(a - b) + gamma[2] * np.abs(b - c) + gamma[3] * (end - c)
    expected = 0.98**2 * w**3 * float((chance * np.exp(-CYCLE * stored)).sum())
    nodes = [{"name": v, "coherence_time": 1 / rate} for v, rate in enumerate(gamma)]
    s = lone(list(chances), werner=w, nodes=nodes, gate_factor=0.98)
    runs = batches(s, [1000.0], [w] * 3, seconds=2000.0, warm_up=1.0)
    assert_near([t.sessions.mean_werner[0] for t in runs], expected)


@pytest.mark.parametrize("cycles", [(1e-3, 1e-3, 1e-3), (30e-3, 1e-3, 2e-3), (1e-3, 40e-3, 1e-3), (5e-3, 1e-3, 70e-3)])
def test_certain_links_to_the_nanosecond(cycles: tuple[float, float, float]) -> None:
    """p = 1: the request at light speed, a pair one attempt later, swaps at once, outcomes at light speed."""
    s = Scenario(
        links=[
            {"a": i, "b": i + 1, "length_km": km, "cycle_time": cycle, "capacity": 2 / cycle}
            for i, (km, cycle) in enumerate(zip((20.0, 60.0, 100.0), cycles, strict=True))
        ],
        sessions=[{"source": 0, "destination": 3, "pacing": "even", "window": 1}],
        nodes=NODES,
        processing_delay=2e-3,
        feedback_delay=0.1,
        gate_factor=0.99,
        swapping="parallel",
    )
    t = simulate(s, [3.0], [0.5, 0.5, 0.5], 20.0)
    tau = [20 / 2e5 + 2e-3, 60 / 2e5 + 2e-3, 100 / 2e5 + 2e-3]
    made = [sum(tau[:i]) + cycle for i, cycle in enumerate(cycles)]
    known = [made[0] + sum(tau), *(max(made[v - 1 : v + 1]) + sum(tau[v:]) for v in (1, 2))]
    end = max(known)
    stored = [end - made[0], abs(made[0] - made[1]), abs(made[1] - made[2]), end - made[2]]
    decay = sum(time / node["coherence_time"] for time, node in zip(stored, NODES, strict=True))
    assert t.sessions.mean_latency[0] == pytest.approx(end, rel=1e-9)
    assert t.sessions.mean_rtt[0] == pytest.approx(end - made[0] + sum(tau) + 0.1, rel=1e-9)
    assert t.sessions.mean_decay[0] == pytest.approx(decay, rel=1e-9)
    assert t.sessions.mean_log_werner[0] == pytest.approx(3 * math.log(0.5) + 2 * math.log(0.99), rel=1e-12)
    assert t.sessions.mean_werner[0] == pytest.approx(0.5**3 * 0.99**2 * math.exp(-decay), rel=1e-9)


@pytest.mark.parametrize(
    ("events", "exponent"),
    [
        ([], 4.0 + 3.0 + 1.0),
        ([NodeEvent(time=4.0, node=0, coherence_time=0.5)], (2.0 + 2 * 2.0) + 3.0 + 1.0),
        ([NodeEvent(time=3.0, node=1, coherence_time=0.5)], 4.0 + (1.0 + 2 * 2.0) + 1.0),
        ([NodeEvent(time=4.5, node=1, coherence_time=0.5)], 4.0 + (2.5 + 2 * 0.5) + 1.0),
        ([NodeEvent(time=5.25, node=2, coherence_time=0.5)], 4.0 + 3.0 + (0.25 + 2 * 0.75)),
        ([NodeEvent(time=5.5, node=1, coherence_time=0.5)], 4.0 + 3.0 + 1.0),
        ([NodeEvent(time=5.5, node=0, coherence_time=0.5)], (3.5 + 2 * 0.5) + 3.0 + 1.0),
        ([NodeEvent(time=6.5, node=0, coherence_time=0.5)], 4.0 + 3.0 + 1.0),
    ],
)
def test_coherence_time_that_changes_under_way(events: list[NodeEvent], exponent: float) -> None:
    """∫γ dt decides. Injected at 1 s, the request is at node 1 at 2 s; attempts of 1 and 3 s make the pairs at 2 and
    5 s; the swap's outcome is at the destination at 6 s, the ACK at the source at 8 s. The source holds its half from 2
    to 6 s, node 1 that of the first pair from 2 to 5 s, the destination its own from 5 to 6 s."""
    links = [
        {"a": 0, "b": 1, "length_km": 200_000.0, "capacity": 2.0, "cycle_time": 1.0},
        {"a": 1, "b": 2, "length_km": 200_000.0, "capacity": 2.0 / 3.0, "cycle_time": 3.0},
    ]
    session = {"source": 0, "destination": 2, "pacing": "even", "window": 1}
    s = Scenario(links=links, sessions=[session], coherence_time=1.0, events=events, swapping="parallel")
    t = simulate(s, [1.0], [0.5, 0.5], 8.5)
    assert t.sessions.delivered[0] == 1
    assert t.sessions.mean_werner[0] == pytest.approx(0.25 * math.exp(-exponent), rel=1e-12)


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_swap_success(q: float) -> None:
    """Every node swaps, whatever becomes of the others: all n − 1 have to succeed."""
    s = line(1000.0, 1000.0, 1000.0, swap_success=q, swapping="parallel")
    t = simulate(s, [20.0], [0.9] * 3, 5000.0)
    n = t.sessions.delivered[0] + t.truth.drops[0, t.truth.reasons.index("swap_failed")]
    share = t.sessions.delivered[0] / n
    assert abs(share - q**2) < 4 * math.sqrt(q**2 * (1 - q**2) / n)


def test_cutoff_bounds_how_long_a_half_waits_for_a_service_to_begin() -> None:
    cutoff = 0.3
    s = line(1000.0, 100.0, cutoff=cutoff, coherence_time=1.0, swapping="parallel")
    t = simulate(s, [9.5], [0.9, 0.9], 2000.0)
    assert t.truth.drops[0, t.truth.reasons.index("cutoff")] > 0
    assert t.sessions.mean_decay[0] < 2 * (cutoff + 0.1)
    assert t.sessions.mean_rtt[0] < cutoff + 0.1


def test_two_links_are_a_fork_join_queue() -> None:
    """Mean time until both of two M/M/1 queues with common arrivals are done: (12 − ρ)/8 · 1/(μ − λ), Flatto and Hahn,
    SIAM J. Appl. Math. 44, 1041 (1984); Nelson and Tantawi, IEEE Trans. Computers 37, 739 (1988)."""
    s = line(10.0, 10.0, window=10**6, memory=10**6, swapping="parallel")  # p = 1e-3 at w = 0.9
    runs = batches(s, [0.7], [0.9, 0.9], seconds=2e6, warm_up=1e4)
    assert_near([t.links.mean_queue[1] for t in runs], 0.7 / 0.3)
    assert_near([t.sessions.mean_latency[0] for t in runs], (12 - 0.7) / 8 / 0.3)


def test_a_place_is_kept_from_the_request_to_the_swap() -> None:
    """The second link is quick, the first one slow: pairs that wait fill the memory between, not requests."""
    s = line(100.0, 2000.0, memory=4, window=1000, swapping="parallel")
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[30.0], werner=[0.9, 0.5])
    for _ in range(50):
        t = simulator.advance(0.5)
        waiting = simulator.state.channels["transit"][2]
        assert t.links.queue[1] <= waiting <= 4
    assert waiting == 4
    assert t.links.queue[1] <= 1
    assert t.links.dropped[1] > 0


def test_changing_controls_does_not_bias_the_draws() -> None:
    """Controls that jump between two values every few ms: rates of pairs are the time averages, on both links."""
    n, s = 20, line(500.0, 500.0, window=10**6, memory=10**6, swapping="parallel")  # networks at once
    batch = Batch([Simulator(s, seed) for seed in range(n)], threads=1)
    rng = np.random.default_rng(1)
    made, expected = np.zeros(2), np.zeros(2)
    injected = asked = 0.0
    for _ in range(2000):
        high, seconds = rng.random(n) < 0.5, rng.uniform(1e-4, 0.02, n)
        rate, w = np.where(high, 60.0, 20.0), np.where(high[:, np.newaxis], [0.9, 0.8], [0.8, 0.9])
        batch.set_controls(rates=rate[:, np.newaxis], werner=w)
        batch.advance(seconds)
        t = batch.telemetry()
        asked += rate @ seconds
        injected += t.sessions.injected.sum()
        made += t.links.generated.reshape(n, 2).sum(axis=0)
        expected += (t.links.attempts.reshape(n, 2) * 500.0 * CYCLE * (1 - w)).sum(axis=0)
    assert abs(injected - asked) < 4 * math.sqrt(asked)
    assert (np.abs(made - expected) < 4 * np.sqrt(expected)).all()


def test_records_of_finished_datagrams_are_used_again() -> None:
    s = line(*[800.0] * 6, window=20, message_loss=0.1, swap_success=0.9, cutoff=0.5, memory=5, swapping="parallel")
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[40.0], werner=[0.9] * 6)
    simulator.advance(300.0)
    assert len(simulator.get_state()["arrays"]["datagrams"]) <= 1024
    simulator.set_controls(rates=[0.01])
    simulator.advance(2000.0)
    t = simulator.advance(1.0)
    assert t.truth.in_flight[0] <= 1
    assert simulator.state.clock["in_use"][0] <= 6
    assert (simulator.state.channels["transit"] <= 1).all()


@pytest.mark.parametrize(("name", "coherence"), [("dumbbell", 10.0), ("nsfnet", 10.0), ("surfnet", 100.0)])
def test_mean_werner_of_loaded_networks(name: str, coherence: float) -> None:
    """At the optimum of the product formula, which takes sojourns for independent and so W for 0.001 to 0.006 less."""
    s = scenario(name, coherence_time=coherence, swapping="parallel")
    best = optimum.solve(s, decoherence=True, max_utilisation=0.99)
    runs = batches(s, best.rates.tolist(), best.werner.tolist(), seconds=1000.0, warm_up=100.0)
    seen = np.mean([t.sessions.mean_werner for t in runs], axis=0)
    assert (seen > best.expected_werner - 0.001).all()
    assert (seen < best.expected_werner + 0.008).all()


def test_what_lost_messages_and_failed_swaps_leave() -> None:
    """Requests cross two of the three hops, outcomes and ACKs all; a time-out that comes too soon costs more."""
    s = line(1000.0, 1000.0, 1000.0, swap_success=0.8, message_loss=0.05, swapping="parallel")
    t = simulate(s, [5.0], [0.9] * 3, 20_000.0)
    problem = optimum.Problem.from_scenario(s)
    np.testing.assert_allclose(problem.delivery, 0.8**2 * 0.95**8)
    n, share = t.sessions.injected[0], problem.delivery[0]
    too_soon, noise = t.truth.drops[0, t.truth.reasons.index("timeout")] / n, 4 * math.sqrt(share * (1 - share) / n)
    assert share - too_soon - noise < t.sessions.delivered[0] / n < share + noise
    requests = t.links.generated / n
    assert (np.abs(requests - problem.thinning) < 4 * np.sqrt(problem.thinning / n)).all()

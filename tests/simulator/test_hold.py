"""How long the two end nodes store a pair (model.md §4.4): against closed forms and (19).

Density matrices: `physics/test_werner.py`.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from qnum_gym.optimum.problem import Problem
from qnum_gym.rules import HOLDS
from qnum_gym.scenarios import NodeEvent, Scenario, ScenarioError, Session
from qnum_gym.simulator import Simulator

from .networks import line
from .test_physics import assert_near, batches, simulate

COHERENCE = (0.2, 0.3, 0.5, 0.7)  # s, of the nodes of a line
GAMMA = tuple(1.0 / time for time in COHERENCE)
NODES = [{"name": v, "coherence_time": time} for v, time in enumerate(COHERENCE)]
EXPECTED_ENDS = {
    "header": (1.0, 0.0),
    "ack": (1.0, 1.0),
    "measure": (0.0, 0.0),
}  # of γ: before and after delivery


def certain(hold: str, swapping: str) -> Scenario:
    """Three links that never fail, so that every step is known to the nanosecond."""
    lengths = (20.0, 60.0, 100.0)
    return Scenario(
        links=[{"a": i, "b": i + 1, "length_km": km, "capacity": 2000.0} for i, km in enumerate(lengths)],
        sessions=[Session(source=0, destination=3, pacing="even", window=1, hold=hold)],
        nodes=NODES,
        processing_delay=2e-3,
        feedback_delay=0.1,
        swapping=swapping,
    )


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_every_stretch_of_storage(hold: str, swapping: str) -> None:
    """The ends' halves count from their pair on until header or ACK, or not at all; nodes on the way always."""
    tau = [20 / 2e5 + 2e-3, 60 / 2e5 + 2e-3, 100 / 2e5 + 2e-3]
    t = simulate(certain(hold, swapping), [3.0], [0.5] * 3, 20.0)
    before, after = EXPECTED_ENDS[hold]
    if swapping == "sequential":  # each pair is made 1 ms after the header has come
        end = 3e-3 + sum(tau)
        source, on_the_way, destination = end - 1e-3, [tau[0] + 1e-3, tau[1] + 1e-3], tau[2]
    else:  # each pair is made 1 ms after the request has come, which waits for nothing
        made = [1e-3, 1e-3 + tau[0], 1e-3 + tau[0] + tau[1]]
        end = made[2] + tau[2]
        source, on_the_way, destination = end - made[0], [tau[0], tau[1]], end - made[2]
    decay = before * (source * GAMMA[0] + destination * GAMMA[3])
    decay += on_the_way[0] * GAMMA[1] + on_the_way[1] * GAMMA[2]
    decay += after * (sum(tau) + 0.1) * (GAMMA[0] + GAMMA[3])
    assert t.sessions.mean_decay[0] == pytest.approx(decay, rel=1e-9)
    assert t.sessions.mean_werner[0] == pytest.approx(0.125 * math.exp(-decay), rel=1e-9)
    assert t.sessions.mean_latency[0] == pytest.approx(end, rel=1e-9)  # to the destination, whatever the hold


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
@pytest.mark.parametrize(
    ("hold", "events", "exponent"),
    [
        ("header", [NodeEvent(time=4.25, node=0, coherence_time=0.5)], 2.0 + 2.0),
        ("ack", [], 2.0 + 2.0 + 2.0),
        ("ack", [NodeEvent(time=4.25, node=0, coherence_time=0.5)], 2.0 + 2.0 + (0.25 + 2 * 0.75 + 1.0)),
        ("ack", [NodeEvent(time=4.5, node=2, coherence_time=0.25)], 2.0 + 2.0 + (1.0 + 0.5 + 4 * 0.5)),
        ("ack", [NodeEvent(time=4.5, node=1, coherence_time=0.25)], 2.0 + 2.0 + 2.0),
        ("measure", [], 1.5),
        ("measure", [NodeEvent(time=3.0, node=0, coherence_time=0.25)], 1.5),
        ("measure", [NodeEvent(time=3.0, node=1, coherence_time=0.5)], 1.0 + 2 * 0.5),
        ("measure", [NodeEvent(time=3.75, node=2, coherence_time=0.25)], 1.5),
    ],
)
def test_coherence_time_that_changes_under_way(
    swapping: str, hold: str, events: list[NodeEvent], exponent: float
) -> None:
    """∫γ dt decides. Headers take 0.5 s; the pairs come at 2 and 3.5 s, the header is at the destination at 4 s, the
    ACK at the source at 5 s. (In parallel the second link's attempt, which begins at 1.5 s, takes 2 s.)"""
    links = [{"a": i, "b": i + 1, "length_km": 100_000.0, "capacity": 2.0, "cycle_time": 1.0} for i in range(2)]
    if swapping == "parallel":
        links[1] |= {"capacity": 1.0, "cycle_time": 2.0}
    session = Session(source=0, destination=2, pacing="even", window=1, hold=hold)
    s = Scenario(links=links, sessions=[session], coherence_time=1.0, events=events, swapping=swapping)
    t = simulate(s, [1.0], [0.5, 0.5], 5.5)
    assert t.sessions.delivered[0] == 1
    assert t.sessions.mean_werner[0] == pytest.approx(0.25 * math.exp(-exponent), rel=1e-12)


@pytest.mark.parametrize("hold", HOLDS)
def test_lone_datagram_over_four_links(hold: str) -> None:
    """E[W] of model.md §10 with memories that differ, and with latency.

    The wait at node v for its link's pair is geometric, and counts x = exp(−(γ_0 + γ_v) T) per attempt; flights and the
    ACK's way take the time that they take."""
    p, w, km, delay = 0.1, 0.95, 100.0, 5e-3
    coherence = (0.1, 0.4, 0.2, 0.3, 0.15)
    gamma = [1.0 / time for time in coherence]
    before, after = EXPECTED_ENDS[hold]
    nodes = [{"name": v, "coherence_time": time} for v, time in enumerate(coherence)]
    s = line(*[p / 1e-3 / (1 - w)] * 4, window=1, length_km=km, nodes=nodes, feedback_delay=delay, hold=hold)
    expected, tau = w**4, km / 2e5
    for v in (1, 2, 3):
        x = math.exp(-1e-3 * (before * gamma[0] + gamma[v]))
        expected *= p * x / (1 - (1 - p) * x) * math.exp(-tau * (before * gamma[0] + gamma[v]))
    expected *= math.exp(-(before * tau + after * (4 * tau + delay)) * (gamma[0] + gamma[4]))
    runs = batches(s, [1000.0], [w] * 4, seconds=4000.0, warm_up=1.0)
    assert_near([t.sessions.mean_werner[0] for t in runs], expected)


def test_two_segments_of_which_only_the_middle_stores() -> None:
    """`measure` in parallel: two geometrics A, B, of which the half made first waits at the middle node alone."""
    p, r, w = 0.1, 0.05, 0.95
    y = math.exp(-1e-3 / 0.05)
    waits = 1 + y * (1 - r) / (1 - y * (1 - r)) + y * (1 - p) / (1 - y * (1 - p))
    expected = w**2 * p * r / (1 - (1 - p) * (1 - r)) * waits
    nodes = [{"name": v, "coherence_time": time} for v, time in enumerate((0.01, 0.05, 0.02))]
    capacities = [chance / 1e-3 / (1 - w) for chance in (p, r)]
    s = line(*capacities, window=1, nodes=nodes, hold="measure", swapping="parallel")
    runs = batches(s, [1000.0], [w] * 2, seconds=4000.0, warm_up=1.0)
    assert_near([t.sessions.mean_werner[0] for t in runs], expected)


@pytest.mark.parametrize("hold", HOLDS)
def test_formula_holds_in_the_simulator_at_load(hold: str) -> None:
    """(19) with each hold, where queues stand: within 0.005, as tests of model.md §7 have it for `header`."""
    nodes = [{"name": v, "coherence_time": time} for v, time in enumerate((20.0, 5.0, 40.0, 10.0))]
    s = line(1000.0, 900.0, 1100.0, length_km=20.0, nodes=nodes, feedback_delay=0.2, hold=hold, window=10**6)
    rate, w = np.array([30.0]), np.array([0.95, 0.96, 0.96])
    formula = Problem.from_scenario(s).expected_werner(rate, w)[0]
    runs = batches(s, rate, w, seconds=4000.0, warm_up=20.0)
    measured = np.array([t.sessions.mean_werner[0] for t in runs])
    assert measured.mean() == pytest.approx(formula, abs=0.005)
    gamma, before, after = [1 / 20.0, 1 / 5.0, 1 / 40.0, 1 / 10.0], *EXPECTED_ENDS[hold]
    by_hand, tau = float(np.prod(w)), 1e-4
    for capacity, v in ((900.0 * 0.04, 1), (1100.0 * 0.04, 2)):
        storage = before * gamma[0] + gamma[v]
        by_hand *= (capacity - 30.0) / (capacity - 30.0 + storage) * math.exp(-storage * tau)
    by_hand *= math.exp(-(before * tau + after * (3 * tau + 0.2)) * (gamma[0] + gamma[3]))
    assert formula == pytest.approx(by_hand, rel=1e-12)


def test_a_pair_without_its_ack_is_not_delivered() -> None:
    """`ack` with lost messages: what is delivered has waited for its ACK, all alike; the rest is accounted for."""
    s = certain("ack", "sequential")
    alone = simulate(s, [3.0], [0.5] * 3, 20.0).sessions.mean_werner[0]
    simulator = Simulator(s.replace(message_loss=0.2), 0)
    simulator.set_controls([3.0], [0.5] * 3)
    t = simulator.advance(400.0)
    lost = dict(zip(t.truth.reasons, t.truth.drops[0], strict=True))
    assert lost["ack_lost"] > 20
    assert t.sessions.mean_werner[0] == pytest.approx(alone, rel=1e-9)
    assert t.sessions.injected[0] == t.sessions.delivered[0] + t.truth.dropped[0] + t.truth.in_flight[0]
    assert t.sessions.delivered[0] < t.truth.arrived[0]


def test_sessions_of_one_network_may_differ() -> None:
    """Each by its own hold, over the same links: W of `ack` below that of `header` below that of `measure`."""
    s = line(1000.0, 1000.0, length_km=20.0, sessions=3, coherence_time=1.0, feedback_delay=0.1)
    sessions = [session.model_copy(update={"hold": hold}) for session, hold in zip(s.sessions, HOLDS, strict=True)]
    t = simulate(s.replace(sessions=sessions), [9.0] * 3, [0.9, 0.9], 300.0)
    header, ack, measure = t.sessions.mean_werner
    assert ack < header < measure
    assert t.headers.decay_rate.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0, 0.0]  # γ of the source's half, hop by hop


def test_an_unknown_hold_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"hold = 'acks': did you mean 'ack'[?] valid: header, ack, measure"):
        line(100.0, hold="acks")

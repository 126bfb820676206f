"""A scenario's arrays against values worked out by hand, and how events change them."""

import math

import numpy as np
import pytest

import qnum_gym
from qnum_gym.physics.measures import MEASURES
from qnum_gym.rules import PACINGS
from qnum_gym.scenarios import Arrays, Change, Link, Scenario


@pytest.mark.parametrize(("length_km", "d"), [(10, 1191.492), (20, 946.436), (100, 150.000)])
def test_capacity(length_km, d):
    s = Scenario(links=[Link(a=0, b=1, length_km=length_km)], sessions=[(0, 1)])
    assert s.arrays().capacity == pytest.approx([d], abs=5e-4)


def test_links_resolved():
    links = [
        Link(a="a", b="b", length_km=10),
        Link(a="b", b="c", length_km=10, coupling=0.5, cycle_time=2e-3, memory=7, discipline="fair"),
        Link(a="c", b="d", length_km=20, attenuation=0.4, processing_delay=1e-3, drop_policy="push_out"),
        Link(a="d", b="e", length_km=5, capacity=123.0, werner_range=(0.8, 0.95), initial_werner=0.9),
    ]
    a = Scenario(links=links, sessions=[("a", "e")], processing_delay=1e-5, discipline="lifo").arrays()
    ten = 1500 * 10**-0.1
    assert a.capacity == pytest.approx([ten, ten / 4, 1500 * 10**-0.4, 123.0], rel=1e-12)
    assert a.cycle_time.tolist() == [1e-3, 2e-3, 1e-3, 1e-3]
    assert a.latency == pytest.approx([6e-5, 6e-5, 1e-4 + 1e-3, 3.5e-5], rel=1e-12)
    assert a.memory.tolist() == [100, 7, 100, 100]
    assert a.discipline.tolist() == [1, 2, 1, 1]
    assert a.drop_policy.tolist() == [0, 0, 1, 0]
    assert (a.werner_min.tolist(), a.werner_max.tolist()) == ([0.5, 0.5, 0.5, 0.8], [0.999, 0.999, 0.999, 0.95])
    assert a.initial_werner.tolist() == [0.967, 0.967, 0.967, 0.9]
    assert (a.link_a.tolist(), a.link_b.tolist()) == ([0, 1, 2, 3], [1, 2, 3, 4])


def test_nodes_resolved():
    nodes = ["a", {"name": "b", "coherence_time": math.inf, "gate_factor": 0.9}, {"name": "c", "swap_success": 0.5}]
    links = [Link(a="a", b="b", length_km=1), Link(a="b", b="c", length_km=1)]
    a = Scenario(nodes=nodes, links=links, sessions=[("a", "c")], coherence_time=4.0).arrays()
    assert a.decay_rate.tolist() == [0.25, 0.0, 0.25]
    assert a.gate_factor.tolist() == [1.0, 0.9, 1.0]
    assert a.swap_success.tolist() == [1.0, 1.0, 0.5]


def test_sessions_resolved():
    sessions = [
        (0, 1),
        {"source": 1, "destination": 0, "weight": 2, "measure": "negativity", "min_fidelity": 0.85, "min_rate": 3},
        {"source": 0, "destination": 1, "rate_range": [1, 9], "initial_rate": 2, "cutoff": math.inf, "window": 5},
        {"source": 0, "destination": 1, "pacing": "even", "start": 2, "stop": 5, "cutoff": 0.5},
    ]
    a = Scenario(links=[Link(a=0, b=1, length_km=10)], sessions=sessions, cutoff=0.25).arrays()
    assert (a.source.tolist(), a.destination.tolist()) == ([0, 1, 0, 0], [1, 0, 1, 1])
    assert a.weight.tolist() == [1, 2, 1, 1]
    assert [MEASURES.at(code).name for code in a.measure] == ["secret_key", "negativity", *["secret_key"] * 2]
    assert a.log_werner_floor == pytest.approx([-math.inf, math.log(0.8), -math.inf, -math.inf])
    assert a.min_rate.tolist() == [0, 3, 0, 0]
    assert (a.rate_min.tolist(), a.rate_max.tolist()) == ([0.01, 0.01, 1, 0.01], [1000, 1000, 9, 1000])
    assert a.initial_rate.tolist() == [1, 1, 2, 1]
    assert a.cutoff.tolist() == [0.25, 0.25, math.inf, 0.5]
    assert a.window.tolist() == [100, 100, 5, 100]
    assert [PACINGS.at(code).name for code in a.pacing] == [*["poisson"] * 3, "even"]
    assert (a.start.tolist(), a.stop.tolist()) == ([0, 0, 0, 2], [math.inf, math.inf, math.inf, 5])
    assert a.active.tolist() == [True, True, True, False]


def test_hops_of_both_directions():
    s = Scenario(
        links=[Link(a="a", b="b", length_km=1), Link(a="c", b="b", length_km=1)], sessions=[("a", "c"), ("b", "a")]
    )
    a = s.arrays()
    assert [node.name for node in s.nodes] == ["a", "b", "c"]
    assert a.hop_start.tolist() == [0, 2, 3]
    assert a.hop_session.tolist() == [0, 0, 1]
    assert a.hop_link.tolist() == [0, 1, 0]
    assert a.hop_direction.tolist() == [0, 1, 1]
    assert (a.hop_from.tolist(), a.hop_to.tolist()) == ([0, 1, 1], [1, 2, 0])
    assert a.hop_index.tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", qnum_gym.topologies.names())
def test_types_and_shapes(name):
    s = qnum_gym.scenario(name)
    a = s.arrays()
    sizes = {len(s.links), len(s.nodes), len(s.sessions), len(s.sessions) + 1, sum(map(len, s.routes))}
    for field in Arrays.__dataclass_fields__:
        array = getattr(a, field)
        assert array.dtype in (np.dtype("f8"), np.dtype("i8"), np.dtype("?")), field
        assert array.ndim == 1, field
        assert len(array) in sizes, field
        assert array.flags.c_contiguous, field
        assert not array.flags.writeable, field
    for r, route in enumerate(s.routes):
        hops = slice(a.hop_start[r], a.hop_start[r + 1])
        assert tuple(a.hop_link[hops]) == route
        assert [s.nodes[v].name for v in [*a.hop_from[hops], a.hop_to[hops][-1]]] == list(s.sessions[r].path)


def test_events_starts_and_stops():
    s = Scenario(
        links=[Link(a="a", b="b", length_km=10), Link(a="b", b="c", length_km=20)],
        sessions=[("a", "c"), {"source": "a", "destination": "b", "start": 3, "stop": 6}],
        events=[
            {"time": 9, "node": "b", "coherence_time": math.inf},
            {"time": 2, "link": ["b", "a"], "extra_loss_db": 20},  # 10 dB to the midpoint
            {"time": 4, "link": ["a", "b"], "up": False},
            {"time": 6, "link": ["a", "b"], "extra_loss_db": 40},  # down all the same
            {"time": 8, "link": ["a", "b"], "up": True},
            {"time": 8, "link": ["a", "b"], "extra_loss_db": 0},  # the last word at a time counts
            {"time": 0, "node": "c", "coherence_time": 2},
        ],
    )
    d = 1500 * 10**-0.1
    assert s.arrays().decay_rate.tolist() == [0.1, 0.1, 0.5]  # an event at 0 is there from the start
    assert s.arrays().active.tolist() == [True, False]
    assert s.change_times() == (0.0, 2.0, 3.0, 4.0, 6.0, 8.0, 9.0)
    assert [(c.time, c.kind, c.index) for c in s.changes()] == [
        (2.0, "capacity", 0),
        (3.0, "active", 1),
        (4.0, "capacity", 0),
        (6.0, "active", 1),
        (6.0, "capacity", 0),
        (8.0, "capacity", 0),
        (9.0, "decay_rate", 1),
    ]
    assert [c.value for c in s.changes()] == pytest.approx([d / 10, 1.0, 0.0, 0.0, 0.0, d, 0.0])
    assert s.changes()[0] == Change(2.0, "capacity", 0, s.changes()[0].value)
    assert s.arrays(1.999).capacity[0] == pytest.approx(d)
    assert s.arrays(2.0).capacity[0] == pytest.approx(d / 10)
    assert s.arrays(5.0).capacity[0] == 0.0
    assert s.arrays(3.0).active.tolist() == [True, True]
    assert s.arrays(6.0).active.tolist() == [True, False]
    assert s.arrays(100.0).capacity[0] == pytest.approx(d)
    assert s.arrays(100.0).decay_rate.tolist() == [0.1, 0.0, 0.5]


def test_loss_holds_while_a_link_is_down():
    events = [
        {"time": 1, "link": [0, 1], "extra_loss_db": 20},
        {"time": 2, "link": [0, 1], "up": False},
        {"time": 3, "link": [0, 1], "up": True},
    ]
    s = Scenario(links=[Link(a=0, b=1, length_km=0)], sessions=[(0, 1)], events=events, coupling=0.1)
    assert [c.value for c in s.changes()] == pytest.approx([15.0, 0.0, 15.0])

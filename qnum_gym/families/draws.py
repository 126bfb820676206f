"""The random networks that families are made of, and what happens to them. [ours]"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal, TypeAlias

import networkx as nx
import numpy as np

from qnum_gym.scenarios import NodeId, Scenario, topologies
from qnum_gym.scenarios.graph import Graph

Rng: TypeAlias = np.random.Generator
Fields: TypeAlias = dict[str, Any]  # of a scenario
Change: TypeAlias = Literal["sessions", "crowd", "loss", "failure"]
Ends: TypeAlias = tuple[NodeId, NodeId]
Draw: TypeAlias = Callable[[Rng, int], Scenario]  # from the family's random numbers and the scenario's index

# --- networks ---------------------------------------------------------------------------------------------------------


def _lengths(rng: Rng, graph: Graph, low: float = 3.0, high: float = 25.0) -> Graph:
    """The graph with new lengths, km."""
    for a, b in graph.edges:
        graph.edges[a, b]["length_km"] = float(rng.uniform(low, high))
    return graph


def _scaled(rng: Rng, graph: Graph) -> Graph:
    """The graph with its lengths changed by up to a tenth, each by itself."""
    for a, b in graph.edges:
        graph.edges[a, b]["length_km"] *= float(rng.uniform(0.9, 1.1))
    return graph


def _between(rng: Rng, graph: Graph, fewest: int, most: int) -> list[Fields]:
    """Sessions between random pairs of nodes, or as many as there are such pairs."""
    pairs = topologies.random_pairs(graph, _seed(rng))
    return _weighted(rng, list(islice(pairs, int(rng.integers(fewest, most + 1)))))


def _weighted(rng: Rng, pairs: Sequence[Ends]) -> list[Fields]:
    """Sessions for the pairs; in one network of three, of different weights."""
    span = math.log(2.0) if rng.random() < 1 / 3 else 0.0
    return [{"source": a, "destination": b, "weight": math.exp(rng.uniform(-span, span))} for a, b in pairs]


def _seed(rng: Rng) -> int:
    return int(rng.integers(2**31))


def _log_uniform(rng: Rng, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _physics(rng: Rng, coherence_time: tuple[float, float], *, latency: bool = True) -> Fields:
    """T_c within its range, the measure, memories and windows; with `latency`, on some, slow headers and late ACKs."""
    fields: Fields = {
        "coherence_time": _log_uniform(rng, *coherence_time),
        "measure": str(rng.choice(["secret_key", "negativity", "distillable"], p=[0.7, 0.15, 0.15])),
        "memory": int(rng.choice([50, 100, 200])),
        "window": int(rng.choice([50, 100, 200])),
    }
    if latency and rng.random() < 0.3:
        delay = _log_uniform(rng, 1e-4, 4e-3) * fields["coherence_time"]  # a hop costs W at most a factor e^-0.008
        fields["processing_delay"] = min(delay, 0.2)
    if latency and rng.random() < 0.3:
        fields |= {"feedback_delay": float(rng.uniform(0.0, 12.0)), "window": 400}  # of which most is on its way
    return fields


def dumbbell(rng: Rng, index: int, coherence_time: tuple[float, float] = (5.0, 50.0)) -> Scenario:
    """Sessions that share one bottleneck."""
    n = int(rng.integers(2, 7))
    graph = _lengths(rng, topologies.graph("dumbbell", n))
    sessions = _weighted(rng, [(f"s{i}", f"d{i}") for i in range(n)])
    return Scenario.from_graph(graph, sessions, **_physics(rng, coherence_time))


def tree(rng: Rng, index: int, coherence_time: tuple[float, float] = (5.0, 50.0)) -> Scenario:
    """A chain, a star and a random tree in turn."""
    shape, n = index % 3, int(rng.integers(4, 9))
    if shape == 0:
        graph = topologies.graph("chain", n)
    elif shape == 1:
        graph = topologies.graph("star", n)
    else:
        graph = nx.Graph((int(rng.integers(v)), v) for v in range(1, 2 * n))
    return Scenario.from_graph(_lengths(rng, graph), _between(rng, graph, 2, 7), **_physics(rng, coherence_time))


def waxman(rng: Rng, index: int, coherence_time: tuple[float, float] = (5.0, 50.0)) -> Scenario:
    """A Waxman graph of at most 27 links."""
    nodes = int(rng.integers(6, 15))
    links = nodes - 1 + int(rng.integers(nodes + 1))
    graph = topologies.graph("waxman", nodes, links, area_km=float(rng.uniform(20.0, 45.0)), seed=_seed(rng))
    return Scenario.from_graph(graph, _between(rng, graph, 3, 10), **_physics(rng, coherence_time))


def large(rng: Rng, index: int) -> Scenario:
    """A Waxman graph of 60 to 120 links."""
    links = int(rng.integers(60, 121))
    nodes = round(links / rng.uniform(1.3, 1.7))
    graph = topologies.graph("waxman", nodes, links, area_km=float(rng.uniform(40.0, 70.0)), seed=_seed(rng))
    return Scenario.from_graph(graph, _between(rng, graph, 20, 40), **_physics(rng, (10.0, 50.0), latency=False))


def grid(rng: Rng, index: int) -> Scenario:
    """A grid of 3 to 5 rows and columns."""
    graph = topologies.graph("grid", *rng.integers(3, 6, size=2).tolist())
    physics = _physics(rng, (5.0, 50.0), latency=False)
    return Scenario.from_graph(_lengths(rng, graph, 5.0, 20.0), _between(rng, graph, 4, 10), **physics)


def nsfnet(rng: Rng, index: int) -> Scenario:
    """NSFNET with T_c from 7 to 50 s; see `_real`."""
    return _real(rng, index, "nsfnet", (7.0, 50.0))


def surfnet(rng: Rng, index: int) -> Scenario:
    """SURFnet with T_c from 50 to 200 s; see `_real`."""
    return _real(rng, index, "surfnet", (50.0, 200.0))


def _real(rng: Rng, index: int, name: str, coherence_time: tuple[float, float]) -> Scenario:
    """A real network: in every third scenario with its usual sessions, else with random ones."""
    graph = topologies.graph(name)
    usual = list(topologies.TOPOLOGIES[name]().sessions(graph))
    sessions = _weighted(rng, usual) if index % 3 == 0 else _between(rng, graph, 4, 10)
    return Scenario.from_graph(_scaled(rng, graph), sessions, **_physics(rng, coherence_time, latency=False))


def any_real(rng: Rng, index: int) -> Scenario:
    """NSFNET, SURFnet and a grid in turn."""
    return (nsfnet, surfnet, grid)[index % 3](rng, index // 3)


def any_small(rng: Rng, index: int, coherence_time: tuple[float, float]) -> Scenario:
    """Dumbbell, tree and Waxman in turn."""
    return (dumbbell, tree, waxman)[index % 3](rng, index // 3, coherence_time)


def varied(draw: Draw, fields: Callable[[Rng, Scenario], Fields]) -> Draw:
    """What `draw` gives, with other values for some of its fields."""

    def drawn(rng: Rng, index: int) -> Scenario:
        scenario = draw(rng, index)
        return scenario.replace(**fields(rng, scenario))

    return drawn


# --- changes ----------------------------------------------------------------------------------------------------------


def changing(draw: Draw, cases: Sequence[tuple[Change, ...]], span: tuple[float, float]) -> Draw:
    """What `draw` gives, with what the cases say, in turn, happening within `span`, s."""

    def changed(rng: Rng, index: int) -> Scenario:
        scenario = draw(rng, index)
        for case in cases[index // 3 % len(cases)]:  # kinds of network take turns by three
            scenario = _CHANGES[case](rng, scenario, span)
        return scenario

    return changed


def _come_and_go(rng: Rng, scenario: Scenario, span: tuple[float, float]) -> Scenario:
    """From a third to two thirds of the sessions come, go, or both."""
    count = len(scenario.sessions)
    passing = set(rng.permutation(count)[: max(1, round(count * rng.uniform(1 / 3, 2 / 3)))].tolist())
    sessions: list[Any] = []
    for r, session in enumerate(scenario.sessions):
        begin, end = _stretch(rng, span, 30.0, 100.0)
        kinds: tuple[Fields, ...] = ({"start": begin}, {"stop": end}, {"start": begin, "stop": end})
        sessions.append(session.model_copy(update=kinds[int(rng.integers(3))]) if r in passing else session)
    return scenario.replace(sessions=sessions)


def _flock(rng: Rng, scenario: Scenario, span: tuple[float, float]) -> Scenario:
    """8 to 16 sessions more, between random nodes: all come at one moment, and go together 30 to 60 s later."""
    begin, end = _stretch(rng, span, 30.0, 60.0)
    graph: Graph = nx.Graph((link.a, link.b) for link in scenario.links)
    crowd = islice(topologies.random_pairs(graph, _seed(rng)), int(rng.integers(8, 17)))
    passing = [{"source": a, "destination": b, "start": begin, "stop": end} for a, b in crowd]
    return scenario.replace(sessions=[*scenario.sessions, *passing])


def _lose_light(rng: Rng, scenario: Scenario, span: tuple[float, float]) -> Scenario:
    """One or two links lose 3 to 9 dB for 30 to 80 s."""
    for _ in range(int(rng.integers(1, 3))):
        loss = float(rng.uniform(3.0, 9.0))
        scenario = _befall(
            rng, scenario, _stretch(rng, span, 30.0, 80.0), {"extra_loss_db": loss}, {"extra_loss_db": 0.0}
        )
    return scenario


def _fail(rng: Rng, scenario: Scenario, span: tuple[float, float]) -> Scenario:
    """A link is down for 15 to 50 s."""
    return _befall(rng, scenario, _stretch(rng, span, 15.0, 50.0), {"up": False}, {"up": True})


def _befall(rng: Rng, scenario: Scenario, times: Sequence[float], *changes: Fields) -> Scenario:
    """A link changes at the times; which one, as likely as sessions pass it."""
    passed = [l for route in scenario.routes for l in route]
    link = scenario.links[passed[int(rng.integers(len(passed)))]]
    events = [{"time": t, "link": (link.a, link.b), **change} for t, change in zip(times, changes, strict=True)]
    return scenario.replace(events=[*scenario.events, *events])


def _stretch(rng: Rng, span: tuple[float, float], shortest: float, longest: float) -> tuple[float, float]:
    """Begin and end, s, within the span, rounded to a tenth."""
    seconds = float(rng.uniform(shortest, longest))
    begin = float(rng.uniform(span[0], span[1] - seconds))
    return round(begin, 1), round(begin + seconds, 1)


_CHANGES: Mapping[Change, Callable[[Rng, Scenario, tuple[float, float]], Scenario]] = {
    "sessions": _come_and_go,
    "crowd": _flock,
    "loss": _lose_light,
    "failure": _fail,
}

"""Networks by name: graphs whose edges have `length_km`, and scenarios with default sessions (model.md §9)."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from qnum_gym.registry import suggest
from qnum_gym.scenarios import NodeId, Scenario, ScenarioError
from qnum_gym.scenarios.graph import Graph, check_graph
from qnum_gym.scenarios.network import unknown_node
from qnum_gym.scenarios.routes import neighbours, shortest_routes

Pair = tuple[NodeId, NodeId]
SQRT2 = math.sqrt(2.0)  # diagonal of the unit square

NSFNET_KM = (
    (0, 1, 1100), (0, 2, 1600), (0, 7, 2800), (1, 2, 600), (1, 3, 1000), (2, 5, 2000), (3, 4, 600),
    (3, 10, 2400), (4, 5, 1100), (4, 6, 800), (5, 9, 1200), (5, 12, 2000), (6, 7, 700), (7, 8, 700), (8, 9, 900),
    (8, 11, 500), (8, 13, 500), (10, 11, 800), (10, 13, 800), (11, 12, 300), (12, 13, 300),
)  # fmt: skip
NSFNET_SESSIONS = ((0, 13), (1, 9), (2, 11), (3, 8), (4, 12), (5, 10), (6, 1), (7, 2))
SURFNET_KM = (
    ("Delft", "Rotterdam", 16.8), ("Delft", "Leiden", 30.6), ("Leiden", "Amsterdam", 60.4),
    ("Rotterdam", "Utrecht", 70.0), ("Amsterdam", "Hilversum", 30.2), ("Amsterdam", "Almere", 38.9),
    ("Hilversum", "Utrecht", 36.7), ("Hilversum", "Almere", 35.4), ("Utrecht", "Amersfoort", 33.8),
    ("Almere", "Lelystad", 44.2), ("Amersfoort", "Wageningen", 62.5), ("Wageningen", "Nijmegen", 66.3),
    ("Arnhem", "Nijmegen", 25.7), ("Nijmegen", "Zutphen", 58.1), ("Apeldoorn", "Arnhem", 45.3),
    ("Apeldoorn", "Deventer", 24.4), ("Lelystad", "Zwolle", 47.7), ("Zwolle", "Deventer", 44.7),
    ("Zwolle", "Enschede", 78.7), ("Zutphen", "Enschede", 60.0),
)  # fmt: skip
SURFNET_SESSIONS = (
    ("Delft", "Enschede"), ("Leiden", "Zwolle"), ("Rotterdam", "Arnhem"), ("Amsterdam", "Nijmegen"),
    ("Utrecht", "Lelystad"), ("Almere", "Deventer"),
)  # fmt: skip


# --- graphs -----------------------------------------------------------------------------------------------------------


def dumbbell(n: int = 3, access_km: float = 10.0, bottleneck_km: float = 20.0) -> Graph:
    """Sources s0, s1, … behind router "left", destinations d0, d1, … behind "right", one bottleneck between."""
    _at_least(1, n=n)
    graph: Graph = nx.Graph(name="dumbbell")
    graph.add_nodes_from([*(f"s{i}" for i in range(n)), "left", "right", *(f"d{i}" for i in range(n))])
    graph.add_edges_from(((f"s{i}", "left") for i in range(n)), length_km=access_km)
    graph.add_edge("left", "right", length_km=bottleneck_km)
    graph.add_edges_from((("right", f"d{i}") for i in range(n)), length_km=access_km)
    return graph


def nsfnet(scale: float = 100.0) -> Graph:
    """The 14 nodes and 21 links of NSFNET, lengths divided by `scale` [ours; at full length a link is hopeless]."""
    _positive(scale=scale)
    graph: Graph = nx.Graph(name="nsfnet")
    graph.add_nodes_from(range(14))
    graph.add_edges_from((a, b, {"length_km": km / scale}) for a, b, km in NSFNET_KM)
    return graph


def surfnet() -> Graph:
    """The Dutch research network pruned to 17 nodes and 20 links (after Vardoyan et al., arXiv:2307.04477)."""
    graph: Graph = nx.Graph(name="surfnet")
    graph.add_edges_from((a, b, {"length_km": km}) for a, b, km in SURFNET_KM)
    return graph


def chain(nodes: int = 5, length_km: float = 10.0) -> Graph:
    """Nodes 0, 1, … in a row."""
    _at_least(2, nodes=nodes)
    graph: Graph = nx.Graph(name="chain")
    graph.add_edges_from(((v, v + 1) for v in range(nodes - 1)), length_km=length_km)
    return graph


def star(n: int = 4, length_km: float = 10.0) -> Graph:
    """A node "hub" with `n` leaves, 0, 1, …"""
    _at_least(2, n=n)
    graph: Graph = nx.Graph(name="star")
    graph.add_edges_from((("hub", leaf) for leaf in range(n)), length_km=length_km)
    return graph


def grid(rows: int = 4, cols: int = 4, length_km: float = 10.0) -> Graph:
    """Rows and columns of nodes; the node in row i, column j is i * cols + j."""
    _at_least(1, rows=rows, cols=cols)
    _at_least(2, nodes=rows * cols)
    graph: Graph = nx.Graph(name="grid")
    graph.add_nodes_from(range(rows * cols))
    for node in graph:
        if (node + 1) % cols:
            graph.add_edge(node, node + 1, length_km=length_km)
        if node + cols < rows * cols:
            graph.add_edge(node, node + cols, length_km=length_km)
    return graph


def waxman(
    nodes: int = 20,
    links: int | None = None,
    area_km: float = 30.0,
    alpha: float = 0.2,
    beta: float = 0.9,
    seed: int = 0,
) -> Graph:
    """Random nodes in a square of side `area_km`, linked with probability beta * exp(-distance/(alpha * diagonal)).

    Components are joined by their nearest nodes [ours]. With a number of `links`, the nodes are first joined that way
    and the other links then drawn one by one with the same weights (beta has no say) until there are so many.
    """
    _at_least(2, nodes=nodes)
    _positive(area_km=area_km, alpha=alpha, beta=beta)
    if links is None:
        drawn: Graph = nx.waxman_graph(  # pyright: ignore[reportUnknownMemberType]
            nodes, beta=beta, alpha=alpha, L=SQRT2, seed=seed
        )
        places = np.array([drawn.nodes[v]["pos"] for v in range(nodes)])
        edges = [(a, b) for a, b in drawn.edges]
        edges += _joining(places, edges)
    else:
        _at_least(1, links=links)
        if not nodes - 1 <= links <= nodes * (nodes - 1) // 2:
            valid = f"{nodes} nodes take {nodes - 1} to {nodes * (nodes - 1) // 2} links"
            raise ScenarioError(f"scenario: links = {links!r}: {valid}")
        rng = np.random.default_rng(seed)
        places = rng.random((nodes, 2))
        edges = _drawn(places, _joining(places, []), links, alpha, rng)
    graph: Graph = nx.Graph(name="waxman")
    graph.add_nodes_from((v, {"pos": tuple(area_km * places[v])}) for v in range(nodes))
    graph.add_edges_from((a, b, {"length_km": area_km * float(np.hypot(*(places[a] - places[b])))}) for a, b in edges)
    return graph


def _joining(places: NDArray[np.float64], edges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """The shortest further edges that join all components: Kruskal over the Delaunay triangulation, which has them."""
    n = len(places)
    joined = nx.utils.UnionFind(range(n))
    for a, b in edges:
        joined.union(a, b)
    if n < 5:
        pairs = set(itertools.combinations(range(n), 2))
    else:
        from scipy.spatial import Delaunay  # takes its time

        corners = np.sort(Delaunay(places).simplices, axis=1).tolist()
        pairs = {pair for triangle in corners for pair in itertools.combinations(triangle, 2)}
    further: list[tuple[int, int]] = []
    for a, b in sorted(pairs, key=lambda pair: (float(np.hypot(*(places[pair[0]] - places[pair[1]]))), pair)):
        if joined[a] != joined[b]:
            joined.union(a, b)
            further.append((a, b))
    return further


def _drawn(
    places: NDArray[np.float64], edges: list[tuple[int, int]], links: int, alpha: float, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """`edges` and further ones drawn by rejection until there are `links`: pairs at random, kept by Waxman's weight."""
    kept = dict.fromkeys(edges)
    while len(kept) < links:
        pairs = np.sort(rng.integers(len(places), size=(65536, 2)), axis=1)
        distance = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T)
        keep = (rng.random(len(pairs)) < np.exp(-distance / (alpha * SQRT2))) & (distance > 0)
        for a, b in pairs[keep].tolist():
            if len(kept) < links:
                kept[a, b] = None
    return list(kept)


def _at_least(least: int, **parameter: object) -> None:
    for name, value in parameter.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ScenarioError(f"scenario: {name} = {value!r}: must be a whole number, at least {least}")


def _positive(**parameter: object) -> None:
    for name, value in parameter.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ScenarioError(f"scenario: {name} = {value!r}: must be a finite number greater than 0")


def shortest_route(graph: Graph, source: NodeId, destination: NodeId) -> tuple[NodeId, ...]:
    """The nodes of the shortest route by length_km; ties by fewest hops, then lexicographic in the graph's node order.

    Raises:
        ScenarioError: if a node is unknown, or no route joins them.
    """
    check_graph(graph)
    nodes = list(graph)
    index = {node: v for v, node in enumerate(nodes)}
    for name, node in (("source", source), ("destination", destination)):
        if node not in index:
            raise ScenarioError(f"scenario: {name} = {node!r}: {unknown_node(node, index)}")
    ends = [(index[a], index[b]) for a, b in graph.edges]
    lengths = [float(graph.edges[edge]["length_km"]) for edge in graph.edges]
    routes = shortest_routes(neighbours(len(nodes), ends, lengths), [index[source]], index[destination])
    if index[source] not in routes:
        raise ScenarioError(f"scenario: destination = {destination!r}: no links connect it to {source!r}")
    return tuple(nodes[v] for v in routes[index[source]])


# --- scenarios --------------------------------------------------------------------------------------------------------


def _across(graph: Graph, seed: int) -> Iterator[Pair]:
    return ((f"s{i}", f"d{i}") for i in range(len(graph) // 2 - 1))


def _end_to_end(graph: Graph, seed: int) -> Iterator[Pair]:
    return itertools.repeat((0, len(graph) - 1))


def _around(graph: Graph, seed: int) -> Iterator[Pair]:
    leaves = len(graph) - 1
    return ((leaf, (leaf + step) % leaves) for step in range(1, leaves) for leaf in range(leaves))


def random_pairs(graph: Graph, seed: int) -> Iterator[Pair]:
    """Ordered pairs of nodes, none twice, and no neighbours unless all are."""
    nodes, rng, seen = list(graph), np.random.default_rng(seed), set[Pair]()
    pairs = len(nodes) * (len(nodes) - 1)
    apart = pairs - 2 * graph.number_of_edges()
    while len(seen) < (apart or pairs):
        a, b = rng.integers(len(nodes), size=2).tolist()
        pair = (nodes[a], nodes[b])
        if a != b and pair not in seen and not (apart and graph.has_edge(*pair)):
            seen.add(pair)
            yield pair


@dataclass(frozen=True)
class _Network:
    """A generator of graphs, and what its scenarios have by default."""

    graph: Callable[..., Graph]
    pairs: Callable[[Graph, int], Iterable[Pair]]  # (graph, seed) -> the sessions, as many as are asked for
    count: int | None = None  # sessions if not said; None = all pairs
    sized_by: str | None = None  # the parameter of the graph that follows the number of sessions
    seeded: bool = False  # the sessions are drawn
    physics: Mapping[str, Any] = field(default_factory=dict[str, Any])


_NETWORKS = {
    "dumbbell": _Network(dumbbell, _across, sized_by="n"),
    "nsfnet": _Network(nsfnet, lambda graph, seed: NSFNET_SESSIONS),
    "surfnet": _Network(surfnet, lambda graph, seed: SURFNET_SESSIONS, physics={"coherence_time": 100.0}),
    "chain": _Network(chain, _end_to_end, count=1),
    "star": _Network(star, _around, count=4),
    "grid": _Network(grid, random_pairs, count=6, seeded=True),
    "waxman": _Network(waxman, random_pairs, count=6, seeded=True),
}


def names() -> tuple[str, ...]:
    """The names that `scenario` knows."""
    return tuple(_NETWORKS)


def keywords(name: str) -> tuple[str, ...]:
    """What `scenario` takes for a network of `names()`: its generator's parameters, `seed` if it draws, and fields."""
    network = _NETWORKS[name]
    of_graph = inspect.signature(network.graph).parameters
    return tuple({**dict.fromkeys([*of_graph, *(["seed"] if network.seeded else [])]), **Scenario.model_fields})


def scenario(name: str, /, **overrides: Any) -> Scenario:
    """A named scenario: `scenario("dumbbell", sessions=3, coherence_time=100.0)`.

    Args:
        name: one of `names()`.
        **overrides: parameters of the graph's generator (`n`, `scale`, ...), fields of Scenario (also `name`), `seed`
            where the sessions are drawn at random. `sessions` may be their number.
    Raises:
        ScenarioError: for an unknown name or override, and whatever Scenario refuses.
    """
    if name not in _NETWORKS:
        raise ScenarioError(f"scenario: name = {name!r}: {suggest(name, names())}valid names: {', '.join(names())}")
    network = _NETWORKS[name]
    of_graph = set(inspect.signature(network.graph).parameters)
    valid = keywords(name)
    for key in overrides:
        if key not in valid:
            raise ScenarioError(
                f"scenario: {key}: unknown keyword for {name!r}; {suggest(key, valid)}valid: {', '.join(sorted(valid))}"
            )
    options = {key: overrides.pop(key) for key in list(overrides) if key in of_graph}
    seed: int = overrides.pop("seed", options.get("seed", 0))
    sessions = overrides.pop("sessions", network.count)
    if isinstance(sessions, int) and network.sized_by:
        options.setdefault(network.sized_by, sessions)
    graph = network.graph(**options)
    if sessions is None or isinstance(sessions, int):
        sessions = _first(sessions, network.pairs(graph, seed))
    return Scenario.from_graph(graph, sessions, **{**network.physics, **overrides})


def _first(number: int | None, pairs: Iterable[Pair]) -> list[Pair]:
    """So many of the pairs, all if None."""
    if number is not None:
        _at_least(1, sessions=number)
    first = list(itertools.islice(pairs, number))
    if number is not None and len(first) < number:
        raise ScenarioError(f"scenario: sessions = {number}: must be at most {len(first)} here, or a list of sessions")
    return first

"""Between scenarios and networkx graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

import networkx as nx
import numpy as np

from qnum_gym.config import ScenarioError
from qnum_gym.scenarios.fields import Link, Node, NodeId, Part, Session, session_fields

Graph: TypeAlias = "nx.Graph[Any]"
Pair: TypeAlias = tuple[NodeId, NodeId]


def from_graph(graph: Graph, sessions: object, routes: Sequence[Sequence[NodeId] | None] | None) -> dict[str, Any]:
    """The fields nodes, links, sessions (and name, if the graph has one) of a scenario over the graph."""
    check_graph(graph)
    if not isinstance(sessions, Iterable) or isinstance(sessions, (str, Mapping)):
        raise ScenarioError(f"scenario: sessions = {sessions!r}: must be a list of (source, destination) or Sessions")
    listed = list(cast("Iterable[object]", sessions))
    if routes is not None:
        if len(routes) != len(listed):
            raise ScenarioError(f"scenario: routes = {len(routes)} of them: must be as many as sessions, {len(listed)}")
        listed = [_with_path(session, route) for session, route in zip(listed, routes, strict=True)]
    fields: dict[str, Any] = {
        "nodes": [{**_known(data, Node), "name": node} for node, data in graph.nodes(data=True)],
        "links": [{**_known(data, Link), "a": a, "b": b} for a, b, data in graph.edges(data=True)],
        "sessions": listed,
    }
    if graph.graph.get("name"):
        fields["name"] = str(graph.graph["name"])
    return fields


def check_graph(graph: object) -> None:
    """Raise ScenarioError unless `graph` is an undirected networkx graph without parallel edges, with all lengths."""
    valid = "must be an undirected networkx.Graph without parallel edges"
    if not isinstance(graph, nx.Graph):
        raise ScenarioError(f"scenario: graph = {type(graph).__name__}: {valid}")
    graph = cast("Graph", graph)
    if graph.is_directed() or graph.is_multigraph():
        raise ScenarioError(f"scenario: graph = {graph}: {valid}; networkx.Graph(graph) makes it one")
    for edge in graph.edges:
        if "length_km" not in graph.edges[edge]:
            raise ScenarioError(f"scenario: graph edge {edge}: length_km is missing; give every edge its length in km")


def to_graph(nodes: Iterable[Node], links: Iterable[Link]) -> Graph:
    """An undirected graph with the given fields as attributes, and `index`, the place of each node and link."""
    graph: Graph = nx.Graph()
    for v, node in enumerate(nodes):
        graph.add_node(node.name, index=v, **node.model_dump(exclude={"name"}, exclude_none=True))
    for l, link in enumerate(links):
        graph.add_edge(link.a, link.b, index=l, **link.model_dump(exclude={"a", "b"}, exclude_none=True))
    return graph


def _known(data: Mapping[str, Any], part: type[Part]) -> dict[str, Any]:
    """The attributes that are fields of the part."""
    return {key: value for key, value in data.items() if key in part.model_fields}


def _with_path(session: object, route: Sequence[NodeId] | None) -> object:
    fields = session_fields(session)
    if route is not None and isinstance(fields, (Session, Mapping)):
        return {**dict(cast("Mapping[str, Any]", fields)), "path": route}
    return fields


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

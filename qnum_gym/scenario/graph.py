"""Between scenarios and networkx graphs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import networkx as nx

from qnum_gym.scenario.errors import ScenarioError
from qnum_gym.scenario.fields import Link, Node, NodeId, Part, Session


def from_graph(
    graph: nx.Graph, sessions: Iterable[Any], routes: Sequence[Sequence[NodeId] | None] | None
) -> dict[str, Any]:
    """The fields nodes, links, sessions (and name, if the graph has one) of a scenario over the graph."""
    check_graph(graph)
    listed = [_session(each, r) for r, each in enumerate(sessions)]
    if routes is not None:
        if len(routes) != len(listed):
            raise ScenarioError(f"scenario: routes = {len(routes)} of them: must be as many as sessions, {len(listed)}")
        listed = [{**each, "path": route} for each, route in zip(listed, routes, strict=True)]
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
    if graph.is_directed() or graph.is_multigraph():
        raise ScenarioError(f"scenario: graph = {graph}: {valid}; networkx.Graph(graph) makes it one")
    without = [(a, b) for a, b, length in graph.edges(data="length_km") if length is None]
    if without:
        raise ScenarioError(
            f"scenario: graph edge {without[0]}: length_km is missing ({len(without)} of {graph.number_of_edges()} "
            "edges); every edge needs its fibre length in km"
        )


def to_graph(nodes: Iterable[Node], links: Iterable[Link]) -> nx.Graph:
    """An undirected graph with the given fields as attributes, and `index`, the place of each node and link."""
    graph = nx.Graph()
    for v, node in enumerate(nodes):
        graph.add_node(node.name, index=v, **node.model_dump(exclude={"name"}, exclude_none=True))
    for l, link in enumerate(links):
        graph.add_edge(link.a, link.b, index=l, **link.model_dump(exclude={"a", "b"}, exclude_none=True))
    return graph


def _known(data: Mapping[str, Any], part: type[Part]) -> dict[str, Any]:
    """The attributes that are fields of the part."""
    return {key: value for key, value in data.items() if key in part.model_fields}


def _session(value: object, r: int) -> dict[str, Any]:
    """The fields of a session given as such, as a dict, or as (source, destination)."""
    if isinstance(value, Session):
        return dict(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, (tuple, list)) and len(cast("tuple[Any, ...]", value)) == 2:
        source, destination = cast("tuple[Any, Any]", value)
        return {"source": source, "destination": destination}
    raise ScenarioError(
        f"scenario: sessions[{r}] = {value!r}: must be (source, destination), a Session, or a dict of its fields"
    )

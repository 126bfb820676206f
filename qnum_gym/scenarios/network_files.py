"""Networks from files as graphs that a scenario can stand on: names, places, lengths, sessions. [ours]"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Hashable, Iterable, Mapping
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import networkx as nx
from pydantic import Field, ValidationError

from qnum_gym.config import Config, ScenarioError, described, explain
from qnum_gym.registry import suggest
from qnum_gym.scenarios.fields import Link, Node, NodeId, Positive, Real, Session
from qnum_gym.scenarios.geography import Place, great_circle_km, subdivide
from qnum_gym.scenarios.graph import Graph, random_pairs
from qnum_gym.scenarios.network_readers import READERS, find, json_of, read, rows_of, value_of
from qnum_gym.scenarios.yaml_io import parse

LENGTH = "length_km"
NAMES = ("label", "name")
LATITUDES, LONGITUDES = ("latitude", "Latitude", "lat"), ("longitude", "Longitude", "lon", "lng")
OURS = {"name", "latitude", "longitude", "a", "b", LENGTH}  # fields that the file's options say where to find
SHOWN = 5


class NetworkFileWarning(UserWarning):
    """Something of a network file is not in the scenario."""


class Reading(Config):
    """How a network file is read; these are also keywords of `Scenario.from_file`.

    Attributes:
        length: edge attribute with the length in km (if not given `length_km`); an edge without one is as long as the
            great circle between its ends, times `detour`.
        latitude, longitude: node attributes, degrees. names: node attribute with the names, or "id", the file's own;
            if not given the first of `label` and `name` that all nodes have, else "id".
        node_file: a CSV with further attributes of the nodes; its first column has their names.
        fields: attributes of nodes and edges that are fields of the scenario's: `coupling`, `coherence_time`, …
        detour: fibre over great circle, at least 1.
        parallel: what to do about several edges between two nodes: refuse, or keep the shortest.
        unplaced: about nodes whose edges have no length because coordinates are missing: refuse, or drop them.
        max_km: links longer than this are divided, with repeaters between.
        seed: of the sessions, if they are a number of random pairs.
    """

    length: str | None = None
    latitude: str | None = None
    longitude: str | None = None
    names: str | None = None
    node_file: str | None = None
    fields: tuple[str, ...] = ()
    detour: Real = Field(1.0, ge=1.0, allow_inf_nan=False)
    parallel: Literal["refuse", "shortest"] = "refuse"
    unplaced: Literal["refuse", "drop"] = "refuse"
    max_km: Positive | None = None
    seed: int = Field(0, ge=0, strict=True)


OPTIONS = tuple(Reading.model_fields)


def from_file(path: str | os.PathLike[str], sessions: object, options: Mapping[str, Any]) -> tuple[Graph, list[Any]]:
    """The network of a file, divided if `max_km` says so, and the sessions on it. See `Scenario.from_file`.

    Raises:
        ScenarioError: naming file, field, value, and what would be valid.
    """
    try:
        reading = Reading(**options)
    except ValidationError as error:
        raise ScenarioError(described(explain(error, {"": OPTIONS}), str(path))) from None
    graph = _File(str(path), reading).graph()
    chosen = _sessions(str(path), sessions, graph, reading.seed)
    if reading.max_km is not None:
        graph = subdivide(graph, reading.max_km)
    return graph, chosen


def is_network(path: str | os.PathLike[str]) -> bool:
    """Whether a file of that name would be read as a network."""
    return Path(os.fspath(path)).suffix in READERS


# --- the network ------------------------------------------------------------------------------------------------------


class _File:
    """A network file, and how to read it."""

    def __init__(self, path: str, reading: Reading) -> None:
        self._path, self._reading = path, reading
        self._raw = read(find(Path(path)))
        self._directed = self._raw.is_directed()
        if self._directed:
            self._raw = _both_ways(self._raw)
        self._names = self._named()
        if reading.node_file is not None:
            self._add(reading.node_file)
        self._places = self._placed()

    def graph(self) -> Graph:
        """Names, places and lengths as a scenario has them; with a warning for what is left out."""
        raw, graph = self._raw, cast("Graph", nx.Graph())
        self._check_fields()
        of_edges = {str(key) for _, _, data in raw.edges(data=True) for key in data}
        if self._reading.length is not None and self._reading.length not in of_edges:
            valid = f"no edge has it; valid: {', '.join(sorted(of_edges)) or 'none, lengths come from coordinates'}"
            self._refuse(f"length = {self._reading.length!r}: {valid}")
        for node, data in raw.nodes(data=True):
            place = self._places.get(node)
            own = dict(zip(("latitude", "longitude"), place, strict=True)) if place else {}
            graph.add_node(self._names[node], **own, **self._taken(data, Node))
        loops: list[str] = []
        unplaced: dict[Hashable, None] = {}
        for a, b, data in raw.edges(data=True):
            ends = self._names[a], self._names[b]
            km = self._length(a, b, data)
            if a == b:
                loops.append(str(ends[0]))
            elif km is None:
                unplaced |= dict.fromkeys(node for node in (a, b) if node not in self._places)
            elif not graph.has_edge(*ends):
                graph.add_edge(*ends, length_km=km, **self._taken(data, Link))
            elif self._directed and km == graph.edges[ends][LENGTH]:
                pass  # the way back
            elif self._reading.parallel == "refuse":
                self._refuse(f"edges {ends[0]} – {ends[1]}: there are several; parallel = 'shortest' keeps one")
            elif km < graph.edges[ends][LENGTH]:
                graph.edges[ends].clear()
                graph.edges[ends].update(length_km=km, **self._taken(data, Link))
        if unplaced and self._reading.unplaced == "refuse":
            nodes = _listed(self._names[node] for node in unplaced)
            self._refuse(
                f"nodes {nodes}: no latitude and longitude, and an edge there has no {self._length_name}; "
                "unplaced = 'drop' leaves them out"
            )
        graph.remove_nodes_from([self._names[node] for node in unplaced])
        isolated = [name for name in graph if not graph.adj[name]]
        graph.remove_nodes_from(isolated)
        for what, names in (
            ("edges from a node to itself", loops),
            ("nodes without coordinates", [self._names[node] for node in unplaced]),
            ("nodes without links", isolated),
        ):
            if names:
                warnings.warn(f"{self._path}: left out {what}: {_listed(names)}", NetworkFileWarning, stacklevel=6)
        if not graph:
            self._refuse("no edges; valid: a network with links")
        return graph

    @property
    def _length_name(self) -> str:
        return self._reading.length or LENGTH

    def _length(self, a: Hashable, b: Hashable, data: Mapping[str, Any]) -> float | None:
        """Km, as the edge says, or over the globe; None if neither says it."""
        if self._length_name in data:
            return self._number(f"edge {self._names[a]} – {self._names[b]}", self._length_name, data, 0.0, math.inf)
        if a not in self._places or b not in self._places:
            return None
        return round(self._reading.detour * great_circle_km(self._places[a], self._places[b]), 3)

    def _named(self) -> dict[Hashable, NodeId]:
        """The nodes' names, texts, no two alike."""
        of_file, wanted = self._raw.nodes(data=True), self._reading.names
        attribute = wanted or next((key for key in NAMES if all(key in data for _, data in of_file)), "id")
        if attribute != "id" and not all(attribute in data for _, data in of_file):
            self._refuse(f"names = {attribute!r}: not all nodes have it; valid: {self._attributes()}")
        names = {node: str(node if attribute == "id" else data[attribute]) for node, data in of_file}
        seen: set[str] = set()
        for name in names.values():
            if name in seen or not name.strip():
                self._refuse(f"node {attribute} = {name!r}: must be another for each node; valid: names = 'id'")
            seen.add(name)
        return dict(names)

    def _placed(self) -> dict[Hashable, Place]:
        """Latitude and longitude of the nodes that have them."""
        found: list[str] = []
        for what, unasked in (("latitude", LATITUDES), ("longitude", LONGITUDES)):
            wanted: str | None = getattr(self._reading, what)
            keys = [wanted] if wanted else unasked
            key = next((key for key in keys if any(key in data for _, data in self._raw.nodes(data=True))), None)
            if wanted and key is None:
                self._refuse(f"{what} = {wanted!r}: no node has it; valid: {self._attributes()}")
            found += [key] if key else []
        if len(found) < 2:
            return {}
        places: dict[Hashable, Place] = {}
        for node, data in self._raw.nodes(data=True):
            if all(key in data for key in found):
                of_node = f"node {self._names[node]}"
                north, east = (
                    self._number(of_node, key, data, -limit, limit) for key, limit in zip(found, (90, 180), strict=True)
                )
                places[node] = (north, east)
        return places

    def _add(self, file: str) -> None:
        """The further attributes of the nodes."""
        rows, of_name = rows_of(Path(file)), {name: node for node, name in self._names.items()}
        for row in rows:
            name = str(next(iter(row.values())))
            if name not in of_name:
                raise ScenarioError(f"{file}: node {name!r}: {suggest(name, of_name)}must be a node of {self._path}")
            self._raw.nodes[of_name[name]].update({key: value_of(text) for key, text in row.items() if text})

    def _check_fields(self) -> None:
        """What is taken over must be a field; what could be, but is not, is said."""
        valid = sorted({*Node.model_fields, *Link.model_fields} - OURS)
        for field in self._reading.fields:
            if field not in valid:
                self._refuse(f"fields = {field!r}: {suggest(field, valid)}valid: {', '.join(valid)}")
        there = {key for data in self._data() for key in data}
        ignored = sorted(there & set(valid) - set(self._reading.fields))
        if ignored:
            message = f"{self._path}: not read: {', '.join(ignored)}; fields = {ignored} takes them over"
            warnings.warn(message, NetworkFileWarning, stacklevel=7)

    def _taken(self, data: Mapping[str, Any], part: type[Node] | type[Link]) -> dict[str, Any]:
        return {key: data[key] for key in self._reading.fields if key in data and key in part.model_fields}

    def _data(self) -> Iterable[dict[str, Any]]:
        yield from (data for _, data in self._raw.nodes(data=True))
        yield from (data for _, _, data in self._raw.edges(data=True))

    def _attributes(self) -> str:
        return ", ".join(["id", *sorted({str(key) for _, data in self._raw.nodes(data=True) for key in data})])

    def _number(self, where: str, key: str, data: Mapping[str, Any], low: float, high: float) -> float:
        value = data[key]
        number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else value_of(str(value))
        if not isinstance(number, (int, float)) or not low <= number <= high or not math.isfinite(number):
            span = f"between {low:g} and {high:g}" if high < math.inf else f"of km, at least {low:g}"
            self._refuse(f"{where}: {key} = {value!r}: must be a number {span}")
        return float(number)

    def _refuse(self, what: str) -> NoReturn:
        raise ScenarioError(f"{self._path}: {what}")


def _listed(names: Iterable[object]) -> str:
    every = [str(name) for name in names]
    return ", ".join(every[:SHOWN]) + (f" and {len(every) - SHOWN} more" if len(every) > SHOWN else "")


# --- sessions ---------------------------------------------------------------------------------------------------------


def _sessions(path: str, sessions: object, graph: Graph, seed: int) -> list[Any]:
    """Those that are listed, of a file, all pairs, or a number of random ones."""
    if isinstance(sessions, int) and not isinstance(sessions, bool) and sessions > 0:
        joined = (pair for pair in random_pairs(graph, seed) if nx.has_path(graph, *pair))
        found = list(islice(joined, sessions))
        if len(found) < sessions:
            raise ScenarioError(f"{path}: sessions = {sessions}: must be at most {len(found)} here")
        return found
    if sessions == "all":
        return [pair for pair in combinations(graph, 2) if nx.has_path(graph, *pair)]
    if isinstance(sessions, (str, Path)) and Path(sessions).suffix in (".csv", ".json"):
        return _session_file(Path(sessions), graph)
    if isinstance(sessions, Iterable) and not isinstance(sessions, (str, bytes, Mapping)):
        return list(cast("Iterable[Any]", sessions))
    raise ScenarioError(
        f"{path}: sessions = {sessions!r}: must be a list of [source, destination], 'all', a number of random pairs, "
        "or a file that ends in .csv or .json"
    )


def _session_file(path: Path, graph: Graph) -> list[Any]:
    """A list of sessions (JSON); a row for each, with fields of `Session` for columns, or a demand matrix (CSV)."""
    if path.suffix == ".json":
        listed = json_of(path)
        if not isinstance(listed, list):
            raise ScenarioError(f"{path}: {listed!r:.80}: must be a list of sessions")
        return cast("list[Any]", listed)
    ends, valid = {"source", "destination"}, list(Session.model_fields)
    rows = rows_of(path)
    if rows and "destination" not in rows[0]:
        return _demand_matrix(path, rows, {str(name): name for name in graph})
    for key in rows[0] if rows else ends:
        if key not in valid:
            raise ScenarioError(f"{path}: column {key!r}: {suggest(key, valid)}valid: {', '.join(valid)}")
    return [
        {key: text if key in ends else parse(text, str(path)) for key, text in row.items() if text or key in ends}
        for row in rows
    ]


def _both_ways(directed: Graph) -> Graph:
    """Undirected, with an edge for each direction, as the two may differ."""
    graph = cast("Graph", nx.MultiGraph(**directed.graph))
    graph.add_nodes_from(directed.nodes(data=True))
    graph.add_edges_from(directed.edges(data=True))
    return graph


def _demand_matrix(path: Path, rows: list[dict[str, str]], nodes: Mapping[str, NodeId]) -> list[Any]:
    """A session for each entry above 0, with that for a rate cap: rows are sources, columns destinations."""
    first, *destinations = rows[0]
    if first not in ("", "source") or not set(destinations) <= set(nodes):
        wrong = first if first not in ("", "source") else next(key for key in destinations if key not in nodes)
        valid = "a row for each session with columns source,destination, or a matrix: source, and nodes for columns"
        raise ScenarioError(
            f"{path}: column {wrong!r}: {suggest(wrong, (*nodes, *Session.model_fields))}valid: {valid}"
        )
    found: list[Any] = []
    for i, row in enumerate(rows, 2):
        if row[first] not in nodes:
            raise ScenarioError(f"{path}: row {i}: unknown node {row[first]!r}; {suggest(row[first], nodes)}")
        for destination in destinations:
            cap = parse(row[destination] or "0", str(path))
            if isinstance(cap, bool) or not isinstance(cap, (int, float)) or not cap >= 0.0:
                raise ScenarioError(f"{path}: row {i}, {destination}: {cap!r}; valid: a rate in 1/s, 0 or nothing")
            if cap > 0.0:
                found.append({"source": nodes[row[first]], "destination": nodes[destination], "rate_cap": cap})
    return found

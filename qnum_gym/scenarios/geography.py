"""Networks on the globe: lengths from coordinates, and long links in equal parts with repeaters between. [ours]"""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any, TypeAlias

import networkx as nx

from qnum_gym.config import ScenarioError
from qnum_gym.scenarios.fields import NodeId
from qnum_gym.scenarios.graph import Graph

Place: TypeAlias = tuple[float, float]  # latitude and longitude, degrees

EARTH_RADIUS = 6371.0088  # km, the mean one
REPEATER = re.compile(r".+–.+ \d+")


def great_circle_km(a: Place, b: Place) -> float:
    """The shortest way over the globe, taken as a sphere: off by at most 0.6 %."""
    (north_a, east_a), (north_b, east_b) = (map(math.radians, place) for place in (a, b))
    haversine = (
        math.sin((north_b - north_a) / 2) ** 2
        + math.cos(north_a) * math.cos(north_b) * math.sin((east_b - east_a) / 2) ** 2
    )
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(min(haversine, 1.0)))


def between(a: Place, b: Place, share: float) -> Place:
    """The place at a `share` of the great circle from a to b; where a and b are opposite, of one of them."""
    angle = great_circle_km(a, b) / EARTH_RADIUS
    if angle < 1e-12:
        return a
    vectors = [_vector(place) for place in (a, b)]
    weights = [math.sin(part * angle) / math.sin(angle) for part in (1.0 - share, share)]
    x, y, z = (sum(w * v[i] for w, v in zip(weights, vectors, strict=True)) for i in range(3))
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _vector(place: Place) -> tuple[float, float, float]:
    north, east = map(math.radians, place)
    return math.cos(north) * math.cos(east), math.cos(north) * math.sin(east), math.sin(north)


def subdivide(graph: Graph, max_km: float) -> Graph:
    """The network with every link longer than `max_km` in equal parts, as few as there can be.

    The nodes between the parts are repeaters named "A–B 1", "A–B 2", … (from the end that the graph names first), and
    lie on the great circle if both ends have `latitude` and `longitude`. Parts keep the link's other attributes.

    Raises:
        ScenarioError: `max_km` is not above 0, or a long link has a `capacity`, which would be that of the whole.
    """
    if not 0.0 < max_km < math.inf:
        raise ScenarioError(f"scenario: max_km = {max_km!r}: must be a finite number greater than 0")
    divided: Graph = nx.Graph(**graph.graph)
    divided.add_nodes_from(graph.nodes(data=True))
    for a, b, data in graph.edges(data=True):
        parts = max(math.ceil(data["length_km"] / max_km * (1.0 - 1e-12)), 1)
        if parts > 1 and data.get("capacity") is not None:
            whole = f"is that of all {data['length_km']:g} km; valid: none where max_km divides a link"
            raise ScenarioError(f"scenario: link {a} – {b}: capacity = {data['capacity']!r}: {whole}")
        chain: list[NodeId] = [a, *(f"{a}–{b} {i}" for i in range(1, parts)), b]
        for i, name in enumerate(chain[1:-1], 1):
            if name in divided:
                raise ScenarioError(f"scenario: node {name!r}: is the name of a repeater that max_km = {max_km:g} adds")
            divided.add_node(name, **_placed(graph.nodes[a], graph.nodes[b], i / parts))
        part = {**data, "length_km": data["length_km"] / parts}
        divided.add_edges_from((u, v, part) for u, v in pairwise(chain))
    return divided


def is_repeater(name: NodeId) -> bool:
    """Whether it is a name that `subdivide` gives."""
    return isinstance(name, str) and REPEATER.fullmatch(name) is not None


def _placed(a: dict[str, Any], b: dict[str, Any], share: float) -> dict[str, float]:
    """Latitude and longitude at a share of the way, to a metre; nothing if the ends have none."""
    if any(node.get(key) is None for node in (a, b) for key in ("latitude", "longitude")):
        return {}
    north, east = between((a["latitude"], a["longitude"]), (b["latitude"], b["longitude"]), share)
    return {"latitude": round(north, 5), "longitude": round(east, 5)}

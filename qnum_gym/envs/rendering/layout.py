"""Where to draw the nodes: where they lie on the globe, as a topology says, or where networkx puts them."""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario, topologies
from qnum_gym.scenarios.geography import EARTH_RADIUS

Floats = NDArray[np.float64]

LARGEST = 150  # nodes that are laid out by path lengths; beyond, that takes too long


def positions(scenario: Scenario, aspect: float = 1.0) -> Floats:
    """[V, 2] places of the nodes, x and y each within 0 to 1, in a picture `aspect` times as wide as high."""
    if (places := on_the_map(scenario)) is not None:
        span = float(max(np.ptp(places[:, 0]) / aspect, np.ptp(places[:, 1]), 1e-9))  # a map is not bent
        return 0.5 + (places - (places.min(axis=0) + places.max(axis=0)) / 2.0) / (span * np.array([aspect, 1.0]))
    places = _known(scenario) or _drawn(scenario)
    xy = np.array([places[node.name] for node in scenario.nodes], dtype=np.float64)
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    return np.where(span > 1e-9, (xy - low) / np.where(span > 1e-9, span, 1.0), 0.5)


def on_the_map(scenario: Scenario) -> Floats | None:
    """[V, 2] km to the east and north of the network's middle, if all nodes have coordinates.

    On the cylinder that touches the network's middle latitude: lengths to the east are right there.
    """
    globe = np.array([(node.longitude, node.latitude) for node in scenario.nodes], dtype=np.float64)
    if np.isnan(globe).any():
        return None
    globe[:, 0] = (globe[:, 0] - globe[0, 0] + 180.0) % 360.0 - 180.0  # across the date line too
    middle = (globe.min(axis=0) + globe.max(axis=0)) / 2.0
    return np.radians(globe - middle) * (np.cos(np.radians(middle[1])), 1.0) * EARTH_RADIUS


def _known(scenario: Scenario) -> topologies.Places | None:
    names = {node.name for node in scenario.nodes}
    found = (topology().positions(scenario) for topology in topologies.TOPOLOGIES.values())
    return next((places for places in found if places and set(places) == names), None)


def _drawn(scenario: Scenario) -> topologies.Places:
    """By path lengths, the longer side lying."""
    graph = scenario.graph()
    small = len(graph) <= LARGEST
    places = nx.kamada_kawai_layout(graph) if small else nx.spring_layout(graph, seed=0, iterations=100)
    xy = np.array(list(places.values()))
    _, _, axes = np.linalg.svd(xy - xy.mean(axis=0), full_matrices=False)
    return dict(zip(places, (xy @ axes.T).tolist(), strict=True))

"""Where to draw the nodes: as a topology says, or where networkx puts them."""

from __future__ import annotations

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario, topologies

Floats = NDArray[np.float64]

LARGEST = 150  # nodes that are laid out by path lengths; beyond, that takes too long


def positions(scenario: Scenario) -> Floats:
    """[V, 2] places of the nodes, x and y each within 0 to 1."""
    places = _known(scenario) or _drawn(scenario)
    xy = np.array([places[node.name] for node in scenario.nodes], dtype=np.float64)
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    return np.where(span > 1e-9, (xy - low) / np.where(span > 1e-9, span, 1.0), 0.5)


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

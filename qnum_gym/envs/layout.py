"""Where to draw the nodes: known networks as people know them, others by what networkx makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import NodeId, Scenario

Floats = NDArray[np.float64]

# x to the east, y to the north, arbitrary units; NSFNET's nodes from Seattle to Princeton, moved apart a little.
NSFNET = {
    0: (0.6, 5.3), 1: (0.0, 3.8), 2: (1.2, 1.2), 3: (2.3, 3.8), 4: (3.5, 2.6), 5: (4.4, 0.4), 6: (4.9, 2.4),
    7: (6.1, 2.9), 8: (7.4, 2.5), 9: (7.2, 1.4), 10: (6.4, 5.1), 11: (9.0, 5.2), 12: (9.6, 0.6), 13: (9.9, 4.2),
}  # fmt: skip
SURFNET = {
    "Delft": (4.30, 52.05), "Rotterdam": (4.42, 51.87), "Leiden": (4.45, 52.22), "Amsterdam": (4.85, 52.40),
    "Utrecht": (5.02, 52.02), "Hilversum": (5.15, 52.21), "Almere": (5.30, 52.42), "Amersfoort": (5.42, 52.12),
    "Lelystad": (5.55, 52.55), "Wageningen": (5.55, 51.93), "Nijmegen": (5.88, 51.80), "Arnhem": (5.98, 51.98),
    "Apeldoorn": (5.92, 52.20), "Deventer": (6.20, 52.30), "Zutphen": (6.32, 52.12), "Zwolle": (6.09, 52.54),
    "Enschede": (6.89, 52.22),
}  # fmt: skip
LARGEST = 150  # nodes that are laid out by path lengths; beyond, that takes too long


def positions(scenario: Scenario) -> Floats:
    """[V, 2] places of the nodes, x and y each within 0 to 1."""
    names = [node.name for node in scenario.nodes]
    places = _known(names) or _lattice(scenario) or _drawn(scenario)
    xy = np.array([places[name] for name in names], dtype=np.float64)
    low, span = xy.min(axis=0), np.ptp(xy, axis=0)
    return np.where(span > 1e-9, (xy - low) / np.where(span > 1e-9, span, 1.0), 0.5)


def _known(names: list[NodeId]) -> Mapping[NodeId, tuple[float, float]] | None:
    for places in (NSFNET, SURFNET, _dumbbell(names)):
        if set(places) == set(names):
            return cast("Mapping[NodeId, tuple[float, float]]", places)
    return None


def _dumbbell(names: list[NodeId]) -> dict[NodeId, tuple[float, float]]:
    n = max(1, len(names) // 2 - 1)
    ends: dict[NodeId, tuple[float, float]] = {"left": (1.0, (n - 1) / 2), "right": (2.0, (n - 1) / 2)}
    for i in range(n):
        ends |= {f"s{i}": (0.0, float(n - 1 - i)), f"d{i}": (3.0, float(n - 1 - i))}
    return ends


def _lattice(scenario: Scenario) -> dict[NodeId, tuple[float, float]] | None:
    """`topologies.chain` and `topologies.grid`: rows from left to right, the first on top."""
    n = len(scenario.nodes)
    if {node.name for node in scenario.nodes} != set(range(n)):
        return None
    a = scenario.arrays(0.0)
    steps = set(np.abs(a.link_b - a.link_a).tolist())
    columns = max(steps) if len(steps) > 1 else n
    if not steps <= {1, columns} or n % columns:
        return None
    return {node.name: (float(v % columns), -float(v // columns)) for v, node in enumerate(scenario.nodes)}


def _drawn(scenario: Scenario) -> Mapping[NodeId, tuple[float, float]]:
    """By path lengths, the longer side lying."""
    graph = scenario.graph()
    small = len(graph) <= LARGEST
    places = nx.kamada_kawai_layout(graph) if small else nx.spring_layout(graph, seed=0, iterations=100)
    xy = np.array(list(places.values()))
    _, _, axes = np.linalg.svd(xy - xy.mean(axis=0), full_matrices=False)
    return dict(zip(places, (xy @ axes.T).tolist(), strict=True))

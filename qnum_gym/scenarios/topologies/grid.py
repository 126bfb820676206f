"""The grid."""

from __future__ import annotations

import networkx as nx
import numpy as np

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Places, RandomPairs, at_least


@TOPOLOGIES.registers("grid")
class Grid(RandomPairs):
    """Rows and columns of nodes; the node in row i, column j is i * cols + j; sessions join random nodes."""

    def graph(self, rows: int = 4, cols: int = 4, length_km: float = 10.0) -> Graph:
        """The network; all links have the same length."""
        at_least(1, rows=rows, cols=cols)
        at_least(2, nodes=rows * cols)
        graph: Graph = nx.Graph()
        graph.add_nodes_from(range(rows * cols))
        for node in graph:
            if (node + 1) % cols:
                graph.add_edge(node, node + 1, length_km=length_km)
            if node + cols < rows * cols:
                graph.add_edge(node, node + cols, length_km=length_km)
        return graph

    def positions(self, scenario: Scenario) -> Places | None:
        """Rows from left to right, the first on top; a chain is a single row."""
        n = len(scenario.nodes)
        if {node.name for node in scenario.nodes} != set(range(n)):
            return None
        a = scenario.arrays(0.0)
        steps = set(np.abs(a.link_b - a.link_a).tolist())
        columns = max(steps) if len(steps) > 1 else n
        if not steps <= {1, columns} or n % columns:
            return None
        return {node.name: (float(v % columns), -float(v // columns)) for v, node in enumerate(scenario.nodes)}

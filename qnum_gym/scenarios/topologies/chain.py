"""The chain: one route, one link after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import networkx as nx

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Pair, Topology, at_least


@TOPOLOGIES.registers("chain")
class Chain(Topology):
    """Nodes 0, 1, … in a row; sessions from end to end."""

    count = 1

    def graph(self, nodes: int = 5, length_km: float = 10.0) -> Graph:
        """The network; all links have the same length."""
        at_least(2, nodes=nodes)
        graph: Graph = nx.Graph()
        graph.add_edges_from(((v, v + 1) for v in range(nodes - 1)), length_km=length_km)
        return graph

    def sessions(self, graph: Graph) -> Iterator[Pair]:
        """The two ends, as often as wanted."""
        return itertools.repeat((0, len(graph) - 1))

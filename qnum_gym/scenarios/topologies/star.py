"""The star: a hub in the middle of every route."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Pair, Topology, at_least


@TOPOLOGIES.registers("star")
class Star(Topology):
    """A node "hub" with leaves 0, 1, …; sessions from leaf to leaf."""

    count = 4

    def graph(self, n: int = 4, length_km: float = 10.0) -> Graph:
        """The network of `n` leaves."""
        at_least(2, n=n)
        graph: Graph = nx.Graph()
        graph.add_edges_from((("hub", leaf) for leaf in range(n)), length_km=length_km)
        return graph

    def sessions(self, graph: Graph) -> Iterator[Pair]:
        """From each leaf to the next, then to the one after that, and so on."""
        leaves = len(graph) - 1
        return ((leaf, (leaf + step) % leaves) for step in range(1, leaves) for leaf in range(leaves))

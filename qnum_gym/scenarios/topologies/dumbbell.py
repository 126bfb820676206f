"""The dumbbell: every session shares one bottleneck."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Pair, Places, Topology, at_least


@TOPOLOGIES.registers("dumbbell")
class Dumbbell(Topology):
    """Sources s0, s1, … behind a router "left", destinations d0, d1, … behind "right", one bottleneck between."""

    count = None
    sized_by = "n"

    def graph(self, n: int = 3, access_km: float = 10.0, bottleneck_km: float = 20.0) -> Graph:
        """The network of `n` sources and destinations."""
        at_least(1, n=n)
        graph: Graph = nx.Graph()
        graph.add_nodes_from([*(f"s{i}" for i in range(n)), "left", "right", *(f"d{i}" for i in range(n))])
        graph.add_edges_from(((f"s{i}", "left") for i in range(n)), length_km=access_km)
        graph.add_edge("left", "right", length_km=bottleneck_km)
        graph.add_edges_from((("right", f"d{i}") for i in range(n)), length_km=access_km)
        return graph

    def sessions(self, graph: Graph) -> Iterator[Pair]:
        """Each source with its destination."""
        return ((f"s{i}", f"d{i}") for i in range(len(graph) // 2 - 1))

    def positions(self, scenario: Scenario) -> Places:
        """Sources on the left, destinations on the right, the first on top."""
        n = max(1, len(scenario.nodes) // 2 - 1)
        places = {"left": (1.0, (n - 1) / 2), "right": (2.0, (n - 1) / 2)}
        for i in range(n):
            places |= {f"s{i}": (0.0, float(n - 1 - i)), f"d{i}": (3.0, float(n - 1 - i))}
        return places

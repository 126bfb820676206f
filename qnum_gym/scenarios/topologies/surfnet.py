"""SURFnet, the research network of the Netherlands."""

from __future__ import annotations

from types import MappingProxyType

import networkx as nx

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Pair, Places, Topology

KM = (
    ("Delft", "Rotterdam", 16.8), ("Delft", "Leiden", 30.6), ("Leiden", "Amsterdam", 60.4),
    ("Rotterdam", "Utrecht", 70.0), ("Amsterdam", "Hilversum", 30.2), ("Amsterdam", "Almere", 38.9),
    ("Hilversum", "Utrecht", 36.7), ("Hilversum", "Almere", 35.4), ("Utrecht", "Amersfoort", 33.8),
    ("Almere", "Lelystad", 44.2), ("Amersfoort", "Wageningen", 62.5), ("Wageningen", "Nijmegen", 66.3),
    ("Arnhem", "Nijmegen", 25.7), ("Nijmegen", "Zutphen", 58.1), ("Apeldoorn", "Arnhem", 45.3),
    ("Apeldoorn", "Deventer", 24.4), ("Lelystad", "Zwolle", 47.7), ("Zwolle", "Deventer", 44.7),
    ("Zwolle", "Enschede", 78.7), ("Zutphen", "Enschede", 60.0),
)  # fmt: skip
# Longitude and latitude, moved apart a little.
PLACES = {
    "Delft": (4.30, 52.05), "Rotterdam": (4.42, 51.87), "Leiden": (4.45, 52.22), "Amsterdam": (4.85, 52.40),
    "Utrecht": (5.02, 52.02), "Hilversum": (5.15, 52.21), "Almere": (5.30, 52.42), "Amersfoort": (5.42, 52.12),
    "Lelystad": (5.55, 52.55), "Wageningen": (5.55, 51.93), "Nijmegen": (5.88, 51.80), "Arnhem": (5.98, 51.98),
    "Apeldoorn": (5.92, 52.20), "Deventer": (6.20, 52.30), "Zutphen": (6.32, 52.12), "Zwolle": (6.09, 52.54),
    "Enschede": (6.89, 52.22),
}  # fmt: skip


@TOPOLOGIES.registers("surfnet")
class SURFnet(Topology):
    """The Dutch research network pruned to 17 nodes and 20 links (after Vardoyan et al., arXiv:2307.04477)."""

    id = "SURFnet"
    count = None
    physics = MappingProxyType({"coherence_time": 100.0})

    def graph(self) -> Graph:
        """The network; there is nothing to choose."""
        graph: Graph = nx.Graph()
        graph.add_edges_from((a, b, {"length_km": km}) for a, b, km in KM)
        return graph

    def sessions(self, graph: Graph) -> tuple[Pair, ...]:
        """Six, over two to six links each."""
        return (
            ("Delft", "Enschede"),
            ("Leiden", "Zwolle"),
            ("Rotterdam", "Arnhem"),
            ("Amsterdam", "Nijmegen"),
            ("Utrecht", "Lelystad"),
            ("Almere", "Deventer"),
        )

    def positions(self, scenario: Scenario) -> Places:
        """As on a map."""
        return PLACES

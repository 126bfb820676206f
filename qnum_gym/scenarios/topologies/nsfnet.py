"""A metropolitan network of the shape of NSFNET, the classic backbone of the United States."""

from __future__ import annotations

import networkx as nx

from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Pair, Places, Topology, positive

KM = (
    (0, 1, 1100), (0, 2, 1600), (0, 7, 2800), (1, 2, 600), (1, 3, 1000), (2, 5, 2000), (3, 4, 600),
    (3, 10, 2400), (4, 5, 1100), (4, 6, 800), (5, 9, 1200), (5, 12, 2000), (6, 7, 700), (7, 8, 700), (8, 9, 900),
    (8, 11, 500), (8, 13, 500), (10, 11, 800), (10, 13, 800), (11, 12, 300), (12, 13, 300),
)  # fmt: skip
# From Seattle to Princeton, moved apart a little.
PLACES = {
    0: (0.6, 5.3), 1: (0.0, 3.8), 2: (1.2, 1.2), 3: (2.3, 3.8), 4: (3.5, 2.6), 5: (4.4, 0.4), 6: (4.9, 2.4),
    7: (6.1, 2.9), 8: (7.4, 2.5), 9: (7.2, 1.4), 10: (6.4, 5.1), 11: (9.0, 5.2), 12: (9.6, 0.6), 13: (9.9, 4.2),
}  # fmt: skip
SESSIONS = ((0, 13), (1, 9), (2, 11), (3, 8), (4, 12), (5, 10), (6, 1), (7, 2))


@TOPOLOGIES.registers("nsfnet")
class NSFNet(Topology):
    """A metropolitan network of NSFNET's shape: its 14 nodes and 21 links, lengths divided by `scale` [ours].

    At full length a link without repeaters is hopeless: `nsfnet-full` has them.
    """

    id = "NSFNet"
    count = None

    def graph(self, scale: float = 100.0) -> Graph:
        """The network with lengths divided by `scale`."""
        positive(scale=scale)
        graph: Graph = nx.Graph()
        graph.add_nodes_from(PLACES)
        graph.add_edges_from((a, b, {"length_km": km / scale}) for a, b, km in KM)
        return graph

    def sessions(self, graph: Graph) -> tuple[Pair, ...]:
        """Eight, over one to five links each."""
        return SESSIONS

    def positions(self, scenario: Scenario) -> Places | None:
        """As on a map; many another network has nodes 0 to 13, but other links."""
        known = {frozenset((a, b)) for a, b, _ in KM}
        return PLACES if all(frozenset((link.a, link.b)) in known for link in scenario.links) else None

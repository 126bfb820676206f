"""NSFNET at its full length, with repeaters."""

from __future__ import annotations

from types import MappingProxyType

import networkx as nx

from qnum_gym.scenarios.geography import subdivide
from qnum_gym.scenarios.graph import Graph, Pair
from qnum_gym.scenarios.topologies.nsfnet import KM, SESSIONS
from qnum_gym.scenarios.topologies.topology import TOPOLOGIES, Topology

TOWNS = {  # latitude and longitude; in the order of NSFNET's nodes
    "Seattle": (47.61, -122.33), "Palo Alto": (37.44, -122.14), "San Diego": (32.72, -117.16),
    "Salt Lake City": (40.76, -111.89), "Boulder": (40.01, -105.27), "Houston": (29.76, -95.37),
    "Lincoln": (40.81, -96.70), "Champaign": (40.12, -88.24), "Pittsburgh": (40.44, -79.99),
    "Atlanta": (33.75, -84.39), "Ann Arbor": (42.28, -83.74), "Ithaca": (42.44, -76.50),
    "College Park": (38.98, -76.94), "Princeton": (40.35, -74.66),
}  # fmt: skip


@TOPOLOGIES.registers("nsfnet-full")
class NSFNetFull(Topology):
    """NSFNET at its full length, its 21 links in parts of at most `max_km` with repeaters between.

    Over thousands of km pairs are few and late: hence memories of hours, and control intervals of a minute.
    """

    id = "NSFNetFull"
    count = None
    physics = MappingProxyType(
        {"coherence_time": 1e4, "control_interval": 60.0, "initial_rate": 0.1, "initial_werner": 0.995}
    )

    def graph(self, max_km: float = 100.0) -> Graph:
        """Fourteen towns and the repeaters between them."""
        whole: Graph = nx.Graph()
        whole.add_nodes_from((name, {"latitude": north, "longitude": east}) for name, (north, east) in TOWNS.items())
        names = tuple(TOWNS)
        whole.add_edges_from((names[a], names[b], {"length_km": float(km)}) for a, b, km in KM)
        return subdivide(whole, max_km)

    def sessions(self, graph: Graph) -> tuple[Pair, ...]:
        """The eight of `nsfnet`."""
        names = tuple(TOWNS)
        return tuple((names[a], names[b]) for a, b in SESSIONS)

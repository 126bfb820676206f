"""What is simulated: network, sessions, physics, events. One immutable `Scenario`, and its arrays.

- errors: ScenarioError, and how problems are put into words
- fields: Node, Link, Session, LinkEvent, NodeEvent, SessionEvent
- network: checks between the parts; paths filled in
- routes: the shortest-route rule
- arrays: Arrays, Change: everything resolved, flat, over time
- graph, yaml_io: from and to networkx and YAML
- network_files, network_readers, geography: networks from GraphML, GML, JSON and CSV, on the globe
- load_profiles: rate caps over time, by name or from CSV
- traffic: sessions that come and go at random; requests for a number of pairs
- model: Scenario
"""

from qnum_gym.config import ScenarioError
from qnum_gym.scenarios.arrays import Arrays, Change
from qnum_gym.scenarios.fields import LIGHT_SPEED, Link, LinkEvent, Node, NodeEvent, NodeId, Session, SessionEvent
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.traffic import poisson_requests, poisson_sessions

__all__ = [
    "LIGHT_SPEED",
    "Arrays",
    "Change",
    "Link",
    "LinkEvent",
    "Node",
    "NodeEvent",
    "NodeId",
    "Scenario",
    "ScenarioError",
    "Session",
    "SessionEvent",
    "poisson_requests",
    "poisson_sessions",
]

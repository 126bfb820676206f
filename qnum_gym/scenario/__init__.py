"""What is simulated: network, sessions, physics, events. One immutable `Scenario`, and its arrays.

- errors: ScenarioError, and how problems are put into words
- fields: Node, Link, Session, LinkEvent, NodeEvent
- network: checks between the parts; paths filled in
- routes: the shortest-route rule
- arrays: Arrays, Change: everything resolved, flat, over time
- graph, text: from and to networkx and YAML
- model: Scenario

Called, `qnum_gym.scenario("dumbbell")`, the module is `topologies.scenario`: a named scenario.
"""

import sys
from types import ModuleType
from typing import Any

from qnum_gym.scenario.arrays import DISCIPLINES, DROP_POLICIES, Arrays, Change
from qnum_gym.scenario.errors import ScenarioError
from qnum_gym.scenario.fields import LIGHT_SPEED, Link, LinkEvent, Node, NodeEvent, NodeId, Session
from qnum_gym.scenario.model import Scenario

__all__ = [
    "DISCIPLINES",
    "DROP_POLICIES",
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
]


class _Named(ModuleType):
    """The public function `qnum_gym.scenario` has this module's name: both are one object."""

    def __call__(self, name: str, /, **overrides: Any) -> Scenario:
        from qnum_gym.topologies import scenario  # which needs this module

        return scenario(name, **overrides)


sys.modules[__name__].__class__ = _Named

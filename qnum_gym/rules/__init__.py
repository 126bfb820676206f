"""Rules of the network, by name: when a source sends, who is served next or dropped, when nodes swap, what ends store.

A queue discipline or a drop policy is one class: a docstring, a rule that numba compiles, and the same rule in plain
Python, side by side. A pacing is one function for both. The name is then valid in a scenario, and kernel and reference
simulator have the rule; a test can hold them equal, event for event. Other people's rules get in by registering them,
by an entry point of a group such as "qnum_gym.disciplines", or by a scenario: `discipline: file.py:Name`.
"""

from qnum_gym.rules.disciplines import DISCIPLINES
from qnum_gym.rules.drop_policies import DROP_POLICIES
from qnum_gym.rules.holds import HOLDS
from qnum_gym.rules.pacings import PACINGS
from qnum_gym.rules.rule import NONE, Rules
from qnum_gym.rules.simulators import SIMULATORS
from qnum_gym.rules.swappings import SWAPPINGS

__all__ = ["DISCIPLINES", "DROP_POLICIES", "HOLDS", "NONE", "PACINGS", "SIMULATORS", "SWAPPINGS", "Rules"]

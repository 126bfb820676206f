"""Rules of the network, by name: who is served next, who is dropped when a memory is full, and when nodes swap.

A queue discipline or a drop policy is one class: a docstring, a rule that numba compiles, and the same rule in plain
Python, side by side. Its name is then valid in a scenario, and kernel and reference simulator have it; a test can hold
both forms equal, event for event. Other people's rules get in by `registers`, as an entry point of the group
"qnum_gym.disciplines" or "qnum_gym.drop_policies", or by a scenario that names one: `discipline: file.py:Name`.
"""

from qnum_gym.rules.disciplines import DISCIPLINES
from qnum_gym.rules.drop_policies import DROP_POLICIES
from qnum_gym.rules.rule import NONE, Rules
from qnum_gym.rules.swappings import SWAPPINGS

__all__ = ["DISCIPLINES", "DROP_POLICIES", "NONE", "SWAPPINGS", "Rules"]

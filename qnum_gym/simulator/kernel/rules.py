# pyright: basic
"""Registered disciplines and drop policies, called by their addresses: the kernel itself knows none of them.

So who registers one more changes nothing in what numba keeps on the disk, and may do so while simulators run.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import register_jitable

from qnum_gym import caching, rules
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, Rules
from qnum_gym.simulator import pointers, state
from qnum_gym.simulator.kernel.view import merged, view_at
from qnum_gym.simulator.pointers import address, caller

MOST = 256  # disciplines, and drop policies
TABLE = np.zeros(2 * MOST, np.int64)  # where the compiled disciplines begin, by code, then the drop policies
_known: dict[int, type[Any]] = {}  # what TABLE has, by place
_call = caller(types.int64)
_entry = caching.entry(rules, state, pointers, file=os.path.dirname(__file__))


@merged
def choose(s, discipline, l):
    """Whom a discipline serves next at link l."""
    return _call(s.rules[discipline], (s.row, l))


@merged
def choose_victim(s, policy, l, h):
    """Whom a drop policy drops at link l in the memory of hop h; NONE: the newcomer."""
    return _call(s.rules[MOST + policy], (s.row, l, h))


def prepare(links: np.ndarray) -> None:
    """Have the rules of these LINK records compiled and in TABLE.

    Raises:
        ValueError: numba cannot compile one.
    """
    for registry, begin in ((DISCIPLINES, 0), (DROP_POLICIES, MOST)):
        for code in np.unique(links[registry.field]).tolist():
            rule = registry.at(code)
            if _known.get(begin + code) is not rule:
                TABLE[begin + code] = _compiled(registry, registry.names()[code], rule)
                _known[begin + code] = rule


def _compiled(registry: Rules, name: str, rule: type[Any]) -> int:
    """The address of a rule as a function of numbers: where the network's row is, and what the rule is asked about."""
    choice: Any = register_jitable(rule.compiled)

    def discipline(row, l):
        return np.int64(choice(view_at(row), l))

    def drop_policy(row, l, h):
        return np.int64(choice(view_at(row), l, h))

    function = discipline if registry is DISCIPLINES else drop_policy
    own = rule.__module__.startswith(f"{rules.__name__}.")  # other people's code is compiled anew in every process
    function.__qualname__ = f"{registry.field}_{name}"
    dispatcher = (_entry if own else njit(nogil=True, error_model="numpy"))(function)
    try:
        return address(dispatcher, (types.int64,) * function.__code__.co_argcount)
    except Exception as error:  # numba has many
        raise ValueError(f"{registry.field} = {name!r}: numba cannot compile the rule: {error}") from error

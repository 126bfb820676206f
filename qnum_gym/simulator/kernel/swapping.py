# pyright: basic
"""What the kinds of swapping do differently: four functions each, called by the code of the kind."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from qnum_gym.rules import SWAPPINGS
from qnum_gym.simulator.kernel import parallel, sequential
from qnum_gym.simulator.kernel.view import merged

KINDS: dict[str, ModuleType] = {"sequential": sequential, "parallel": parallel}
if tuple(KINDS) != SWAPPINGS.names()[: len(KINDS)]:
    raise ImportError(f"swapping: the kernel has {', '.join(KINDS)}; valid: {', '.join(SWAPPINGS)}, in this order")


def prepare(clock: np.ndarray) -> None:
    """Raise a ValueError unless the kernel has the kind of swapping of these CLOCK records."""
    name = SWAPPINGS.names()[clock["swapping"].max()]
    if name not in KINDS:
        raise ValueError(f"swapping = {name!r}: no rules in the kernel; valid: {', '.join(KINDS)}")


def _choice(action: str):
    """One compiled function (kind, s, x, t) out of every kind's `action` (s, x, t)."""
    first, *others = (getattr(kind, action) for kind in KINDS.values())

    @merged
    def chosen(kind, s, x, t):
        return first(s, x, t)

    for code, own in enumerate(others, 1):
        chosen = _either(code, own, chosen)
    return chosen


def _either(code: int, own, other):
    @merged
    def chosen(kind, s, x, t):
        if kind == code:
            return own(s, x, t)
        return other(kind, s, x, t)

    return chosen


on_injected = _choice("on_injected")
on_pair = _choice("on_pair")
on_header = _choice("on_header")
on_decay_change = _choice("on_decay_change")

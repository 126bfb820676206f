"""Pacing: how a source spaces its q-datagrams (model.md §4.1).

A pacing is one function, which numba compiles too: the gap from one q-datagram to the next, in units of 1/R, of a
number u drawn evenly from (0, 1]. Gaps are independent of each other, and one on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qnum_gym.registry import Registry

DRAWS = 2_000  # evenly over (0, 1), to look at a new pacing


@dataclass(frozen=True, slots=True)
class Pacing:
    """How a source spaces its q-datagrams.

    Attributes:
        name: how it is called.
        gap: of u, as above.
        doc: one line that says what it is.

    Raises:
        ValueError: a gap that is negative or no number, or not one on average.
    """

    name: str
    gap: Callable[[float], float]
    doc: str = ""

    def __post_init__(self) -> None:
        draws = [(i + 0.5) / DRAWS for i in range(DRAWS)] + [2.0**-53, 1.0]
        try:
            gaps = [float(self.gap(u)) for u in draws]
        except Exception as error:  # whatever somebody else's code raises
            raise self.refused(f"its gap fails: {type(error).__name__}: {error}") from error
        for u, gap in zip(draws, gaps, strict=True):
            if not 0.0 <= gap < math.inf:
                raise self.refused(f"gap({u:g}) = {gap}; valid: finite, at least 0")
        mean = sum(gaps[:DRAWS]) / DRAWS
        if not abs(mean - 1.0) < 1e-3:
            raise self.refused(f"gaps are {mean:.6g} on average; valid: 1, so that R is the rate")

    def refused(self, why: str) -> ValueError:
        """The error for a gap that cannot be."""
        return ValueError(f"pacing = {self.name!r}: {why}")


def _made(name: str, found: Any) -> Pacing:
    return found if isinstance(found, Pacing) else Pacing(name, found)


PACINGS: Registry[Pacing] = Registry("pacing", "qnum_gym.pacings", _made)


def register(name: str, gap: Callable[[float], float], *, doc: str = "") -> Pacing:
    """Add a pacing, before the first environment that uses it is made; the arguments are `Pacing`'s.

    Raises:
        ValueError: the name is taken, or a gap that cannot be.
    """
    return PACINGS.register(name, Pacing(name, gap, doc))


def poisson(u: float) -> float:
    """Exponential gaps."""
    return -math.log(u)


def even(u: float) -> float:
    """All gaps alike."""
    return 1.0


register("poisson", poisson, doc="[paper] at random")
register("even", even, doc="[ours] evenly")

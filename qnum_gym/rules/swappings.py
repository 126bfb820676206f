"""Kinds of swapping. What each does is a file of its own in `simulator/kernel` and in `simulator/reference`."""

from __future__ import annotations

from dataclasses import dataclass

from qnum_gym.registry import Registry


@dataclass(frozen=True, slots=True)
class Swapping:
    """A kind of swapping.

    Attributes:
        doc: one line that says what it is.
        parallel: which formulas solver and controllers take for it: those of model.md §7.4, where all links of a route
            work at once (True), or those of §7, where one works after the other (False). None: they have none.
    """

    doc: str
    parallel: bool | None = None


SWAPPINGS: Registry[Swapping] = Registry("swapping")
SWAPPINGS.register("sequential", Swapping("One link of a route after the other (model.md §4). [paper]", parallel=False))
SWAPPINGS.register("parallel", Swapping("All links of a route at once (model.md §4.9). [ours]", parallel=True))

"""Kinds of swapping. What each does is a file of its own in `simulator/kernel` and in `simulator/reference`."""

from __future__ import annotations

from qnum_gym.registry import Registry

SWAPPINGS: Registry[str] = Registry("swapping")
SWAPPINGS.register("sequential", "One link of a route after the other (model.md §4). [paper]")
SWAPPINGS.register("parallel", "All links of a route at once (model.md §4.9). [ours]")

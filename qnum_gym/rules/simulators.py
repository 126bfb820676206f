"""Simulators: how a scenario is simulated. Each is a loop of its own in `simulator/kernel`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from qnum_gym.registry import Registry


@dataclass(frozen=True, slots=True)
class SimulatorKind:
    """A way to simulate a scenario.

    Attributes:
        doc: one line that says what it is.
        only: fields of a scenario, its links and sessions that it knows some values of, and these.
    """

    doc: str
    only: Mapping[str, tuple[object, ...]] = field(default_factory=dict[str, tuple[object, ...]])


SIMULATORS: Registry[SimulatorKind] = Registry("simulator")
SIMULATORS.register("packet", SimulatorKind("Every q-datagram by itself (model.md §4). [paper]"))
SIMULATORS.register(
    "fluid",
    SimulatorKind(
        "Deterministic flows, the mean of what packets do (model.md §13). [ours]",
        {
            "swapping": ("sequential",),
            "discipline": ("fifo",),
            "drop_policy": ("drop_tail",),
            "pacing": ("poisson",),
            "cutoff": (None, math.inf),
            "message_loss": (0.0,),
            "worth": ("pooled",),
            "pairs": (None,),
        },
    ),
)

"""Holds: how long the two end nodes of a session store their halves of a pair (model.md §4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from qnum_gym.registry import Registry


@dataclass(frozen=True, slots=True)
class Hold:
    """What a hold says of a pair's two ends; simulators, formulas and headers take it from here.

    Attributes:
        doc: one line that says what it is.
        stored_at_ends: whether source and destination store their halves, which decay there; else both measure at once.
        until_ack: whether they store them until the ACK has come to the source; else until the destination has the
            header.
    """

    doc: str
    stored_at_ends: bool = True
    until_ack: bool = False


HOLDS: Registry[Hold] = Registry("hold")
HOLDS.register("header", Hold("Until the destination has its header. [paper]"))
HOLDS.register("ack", Hold("Until the ACK has come to the source, for use of stored pairs. [ours]", until_ack=True))
HOLDS.register("measure", Hold("Both ends measure at once, for keys. [ours]", stored_at_ends=False))

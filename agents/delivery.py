"""What a source measures of the losses on its way: the share of its q-datagrams that is delivered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qnum_gym.simulator.telemetry import SessionTelemetry

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Delivery:
    """ACKs over ACKs and losses of every source, over the last `memory` intervals that brought an ACK.

    An interval without one waits for the next that has one: a way that is shut says nothing of what it delivers else.
    """

    def __init__(self, sessions: int, memory: float) -> None:
        self._keep = 1.0 - 1.0 / max(memory, 1.0)
        self._acks, self._losses, self._waiting = np.zeros((3, sessions))

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [R]."""
        for counts in (self._acks, self._losses, self._waiting):
            counts[rows] = 0.0

    def update(self, seen: SessionTelemetry) -> None:
        """Count what an interval brought; begin anew where a session is off."""
        heard = seen.delivered > 0
        waiting = self._waiting + seen.dropped
        keep = np.where(heard, self._keep, 1.0)
        self._acks = keep * self._acks + seen.delivered
        self._losses = keep * self._losses + np.where(heard, waiting, 0.0)
        self._waiting = np.where(heard, 0.0, waiting)
        self.forget(~seen.active)

    @property
    def unknown(self) -> Bools:
        """[R] whether there was no ACK yet."""
        return self._acks == 0.0

    def injection(self, demand: Floats, least: Floats) -> Floats:
        """[R] rate from which `demand` [R] is delivered, 1/s, at least `least` [R]."""
        return np.maximum(demand / self.share, least)

    @property
    def share(self) -> Floats:
        """[R] share delivered; 1 as long as it is unknown."""
        return np.where(self.unknown, 1.0, self._acks / np.where(self.unknown, 1.0, self._acks + self._losses))

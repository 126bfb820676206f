"""What the policy's signals cost on the classical channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

STAMPS = ("sources_stamp", "links_stamp")  # of the clock's record


class ControlTraffic:
    """What the policy's signals cost on the classical channels in the last interval, counted when asked for.

    A header carries the source's signal, if the policy stamps one, from the first pair on, and the sum of the links'
    signals, if they give any; an ACK or NACK takes that sum back. Each is one scalar per hop. A message counts where it
    arrives: a header at the end of every hop, an ACK or NACK at the source for all of its way; lost ones do not count.
    What every policy's headers carry alike (model.md §4) is left out. [ours]
    """

    __slots__ = ("_hops", "_sessions", "_stamps")

    def __init__(self, hops: np.ndarray, sessions: np.ndarray, stamps: Sequence[int | Ints]) -> None:
        """stamps: 0 or 1, whether sources and whether links stamp signals; for all sessions, or [R] each."""
        self._hops, self._sessions, self._stamps = hops, sessions, stamps

    @property
    def header_hops(self) -> Ints:
        """[R] hops over which headers came, with their first pair or a later one."""
        later = self._hops[self._hops["index"] > 0]
        between = np.bincount(later["session"], later["arrivals"], len(self._sessions))
        return between.astype(np.int64) + self._sessions["arrived"]

    @property
    def answer_hops(self) -> Ints:
        """[R] hops over which ACKs and NACKs came back, those after a time-out too."""
        return self._sessions["answer_hops"].copy()

    @property
    def scalars(self) -> Ints:
        """[R] the policy's scalars, each counted once per hop."""
        sources, links = self._stamps
        return (sources + links) * self.header_hops + links * self.answer_hops

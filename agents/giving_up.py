"""Sources whose floor or demand is out of reach, and which give it up so that others are served. [ours]"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PATIENCE = 20.0  # intervals for which it has to cost too much
REST = 1000.0  # intervals until a source tries again; twice as many each time
SHORTEST = 0.1  # of these intervals at least, though its pairs have become good enough meanwhile


class GivingUp:
    """What every source remembers of that, [3, R]: how often it gave up, for how long it costs too much or it rests.

    The price of a floor, of f(W) > 0 or of a demand that cannot be met rises for ever, and all who share a link pay it.
    So a source gives up what has cost more than `most` per unit of its weight for `PATIENCE` intervals.
    """

    def __init__(self, sessions: int, most: float) -> None:
        self._most = most
        self._times, self._costly, self._rested = np.zeros((3, sessions))

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [R]."""
        for memory in (self._times, self._costly, self._rested):
            memory[rows] = 0.0

    def update(self, cost: Floats, good: Bools) -> None:
        """Count an interval.

        Args:
            cost: [R] price of what is not kept, per unit of weight.
            good: [R] whether such pairs came as are asked for, to a source that asks for no number of them.
        """
        rest = REST * 2.0 ** (self._times - 1.0)
        rested = (self._rested >= rest) | (good & (self._rested >= SHORTEST * rest))
        self._costly = np.where(~self.resting & (cost > self._most), self._costly + 1.0, 0.0)
        self._rested = np.where(self.resting & ~rested, self._rested + 1.0, 0.0)
        gives_up = self._costly >= PATIENCE
        self._times += gives_up
        self._rested = np.where(gives_up, 1.0, self._rested)

    @property
    def resting(self) -> Bools:
        """[R] who has given up."""
        return self._rested > 0.0

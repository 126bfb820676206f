"""What the pairs of a few sessions are worth, each by its own measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qnum_gym.simulator.formulas import FORMULAS

Floats = NDArray[np.float64]


class PairValue:
    """f(W) and W f'(W) of R sessions' pairs, each by its own measure.

    Args:
        codes: [R] places in `werner.MEASURES`.
    """

    def __init__(self, codes: NDArray[np.int64]) -> None:
        self._groups = [(FORMULAS[code], np.flatnonzero(codes == code)) for code in np.unique(codes)]

    def __call__(self, w: Floats) -> tuple[Floats, Floats]:
        """f [R] and W f' [R] of w[R]; f is negative where the pair is worth nothing."""
        if len(self._groups) == 1:
            return self._groups[0][0](w)[:2]
        worth, slope = np.empty_like(w), np.empty_like(w)
        for formula, chosen in self._groups:
            worth[chosen], slope[chosen] = formula(w[chosen])[:2]
        return worth, slope

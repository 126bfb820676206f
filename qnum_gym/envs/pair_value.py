"""What the pairs of a few sessions are worth, each by its own measure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qnum_gym.simulator import formulas

Floats = NDArray[np.float64]


class PairValue:
    """f(W) and W f'(W) of R sessions' pairs, each by its own measure.

    Args:
        codes: [R] places in `measures.MEASURES`.
    """

    def __init__(self, codes: NDArray[np.int64]) -> None:
        self._codes = np.asarray(codes)
        formulas.prepare(codes)

    def __call__(self, w: Floats) -> tuple[Floats, Floats]:
        """f [R] and W f' [R] of w[R]; f is negative where the pair is worth nothing."""
        return formulas.pair_values(formulas.TABLE, self._codes, w)

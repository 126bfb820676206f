"""What pairs are worth: `werner.py`'s own formulas of f(W) and W f'(W), compiled for the few numbers of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numba.extending import register_jitable
from numpy.typing import NDArray

from qnum_gym import werner

Floats = NDArray[np.float64]

register_jitable(werner._xlogx)  # pyright: ignore
_FORMULAS: tuple[Any, ...] = tuple(njit(cache=True)(werner._TERMS[m]) for m in werner.MEASURES)  # pyright: ignore
NEGATIVITY, SECRET_KEY, DISTILLABLE = _FORMULAS  # each: w[R] -> f, W f', and its slope


class Worth:
    """f(W) and W f'(W) of R sessions' pairs, each by its own measure.

    Args:
        codes: [R] places in `werner.MEASURES`.
    """

    def __init__(self, codes: NDArray[np.int64]) -> None:
        self._groups = [(_FORMULAS[code], np.flatnonzero(codes == code)) for code in np.unique(codes)]

    def __call__(self, w: Floats) -> tuple[Floats, Floats]:
        """f [R] and W f' [R] of w[R]; f is negative where the pair is worth nothing."""
        if len(self._groups) == 1:
            return self._groups[0][0](w)[:2]
        worth, slope = np.empty_like(w), np.empty_like(w)
        for formula, chosen in self._groups:
            worth[chosen], slope[chosen] = formula(w[chosen])[:2]
        return worth, slope

# pyright: basic
"""What pairs are worth: `werner.py`'s own formulas of f(W), W f'(W) and W² f''(W), compiled by numba."""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.extending import register_jitable

from qnum_gym import werner
from qnum_gym.simulator import caching

register_jitable(werner._xlogx)  # pyright: ignore
FORMULAS: tuple[Any, ...] = tuple(  # by code, the place in `werner.MEASURES`; of a number or an array of any shape
    caching.entry(file=werner.__file__)(werner._TERMS[measure])  # pyright: ignore
    for measure in werner.MEASURES
)
NEGATIVITY, SECRET_KEY, DISTILLABLE = FORMULAS


@njit(nogil=True, error_model="numpy")
def worth(code, w):
    """f⁺(W) = max(f(W), 0) of one pair."""
    if code == 0:
        f = NEGATIVITY(w)[0]
    elif code == 1:
        f = SECRET_KEY(w)[0]
    else:
        f = DISTILLABLE(w)[0]
    return max(f, 0.0)

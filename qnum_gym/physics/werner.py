"""Werner pairs: fidelity, swapping, storage.

A Werner pair is W |Phi+><Phi+| + (1 - W) I/4, with Werner parameter W in [-1/3, 1]. Everything here takes a float or an
array of any shape and gives the same back. Source: model.md §3 (arXiv:2510.09371 for Werner states and homogeneous
depolarising memories; a decay rate per node is [ours]).
"""

from __future__ import annotations

from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])


def fidelity(w: Number) -> Number:
    """Fidelity F = (3W + 1)/4 of a Werner pair."""
    return (3.0 * w + 1.0) / 4.0


def werner(f: Number) -> Number:
    """Werner parameter W = (4F - 1)/3 of a pair of fidelity F."""
    return (4.0 * f - 1.0) / 3.0


def swap(w1: Number, w2: Number, gate_factor: float | Number = 1.0) -> Number:
    """Werner parameter after a successful swap of two pairs; `gate_factor` (at most 1) is the swap's own damage."""
    return w1 * w2 * gate_factor


def decay(w: Number, seconds: float | Number, rate: float | Number) -> Number:
    """Werner parameter after storage for `seconds`; `rate` is gamma_a + gamma_b (1/s), summed over the two nodes."""
    return cast(Number, w * np.exp(-rate * seconds))

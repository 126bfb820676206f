# pyright: basic
"""The clock: whole nanoseconds, and what is left of one in units of 2^-62 ns."""

from __future__ import annotations

import numpy as np

from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import SECOND

WHOLE = 1 << 62


@inner
def ticks(seconds):
    """Nanoseconds in `seconds`: whole ones, and the rest in units of 2^-62 ns.

    The product is exact: a factor with 24 or 29 digits, times 1e9, which has 21, has no more than a float can hold. A
    float that is the nearest one to a whole number of nanoseconds, as that of 0.1 s is, stands for that number.
    """
    high = np.float64(np.float32(seconds))
    a, b = high * SECOND, (seconds - high) * SECOND
    whole, rest_a, rest_b = np.int64(np.trunc(a)) + np.int64(np.trunc(b)), a - np.trunc(a), b - np.trunc(b)
    nearest = np.float64(whole) + np.rint(rest_a + rest_b)
    if nearest < 2.0**53 and nearest / SECOND == seconds:
        return np.int64(nearest), 0
    units = np.int64(rest_a * WHOLE) + np.int64(rest_b * WHOLE)
    return whole + (units >> 62), units & (WHOLE - 1)


@inner
def horizon(clock):
    """The time (ns) up to which all advances together lead: their sum, rounded once, half to even."""
    half = WHOLE >> 1
    return clock.horizon + np.int64(clock.rest > half or (clock.rest == half and clock.horizon & 1 == 1))

# pyright: basic
"""Random numbers: a stream is a key, and its n-th draw SplitMix64 at key + n (model.md §4)."""

from __future__ import annotations

import math

import numpy as np

from qnum_gym.simulator.kernel.view import inner


@inner
def uniform(key, n):
    """The n-th number of stream `key`, in (0, 1]."""
    z = key + (n + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.int64(z >> np.uint64(11)) + 1) * (1.0 / 9007199254740992.0)


@inner
def exponential(key, n):
    """The n-th number of stream `key` as a unit exponential."""
    return -math.log(uniform(key, n))

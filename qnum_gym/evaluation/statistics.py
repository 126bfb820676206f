"""Means over seeds and what is known about them: percentile bootstrap intervals, paired where policies are compared.

Seeds are the unit of resampling. Every policy runs on the same seeds, so one resample draws the same seeds for all of
them: the noise that they share cancels in differences and ratios (common random numbers). [ours]
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over seeds, or a comparison of two, with its bootstrap interval."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def mean(values: Floats) -> Interval:
    """Mean of values [S], one per seed, with its 95 % interval. From one seed the interval is that one value.

    Raises:
        ValueError: no values.
    """
    resampled = _resampled(values)
    return _interval(float(values.mean()), resampled)


def difference(values: Floats, reference: Floats) -> Interval:
    """Mean of values − reference, both [S] on the same seeds."""
    return mean(values - reference)


def ratio(values: Floats, reference: Floats) -> Interval:
    """Mean of values [S] over mean of reference [S], on the same seeds; NaN where the reference's mean is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = _resampled(values) / _resampled(reference)
        centre = float(np.divide(values.mean(), reference.mean()))
    if not np.isfinite(centre) or not np.isfinite(quotients).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    return _interval(centre, quotients)


def _interval(centre: float, resampled: Floats) -> Interval:
    low, high = np.quantile(resampled, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0]).tolist()
    return Interval(centre, min(low, centre), max(high, centre))  # rounding: the mean of equal values is inside


def _resampled(values: Floats) -> Floats:
    """[B] means of resamples of values [S]."""
    return _shares(len(values)) @ values


@lru_cache(maxsize=4)
def _shares(seeds: int) -> Floats:
    """[B, S] share of each seed in each resample, the same for every policy and in every run of the program."""
    if seeds < 1:
        raise ValueError("no seeds: valid: at least 1 value")
    counts = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1.0 / seeds), size=RESAMPLES)
    return counts / seeds

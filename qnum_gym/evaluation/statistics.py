"""Means over seeds and what is known about them: percentile bootstrap intervals, paired where policies are compared.

Seeds are the unit of resampling. Every policy runs on the same seeds, so one resample draws the same seeds for all of
them: the noise that they share cancels in differences and ratios (common random numbers). [ours]

On one scenario: `mean`, `difference`, `ratio` of values [S]. Over many tasks: scores [K, S, T] of K trainings (1 for
what is not trained), S seeds of the episodes and T tasks, summed up after Agarwal et al., *Deep Reinforcement Learning
at the Edge of the Statistical Precipice* (NeurIPS 2021, arXiv:2108.13264). Resampled are the seeds, within each task
(their stratified bootstrap), and the trainings, the same ones in all tasks [ours]: one training is one network
everywhere, so its luck does not average out over tasks. Tasks are not resampled: intervals are about these tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

RESAMPLES = 10_000
RESAMPLES_OF_TASKS = 2_000  # as in Agarwal et al.
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean over seeds, or a comparison of two, with its bootstrap interval."""

    mean: float
    low: float
    high: float

    def __format__(self, spec: str) -> str:
        return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"


def few(seeds: int, enough: int) -> list[str]:
    """What fewer seeds than `enough` do to the intervals, as a sentence; else none.

    Resampling knows the deviation about the S seeds' own mean, which is smaller by sqrt(1 - 1/S).
    """
    narrow = 1.0 - math.sqrt(1.0 - 1.0 / seeds)
    few = f"{seeds} paired seeds make intervals about {narrow:.0%} too narrow, {enough} would do"
    if seeds == 1:
        few = f"one seed has no interval, {enough} would do"
    return [few] if seeds < enough else []


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


def rank_correlation(values: Floats, others: Floats) -> Interval:
    """Spearman's rank correlation of the means of values [P, S] and others [P, S] of P policies on S paired seeds.

    Ties share their mean rank. NaN where all of one kind are equal.
    """
    from scipy import stats  # takes its time  # pyright: ignore[reportMissingTypeStubs]

    def correlation(x: Floats, y: Floats) -> Floats:
        ranks: list[Floats] = [cast(Any, stats).rankdata(means, axis=-1) for means in (x, y)]
        a, b = (rank - rank.mean(axis=-1, keepdims=True) for rank in ranks)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (a * b).sum(axis=-1) / np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))

    shares = _shares(values.shape[1])
    centre = float(correlation(values.mean(axis=1), others.mean(axis=1)))
    return _interval(centre, correlation(shares @ values.T, shares @ others.T))


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


# --- over many tasks --------------------------------------------------------------------------------------------------


class Profile(NamedTuple):
    """Share of the runs, [n] for n thresholds, whose score is above them, with its pointwise band."""

    share: Floats
    low: Floats
    high: Floats


def interquartile_mean(scores: Floats, resamples: int = RESAMPLES_OF_TASKS) -> Interval:
    """Mean of the middle half of all scores [K, S, T], with its 95 % interval.

    Raises:
        ValueError: no scores, or not of three axes.
    """
    _check(scores)
    return _interval(_middle(scores), np.array([_middle(resample) for resample in _of_runs(scores, resamples)]))


def worst_decile(scores: Floats, resamples: int = RESAMPLES_OF_TASKS) -> Interval:
    """Mean of the worst tenth of all scores [K, S, T], with its 95 % interval: the CVaR at 10 %.

    A tenth of n scores that is not a whole number of them counts the last one in part.

    Raises:
        ValueError: no scores, or not of three axes.
    """
    _check(scores)
    return _interval(_worst(scores), np.array([_worst(resample) for resample in _of_runs(scores, resamples)]))


def probability_of_improvement(ours: Floats, theirs: Floats, resamples: int = RESAMPLES_OF_TASKS) -> Interval:
    """P(X > Y) + P(X = Y)/2 for a run X of `ours` and a run Y of `theirs` on the same task, mean over tasks.

    Per task it is Mann and Whitney's U over the number of pairs of runs. Shapes are [K, S, T] and [K', S, T].

    Raises:
        ValueError: no scores, or of other seeds or tasks.
    """
    return _compared(_improvement, ours, theirs, resamples)


def paired_difference(ours: Floats, theirs: Floats, resamples: int = RESAMPLES_OF_TASKS) -> Interval:
    """Mean over tasks and seeds of `ours` [K, S, T] − `theirs` [K', S, T], trainings averaged.

    Raises:
        ValueError: no scores, or of other seeds or tasks.
    """
    return _compared(lambda x, y: float(x.mean() - y.mean()), ours, theirs, resamples)


def performance_profile(scores: Floats, thresholds: Floats, resamples: int = RESAMPLES_OF_TASKS) -> Profile:
    """Share of all scores [K, S, T] above each of `thresholds` [n], with its 95 % band, pointwise.

    Raises:
        ValueError: no scores, or not of three axes.
    """
    _check(scores)
    resampled = np.array([_above(resample, thresholds) for resample in _of_runs(scores, resamples)])
    low, high = np.quantile(resampled, [(1.0 - LEVEL) / 2.0, (1.0 + LEVEL) / 2.0], axis=0)
    return Profile(_above(scores, thresholds), low, high)


def _middle(scores: Floats) -> float:
    """Mean without the lowest and the highest quarter of the values, each rounded down to whole ones."""
    cut = scores.size // 4
    return float(np.sort(scores, axis=None)[cut : scores.size - cut].mean())


def _worst(scores: Floats) -> float:
    """Mean of the lowest 0.1 n of n values; at least of one value."""
    ordered = np.sort(scores, axis=None)
    count = max(ordered.size / 10.0, 1.0)
    return float(np.clip(count - np.arange(ordered.size), 0.0, 1.0) @ ordered / count)


def _improvement(ours: Floats, theirs: Floats) -> float:
    tasks = ours.shape[2]
    gain = ours.reshape(-1, 1, tasks) - theirs.reshape(1, -1, tasks)
    return float((gain > 0.0).mean() + 0.5 * (gain == 0.0).mean())


def _above(scores: Floats, thresholds: Floats) -> Floats:
    return 1.0 - np.searchsorted(np.sort(scores, axis=None), thresholds, side="right") / scores.size


def _compared(statistic: Callable[[Floats, Floats], float], ours: Floats, theirs: Floats, resamples: int) -> Interval:
    """Of two policies; a resample has the same seeds for both."""
    _check(ours)
    _check(theirs)
    if ours.shape[1:] != theirs.shape[1:]:
        raise ValueError(f"scores of shape {ours.shape} and {theirs.shape}: valid: the same seeds and tasks")
    pairs = zip(_of_runs(ours, resamples), _of_runs(theirs, resamples, stream=2), strict=True)
    return _interval(statistic(ours, theirs), np.array([statistic(x, y) for x, y in pairs]))


def _of_runs(scores: Floats, resamples: int, stream: int = 1) -> Iterator[Floats]:
    """Resamples of scores [K, S, T]; `stream` is that of the trainings, the seeds' is always the same."""
    trainings, seeds, tasks = scores.shape
    of_seeds, of_trainings = np.random.default_rng(0), np.random.default_rng(stream)
    for _ in range(resamples):
        chosen = of_seeds.integers(seeds, size=(seeds, tasks))
        kept = of_trainings.integers(trainings, size=(trainings, 1, 1))
        yield scores[kept, chosen, np.arange(tasks)]


def _check(scores: Floats) -> None:
    if scores.ndim != 3 or not scores.size:
        raise ValueError(f"scores of shape {scores.shape}: valid: [trainings, seeds, tasks], at least 1 of each")

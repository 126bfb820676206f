"""Statistics over many tasks, against SciPy, hand-worked cases and distributions that are known."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.statistics import (
    interquartile_mean,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    worst_decile,
)

RNG = np.random.default_rng


def one(*rows):
    """Scores of one training: a row per seed."""
    return np.array([rows], dtype=float)


@pytest.mark.parametrize("shape", [(1, 5, 9), (1, 1, 1), (3, 4, 7), (1, 2, 3)])
def test_interquartile_mean_is_scipys_trimmed_mean(shape):
    scores = RNG(1).gamma(1.0, size=shape)
    expected = stats.trim_mean(np.ravel(scores), 0.25)
    assert interquartile_mean(scores, 10).mean == pytest.approx(expected, rel=1e-14)


def test_interquartile_mean_by_hand():
    """Of 0 1 2 3 4 5 100 1000 the middle four are 2 3 4 5."""
    scores = one([1000, 0, 2, 5], [1, 4, 100, 3])
    assert interquartile_mean(scores).mean == 3.5


@pytest.mark.parametrize("shape", [(1, 5, 9), (1, 1, 1), (3, 4, 7), (1, 10, 12)])
def test_worst_decile_is_the_mean_of_the_lowest_tenth_of_each_score_taken_ten_times(shape: tuple[int, ...]) -> None:
    scores = RNG(1).gamma(1.0, size=shape)
    lowest = np.sort(np.repeat(scores.ravel(), 10))[: max(scores.size, 10)]
    assert worst_decile(scores, 10).mean == pytest.approx(lowest.mean(), rel=1e-13)


def test_worst_decile_by_hand_and_of_a_distribution_that_is_known() -> None:
    """Of 0 … 24 the lowest two and a half: (0 + 1 + 2/2)/2.5. Of a normal one: −φ(z)/0.1 with Φ(z) = 0.1."""
    assert worst_decile(one(*np.arange(25.0).reshape(5, 5)[::-1])).mean == pytest.approx(0.8)
    expected = -stats.norm.pdf(stats.norm.ppf(0.1)) / 0.1
    found = [worst_decile(sample, 80) for sample in RNG(12).normal(size=(40, 1, 40, 25))]
    assert np.mean([interval.mean for interval in found]) == pytest.approx(expected, abs=0.03)
    assert 0.85 <= np.mean([interval.low <= expected <= interval.high for interval in found]) <= 1.0


def test_improvement_is_mann_whitneys_u():
    ours, theirs = RNG(2).integers(6, size=(3, 5, 8)).astype(float), RNG(3).integers(6, size=(1, 5, 8)).astype(float)
    found = probability_of_improvement(ours, theirs, 10).mean
    each = [stats.mannwhitneyu(ours[:, :, t].ravel(), theirs[:, :, t].ravel()).statistic / (15 * 5) for t in range(8)]
    assert found == pytest.approx(np.mean(each), rel=1e-14)  # with ties
    assert found + probability_of_improvement(theirs, ours, 10).mean == pytest.approx(1.0)


def test_improvement_by_hand():
    """Task 0: 1 and 3 against 2 and 2: half. Task 1: 5 and 6 against 5 and 1: 5 = 5, 5 > 1, 6 > 5, 6 > 1: 3.5 of 4."""
    found = probability_of_improvement(one([1, 5], [3, 6]), one([2, 5], [2, 1]))
    assert found.mean == pytest.approx((0.5 + 0.875) / 2)
    certain = probability_of_improvement(one([3, 5], [4, 6]), one([2, 4], [1, 3]))
    assert certain == pytest.approx((1.0, 1.0, 1.0))


def test_profile_by_hand():
    profile = performance_profile(one([0.0, 0.5], [0.5, 1.0]), np.array([-1.0, 0.0, 0.4, 0.5, 0.9, 1.0]))
    np.testing.assert_allclose(profile.share, [1.0, 0.75, 0.75, 0.25, 0.25, 0.0])
    # task 0 yields 0 or 0.5, task 1 0.5 or 1: the share above 0.4 is 0.5 with probability 1/4
    assert (profile.low <= profile.share).all()
    assert (profile.share <= profile.high).all()
    assert profile.low[2] == 0.5
    assert profile.high[2] == 1.0


def test_profile_band_is_the_binomials():
    """One task, 40 seeds, 30 above: a resample's count is Binomial(40, 0.75)."""
    scores = np.repeat([0.0, 1.0], [10, 30])[np.newaxis, :, np.newaxis]
    profile = performance_profile(scores, np.array([0.5]), 4000)
    low, high = stats.binom(40, 0.75).ppf([0.025, 0.975]) / 40
    assert profile.low[0] == pytest.approx(low, abs=0.0251)
    assert profile.high[0] == pytest.approx(high, abs=0.0251)


def covered(samples, truth, resamples=120):
    intervals = [interquartile_mean(sample, resamples) for sample in samples]
    return np.mean([each.low <= truth <= each.high for each in intervals])


def test_interval_of_seeds_covers_about_as_often_as_it_says():
    """All tasks of one symmetric distribution: the interquartile mean of everything is its centre."""
    samples = RNG(4).normal(3.0, size=(150, 1, 12, 6))
    assert 0.88 <= covered(samples, 3.0) <= 0.99


def test_interval_counts_a_training_once_however_many_tasks_there_are():
    """Its luck is the same in all tasks: resampled as so many more seeds, it would seem to average out."""
    rng = RNG(5)
    samples = rng.normal(size=(100, 12, 1, 1)) + 0.3 * rng.normal(size=(100, 12, 3, 6))
    assert 0.85 <= covered(samples, 0.0) <= 0.99
    assert covered(samples.reshape(100, 1, 36, 6), 0.0) < 0.7


def test_paired_difference_takes_out_what_seeds_share():
    rng = RNG(6)
    shared = rng.normal(scale=10.0, size=(1, 30, 4))
    ours, theirs = shared + 1.0 + 0.1 * rng.normal(size=(2, 30, 4)), shared
    found = paired_difference(ours, theirs)
    assert found.mean == pytest.approx((ours.mean(axis=0) - theirs[0]).mean())
    assert found.high - found.low < 0.3
    assert interquartile_mean(ours).high - interquartile_mean(ours).low > 1.0
    single = ours[:1] - theirs
    within: list[Any] = [stats.bootstrap((single[0, :, t],), np.mean, rng=RNG(7)).standard_error for t in range(4)]
    found = paired_difference(ours[:1], theirs)
    assert found.high - found.low == pytest.approx(2 * 1.96 * np.sqrt(np.sum(np.square(within))) / 4, rel=0.1)


def test_rank_correlation_is_spearmans_with_ties_and_an_interval():
    rng = RNG(11)
    ours, theirs = rng.normal(size=(6, 20)), rng.normal(size=(6, 20))
    ours[2] = ours[3]
    found = statistics.rank_correlation(ours, theirs)
    correlation: Any = stats.spearmanr(ours.mean(axis=1), theirs.mean(axis=1))
    assert found.mean == pytest.approx(correlation.statistic)
    assert found.low < found.mean < found.high
    order = np.arange(6.0)[:, np.newaxis] + np.zeros((6, 20))
    assert statistics.rank_correlation(order, -order).mean == pytest.approx(-1.0)


def test_tasks_are_strata():
    """Seeds that all agree leave nothing to resample, however different the tasks are."""
    scores = np.broadcast_to(RNG(8).normal(size=12), (1, 5, 12)).copy()
    found = interquartile_mean(scores)
    assert found.high - found.low < 1e-12


def test_the_same_scores_give_the_same_interval():
    scores = RNG(9).normal(size=(2, 5, 6))
    assert interquartile_mean(scores) == interquartile_mean(scores.copy())


def test_what_cannot_be_summed_up_is_refused():
    with pytest.raises(ValueError, match=r"shape \(5, 6\): valid: \[trainings, seeds, tasks\]"):
        interquartile_mean(np.zeros((5, 6)))
    with pytest.raises(ValueError, match="at least 1 of each"):
        statistics.performance_profile(np.zeros((1, 0, 3)), np.zeros(1))
    with pytest.raises(ValueError, match="valid: the same seeds and tasks"):
        probability_of_improvement(np.zeros((1, 5, 6)), np.zeros((1, 4, 6)))

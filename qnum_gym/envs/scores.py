"""Measured utility and score (model.md §5, [ours]): of the last intervals, and of an episode.

Measurements are pooled before they are judged: rows of plain sums, one per control interval, are added up over a
window, and only the sum is turned into rates, Werner parameters and utilities. A session that delivers twice a second
is then not judged by an empty second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.optimum import Yardstick, fairness, yardstick
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.physics import measures
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.arrays import WISHES, Arrays
from qnum_gym.simulator import formulas

Floats = NDArray[np.float64]

Number = TypeVar("Number", float, Floats)

WINDOW = 20  # intervals pooled for the reward


@dataclass(frozen=True, slots=True)
class OutcomeOf(Generic[Number]):
    """What a stretch of time came to, of one network with R sessions; of n networks at once all has a first axis of n.

    score: gm / gm*, the share of the optimum: gm of the penalised utility below, gm* of the optimum's, certainty
        equivalents where `fairness` is not 1. NaN for a
        scenario none of whose sessions can be served, and for an episode in whose second half no session counted; 0
        where nothing counted yet.
    relative: (U − U₀)/(U₁ − U₀), 0 for `equal_share` and 1 for the optimum; 0 if no session counted.
    utility: U = Σ_r share_r U_r, in nats for `fairness` 1. Of U_r is taken off what broken floors and demands
        cost (`Yardstick`).
    geometric_mean: of R·f(W) as measured, weighted by share_r, 1/s (bit/s for `secret_key`), without what broken
        promises cost; the certainty equivalent (30) where `fairness` is not 1; 0 if no session counted.
    optimum: gm*, the geometric mean of the optimum that applied, 1/s; 0 if no session counted.
    seconds: length of the stretch.
    cost: Σ_r of the two shortfalls, each as a share of what was asked, `min_fidelity` or `min_rate`; 0 if all is kept.
    fairness: α of the scenario's utilities.
    jain: (Σ x_r)²/(n Σ x_r²) of the n sessions that counted, x_r = R_r·f⁺(W_r); 0 where all are 0, or none counted.
    worst, worst_session: the least x_r and its session; −1 if none counted.
    mean_age: mean of `age` over the sessions that counted, s.
    requests, completed: sessions with a number of `pairs` that ended, and those of them that had all of them by then.
    completion_time: mean time from begin to end of the latter, s; 0 if there is none.
    waste: elementary pairs made over hops of the pairs delivered, all sessions: 1 if every pair made was of use.
    rate: [R] pairs delivered per second of the time that counted; of a session that never counted, of the time that it
        was active and connected.
    werner, fidelity: [R] mean Werner parameter of those pairs, and their fidelity; W = 0 where none was delivered.
    session_relative: [R] (U_r − u₀)/(u₁ − u₀) with u = U/Σ share, the same two references for every session, 0 for a
        session that never counted: their mean weighted by share_r is `relative`.
    utilities: [R] U_r, less what the session's broken floor and demand cost; 0 for one that never counted.
    fidelity_shortfall, rate_shortfall: [R] how far fidelity and rate (1/s) stay below the session's `min_fidelity` and
        `min_rate`; 0 where they do not, where nothing was asked for, and for a session that never counted.
    counted: [R] seconds of the stretch that each session counted: that it was active, and not hopeless.
    share: [R] the session's weight times the part of the stretch that it counted.
    age: [R] time since the session's last delivery, mean over the time that it counted, s; 0 for one that never did.
    """

    score: Number
    relative: Number
    utility: Number
    geometric_mean: Number
    optimum: Number
    seconds: Number
    cost: Number
    fairness: Number
    jain: Number
    worst: Number
    worst_session: Number
    mean_age: Number
    waste: Number
    requests: Number
    completed: Number
    completion_time: Number
    rate: Floats
    werner: Floats
    fidelity: Floats
    session_relative: Floats
    utilities: Floats
    fidelity_shortfall: Floats
    rate_shortfall: Floats
    counted: Floats
    share: Floats
    age: Floats


Outcome: TypeAlias = OutcomeOf[float]  # of one network
Outcomes: TypeAlias = OutcomeOf[Floats]  # of n networks


class Judge:
    """Judges a stretch of time of each of n networks; `put` says of which scenarios.

    Args:
        sums: [n, k, 10R + 9] rows of k intervals that make up the stretches, see `Score`; looked at in every call. Of a
            network with fewer than R sessions a row begins with its own numbers.

    Attributes:
        figures: [n, 16] of `compiled.FIGURES`. rows: [n, 10, R] of `compiled.ROWS`: what the stretches came to.
        outcomes: the same by name; views, which every call overwrites.
    """

    def __init__(self, sums: Floats) -> None:
        n, sessions = len(sums), (sums.shape[2] - 9) // 10
        self.figures, self.rows = np.zeros((n, len(compiled.FIGURES))), np.zeros((n, len(compiled.ROWS), sessions))
        self.outcomes: Outcomes = _outcome(*np.moveaxis(self.figures, 1, 0), *np.moveaxis(self.rows, 1, 0))
        self._counts, self._codes = np.zeros(n, np.int64), np.zeros((n, sessions), np.int64)
        self._rules, self._nothing, self._sums = np.zeros((n, 1, 5, sessions)), np.zeros(n), sums

    def put(self, i: int, score: Score) -> None:
        """In place i comes a network of this score's scenario."""
        self._counts[i] = n = len(score.codes)
        if (more := len(score.rules) - self._rules.shape[1]) > 0:
            self._rules = np.pad(self._rules, ((0, 0), (0, more), (0, 0), (0, 0)))
        self._codes[i] = self._rules[i] = 0
        self._codes[i, :n], self._rules[i, : len(score.rules), :, :n] = score.codes, score.rules
        self._nothing[i] = score.nothing
        self.figures[i] = self.rows[i] = 0.0

    @property
    def arguments(self) -> tuple[Any, ...]:
        """Of `compiled.judge_each`."""
        rules = self._codes, self._rules, self._nothing
        return (self._counts, self._sums, formulas.TABLE, *rules, self.figures, self.rows)

    def __call__(self, which: NDArray[np.int64]) -> None:
        """Judge the networks `which`."""
        compiled.judge_all(which, self.arguments)

    def outcome(self, i: int) -> Outcome:
        """What network i's stretch came to (a copy)."""
        return _outcome(*self.figures[i].tolist(), *self.rows[i, :, : self._counts[i]].copy())


class OverTime:
    """What the intervals of n networks with at most R sessions are held against, as `put` says.

    Attributes:
        arguments: `Score.times` [n, k] and `Score.per_second` [n, k, 6R + 4], filled up with moments that never come.
    """

    def __init__(self, n: int, sessions: int) -> None:
        self.arguments = np.full((n, 1), np.inf), np.zeros((n, 1, 6 * sessions + 4))

    def put(self, i: int, score: Score) -> None:
        """In place i comes a network of this score's scenario."""
        (times, per_second), (moments, size) = self.arguments, score.per_second.shape
        if moments > times.shape[1]:
            more = 0, moments - times.shape[1]
            times = np.pad(times, ((0, 0), more), constant_values=np.inf)
            per_second = np.pad(per_second, ((0, 0), more, (0, 0)))
            self.arguments = times, per_second
        times[i], per_second[i] = np.inf, 0.0
        times[i, :moments], per_second[i, :moments, :size] = score.times, score.per_second


def _outcome(*values: Any) -> Any:
    """An `OutcomeOf` the values of `FIGURES` and `ROWS`."""
    return OutcomeOf(**dict(zip((*compiled.FIGURES, *compiled.ROWS), values, strict=True)))


class Score:
    """Judges what a scenario's intervals came to: rows of sums, one per interval, added up.

    A row is [10R + 9]: pairs delivered [R], the sum of their Werner parameters [R], seconds that counted [R], the sum
    of f⁺(W) [R], ∫ of the penalties for floors [R] and demands [R]; of sessions that deliver though they cannot be
    served: seconds [R], pairs [R], the sum of their Werner parameters [R]; ∫U₀ dt, ∫U₁ dt, seconds; ∫ of the ages of
    sessions that count [R], pairs made, hops of the pairs delivered; requests that ended, those of them with all their
    pairs, and the sum of the times that these took; which of `rules` held. A session counts while it is active and not
    hopeless, and as long as it lacks a pair that it asked for. What it is held against is the `optimum.yardstick` of
    each moment: a stretch that spans an event is judged against the time average of what applied.

    Where a session's weight, floor, demand or cap changes, the stretch falls into parts: each is pooled by itself, and
    utilities are means over their time. Pooled over both parts, a session that delivers 1/s and then 20/s would look
    better than the optimum, which is an average of logarithms. An interval belongs to the part in which it ends.

    Attributes:
        codes: [R] of the sessions' measures. rules: [·, 5, R] weight, K (−inf: no floor), demand in pairs/s, 1 where
            pairs are told apart, α; one after the other, as they hold.
        nothing: the score where no session counted: NaN if none ever can, else 0.
        times: [k] s, moments of change. per_second: [k, 6R + 4] what holds from each on.

    Warns:
        optimum.ScoreWarning: at some moment sessions are hopeless, or cannot be served together.
    """

    def __init__(self, scenario: Scenario) -> None:
        a = scenario.arrays(0.0)
        self.codes = a.measure
        formulas.prepare(self.codes)
        apart = np.full(len(a.weight), float(scenario.worth == "per_pair"))
        self.times = np.array(scenario.change_times())
        wishes = {change.time for change in scenario.changes() if change.kind in WISHES}
        parts = [scenario.arrays(time) for time in (0.0, *sorted(wishes))]
        self.rules = np.array([[x.weight, x.log_werner_floor, x.min_rate, apart, x.fairness] for x in parts])
        part = np.cumsum([time in wishes for time in self.times])
        scales = [yardstick(scenario, time) for time in self.times]
        self.per_second = np.array(
            [[*_per_second(scale), i, *_own(scale, self.codes)] for scale, i in zip(scales, part, strict=True)]
        )
        counting = self.per_second[:, len(a.weight) : 2 * len(a.weight)] > 0.0
        wanted = any(scenario.arrays(time).active.any() for time in self.times)
        self.nothing = math.nan if wanted and not counting.any() else 0.0

    def outcome(self, rows: Floats) -> Outcome:
        """What the stretch of the intervals with `rows` [n, 10R + 9] came to; longer ones end in what is ignored."""
        judge = Judge(rows[np.newaxis])
        judge.put(0, self)
        judge(np.zeros(1, np.int64))
        return judge.outcome(0)

    def result(self, rows: Floats) -> Outcome:
        """Outcome of the second half of an episode with `rows` [n, 10R + 9]; of an odd n the middle one belongs to it.

        Raises:
            ValueError: there is no row.
        """
        if not len(rows):
            raise ValueError("the episode has no interval yet")
        found = self.outcome(np.ascontiguousarray(rows[len(rows) // 2 :]))
        return found if found.counted.any() else replace(found, score=math.nan)


def row_size(sessions: int) -> int:
    """Length of a row of sums, see `Score`."""
    return 10 * sessions + 9


def neighbourhoods(arrays: Arrays) -> Floats:
    """[R + L, R] whose rewards are a controller's business [ours]: the session's weight where they are, else 0.

    A source's (the first R rows): the sessions with a link in common with its own, itself among them. A link's: the
    sessions that cross it; a row of zeros where none does.
    """
    sessions = len(arrays.weight)
    crosses = np.zeros((len(arrays.capacity), sessions))
    crosses[arrays.hop_link, arrays.hop_session] = 1.0
    shares_link = crosses.T @ crosses > 0.0
    return np.concatenate((shares_link, crosses)) * arrays.weight


def local_rewards(neighbourhood: Floats, session_rewards: Floats, counted: Floats, reward: Floats | float) -> Floats:
    """[…, R + L] each controller's local reward: that of its neighbourhood alone.

    That is the mean of the sessions' rewards weighted with their shares (weight times the time that they counted).
    Where none of the neighbourhood counted, the reward of all. The same bit for bit for one environment as for many.

    Args:
        neighbourhood: [R + L, R] of `neighbourhoods`, or one for each environment.
        session_rewards: […, R] of the sessions.
        counted: […, R] as in `Outcome`.
        reward: […] of all.
    """
    *front, sessions = np.shape(session_rewards)
    agents = neighbourhood.shape[-2]
    rows = (np.ascontiguousarray(array, np.float64).reshape(-1, sessions) for array in (session_rewards, counted))
    local = np.empty((math.prod(front), agents))
    compiled.local_rewards(
        np.ascontiguousarray(neighbourhood).reshape(-1, agents, sessions), *rows, np.reshape(reward, -1), local
    )
    return local.reshape(*front, agents)


def _per_second(scale: Yardstick) -> Floats:
    """What holds from a change to the next one, [4R + 3].

    What every second adds to a row: [R] 1 if a session delivers but cannot be served, [R] 1 if it counts, [R] and [R]
    its penalties, U₀, U₁, 1.
    """
    parts = (scale.worthless, scale.counts, scale.floor_penalty, scale.demand_penalty)
    return np.concatenate((*parts, [scale.lower, scale.upper, 1.0]), dtype=np.float64)


def _own(scale: Yardstick, codes: NDArray[np.int64]) -> Floats:
    """[2R] what each session that counts adds to U₀ and U₁: of U₀ the part of its weight, of U₁ ω_r U_r at the optimum.

    As much is taken off where it has all its pairs before its deadline. What the others could get then is not known.
    """
    weight = np.where(scale.counts, scale.weight, 0.0)
    best = np.where(scale.counts, scale.best_rates * measures.values(codes, scale.best_werner), 1.0)
    utilities = fairness.utility(np.maximum(best, RATE_FLOOR), scale.fairness)
    lower = scale.lower / weight.sum() if scale.counts.any() else 0.0
    return np.concatenate((weight * lower, weight * utilities))

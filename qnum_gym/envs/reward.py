"""Measured utility, score and reward (model.md §5, [ours]): of the last intervals, and of an episode.

Measurements are pooled before they are judged: rows of plain sums, one per control interval, are added up over a
window, and only the sum is turned into rates, Werner parameters and utilities. A session that delivers twice a second
is then not judged by an empty second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.optimum import Yardstick, yardstick
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.arrays import Arrays
from qnum_gym.simulator import Telemetry
from qnum_gym.simulator.sealing import StateError, alike

Floats = NDArray[np.float64]

WINDOW = 20  # intervals pooled for the reward


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stretch of time came to.

    score: gm / gm*, the share of the optimum: gm of the penalised utility below, gm* of the optimum's. NaN for a
        scenario none of whose sessions can be served, and for an episode in whose second half no session counted; 0
        where nothing counted yet.
    reward: (U − U₀)/(U₁ − U₀), 0 for `equal_share` and 1 for the optimum; 0 if no session counted.
    utility: U = Σ_r share_r U_r, nats, share_r being the session's weight times the part of the time that it counted:
        that it was active, and not hopeless. Of U_r is taken off what broken floors and demands cost (`Yardstick`).
    geometric_mean: of R·f(W) as measured, weighted by share_r, 1/s (bit/s for `secret_key`), without what broken
        promises cost; 0 if no session counted.
    rate: [R] pairs delivered per second of the time that counted; of a session that never counted, of the time that it
        was active and connected.
    werner: [R] mean Werner parameter of those pairs; 0 where none was delivered.
    session_rewards: [R] (U_r − u₀)/(u₁ − u₀) with u = U/Σ share, the same two references for every session, 0 for a
        session that never counted: their mean weighted by share_r is the reward.
    fidelity_shortfall, rate_shortfall: [R] how far fidelity and rate (1/s) stay below the session's `min_fidelity` and
        `min_rate`; 0 where they do not, where nothing was asked for, and for a session that never counted.
    counted: [R] seconds of the stretch that each session counted.
    seconds: length of the stretch.
    """

    score: float
    reward: float
    utility: float
    geometric_mean: float
    rate: Floats
    werner: Floats
    session_rewards: Floats
    fidelity_shortfall: Floats
    rate_shortfall: Floats
    counted: Floats
    seconds: float


class Score:
    """Turns the telemetry of a scenario's intervals into rows of sums, and sums of rows into an `Outcome`.

    A row is [9R + 3]: pairs delivered [R], the sum of their Werner parameters [R], seconds that counted [R], the sum of
    f⁺(W) [R], ∫ of the penalties for floors [R] and demands [R]; of sessions that deliver though they cannot be served:
    seconds [R], pairs [R], the sum of their Werner parameters [R]; ∫U₀ dt, ∫U₁ dt, seconds. A session counts while it
    is active and not hopeless. What it is held against is the `optimum.yardstick` of each moment: a stretch that spans
    an event is judged against the time average of what applied.

    Attributes:
        nothing: the score where no session counted: NaN if none ever can, else 0.

    Warns:
        optimum.ScoreWarning: at some moment sessions are hopeless, or cannot be served together.
    """

    def __init__(self, scenario: Scenario) -> None:
        arrays = scenario.arrays(0.0)
        self.sessions = len(arrays.weight)
        self.row_size = row_size(self.sessions)
        self.rules = judging_rules(scenario)
        self._worth = PairValue(arrays.measure)
        self.times = np.array(scenario.change_times())
        self.per_second = np.array([_per_second(yardstick(scenario, time)) for time in self.times])
        counting = self.per_second[:, self.sessions : 2 * self.sessions] > 0.0
        wanted = any(scenario.arrays(time).active.any() for time in self.times)
        self.nothing = math.nan if wanted and not counting.any() else 0.0

    def row(self, telemetry: Telemetry) -> Floats:
        """Sums [9R + 3] of the interval that `telemetry` describes."""
        now, interval = telemetry.now, round(telemetry.seconds * 1e9)
        return compiled.score_row(telemetry.sessions.records, now, interval, self.times, self.per_second)

    def outcome(self, rows: Floats) -> Outcome:
        """What the stretch of the intervals with `rows` [n, 9R + 3] came to."""
        total, rate, werner = compiled.pool(rows)
        worth, _ = self._worth(werner)
        judged, of_sessions = compiled.judge(total, rate, werner, worth, self.rules, self.nothing)
        counted = total[2 * self.sessions : 3 * self.sessions]
        score, reward, utility, mean = judged.tolist()
        rewards, of_fidelity, of_rate = of_sessions
        seconds = float(total[-1])
        return Outcome(score, reward, utility, mean, rate, werner, rewards, of_fidelity, of_rate, counted, seconds)

    def result(self, rows: Floats) -> Outcome:
        """Outcome of the second half of an episode with `rows` [n, 9R + 3]; of an odd n the middle one belongs to it.

        Raises:
            ValueError: there is no row.
        """
        if not len(rows):
            raise ValueError("the episode has no interval yet")
        found = self.outcome(np.ascontiguousarray(rows[len(rows) // 2 :]))
        return found if found.counted.any() else replace(found, score=math.nan)


def row_size(sessions: int) -> int:
    """Length of a `Score.row`."""
    return 9 * sessions + 3


def judging_rules(scenario: Scenario) -> Floats:
    """[4, R] what sums are judged by: weight, K (−inf: no floor), demand in pairs/s, 1 where pairs are told apart."""
    a = scenario.arrays(0.0)
    apart = np.full(len(a.weight), float(scenario.worth == "per_pair"))
    return np.array([a.weight, a.log_werner_floor, a.min_rate, apart])


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
    """[…, R + L] each controller's local reward: that of its neighbourhood alone, as `Outcome.reward` is of all.

    That is the mean of the sessions' rewards weighted with their shares (weight times the time that they counted).
    Where none of the neighbourhood counted, the reward of all. The same bit for bit for one environment as for many.

    Args:
        neighbourhood: [R + L, R] of `neighbourhoods`.
        session_rewards, counted: […, R] as in `Outcome`. reward: […] of all.
    """
    share = neighbourhood * counted[..., np.newaxis, :]
    total = share.sum(axis=-1)
    of_all = np.broadcast_to(np.asarray(reward)[..., np.newaxis], total.shape)
    return np.divide(
        (share * session_rewards[..., np.newaxis, :]).sum(axis=-1), total, out=of_all.copy(), where=total > 0
    )


def _per_second(scale: Yardstick) -> Floats:
    """What holds from a change to the next one, [4R + 3].

    What every second adds to a row: [R] 1 if a session delivers but cannot be served, [R] 1 if it counts, [R] and [R]
    its penalties, U₀, U₁, 1.
    """
    parts = (scale.worthless, scale.counts, scale.floor_penalty, scale.demand_penalty)
    return np.concatenate((*parts, [scale.lower, scale.upper, 1.0]), dtype=np.float64)


class ScoreWindow:
    """The last `intervals` control intervals pooled, fewer at the start: what the reward of an interval is of."""

    def __init__(self, score: Score, intervals: int = WINDOW) -> None:
        self.score = score
        self._rows = np.zeros((intervals, score.row_size))
        self._next = 0

    def clear(self) -> None:
        """Forget everything: a new episode."""
        self._rows[:] = 0.0
        self._next = 0

    def add(self, telemetry: Telemetry) -> Outcome:
        """Take in one more interval, forget the oldest, and give the outcome of the window."""
        self._rows[self._next] = self.score.row(telemetry)
        self._next = (self._next + 1) % len(self._rows)
        return self.outcome()

    def outcome(self) -> Outcome:
        """What the window holds now; zeros before the first interval."""
        return self.score.outcome(self._rows)

    def get_state(self) -> dict[str, Any]:
        """The window's contents, as copies."""
        return {"rows": self._rows.copy(), "next": self._next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from a window of the same scenario and length."""
        rows, place = alike("rows", state["rows"], self._rows), state["next"]
        if not 0 <= place < len(self._rows):
            raise StateError(f"state: next = {place!r}; valid: 0 to {len(self._rows) - 1}")
        self._rows[:], self._next = rows, place


class EpisodeRecord:
    """Every interval of one episode; its result pools the second half (model.md §5): one R and one W per session."""

    def __init__(self, scenario: Scenario) -> None:
        self._score = Score(scenario)
        self._rows: list[Floats] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, telemetry: Telemetry) -> None:
        """Take in one more interval."""
        self._rows.append(self._score.row(telemetry))

    def result(self) -> Outcome:
        """Outcome of the second half.

        Raises:
            ValueError: nothing was recorded.
        """
        return self._score.result(np.array(self._rows))

"""What an experiment keeps of a run: a policy on a scenario, seeds 0, 1, …"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.rewards import Reward, make_reward
from qnum_gym.envs.scores import Outcome
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.recorders import Watch
from qnum_gym.evaluation.runner import Job
from qnum_gym.evaluation.store import Record
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls

Floats = NDArray[np.float64]

OVER_TIME = ("rates", "werner", "prices")  # the controls, of seed 0 alone


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one scenario.

    labels: what tells it from the experiment's other runs, as columns of the table. seeds: how many. series: whether to
    keep the controls over time. rewards: those whose sum over an episode is kept, by name.
    """

    labels: Mapping[str, str | float]
    scenario: Scenario
    policy: PolicySpec
    seeds: int
    series: bool = False
    rewards: tuple[str, ...] = ()

    @property
    def job(self) -> Job:
        """As the runner takes it."""
        return Job(self.policy, self.scenario, range(self.seeds), Recorder(self.series, self.rewards))


class Recording(NamedTuple):
    """What a run came to, with S seeds, T intervals, R sessions and L links. NaN where there is nothing to tell.

    Of the second half of each episode, all [S]: score; geometric_mean, 1/s (bit/s for `secret_key`); queue, the mean
    number at the link where it is largest, of those where pairs wait in memory: not only first hops; latency from
    injection to delivery and storage, the time from the first pair to delivery, means over the pairs delivered, s;
    lost, the share of injected q-datagrams that their source learnt are lost; scalars, the policy's that messages
    carried over a hop, per pair delivered (`ControlTraffic`); updates, of controllers that ever set anything new, 1/s.

    Of whole episodes: returns: [k, S] the sum of each of the run's k rewards.

    Over time: time: [T] s; window: [T, S] geometric mean of the last 20 intervals. If `series`, rates: [T, R],
    werner: [T, L] and prices: [T, L] of the first seed, as the controllers set them.
    """

    score: Floats
    geometric_mean: Floats
    queue: Floats
    latency: Floats
    storage: Floats
    lost: Floats
    scalars: Floats
    updates: Floats
    returns: Floats
    time: Floats
    window: Floats
    rates: Floats
    werner: Floats
    prices: Floats

    @classmethod
    def of(cls, records: Sequence[Record]) -> Recording:
        """Of S records that the `Recorder` gave."""
        first = records[0]
        of_first = {"time": first["time"], **{name: first.get(name, np.zeros(0)) for name in OVER_TIME}}
        names = [name for name in cls._fields if name not in of_first]
        return cls(**{name: np.stack([record[name] for record in records], axis=-1) for name in names}, **of_first)


class Done(NamedTuple):
    """A run and what it came to."""

    run: Run
    recording: Recording


@dataclass(frozen=True, slots=True)
class Recorder:
    """Keeps what a `Recording` consists of."""

    series: bool
    rewards: tuple[str, ...] = ()

    def watch(self, scenarios: Sequence[Scenario], seeds: Sequence[int]) -> Watch:
        """See `evaluation.recorders.Recorder`."""
        series = [i for i, seed in enumerate(seeds) if seed == 0 and self.series]
        return _Watch(scenarios, series, [make_reward(name) for name in self.rewards])


class _Watch:
    """Keeps of every interval what the records need; of n episodes, of those of `series` the controls too."""

    def __init__(self, scenarios: Sequence[Scenario], series: Sequence[int], rewards: Sequence[Reward]) -> None:
        self._series, self._rewards = series, rewards
        self._returns = np.zeros((len(rewards), len(scenarios)))
        self._control_intervals = np.array([scenario.control_interval for scenario in scenarios])  # [n] s
        self._half = scenarios[0].episode_length // 2  # of all, as they run side by side
        self._later = [_later_hops(scenario) for scenario in scenarios]
        self._back = np.concatenate([_ways_back(scenario) for scenario in scenarios])  # [nR] s
        self._interval = 0
        self._queue = np.zeros((len(scenarios), len(scenarios[0].links)))
        self._totals = np.zeros((6, len(scenarios)))  # injected, lost, delivered, scalars; latency and storage, s
        self._before: Controls | None = None
        self._at_work = np.zeros((len(scenarios), len(scenarios[0].sessions) + len(scenarios[0].links)), np.bool_)
        self._over_time: list[tuple[Floats, Floats]] = []
        self._controls: list[tuple[Floats, Floats, Floats]] = []

    def __call__(self, env_batch: EnvBatch, controls: Controls) -> None:
        """One more interval."""
        self._over_time.append((env_batch.times.copy(), env_batch.outcomes.geometric_mean.copy()))
        for total, reward in zip(self._returns, self._rewards, strict=True):
            total += reward(env_batch.seen_by(reward))
        if self._series:
            prices = np.full(env_batch.queue.shape, np.nan) if controls.link_signals is None else controls.link_signals
            self._controls.append(
                (controls.rates[self._series], controls.werner[self._series], prices[self._series])
            )  # copies, as the index is a list
        self._interval += 1
        if self._before is not None:
            self._at_work |= changed(self._before, controls)
        self._before = controls
        if self._interval <= self._half:
            return
        self._queue += env_batch.queue
        telemetry = env_batch.telemetry()
        seen, scalars = telemetry.sessions, telemetry.traffic.scalars
        stored = np.nan_to_num(seen.mean_rtt - self._back)
        times = np.nan_to_num(seen.mean_latency) * seen.delivered, stored * seen.delivered
        counts = seen.injected, seen.dropped, seen.delivered, scalars
        for total, values in zip(self._totals, (*counts, *times), strict=True):
            total += values.reshape(len(total), -1).sum(axis=1)

    def records(self, outcomes: Sequence[Outcome]) -> list[Record]:
        """[n] by the names of `Recording`: score, …, time [T], window [T]; of `series` rates, werner, prices [T, …]."""
        injected, lost, delivered, scalars, latency, storage = self._totals
        queue = self._queue / self._half
        time, window = (np.array(values) for values in zip(*self._over_time, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = {
                "score": np.array([outcome.score for outcome in outcomes]),
                "geometric_mean": np.array([outcome.geometric_mean for outcome in outcomes]),
                "queue": np.array([row[later].max() for row, later in zip(queue, self._later, strict=True)]),
                "latency": latency / delivered,
                "storage": storage / delivered,
                "lost": lost / injected,
                "scalars": scalars / delivered,
                "updates": self._at_work.sum(axis=1) / self._control_intervals,
                "returns": self._returns.T,
                "time": time.T,
                "window": window.T,
            }
        records: list[Record] = [{name: values[i] for name, values in found.items()} for i in range(len(outcomes))]
        for place, i in enumerate(self._series):
            for name, values in zip(OVER_TIME, zip(*self._controls, strict=True), strict=True):
                records[i][name] = np.array([rows[place] for rows in values])
        return records


def _ways_back(scenario: Scenario) -> Floats:
    """[R] s that an ACK takes."""
    tau = scenario.arrays(0.0).latency
    return np.array([tau[list(route)].sum() + scenario.feedback_delay for route in scenario.routes])


def _later_hops(scenario: Scenario) -> list[int]:
    """The links that are not only first hops, where pairs wait in memory; all links if there are none."""
    later = sorted({link for route in scenario.routes for link in route[1:]})
    return later or list(range(len(scenario.links)))


def changed(before: Controls, now: Controls) -> NDArray[np.bool_]:
    """[n, R + L] who sets anything new: sources their rate or signal, links their Werner parameter or signal."""
    sources, links = before.rates != now.rates, before.werner != now.werner
    if before.session_signals is not None and now.session_signals is not None:
        sources = sources | (before.session_signals != now.session_signals)
    if before.link_signals is not None and now.link_signals is not None:
        links = links | (before.link_signals != now.link_signals)
    return np.concatenate([sources, links], axis=1)

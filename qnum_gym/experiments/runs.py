"""One policy on one scenario, all seeds side by side, and what is recorded of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from qnum_gym import agents
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.evaluation.identity import identity
from qnum_gym.evaluation.runs import run_episodes
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls

Floats = NDArray[np.float64]

FORMAT = 4  # of a recording; another one whenever what is recorded, or what it means, changes


@dataclass(frozen=True, slots=True)
class Run:
    """One policy on one scenario, seeds 0, 1, …

    labels: what tells it from the experiment's other runs, as columns of the table. policy: a name that `agents.make`
    knows. options: its constants. series: whether to keep the controls over time.
    """

    labels: Mapping[str, str | float]
    scenario: Scenario
    policy: str
    seeds: int
    options: Mapping[str, float] = field(default_factory=dict[str, float])
    series: bool = False

    @property
    def key(self) -> str:
        """SHA-256 of all that the recording depends on, the code included."""
        parts = [FORMAT, identity(self.policy), self.scenario.fingerprint, dict(self.options), self.seeds]
        return hashlib.sha256(json.dumps([*parts, self.series], sort_keys=True).encode()).hexdigest()


class Recording(NamedTuple):
    """What a run came to, with S seeds, T intervals, R sessions and L links. NaN where there is nothing to tell.

    Of the second half of each episode, all [S]: score; geometric_mean, 1/s (bit/s for `secret_key`); queue, the mean
    number at the link where it is largest, of those where pairs wait in memory: not only first hops; latency from
    injection to delivery and storage, the time from the first pair to delivery, means over the pairs delivered, s;
    lost, the share of injected q-datagrams that their source learnt are lost; scalars, the policy's that messages
    carried over a hop, per pair delivered (`ControlTraffic`); updates, of controllers that ever set anything new, 1/s.

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
    time: Floats
    window: Floats
    rates: Floats
    werner: Floats
    prices: Floats

    def to_json(self) -> dict[str, Any]:
        """As lists, with None for NaN."""
        return {name: _listed(array) for name, array in self._asdict().items()}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Recording:
        """What `to_json` gave."""
        return cls(**{name: np.array(value, dtype=np.float64) for name, value in fields.items()})


class Done(NamedTuple):
    """A run and what it came to."""

    run: Run
    recording: Recording


def _listed(array: Floats) -> Any:
    known: NDArray[np.object_] = array.astype(object)
    known[np.isnan(array)] = None
    return known.tolist()


def record(run: Run) -> Recording:
    """Simulate.

    Raises:
        optimum.InfeasibleError: the policy needs an optimum, and there is none.
    """
    envs = AllocationVectorEnv(run.seeds, run.scenario, autoreset_mode=AutoresetMode.DISABLED)
    policy = agents.batched(agents.make(run.policy, **run.options), envs.env_batch.scenarios)
    watch = _Watch(run)
    outcomes = run_episodes(envs, policy, range(run.seeds), watch)
    score, geometric_mean = np.array([(each.score, each.geometric_mean) for each in outcomes]).T
    return Recording(score, geometric_mean, *watch.second_half(), *watch.over_time())


class _Watch:
    """Keeps of every interval what a recording needs."""

    def __init__(self, run: Run) -> None:
        scenario = run.scenario
        tau = scenario.arrays(0.0).latency
        back = [tau[list(route)].sum() + scenario.feedback_delay for route in scenario.routes]
        self._run, self._back = run, np.tile(back, run.seeds)  # s, the way of an ACK
        self._half = scenario.episode_length // 2
        self._interval = 0
        later = sorted({link for route in scenario.routes for link in route[1:]})
        self._later = later or list(range(len(scenario.links)))
        self._queue = np.zeros((run.seeds, len(scenario.links)))
        self._totals = np.zeros((6, run.seeds))  # injected, lost, delivered, scalars; latency and storage, s
        self._before: Controls | None = None
        self._at_work: NDArray[np.bool_] | None = None  # [S, R + L]
        self._over_time: list[tuple[Floats, Floats]] = []
        self._controls: list[tuple[Floats, Floats, Floats]] = []

    def __call__(self, env_batch: EnvBatch, controls: Controls) -> None:
        """One more interval."""
        self._over_time.append((env_batch.times[0].copy(), env_batch.outcomes.geometric_mean.copy()))
        if self._run.series:
            prices = np.full(env_batch.queue.shape, np.nan) if controls.link_signals is None else controls.link_signals
            self._controls.append((controls.rates[0].copy(), controls.werner[0].copy(), prices[0].copy()))
        self._interval += 1
        if self._before is not None:
            news = changed(self._before, controls)
            self._at_work = news if self._at_work is None else self._at_work | news
        self._before = controls
        if self._interval <= self._half:
            return
        self._queue += env_batch.queue
        telemetry = env_batch.telemetry()
        seen, scalars = telemetry.sessions, telemetry.traffic.scalars
        stored = np.nan_to_num(seen.mean_rtt - self._back)
        times = np.nan_to_num(seen.mean_latency) * seen.delivered, stored * seen.delivered
        counts = seen.injected, seen.dropped, seen.delivered, scalars
        for total, each in zip(self._totals, (*counts, *times), strict=True):
            total += each.reshape(len(total), -1).sum(axis=1)

    def second_half(self) -> tuple[Floats, ...]:
        """Queue, latency, storage, lost, scalars and updates, as in `Recording`."""
        injected, lost, delivered, scalars, latency, storage = self._totals
        assert self._at_work is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            return (
                (self._queue[:, self._later] / self._half).max(axis=1),
                latency / delivered,
                storage / delivered,
                lost / injected,
                scalars / delivered,
                self._at_work.sum(axis=1) / self._run.scenario.control_interval,
            )

    def over_time(self) -> tuple[Floats, ...]:
        """Time, window, rates, Werner parameters and prices, as in `Recording`; empty where they are not kept."""
        controls = zip(*self._controls, strict=True) if self._controls else ((),) * 3
        return *(np.array(each) for each in zip(*self._over_time, strict=True)), *(np.array(each) for each in controls)


def changed(before: Controls, now: Controls) -> NDArray[np.bool_]:
    """[n, R + L] who sets anything new: sources their rate or signal, links their Werner parameter or signal."""
    sources, links = before.rates != now.rates, before.werner != now.werner
    if before.session_signals is not None and now.session_signals is not None:
        sources = sources | (before.session_signals != now.session_signals)
    if before.link_signals is not None and now.link_signals is not None:
        links = links | (before.link_signals != now.link_signals)
    return np.concatenate([sources, links], axis=1)

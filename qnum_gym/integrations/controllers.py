"""Every source and link of many networks as a slot of one vector environment of Stable-Baselines3.

One policy for all slots is then a policy that all controllers share: parameter sharing, by SB3's own algorithms. What a
slot sees and does is `SharedControllers`'s: its controller's own rows, and corrections of QPrimalDual-DA's steps.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from qnum_gym.agents.learned.local import FEATURES, KNOBS, Rows, SharedControllers, in_one
from qnum_gym.agents.networks import Networks
from qnum_gym.agents.static import oracle
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.envs.scores import WINDOW
from qnum_gym.integrations.sb3 import OneVecEnv
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls

Floats = NDArray[np.float64]

KNEE = 0.5  # share of the optimum below which utility goes on as a straight line


class ControllersVecEnv(OneVecEnv):
    """Networks of any sizes; slots are all their sources, one network after the other, then all their links.

    **Observation**, Box(−1, 1, (FEATURES,)): 1 and the features of a source, zeros for a link; then 1 and the features
    of a link, zeros for a source. A network whose first layer is linear in it has a head for each role.

    **Action**, Box(−1, 1, (2,)): corrections of the control and of the signal.

    **Reward** [ours], the same for all slots of a network: U of the last `WINDOW` intervals, less its mean over the
    network's copies. U is the weighted mean over sessions of log x, x the worth that they got over what the optimum
    gives them (`Relative`). Copies are `copies` networks in a row, equal and living on the same random draws: what one
    comes to more than the others is due to what its controllers did.

    Episodes are `intervals` long and end together, for all networks; each begins with other draws, those of `seed`.

    Args:
        scenarios: n of them, each `copies` times in a row. copies: at least 1; with 1 the reward is U itself.
        seed: episode k has draws of SeedSequence([seed, k]). episode: the first one.
        limit: of a reward's magnitude: that a network collapsed says no more than that.
        threads: that step the networks; None for all cores.

    Raises:
        ValueError: the scenarios are not `copies` times in a row.
    """

    render_mode = None

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        copies: int,
        seed: int,
        *,
        episode: int = 0,
        limit: float = math.inf,
        threads: int | None = None,
    ) -> None:
        self._envs, networks = EnvBatch(scenarios, threads), Networks(scenarios)
        self.scenarios = self._envs.scenarios
        groups = [self.scenarios[i : i + copies] for i in range(0, len(self.scenarios), copies)]
        if len(self.scenarios) % copies or any(len(set(group)) > 1 for group in groups):
            raise ValueError(f"scenarios: {len(self.scenarios)} of them; valid: each {copies} times in a row")
        self.copies, self.episode = copies, episode
        self.of_slot = np.concatenate((networks.of_session, networks.of_link))  # [slots] the network of each
        self.intervals = max(scenario.episode_length for scenario in self.scenarios)
        self._seed, self._limit = seed, limit
        self._controllers = SharedControllers(networks)
        self._relative = Relative(self.scenarios, networks.of_session)
        self._interval, self._sources = 0, len(networks.of_session)
        self._actions: Rows = np.zeros((len(self.of_slot), KNOBS), np.float32)
        box = gym.spaces.Box(-1.0, 1.0, (FEATURES,), np.float32), gym.spaces.Box(-1.0, 1.0, (KNOBS,), np.float32)
        super().__init__(len(self.of_slot), *box)  # pyright: ignore[reportUnknownMemberType]

    def reset(self) -> VecEnvObs:
        """The next episode begins."""
        stream = np.random.default_rng(np.random.SeedSequence([self._seed, self.episode]))
        seeds = stream.integers(2**40, size=len(self.scenarios) // self.copies)
        for i, network_seed in enumerate(np.repeat(seeds, self.copies).tolist()):
            self._envs.reset(i, network_seed)
        self._controllers.forget()
        self._relative.forget()
        self.episode += 1
        self._interval = 0
        return self._look()

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """One control interval: observations, rewards, dones and infos."""
        corrections = self._actions[: self._sources], self._actions[self._sources :]
        self._envs.step(Controls(*self._controllers.correct(*corrections)))
        utility = self._relative.add(self._relative.sums(self._envs.rows), self._interval)
        if self.copies > 1:
            groups = utility.reshape(-1, self.copies)
            utility = (groups - groups.mean(axis=1, keepdims=True)).ravel()
        self._interval += 1
        over = self._interval == self.intervals
        observations = self._look()
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if over:
            for info, last in zip(infos, observations, strict=True):
                info |= {"terminal_observation": last, "TimeLimit.truncated": True}
            observations = self.reset()
        rewards = np.clip(utility, -self._limit, self._limit)[self.of_slot].astype(np.float32)
        return observations, rewards, np.full(self.num_envs, over), infos

    def _look(self) -> Rows:
        return in_one(*self._controllers.look(self._envs.telemetry(), self._envs.shared_rows()))


class Relative:
    """What networks' sessions got in the last `WINDOW` intervals, over what the optimum gives them.

    A session's x is the worth of its pairs per second over R* f(W*), where f is taken along its tangent at W*: so
    pairs that are worth less than nothing count as such, and a policy that makes them learns which way is back. U is
    the weighted mean of log x, which below `KNEE` goes on as a straight line. The optimum is that of
    `agents.static.oracle` from the last change on. [ours]
    """

    def __init__(self, scenarios: Sequence[Scenario], of_session: NDArray[np.int64]) -> None:
        self._of_session, self._n = of_session, len(scenarios)
        self._weight = np.concatenate([scenario.arrays(0.0).weight for scenario in scenarios])
        known = {scenario: _references(scenario) for scenario in dict.fromkeys(scenarios)}
        self._references = [(scenario.control_interval, *known[scenario]) for scenario in scenarios]
        self._rows = np.zeros((WINDOW, 2, len(of_session)))  # worth over the optimum's times s, s that counted
        self._piece = np.full(len(scenarios), -1)
        self._per_pair, self._per_werner = np.zeros(len(of_session)), np.zeros(len(of_session))
        self._first = np.searchsorted(of_session, np.arange(len(scenarios) + 1))

    def forget(self) -> None:
        """An episode begins."""
        self._rows[:] = 0.0

    def sums(self, rows: Floats) -> Floats:
        """[3, ΣR] pairs delivered, the sum of their Werner parameters and seconds that counted, of `EnvBatch.rows`."""
        first, sizes = self._first[self._of_session], np.diff(self._first)[self._of_session]
        place = np.arange(len(first)) - first
        return np.array([rows[self._of_session, k * sizes + place] for k in range(3)])

    def add(self, sums: Floats, interval: int) -> Floats:
        """[n] U after one more interval, the `interval`-th, with `sums` [3, ΣR] of what it brought."""
        self._refer(interval)
        pairs, werner, seconds = sums
        worth = np.where(seconds > 0.0, self._per_pair * pairs + self._per_werner * werner, 0.0)
        self._rows[interval % WINDOW] = worth, seconds
        worth, seconds = self._rows.sum(axis=0)
        x = np.divide(worth, seconds, out=np.ones_like(worth), where=seconds > 0.0)
        utility = np.log(np.maximum(x, KNEE)) + np.minimum(x - KNEE, 0.0) / KNEE
        weight = self._weight * seconds
        total = np.bincount(self._of_session, weight, self._n)
        return np.bincount(self._of_session, weight * utility, self._n) / np.maximum(total, np.finfo(float).tiny)

    def _refer(self, interval: int) -> None:
        """Take the optimum that applies at the interval's beginning."""
        for i, (seconds, times, references) in enumerate(self._references):
            piece = bisect_right(times, interval * seconds) - 1
            if piece != self._piece[i]:
                self._piece[i] = piece
                mine = slice(self._first[i], self._first[i + 1])
                self._per_pair[mine], self._per_werner[mine] = references[piece]


def _references(scenario: Scenario) -> tuple[tuple[float, ...], list[Floats]]:
    """Times of change, and from each on [2, R]: worth over the optimum's per pair, and per unit of Werner parameter."""
    worth, found = PairValue(scenario.arrays(0.0).measure), list[Floats]()
    for time in scenario.change_times():
        best = oracle(scenario, time)
        w: Floats = np.nan_to_num(best.expected_werner)
        f, slope = worth(w)  # f, w f'
        rate = best.rates * f
        on = rate > 0.0  # the others do not count
        scale = np.divide(1.0, rate, out=np.zeros_like(rate), where=on)
        found.append(np.array([scale * (f - slope), scale * np.divide(slope, w, out=np.zeros_like(w), where=on)]))
    return scenario.change_times(), found

"""`AllocationVectorEnv`: many `AllocationEnv`s in one, stepped by a few compiled calls on all cores (Gymnasium)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from qnum_gym import werner
from qnum_gym.envs.action import RATE_STEP, WERNER_STEP, ActionKind, ActionMap
from qnum_gym.envs.allocation import Source, resolve
from qnum_gym.envs.fleet import Fleet
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Controls

Observations = NDArray[np.float32]
Info = dict[str, Any]


class AllocationVectorEnv(gym.vector.VectorEnv[Any, Any, Any]):
    """n `AllocationEnv`s, each the same bit for bit as alone: same seeds, observations, rewards and information.

    Spaces, rewards, information and arguments are those of `AllocationEnv`; what is different:

    - `num_envs`, and `scenario` may be a sequence of that many scenarios (of equal numbers of sessions and links).
    - `autoreset_mode`: SAME_STEP (default: the observation after the last step of an episode is the first of the next
      one; the last one is in `info["final_obs"]`, its information in `info["final_info"]`), NEXT_STEP (the step after
      the last one resets and ignores its action) or DISABLED (`reset(options={"reset_mask": mask})` resets some).
    - `reset(seed=s)` seeds environment i with s + i, `reset(seed=[…])` each with its own.
    - `threads`: how many step the environments; all cores if not given.
    - `max_episode_steps`: what `gym.make_vec` passes; truncates after so many intervals if that is sooner.

    Every entry of `info` has a first axis of n environments, and a mask of the same name with "_" before it.

    ```python
    envs = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=64)
    ```
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: Source | Sequence[Source] = None,
        *,
        action: ActionKind = "step",
        signals: bool = False,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        threads: int | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs = {num_envs}; valid: at least 1")
        if render_mode is not None:
            raise ValueError(f"render_mode = {render_mode!r}; valid: None (draw one environment: gym.make)")
        self.num_envs = num_envs
        self.render_mode = None
        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.metadata = {"render_modes": [], "autoreset_mode": self.autoreset_mode}
        scenarios = self._scenarios(scenario, overrides)
        self._actions = ActionMap(scenarios, action, signals=signals, rate_step=rate_step, werner_step=werner_step)
        self._fleet = Fleet(scenarios, threads)
        lengths = [s.episode_length for s in scenarios]
        self._lengths = np.minimum(lengths, max_episode_steps or max(lengths))
        self.single_observation_space = self._fleet.encoders[0].space()
        self.single_action_space = self._actions.space()
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._randoms: list[np.random.Generator | None] = [None] * num_envs
        self._intervals = np.full(num_envs, -1)
        self._over = np.zeros(num_envs, bool)

    def _scenarios(self, scenario: Source | Sequence[Source], overrides: dict[str, Any]) -> list[Scenario]:
        if scenario is None or isinstance(scenario, (str, os.PathLike, Scenario)):
            return [resolve(scenario, overrides)] * self.num_envs
        if len(scenario) != self.num_envs:
            raise ValueError(f"scenario has {len(scenario)} entries; valid: {self.num_envs}, one per environment")
        each = [resolve(s, overrides) for s in scenario]
        sizes = sorted({(len(s.sessions), len(s.links)) for s in each})
        if len(sizes) > 1:
            raise ValueError(f"scenario: (sessions, links) = {sizes}; valid: all the same, the spaces are shared")
        return each

    # --- Gymnasium's interface ----------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, Info]:
        """Start an episode in every environment, or in those of `options["reset_mask"]` (bool [n]).

        Raises:
            ValueError: an unknown option, or a seed list or mask of another length.
        """
        unknown = (options or {}).keys() - {"reset_mask"}
        if unknown:
            raise ValueError(f"options: {', '.join(map(repr, sorted(unknown)))} unknown; valid: 'reset_mask'")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(f"reset_mask has shape {mask.shape} of {mask.dtype}; valid: ({self.num_envs},) of bool")
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries; valid: {self.num_envs}")
        for i in np.flatnonzero(mask).tolist():
            self._begin(i, seeds[i])
        return self._fleet.observations.copy(), self._info()

    def _begin(self, i: int, seed: int | None = None) -> None:
        """A new episode in environment i, from its own sequence of random numbers."""
        random = self._randoms[i]
        if random is None or seed is not None:
            random, _ = seeding.np_random(seed)
            self._randoms[i] = random
        self._fleet.reset(i, int(random.integers(2**63)))
        self._intervals[i], self._over[i] = 0, False

    def step(
        self, actions: ArrayLike
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Decode actions [n, size] and live through one control interval.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside [−1, 1].
        """
        return self.step_controls(self._actions.decode(actions, self._fleet.in_force))

    def _check_ready(self) -> None:
        if (self._intervals < 0).any():
            raise ResetNeeded("call reset() before the first step()")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"environments {np.flatnonzero(self._over).tolist()} are over: reset them")

    def step_controls(
        self, controls: Controls
    ) -> tuple[Observations, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """`step` in physical units: `Controls` of arrays [n, R] and [n, L].

        Raises:
            ValueError: a wrong shape, NaN, or a control outside its scenario's range.
        """
        self._check_ready()
        old = self._over & (self.autoreset_mode == AutoresetMode.NEXT_STEP)
        self._fleet.step(controls)
        rewards = self._fleet.scores.copy()
        self._intervals += 1
        truncated = (self._intervals >= self._lengths) & ~old
        for i in np.flatnonzero(old):  # the step that resets: nothing of what was just simulated there is shown
            self._begin(int(i))
            rewards[i] = 0.0
        self._over = truncated.copy()
        last: Info = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and truncated.any():
            last = {"final_obs": self._fleet.observations.copy(), "final_info": self._info()}
            last |= {f"_{key}": truncated.copy() for key in tuple(last)}
            for i in np.flatnonzero(truncated):
                self._begin(int(i))
        return self._fleet.observations.copy(), rewards, np.zeros(self.num_envs, bool), truncated, self._info() | last

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing is open."""

    # --- what goes on inside ------------------------------------------------------------------------------------------

    @property
    def fleet(self) -> Fleet:
        """The simulators and what was measured in them."""
        return self._fleet

    @property
    def controls(self) -> Controls:
        """The controls in force, arrays [n, R] and [n, L] (copies)."""
        return self._fleet.controls

    # --- state is data ------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies."""
        randoms = [None if random is None else random.bit_generator.state for random in self._randoms]
        own = {"intervals": self._intervals.copy(), "over": self._over.copy(), "randoms": randoms}
        return {"fleet": self._fleet.get_state(), **own}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from an environment with the same arguments."""
        self._fleet.set_state(state["fleet"])
        self._intervals[:], self._over[:] = state["intervals"], state["over"]
        for i, random in enumerate(state["randoms"]):
            generator = None
            if random is not None:
                generator = np.random.Generator(np.random.PCG64())
                generator.bit_generator.state = random
            self._randoms[i] = generator

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _info(self) -> Info:
        f = self._fleet
        metrics = {
            "time": f.times,
            "score": f.judged[:, 0],
            "utility": f.judged[:, 1],
            "geometric_mean": f.judged[:, 2],
            "rate": f.rate,
            "werner": f.werner,
            "fidelity": werner.fidelity(f.werner),
            "injected": f.counts[0],
            "delivered": f.counts[1],
            "dropped": f.counts[2],
            "latency": f.latency,
            "queue": f.queue,
            "utilisation": f.utilisation,
        }
        mask = np.ones(self.num_envs, bool)
        controls = {"rates": f.in_force.rates, "werner": f.in_force.werner}
        entries = {"metrics": _masked(metrics, mask), "controls": _masked(controls, mask), "rewards": f.session_scores}
        return _masked(entries, mask)


def _masked(entries: Info, mask: NDArray[np.bool_]) -> Info:
    """Copies of the entries, each with Gymnasium's mask of the environments for which it holds: all."""
    copies: Info = {key: value if isinstance(value, dict) else value.copy() for key, value in entries.items()}
    return copies | dict.fromkeys((f"_{key}" for key in entries), mask)

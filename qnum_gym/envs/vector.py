"""`AllocationVectorEnv`: many `AllocationEnv`s in one, stepped by a few compiled calls on all cores (Gymnasium)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from qnum_gym.envs.action import RATE_STEP, WERNER_STEP, ActionMap
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observations import ObservationSource, make_observation, of_one
from qnum_gym.envs.options import KEYWORDS, Info, InfoKind, check_spaces, checked_render_mode, informs
from qnum_gym.envs.rendering.table import table
from qnum_gym.envs.rewards import DEFAULT, RewardSource
from qnum_gym.envs.scores import Outcome
from qnum_gym.envs.spec import PlainSpec
from qnum_gym.envs.streamed import Streamed
from qnum_gym.scenarios import Scenario, ScenarioError
from qnum_gym.scenarios.fields import LONGEST
from qnum_gym.scenarios.sources import Source, resolve
from qnum_gym.simulator import Controls, Telemetry
from qnum_gym.simulator.sealing import open_seal, seal
from qnum_gym.simulator.turn import Turn, in_turn
from qnum_gym.streams import Stream, resolve_network


class AllocationVectorEnv(PlainSpec, Streamed, gym.vector.VectorEnv[Any, Any, Any]):  # pyright: ignore[reportIncompatibleVariableOverride]
    """n `AllocationEnv`s, each the same bit for bit as alone: same seeds, observations, rewards and information.

    Spaces, rewards, information and arguments are those of `AllocationEnv`; what is different:

    - `num_envs`, and `scenario` may be a sequence of that many scenarios, also of different sizes with
      `observation="graph"`. A `Stream` is one for all; each environment draws with its own random numbers.
    - `autoreset_mode`, an `AutoresetMode` or its name, as in Gymnasium's `SyncVectorEnv`: "NEXT_STEP" (default: the
      step after an episode's last one resets; its action is ignored, its reward 0), "SAME_STEP" (the last step resets:
      its observation and information are the next episode's first, the episode's own are in `info["final_obs"]` and
      `info["final_info"]`) or "DISABLED" (who is over waits for `reset(options={"reset_mask": mask})`).
    - `reset(seed=s)` seeds environment i with s + i, `reset(seed=[…])` each with its own.
    - `threads`: how many step the environments; all cores if not given.
    - `render_mode`: `render` gives a tuple of one table ("ansi") or small picture ("rgb_array") each, which is what
      `RecordVideo` wants; `picture` gives one picture of all.
    - `max_episode_steps`: what `gym.make_vec` passes; truncates after so many intervals if that is sooner.

    Threads that use one of these take turns. After a step that was interrupted (Ctrl-C) it asks for a reset of all.

    Every entry of `info` has a first axis of n environments, and beside it a mask of the same name with "_" before it,
    `info["_metrics/score"]`: the environments for which it holds. For the others it is 0 (`final_obs`, an array of
    objects: None).

    ```python
    envs = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=64)
    ```
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: Source | Stream | Sequence[Source] = None,
        *,
        observation: ObservationSource = "flat",
        reward: RewardSource = DEFAULT,
        action: str = "step",
        signals: bool = False,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        info: InfoKind = "flat",
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        threads: int | None = None,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        _check_count("num_envs", num_envs)
        if max_episode_steps is not None:
            _check_count("max_episode_steps", max_episode_steps)
        self.num_envs = num_envs
        self.render_mode = checked_render_mode(render_mode)
        self._tiles: Any = None
        self._informs = informs(info)
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {**AllocationEnv.metadata, "autoreset_mode": self.autoreset_mode}
        self._observation = make_observation(observation)
        self._stream, scenarios = self._networks(scenario, overrides)
        self._env_batch = EnvBatch(scenarios, threads, reward, self._stream and self._stream.sizes)
        steps: dict[str, Any] = {"rate_step": rate_step, "werner_step": werner_step}
        self._actions = ActionMap(scenarios, action, signals=signals, sizes=self._env_batch.sizes, **steps)
        self._longest = max_episode_steps
        self._lengths = np.array([self._length(s) for s in scenarios])
        self.single_observation_space: Any = self._observation.space(self._env_batch.sizes, self._actions)
        self.single_action_space: Any = self._actions.space()  # of the kind of action
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space: Any = batch_space(self.single_action_space, num_envs)
        self._randoms: list[np.random.Generator | None] = [None] * num_envs
        self._turn = Turn()
        self._intervals: NDArray[np.int64] = np.full(num_envs, -1)
        self._over = np.zeros(num_envs, bool)

    def _length(self, s: Scenario) -> int:
        """Control intervals of an episode.

        The step that resets in NEXT_STEP simulates an interval beyond its end, which is not shown.
        """
        length = min(s.episode_length, self._longest or s.episode_length)
        if self.autoreset_mode == AutoresetMode.NEXT_STEP and s.control_interval * (length + 1) > LONGEST:
            raise ScenarioError(
                f"{s.name}: control_interval = {s.control_interval:g}: {length} intervals, and the one in which "
                f"NEXT_STEP resets, exceed the simulator's clock of {LONGEST:g} s; valid: shorter ones, or SAME_STEP"
            )
        return length

    def _networks(
        self, scenario: Source | Stream | Sequence[Source], overrides: dict[str, Any]
    ) -> tuple[Stream | None, list[Scenario]]:
        """The stream, if it is one, and the networks to begin with."""
        if scenario is None or isinstance(scenario, (str, os.PathLike, Scenario, Mapping, Stream)):
            found = resolve_network(scenario, overrides, KEYWORDS)
            if isinstance(found, Scenario):
                return None, [found] * self.num_envs
            if not self._observation.padded:
                check_spaces("scenario", found.first, found.sizes)
            return found, [found.first] * self.num_envs
        if len(scenario) != self.num_envs:
            raise ValueError(f"scenario has {len(scenario)} entries; valid: {self.num_envs}, one per environment")
        found = [resolve(s, overrides, KEYWORDS) for s in scenario]
        sizes = sorted({(len(s.sessions), len(s.links)) for s in found})
        if len(sizes) > 1 and not self._observation.padded:
            raise ValueError(f"scenario: (sessions, links) = {sizes}; valid: all the same, or observation='graph'")
        return None, found

    # --- Gymnasium's interface ----------------------------------------------------------------------------------------

    @in_turn
    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, Info]:
        """Start an episode in every environment, or in those of `options["reset_mask"]` (bool [n]).

        With a mask the information is that of its environments.

        Raises:
            ValueError: an unknown option, or a seed list or mask of another length. Nothing is changed then.
        """
        mask = self._reset_mask(options)
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [int(value) if isinstance(value, np.integer) else value for value in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"seed has {len(seeds)} entries; valid: {self.num_envs}")
        streams = [None if value is None else seeding.np_random(value)[0] for value in seeds]  # refuses what is no seed
        for i in np.flatnonzero(mask).tolist():
            self._begin(i, streams[i])
        return self.observe(), self._info(mask)

    def _reset_mask(self, options: dict[str, Any] | None) -> NDArray[np.bool_]:
        if options is not None and not isinstance(options, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"options = {options!r:.80}; valid: a mapping")
        unknown = (options or {}).keys() - {"reset_mask"}
        if unknown:
            raise ValueError(f"options: {', '.join(map(repr, sorted(unknown)))} unknown; valid: 'reset_mask'")
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        if mask.shape != (self.num_envs,) or mask.dtype != bool:
            raise ValueError(f"reset_mask has shape {mask.shape} of {mask.dtype}; valid: ({self.num_envs},) of bool")
        if not mask.any():
            raise ValueError("reset_mask is False everywhere; valid: at least one True")
        return mask

    def _begin(self, i: int, stream: np.random.Generator | None = None) -> None:
        """A new episode in environment i, from its own sequence of random numbers, or from another `stream`."""
        self._intervals[i] = -1  # until all is done
        random = stream or self._randoms[i] or seeding.np_random()[0]
        self._randoms[i] = random
        if self._stream is None:
            self._env_batch.reset(i, int(random.integers(2**63)))
        else:
            self._put(i, *self._stream.episode(random))
        self._over[i] = False
        self._intervals[i] = 0

    def _put(self, i: int, scenario: Scenario, seed: int) -> None:
        """An episode of another network in environment i."""
        if not self._observation.padded:
            check_spaces("scenario", scenario, self._env_batch.sizes)
        self._lengths[i] = self._length(scenario)
        self._env_batch.replace(i, scenario, seed)
        self._actions.replace(i, scenario)

    @in_turn
    def step(self, actions: ArrayLike) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """Decode actions, n of them, and live through one control interval.

        Environments that reset in this step ignore theirs.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside the action space. Nothing is changed then.
        """
        self._check_ready()
        return self.step_controls(self._actions.decode(actions, self._env_batch.in_force, ignored=self._over))

    def _check_ready(self) -> None:
        if (self._intervals < 0).any():
            raise ResetNeeded("call reset() before the first step(), and after one that was interrupted")
        if self.autoreset_mode == AutoresetMode.DISABLED and self._over.any():
            raise ResetNeeded(f"environments {np.flatnonzero(self._over).tolist()} are over: reset them")

    @in_turn
    def step_controls(
        self, controls: Controls
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], Info]:
        """`step` in physical units: `Controls` of arrays [n, R] and [n, L], or of a policy's rows [ΣR] and [ΣL].

        Raises:
            ValueError: a wrong shape, NaN, or a control outside its scenario's range. Nothing is changed then.
        """
        self._check_ready()
        old = self._over.copy()  # of NEXT_STEP alone: they reset in this step
        intervals, self._intervals = self._intervals, np.full(self.num_envs, -1)  # until all is done
        try:
            self._env_batch.step(controls)
        except (TypeError, ValueError):  # refused, nothing has changed
            self._intervals = intervals
            raise
        rewards = self._rewards()
        intervals += 1
        truncated = (intervals >= self._lengths) & ~old
        for i in np.flatnonzero(old):  # nothing of what was just simulated there is shown
            self._begin(int(i))
            rewards[i] = 0.0
        self._over = truncated.copy()
        last: Info = {}
        if self.autoreset_mode == AutoresetMode.SAME_STEP and truncated.any():
            final = np.full(self.num_envs, None)
            ended = self.observe()
            for i in np.flatnonzero(truncated):
                final[i] = of_one(ended, int(i))
            last = _masked({"final_obs": final, "final_info": self._info(truncated)}, truncated)
            for i in np.flatnonzero(truncated):
                self._begin(int(i))
        everyone = np.ones(self.num_envs, bool)
        observations, info = self.observe(), self._info(everyone)
        self._intervals = np.where(self._intervals < 0, intervals, 0)  # 0 where another episode has begun
        return observations, rewards, np.zeros(self.num_envs, bool), truncated, info | last

    @in_turn
    def render(self) -> tuple[str, ...] | tuple[NDArray[np.uint8], ...] | None:
        """[n] the present interval of each: tables ("ansi"), or tiles [height, width, 3] of a picture ("rgb_array")."""
        if self.render_mode is None:
            gym.logger.warn("render() without a render_mode; give one: gym.make_vec(id, n, render_mode='rgb_array')")
            return None
        if self.render_mode == "rgb_array":
            picture = self.picture()
            return self._tiles.cut(picture)
        return tuple(table(*row) for row in zip(self._env_batch.scenarios, *self._seen(), strict=True))

    @in_turn
    def picture(self) -> NDArray[np.uint8]:
        """All in one picture of at most 720 × 1280, which `render` cuts into tiles.

        A tile shows its network with its links, the darker the busier, and their queues, and the score as a bar that
        is full at 1.
        """
        scenarios = self._env_batch.scenarios
        if self._tiles is None or self._tiles.scenarios != scenarios:
            from qnum_gym.envs.rendering.tiles import Tiles  # matplotlib is slow to import

            self._tiles = Tiles(scenarios)
        return self._tiles.picture(*self._seen())

    def _seen(self) -> tuple[list[Telemetry], list[Outcome]]:
        if (self._intervals < 0).any():
            raise ResetNeeded("call reset() before render()")
        telemetry = [simulator.telemetry() for simulator in self._env_batch.simulators]
        return telemetry, [self._env_batch.outcome(i) for i in range(self.num_envs)]

    def close_extras(self, **kwargs: Any) -> None:
        """Let go of the picture."""
        self._tiles = None

    def observe(self) -> Any:
        """The present observations, as the last reset or step gave them (new arrays)."""
        return self._observation(self._env_batch, self._actions)

    def action_masks(self) -> NDArray[np.bool_]:
        """[n, choices] which choices may change something now.

        Raises:
            ValueError: actions are no choices.
        """
        return self._actions.masks(*self._env_batch.movable)

    # --- what goes on inside ------------------------------------------------------------------------------------------

    @property
    def env_batch(self) -> EnvBatch:
        """The simulators and what was measured in them."""
        return self._env_batch

    @property
    def controls(self) -> Controls:
        """The controls in force, arrays [n, R] and [n, L] (copies)."""
        return self._env_batch.controls

    # --- state is data ------------------------------------------------------------------------------------------------

    @in_turn
    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies."""
        randoms = [None if random is None else random.bit_generator.state for random in self._randoms]
        own = {"intervals": self._intervals.copy(), "over": self._over.copy(), "randoms": randoms}
        if self._stream is not None:
            own |= {"scenarios": list(self._env_batch.scenarios), "weights": self._stream.weights}
        return seal({"env_batch": self._env_batch.get_state(), **own}, type(self).__name__)

    @in_turn
    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from an environment with the same arguments.

        Raises:
            StateError: the state is damaged, or of other scenarios; nothing is changed then.
        """
        state = open_seal(state, type(self).__name__)
        if self._stream is not None:
            self._stream.set_weights(state["weights"])
            for i, scenario in enumerate(state["scenarios"]):
                self._put(i, scenario, 0)
        self._env_batch.set_state(state["env_batch"])
        self._intervals[:] = -1  # until all is done
        self._over[:] = state["over"]
        for i, random in enumerate(state["randoms"]):
            generator = None
            if random is not None:
                generator = np.random.Generator(np.random.PCG64())
                generator.bit_generator.state = random
            self._randoms[i] = generator
        self._intervals[:] = state["intervals"]

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _info(self, mask: NDArray[np.bool_]) -> Info:
        """What is to be told of the environments of `mask`."""
        told = self._told() if self._informs else {}
        if self._actions.kind.choices:
            told = {**told, "action_mask": self.action_masks().astype(np.int8)}
        return _masked(told, mask)

    def _told(self) -> dict[str, NDArray[Any]]:
        return self._env_batch.info

    def _rewards(self) -> NDArray[np.float64]:
        return self._env_batch.rewards.copy()


def _masked(entries: Mapping[str, Any], mask: NDArray[np.bool_]) -> Info:
    """Copies of the entries, 0 where they do not hold, each with Gymnasium's mask of the environments where it does."""
    copies: Info = {key: value if isinstance(value, dict) else value.copy() for key, value in entries.items()}
    if not mask.all():
        for key, value in copies.items():
            if not isinstance(value, dict):
                value[~mask] = None if key == "final_obs" else 0
    return copies | {f"_{key}": mask.copy() for key in entries}


def _mode(given: AutoresetMode | str) -> AutoresetMode:
    """The mode of that name, or of Gymnasium's word for it ("NextStep")."""
    for mode in AutoresetMode:
        if given in (mode, mode.name, mode.value):
            return mode
    raise ValueError(f"autoreset_mode = {given!r}; valid: {', '.join(mode.name for mode in AutoresetMode)}")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} = {value!r}; valid: a positive integer")

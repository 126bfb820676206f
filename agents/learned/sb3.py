"""Models of Stable-Baselines3, any of its algorithms, as policies.

The model sees what the environment would show it, and its actions mean what they would mean there. How that environment
decodes actions is read from the model's attribute `env_options`, which is saved with the model: see `remember`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.batch import OneByOne
from qnum_gym.agents.policy import BatchPolicy
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.fleet import Fleet
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Controls, Telemetry

BLOCK = 64  # observations per forward pass of many
OPTIONS = ("action", "signals", "rate_step", "werner_step")  # keywords of AllocationEnv: what an action means


def remember(model: Any, **env_options: Any) -> None:
    """Note on a model, before it is saved, those of `OPTIONS` that its environment was made with.

    Raises:
        ValueError: an unknown option.
    """
    for name in env_options:
        if name not in OPTIONS:
            raise ValueError(f"env_options: {name!r} unknown; valid: {', '.join(OPTIONS)}")
    model.env_options = env_options


def load(path: str | os.PathLike[str], *, deterministic: bool = True) -> LearnedPolicy:
    """The policy that a model's `save` wrote; only its actor is rebuilt. Unpickles: open only files that you trust.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model saved by Stable-Baselines3.
        ImportError: the extra `train` is not installed.
    """
    from stable_baselines3.common.save_util import load_from_zip_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model = {str(path)!r}: no such file")
    try:
        data, weights, _ = load_from_zip_file(path, device="cpu")
    except (BadZipFile, ValueError) as error:
        raise ValueError(f"model = {str(path)!r}: cannot be read ({error})") from None
    if data is None or "policy_class" not in data or "policy" not in weights:
        raise ValueError(f"model = {str(path)!r}: not a model saved by Stable-Baselines3")
    spaces = data["observation_space"], data["action_space"]
    actor = data["policy_class"](*spaces, no_schedule, **data.get("policy_kwargs", {}))
    actor.load_state_dict(weights["policy"])
    actor.env_options = data.get("env_options", {})
    return LearnedPolicy(actor, name=path.stem, deterministic=deterministic)


class LearnedPolicy:
    """A trained central agent: it sees all controllers' rows, as in `AllocationEnv`.

    Args:
        model: a model, as it is at each moment, or its policy alone.
        name: as tables show it.
        deterministic: the mean action, not a sample.
    """

    local = False

    def __init__(self, model: Any, *, name: str = "learned", deterministic: bool = True) -> None:
        self.name = name
        self._model = model
        self._deterministic = deterministic

    def reset(self, scenario: Scenario, seed: int = 0) -> None:
        """Forget the episode before; `seed` is of the samples, if not deterministic.

        Raises:
            ValueError: the model was trained on a network of another size.
        """
        self._actions = action_map(self._model, scenario)
        self._encoder = ObservationEncoder(scenario)
        self._memory: Any = None  # of a recurrent model
        _check_fits(self._model, self.name, scenario, self._encoder.size, self._actions.size)
        if not self._deterministic:
            import torch

            self._stream = cast(Any, torch).Generator().manual_seed(seed).get_state()

    def act(self, telemetry: Telemetry) -> Controls:
        """The controls that the model's action asks for, those of the last interval being in force."""
        observation = self._encoder.encode(telemetry)
        in_force = Controls(telemetry.sessions.rate, telemetry.links.werner)
        if self._deterministic:
            return self._actions.decode(self._action(observation), in_force)
        import torch

        random = cast(Any, torch).random
        of_others = random.get_rng_state()
        random.set_rng_state(self._stream)
        action = self._action(observation)
        self._stream = random.get_rng_state()
        random.set_rng_state(of_others)
        return self._actions.decode(action, in_force)

    def _action(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the model does; no memory stands for the beginning of an episode."""
        action, self._memory = self._model.predict(observation, self._memory, deterministic=self._deterministic)
        return action

    def batched(self, scenarios: Sequence[Scenario]) -> BatchPolicy:
        """The same for n networks at once; samples are drawn one by one, each from its own stream."""
        if self._deterministic:
            return LearnedBatch(self._model, self.name, scenarios)
        each = [LearnedPolicy(self._model, name=self.name, deterministic=False) for _ in scenarios]
        return OneByOne(each, scenarios)


class LearnedBatch:
    """A model's mean actions for n networks, from the fleet's observations in few forward passes.

    A matrix product may round differently for another number of rows. So every pass is of `BLOCK` rows, the last one
    filled up: what happens in one network does not depend on how many others there are. From the model's action for one
    observation alone an action may differ by float32 rounding, some 1e-7.
    """

    local = False

    def __init__(self, model: Any, name: str, scenarios: Sequence[Scenario]) -> None:
        self.name = name
        self._model = model
        self._actions = action_map(model, scenarios)
        for scenario in dict.fromkeys(scenarios):
            _check_fits(model, name, scenario, ObservationEncoder(scenario).size, self._actions.size)
        blocks = -(-len(scenarios) // BLOCK)
        self._memory: list[Any] = [None] * blocks  # of a recurrent model, one per block
        self._begins = np.ones(blocks * BLOCK, bool)

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """A recurrent model forgets; nothing is drawn, and the fleet keeps the controllers' memory."""
        self._begins[: len(seeds)] |= True if mask is None else mask

    def act(self, fleet: Fleet) -> Controls:
        """The controls that the model's actions ask for, those of the last interval being in force."""
        n, size = fleet.observations.shape
        rows = np.zeros((len(self._begins), size), np.float32)
        rows[:n] = fleet.observations
        actions = np.zeros((len(rows), self._actions.size), np.float32)
        for i, memory in enumerate(self._memory):
            block = slice(i * BLOCK, (i + 1) * BLOCK)
            actions[block], self._memory[i] = self._model.predict(rows[block], memory, self._begins[block], True)
        self._begins[:] = False
        return self._actions.decode(actions[:n], fleet.controls)


def action_map(model: Any, scenario: Scenario | Sequence[Scenario]) -> ActionMap:
    """What the model's actions mean."""
    options = dict(cast("dict[str, Any]", getattr(model, "env_options", {})))
    return ActionMap(scenario, options.pop("action", "step"), **options)


def _check_fits(model: Any, name: str, scenario: Scenario, observations: int, actions: int) -> None:
    for what, size, space in (
        ("observations", observations, model.observation_space),
        ("actions", actions, model.action_space),
    ):
        if space.shape != (size,):
            raise ValueError(
                f"model {name!r}: its {what} have shape {space.shape}; valid for {scenario.name!r}: ({size},)"
            )


def no_schedule(progress: float) -> float:
    """The learning rate of an actor that learns no more."""
    return 0.0

"""Models of Stable-Baselines3, any of its algorithms, as policies.

The model sees what the environment would show it, and its actions mean what they would mean there. How that environment
decodes actions is read from the model's attribute `env_options`, which is saved with the model: see `remember`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Controls, Telemetry

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
    actor = data["policy_class"](*spaces, _no_schedule, **data.get("policy_kwargs", {}))
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
        options = dict(cast("dict[str, Any]", getattr(self._model, "env_options", {})))
        self._actions = ActionMap(scenario, options.pop("action", "step"), **options)
        self._encoder = ObservationEncoder(scenario)
        for what, size, space in (
            ("observations", self._encoder.size, self._model.observation_space),
            ("actions", self._actions.size, self._model.action_space),
        ):
            if space.shape != (size,):
                raise ValueError(
                    f"model {self.name!r}: its {what} have shape {space.shape}; valid for {scenario.name!r}: ({size},)"
                )
        if not self._deterministic:
            import torch

            cast(Any, torch).manual_seed(seed)

    def act(self, telemetry: Telemetry) -> Controls:
        """The controls that the model's action asks for, those of the last interval being in force."""
        observation = self._encoder.encode(telemetry)
        action = self._model.predict(observation, deterministic=self._deterministic)[0]
        in_force = Controls(telemetry.sessions.rate, telemetry.links.werner)
        return self._actions.decode(action, in_force)


def _no_schedule(progress: float) -> float:
    """The learning rate of an actor that learns no more."""
    return 0.0

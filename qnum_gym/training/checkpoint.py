"""A training run as data: all that decides how it goes on, taken and put back between two rollouts.

Stable-Baselines3's own save keeps the networks and leaves out the random states and the environments, so what it
resumes is another run. Here both are kept, and a resumed run ends with the same bits as an undisturbed one. [ours]
"""

from __future__ import annotations

import io
import os
import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from qnum_gym.integrations.sb3 import SB3VecEnv
from qnum_gym.training.config import ConfigError

FORMAT = 2

# What a model counts and remembers between rollouts; some of it only some algorithms.
COUNTERS = (
    "num_timesteps", "_n_updates", "_current_progress_remaining", "_episode_num", "_last_obs", "_last_original_obs",
    "_last_episode_starts", "_last_lstm_states", "ep_info_buffer", "ep_success_buffer",
)  # fmt: skip
NORMALISER = ("ret_rms", "returns")  # what VecNormalize remembers, of rewards
TRANSITIONS = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")  # of a ReplayBuffer


def capture(model: BaseAlgorithm) -> dict[str, Any]:
    """The state of `model`, its environments and the random streams."""
    environments, normaliser = _environments(model)
    return {
        "format": FORMAT,
        "networks": cast(Any, model).get_parameters(),  # and their optimisers
        "variables": {name: value.detach() for name, value in _variables(model).items()},
        "counters": {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)},
        "transitions": _transitions(model),
        "random": {
            "python": random.getstate(),
            "numpy": np.random.get_state(),  # noqa: NPY002  Stable-Baselines3 shuffles with it
            "torch": torch.get_rng_state(),
            "actions": _of_actions(model).state,
        },
        "environments": environments.get_state(),
        "normaliser": {name: getattr(normaliser, name) for name in NORMALISER} if normaliser else {},
    }


def restore(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Put a state of `capture` into a model newly built from the same configuration."""
    model.set_parameters(state["networks"])
    for name, value in _variables(model).items():
        value.data.copy_(state["variables"][name])
    for name, value in state["counters"].items():
        setattr(model, name, value)
    if state["transitions"]:
        buffer = _replay_buffer(model)
        buffer.pos, buffer.full = state["transitions"]["place"]
        for name in TRANSITIONS:
            values = state["transitions"][name]
            getattr(buffer, name)[: len(values)] = values
    environments, normaliser = _environments(model)
    environments.set_state(state["environments"])
    for name, value in state["normaliser"].items():
        setattr(normaliser, name, value)
    random.setstate(state["random"]["python"])
    np.random.set_state(state["random"]["numpy"])  # noqa: NPY002
    torch.set_rng_state(state["random"]["torch"])
    _of_actions(model).state = state["random"]["actions"]


def _variables(model: BaseAlgorithm) -> dict[str, torch.Tensor]:
    """Tensors that are learned but belong to no network, by name: SAC's entropy coefficient."""
    names = model._get_torch_save_params()[1]  # pyright: ignore[reportPrivateUsage]
    return {name: getattr(model, name) for name in names}


def _of_actions(model: BaseAlgorithm) -> np.random.BitGenerator:
    """The stream of random actions: SAC's first ones."""
    return cast(Any, model).action_space.np_random.bit_generator


def _replay_buffer(model: BaseAlgorithm) -> ReplayBuffer:
    return cast(Any, model).replay_buffer


def _transitions(model: BaseAlgorithm) -> dict[str, Any]:
    """What is in the replay buffer, where the model has one; the part not yet filled is left out."""
    if not hasattr(model, "replay_buffer"):
        return {}
    buffer = _replay_buffer(model)
    held = {name: getattr(buffer, name)[: buffer.size()] for name in TRANSITIONS}
    return {"place": (buffer.pos, buffer.full), **{name: np.ascontiguousarray(each) for name, each in held.items()}}


def write(state: dict[str, Any], path: Path) -> None:
    """Write a state of `capture`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    replace_file(path, buffer.getvalue())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that at every moment a whole one is there: the old or the new."""
    unfinished = path.with_name(f"{path.name}.partial")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)


def read(path: Path) -> dict[str, Any]:
    """A state of `write`. It holds Python objects: read only checkpoints that you trust.

    Raises:
        ConfigError: the checkpoint is of another version of this package.
    """
    state = cast("dict[str, Any]", torch.load(path, weights_only=False))
    if state.get("format") != FORMAT:
        raise ConfigError(f"{path}: checkpoint format {state.get('format')}; valid: {FORMAT}")
    return state


def _environments(model: BaseAlgorithm) -> tuple[SB3VecEnv, VecNormalize | None]:
    """The environments themselves, and what normalises their rewards."""
    env = model.get_env()
    if isinstance(env, VecNormalize):
        return cast(SB3VecEnv, env.venv), env
    return cast(SB3VecEnv, env), None

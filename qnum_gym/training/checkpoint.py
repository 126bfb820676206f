"""A training run as data: all that decides how it goes on, taken and put back between two rollouts.

Stable-Baselines3's own save keeps the networks and leaves out the random states and the environments, so what it
resumes is another run. Here both are kept, and a resumed run ends with the same bits as an undisturbed one. [ours]
"""

from __future__ import annotations

import io
import random
from collections import deque
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecNormalize

from qnum_gym import files
from qnum_gym.config import ConfigError
from qnum_gym.integrations.sb3 import SB3VecEnv

FORMAT = 3
HOW_TO_GO_ON = "a file that train.py wrote; without it the run begins anew"

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
            "cuda": torch.cuda.get_rng_state_all(),  # of every GPU there is
            "actions": _of_actions(model).state,
        },
        "environments": environments.get_state(),
        "normaliser": {name: getattr(normaliser, name) for name in NORMALISER} if normaliser else {},
    }


def restore(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    """Put a state of `capture` into a model newly built from the same configuration.

    Raises:
        ConfigError: it does not fit.
    """
    try:
        _restore(model, state)
    except Exception as error:  # of whichever part does not fit
        raise ConfigError(f"checkpoint: it does not fit this run ({_first_line(error)}); valid: its own") from None


def _restore(model: BaseAlgorithm, state: dict[str, Any]) -> None:
    model.set_parameters(state["networks"])
    for name, value in _variables(model).items():
        value.data.copy_(state["variables"][name])
    for name, value in state["counters"].items():
        setattr(model, name, _moved(value, model) if isinstance(value, RNNStates) else value)
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
    if len(state["random"].get("cuda", ())) == torch.cuda.device_count():  # else another machine goes on
        torch.cuda.set_rng_state_all(state["random"].get("cuda", ()))
    _of_actions(model).state = state["random"]["actions"]


def _moved(memory: RNNStates, model: BaseAlgorithm) -> RNNStates:
    """An LSTM's memory, on the device of the model."""
    return RNNStates(*(tuple(part.to(model.device) for part in parts) for parts in (memory.pi, memory.vf)))


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
    return {"place": (buffer.pos, buffer.full), **{name: np.ascontiguousarray(values) for name, values in held.items()}}


def write(state: dict[str, Any], path: Path) -> None:
    """Write a state of `capture`."""
    files.write(path, to_bytes(state))


def read(path: Path) -> dict[str, Any]:
    """A state of `write`. Safe to open: nothing in it is code.

    Raises:
        ConfigError: not a whole checkpoint, or one of another version of this package.
    """
    state = from_file(path)
    if state.get("format") != FORMAT:
        raise ConfigError(f"{path}: checkpoint format {state.get('format')}; valid: {FORMAT}")
    return state


def to_bytes(state: dict[str, Any]) -> bytes:
    """Tensors, arrays, numbers and texts in lists and mappings, as torch writes them without any code."""
    buffer = io.BytesIO()
    torch.save(_plain(state), buffer)
    return buffer.getvalue()


def from_file(path: Path) -> dict[str, Any]:
    """What `to_bytes` gave, back from a file; whatever else is in it, nothing of it is run.

    Raises:
        ConfigError: not such a file, or not the whole of it.
    """
    try:
        state = _from_plain(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises whatever the torn bytes lead it to
        raise ConfigError(f"{path}: not a whole checkpoint ({_first_line(error)}); valid: {HOW_TO_GO_ON}") from None
    if not isinstance(state, dict):
        raise ConfigError(f"{path}: not a checkpoint; valid: {HOW_TO_GO_ON}")
    return cast("dict[str, Any]", state)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]:.100}" if lines else type(error).__name__


KIND = "__kind__"  # key of a mapping that stands for something else


def _plain(value: Any) -> Any:
    """Containers, numbers, texts and tensors as they are; arrays and what holds them as mappings that say so."""
    if isinstance(value, (np.ndarray, np.generic)):
        array: Any = np.asarray(cast(Any, value))
        if array.dtype.hasobject:
            raise TypeError(f"array of {array.dtype}: only numbers can be kept")
        data: Any = cast(Any, torch).from_numpy(np.ascontiguousarray(array).reshape(-1).view(np.uint8).copy())
        kind = "array" if isinstance(value, np.ndarray) else "number"
        descr, aligned = np.lib.format.dtype_to_descr(array.dtype), array.dtype.isalignedstruct
        return {KIND: kind, "type": descr, "aligned": aligned, "shape": array.shape, "data": data}
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    if isinstance(value, RunningMeanStd):
        return {KIND: "running", "values": _plain([value.mean, value.var, value.count])}
    if isinstance(value, RNNStates):
        return {KIND: "memory", "values": _plain([value.pi, value.vf])}
    if isinstance(value, deque):
        parts = cast("deque[Any]", value)
        return {KIND: "deque", "values": _plain(list(parts)), "longest": parts.maxlen}
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        made: Any = list if isinstance(value, list) else tuple
        return made(_plain(part) for part in cast("list[Any]", value))
    raise TypeError(f"{type(value).__name__} can't be kept in a checkpoint")


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        kind = fields.get(KIND)
        if kind in ("array", "number"):
            dtype: Any = np.lib.format.descr_to_dtype(fields["type"])
            if fields["aligned"]:  # compiled code tells such records from others
                places = {name: dtype.fields[name] for name in dtype.names}
                formats, offsets = zip(*(place[:2] for place in places.values()), strict=True)
                layout = {"names": [*places], "formats": formats, "offsets": offsets, "itemsize": dtype.itemsize}
                dtype = np.dtype(cast(Any, layout), align=True)
            array = fields["data"].numpy().view(dtype).reshape(fields["shape"])
            return array.copy() if kind == "array" else array[()]
        if kind == "running":
            found = RunningMeanStd()
            found.mean, found.var, found.count = _from_plain(fields["values"])
            return found
        if kind == "memory":
            return RNNStates(*_from_plain(fields["values"]))
        if kind == "deque":
            return deque(_from_plain(fields["values"]), fields["longest"])
        return {key: _from_plain(part) for key, part in fields.items()}
    if isinstance(value, (list, tuple)):
        made: Any = list if isinstance(value, list) else tuple
        return made(_from_plain(part) for part in cast("list[Any]", value))
    return value


def _environments(model: BaseAlgorithm) -> tuple[SB3VecEnv, VecNormalize | None]:
    """The environments themselves, and what normalises their rewards."""
    env = model.get_env()
    if isinstance(env, VecNormalize):
        return cast(SB3VecEnv, env.venv), env
    return cast(SB3VecEnv, env), None

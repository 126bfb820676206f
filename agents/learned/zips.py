"""Models that Stable-Baselines3 saved, read without running what is in them.

A `model.zip` holds weights, which PyTorch reads as plain tensors, and a text of JSON. In that text what is no plain
data is a pickle, which runs code when it is read, beside a description in words: which class, which arguments. Here
the description alone is read, and only what this module knows by name is built from it; of the pickles, one that may
be nothing but an array. [ours]
"""

from __future__ import annotations

import ast
import base64
import importlib
import io
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile, ZipFile

import numpy as np
from gymnasium import spaces

# The policy's module, as the file names it -> the classes that it may be.
POLICIES = {
    "stable_baselines3.common.policies": ("ActorCriticPolicy",),  # PPO, A2C, TRPO
    "stable_baselines3.dqn.policies": ("DQNPolicy",),
    "stable_baselines3.sac.policies": ("SACPolicy",),
    "stable_baselines3.td3.policies": ("TD3Policy",),  # DDPG too
    "sb3_contrib.common.maskable.policies": ("MaskableActorCriticPolicy",),
    "sb3_contrib.qrdqn.policies": ("QRDQNPolicy",),
    "sb3_contrib.tqc.policies": ("TQCPolicy",),
    "sb3_contrib.crossq.policies": ("CrossQPolicy",),
    "sb3_contrib.common.recurrent.policies": ("RecurrentActorCriticPolicy",),
    "sb3_contrib.ars.policies": ("ARSPolicy", "ARSLinearPolicy"),
    "qnum_gym.agents.learned.graph": ("GraphActorCritic",),
}
CLASSES = re.compile(
    r"<class '(torch\.nn\.modules\.activation\.\w+|qnum_gym\.agents\.learned\.features\.Standardise"
    r"|stable_baselines3\.common\.torch_layers\.FlattenExtractor|torch\.optim\.\w+\.\w+)'>"
)
PICKLE = ":serialized:"
NORMALISED = "vecnormalize"  # among the options: statistics that belong to the model, and are not in its file


def read(path: Path) -> tuple[Any, dict[str, Any] | None]:
    """The policy of a model's file, and the environment's options that came with it (None: none came).

    Raises:
        ValueError: not a model that Stable-Baselines3 saved, or one that only its pickles can rebuild.
    """
    data, weights = _content(path)
    try:
        shapes = [_box(data["observation_space"]), _space(data["action_space"])]
        names = POLICIES[data["policy_class"]["__module__"]]
        kwargs = {key: _value(text) for key, text in data.get("policy_kwargs", {}).items() if key[0] != ":"}
    except (KeyError, TypeError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"model = {str(path)!r}: cannot be rebuilt from plain data ({error}); if you trust it, as it "
            "runs code: --trust (trust=True)"
        ) from None
    if data.get("use_sde"):
        kwargs["use_sde"] = True
    module = importlib.import_module(data["policy_class"]["__module__"])
    reasons: list[str] = []
    for name in names:
        schedule = () if name.startswith("ARS") else (no_schedule,)
        try:
            actor = getattr(module, name)(*shapes, *schedule, **kwargs)
            actor.load_state_dict(weights)
        except (RuntimeError, TypeError, ValueError, AssertionError) as error:
            reasons.append(" ".join(str(error).split())[:200])
        else:
            return actor, known_options(data, data["action_space"].get("env_options"))
    raise ValueError(f"model = {str(path)!r}: its weights do not fit its description ({reasons[0]})")


def _content(path: Path) -> tuple[dict[str, Any], Any]:
    import torch

    try:
        with ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            with archive.open("policy.pth") as file:
                weights = torch.load(file, map_location="cpu", weights_only=True)
    except (BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
        raise ValueError(f"model = {str(path)!r}: not a model saved by Stable-Baselines3 ({error})") from None
    except Exception as error:  # torch: a pickle that is more than tensors
        raise ValueError(
            f"model = {str(path)!r}: its weights are no plain tensors ({str(error).splitlines()[0]})"
        ) from None
    if not isinstance(data, dict) or not isinstance(weights, Mapping):
        raise ValueError(f"model = {str(path)!r}: not a model saved by Stable-Baselines3")
    for name, tensor in cast("Mapping[str, Any]", weights).items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"model = {str(path)!r}: weights {name!r} are not finite")
    return cast("dict[str, Any]", data), cast(Any, weights)


def _space(described: dict[str, Any]) -> spaces.Space[Any]:
    """The space of actions of a description."""
    if described[":type:"] == "<class 'gymnasium.spaces.discrete.Discrete'>":
        return spaces.Discrete(_value(described["n"]))
    if described[":type:"] == "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>":
        (choices,) = {int(n) for n in re.findall(r"\d+", described["nvec"])}  # of our own: as many for each entry
        nvec: Any = np.full(_value(described["_shape"]), choices)
        return spaces.MultiDiscrete(nvec)
    return _box(described)


def _box(described: dict[str, Any]) -> spaces.Box:
    """The Box of a description; an action's has to be from −1 to 1."""
    if described[":type:"] != "<class 'gymnasium.spaces.box.Box'>":
        raise ValueError(f"space {described[':type:']}; valid: Box")
    shape = _value(described["_shape"])
    ends = {x for name in ("low", "high") for x in re.findall(r"[-\w.+]+", str(described[name])) if x != "..."}
    if not ends <= {"-1.", "1."}:
        return spaces.Box(-np.inf, np.inf, tuple(shape), np.float32)
    return spaces.Box(-1.0, 1.0, tuple(shape), np.float32)


def _value(text: Any) -> Any:
    """What a description stands for: plain data, or a class that is known by name."""
    if not isinstance(text, str):
        return text
    known = CLASSES.fullmatch(text)
    if known is None:
        return ast.literal_eval(text)
    module, _, name = known[1].rpartition(".")
    return getattr(importlib.import_module(module), name)


def known_options(data: Mapping[str, Any], of_space: Any) -> dict[str, Any] | None:
    """What came with the model: noted on it (`remember`), or on its action space; None where that is not all.

    Stable-Baselines3 keeps statistics of `VecNormalize` in a file of their own. What the model has of them is the last
    observation that it saw, which lies outside the space. Our own training normalises rewards alone, and notes.
    """
    noted = data.get("env_options")
    if isinstance(noted, dict) and PICKLE not in noted:
        return cast("dict[str, Any]", noted)
    if not isinstance(of_space, dict):
        return None
    normalised = data.get("_last_original_obs") is not None and not _within(data["_last_obs"])
    return cast("dict[str, Any]", of_space) | ({NORMALISED: None} if normalised else {})


def _within(observations: Any) -> bool:
    """Whether observations, as an array or the pickle of one, are all from −1 to 1; False if they cannot be read."""
    if isinstance(observations, dict):
        try:
            pickled: Any = cast("dict[str, Any]", observations)[PICKLE]
            observations = _Arrays(io.BytesIO(base64.b64decode(pickled))).load()
        except Exception:  # whatever is wrong with it
            return False
    seen: Any = observations
    return isinstance(seen, np.ndarray) and bool((np.abs(cast(Any, seen)) <= 1.0).all())


class _Arrays(pickle.Unpickler):
    """Reads arrays of NumPy, and calls nothing but what makes them."""

    def find_class(self, module: str, name: str) -> Any:
        """The parts of an array.

        Raises:
            UnpicklingError: it is anything else.
        """
        if module.partition(".")[0] != "numpy" or name not in ("_frombuffer", "_reconstruct", "dtype", "ndarray"):
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def no_schedule(progress: float) -> float:
    """The learning rate of an actor that learns no more."""
    return 0.0

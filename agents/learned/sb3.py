"""Models of Stable-Baselines3, any of its algorithms, as policies.

The model sees what the environment would show it, and its actions mean what they would mean there. How that environment
decodes actions is read from the model's attribute `env_options`, which is saved with the model: see `remember`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.batch import OneByOne
from qnum_gym.agents.policy import BatchPolicy
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.scenarios import Scenario
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


def load(
    path: str | os.PathLike[str],
    *,
    deterministic: bool = True,
    trust: bool = False,
    vecnormalize: str | os.PathLike[str] | None = None,
    **env_options: Any,
) -> LearnedPolicy:
    """The policy that a model's `save` wrote; only its actor is rebuilt, from weights and plain data (`zips`).

    Args:
        path: of the model.
        deterministic: the mean action, not a sample.
        trust: unpickle what the files hold, which runs their code: for policy classes of your own, and `vecnormalize`.
        vecnormalize: the file of `VecNormalize` in whose eyes the model saw observations; "none" if it left them alone.
        env_options: of `OPTIONS`, with which the environment of the training was made. Models trained over this
            package's environments carry them in their action space, where they need not be given.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a model saved by Stable-Baselines3, one that needs `trust`, or the options are unknown.
        ImportError: the extra `train` is not installed.
    """
    import stable_baselines3  # noqa: F401  # pyright: ignore[reportUnusedImport]  says at once if it is missing

    from qnum_gym.agents.learned import zips

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model = {str(path)!r}: no such file")
    for name in env_options:
        if name not in OPTIONS:
            raise ValueError(f"policy {str(path)!r} takes no option {name}")
    actor, known = _unpickled(path) if trust else zips.read(path)
    if known is None and not env_options:
        raise ValueError(
            f"model = {str(path)!r}: how its environment decoded actions is not in the file; say it: "
            f"{', '.join(OPTIONS)} (all defaults: action = step)"
        )
    known = dict(known or {})
    if zips.NORMALISED in known and vecnormalize is None:
        raise ValueError(
            f"model = {str(path)!r}: trained in a VecNormalize, whose statistics are not in the file; "
            "give vecnormalize, their file, or none if observations were left alone"
        )
    known.pop(zips.NORMALISED, None)
    space = actor.action_space
    if not (np.all(space.low == -1.0) and np.all(space.high == 1.0)):
        raise ValueError(f"model = {str(path)!r}: its actions are not from -1 to 1, as a wrapper's; valid: -1 to 1")
    if vecnormalize is not None and os.fspath(vecnormalize) != "none":
        actor = Normalised(actor, Path(vecnormalize), trust)
    actor.env_options = {**known, **env_options}
    return LearnedPolicy(actor, name=path.stem, deterministic=deterministic)


class Normalised:
    """A model that sees observations as `VecNormalize` showed them in its training."""

    def __init__(self, model: Any, path: Path, trust: bool) -> None:
        if not path.is_file():
            raise FileNotFoundError(f"vecnormalize = {str(path)!r}: no such file")
        if not trust:
            raise ValueError(
                f"vecnormalize = {str(path)!r}: a pickle, which runs code; valid with --trust (trust=True)"
            )
        try:
            with path.open("rb") as file:
                found: Any = pickle.load(file)
            mean, scale = found.obs_rms.mean, np.sqrt(found.obs_rms.var + found.epsilon)
            self._mean, self._scale, self._clip = mean, scale, found.clip_obs if found.norm_obs else None
        except Exception as error:  # whatever its code raises
            raise ValueError(f"vecnormalize = {str(path)!r}: no statistics of VecNormalize ({error})") from None
        self._model = model
        self.env_options: dict[str, Any] = {}  # how its environment decoded actions
        self.observation_space, self.action_space = model.observation_space, model.action_space
        if self._clip is not None and np.shape(mean) != self.observation_space.shape:
            raise ValueError(
                f"vecnormalize = {str(path)!r}: of shape {np.shape(mean)}; valid: {self.observation_space.shape}"
            )

    def predict(self, observation: NDArray[np.float32], *arguments: Any, **keywords: Any) -> Any:
        """As the model's own."""
        if self._clip is not None:
            observation = np.clip((observation - self._mean) / self._scale, -self._clip, self._clip).astype(np.float32)
        return self._model.predict(observation, *arguments, **keywords)


def _unpickled(path: Path) -> tuple[Any, dict[str, Any] | None]:
    """Policy and options as Stable-Baselines3 itself reads them: runs the code in the file."""
    from stable_baselines3.common.save_util import load_from_zip_file

    from qnum_gym.agents.learned import zips

    try:
        data, weights, _ = load_from_zip_file(path, device="cpu")
        if data is None:
            raise KeyError("data")
        schedule = () if "ars" in data["policy_class"].__module__ else (no_schedule,)
        kwargs = data.get("policy_kwargs", {}) | ({"use_sde": True} if data.get("use_sde") else {})
        actor = data["policy_class"](data["observation_space"], data["action_space"], *schedule, **kwargs)
        actor.load_state_dict(weights["policy"])
    except Exception as error:  # whatever its code raises
        raise ValueError(f"model = {str(path)!r}: not a model saved by Stable-Baselines3 ({error})") from None
    return actor, zips.known_options(data, getattr(data["action_space"], "env_options", None))


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
    """A model's mean actions for n networks, from the batch's observations in few forward passes.

    Every pass is of `BLOCK` rows, the last one filled up. A matrix product may round differently for another number of
    rows, and on some processors for another place among them: from the model's action for one observation alone an
    action may differ by float32 rounding, some 1e-7, and an episode by what a few q-datagrams less or more amount to.
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
        """A recurrent model forgets; nothing is drawn, and the batch keeps the controllers' memory."""
        self._begins[: len(seeds)] |= True if mask is None else mask

    def act(self, env_batch: EnvBatch) -> Controls:
        """The controls that the model's actions ask for, those of the last interval being in force."""
        n, size = env_batch.observations.shape
        rows = np.zeros((len(self._begins), size), np.float32)
        rows[:n] = env_batch.observations
        actions = np.zeros((len(rows), self._actions.size), np.float32)
        for i, memory in enumerate(self._memory):
            block = slice(i * BLOCK, (i + 1) * BLOCK)
            actions[block], self._memory[i] = self._model.predict(rows[block], memory, self._begins[block], True)
        self._begins[:] = False
        return self._actions.decode(actions[:n], env_batch.controls)


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

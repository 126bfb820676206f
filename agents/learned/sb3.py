"""Models of Stable-Baselines3, any of its algorithms, as policies.

The model sees what the environment would show it, and its actions mean what they would mean there. How that environment
decodes actions is read from the model's attribute `env_options`, which is saved with the model: see `remember`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import pickle
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qnum_gym.agents.learned.local import FEATURES, LocalPolicy, Rows, in_one
from qnum_gym.agents.learned.parallel import ParallelPolicy
from qnum_gym.agents.policy import Bools, Policy, Seen
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.action_kinds import ACTIONS
from qnum_gym.envs.observation import SHARED_SIZE, ObservationEncoder, acting
from qnum_gym.scenarios import Arrays, Scenario
from qnum_gym.simulator import Controls

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
) -> Policy:
    """The policy that a model's `save` wrote; only its actor is rebuilt, from weights and plain data (`zips`).

    What the model saw says what it is: a central agent (`LearnedPolicy`); one of `parallel_env`'s agents, as SuperSuit
    makes slots of them (`ParallelPolicy`); or what corrects a controller in `ControllersVecEnv` (`LocalPolicy`).

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
    ACTIONS.find(env_options.get("action", "step"))
    actor, known = _unpickled(path) if trust else zips.read(path)
    seen = actor.observation_space.shape
    if known is None and not env_options and seen != (FEATURES,):
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
    space: Any = actor.action_space
    bounds = (space.low, space.high) if type(space) is spaces.Box else (-1.0, 1.0)
    if not (np.all(bounds[0] == -1.0) and np.all(bounds[1] == 1.0)):
        raise ValueError(f"model = {str(path)!r}: its actions are not from -1 to 1, as a wrapper's; valid: -1 to 1")
    if vecnormalize is not None and os.fspath(vecnormalize) != "none":
        actor = Normalised(actor, Path(vecnormalize), trust)
    actor.env_options = {**known, **env_options}
    if seen in ((SHARED_SIZE,), (FEATURES,)):
        if not deterministic or "Recurrent" in type(actor).__name__:
            raise ValueError(f"model = {str(path)!r}: of single agents; valid: mean actions, of a model without memory")
        of_agent = OfAgent(actor)
        if seen == (FEATURES,):
            return LocalPolicy(of_agent.corrections, name=path.stem)
        return ParallelPolicy(of_agent, name=path.stem, **actor.env_options)
    return LearnedPolicy(actor, name=path.stem, deterministic=deterministic)


class OfAgent:
    """A model that acts for single agents, as a function of their rows."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        """Its mean actions."""
        return self._model.predict(rows, deterministic=True)[0]

    def corrections(self, sources: Rows, links: Rows) -> tuple[Rows, Rows]:
        """What it did in `ControllersVecEnv`."""
        found = self(in_one(sources, links))
        return found[: len(sources)], found[len(sources) :]


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
        self.inner = model
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
        return self.inner.predict(observation, *arguments, **keywords)


def _unpickled(path: Path) -> tuple[Any, dict[str, Any] | None]:
    """Policy and options as Stable-Baselines3 itself reads them: runs the code in the file."""
    from stable_baselines3.common.save_util import load_from_zip_file

    from qnum_gym.agents.learned import zips

    try:
        data, weights, _ = load_from_zip_file(path, device="cpu")
        if data is None:
            raise KeyError("data")
        schedule = () if "ars" in data["policy_class"].__module__ else (zips.no_schedule,)
        kwargs = data.get("policy_kwargs", {}) | ({"use_sde": True} if data.get("use_sde") else {})
        actor = data["policy_class"](data["observation_space"], data["action_space"], *schedule, **kwargs)
        actor.load_state_dict(weights["policy"])
    except Exception as error:  # whatever its code raises
        raise ValueError(f"model = {str(path)!r}: not a model saved by Stable-Baselines3 ({error})") from None
    return actor, zips.known_options(data, getattr(data["action_space"], "env_options", None))


class LearnedPolicy(Policy):
    """A trained central agent: it sees all controllers' rows of a network, as in `AllocationEnv`.

    Mean actions for many networks come in few forward passes, of `BLOCK` rows each, the last one filled up. A matrix
    product may round differently for another number of rows, and on some processors for another place among them: from
    the model's action for one observation alone an action may differ by float32 rounding, some 1e-7, and an episode by
    what a few q-datagrams less or more amount to. Samples are drawn one by one, each network's from its own stream.

    Args:
        model: a model, as it is at each moment, or its policy alone.
        name: as tables show it.
        deterministic: the mean action, not a sample.
    """

    def __init__(self, model: Any, *, name: str = "learned", deterministic: bool = True) -> None:
        self.name = name
        self._model = model
        self._deterministic = deterministic

    def model(self, scenario: Scenario) -> Any:
        """What acts on the networks of a scenario."""
        return self._model

    def prepare(self) -> None:
        """See that models and networks fit.

        Raises:
            ValueError: a model was trained on a network of another size.
        """
        scenarios = self.networks.scenarios
        models = {scenario: self.model(scenario) for scenario in dict.fromkeys(scenarios)}
        maps = {scenario: action_map(model, scenario.arrays(0.0)) for scenario, model in models.items()}
        for scenario, model in models.items():
            _check_fits(model, self.name, scenario, maps[scenario].space())
        self._maps = [maps[scenario] for scenario in scenarios]
        self._actions = action_map(models[scenarios[0]], self.networks.arrays, entries=True)
        self._encoder = ObservationEncoder(scenarios)
        n = len(scenarios)
        together = self._deterministic and len({id(model) for model in models.values()}) == 1 and n > 1
        self._block = BLOCK if together else 1
        first = range(0, n, self._block)
        self._models = [models[scenarios[i]] for i in first]
        inner = getattr(self._models[0], "inner", self._models[0])
        self._masked = "action_masks" in inspect.signature(inner.predict).parameters
        self._memory: list[Any] = [None for _ in first]  # of a recurrent model
        self._begins = np.ones(len(first) * self._block, np.bool_)
        self._streams: list[Any] = [None] * n

    def forget(self, which: Bools) -> None:
        """Episodes begin; `seeds` are of the samples, if not deterministic."""
        self._encoder.forget(*self.networks.rows(which))
        self._begins[: len(which)] |= which
        if self._deterministic:
            return
        import torch

        for i in np.flatnonzero(which).tolist():
            self._streams[i] = cast(Any, torch).Generator().manual_seed(self.seeds[i]).get_state()

    def act(self, seen: Seen) -> Controls:
        """The controls that the model's actions ask for, those of the last interval being in force."""
        rows, last = self._encoder.rows(self._encoder.encode(seen)), Controls(seen.sessions.rate, seen.links.werner)
        observations = self.networks.apart(*rows)
        masks = self._masks(rows, last) if self._masked else None
        actions: list[NDArray[Any]] = []
        for i in range(len(self._models)):
            block = slice(i * self._block, (i + 1) * self._block)
            actions += self._block_of_actions(i, observations[block], masks and masks[block])
        self._begins[:] = False
        entries = [meant.kind.entries(action, meant.size) for meant, action in zip(self._maps, actions, strict=True)]
        return self._actions.decode(self.networks.joined(entries), last)

    def _masks(self, rows: tuple[Any, Any], last: Controls) -> list[Bools]:
        """Of each network, which choices may change something."""
        moving, controls_of = self.networks.apart(*acting(*rows)), self.networks.apart(last.rates, last.werner)
        masks: list[Bools] = []
        for meant, on, controls in zip(self._maps, moving, controls_of, strict=True):
            n = meant.coordinates.sessions
            masks.append(meant.masks(on[:n], on[n:], Controls(controls[:n], controls[n:])))
        return masks

    def _block_of_actions(
        self, i: int, observations: list[NDArray[np.float32]], masks: list[Bools] | None
    ) -> list[NDArray[Any]]:
        """What the model of block i does on its networks."""
        rows = _filled(observations, self._block)
        begins = self._begins[i * self._block : (i + 1) * self._block]
        keywords = {} if masks is None else {"action_masks": _filled(masks, self._block)}
        with contextlib.nullcontext() if self._deterministic else self._drawing(i):
            actions, self._memory[i] = self._models[i].predict(
                rows, self._memory[i], begins, self._deterministic, **keywords
            )
        return list(actions[: len(observations)])

    @contextlib.contextmanager
    def _drawing(self, i: int) -> Generator[None]:
        """While entered, samples come from the stream of network i."""
        import torch

        random = cast(Any, torch).random
        of_others = random.get_rng_state()
        random.set_rng_state(self._streams[i])
        yield
        self._streams[i] = random.get_rng_state()
        random.set_rng_state(of_others)


def action_map(model: Any, scenario: Scenario | Sequence[Scenario] | Arrays, *, entries: bool = False) -> ActionMap:
    """What the model's actions mean, or with `entries` what their entries do."""
    options = dict(cast("dict[str, Any]", getattr(model, "env_options", {})))
    kind = options.pop("action", "step")
    if entries:
        kind = "level" if ACTIONS.find(kind).level else "step"
    return ActionMap(scenario, kind, **options)


def _filled(rows: list[NDArray[Any]], count: int) -> NDArray[Any]:
    """[count, …] the rows, the first one again behind them."""
    return np.stack(rows + rows[:1] * (count - len(rows)))


def _check_fits(model: Any, name: str, scenario: Scenario, actions: spaces.Space[Any]) -> None:
    for what, given, valid in (
        ("observations", model.observation_space, ObservationEncoder(scenario).space()),
        ("actions", model.action_space, actions),
    ):
        one, other = (str(space.shape if isinstance(space, spaces.Box) else space) for space in (given, valid))
        if one != other:
            raise ValueError(f"model {name!r}: its {what} have shape {one}; valid for {scenario.name!r}: {other}")

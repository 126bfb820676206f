"""A training run from configuration to comparison: an algorithm of Stable-Baselines3 on AllocationEnv."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any, cast

import gymnasium as gym
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from qnum_gym import agents, evaluation
from qnum_gym.agents.learned import graph, zips
from qnum_gym.agents.learned.graph import GraphActorCritic
from qnum_gym.agents.learned.sb3 import OPTIONS, remember
from qnum_gym.config import ConfigError
from qnum_gym.envs import AllocationEnv
from qnum_gym.envs.action_kinds import ACTIONS
from qnum_gym.evaluation import Progress, Results
from qnum_gym.evaluation.runner import untold
from qnum_gym.integrations.sb3 import SB3VecEnv
from qnum_gym.registry import suggest
from qnum_gym.training import checkpoint
from qnum_gym.training.callback import Observer, StopRequest, TrainingCallback
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.curve import draw_curves
from qnum_gym.training.folder import RunFolder
from qnum_gym.training.imitation import imitate

# Seeds of the environments' first episodes, of the trials on the way, of the episodes with a teacher, and of the
# comparison: never the same.
TRAINING_SEEDS = 1_000_000
TRIAL_SEEDS = 900_000
IMITATION_SEEDS = 500_000_000


def environment(config: TrainConfig) -> AllocationEnv:
    """A new environment as configured."""
    return cast(AllocationEnv, gym.make(config.env, **config.overrides).unwrapped)


def references(config: TrainConfig) -> Results:
    """What the configuration's references come to on the seeds of the evaluations on the way."""
    policies = {name: agents.make(name) for name in config.evaluation.references}
    seeds = range(TRIAL_SEEDS, TRIAL_SEEDS + config.evaluation.seeds)
    return evaluation.evaluate(environment(config).scenario, policies, seeds, env=config.env)


def check(config: TrainConfig, source: str) -> None:
    """Find out before anything runs whether environment and policies are there.

    Raises:
        ConfigError: naming `source`, the field, its value, and what would be valid.
    """
    ids = sorted(id for id in gym.registry if id.startswith("qnum_gym/"))
    if config.env not in ids:
        raise ConfigError(f"{source}: env = {config.env!r}: {suggest(config.env, ids)}valid: {', '.join(ids)}")
    try:
        env = environment(config)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{source}: overrides = {config.overrides}: {error}") from None
    scenario = env.scenario
    if not isinstance(env.observation_space, spaces.Box):
        raise ConfigError(
            f"{source}: env = {config.env!r}, overrides = {config.overrides}: the observation is no vector; valid: one "
            "network, or networks of one size, with observation = 'flat'"
        )
    if config.ppo is not None and config.ppo.policy == "graph" and config.overrides.get("signals"):
        raise ConfigError(f"{source}: ppo.policy = 'graph': has no signals; valid: overrides.signals = false, or 'mlp'")
    if (what := config.settings.continuous) and not isinstance(env.action_space, spaces.Box):
        action, valid = config.overrides["action"], ", ".join(name for name in ACTIONS if not ACTIONS[name].choices)
        raise ConfigError(f"{source}: {what}, overrides.action = {action!r}: actions are choices; valid: {valid}")
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"{source}: device = {config.device!r}: torch finds no GPU; valid here: auto, cpu")
    if config.init_from is not None:
        begin(build(config), config, source)
    teacher = None if config.ppo is None else config.ppo.imitate
    for field, names in (
        ("ppo.imitate", () if teacher is None else (teacher,)),
        ("evaluation.references", config.evaluation.references),
        ("comparison.policies", config.comparison.policies),
    ):
        for name in names:
            try:
                agents.make(name).reset(scenario)
            except (ValueError, OSError, ImportError) as error:
                raise ConfigError(f"{source}: {field} = {name!r}: {error}") from None


def build(config: TrainConfig) -> BaseAlgorithm:
    """The learner at its beginning, with its environments."""
    torch.set_num_threads(config.threads)
    settings = config.settings
    envs: VecEnv = SB3VecEnv.make(config.env, config.envs, **config.overrides)
    if settings.normalise_reward:
        envs = VecNormalize(envs, norm_obs=False, norm_reward=True, clip_reward=float("inf"), gamma=settings.gamma)
    rate = settings.learning_rate
    model = cast(Any, settings.MODEL)(
        settings.policy_class(),
        envs,
        learning_rate=partial(mul, rate) if settings.anneal else rate,
        **settings.of_model(),
        policy_kwargs=settings.of_policy(environment(config).scenario),
        seed=config.seed,
        device=config.device,
    )
    remember(model, **{name: config.overrides[name] for name in OPTIONS if name in config.overrides})
    envs.seed(TRAINING_SEEDS + config.seed * config.envs)  # for the first episodes; each environment goes on by itself
    return model


def begin(model: BaseAlgorithm, config: TrainConfig, source: str) -> None:
    """Give a model that is newly built the weights of the policy in `config.init_from`; its optimiser begins anew.

    Raises:
        ConfigError: no such model, one of other networks or spaces, or one whose actions meant something else.
    """
    field = f"{source}: init_from = {config.init_from!r}"
    try:
        actor, options = zips.read(Path(str(config.init_from)))
        model.policy.load_state_dict(actor.state_dict())
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:300]
        raise ConfigError(f"{field}: {why}; valid: a model.zip of the same env and net_arch") from None
    now: dict[str, Any] = cast(Any, model).action_space.env_options
    then = {name: value for name, value in (options or {}).items() if name in now}
    other = [f"{name} = {value!r} there, {now[name]!r} here" for name, value in then.items() if now[name] != value]
    if other:
        raise ConfigError(f"{field}: its actions meant something else: {', '.join(other)}; valid: the same overrides")


def train(config: TrainConfig, folder: RunFolder, observer: Observer, stop: StopRequest) -> None:
    """Train to the end, which leaves the policy in model.zip; from the checkpoint on where there is one.

    Raises:
        Interrupted: `stop` was made; the checkpoint is written.
        ConfigError: the checkpoint is of another configuration, or of a run that is longer already.
    """
    model: Any = build(config)
    callback = TrainingCallback(config, folder, references(config), observer, stop)
    if folder.checkpoint.exists():
        state = checkpoint.read(folder.checkpoint)
        config.check_resumed(state.get("config"), str(folder.config))
        checkpoint.restore(model, state)
        callback.history = state["history"]
        if model.num_timesteps > config.total_steps:
            raise ConfigError(
                f"{folder.config}: steps = {config.steps}: the run has done {model.num_timesteps}; valid: at least that"
            )
        callback.save_model(model)  # the one on disk may be another
    elif config.init_from is not None:
        begin(model, config, str(folder.config))
    elif config.ppo is not None and config.ppo.imitate is not None:
        imitate(
            model, config, config.ppo.imitate, config.ppo.imitate_steps, IMITATION_SEEDS + config.seed * config.envs
        )
    done: int = model.num_timesteps
    left = config.total_steps - done
    if left > 0:
        tensorboard = TensorBoardOutputFormat(str(folder.path / "tensorboard"))
        model.set_logger(Logger(str(folder.path), [tensorboard]))
        try:
            model.learn(left, callback=callback, reset_num_timesteps=done == 0)
        finally:
            tensorboard.close()
            draw_curves({config.name: callback.history}, callback.references, folder.curve)
    if isinstance(model.policy, GraphActorCritic):
        graph.save(model.policy, model.env_options, folder.graph)


def compare(config: TrainConfig, folder: RunFolder, progress: Progress = untold) -> Results:
    """The policy learned and the configuration's others on the seeds that evaluate.py takes; saved into the folder."""
    return _compare(config, {config.name: folder}, folder.path, progress)


def compare_trainings(runs: Mapping[str, RunFolder], config: TrainConfig, path: Path, progress: Progress) -> Results:
    """The policies of several runs that differ in their seeds, compared; with their learning curves in one picture.

    Args:
        runs: name -> its folder.
        config: of one of them.
        path: folder of what is written, made if it is not there.
        progress: told of the episodes.
    """
    results = _compare(config, runs, path, progress)
    draw_curves({name: folder.history() for name, folder in runs.items()}, references(config), path / "curve.png")
    return results


def _compare(config: TrainConfig, runs: Mapping[str, RunFolder], path: Path, progress: Progress) -> Results:
    policies = {name: agents.make(folder.model) for name, folder in runs.items()}
    policies |= {name: agents.make(name) for name in config.comparison.policies}
    scenario = environment(config).scenario
    seeds = range(config.comparison.seeds)
    results = evaluation.evaluate(scenario, policies, seeds, env=config.env, progress=progress)
    evaluation.save(results, path)
    return results

"""A warm start: before PPO learns by itself, its mean action learns from another policy's. [ours]"""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

from qnum_gym import agents
from qnum_gym.agents.learned.sb3 import action_map
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator
from qnum_gym.training.config import TrainConfig

ROUND = 50  # control intervals per environment between two rounds of regression
EPOCHS = 4  # of a round, over everything seen so far
BATCH, RATE = 512, 1e-3


def check_teacher(teacher: str, scenario: Scenario) -> None:
    """Find out whether a learner's actions can say what the teacher does.

    A policy that writes header signals cannot be followed: they are how its controllers work, and are not of [−1, 1].
    Without them in the headers it does something else, and that is what would be learned.

    Raises:
        ValueError: there is no such policy, or it writes header signals.
    """
    policy = agents.make(teacher)
    policy.reset(scenario)
    controls = policy.act(Simulator(scenario).telemetry())
    if controls.session_signals is not None or controls.link_signals is not None:
        raise ValueError("acts through header signals, which an action cannot carry; valid: one without, e.g. 'oracle'")


def imitate(model: PPO, config: TrainConfig, teacher: str, steps: int, seed: int) -> float:
    """Regress the mean action on what a policy would do in the states that the learner itself comes to, exploring.

    Those are the states in which it will act, which the teacher alone would never see (DAgger: Ross, Gordon and
    Bagnell, AISTATS 2011). Exploration and value function stay as they are.

    Args:
        model: at its beginning.
        config: of the run.
        teacher: the policy's name, or the path of its YAML file.
        steps: control intervals to live through, in all environments together.
        seed: of the episodes: environment i begins with seed + i.

    Returns:
        Mean squared difference of the actions in the last epoch.

    Raises:
        ValueError: see `check_teacher`.
    """
    keywords: dict[str, Any] = {"autoreset_mode": "SAME_STEP", "info": "none", **config.overrides}
    envs: Any = gym.make_vec(config.env, config.envs, **keywords).unwrapped
    check_teacher(teacher, envs.env_batch.scenarios[0])
    actions = action_map(model, envs.env_batch.scenarios)
    policy, scenarios = agents.make(teacher), envs.env_batch.scenarios
    optimiser = torch.optim.Adam(model.policy.parameters(), lr=RATE)
    seeds = [seed + i for i in range(config.envs)]
    observations, _ = envs.reset(seed=seeds)
    policy.reset(scenarios, seeds)
    seen: list[Any] = []
    wanted: list[Any] = []
    loss = float("nan")
    intervals = -(-steps // config.envs)
    for k in range(1, intervals + 1):
        seen.append(observations)
        controls = policy.act(envs.env_batch.telemetry()).per_network(config.envs)
        wanted.append(actions.encode(controls, envs.controls))
        taken = cast(Any, model).predict(observations)[0]
        observations, _, _, truncated, _ = envs.step(taken)
        policy.reset(scenarios, seeds, truncated)
        if k % ROUND == 0 or k == intervals:
            loss = _regress(model, optimiser, np.concatenate(seen), np.concatenate(wanted))
    return loss


def _regress(model: PPO, optimiser: torch.optim.Optimizer, seen: Any, wanted: Any) -> float:
    """Some epochs of least squares; the mean loss of the last one."""
    model.policy.set_training_mode(True)
    x, y = torch.as_tensor(seen), torch.as_tensor(wanted)
    losses: list[float] = []
    for _ in range(EPOCHS):
        losses.clear()
        for batch in cast(Any, torch.randperm(len(x))).split(BATCH):
            distribution: Any = model.policy.get_distribution(x[batch])
            loss = ((distribution.distribution.mean - y[batch]) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            cast(Any, optimiser).step()
            losses.append(float(loss.detach()))
    return float(np.mean(losses))

"""A warm start: before PPO learns by itself, its mean action learns from another policy's. [ours]"""

from __future__ import annotations

from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3 import PPO

from qnum_gym import agents
from qnum_gym.agents.learned.sb3 import action_map
from qnum_gym.simulator import Controls
from qnum_gym.training.config import TrainConfig

ROUND = 50  # control intervals per environment between two rounds of regression
EPOCHS = 4  # of a round, over everything seen so far
BATCH, RATE = 512, 1e-3


def imitate(model: PPO, config: TrainConfig, teacher: str, steps: int, seed: int) -> float:
    """Regress the mean action on what a policy would do in the states that the learner itself comes to, exploring.

    Those are the states in which it will act, which the teacher alone would never see (DAgger: Ross, Gordon and
    Bagnell, AISTATS 2011). Exploration and value function stay as they are.

    The teacher looks at networks of its own: the same draws under the learner's rates and Werner parameters, and its
    own signals in the headers, which its controllers live on. Signals move no pair, so these networks are in the
    learner's states. What the learner sees has no trace of them, as it will have none when it acts.

    Args:
        model: at its beginning.
        config: of the run.
        teacher: the policy's name, or a path, see `agents.make`. Of what it does rates and Werner parameters count.
        steps: control intervals to live through, in all environments together.
        seed: of the episodes: environment i begins with seed + i.

    Returns:
        Mean squared difference of the actions in the last epoch.
    """
    keywords: dict[str, Any] = {"autoreset_mode": "SAME_STEP", "info": "none", **config.overrides}
    envs, of_teacher = (cast(Any, gym.make_vec(config.env, config.envs, **keywords).unwrapped) for _ in range(2))
    scenarios = envs.env_batch.scenarios
    actions, policy = action_map(model, scenarios), agents.make(teacher)
    optimiser = torch.optim.Adam(model.policy.parameters(), lr=RATE)
    seeds = [seed + i for i in range(config.envs)]
    observations, _ = envs.reset(seed=seeds)
    of_teacher.reset(seed=seeds)
    policy.reset(scenarios, seeds)
    seen: list[Any] = []
    wanted: list[Any] = []
    loss = float("nan")
    intervals = -(-steps // config.envs)
    for k in range(1, intervals + 1):
        seen.append(observations)
        told = of_teacher.env_batch.per_network(policy.act(of_teacher.env_batch.telemetry()))
        wanted.append(actions.encode(Controls(told.rates, told.werner), envs.controls))
        done = actions.decode(cast(Any, model).predict(observations)[0], envs.controls)
        of_teacher.step_controls(Controls(done.rates, done.werner, told.session_signals, told.link_signals))
        observations, _, _, truncated, _ = envs.step_controls(done)
        policy.reset(scenarios, seeds, truncated)
        if k % ROUND == 0 or k == intervals:
            loss = _regress(model, optimiser, np.concatenate(seen), np.concatenate(wanted))
    return loss


def _regress(model: PPO, optimiser: torch.optim.Optimizer, seen: Any, wanted: Any) -> float:
    """Some epochs of least squares; the mean loss of the last one."""
    model.policy.set_training_mode(True)
    x, y = (torch.as_tensor(rows, device=model.device) for rows in (seen, wanted))
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

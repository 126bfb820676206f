"""PPO in one file over the native vector environment, in the style of CleanRL: nothing but PyTorch and Gymnasium.

An episode ends by truncation alone, and Gymnasium's NEXT_STEP resets in the step after it: that step's transition goes
from one episode to the next, so it is left out of the loss. The value of an episode's last observation is bootstrapped.
"""

import sys
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn
from torch.distributions import Normal

import qnum_gym  # noqa: F401  registers the ids

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
NUM_ENVS, INTERVALS, MINIBATCHES, EPOCHS = 32, 64, 8, 8
RATE, GAMMA, LAMBDA, CLIP = 1e-3, 0.95, 0.95, 0.2

torch.set_num_threads(1)
torch.manual_seed(0)


def layer(inputs: int, outputs: int, gain: float = 2.0**0.5) -> nn.Linear:
    """A linear layer with orthogonal weights."""
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    """A Gaussian around the mean action, with a spread of its own per component, and a value."""

    def __init__(self, observations: int, actions: int) -> None:
        super().__init__()
        hidden = [layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh()]
        self.actor = nn.Sequential(*hidden, layer(64, actions, 0.01))
        hidden = [layer(observations, 64), nn.Tanh(), layer(64, 64), nn.Tanh()]
        self.critic = nn.Sequential(*hidden, layer(64, 1, 1.0))
        self.log_std = nn.Parameter(torch.full((actions,), -0.5))

    def policy(self, observations: torch.Tensor) -> Normal:
        """Of actions [n, size]."""
        return Normal(self.actor(observations), self.log_std.exp())

    def value(self, observations: torch.Tensor) -> torch.Tensor:
        """[n]."""
        return self.critic(observations).squeeze(-1)


envs: Any = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=NUM_ENVS, info="none")
(observations_size,), (actions_size,) = envs.single_observation_space.shape, envs.single_action_space.shape
agent = Agent(observations_size, actions_size)
optimiser = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
shape = INTERVALS, NUM_ENVS
observations, actions = torch.zeros(*shape, observations_size), torch.zeros(*shape, actions_size)
log_probs, rewards, values, next_values, real, ends = (torch.zeros(shape) for _ in range(6))

seen = torch.as_tensor(envs.reset(seed=0)[0])
over = torch.zeros(NUM_ENVS, dtype=torch.bool)
earned, returns = np.zeros(NUM_ENVS), list[float]()
iterations = STEPS // (INTERVALS * NUM_ENVS)
for iteration in range(iterations):
    optimiser.param_groups[0]["lr"] = RATE * (1.0 - iteration / iterations)
    for t in range(INTERVALS):
        with torch.no_grad():
            policy = agent.policy(seen)
            action = policy.sample()
            observations[t], actions[t], real[t] = seen, action, (~over).float()
            log_probs[t], values[t] = policy.log_prob(action).sum(-1), agent.value(seen)
        following, reward, _, truncated, _ = envs.step(action.clamp(-1.0, 1.0).numpy())
        seen, rewards[t], over = torch.as_tensor(following), torch.as_tensor(reward), torch.as_tensor(truncated)
        with torch.no_grad():
            next_values[t] = agent.value(seen)
        ends[t] = over.float()
        earned += reward
        returns += earned[truncated].tolist()
        earned[truncated] = 0.0

    advantages, later = torch.zeros(shape), torch.zeros(NUM_ENVS)
    for t in reversed(range(INTERVALS)):
        surprise = rewards[t] + GAMMA * next_values[t] - values[t]
        later = surprise + GAMMA * LAMBDA * (1.0 - ends[t]) * later
        later = later * real[t]  # nothing reaches back over a reset
        advantages[t] = later
    targets = advantages + values

    kept = real.flatten().nonzero().squeeze(-1)
    for _ in range(EPOCHS):
        for batch in kept[torch.randperm(len(kept))].chunk(MINIBATCHES):
            policy = agent.policy(observations.flatten(0, 1)[batch])
            ratio = (policy.log_prob(actions.flatten(0, 1)[batch]).sum(-1) - log_probs.flatten()[batch]).exp()
            advantage = advantages.flatten()[batch]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            gain = torch.minimum(ratio * advantage, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * advantage).mean()
            error = (agent.value(observations.flatten(0, 1)[batch]) - targets.flatten()[batch]).square().mean()
            loss = 0.5 * error - gain
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimiser.step()
    if len(returns) >= NUM_ENVS and iteration % 20 == 0:
        print(f"{(iteration + 1) * INTERVALS * NUM_ENVS:>8} intervals: return {np.mean(returns[-NUM_ENVS:]):.1f}")

print(f"return before {np.mean(returns[:NUM_ENVS]):.1f}, after {np.mean(returns[-NUM_ENVS:]):.1f}")

"""One graph network for networks of different sizes: PPO on graph observations, in plain PyTorch.

Every session and link begins with its own row of the observation. In each round sessions take in the mean of the links
that they cross, and links the mean of their sessions; at the end one head reads an action from every session, another
one from every link. No weight has a size that a network decides, so what is learned runs on any network: the last line
says what it comes to on networks that it never saw.
"""

import sys
from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from qnum_gym import families

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 600_000
NUM_ENVS, INTERVALS, MINIBATCHES, EPOCHS, WIDTH, ROUNDS = 32, 64, 8, 5, 32, 2
RATE, GAMMA, LAMBDA, CLIP = 1e-3, 0.95, 0.95, 0.2
TRAINED = [families.sample(name, k) for name in ("dumbbell", "tree") for k in range(NUM_ENVS // 2)]
UNSEEN = [families.sample(name, 1000 + k) for name in ("dumbbell", "tree") for k in range(8)]
SHOWN = ("sessions", "links", "hops", "hop_mask", "action_mask")  # what the network looks at

torch.set_num_threads(1)
torch.manual_seed(0)

Graph = dict[str, Tensor]


def graph(observation: Mapping[str, np.ndarray[Any, Any]]) -> Graph:
    """The entries that the network looks at, of n networks."""
    return {name: torch.as_tensor(observation[name]) for name in SHOWN}


class GraphNetwork(nn.Module):
    """Features of every session [n, R, WIDTH] and link [n, L, WIDTH]."""

    def __init__(self, session_size: int, link_size: int) -> None:
        super().__init__()
        self.enter = nn.ModuleList([nn.Linear(session_size, WIDTH), nn.Linear(link_size, WIDTH)])
        self.to_sessions = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(ROUNDS))
        self.to_links = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(ROUNDS))

    def forward(self, seen: Graph) -> tuple[Tensor, Tensor]:
        """See the class."""
        n, hops = seen["hops"].shape[:2]
        crossed = torch.zeros(n, seen["sessions"].shape[1], seen["links"].shape[1])
        which = torch.arange(n).repeat_interleave(hops)
        session, link = seen["hops"][..., 0].flatten(), seen["hops"][..., 1].flatten()
        crossed.index_put_((which, session, link), seen["hop_mask"].flatten().float(), accumulate=True)
        of_session = crossed / crossed.sum(2, keepdim=True).clamp(min=1.0)
        of_link = (crossed / crossed.sum(1, keepdim=True).clamp(min=1.0)).transpose(1, 2)
        sessions, links = (
            enter(seen[name]).tanh() for enter, name in zip(self.enter, ("sessions", "links"), strict=True)
        )
        for to_sessions, to_links in zip(self.to_sessions, self.to_links, strict=True):
            taken = to_sessions(torch.cat((sessions, of_session @ links), 2)).tanh()
            links = to_links(torch.cat((links, of_link @ sessions), 2)).tanh()
            sessions = taken
        return sessions, links


class Agent(nn.Module):
    """A Gaussian around the mean action of every controller, and a value of the whole."""

    def __init__(self, session_size: int, link_size: int) -> None:
        super().__init__()
        self.actor, self.critic = (GraphNetwork(session_size, link_size) for _ in range(2))
        heads = [nn.Linear(WIDTH, 1) for _ in range(2)]
        self.heads = nn.ModuleList(heads)
        self.value_head = nn.Linear(2 * WIDTH, 1)
        for head in heads:
            nn.init.orthogonal_(head.weight, 0.01)
            nn.init.zeros_(head.bias)
        self.log_std = nn.Parameter(torch.tensor([-0.7, -0.7]))  # of rates, of Werner parameters

    def policy(self, seen: Graph) -> Normal:
        """Of actions [n, R + L]."""
        sessions, links = self.actor(seen)
        mean = torch.cat([head(part).squeeze(2) for head, part in zip(self.heads, (sessions, links), strict=True)], 1)
        log_std = torch.cat([s.expand(part.shape[1]) for s, part in zip(self.log_std, (sessions, links), strict=True)])
        return Normal(mean, log_std.exp())

    def value(self, seen: Graph) -> Tensor:
        """[n]."""
        return self.value_head(torch.cat([part.mean(1) for part in self.critic(seen)], 1)).squeeze(1)


def log_prob(policy: Normal, action: Tensor, seen: Graph) -> Tensor:
    """[n] of the entries that matter: padding, and sessions that are off, are left out."""
    return (policy.log_prob(action) * seen["action_mask"]).sum(1)


def make(scenarios: list[Any]) -> Any:
    """The vector environment of some networks."""
    options: dict[str, Any] = {"observation": "graph", "info": "none"}
    return gym.make_vec("qnum_gym/Scenario-v0", num_envs=len(scenarios), scenario=scenarios, **options)


def mean_return(scenarios: list[Any]) -> float:
    """Of the mean action on some networks."""
    envs, total = make(scenarios), 0.0
    observation, _ = envs.reset(seed=1_000_000)
    for _ in range(200):
        with torch.no_grad():
            action = agent.policy(graph(observation)).mean.clamp(-1.0, 1.0)
        observation, reward, *_ = envs.step(action.numpy())
        total += float(reward.mean())
    return total


envs = make(TRAINED)
observation, _ = envs.reset(seed=0)
agent = Agent(observation["sessions"].shape[2], observation["links"].shape[2])
optimiser = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
before = mean_return(UNSEEN)
seen, over = graph(observation), torch.zeros(NUM_ENVS, dtype=torch.bool)
iterations = STEPS // (INTERVALS * NUM_ENVS)
for iteration in range(iterations):
    optimiser.param_groups[0]["lr"] = RATE * (1.0 - iteration / iterations)
    steps: list[Graph] = []
    actions, log_probs, rewards, values, next_values, real, ends = ([] for _ in range(7))
    for _ in range(INTERVALS):
        with torch.no_grad():
            policy = agent.policy(seen)
            action = policy.sample()
            steps.append(seen)
            actions.append(action)
            log_probs.append(log_prob(policy, action, seen))
            values.append(agent.value(seen))
        real.append((~over).float())
        observation, reward, _, truncated, _ = envs.step(action.clamp(-1.0, 1.0).numpy())
        seen, over = graph(observation), torch.as_tensor(truncated)
        with torch.no_grad():
            next_values.append(agent.value(seen))
        rewards.append(torch.as_tensor(reward, dtype=torch.float32))
        ends.append(over.float())

    advantages, later = [], torch.zeros(NUM_ENVS)
    for t in reversed(range(INTERVALS)):
        surprise = rewards[t] + GAMMA * next_values[t] - values[t]
        later = (surprise + GAMMA * LAMBDA * (1.0 - ends[t]) * later) * real[t]  # nothing reaches back over a reset
        advantages.insert(0, later)
    every = {name: torch.cat([step[name] for step in steps]) for name in SHOWN}
    action, old, advantage = torch.cat(actions), torch.cat(log_probs), torch.cat(advantages)
    target = advantage + torch.cat(values)

    kept = torch.cat(real).nonzero().squeeze(1)
    for _ in range(EPOCHS):
        for batch in kept[torch.randperm(len(kept))].chunk(MINIBATCHES):
            part = {name: value[batch] for name, value in every.items()}
            ratio = (log_prob(agent.policy(part), action[batch], part) - old[batch]).exp()
            gain = (advantage[batch] - advantage[batch].mean()) / (advantage[batch].std() + 1e-8)
            gain = torch.minimum(ratio * gain, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * gain).mean()
            loss = 0.5 * (agent.value(part) - target[batch]).square().mean() - gain
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimiser.step()
    if iteration % 20 == 0:
        print(f"{(iteration + 1) * INTERVALS * NUM_ENVS:>8} intervals: mean reward {torch.stack(rewards).mean():.3f}")

print(f"on networks never seen: return before {before:.1f}, after {mean_return(UNSEEN):.1f}")

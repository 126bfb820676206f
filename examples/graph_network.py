"""One graph network for networks of different sizes: PPO on graph observations, in plain PyTorch.

Every session and link begins with its own row of the observation. In each round sessions take in the mean of the links
that they cross, and links the mean of their sessions; at the end one head reads an action from every session, another
one from every link. No weight has a size that a network decides, so what is learned runs on any network.

    python examples/graph_network.py 200000 0      # steps, seed; leaves graph_network-0.pt where it runs
    python evaluate.py --suite test --policy examples/graph_network.py:Trained      # reads it

Another seed's is a file graph.yaml: policy: examples/graph_network.py:Trained, options: {seed: 1}.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal

from qnum_gym import Stream, agents, families
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES, ObservationEncoder
from qnum_gym.simulator import Controls

NUM_ENVS, INTERVALS, MINIBATCHES, EPOCHS, WIDTH, ROUNDS = 32, 64, 8, 5, 32, 2
RATE, GAMMA, LAMBDA, CLIP = 1e-3, 0.95, 0.95, 0.2
# What the network looks at.
SHOWN = ("sessions", "links", "hops", "session_mask", "link_mask", "hop_mask", "action_mask")

Graph = dict[str, Tensor]


def graph(observation: Mapping[str, np.ndarray[Any, Any]]) -> Graph:
    """The entries that the network looks at, of n networks."""
    return {name: torch.as_tensor(observation[name]) for name in SHOWN}


class GraphNetwork(nn.Module):
    """Features of sessions [S, WIDTH] and links [M, WIDTH], of one network or of many side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.ModuleList([nn.Linear(len(SESSION_FEATURES), WIDTH), nn.Linear(len(LINK_FEATURES), WIDTH)])
        self.to_sessions = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(ROUNDS))
        self.to_links = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(ROUNDS))

    def forward(self, sessions: Tensor, links: Tensor, hops: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows [S, 16] and [M, 13]; hops [2, H]: which session crosses which link."""
        session, link = hops
        sessions, links = (enter(rows).tanh() for enter, rows in zip(self.enter, (sessions, links), strict=True))
        for to_sessions, to_links in zip(self.to_sessions, self.to_links, strict=True):
            of_links, of_sessions = mean(links[link], session, len(sessions)), mean(sessions[session], link, len(links))
            sessions = to_sessions(torch.cat((sessions, of_links), 1)).tanh()
            links = to_links(torch.cat((links, of_sessions), 1)).tanh()
        return sessions, links


def mean(rows: Tensor, to: Tensor, n: int) -> Tensor:
    """[n, …] of the rows that go to each place; 0 where none does."""
    count = torch.zeros(n, 1).index_add_(0, to, torch.ones(len(to), 1))
    return torch.zeros(n, rows.shape[1]).index_add_(0, to, rows) / count.clamp(min=1.0)


class Agent(nn.Module):
    """A Gaussian around the mean action of every controller, and a value of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.actor, self.critic = GraphNetwork(), GraphNetwork()
        heads = [nn.Linear(WIDTH, 1) for _ in range(2)]
        self.heads = nn.ModuleList(heads)
        self.value_head = nn.Linear(2 * WIDTH, 1)
        for head in heads:
            nn.init.orthogonal_(head.weight, 0.01)
            nn.init.zeros_(head.bias)
        self.log_std = nn.Parameter(torch.tensor([-0.7, -0.7]))  # of rates, of Werner parameters

    def means(self, *rows: Tensor) -> list[Tensor]:
        """Mean actions of sessions [S] and links [M]; rows as `GraphNetwork` takes them."""
        return [head(part).squeeze(1) for head, part in zip(self.heads, self.actor(*rows), strict=True)]

    def policy(self, seen: Graph) -> Normal:
        """Of actions [n, R + L]."""
        masks = [seen["session_mask"] > 0, seen["link_mask"] > 0]
        means = self.means(*side_by_side(seen))
        padded = [torch.zeros(mask.shape).masked_scatter(mask, part) for mask, part in zip(masks, means, strict=True)]
        sizes = torch.tensor([mask.shape[1] for mask in masks])
        return Normal(torch.cat(padded, 1), self.log_std.repeat_interleave(sizes).exp())

    def value(self, seen: Graph) -> Tensor:
        """[n]."""
        masks = seen["session_mask"], seen["link_mask"]
        parts = zip(self.critic(*side_by_side(seen)), masks, strict=True)
        means = [mean(part, mask.nonzero()[:, 0], len(mask)) for part, mask in parts]
        return self.value_head(torch.cat(means, 1)).squeeze(1)


def side_by_side(seen: Graph) -> tuple[Tensor, Tensor, Tensor]:
    """n networks as one that falls apart into them, as `GraphNetwork` takes it, without what is there for padding."""
    masks = seen["session_mask"] > 0, seen["link_mask"] > 0
    which, hop = (seen["hop_mask"] > 0).nonzero(as_tuple=True)
    places = [mask.flatten().cumsum(0).reshape(mask.shape) - 1 for mask in masks]
    hops = [place[which, seen["hops"][which, hop, k]] for k, place in enumerate(places)]
    return seen["sessions"][masks[0]], seen["links"][masks[1]], torch.stack(hops)


class Trained(agents.Policy):
    """What a training left, as a policy for networks of any size; `evaluate.py` and the suite take it."""

    def __init__(self, seed: int = 0) -> None:
        self.files = (f"graph_network-{int(seed)}.pt",)
        torch.set_num_threads(1)
        self.agent = Agent()
        self.agent.load_state_dict(torch.load(self.files[0], weights_only=True))

    def prepare(self) -> None:
        """For new networks, which stand side by side as rows already."""
        arrays = self.networks.arrays
        self.encoder, self.actions = ObservationEncoder(self.networks.scenarios), ActionMap(arrays)
        self.hops = torch.as_tensor(np.stack((arrays.hop_session, arrays.hop_link)))

    def forget(self, which: np.ndarray) -> None:
        """An episode begins in the networks `which`."""
        self.encoder.forget(*self.networks.rows(which))

    def act(self, seen: agents.Seen) -> Controls:
        """What the mean actions ask for."""
        rows = [torch.as_tensor(rows) for rows in self.encoder.rows(self.encoder.encode(seen))]
        with torch.no_grad():
            action = torch.cat(self.agent.means(*rows, self.hops)).clamp(-1.0, 1.0)
        return self.actions.decode(action.numpy(), Controls(seen.sessions.rate, seen.links.werner))


def log_prob(policy: Normal, action: Tensor, seen: Graph) -> Tensor:
    """[n] of the entries that matter: padding, and sessions that are off, are left out."""
    return (policy.log_prob(action) * seen["action_mask"]).sum(1)


def make(scenario: Any, n: int) -> Any:
    """The vector environment of n networks."""
    options: dict[str, Any] = {"observation": "graph", "info": "none"}
    return gym.make_vec("qnum_gym/Scenario-v0", num_envs=n, scenario=scenario, **options)


def mean_return(agent: Agent) -> float:
    """Of the mean action on networks that no training sees."""
    unseen = [families.sample(name, 1000 + k) for name in ("dumbbell", "tree") for k in range(8)]
    envs, total = make(unseen, len(unseen)), 0.0
    observation, _ = envs.reset(seed=1_000_000)
    for _ in range(200):
        with torch.no_grad():
            action = agent.policy(graph(observation)).mean.clamp(-1.0, 1.0)
        observation, reward, *_ = envs.step(action.numpy())
        total += float(reward.mean())
    return total


def train(steps: int, seed: int) -> None:
    """PPO on networks of all training families."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    envs = make(Stream("train", size=max(steps // 10_000, 1)), NUM_ENVS)
    observation, _ = envs.reset(seed=seed)
    agent = Agent()
    optimiser = torch.optim.Adam(agent.parameters(), lr=RATE, eps=1e-5)
    before = mean_return(agent)
    seen, over = graph(observation), torch.zeros(NUM_ENVS, dtype=torch.bool)
    iterations = steps // (INTERVALS * NUM_ENVS)
    for iteration in range(iterations):
        optimiser.param_groups[0]["lr"] = RATE * (1.0 - iteration / iterations)
        shown: list[Graph] = []
        actions, log_probs, rewards, real, ends = ([] for _ in range(5))
        values = [agent.value(seen).detach()]  # of what is seen before and after each interval
        for _ in range(INTERVALS):
            with torch.no_grad():
                policy = agent.policy(seen)
                action = policy.sample()
                shown.append(seen)
                actions.append(action)
                log_probs.append(log_prob(policy, action, seen))
            real.append((~over).float())
            observation, reward, _, truncated, _ = envs.step(action.clamp(-1.0, 1.0).numpy())
            seen, over = graph(observation), torch.as_tensor(truncated)
            with torch.no_grad():
                values.append(agent.value(seen))
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            ends.append(over.float())

        advantages, later = [], torch.zeros(NUM_ENVS)
        for t in reversed(range(INTERVALS)):
            surprise = rewards[t] + GAMMA * values[t + 1] - values[t]
            later = (surprise + GAMMA * LAMBDA * (1.0 - ends[t]) * later) * real[t]  # nothing reaches back over a reset
            advantages.insert(0, later)
        every = {name: torch.cat([step[name] for step in shown]) for name in SHOWN}
        action, old, advantage = torch.cat(actions), torch.cat(log_probs), torch.cat(advantages)
        target = advantage + torch.cat(values[:-1])

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
            told = torch.stack(rewards).mean()
            print(f"{(iteration + 1) * INTERVALS * NUM_ENVS:>8} intervals: mean reward {told:.3f}", flush=True)

    torch.save(agent.state_dict(), Path(f"graph_network-{seed}.pt"))
    print(f"on networks never seen: return before {before:.1f}, after {mean_return(agent):.1f}")


if __name__ == "__main__":
    train(*(int(argument) for argument in (*sys.argv[1:], *(200_000, 0)[len(sys.argv) - 1 :])))

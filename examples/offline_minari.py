"""Offline learning: a Minari dataset of QPrimalDual-DA, and a network that learns from it alone to act as it does.

Behaviour cloning is the plainest baseline: what it comes to is what any method of offline learning has to beat.
"""

import os
import sys
import tempfile

import numpy as np
import torch
from torch import nn

from qnum_gym.integrations.minari import collect, returns

EPISODES = int(sys.argv[1]) if len(sys.argv) > 1 else 40
ID, TESTS = "qnum_gym/Dumbbell-v0", 8
torch.set_num_threads(1)
torch.manual_seed(0)

os.environ.setdefault("MINARI_DATASETS_PATH", tempfile.mkdtemp())  # in place of the home: the example leaves nothing
dataset = collect("qnum-gym/dumbbell/da-v0", ID, "qprimaldual-da", EPISODES, action="level")
episodes = list(dataset.iterate_episodes())
seen = torch.as_tensor(np.concatenate([episode.observations[:-1] for episode in episodes]))
done = torch.as_tensor(np.concatenate([episode.actions for episode in episodes]))

(observations,), (actions,) = dataset.observation_space.shape, dataset.action_space.shape
network = nn.Sequential(nn.Linear(observations, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, actions))
optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)


def mean_return() -> float:
    """Of the network, in the environment from which the dataset is, on draws that are not in it."""
    env, total = dataset.recover_environment(), 0.0
    for seed in range(TESTS):
        observation, over = env.reset(seed=1_000_000 + seed)[0], False
        while not over:
            with torch.no_grad():
                action = network(torch.as_tensor(observation)).clamp(-1.0, 1.0).numpy()
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
    return total / TESTS


before = mean_return()
for _ in range(60):
    for rows in torch.randperm(len(seen)).split(256):
        loss = (network(seen[rows]) - done[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
print(f"the dataset's return {returns(dataset).mean():.1f}")
print(f"return before {before:.1f}, after {mean_return():.1f}")

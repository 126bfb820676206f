"""TorchRL: its own PPO loss over the native vector environment (Dumbbell), mean reward before and after."""

import sys

import gymnasium as gym
import torch
from tensordict.nn import AddStateIndependentNormalScale, TensorDictModule
from torch import nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper
from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE

import qnum_gym  # noqa: F401  registers the ids

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 400_000
NUM_ENVS, INTERVALS, EPOCHS, BATCH, RATE = 32, 64, 8, 256, 1e-3

torch.set_num_threads(1)
torch.manual_seed(0)
env = GymWrapper(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=NUM_ENVS, autoreset_mode="DISABLED", info="none"))
env.set_seed(0)
observations, actions = env.observation_spec["observation"].shape[-1], env.action_spec.shape[-1]


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs))


means = network(observations, actions)
nn.init.orthogonal_(means[-1].weight, 0.01)
actor = ProbabilisticActor(
    TensorDictModule(
        nn.Sequential(means, AddStateIndependentNormalScale(actions, scale_lb=0.05)),
        in_keys=["observation"],
        out_keys=["loc", "scale"],
    ),
    spec=env.action_spec_unbatched,
    in_keys=["loc", "scale"],
    distribution_class=TanhNormal,
    return_log_prob=True,
)
critic = ValueOperator(network(observations, 1), in_keys=["observation"])
advantage = GAE(gamma=0.95, lmbda=0.95, value_network=critic, average_gae=True)
loss = ClipPPOLoss(actor, critic, clip_epsilon=0.2, entropy_coeff=0.0, critic_coeff=0.5)
optimiser = torch.optim.Adam(loss.parameters(), lr=RATE)

iterations = STEPS // (NUM_ENVS * INTERVALS)
rewards = list[float]()
frames = NUM_ENVS * INTERVALS
collector = Collector(env, actor, frames_per_batch=frames, total_frames=iterations * frames)
for iteration, data in enumerate(collector):
    optimiser.param_groups[0]["lr"] = RATE * (1.0 - iteration / iterations)
    with torch.no_grad():
        advantage(data)
    rewards.append(data["next", "reward"].mean().item())
    flat = data.reshape(-1)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(flat)).split(BATCH):
            parts = loss(flat[rows])
            total = parts["loss_objective"] + parts["loss_critic"]
            optimiser.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(loss.parameters(), 0.5)
            optimiser.step()
    if iteration % 20 == 0:
        print(f"{(iteration + 1) * NUM_ENVS * INTERVALS:>8} intervals: mean reward {rewards[-1]:.3f}")

print(f"reward before {rewards[0]:.3f}, after {sum(rewards[-4:]) / 4:.3f}")

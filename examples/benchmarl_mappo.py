"""BenchMARL: MAPPO on Dumbbell, a policy for the sources and one for the links, critics that see the whole network."""

import sys
from pathlib import Path

import torch
from benchmarl.algorithms import MappoConfig
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig

from qnum_gym.integrations.benchmarl import AllocationTask

ENVS, INTERVALS = 10, 200  # of a rollout: an episode of each environment
ROLLOUT = ENVS * INTERVALS
STEPS = int(sys.argv[1]) // ROLLOUT * ROLLOUT if len(sys.argv) > 1 else 200_000
RUNS = Path("runs")


class Returns(Callback):
    """The mean return of each evaluation, which all agents share (an episode's best is about 200)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def on_evaluation_end(self, rollouts: list) -> None:
        """Add one to `found`."""
        returns = [run["next", "source", "reward"].sum(0).mean() for run in rollouts]
        self.found.append(torch.stack(returns).mean().item())


torch.set_num_threads(1)
RUNS.mkdir(exist_ok=True)
config = ExperimentConfig.get_from_yaml()
config.max_n_frames = STEPS
config.gamma, config.lr = 0.95, 1e-3
config.on_policy_n_envs_per_worker, config.on_policy_collected_frames_per_batch = ENVS, ROLLOUT
config.on_policy_n_minibatch_iters, config.on_policy_minibatch_size = 10, 250
config.evaluation_interval, config.evaluation_episodes = STEPS, ENVS  # at the end
config.loggers, config.create_json, config.save_folder = [], True, RUNS

model = MlpConfig(num_cells=[64, 64], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
returns = Returns()
experiment = Experiment(
    task=AllocationTask("Dumbbell-v0", {"signals": False}),
    algorithm_config=MappoConfig.get_from_yaml(),
    model_config=model,
    critic_model_config=model,
    seed=0,
    config=config,
    callbacks=[returns],
)
experiment.evaluate()
experiment.run()
print(f"return before {returns.found[0]:.1f}, after {returns.found[-1]:.1f}")

"""RLlib: PPO on Dumbbell with two remote environment runners, its mean return before and after (best: about 200)."""

import sys

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig

from qnum_gym.integrations import rllib

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
rllib.register()
config = (
    PPOConfig()
    .environment("qnum_gym/Dumbbell-v0", env_config={"info": "none"})
    .env_runners(
        num_env_runners=2,
        num_envs_per_env_runner=8,
        gym_env_vectorize_mode="vector_entry_point",  # 8 networks, one AllocationVectorEnv
        num_cpus_per_env_runner=0.5,
    )
    .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[64, 64], free_log_std=True, vf_share_layers=False))
    .training(lr=1e-3, gamma=0.95, lambda_=0.95, train_batch_size_per_learner=2048, minibatch_size=256, num_epochs=10)
    .evaluation(evaluation_interval=10**9, evaluation_duration=16, evaluation_config={"explore": False})
    .debugging(seed=0)
)
algorithm = config.build_algo()


def evaluated() -> float:
    """The mean return of 16 episodes of the mean action."""
    return algorithm.evaluate()["env_runners"]["episode_return_mean"]


before, sampled = evaluated(), 0
while sampled < steps:
    result = algorithm.train()["env_runners"]
    sampled = result["num_env_steps_sampled_lifetime"]
    print(f"{sampled:>8} intervals: return {result.get('episode_return_mean', float('nan')):.1f}")
print(f"return before {before:.1f}, after {evaluated():.1f}")
algorithm.stop()
ray.shutdown()

"""Stable-Baselines3 in ten lines: PPO on Dumbbell, and its return before and after; the best is about 200."""

import sys

from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from qnum_gym.integrations.sb3 import SB3VecEnv

steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", num_envs=16)
model = PPO("MlpPolicy", envs, learning_rate=1e-3, n_steps=128, batch_size=256, gamma=0.95, seed=0, device="cpu")
before, _ = evaluate_policy(model, envs, n_eval_episodes=16)
model.learn(steps)
after, _ = evaluate_policy(model, envs, n_eval_episodes=16)
model.save("dumbbell.zip")  # python evaluate.py --env Dumbbell-v0 --policy dumbbell.zip --policy oracle
print(f"return before {before:.1f}, after {after:.1f}")

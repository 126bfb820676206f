"""A reward of one's own: the worst session's share of the optimum. PPO on Dumbbell, its return before and after.

Also, without touching the package: reward: examples/own_reward.py:WorstSession in a configuration of train.py.
"""

import sys

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from qnum_gym.envs import Reward
from qnum_gym.envs.scores import Outcomes
from qnum_gym.integrations.sb3 import SB3VecEnv


class WorstSession(Reward):
    """The smallest of the sessions' shares of gm*: nobody is left behind, whatever the others gain."""

    def __call__(self, seen: Outcomes) -> np.ndarray:
        """[n] of n networks; sessions that do not count, and networks where none does, are left out."""
        shares = np.where(seen.counted > 0.0, self.per_session(seen), np.inf).min(axis=1)
        return np.where(np.isfinite(shares), shares, 0.0)

    def per_session(self, seen: Outcomes) -> np.ndarray:
        """[n, R] for info["rewards/session"]."""
        optimum = np.maximum(seen.optimum, 1e-9)[:, np.newaxis]
        return np.where(seen.counted > 0.0, np.exp(seen.utilities) / optimum, 0.0)


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", num_envs=16, reward=WorstSession)
    model = PPO("MlpPolicy", envs, learning_rate=1e-3, n_steps=128, batch_size=256, gamma=0.95, seed=0, device="cpu")
    before, _ = evaluate_policy(model, envs, n_eval_episodes=16)
    model.learn(steps)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=16)
    print(f"return before {before:.1f}, after {after:.1f}")

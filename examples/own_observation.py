"""An observation of one's own: five numbers of each session, three of each link. PPO on Dumbbell, before and after.

Also, without touching the package: observation: examples/own_observation.py:Few in a configuration of train.py.
"""

import sys

import numpy as np
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy

from qnum_gym.envs import ObservationKind
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES
from qnum_gym.integrations.sb3 import SB3VecEnv
from qnum_gym.scenarios.sizes import Sizes

OF_SESSIONS = [list(SESSION_FEATURES).index(name) for name in ("rate", "delivered", "werner", "utility", "storage")]
OF_LINKS = [list(LINK_FEATURES).index(name) for name in ("werner", "load", "mean_queue")]


class Few(ObservationKind):
    """Of each session its rate and what became of it, of each link its w and its load: what a person would look at."""

    def space(self, sizes: Sizes, actions: ActionMap) -> spaces.Box:
        """Of one network."""
        size = sizes.sessions * len(OF_SESSIONS) + sizes.links * len(OF_LINKS)
        return spaces.Box(-1.0, 1.0, (size,), np.float32)

    def __call__(self, batch: EnvBatch, actions: ActionMap) -> np.ndarray:
        """Of all n networks: rows [n, R, 16] and [n, L, 13] are there, new arrays are given."""
        n = len(batch.scenarios)
        of_sessions, of_links = batch.session_rows[..., OF_SESSIONS], batch.link_rows[..., OF_LINKS]
        return np.concatenate((of_sessions.reshape(n, -1), of_links.reshape(n, -1)), axis=1)


if __name__ == "__main__":
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
    envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", num_envs=16, observation=Few)
    model = PPO("MlpPolicy", envs, learning_rate=1e-3, n_steps=128, batch_size=256, gamma=0.95, seed=0, device="cpu")
    before, _ = evaluate_policy(model, envs, n_eval_episodes=16)
    model.learn(steps)
    after, _ = evaluate_policy(model, envs, n_eval_episodes=16)
    print(f"{envs.observation_space.shape} in place of (139,)")
    print(f"return before {before:.1f}, after {after:.1f}")

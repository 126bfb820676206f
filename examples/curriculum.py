"""A curriculum: networks with good memories first, hard ones later. PPO, its return on hard networks before and after.

A callback changes the weights of the stream, from which each episode's network is drawn, while the training runs.
"""

import sys

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.evaluation import evaluate_policy

import qnum_gym
from qnum_gym import Scenario, Stream
from qnum_gym.integrations.sb3 import SB3VecEnv

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 300_000
NETWORKS = 16  # of each kind: the score needs the optimum of each, once


def easy(rng: np.random.Generator) -> Scenario:
    """A dumbbell whose memories hold."""
    return qnum_gym.scenario("dumbbell", coherence_time=rng.uniform(50.0, 100.0))


def hard(rng: np.random.Generator) -> Scenario:
    """One whose memories do not, with a long bottleneck."""
    return qnum_gym.scenario("dumbbell", coherence_time=rng.uniform(4.0, 8.0), bottleneck_km=rng.uniform(20.0, 40.0))


class Curriculum(BaseCallback):
    """Ever more hard networks, from none to nothing else at two thirds of the training."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def _on_step(self) -> bool:
        part = min(1.5 * self.num_timesteps / STEPS, 1.0)
        self.stream.set_weights({"easy": 1.0 - part, "hard": part})  # from the next episodes on
        return True


stream = Stream([easy, hard], size=NETWORKS, weights={"hard": 0.0})
envs = SB3VecEnv.make("qnum_gym/Scenario-v0", num_envs=16, scenario=stream)
judged = SB3VecEnv.make("qnum_gym/Scenario-v0", num_envs=16, scenario=Stream(hard, size=NETWORKS))
model = PPO("MlpPolicy", envs, learning_rate=1e-3, n_steps=128, batch_size=256, gamma=0.95, seed=0, device="cpu")
before, _ = evaluate_policy(model, judged, n_eval_episodes=32)
model.learn(STEPS, callback=Curriculum(stream))
after, _ = evaluate_policy(model, judged, n_eval_episodes=32)
print(f"weights at the end: {stream.weights}")
print(f"return before {before:.1f}, after {after:.1f}")

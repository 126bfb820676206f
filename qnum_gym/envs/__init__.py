"""Environments over the simulator: spaces, observations, rewards, pictures."""

from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.envs.reward import EpisodeRecord, Outcome, Score, ScoreWindow, local_rewards, neighbourhoods
from qnum_gym.envs.vector import AllocationVectorEnv

__all__ = [
    "ActionMap",
    "AllocationEnv",
    "AllocationVectorEnv",
    "EpisodeRecord",
    "ObservationEncoder",
    "Outcome",
    "Score",
    "ScoreWindow",
    "local_rewards",
    "neighbourhoods",
]

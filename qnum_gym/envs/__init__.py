"""Environments over the simulator: spaces, observations, rewards, pictures."""

from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.envs.observations import OBSERVATIONS, ObservationKind
from qnum_gym.envs.parallel_vector import AllocationParallelVectorEnv
from qnum_gym.envs.rewards import REWARDS, Reward
from qnum_gym.envs.scores import Outcome, Outcomes, Score, local_rewards, neighbourhoods
from qnum_gym.envs.vector import AllocationVectorEnv

__all__ = [
    "OBSERVATIONS",
    "REWARDS",
    "ActionMap",
    "AllocationEnv",
    "AllocationParallelVectorEnv",
    "AllocationVectorEnv",
    "ObservationEncoder",
    "ObservationKind",
    "Outcome",
    "Outcomes",
    "Reward",
    "Score",
    "local_rewards",
    "neighbourhoods",
]

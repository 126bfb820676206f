"""Trained models behind the policies' interface. Torch and Stable-Baselines3 are imported when a file is loaded."""

from qnum_gym.agents.learned.sb3 import LearnedPolicy, load, remember

__all__ = ["LearnedPolicy", "load", "remember"]

"""Trained models behind the policies' interface. Torch and Stable-Baselines3 are imported when a file is loaded.

`sb3` runs any model on the network it was trained on, `graph` a graph network on any.
"""

from qnum_gym.agents.learned.sb3 import LearnedPolicy, load, remember

__all__ = ["LearnedPolicy", "load", "remember"]

"""The old place of `qnum_gym.scenarios.topologies`; goes as soon as nobody imports it."""

from qnum_gym.scenarios.topologies import *  # noqa: F403

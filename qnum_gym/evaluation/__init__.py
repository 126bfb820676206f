"""Policies compared: the same episodes for all of them, means with bootstrap intervals, table, CSV and figure."""

from qnum_gym.evaluation.report import PolicySummary, as_json, save, summaries, table
from qnum_gym.evaluation.runs import Progress, Results, evaluate, run_episode, run_episodes
from qnum_gym.evaluation.statistics import (
    Interval,
    Profile,
    difference,
    interquartile_mean,
    mean,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    ratio,
)

__all__ = [
    "Interval",
    "PolicySummary",
    "Profile",
    "Progress",
    "Results",
    "as_json",
    "difference",
    "evaluate",
    "interquartile_mean",
    "mean",
    "paired_difference",
    "performance_profile",
    "probability_of_improvement",
    "ratio",
    "run_episode",
    "run_episodes",
    "save",
    "summaries",
    "table",
]

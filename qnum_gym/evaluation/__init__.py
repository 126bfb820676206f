"""Policies compared: the same episodes for all of them, means with bootstrap intervals, tables, CSV and figures.

- runner: jobs (policy × scenario × seeds), side by side and over `processes`; `store`: what they came to, on disk
- policies, recorders, provenance: who runs, what is kept of an episode, what its numbers depend on
- episodes: one, or many side by side; trace: one, looked at closely
- comparison: policies on one scenario; suite, leaderboard: policies on families of scenarios
- statistics, tables, style, plots, report: what is made of it
- tuning: a policy's constants chosen by trials
"""

from qnum_gym.evaluation.comparison import PolicySummary, Results, evaluate, summaries
from qnum_gym.evaluation.episodes import run_episode, run_episodes
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.processes import Processes, WorkerError
from qnum_gym.evaluation.report import as_json, save, table
from qnum_gym.evaluation.runner import Job, Progress, run
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
from qnum_gym.evaluation.store import Store

__all__ = [
    "Interval",
    "Job",
    "PolicySpec",
    "PolicySummary",
    "Processes",
    "Profile",
    "Progress",
    "Results",
    "Store",
    "WorkerError",
    "as_json",
    "difference",
    "evaluate",
    "interquartile_mean",
    "mean",
    "paired_difference",
    "performance_profile",
    "probability_of_improvement",
    "ratio",
    "run",
    "run_episode",
    "run_episodes",
    "save",
    "summaries",
    "table",
]

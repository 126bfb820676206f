"""The suite: every policy on every task of a split of `families`, and the leaderboard; `evaluate.py --suite`. [ours]

- runs: tasks, policies, their episodes, what is kept of them on disk
- leaderboard: the leaderboard, as Markdown, CSV and JSON
- figure: performance profiles, and scores family by family
"""

from qnum_gym.suite.leaderboard import Leaderboard, Row, save
from qnum_gym.suite.runs import BASELINE, REFERENCE, PolicySpec, Scores, Task, run, tasks

__all__ = ["BASELINE", "REFERENCE", "Leaderboard", "PolicySpec", "Row", "Scores", "Task", "run", "save", "tasks"]

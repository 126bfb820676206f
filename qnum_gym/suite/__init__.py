"""The suite: every policy on every task of a split of `families`, and the leaderboard; `evaluate.py --suite`. [ours]

- runs: tasks, contenders, their episodes, what is kept of them on disk
- board: the leaderboard, as Markdown, CSV and JSON
- figure: performance profiles, and scores family by family
"""

from qnum_gym.suite.board import Board, Row, save
from qnum_gym.suite.runs import BASELINE, REFERENCE, Contender, Scores, Task, run, tasks

__all__ = ["BASELINE", "REFERENCE", "Board", "Contender", "Row", "Scores", "Task", "run", "save", "tasks"]

"""QNUM as mathematics: what the best allocation would be, and simple ones to compare with."""

from qnum_gym.optimum.central import solve, solve_problem
from qnum_gym.optimum.problem import Allocation, InfeasibleError, Problem, geometric_mean
from qnum_gym.optimum.static import best_static, bounds, equal_share

__all__ = [
    "Allocation",
    "InfeasibleError",
    "Problem",
    "best_static",
    "bounds",
    "equal_share",
    "geometric_mean",
    "solve",
    "solve_problem",
]

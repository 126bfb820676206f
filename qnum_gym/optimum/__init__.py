"""QNUM as mathematics: what the best allocation would be, and simple ones to compare with.

- problem: Problem, Allocation: the formulas of model.md §5 and §7
- central: solve, by interior (the method) from feasible (where to start, or why not)
- static: equal_share, best_static, and the score's bounds
- matrices: sparse matrices with types
"""

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

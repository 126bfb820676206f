"""QNUM as mathematics: what the best allocation would be, and simple ones to compare with.

- problem: Problem, Allocation: the formulas of model.md §5 and §7
- formulation: a problem as a program, whose terms are those of program
- central: solve, by interior (the method) from feasible (where to start, or why not); check: is it right?
- static: equal_share, best_static
- fluid: QPrimalDual without packets, compiled by fluid_kernel; stability: whether it comes to rest
- yardstick: what the score is held against
- matrices: sparse matrices with types
"""

from qnum_gym.optimum.central import solve, solve_problem
from qnum_gym.optimum.problem import Allocation, InfeasibleError, Problem, geometric_mean
from qnum_gym.optimum.static import best_static, equal_share
from qnum_gym.optimum.yardstick import ScoreWarning, Yardstick, penalised, yardstick

__all__ = [
    "Allocation",
    "InfeasibleError",
    "Problem",
    "ScoreWarning",
    "Yardstick",
    "best_static",
    "equal_share",
    "geometric_mean",
    "penalised",
    "solve",
    "solve_problem",
    "yardstick",
]

"""QNUM as mathematics: what the best allocation would be, and simple ones to compare with.

- problem: Problem, Allocation: the formulas of model.md §5 and §7
- formulation: a problem as a program, whose terms are those of program
- central: solve, by interior (the method) from feasible (where to start, or why not); check: is it right?
- proof: is it the best of all?  relief: what would be feasible?  sensitivities: what if the network were another?
- static: equal_share, best_static
- fluid: QPrimalDual without packets, compiled by fluid_kernel; stability: whether it comes to rest
- yardstick: what the score is held against
- matrices: sparse matrices with types
"""

from qnum_gym.optimum.central import solve, solve_problem
from qnum_gym.optimum.problem import Allocation, InfeasibleError, Problem, geometric_mean
from qnum_gym.optimum.sensitivities import Sensitivity, sensitivities
from qnum_gym.optimum.static import best_static, equal_share
from qnum_gym.optimum.yardstick import ScoreWarning, Yardstick, penalised, yardstick

__all__ = [
    "Allocation",
    "InfeasibleError",
    "Problem",
    "ScoreWarning",
    "Sensitivity",
    "Yardstick",
    "best_static",
    "equal_share",
    "geometric_mean",
    "penalised",
    "sensitivities",
    "solve",
    "solve_problem",
    "yardstick",
]

"""When an optimum is proven to be the greatest of all [ours].

With a straight line over every session's log f(e^s), no lower than it anywhere between what a session needs and what
it can reach at best, the problem is convex, and its utility nowhere less. Where each line touches at the point found,
that point meets the optimality conditions of the convex problem too: it is optimal there, and so everywhere.
"""

from __future__ import annotations

import numpy as np

from qnum_gym.optimum import feasible
from qnum_gym.optimum.formulation import Model
from qnum_gym.optimum.matrices import Floats
from qnum_gym.optimum.problem import Problem
from qnum_gym.physics import measures

POINTS = 9  # at which a measure that is not concave is looked at; one that is convex there needs the last alone
TOUCHES = 1e-9  # of log f: the line may be lower by that


def proven_global(problem: Problem, model: Model, z: Floats) -> bool:
    """Whether the local optimum at z is global: alpha of 1 and more, and tangents that stay above log f(e^s).

    Of a measure beyond `concave_until` that is neither convex there it looks at nine points.
    """
    if problem.fairness < 1.0:
        return False
    codes = problem.arrays.measure[model.sessions]
    at, bend, top = model.program.log_werner(z), np.log(measures.concave_until(codes)), feasible.highest(model)
    convex = np.flatnonzero(top > bend)
    codes, at, bend, top = codes[convex], at[convex], bend[convex], top[convex]
    w = np.exp(at)
    s = np.linspace(bend, top, POINTS)
    tangent = measures.log_values(codes, w) + measures.elasticities(codes, w) * (s - at)
    return bool((at <= bend).all() and (measures.log_values(codes, np.exp(s)) <= tangent + TOUCHES).all())

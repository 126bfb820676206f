"""What would be feasible, where nothing is [ours]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from qnum_gym.optimum.matrices import Floats
from qnum_gym.optimum.problem import InfeasibleError, Problem
from qnum_gym.physics import measures
from qnum_gym.physics.werner import fidelity

HALVINGS = 14


def explained(problem: Problem, error: InfeasibleError, attempt: Callable[[Problem], object]) -> InfeasibleError:
    """The error, and how much less of their demands, or of their floors, the sessions could have, all others off.

    Args:
        problem: without a solution.
        error: says so.
        attempt: raises InfeasibleError for a problem without a solution.
    """
    sessions = np.array(error.sessions, dtype=np.intp)
    alone = problem.without(~np.isin(np.arange(len(problem.active)), sessions))
    found: dict[str, dict[int, float]] = {}
    texts: list[str] = []
    for name, part, values, unit in (
        ("min_rate", _fewer, _rates, "/s"),
        ("min_fidelity", _worse, _fidelities, ""),
    ):
        asked = sessions[values(alone)[sessions] > 0.0]
        best = _largest(alone, part, attempt) if len(asked) else None
        if best is not None:
            found[name] = {int(r): float(values(best)[r]) for r in asked}
            listed = ", ".join(f"{value:.6g}{unit} of session {r}" for r, value in found[name].items())
            texts.append(f"{name} at most {listed}")
    if not texts:
        return error
    others = "" if len(sessions) == problem.active.sum() else ", all other sessions off,"
    return InfeasibleError(
        f"{error}; feasible{others} with {' or with '.join(texts)}", error.sessions, error.links, found
    )


def _largest(
    problem: Problem, part: Callable[[Problem, float], Problem], attempt: Callable[[Problem], object]
) -> Problem | None:
    """The problem with the largest part of what is asked that is feasible; None if not even nothing of it is."""

    def tried(share: float) -> Problem | None:
        less = part(problem, share)
        try:
            attempt(less)
        except InfeasibleError:
            return None
        return less

    best, low, high = tried(0.0), 0.0, 1.0
    for _ in range(HALVINGS if best is not None else 0):
        middle = 0.5 * (low + high)
        less = tried(middle)
        best, low, high = (best, low, middle) if less is None else (less, middle, high)
    return best


def _fewer(problem: Problem, share: float) -> Problem:
    """`share` of every demand."""
    return replace(problem, arrays=replace(problem.arrays, min_rate=share * problem.arrays.min_rate))


def _worse(problem: Problem, share: float) -> Problem:
    """Fidelity floors `share` of the way from where f is 0."""
    a = problem.arrays
    zero, floor = measures.positive_from(a.measure), np.exp(a.log_werner_floor)
    lowered = np.where(floor > zero, np.log(zero + share * np.maximum(floor - zero, 0.0)), a.log_werner_floor)
    return replace(problem, arrays=replace(a, log_werner_floor=lowered))


def _rates(problem: Problem) -> Floats:
    """[R] demands, 1/s; 0 without one."""
    return problem.arrays.min_rate


def _fidelities(problem: Problem) -> Floats:
    """[R] fidelity floors; 0 without one."""
    floor = problem.arrays.log_werner_floor
    return np.where(floor > -np.inf, fidelity(np.exp(floor)), 0.0)

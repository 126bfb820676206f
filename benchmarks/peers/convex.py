"""QNUM as cvxpy takes it: links of `single_click`, measures f(W) = a W - b, alpha of 1 and more.

For benchmarks/peers/optimum.py and tests/test_optimum_peers.py. Needs cvxpy and Clarabel (the extra `dev`).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from qnum_gym.optimum import Problem
from qnum_gym.physics.measures import MEASURES

AFFINE = {"negativity": (0.75, 0.25)}  # a and b


def by_cvxpy(
    problem: Problem,
    *,
    decoherence: bool = False,
    max_utilisation: float = 1.0,
    affine: Mapping[str, tuple[float, float]] = AFFINE,
    **options: Any,
) -> float:
    """The greatest utility, with R, w, S = log W and, with decoherence, the slack s as variables.

    log f = S + log(a - b exp(-S)), and log(s/(s + Gamma)) = -log(1 + exp(log Gamma - log s)). All sessions are active.
    """
    cp: Any = importlib.import_module("cvxpy")
    p, a = problem, problem.arrays
    n, m, hops = len(a.weight), len(a.capacity), len(a.hop_link)
    up, down = np.array([affine[MEASURES.names()[code]] for code in a.measure]).T
    session_of = sparse.csr_array((np.ones(hops), (a.hop_session, np.arange(hops))), shape=(n, hops))
    link_of = sparse.csr_array((np.ones(hops), (np.arange(hops), a.hop_link)), shape=(hops, m))
    traffic = sparse.csr_array((p.thinning, (a.hop_link, a.hop_session)), shape=(m, n))
    rates, werner, s = cp.Variable(n), cp.Variable(m), cp.Variable(n)
    usable = cp.multiply(a.capacity, 1 - werner)
    reach = session_of @ link_of @ cp.log(werner) + session_of @ p.gate_log
    constraints = [
        traffic @ rates <= max_utilisation * usable,
        rates >= np.maximum(a.rate_min, a.min_rate / p.delivery),
        rates <= a.rate_max,
        werner >= a.werner_min,
        werner <= a.werner_max,
    ]
    if decoherence:
        slack, waits = cp.Variable(m), np.flatnonzero(p.storage_rate > 0)
        stored = cp.logistic(np.log(p.storage_rate[waits]) - cp.log(link_of[waits] @ slack))
        reach += session_of @ p.flight_log - session_of[:, waits] @ stored
        constraints.append(traffic @ rates + slack <= usable)
    constraints.append(s <= reach)
    if (floored := np.flatnonzero(a.log_werner_floor > -np.inf)).size:
        constraints.append(s[floored] >= a.log_werner_floor[floored])
    worth = cp.log(rates) + np.log(p.delivery) + s + cp.log(up - cp.multiply(down, cp.exp(-s)))
    if p.fairness == 1.0:
        goal = cp.Maximize(a.weight @ worth)
        return float(cp.Problem(goal, constraints).solve(solver=cp.CLARABEL, **options))
    bias = 1.0 - p.fairness  # the logarithm of the sum is of the same size for every alpha
    total = cp.Problem(cp.Minimize(cp.log_sum_exp(bias * worth + np.log(a.weight))), constraints)
    return float(np.exp(total.solve(solver=cp.CLARABEL, **options)) / bias)

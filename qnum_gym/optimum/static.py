"""Static allocations that know the formula but set every link alike (model.md §8)."""

from __future__ import annotations

import numpy as np

from qnum_gym.optimum.matrices import Floats
from qnum_gym.optimum.problem import Allocation, Problem
from qnum_gym.physics.links import at_coordinate, coordinate
from qnum_gym.scenarios import Scenario

EQUAL_SHARE_WERNER = 0.967
LOADS = np.arange(1, 20) / 20.0  # 0.05, 0.10, ..., 0.95
SIDE = 25  # points of a side of the grids of `best_static`
MAX_LOAD = 0.95  # of `best_static` too: the formula knows no transients, and a critical queue never empties [ours]


def equal_share(s: Scenario, time: float = 0.0) -> Allocation:
    """Every w = 0.967 and every link's rho d (1 - w) split equally among its sessions, with the best rho of a grid.

    rho is the best of 0.05, 0.10, ..., 0.95 by the formula of model.md §7 with utilities floored at R f = 1e-4. A
    session takes its smallest share on its route. Values outside a link's `werner_range` or a session's `rate_range`
    are moved to its nearest end; fidelity floors and demands are not looked at.
    """
    return equal_share_of(Problem.from_scenario(s, time))


def best_static(s: Scenario, time: float = 0.0) -> Allocation:
    """The best single w and rho, at most 0.95, common to all links; otherwise as `equal_share`."""
    problem = Problem.from_scenario(s, time)
    a = problem.arrays
    low, high = float(a.werner_min.min()), float(a.werner_max.max())
    noise, load = (-coordinate(high), -coordinate(low)), (0.01, MAX_LOAD)
    w, rho = 0.0, 0.0
    for _ in range(12):  # a grid, even in log(1 - w), then ever finer ones around the best point found
        rows, columns = np.linspace(*noise, SIDE), np.linspace(*load, SIDE)
        every_w, every_load = at_coordinate(-np.repeat(rows, SIDE)), np.tile(columns, SIDE)
        best = int(np.argmax(_utilities(problem, every_w, every_load)))
        w, rho = float(every_w[best]), float(every_load[best])
        noise, load = _around(rows, best // SIDE), _around(columns, best % SIDE)
    return _allocation(problem, w, rho)


def _around(grid: Floats, i: int) -> tuple[float, float]:
    """Two points to either side of the i-th, as far as the grid goes."""
    return float(grid[max(i - 2, 0)]), float(grid[min(i + 2, SIDE - 1)])


def equal_share_of(problem: Problem) -> Allocation:
    """`equal_share` for a `Problem`."""
    w = np.full(len(LOADS), EQUAL_SHARE_WERNER)
    best = int(np.argmax(_utilities(problem, w, LOADS)))
    return _allocation(problem, EQUAL_SHARE_WERNER, float(LOADS[best]))


def _controls(problem: Problem, w: Floats, load: Floats) -> tuple[Floats, Floats]:
    """Rates [K, R] and Werner parameters [K, L] for w[K] and load[K]; inactive sessions get 0."""
    a = problem.arrays
    werner = np.clip(w[:, None], a.werner_min, a.werner_max)
    usable = load[:, None] * a.link_rates.rate(werner, a.capacity)
    share = usable / np.maximum(np.bincount(a.hop_link[a.active[a.hop_session]], minlength=len(a.capacity)), 1)
    rates = np.minimum.reduceat(share[:, a.hop_link], a.hop_start[:-1], axis=1)
    return np.where(a.active, np.clip(rates, a.rate_min, a.rate_max), 0.0), werner


def _utilities(problem: Problem, w: Floats, load: Floats) -> Floats:
    """Utility [K] of the allocations for w[K] and load[K]."""
    rates, werner = _controls(problem, w, load)
    expected = problem.expected_werner(rates, werner)
    return problem.utilities(problem.expected_delivery(rates), expected) @ problem.arrays.weight


def _allocation(problem: Problem, w: float, load: float) -> Allocation:
    a = problem.arrays
    rates, werner = (x[0] for x in _controls(problem, np.array([w]), np.array([load])))
    expected = problem.expected_werner(rates, werner)
    return Allocation(
        rates=rates,
        werner=werner,
        link_prices=np.full(len(a.capacity), np.nan),
        fidelity_prices=np.full(len(a.active), np.nan),
        rate_prices=np.full(len(a.active), np.nan),
        utility=problem.utility(problem.expected_delivery(rates), expected),
        expected_werner=np.where(a.active, expected, np.nan),
        slack=a.link_rates.rate(werner, a.capacity) - problem.arrivals(rates),
        kkt_residual=np.nan,
    )

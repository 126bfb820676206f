"""Is an allocation what it claims to be? Asked of the problem alone, not of the method that found it [ours]."""

from __future__ import annotations

import numpy as np

from qnum_gym.optimum.matrices import Floats, distinct, totals
from qnum_gym.optimum.problem import Allocation, Problem
from qnum_gym.physics import measures

FEASIBLE = 1e-9  # by how much, relatively, a bound, a capacity, a floor or a demand may be missed
TINY = float(np.finfo(np.float64).tiny)
ACCEPTED = 1e-6  # KKT residual above which a solution is refused
NEAR = 1e-8  # of log W: so close to the returned W the conditions must hold (f of a session of tiny weight is tinier)
SETTLED = 5e-9  # price times distance that the method may leave at f > 0, whose price is not given
ROUNDING = 1e-14  # relative, of the sum that gives a slack


def checked(problem: Problem, x: Allocation, *, decoherence: bool, max_utilisation: float) -> Allocation:
    """`x` itself, if it is finite, feasible and optimal.

    Raises:
        ArithmeticError: it is not; says in what.
    """
    a = problem.arrays
    used = distinct(a.hop_link[a.active[a.hop_session]])
    numbers = [x.rates, x.werner, x.link_prices, x.fidelity_prices, x.rate_prices, x.slack, [x.utility]]
    if not all(np.isfinite(values).all() for values in [*numbers, x.expected_werner[a.active]]):
        raise ArithmeticError("the interior point method ended at values that are not finite")
    delivered = problem.expected_delivery(x.rates)
    expected = problem.expected_werner(x.rates, x.werner, decoherence=decoherence)
    usable = max_utilisation * a.link_rates.rate(x.werner, a.capacity)
    broken = {
        "a bound": _outside(x.rates, a.rate_min, a.rate_max)[a.active],
        "a werner_range": _outside(x.werner, a.werner_min, a.werner_max)[used],
        "a link's capacity": problem.arrivals(x.rates)[used] / usable[used] - 1.0,
        "a fidelity floor": (a.log_werner_floor - np.log(np.maximum(expected, TINY)))[a.active],
        "a demand": ((a.min_rate - delivered) / np.where(a.min_rate > 0.0, a.min_rate, 1.0))[a.active],
    }
    for name, excess in broken.items():
        if not np.max(excess, initial=-np.inf) <= FEASIBLE:
            raise ArithmeticError(f"the interior point method broke {name}, by {np.max(excess):.1e}")
    error = residual(problem, x, decoherence=decoherence, max_utilisation=max_utilisation)
    if not error <= ACCEPTED:
        raise ArithmeticError(f"the interior point method stopped at a KKT residual of {error:.1e}")
    return x


def _outside(x: Floats, low: Floats, high: Floats) -> Floats:
    return np.maximum(low - x, x - high) / high


def residual(problem: Problem, x: Allocation, *, decoherence: bool, max_utilisation: float) -> float:
    """Largest violation of the optimality conditions (14') to (18) of model.md §7 by rates, werner and prices.

    Each is taken per unit of log R, log s or log(1 - w), over the mean weight of the active sessions, and times the
    distance to the bound that holds the variable back (or from the constraint that has the price), if below 1. They
    need but hold for a log W within 1e-8 of its value: where a session of tiny weight has f = 1e-10, that decides.
    """
    a, on = problem.arrays, problem.active
    if not on.any():
        return 0.0
    hops = on[a.hop_session]
    session, link, thinning = a.hop_session[hops], a.hop_link[hops], problem.thinning[hops]
    gamma = problem.storage_rate[hops] if decoherence else np.zeros(len(link))
    n_sessions, n_links = len(on), len(a.capacity)
    expected = problem.expected_werner(x.rates, x.werner, decoherence=decoherence)
    tilted = a.weight * problem.tilts(problem.expected_delivery(x.rates), expected)
    scale, bias = tilted[on].mean(), 1.0 - problem.fairness
    weight, floor, demand = (np.where(on, y, 0.0) / scale for y in (tilted, x.fidelity_prices, x.rate_prices))
    no_way = np.zeros(n_sessions)
    price, used, makes = x.link_prices / scale, distinct(link), a.link_rates
    total, cost = makes.rate(x.werner, a.capacity), makes.cost(x.werner, a.capacity)

    with np.errstate(invalid="ignore", divide="ignore"):
        slack = total - problem.arrivals(x.rates)
        s = slack[link]
        vague = np.where(gamma > 0.0, ROUNDING * a.capacity[link] / s, 0.0)  # of log s
        vague_werner = NEAR + totals(session, vague * gamma / (s + gamma), n_sessions)  # of log W
        elasticity = np.where(on, measures.elasticities(a.measure, expected), 0.0)
        pull = weight * elasticity + floor
        bend = measures.elasticity_slopes(a.measure, expected) + bias * elasticity**2
        blur: Floats = weight * np.abs(bend) * vague_werner
        blur += np.where(
            problem.least_log_werner == a.log_werner_floor, 0.0, SETTLED / (np.log(expected) - problem.least_log_werner)
        )
        share = np.where(gamma > 0.0, gamma / (s * (s + gamma)), 0.0)
        gain = totals(link, share * pull[session], n_links)  # g_l of (18)
        gain_blur = totals(link, share * (blur[session] + 2.0 * vague * pull[session]), n_links)

        paid = x.rates * totals(session, thinning * price[link], n_sessions)
        rates = _held(weight + demand - paid, np.log(a.rate_max / x.rates), np.log(x.rates / a.rate_min))
        rates = np.maximum(rates - weight * np.abs(bias) * elasticity * vague_werner, 0.0)
        floors = _held(floor, np.log(expected) - problem.least_log_werner, no_way)
        demands = _held(demand, np.log(problem.expected_delivery(x.rates) / a.min_rate), no_way)

        spare = slack - (1.0 - max_utilisation) * total
        excess = price - gain
        queue = np.maximum(excess * spare, 0.0) + np.maximum(-excess * slack, 0.0)
        stress = totals(link, pull[session], n_links) / x.werner - cost * price
        stress += (1.0 - max_utilisation) * cost * np.maximum(excess, 0.0)
        up, down = ((1.0 - x.werner) / (1.0 - end) for end in (a.werner_max, a.werner_min))
        werner = _held(stress * (1.0 - x.werner), np.log(up), -np.log(down))
    werner_blur = totals(link, blur[session], n_links) + cost * gain_blur
    on_links = np.maximum(queue - gain_blur * slack, werner - werner_blur * (1.0 - x.werner))
    return float(max(np.max(np.abs([rates, floors, demands]), axis=0)[on].max(), on_links[used].max(), 0.0))


def _held(gradient: Floats, up: Floats, down: Floats) -> Floats:
    """The gain that is left along `gradient`, for a variable that may move by `up` and `down`, at most by 1."""
    return np.abs(gradient) * np.clip(np.where(gradient > 0.0, up, down), 0.0, 1.0)

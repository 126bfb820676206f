"""What measured utilities are held against: the optimum that applies, and what broken promises cost (model.md §5)."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from threading import Lock

import numpy as np

from qnum_gym.optimum import fairness
from qnum_gym.optimum.central import solve_problem
from qnum_gym.optimum.matrices import Bools, Floats, Ints
from qnum_gym.optimum.problem import RATE_FLOOR, InfeasibleError, Problem, geometric_mean
from qnum_gym.optimum.static import equal_share_of
from qnum_gym.scenarios import Scenario

SHARPNESS = 2.0  # of the penalties, in units of the optimum's prices: above 1 a broken promise never pays [ours]
KEPT = 8192  # yardsticks in memory, of about 2 kB each; the oldest ones go
NAMED = 5  # hopeless sessions at most, in a warning


class ScoreWarning(UserWarning):
    """A session counts in no score, or a scenario has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """The scale at one time, R sessions.

    Attributes:
        weight: [R] of the sessions.
        counts: [R] the sessions that are judged: active, and not hopeless. None where there is no optimum.
        worthless: [R] active sessions that are not judged though their route is up: what they deliver is not counted.
        lower: U0 of those that count, by `equal_share` among them, with penalties.
        upper: U1 of those that count, by the optimum.
        floor_penalty: [R] 2 mu*, utility lost per unit of log W below the fidelity floor.
        demand_penalty: [R] 2 nu*, utility lost per unit of log R below the demand.
        best_rates, best_werner: [R] delivered pairs per second and their Werner parameter at the optimum; NaN for a
            session that does not count.
        fairness: alpha of the utilities.
    """

    weight: Floats
    counts: Bools
    worthless: Bools
    lower: float
    upper: float
    floor_penalty: Floats
    demand_penalty: Floats
    best_rates: Floats
    best_werner: Floats
    fairness: float

    @property
    def geometric_mean(self) -> float:
        """gm*, that of the optimum, 1/s (bit/s for `secret_key`); 0 where nobody counts."""
        return geometric_mean(self.upper, self.weight[self.counts], self.fairness) if self.counts.any() else 0.0


def yardstick(s: Scenario, time: float = 0.0) -> Yardstick:
    """What the sessions active at `time` (s) are held against; cached.

    Parallel swapping is held against what the same network could do with sequential swapping: one scale for both.

    U1 is the optimum with utilisation up to 1: of model.md §7, or of §5 where no memory decays. Utilities are floored
    at R f = 1e-4. A hopeless session (`Problem.hopeless`) counts in neither end. Where no allocation serves all others
    together, nobody counts.

    Warns:
        ScoreWarning: names sessions that are hopeless though their route is up, or that cannot be served together.
    """
    times = s.change_times()
    moment = times[bisect_right(times, time) - 1]
    found = _known.get((s.fingerprint, moment))
    if found is None:
        found = _yardstick(s, moment)
        _keep(s, moment, found)
    return found


def known(s: Scenario) -> bool:
    """Whether the scenario's yardsticks of all times are in memory."""
    return all((s.fingerprint, time) in _known for time in s.change_times())


def remember(s: Scenario, found: Sequence[Yardstick]) -> None:
    """Take the scenario's yardsticks, one for each of its `change_times`, that were found before or elsewhere."""
    for time, own in zip(s.change_times(), found, strict=True):
        _keep(s, time, own)


_known: dict[tuple[str, float], Yardstick] = {}
_lock = Lock()


def _keep(s: Scenario, time: float, found: Yardstick) -> None:
    with _lock:
        _known.setdefault((s.fingerprint, time), found)
        for oldest in list(islice(_known, max(len(_known) - KEPT, 0))):
            del _known[oldest]


def _yardstick(s: Scenario, time: float) -> Yardstick:
    """`yardstick`; something changes at `time`, or it is 0."""
    problem = Problem.from_scenario(s.replace(swapping="sequential"), time)
    where = s.name if time == 0.0 else f"{s.name} from {time:g} s on"
    hopeless, connected = problem.hopeless, problem.active & ~problem.blocked
    if (hopeless & connected).any():
        _warn_of_hopeless(where, problem, np.flatnonzero(hopeless & connected))
    servable = problem.without(hopeless)
    if not servable.active.any():
        return _nobody(problem)
    try:
        best = solve_problem(servable, decoherence=servable.decays)
    except (InfeasibleError, ArithmeticError) as error:
        warnings.warn(f"{where}: no score, as there is no optimum: {error}", ScoreWarning, stacklevel=2)
        return _nobody(problem)
    penalties = SHARPNESS * best.fidelity_prices, SHARPNESS * best.rate_prices
    crude = equal_share_of(servable)
    delivered = servable.expected_delivery(best.rates)
    return Yardstick(
        problem.arrays.weight,
        servable.active,
        hopeless & connected,
        penalised(servable, servable.expected_delivery(crude.rates), crude.expected_werner, *penalties),
        servable.utility(delivered, best.expected_werner),
        *penalties,
        best_rates=np.where(servable.active, delivered, np.nan),
        best_werner=best.expected_werner,
        fairness=problem.fairness,
    )


def _nobody(problem: Problem) -> Yardstick:
    """Nobody counts."""
    zeros, unknown = np.zeros(len(problem.active)), np.full(len(problem.active), np.nan)
    connected = problem.active & ~problem.blocked
    nobody = np.zeros_like(connected)
    return Yardstick(
        problem.arrays.weight, nobody, connected, 0.0, 0.0, zeros, zeros, unknown, unknown, problem.fairness
    )


def penalised(problem: Problem, rates: Floats, werner: Floats, floor_penalty: Floats, demand_penalty: Floats) -> float:
    """Sum of weight * U_r over the active sessions, each less what its broken promises cost, and floored as U_r is.

    Args:
        problem: whose sessions, floors and demands.
        rates: [R] of delivered pairs, as for `Problem.utilities`.
        werner: [R] likewise.
        floor_penalty: [R] as in `Yardstick`.
        demand_penalty: [R] likewise.
    """
    below_floor, below_demand = problem.shortfalls(rates, werner)
    with np.errstate(invalid="ignore"):  # nothing for ever so much
        cost = np.where(floor_penalty > 0.0, floor_penalty * below_floor, 0.0)
        cost += np.where(demand_penalty > 0.0, demand_penalty * below_demand, 0.0)
    weight = problem.arrays.weight
    utilities = np.maximum(
        problem.utilities(rates, werner) - cost / weight, fairness.utility(RATE_FLOOR, problem.fairness)
    )
    return float(weight[problem.active] @ utilities[problem.active])


def _warn_of_hopeless(where: str, problem: Problem, sessions: Ints) -> None:
    reached, least = np.exp(problem.highest_log_werner), np.exp(problem.least_log_werner)
    names = [
        f"{problem.describe([r])}, which reaches W = {reached[r]:.4f} and needs more than {least[r]:.4f}"
        if reached[r] > 0.0
        else f"{problem.describe([r])}, whose lowest rate does not fit"
        for r in sessions[:NAMED].tolist()
    ]
    more = [f"{len(sessions) - NAMED} more"] if len(sessions) > NAMED else []
    told = "; ".join(names + more)
    why = "hopeless even alone and at best Werner parameters, so counted in no score"
    warnings.warn(f"{where}: {why}: {told}", ScoreWarning, stacklevel=3)

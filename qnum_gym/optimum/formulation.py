"""A problem as a program: which variables and constraints the active sessions give (model.md §5, §7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from qnum_gym.optimum import fairness
from qnum_gym.optimum.fresh import Fresh
from qnum_gym.optimum.matrices import Floats, Ints, Sparse, entries, places, totals
from qnum_gym.optimum.problem import InfeasibleError, Problem
from qnum_gym.optimum.program import Program
from qnum_gym.physics import measures


@dataclass(frozen=True, eq=False)
class Model:
    """The program of a problem, and where its variables z = (R, v, s) and constraints come from.

    Attributes:
        sessions: [R'] the active sessions; variables 0..R'-1 are their rates.
        links: [L'] the links they use; the next variables are their v.
        queues: [Q] those of `links` (by place) before which pairs are stored; the last variables are their slack.
        capped: [P] those of `links` (by place) with a constraint y <= rho d (1 - v).
        capacity: [L'] D of `fresh.py`, d in `single_click`, pairs/s.
        thinning: sparse [L', R'], y = thinning @ R.
        reaching: [H'] the same numbers in the order of the program's terms.
        max_utilisation: rho.
        unit: the R f(W) that counts as 1 in the program's U, which is in units of unit^(1 - alpha).
    """

    program: Program
    sessions: Ints
    links: Ints
    queues: Ints
    capped: Ints
    capacity: Floats
    thinning: Sparse
    reaching: Floats
    max_utilisation: float
    unit: float = 1.0

    def scale(self, problem: Problem) -> float:
        """What one unit of the program's objective is in utility."""
        return float(problem.arrays.weight[self.sessions].mean() * self.unit ** (1.0 - problem.fairness))


def build(problem: Problem, decoherence: bool, max_utilisation: float) -> Model:
    """The program for the active sessions, at least one, with U = log.

    Raises:
        InfeasibleError: a link is down.
    """
    a = problem.arrays
    sessions = np.flatnonzero(a.active)
    refuse_dead_links(problem)
    hops = np.flatnonzero(a.active[a.hop_session])
    links = np.flatnonzero(np.bincount(a.hop_link[hops]))
    place_of_link, place_of_session = places(links, len(a.capacity)), places(sessions, len(a.active))
    hop_session, hop_link = place_of_session[a.hop_session[hops]], place_of_link[a.hop_link[hops]]
    gamma = problem.storage_rate[hops] if decoherence else np.zeros(len(hops))
    queues = np.flatnonzero(np.bincount(hop_link[gamma > 0.0]))
    capped = np.arange(len(links)) if max_utilisation < 1.0 else np.delete(np.arange(len(links)), queues)
    n_sessions, n_links = len(sessions), len(links)
    offset = problem.gate_log[hops] + (problem.flight_log[hops] if decoherence else 0.0)
    fresh = Fresh(a.link_rates[links], a.capacity[links], a.werner_min[links])
    capacity, reaching = fresh.scale, problem.thinning[hops]
    share = reaching / capacity[hop_link]
    codes = a.measure[sessions]
    weight = a.weight[sessions] / a.weight[sessions].mean()
    lowest, highest = fresh.of(a.werner_min[links]), fresh.of(a.werner_max[links])
    low = np.concatenate([_lowest_rates(problem, sessions), lowest, np.full(len(queues), -np.inf)])
    high = np.concatenate([a.rate_max[sessions], highest, np.full(len(queues), np.inf)])
    program = Program(
        rate_weight=weight,
        worth_weight=weight,
        worth=lambda s: measures.log_values(codes, np.exp(s)),
        worth_slopes=lambda s: _log_measure_slopes(codes, np.exp(s)),
        constant=totals(hop_session, offset, n_sessions),
        # f > 0 is a constraint with a barrier of its own: log f alone would not hold back a session of tiny weight
        floor=problem.least_log_werner[sessions],
        hop_session=hop_session,
        hop_link=hop_link,
        share=share,
        gamma=gamma,
        capacity=capacity,
        fresh=fresh,
        queues=queues,
        capped=capped,
        max_utilisation=max_utilisation,
        low=low,
        high=high,
    )
    thinning = entries(hop_link, hop_session, reaching, (n_links, n_sessions))
    return Model(program, sessions, links, queues, capped, capacity, thinning, reaching, max_utilisation)


def fair(problem: Problem, model: Model, z: Floats) -> Model:
    """The same with the problem's alpha. At z the program's weights x^(1 - alpha) are 1 on average."""
    alpha, program = problem.fairness, model.program
    rates, codes = program.parts(z)[0], problem.arrays.measure[model.sessions]
    delivery = np.log(problem.delivery[model.sessions])
    values = np.exp(np.log(rates) + delivery + program.worth(program.log_werner(z)))
    utility = program.rate_weight @ fairness.utility(values, alpha)
    unit = float(fairness.certainty_equivalent(utility / program.rate_weight.sum(), alpha))
    constant = delivery - np.log(unit)

    def worth(s: Floats) -> Floats:
        return measures.log_values(codes, np.exp(s)) + constant

    return replace(model, program=replace(program, alpha=alpha, worth=worth), unit=unit)


def _lowest_rates(problem: Problem, sessions: Ints) -> Floats:
    """[R'] injection rate that keeps both the rate's range and the demand for delivered pairs."""
    a = problem.arrays
    return np.maximum(a.rate_min[sessions], a.min_rate[sessions] / problem.delivery[sessions])


def _log_measure_slopes(codes: Ints, w: Floats) -> tuple[Floats, Floats]:
    """The first two derivatives of log f(e^s) at s = log w."""
    return measures.elasticities(codes, w), measures.elasticity_slopes(codes, w)


def refuse_dead_links(problem: Problem) -> None:
    """Raises InfeasibleError for active sessions whose route has a link without capacity."""
    blocked = np.flatnonzero(problem.blocked)
    if len(blocked):
        raise infeasible(problem, blocked, "a link on the route is down (capacity 0)")


def infeasible(problem: Problem, sessions: Ints, why: str) -> InfeasibleError:
    """The error that names the `sessions`, and says why."""
    return InfeasibleError(f"{problem.describe(sessions)}: {why}", tuple(int(r) for r in sessions))

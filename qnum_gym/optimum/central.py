"""The central solution of QNUM: model.md §5 (arXiv:2510.09371) and, with decoherence, §7 [ours]."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from qnum_gym.optimum import fairness, feasible, relief
from qnum_gym.optimum.check import ACCEPTED, checked
from qnum_gym.optimum.formulation import Model, build, fair
from qnum_gym.optimum.interior import Point, maximise, start
from qnum_gym.optimum.matrices import Floats
from qnum_gym.optimum.problem import Allocation, InfeasibleError, Problem
from qnum_gym.optimum.proof import proven_global
from qnum_gym.physics import measures
from qnum_gym.scenarios import Scenario

ROUGH = 1e-2  # barrier weight of the optimum for U = log, from where that for another alpha is searched
NEAR = 1e-5  # barrier weight of random starts: a larger one would lead them all to the same place first
SAME = 1e-6  # utility, over the mean weight and unit^(1 - alpha), up to which starts agree


def solve(
    s: Scenario,
    decoherence: bool = False,
    max_utilisation: float = 1.0,
    *,
    time: float = 0.0,
    rates: ArrayLike | None = None,
    werner: ArrayLike | None = None,
    starts: int = 1,
    leave_out_hopeless: bool = False,
) -> Allocation:
    """Rates and Werner parameters of greatest utility for the sessions active at `time`.

    Without `decoherence` this is model.md §5; with it, §7: pairs decay while q-datagrams queue and headers travel, so
    that every link but first hops keeps slack. Fidelity floors apply to the W that is maximised. `proven_global` says
    whether no other allocation is better; if it is False (a high floor, a rate at its upper bound, `fairness` below 1),
    ask for more `starts`.

    With `swapping: parallel` the decoherence-aware form takes the approximate E[W] (27) of model.md §7.4.
    The score's yardstick is the optimum of the same scenario with sequential swapping all the same.

    Args:
        s: the scenario.
        decoherence: count storage and header flight (§7).
        max_utilisation: rho in (0, 1]: y_l <= rho * d_l (1 - w_l) on every link.
        time: s; events and starts and stops up to then are applied.
        rates: injection rates that are given, 1/s: one for all sessions, or [R], NaN for those to be found.
        werner: Werner parameters that are given, likewise of links [L]; a link without a knob keeps its own.
        starts: how many searches to make where the first is not proven to have found the global optimum, all but the
            first from random points; the best counts.
        leave_out_hopeless: sessions that cannot be served even alone are off, as they are in a score; their W is NaN.

    Raises:
        InfeasibleError: no allocation keeps every f > 0 and every floor, demand and bound; names the sessions, and says
            what would be feasible.
        ValueError: `max_utilisation` outside (0, 1], `starts` below 1, rates or Werner parameters out of their ranges.
        ArithmeticError: the method did not converge.
    """
    problem = Problem.from_scenario(s, time).fixed(rates, werner)
    rules: dict[str, Any] = {"decoherence": decoherence, "max_utilisation": max_utilisation}
    while True:
        try:
            return solve_problem(problem, starts=starts, **rules)
        except InfeasibleError as error:
            others = problem.without(np.isin(np.arange(len(problem.active)), error.sessions))
            if not leave_out_hopeless or error.links or not others.active.any():
                raise relief.explained(problem, error, lambda part: _start(part, *rules.values())) from None
            problem = others


def solve_problem(
    problem: Problem, *, decoherence: bool = False, max_utilisation: float = 1.0, starts: int = 1
) -> Allocation:
    """`solve` for a `Problem`; an InfeasibleError does not say what would be feasible."""
    if not problem.active.any():
        return _idle(problem)
    return optimise(problem, decoherence, max_utilisation, starts)[0]


def optimise(
    problem: Problem, decoherence: bool, max_utilisation: float, starts: int = 1
) -> tuple[Allocation, Model, Point]:
    """`solve_problem` for at least one active session, and the point of the program that it stands for."""
    if starts < 1:
        raise ValueError(f"starts = {starts}: must be at least 1")
    if not 0.0 < max_utilisation <= 1.0:
        raise ValueError(f"max_utilisation = {max_utilisation}: must be in (0, 1]")
    try:
        model, z = _start(problem, decoherence, max_utilisation)
    except feasible.RivalryError as error:
        why = feasible.smallest_rivalry(problem, error, lambda part: _start(part, decoherence, max_utilisation))
        raise why from None
    steps, first = 0, z
    if problem.fairness != 1.0:
        rough = maximise(model.program, start(model.program, z, 0.1), mu_end=ROUGH)
        steps, z = rough.steps, rough.z
        model = fair(problem, model, z)
    point = maximise(model.program, start(model.program, z, 0.1))
    point.steps += steps
    proven, points = proven_global(problem, model, point.z), [point]
    if not proven:
        points += _from_elsewhere(model, first, starts - 1)
    values = np.array([model.program.objective(p.z, model.program.log_werner(p.z)) for p in points])
    best = int(np.argmax(values))
    found = replace(
        _allocation(problem, model, points[best], decoherence),
        iterations=points[best].steps,
        proven_global=proven or proven_global(problem, model, points[best].z),
        starts=len(points),
        agreed=int((values >= values[best] - SAME * len(model.sessions)).sum()),
    )
    checked(problem, found, decoherence=decoherence, max_utilisation=max_utilisation)
    return found, model, points[best]


def _from_elsewhere(model: Model, z: Floats, starts: int) -> list[Point]:
    """The optima found from random starts, the same ones in every run."""
    rng, points = np.random.default_rng(0), list[Point]()
    for _ in range(starts):
        begin = start(model.program, feasible.another_start(model, z, rng), NEAR)
        points.append(maximise(model.program, begin, mu=NEAR))
    return [point for point in points if point.error <= ACCEPTED]


def _start(problem: Problem, decoherence: bool, max_utilisation: float) -> tuple[Model, Floats]:
    """The program, and a strictly feasible point of it."""
    model = build(problem, decoherence, max_utilisation)
    return model, feasible.start_point(problem, model)


def _prices(problem: Problem, model: Model, point: Point) -> tuple[Floats, Floats, Floats]:
    """lambda [L], mu [R], nu [R] in utility per pair/s, per unit of log W, per unit of log(delivered rate)."""
    a, chosen = problem.arrays, model.sessions
    rates = point.z[: len(chosen)]
    linear, floor, low, _ = model.program.split(point.price)
    scale = model.scale(problem)
    weight = model.program.rate_weight * model.program.tilt(point.z, model.program.log_werner(point.z))
    queued, capped = model.links[model.queues], model.links[model.capped]
    links, fidelities, demands = np.zeros(len(a.capacity)), np.zeros(len(a.active)), np.zeros(len(a.active))
    links[queued] += linear[: len(queued)] / model.capacity[model.queues]
    links[capped] += linear[len(queued) :] / (model.capacity[model.capped] * model.max_utilisation)
    fidelities[chosen] = np.where(model.program.floor == a.log_werner_floor[chosen], floor, 0.0)
    # a demand that leaves no range for the rate has no multiplier of its own: what the rate costs beyond its worth
    fixed = np.maximum(rates * (model.thinning.T @ links[model.links]) - weight, 0.0)
    price = np.where(model.program.free[: len(chosen)], rates * low[: len(chosen)], fixed)
    demands[chosen] = np.where(model.program.low[: len(chosen)] > a.rate_min[chosen], price, 0.0)
    return scale * links, scale * fidelities, scale * demands


def _idle(problem: Problem) -> Allocation:
    """Nobody is active."""
    a = problem.arrays
    n_links, n_sessions = len(a.capacity), len(a.active)
    werner = a.initial_werner.copy()
    return Allocation(
        rates=np.zeros(n_sessions),
        werner=werner,
        link_prices=np.zeros(n_links),
        fidelity_prices=np.zeros(n_sessions),
        rate_prices=np.zeros(n_sessions),
        utility=0.0,
        expected_werner=np.full(n_sessions, np.nan),
        slack=a.link_rates.rate(werner, a.capacity),
        kkt_residual=0.0,
    )


def _allocation(problem: Problem, model: Model, point: Point, decoherence: bool) -> Allocation:
    a, idle = problem.arrays, _idle(problem)
    rates, werner = idle.rates, idle.werner
    rates[model.sessions] = point.z[: len(model.sessions)]
    made = model.program.fresh.werner(model.program.parts(point.z)[1])
    werner[model.links] = np.clip(made, a.werner_min[model.links], a.werner_max[model.links])
    expected = problem.expected_werner(rates, werner, decoherence=decoherence)
    chosen = model.sessions
    delivered = problem.expected_delivery(rates)[chosen]
    utilities = np.log(delivered) + measures.log_values(a.measure[chosen], expected[chosen])
    if problem.fairness != 1.0:
        utilities = fairness.utility(np.exp(utilities), problem.fairness)
    link_prices, fidelity_prices, rate_prices = _prices(problem, model, point)
    return replace(
        idle,
        rates=rates,
        werner=werner,
        link_prices=link_prices,
        fidelity_prices=fidelity_prices,
        rate_prices=rate_prices,
        utility=float(a.weight[chosen] @ utilities),
        expected_werner=np.where(a.active, expected, np.nan),
        slack=a.link_rates.rate(werner, a.capacity) - problem.arrivals(rates),
        kkt_residual=point.error,
    )

"""What the optimum's utility, rates and Werner parameters do when the network changes a little [ours].

A small change of a parameter changes the greatest utility as it changes the Lagrangian at the optimum (the envelope
theorem), and moves the optimum so that the optimality conditions still hold: one linear system, whose matrix is the
same for every parameter (implicit differentiation; constraints that bind stay full, the others stay out of it). What a
parameter changes in the Lagrangian and its gradient is taken by differences, at one point: nothing is solved again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from qnum_gym.optimum.central import optimise, solve
from qnum_gym.optimum.formulation import build, fair
from qnum_gym.optimum.interior import Point
from qnum_gym.optimum.matrices import Floats, Ints, Sparse, blocks, diagonal, entries, exchange, places
from qnum_gym.optimum.problem import Problem
from qnum_gym.optimum.program import Program
from qnum_gym.scenarios import Arrays, Scenario

STEP = 1e-5  # relative, of parameters
Change = tuple[int, Arrays, Arrays, float]  # which one changes; the arrays with less and with more of it, and how much


@dataclass(frozen=True, slots=True, eq=False)
class Sensitivity:
    """Derivatives by the K parameters of one kind: of K links, nodes or sessions, in the scenario's order.

    Attributes:
        utility: [K] of the greatest utility.
        rates: [K, R] of the optimal injection rates, 1/s.
        werner: [K, L] of the optimal Werner parameters.
    """

    utility: Floats
    rates: Floats
    werner: Floats


def sensitivities(
    s: Scenario,
    decoherence: bool = False,
    max_utilisation: float = 1.0,
    *,
    time: float = 0.0,
    rates: ArrayLike | None = None,
    werner: ArrayLike | None = None,
    leave_out_hopeless: bool = False,
    of: Sequence[str] | None = None,
) -> dict[str, Sensitivity]:
    """Derivatives of the optimum at `time`, by the parameters of some kinds.

    They are those of a small change either way. Where a constraint has just begun to bind, only one side is right.

    Args:
        s: the scenario.
        decoherence: as for `solve`, like what follows.
        max_utilisation: likewise.
        time: likewise.
        rates: likewise.
        werner: likewise.
        leave_out_hopeless: likewise.
        of: kinds, of "capacity" (of each link, pairs/s of d), "length_km" (of each link), "coherence_time" (of each
            node, s; 0 where that is infinite) and "weight" (of each session); all of them if not given. Links and
            sessions that take no part have 0.

    Raises:
        ValueError: an unknown kind; and what `solve` raises.
        ArithmeticError: the conditions have no single solution nearby.
    """
    kinds = tuple(PARAMETERS) if of is None else tuple(of)
    if unknown := [kind for kind in kinds if kind not in PARAMETERS]:
        raise ValueError(f"of = {unknown[0]!r}: valid: {', '.join(PARAMETERS)}")
    best = solve(
        s,
        decoherence,
        max_utilisation,
        time=time,
        rates=rates,
        werner=werner,
        leave_out_hopeless=leave_out_hopeless,
    )
    off = np.isnan(best.expected_werner)
    if off.all():
        raise ValueError(f"time = {time:g}: valid: when a session is active")

    def problem(a: Arrays) -> Problem:
        return Problem.from_arrays(s, a).fixed(rates, werner).without(off)

    here = _Optimum(problem, s.arrays(time), decoherence, max_utilisation)
    return {kind: here.by(*PARAMETERS[kind](s, time)) for kind in kinds}


# --- what changes -----------------------------------------------------------------------------------------------------


def _capacities(s: Scenario, time: float) -> tuple[int, Iterator[Change]]:
    a = s.arrays(time)
    return len(a.capacity), _one_by_one(a, "capacity", np.flatnonzero(a.capacity > 0.0))


def _weights(s: Scenario, time: float) -> tuple[int, Iterator[Change]]:
    a = s.arrays(time)
    return len(a.weight), _one_by_one(a, "weight", np.flatnonzero(a.active))


def _one_by_one(a: Arrays, name: str, chosen: Ints) -> Iterator[Change]:
    """Changes of one number of the column `name` after the other."""
    column: Floats = getattr(a, name)
    for i in chosen.tolist():
        low, high = column.copy(), column.copy()
        low[i], high[i] = (1.0 - STEP) * column[i], (1.0 + STEP) * column[i]
        yield i, replace(a, **{name: low}), replace(a, **{name: high}), float(high[i] - low[i])


def _coherence_times(s: Scenario, time: float) -> tuple[int, Iterator[Change]]:
    a = s.arrays(time)

    def changes() -> Iterator[Change]:
        for v, low, high, _ in _one_by_one(a, "decay_rate", np.flatnonzero(a.decay_rate > 0.0)):
            longer, shorter = 1.0 / low.decay_rate[v], 1.0 / high.decay_rate[v]
            yield v, high, low, float(longer - shorter)

    return len(a.decay_rate), changes()


def _lengths(s: Scenario, time: float) -> tuple[int, Iterator[Change]]:
    """A length changes a link's capacity, latency and range of w, and nothing of other links."""

    def scaled(factor: float) -> Arrays:
        links = [link.model_copy(update={"length_km": factor * link.length_km}) for link in s.links]
        return s.replace(links=links).arrays(time)

    def changes() -> Iterator[Change]:
        a, shorter, longer = s.arrays(time), scaled(1.0 - STEP), scaled(1.0 + STEP)
        for l, link in enumerate(s.links):
            ends: list[Arrays] = []
            for other in (shorter, longer):
                columns = {
                    name: getattr(a, name).copy() for name in ("capacity", "latency", "werner_min", "werner_max")
                }
                for name, column in columns.items():
                    column[l] = getattr(other, name)[l]
                ends.append(replace(a, **columns))
            yield l, ends[0], ends[1], 2.0 * STEP * link.length_km

    return len(s.links), changes()


PARAMETERS: dict[str, Callable[[Scenario, float], tuple[int, Iterator[Change]]]] = {
    "capacity": _capacities,
    "length_km": _lengths,
    "coherence_time": _coherence_times,
    "weight": _weights,
}


# --- what that does ---------------------------------------------------------------------------------------------------


class _Optimum:
    """The optimum of a problem, made of a scenario's arrays, and how it moves when these change."""

    def __init__(self, made: Callable[[Arrays], Problem], a: Arrays, decoherence: bool, max_utilisation: float) -> None:
        self._made, self._rules = made, (decoherence, max_utilisation)
        self._problem = made(a)
        _, self._model, point = optimise(self._problem, *self._rules)
        self._z, self._price = point.z, self._model.scale(self._problem) * point.price
        self._solve = self._factorised(point)

    def by(self, size: int, changes: Iterator[Change]) -> Sensitivity:
        """Derivatives by `size` parameters; 0 by those that do not change."""
        a, model = self._problem.arrays, self._model
        n, links = len(model.sessions), slice(len(model.sessions), len(model.sessions) + len(model.links))
        found = Sensitivity(np.zeros(size), np.zeros((size, len(a.active))), np.zeros((size, len(a.capacity))))
        fresh, v = model.program.fresh, self._z[links]
        by_v = fresh.werner(v) * fresh.slope(v)
        for i, low, high, step in changes:
            before, after = (self._lagrangian(arrays) for arrays in (low, high))
            value, gradient, rooms, werner = ((x - y) / step for x, y in zip(after, before, strict=True))
            move = self._solve(np.concatenate([-gradient[self._free], -rooms[self._binding]]))
            z = np.zeros(len(self._z))
            z[self._free] = move[: len(self._free)]
            found.utility[i] = 0.0 - value
            found.rates[i, model.sessions] = z[:n]
            found.werner[i, model.links] = werner + by_v * z[links]
        return found

    def _lagrangian(self, a: Arrays) -> list[Floats]:
        """Of other arrays at the same z and prices: its value (to minimise), gradient [n], rooms, and w [L']."""
        problem, z = self._made(a), self._z
        model = build(problem, *self._rules)
        if problem.fairness != 1.0:
            model = fair(problem, model, z)
        p, scale = model.program, model.scale(problem)
        s, slopes, n = p.log_werner(z), p.slopes(z), p.n_sessions
        tilt, rooms = scale * p.tilt(z, s), p.rooms(z, p.gap(z), s)
        linear, floor, low, high = p.split(self._price)
        gradient = p.gradient(slopes, linear, tilt * p.worth_weight * p.worth_slopes(s)[0] + floor) - low + high
        gradient[:n] -= tilt * p.rate_weight / z[:n]
        utility = scale * p.objective(z, s)
        if problem.fairness == 1.0:  # which the program leaves out, as nothing that it moves changes it
            utility += float(problem.arrays.weight[model.sessions] @ np.log(problem.delivery[model.sessions]))
        return [np.array(-utility - self._price @ rooms), gradient, rooms, p.fresh.werner(p.parts(z)[1])]

    def _factorised(self, point: Point) -> Callable[[Floats], Floats]:
        """Solves for the moves of free variables and of the prices of constraints that bind."""
        p, z = self._model.program, self._z
        scale = self._model.scale(self._problem)
        s, n, slopes = p.log_werner(z), p.n_sessions, p.slopes(z)
        linear, by_session = _jacobian(p, slopes)
        slope, bend = p.worth_slopes(s)
        tilt = scale * p.tilt(z, s)
        own = p.curvature(z, tilt * p.worth_weight * slope + p.split(self._price)[1])
        own[:n] += tilt * p.rate_weight / z[:n] ** 2
        rate = entries(np.arange(n), np.arange(n), 1.0 / z[:n], (n, len(z)))
        along = rate + diagonal(slope) @ by_session  # of log R + phi(S)
        hessian = diagonal(own) - by_session.T @ diagonal(tilt * p.worth_weight * bend) @ by_session
        hessian += along.T @ diagonal((p.alpha - 1.0) * tilt * p.worth_weight) @ along
        one = diagonal(np.ones(len(z))).tocsr()
        floored, low, high = p.limited
        rooms = blocks([[-linear], [by_session[floored]], [one[low]], [-one[high]]])
        size = np.concatenate([np.ones(p.n_linear + len(s[floored])), z[low], z[high]])
        self._free = np.flatnonzero(p.free)
        self._binding = np.flatnonzero(point.price * size > p.rooms(z, point.gap, s) / size)
        binding = rooms[self._binding][:, self._free]
        solve = exchange(blocks([[hessian[self._free][:, self._free], -binding.T], [binding, None]]))
        if solve is None:
            raise ArithmeticError("the conditions of the optimum have no single solution nearby")
        return solve


def _jacobian(p: Program, slopes: tuple[Floats, Floats]) -> tuple[Sparse, Sparse]:
    """[m, n] of the linear constraints, and dS/dz [R, n]."""
    n, links, size = p.n_sessions, p.n_sessions + np.arange(p.n_links), len(p.low)
    slack = n + p.n_links + np.arange(len(p.queues))
    queue, (by_werner, by_slack) = places(p.queues, p.n_links), slopes
    load = entries(p.hop_link, p.hop_session, p.share, (p.n_links, size))
    fresh = entries(np.arange(p.n_links), links, np.ones(p.n_links), (p.n_links, size))
    stored = entries(np.arange(len(slack)), slack, 1.0 / p.capacity[p.queues], (len(slack), size))
    linear = blocks([[(load + fresh)[p.queues] + stored], [(load / p.max_utilisation + fresh)[p.capped]]])
    waits = np.flatnonzero(p.gamma > 0.0)
    rows, columns = [p.hop_session, p.hop_session[waits]], [links[p.hop_link], slack[queue[p.hop_link[waits]]]]
    values = np.concatenate([by_werner[p.hop_link], by_slack[waits]])
    return linear, entries(np.concatenate(rows), np.concatenate(columns), values, (n, size))

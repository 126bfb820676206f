"""A primal-dual interior point method for QNUM, with exact derivatives [ours].

From a strictly feasible point every Newton step on the barrier function of `program.Program` is a direction of ascent,
and the point stays feasible. Newton's systems are solved by conjugate gradients (`reduced`) or factorised (`direct`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from qnum_gym.optimum.direct import Factorised, Jacobian
from qnum_gym.optimum.matrices import Floats
from qnum_gym.optimum.program import Program
from qnum_gym.optimum.reduced import Reduced

TO_BOUNDARY = 0.995  # share of the way to the nearest bound that one step may go
PATIENCE = 10  # steps of the last barrier weight that may pass without a smaller error: the rest is rounding
ROUNDED = 1e-5  # residual that may be all rounding
PRECISE, COARSE = 1e-8, 1e-3  # of Newton's systems: a hundredth of the error that the point has, between these
CORRECTIONS = 3  # of second order, of a step that a bent constraint forbids
Move = tuple[Floats, Floats, Floats]  # of the variables [n], and with them of the linear constraints [m] and of S [R]


@dataclass(eq=False)
class Point:
    """A strictly feasible point and its multipliers."""

    z: Floats  # [n] R, w, s
    gap: Floats  # [m] of the linear constraints, kept up by differences so that it is exact when tiny
    price: Floats  # [rooms] multipliers, positive
    s: Floats  # [R] S(z)
    rooms: Floats  # [rooms] at z
    value: float  # the objective at z
    logs: float  # the sum of log rooms
    error: float = np.inf  # largest violation of the optimality conditions
    steps: int = 0  # Newton steps that led here


def start(program: Program, z: Floats, mu: float) -> Point:
    """The point at z with the multipliers of the barrier of weight `mu`."""
    gap, s = program.gap(z), program.log_werner(z)
    rooms = program.rooms(z, gap, s)
    return Point(z, gap, mu / rooms, s, rooms, program.objective(z, s), float(np.log(rooms).sum()))


def maximise(program: Program, point: Point, *, mu: float = 0.1, mu_end: float = 1e-11, steps: int = 400) -> Point:
    """Moves a strictly feasible `point` to the optimum, with barrier weights from `mu` down to `mu_end`.

    Returns the best point found; its `error` tells how far the optimality conditions are kept.
    """
    best, since, systems, taken = replace(point), 0, _Systems(program), 0
    for _ in range(steps):
        newton = _Newton(systems, point)
        point.error = newton.error(mu_end)
        since += 1
        if point.error < best.error:
            best, since = replace(point), 0
        if best.error <= 10.0 * mu_end or (mu <= mu_end and since >= PATIENCE):
            break
        if since >= 10 * PATIENCE and newton.error(mu) < ROUNDED:
            mu, since = max(mu_end, 0.1 * mu), 0
        while mu > mu_end and newton.error(mu) <= 10.0 * mu:
            mu = max(mu_end, min(0.2 * mu, mu**1.5))
        if not newton.step(mu):
            break
        taken += 1
    best.steps += taken
    return best


class _Newton:
    """One linearisation of the optimality conditions at a point."""

    def __init__(self, systems: _Systems, point: Point) -> None:
        program = systems.program
        self.systems, self.program, self.point = systems, program, point
        z = point.z
        self.s, self.rooms = point.s, point.rooms
        slope, self.bend = program.worth_slopes(self.s)
        tilt = program.tilt(z, self.s)
        self.rate_weight, self.worth_weight, self.slope = program.rate_weight * tilt, program.worth_weight * tilt, slope
        self.pull = self.worth_weight * slope  # omega_r a_r, times the tilt
        self.slopes = program.slopes(z)
        self.rate_gradient = np.zeros(len(z))
        self.rate_gradient[: program.n_sessions] = self.rate_weight / z[: program.n_sessions]
        self.residual = self._gradient(point.price)

    def _gradient(self, price: Floats) -> Floats:
        """Gradient [n] of the Lagrangian (to minimise) with these multipliers."""
        linear, floor, low, high = self.program.split(price)
        return self.program.gradient(self.slopes, linear, self.pull + floor) - self.rate_gradient - low + high

    def error(self, mu: float) -> float:
        """Largest violation of stationarity (per unit of log R, log s, log(1 - w)) and of complementarity = mu."""
        stationarity, least, most = self._violations
        return max(stationarity, abs(least - mu), abs(most - mu))

    @cached_property
    def _violations(self) -> tuple[float, float, float]:
        p, z = self.program, self.point.z
        stationarity = (self.residual * np.where(p.unit, 1.0 - z, z))[p.free]
        products = self.point.price * self.rooms
        return float(np.max(np.abs(stationarity), initial=0.0)), float(products.min()), float(products.max())

    def step(self, mu: float) -> bool:
        """Moves the point; False if it can not be improved any more."""
        p, q = self.program, self.point
        gradient = self._gradient(mu / self.rooms)
        _, price_floor, _, _ = p.split(q.price)
        stiff_linear, stiff_floor, stiff_low, stiff_high = p.split(q.price / self.rooms)
        own = p.curvature(q.z, self.pull + price_floor) + stiff_low + stiff_high
        exact = stiff_floor - self.worth_weight * self.bend
        tolerance = min(max(PRECISE, 0.01 * self.error(mu)), COARSE)
        system, found, curvature = self._solved(gradient, own, stiff_linear, exact, p.alpha - 1.0, tolerance)
        if -gradient @ found[0] <= 1e-8 * curvature:  # where it is not concave: leave that curvature out
            convex, excess = np.maximum(exact, 0.0), max(p.alpha - 1.0, 0.0)
            system, found, _ = self._solved(gradient, own, stiff_linear, convex, excess, tolerance)
        return self._search(mu, gradient, system, found)

    def _solved(
        self, gradient: Floats, own: Floats, stiff: Floats, bent: Floats, excess: float, tolerance: float
    ) -> tuple[_System, Move, float]:
        """Newton's system, its move, own . move^2; `excess` is what of alpha - 1 counts in U'' = (1 - alpha) U'."""
        n, z = self.program.n_sessions, self.point.z
        own = own.copy()
        own[:n] += (1.0 + excess) * self.rate_weight / z[:n] ** 2
        # the curvature that log R and log s have where R and s must fall: without it Newton's step overshoots 0
        own += np.where(self.program.unit, 0.0, np.maximum(gradient, 0.0) / z)
        if excess != 0.0:
            bent = bent + excess * self.slope * self.pull
        crossed = excess * self.slope * self.rate_gradient[:n]
        system = self.systems.at(self.slopes, own, stiff, bent, crossed, tolerance)
        found = system.move(gradient)
        return system, found, float(own @ found[0] ** 2)

    def _search(self, mu: float, gradient: Floats, system: _System, found: Move) -> bool:
        """Armijo's rule on the barrier function, from the longest step that keeps every linear room open."""
        p, q, move = self.program, self.point, found[0]
        room_change = p.room_change(*found)
        downhill = float(gradient @ move)
        before = -q.value - mu * q.logs
        longest = length = min(_reach(self.rooms, room_change), _reach(q.z, move))
        while True:
            enough = before + 1e-4 * length * downhill + 1e-13 * max(1.0, abs(before))
            there = self._trial(mu, length, found)
            if there.merit > enough and length == longest:
                there = self._corrected(mu, enough, system, length, found) or there
            if there.merit <= enough:
                break
            length *= 0.5
            if length < 1e-12:
                return False
        # one by one: a price that has far to fall does not hold back those that must rise
        q.price = np.maximum((mu - q.price * room_change) / self.rooms, (1.0 - TO_BOUNDARY) * q.price)
        q.z, q.gap, q.s, q.rooms, q.value, q.logs, _ = there
        centre = mu / q.rooms
        q.price = np.clip(q.price, 1e-10 * centre, 1e10 * centre)  # Waechter & Biegler 2006, eq. (16)
        return True

    def _trial(self, mu: float, length: float, found: Move) -> _Trial:
        """Where `length` times the move leads."""
        p, q = self.program, self.point
        z = q.z + length * found[0]
        gap, s, value, logs, merit = p.gap(z, q.gap - length * found[1]), p.log_werner(z), -np.inf, 0.0, np.inf
        rooms = p.rooms(z, gap, s)
        # also of the floors, which `_reach` does not see; 0.9 for rounding
        if (rooms >= 0.9 * (1.0 - TO_BOUNDARY) * self.rooms).all():
            value, logs = p.objective(z, s), float(np.log(rooms).sum())
            merit = -value - mu * logs if np.isfinite(value) else np.inf
        return _Trial(z, gap, s, rooms, value, logs, merit)

    def _corrected(self, mu: float, enough: float, system: _System, length: float, found: Move) -> _Trial | None:
        """The same with second-order corrections until it fits: S bends below its tangent, and a floor forbids that."""
        nothing, s = np.zeros_like(found[0]), self._trial(mu, length, found).s
        move, linear, change = (length * part for part in found)
        for _ in range(CORRECTIONS):
            more = system.move(nothing, s - self.s - change)
            move, linear, change = move + more[0], linear + more[1], change + more[2]
            if not (self.point.z + move > 0.0).all():
                break
            there = self._trial(mu, 1.0, (move, linear, change))
            if there.merit <= enough:
                return there
            s = there.s
        return None


class _Trial(NamedTuple):
    """As `Point`, where a step might end, and the barrier function (to minimise), inf where one step may not go."""

    z: Floats
    gap: Floats
    s: Floats
    rooms: Floats
    value: float
    logs: float
    merit: float


class _Systems:
    """The Newton systems of one program: by conjugate gradients until these fail once, then factorised."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.iterative = True

    def at(
        self,
        slopes: tuple[Floats, Floats],
        own: Floats,
        stiff: Floats,
        bent: Floats,
        crossed: Floats,
        tolerance: float,
    ) -> _System:
        """That of a point; the arguments as for `Reduced`, but for the diagonal [n] itself."""
        return _System(self, slopes, self.inverse(own), stiff, bent, crossed, tolerance)

    def inverse(self, own: Floats) -> Floats:
        """[n] of a diagonal; 0 for a variable that does not move."""
        moves = self.program.free & (own > 0.0)
        return np.divide(1.0, own, out=np.zeros_like(own), where=moves)

    @cached_property
    def jacobian(self) -> Jacobian:
        """For what is factorised."""
        return Jacobian(self.program)


@dataclass(eq=False)
class _System:
    """The least of gradient . move + (own . move^2 + stiff . linear^2 + bent . S^2)/2 + crossed . R S."""

    systems: _Systems
    slopes: tuple[Floats, Floats]
    inverse: Floats
    stiff: Floats
    bent: Floats
    crossed: Floats
    tolerance: float

    def move(self, gradient: Floats, missing: Floats | None = None) -> Move:
        """`missing` [R] is a change of S that is there already. No move at all, perhaps, where `bent` is negative."""
        m = len(self.stiff)
        if self.systems.iterative:
            found = self._reduced.move(gradient, missing, self.tolerance)
            if found is not None:
                return found
            if (self.bent < 0.0).any() or (self._own_rates <= 0.0).any():
                return np.zeros_like(gradient), np.zeros(m), np.zeros_like(self.bent)
            self.systems.iterative = False
        there = np.zeros(m + len(self.bent))
        there[m:] = 0.0 if missing is None else missing
        move, change = self._factorised.move(gradient, there)
        return move, change[:m], change[m:] - self._lean * move[: len(self._lean)]

    @cached_property
    def _reduced(self) -> Reduced:
        return Reduced(self.systems.program, self.slopes, self.inverse, self.stiff, self.bent, self.crossed)

    # own R^2 + 2 crossed R S + bent S^2 = (own - crossed lean) R^2 + bent (S + lean R)^2

    @cached_property
    def _lean(self) -> Floats:
        return np.divide(self.crossed, self.bent, out=np.zeros_like(self.bent), where=self.crossed != 0.0)

    @cached_property
    def _own_rates(self) -> Floats:
        """[R] what factors have in the place of a rate's own entry; 1 for one that does not move."""
        inverse = self.inverse[: len(self.bent)]
        own = np.divide(1.0, inverse, out=np.ones_like(inverse), where=inverse > 0.0)
        return np.where(inverse > 0.0, own - self.crossed * self._lean, 1.0)

    @cached_property
    def _factorised(self) -> Factorised:
        jacobian, inverse, n = self.systems.jacobian, self.inverse.copy(), len(self.bent)
        inverse[:n] = np.where(inverse[:n] > 0.0, 1.0 / self._own_rates, 0.0)
        matrix = jacobian.at(self.slopes, self._lean)
        return Factorised(jacobian.factors, matrix, inverse, np.concatenate([self.stiff, self.bent]))


def _reach(room: Floats, change: Floats) -> float:
    """How far along `change` all of `room` stays positive, at most 1."""
    shrinks = change < 0.0
    return min(1.0, TO_BOUNDARY * float(np.min(room[shrinks] / -change[shrinks], initial=np.inf)))

"""A primal-dual interior point method for QNUM, sparse and with exact derivatives [ours].

    maximise    sum_r omega_r [ log R_r + phi_r(S_r) ],   S_r = const_r + sum_h [ log w - log(1 + Gamma_h / s) ]
    subject to  C z <= c,   S_r >= K_r,   low <= z <= high,   z = (R, w, s)

All of it is concave (phi: as far as model.md §5 says), so from a strictly feasible point every Newton step on the
barrier function is a direction of ascent, and the point stays feasible. The Hessian is diagonal plus one term of rank
one per constraint and per session, so a step solves one sparse system as large as links and sessions together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from qnum_gym.optimum.ldl import Factors
from qnum_gym.optimum.matrices import Bools, Floats, Ints, Sparse, diagonal, entries, exchange, from_rows, totals

# phi(S) -> phi, phi', phi''; phi = -inf where S lies outside its domain
Worth = Callable[[Floats], tuple[Floats, Floats, Floats]]

TO_BOUNDARY = 0.995  # share of the way to the nearest bound that one step may go
PATIENCE = 10  # steps of the last barrier weight that may pass without a smaller error: the rest is rounding
ROUNDED = 1e-5  # residual that may be all rounding
CORRECTIONS = 3  # of second order, of a step that a bent constraint forbids
EPSILON = float(np.finfo(np.float64).eps)
DROPPED = 1e12  # stands for an infinite diagonal entry: the row takes no part
SOLVED = 1e-10  # backward error, row by row, up to which a solution is taken without exchanging rows
EXACT = 1e-15  # backward error that needs no refinement
REFINEMENTS = 4


@dataclass(frozen=True, eq=False)
class Program:
    """The arrays of the problem above. n variables, m linear constraints, R sessions, H terms of S.

    Attributes:
        rate_weight: [R] omega_r of log R_r (0 in the search for a feasible point).
        worth_weight: [R] omega_r of phi_r.
        worth: phi and its derivatives.
        constant: [R] const_r.
        floor: [R] K_r, -inf if absent; at least where phi begins, if it is to keep its distance.
        term_session: [H].
        term_werner: [H] variable w of the term.
        term_slack: [H] variable s of the term, or -1.
        gamma: [H] Gamma_h, 1/s.
        constraints: sparse [m, n] C.
        limit: [m] c.
        low, high: [n]; a variable with low == high is fixed.
    """

    rate_weight: Floats
    worth_weight: Floats
    worth: Worth
    constant: Floats
    floor: Floats
    term_session: Ints
    term_werner: Ints
    term_slack: Ints
    gamma: Floats
    constraints: Sparse
    limit: Floats
    low: Floats
    high: Floats

    @property
    def n_sessions(self) -> int:
        """R."""
        return len(self.floor)

    def log_werner(self, z: Floats) -> Floats:
        """S [R] at z."""
        waits, slack, gamma = self._waiting
        terms = np.log(z[self.term_werner])
        terms[waits] -= np.log1p(gamma / z[slack])
        return self.constant + totals(self.term_session, terms, self.n_sessions)

    def objective(self, z: Floats, s: Floats) -> float:
        """The sum to maximise."""
        value = self.worth_weight @ self.worth(s)[0]
        return float(value + self.rate_weight @ np.log(z[: self.n_sessions]))

    def gap(self, z: Floats, guess: Floats) -> Floats:
        """c - C z: `guess`, exact where it is tiny, as far as what the sum itself tells allows it."""
        gap = self.limit - self.constraints @ z
        rounding = 4.0 * EPSILON * (np.abs(self.limit) + self._sizes @ np.abs(z))
        return np.clip(guess, gap - rounding, gap + rounding)

    def jacobian(self, z: Floats) -> Sparse:
        """[C; dS/dz], [m + R, n]."""
        _, slack, gamma = self._waiting
        s = z[slack]
        pattern = self._pattern
        parts = [pattern.linear, 1.0 / z[self.term_werner], gamma / (s * (s + gamma))]
        values = np.concatenate(parts)[pattern.place]
        return from_rows(values, pattern.columns, pattern.rows, pattern.shape)

    def curvature(self, z: Floats, pull: Floats) -> Floats:
        """Diagonal [n] of -sum_r pull_r d2S_r/dz2."""
        waits, slack, gamma = self._waiting
        weight, s = pull[self.term_session], z[slack]
        bend = weight[waits] * gamma * (2.0 * s + gamma) / (s * (s + gamma)) ** 2
        werner = totals(self.term_werner, weight / z[self.term_werner] ** 2, len(z))
        return werner + totals(slack, bend, len(z))

    # A "room" is what must stay positive; the barrier is the sum of their logarithms. One vector holds them all, in the
    # order: linear constraints, fidelity floors, lower bounds, upper bounds (only those that are there).

    def rooms(self, z: Floats, gap: Floats, s: Floats) -> Floats:
        """All rooms at z, where `gap` = c - C z and s = S(z)."""
        floored, low, high = self._limited
        return np.concatenate([gap, (s - self.floor)[floored], (z - self.low)[low], (self.high - z)[high]])

    def room_change(self, move: Floats, change: Floats) -> Floats:
        """Change of all rooms along `move`, to first order; `change` = jacobian @ move."""
        floored, low, high = self._limited
        m = len(self.limit)
        return np.concatenate([-change[:m], change[m:][floored], move[low], -move[high]])

    def split(self, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """A vector over rooms as [m], [R], [n], [n], with zeros where there is no room."""
        floored, low, _ = self._limited
        ends = np.cumsum([len(self.limit), len(floored), len(low)])
        parts = np.split(x, ends)
        scattered = [np.zeros(size) for size in (self.n_sessions, len(self.low), len(self.low))]
        for target, place, part in zip(scattered, self._limited, parts[1:], strict=True):
            target[place] = part
        return parts[0], scattered[0], scattered[1], scattered[2]

    @cached_property
    def free(self) -> Bools:
        """[n] variables that are not fixed."""
        return self.low < self.high

    @cached_property
    def unit(self) -> Bools:
        """[n] variables that are Werner parameters."""
        return np.isin(np.arange(len(self.low)), self.term_werner)

    @cached_property
    def _sizes(self) -> Sparse:
        return abs(self.constraints)

    @cached_property
    def _waiting(self) -> tuple[Bools, Ints, Floats]:
        waits = self.term_slack >= 0
        return waits, self.term_slack[waits], self.gamma[waits]

    @cached_property
    def _limited(self) -> tuple[Ints, Ints, Ints]:
        where = np.flatnonzero
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        return where(np.isfinite(self.floor)), where(self.free & low), where(self.free & high)

    @cached_property
    def factors(self) -> Factors:
        """Of the Newton systems, whose unknowns are the variables and a price for each row of the Jacobian.

        A session's rate and fidelity price go together, and so do all unknowns of a link.
        """
        waits, slack, _ = self._waiting
        pattern, m = self._pattern, len(self.limit)
        rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.rows))
        variable = np.arange(len(self.low))
        variable[slack] = self.term_werner[waits]
        werner = (rows < m) & self.unit[pattern.columns]
        row = np.arange(pattern.shape[0]) - m
        row[rows[werner]] = pattern.columns[werner]
        group = np.unique(np.concatenate([variable, row]), return_inverse=True)[1]
        return Factors(rows, pattern.columns, group)

    @cached_property
    def _pattern(self) -> _Pattern:
        waits, slack, _ = self._waiting
        linear = self.constraints.tocoo()
        m, n = linear.shape
        rows = np.concatenate([linear.row, m + self.term_session, m + self.term_session[waits]])
        columns = np.concatenate([linear.col, self.term_werner, slack])
        shape = (m + self.n_sessions, n)
        # a matrix of serial numbers tells where each entry ends up in row order
        serial = entries(rows, columns, np.arange(len(rows)), shape)
        return _Pattern(linear.data, serial.data, serial.indices, serial.indptr, shape)


@dataclass(frozen=True, eq=False)
class _Pattern:
    """Where the Jacobian has entries: that never changes."""

    linear: Floats
    place: Ints
    columns: Ints
    rows: Ints
    shape: tuple[int, int]


@dataclass(eq=False)
class Point:
    """A strictly feasible point and its multipliers."""

    z: Floats  # [n] R, w, s
    gap: Floats  # [m] c - C z, kept up by differences so that it is exact when tiny
    price: Floats  # [rooms] multipliers, positive
    error: float = np.inf  # largest violation of the optimality conditions


def start(program: Program, z: Floats, mu: float) -> Point:
    """The point at z with the multipliers of the barrier of weight `mu`."""
    gap = program.limit - program.constraints @ z
    return Point(z, gap, mu / program.rooms(z, gap, program.log_werner(z)))


def maximise(program: Program, point: Point, *, mu: float = 0.1, mu_end: float = 1e-11, steps: int = 400) -> Point:
    """Moves a strictly feasible `point` to the optimum, with barrier weights from `mu` down to `mu_end`.

    Returns the best point found; its `error` tells how far the optimality conditions are kept.
    """
    best, since = replace(point), 0
    for _ in range(steps):
        newton = _Newton(program, point)
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
    return best


class _Newton:
    """One linearisation of the optimality conditions at a point."""

    def __init__(self, program: Program, point: Point) -> None:
        self.program, self.point = program, point
        z = point.z
        self.s = program.log_werner(z)
        self.rooms = program.rooms(z, point.gap, self.s)
        _, slope, self.bend = program.worth(self.s)
        self.pull = program.worth_weight * slope  # omega_r a_r
        self.jacobian = program.jacobian(z)
        self.rate_gradient = np.zeros(len(z))
        self.rate_gradient[: program.n_sessions] = program.rate_weight / z[: program.n_sessions]
        self.residual = self._gradient(point.price)

    def _gradient(self, price: Floats) -> Floats:
        """Gradient [n] of the Lagrangian (to minimise) with these multipliers."""
        linear, floor, low, high = self.program.split(price)
        return self.jacobian.T @ np.concatenate([linear, -self.pull - floor]) - self.rate_gradient - low + high

    def error(self, mu: float) -> float:
        """Largest violation of stationarity (per unit of log R, log s, log(1 - w)) and of complementarity = mu."""
        p, z = self.program, self.point.z
        stationarity = (self.residual * np.where(p.unit, 1.0 - z, z))[p.free]
        complementarity = self.point.price * self.rooms - mu
        return float(max(np.max(np.abs(stationarity), initial=0.0), np.max(np.abs(complementarity), initial=0.0)))

    def step(self, mu: float) -> bool:
        """Moves the point; False if it can not be improved any more."""
        p, q = self.program, self.point
        gradient = self._gradient(mu / self.rooms)
        _, price_floor, _, _ = p.split(q.price)
        stiff_linear, stiff_floor, stiff_low, stiff_high = p.split(q.price / self.rooms)
        own = p.curvature(q.z, self.pull + price_floor) + stiff_low + stiff_high
        own[: p.n_sessions] += p.rate_weight / q.z[: p.n_sessions] ** 2
        # the curvature that log R and log s have where R and s must fall: without it Newton's step overshoots 0
        own += np.where(p.unit, 0.0, np.maximum(gradient, 0.0) / q.z)
        exact = stiff_floor - p.worth_weight * self.bend
        system = _System(p.factors, self.jacobian, own, p.free, np.concatenate([stiff_linear, exact]))
        move, change = system.move(gradient)
        if -gradient @ move < 1e-8 * (own @ move**2):  # beyond phi's concave part: leave its curvature out
            concave = np.concatenate([stiff_linear, np.maximum(exact, 0.0)])
            system = _System(p.factors, self.jacobian, own, p.free, concave)
            move, change = system.move(gradient)
        return self._search(mu, gradient, system, move, change)

    def _search(self, mu: float, gradient: Floats, system: _System, move: Floats, change: Floats) -> bool:
        """Armijo's rule on the barrier function, from the longest step that keeps every linear room open."""
        p, q = self.program, self.point
        room_change = p.room_change(move, change)
        downhill = float(gradient @ move)
        before = self._merit(mu, q.z, q.gap, self.s)
        longest = length = min(_reach(self.rooms, room_change), _reach(q.z, move))
        while True:
            enough = before + 1e-4 * length * downhill + 1e-13 * max(1.0, abs(before))
            z, gap, s = self._trial(length * move, length * change)
            if self._merit(mu, z, gap, s) <= enough:
                break
            if length == longest:
                z, gap, s = self._corrected(system, length * move, length * change)
                if self._merit(mu, z, gap, s) <= enough:
                    break
            length *= 0.5
            if length < 1e-12:
                return False
        # one by one: a price that has far to fall does not hold back those that must rise
        q.price = np.maximum((mu - q.price * room_change) / self.rooms, (1.0 - TO_BOUNDARY) * q.price)
        q.z, q.gap = z, gap
        centre = mu / p.rooms(z, gap, s)
        q.price = np.clip(q.price, 1e-10 * centre, 1e10 * centre)  # Waechter & Biegler 2006, eq. (16)
        return True

    def _trial(self, move: Floats, change: Floats) -> tuple[Floats, Floats, Floats]:
        """z, gap and S after `move`."""
        p, q = self.program, self.point
        z = q.z + move
        return z, p.gap(z, q.gap - change[: len(q.gap)]), p.log_werner(z)

    def _corrected(self, system: _System, move: Floats, change: Floats) -> tuple[Floats, Floats, Floats]:
        """The same with second-order corrections: S bends below its tangent, and a floor close by forbids that."""
        m = len(self.point.gap)
        nothing = np.zeros_like(move)
        z, gap, s = self._trial(move, change)
        for _ in range(CORRECTIONS):
            missing = np.concatenate([np.zeros(m), s - self.s - change[m:]])
            more, more_change = system.move(nothing, missing)
            longer = move + more
            if not (self.point.z + longer > 0.0).all():
                break
            move, change = longer, change + more_change
            z, gap, s = self._trial(move, change)
        return z, gap, s

    def _merit(self, mu: float, z: Floats, gap: Floats, s: Floats) -> float:
        """The barrier function (to minimise); inf where one step may not go."""
        rooms = self.program.rooms(z, gap, s)
        if not (rooms >= (1.0 - TO_BOUNDARY) * self.rooms).all():  # also of the floors, which `_reach` does not see
            return np.inf
        value = self.program.objective(z, s)
        return -value - mu * float(np.log(rooms).sum()) if np.isfinite(value) else np.inf


class _System:
    """H = D + A^T diag(stiff) A with D = diag(own), factorised.

    Solved through the smaller system (A D^-1 A^T + E) v = A D^-1 gradient with E = 1/stiff, in which v = -stiff A move:
    that gives A move where it is tiny and its own sum would be all rounding. What is factorised is [[D, A^T], [A, -E]],
    the same with less fill; only where that leaves an error which refinement does not remove, rows are exchanged.
    """

    def __init__(self, factors: Factors, a: Sparse, own: Floats, free: Bools, stiff: Floats) -> None:
        moves = free & (own > 0.0)
        self._a, self._size, self._across = a, abs(a), a.T.tocsr()
        self._inverse = np.divide(1.0, own, out=np.zeros_like(own), where=moves)
        self._counts = np.abs(stiff) > 1.0 / DROPPED
        self._e = np.divide(1.0, stiff, out=np.full_like(stiff, DROPPED), where=self._counts)
        self._factors = factors
        self._factorised = factors.factorise(
            np.concatenate([np.where(moves, own, 1.0), -self._e]), a.data * moves[a.indices]
        )

    def move(self, gradient: Floats, missing: Floats | float = 0.0) -> tuple[Floats, Floats]:
        """The move of least gradient . move + (own . move^2 + stiff . (A move + missing)^2)/2, and A move."""
        a, inverse = self._a, self._inverse
        v = self._solve(a @ (inverse * gradient) - missing)
        move = inverse * (self._across @ v - gradient)
        return move, np.where(self._counts, -self._e * v - missing, a @ move)

    def _solve(self, right: Floats) -> Floats:
        """The best solution v found."""
        x, error = self._refined(right, self._quick) if self._factorised else (np.zeros_like(right), np.inf)
        if error <= SOLVED:
            return x
        small = self._a @ diagonal(self._inverse) @ self._a.T + diagonal(self._e)
        exact = exchange(small)
        if exact is None:
            return x
        other, other_error = self._refined(right, exact)
        return other if other_error < error else x

    def _quick(self, right: Floats) -> Floats:
        n = len(self._inverse)
        return self._factors.solve(np.concatenate([np.zeros(n), -right]))[n:]

    def _refined(self, right: Floats, solve: Callable[[Floats], Floats]) -> tuple[Floats, float]:
        """The solution, refined as long as that helps, and its backward error, row by row."""
        best, best_error = np.zeros_like(right), np.inf
        x = solve(right)
        for _ in range(REFINEMENTS):
            rest = right - self._a @ (self._inverse * (self._across @ x)) - self._e * x
            scale = self._size @ (self._inverse * (self._size.T @ np.abs(x))) + np.abs(self._e * x) + np.abs(right)
            error = float(np.max(np.abs(rest) / np.where(scale > 0.0, scale, 1.0), initial=0.0))
            if not error < best_error:
                break
            best, best_error = x, error
            if error <= EXACT:
                break
            x = x + solve(rest)
        return best, best_error


def _reach(room: Floats, change: Floats) -> float:
    """How far along `change` all of `room` stays positive, at most 1."""
    shrinks = change < 0.0
    return min(1.0, TO_BOUNDARY * float(np.min(room[shrinks] / -change[shrinks], initial=np.inf)))

"""Newton systems by factorisation: safe where conjugate gradients fail, slow where much fills in [ours]."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnum_gym.optimum.ldl import Factors
from qnum_gym.optimum.matrices import Floats, Sparse, diagonal, entries, exchange, from_rows, places
from qnum_gym.optimum.program import Program

DROPPED = 1e12  # stands for an infinite diagonal entry: the row takes no part
SOLVED = 1e-10  # backward error, row by row, up to which a solution is taken without exchanging rows
EXACT = 1e-15  # backward error that needs no refinement
REFINEMENTS = 4


class Jacobian:
    """The matrix [A; dS/dz], [m + R, n], of a program, whose pattern never changes, and what its factors need.

    With alpha other than 1 a session's row has an entry at its rate too, its `lean`.
    """

    def __init__(self, program: Program) -> None:
        p = program
        n_sessions, n_links, n_queues, n_capped = p.n_sessions, p.n_links, len(p.queues), len(p.capped)
        self._hop_slack = np.flatnonzero(p.gamma > 0.0)
        queued, limited = places(p.queues, n_links)[p.hop_link], places(p.capped, n_links)[p.hop_link]
        in_queue, in_cap, own = queued >= 0, limited >= 0, np.arange(n_queues)
        self._linear = np.concatenate(
            [
                p.share[in_queue],
                np.ones(n_queues),
                1.0 / p.capacity[p.queues],
                p.share[in_cap] / p.max_utilisation,
                np.ones(n_capped),
            ]
        )
        session_row, slack_variable = p.n_linear + p.hop_session, n_sessions + n_links
        rows = [queued[in_queue], own, own, n_queues + limited[in_cap], n_queues + np.arange(n_capped)]
        rows += [session_row, session_row[self._hop_slack]]
        columns = [p.hop_session[in_queue], n_sessions + p.queues, slack_variable + own]
        columns += [p.hop_session[in_cap], n_sessions + p.capped]
        columns += [n_sessions + p.hop_link, slack_variable + queued[self._hop_slack]]
        self._hop_link, self._leans = p.hop_link, p.alpha != 1.0
        if self._leans:
            rows.append(p.n_linear + np.arange(n_sessions))
            columns.append(np.arange(n_sessions))
        self.shape = (p.n_linear + n_sessions, len(p.low))
        # a matrix of serial numbers tells where each entry ends up in row order
        place = np.arange(sum(len(part) for part in rows))
        serial = entries(np.concatenate(rows), np.concatenate(columns), place, self.shape)
        self._place, self._columns, self._starts = serial.data, serial.indices, serial.indptr
        self.factors = self._factors(p)

    def at(self, slopes: tuple[Floats, Floats], lean: Floats) -> Sparse:
        """The matrix for `Program.slopes`, and with `lean` [R]."""
        by_werner, by_slack = slopes
        parts = [self._linear, by_werner[self._hop_link], by_slack[self._hop_slack], *([lean] if self._leans else [])]
        values = np.concatenate(parts)
        return from_rows(values[self._place], self._columns, self._starts, self.shape)

    def _factors(self, p: Program) -> Factors:
        """Of the systems, whose unknowns are the variables and a price for each row.

        A session's rate and fidelity price go together, and so do all unknowns of a link.
        """
        link = p.n_sessions + np.arange(p.n_links)
        group = np.concatenate(
            [np.arange(p.n_sessions), link, link[p.queues], link[p.queues], link[p.capped], np.arange(p.n_sessions)]
        )
        rows = np.repeat(np.arange(self.shape[0]), np.diff(self._starts))
        return Factors(rows, self._columns, group)


class Factorised:
    """H = D + A^T diag(stiff) A with D = diag(own), factorised.

    Solved through the smaller system (A D^-1 A^T + E) v = A D^-1 gradient with E = 1/stiff, in which v = -stiff A move:
    that gives A move where it is tiny and its own sum would be all rounding. What is factorised is [[D, A^T], [A, -E]],
    the same with less fill; only where that leaves an error which refinement does not remove, rows are exchanged.
    """

    def __init__(self, factors: Factors, a: Sparse, inverse: Floats, stiff: Floats) -> None:
        self._a, self._size, self._across = a, abs(a), a.T.tocsr()
        self._inverse = inverse
        self._counts = np.abs(stiff) > 1.0 / DROPPED
        self._e = np.divide(1.0, stiff, out=np.full_like(stiff, DROPPED), where=self._counts)
        self._factors = factors
        moves = inverse > 0.0
        own = np.divide(1.0, inverse, out=np.ones_like(inverse), where=moves)
        self._factorised = factors.factorise(np.concatenate([own, -self._e]), a.data * moves[a.indices])

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

"""QNUM as a program for the interior point method: its data, its functions and their derivatives [ours].

    maximise    sum_r omega_r U( log R_r + phi_r(S_r) ),   S_r = const_r + sum_h [ log w - log(1 + Gamma_h / s) ]
    subject to  y/d + s/d + v <= 1   on links before which pairs are stored (queues),   y = load of the rates R,
                y/(rho d) + v <= 1   on links with a cap,   S_r >= K_r,   low <= z <= high,   z = (R, v, s)

with v and d as v and D in `fresh.py`, w and d for the paper's links, and U(y) = y for alpha = 1, else
e^((1 - alpha) y)/(1 - alpha). All of it is concave for alpha of 1 and more (phi: as far as model.md §5 says). The
Hessian is diagonal plus one term of rank one per constraint and per session, and with U not linear in y one more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from qnum_gym import caching
from qnum_gym.optimum.fresh import Fresh
from qnum_gym.optimum.matrices import Bools, Floats, Indices, Ints, places, totals

Worth = Callable[[Floats], Floats]  # phi(S), -inf where S lies outside its domain
WorthSlopes = Callable[[Floats], tuple[Floats, Floats]]  # phi', phi''

Places = slice | Ints
EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, eq=False)
class Program:
    """The arrays of the problem above: R sessions, L links, Q queues, P caps, H hops; n = R + L + Q, m = Q + P.

    Attributes:
        rate_weight: [R] omega_r of log R_r (0 in the search for a feasible point, where alpha is 1).
        worth_weight: [R] omega_r of phi_r, the same for other alpha.
        worth, worth_slopes: phi and its derivatives.
        constant: [R] const_r.
        floor: [R] K_r, -inf if absent; at least where phi begins, if it is to keep its distance.
        hop_session: [H] rising, none left out.
        hop_link: [H].
        share: [H] arrivals at the link per unit of the session's rate, over d.
        gamma: [H] Gamma_h, 1/s; above 0 on queues only.
        capacity: [L] d, D of `fresh.py`, pairs/s.
        fresh: log w of the links as a function of v.
        queues: [Q] links before which pairs are stored.
        capped: [P] links with a cap.
        max_utilisation: rho.
        low, high: [n]; a variable with low == high is fixed.
        alpha: of U.
    """

    rate_weight: Floats
    worth_weight: Floats
    worth: Worth
    worth_slopes: WorthSlopes
    constant: Floats
    floor: Floats
    hop_session: Ints
    hop_link: Ints
    share: Floats
    gamma: Floats
    capacity: Floats
    fresh: Fresh
    queues: Ints
    capped: Ints
    max_utilisation: float
    low: Floats
    high: Floats
    alpha: float = 1.0

    @property
    def n_sessions(self) -> int:
        """R."""
        return len(self.floor)

    @property
    def n_links(self) -> int:
        """L."""
        return len(self.capacity)

    @property
    def n_linear(self) -> int:
        """M, the linear constraints."""
        return len(self.queues) + len(self.capped)

    def parts(self, z: Floats) -> tuple[Floats, Floats, Floats]:
        """R [R], v [L] and s [Q] of a vector over variables."""
        n = self.n_sessions
        return z[:n], z[n : n + self.n_links], z[n + self.n_links :]

    # --- sums over hops -----------------------------------------------------------------------------------------------

    def to_sessions(self, x: Floats, weight: Floats | None = None) -> Floats:
        """[R] sums along each route of x [L], times a weight [H]."""
        return _to_sessions(*self.hops, self._ones if weight is None else weight, x)

    def to_links(self, x: Floats, weight: Floats | None = None) -> Floats:
        """[L] sums over the sessions of each link of x [R], times a weight [H]."""
        return _to_links(*self.hops, self._ones if weight is None else weight, x, self.n_links)

    def load(self, rates: Floats) -> Floats:
        """[L] y/d."""
        return self.to_links(rates, self.share)

    # --- the functions and their derivatives --------------------------------------------------------------------------

    def log_werner(self, z: Floats) -> Floats:
        """S [R] at z."""
        _, v, s = self.parts(z)
        log_werner = self.constant + self.to_sessions(np.log(self.fresh.werner(v)))
        if self.stores:
            waits, queue, gamma = self._waiting
            log_werner -= totals(self.hop_session[waits], np.log1p(gamma / s[queue]), self.n_sessions)
        return log_werner

    def slopes(self, z: Floats) -> tuple[Floats, Floats]:
        """dS/dv [L], the same for every session there, and dS/ds [H], 0 where nothing waits."""
        _, v, s = self.parts(z)
        waits, queue, gamma = self._waiting
        slack, by_slack = s[queue], np.zeros(len(self.gamma))
        by_slack[waits] = gamma / (slack * (slack + gamma))
        return self.fresh.slope(v), by_slack

    def curvature(self, z: Floats, pull: Floats) -> Floats:
        """Diagonal [n] of -sum_r pull_r d2S_r/dz2."""
        _, v, s = self.parts(z)
        waits, queue, gamma = self._waiting
        slack = s[queue]
        bend = pull[self.hop_session[waits]] * gamma * (2.0 * slack + gamma) / (slack * (slack + gamma)) ** 2
        by_werner = self.to_links(pull) * self.fresh.bend(v)
        return np.concatenate([np.zeros(self.n_sessions), by_werner, totals(queue, bend, len(s))])

    def objective(self, z: Floats, s: Floats) -> float:
        """The sum to maximise."""
        if self.alpha != 1.0:
            return float(self.worth_weight @ self.tilt(z, s)) / (1.0 - self.alpha)
        value = self.worth_weight @ self.worth(s)
        return float(value + self.rate_weight @ np.log(z[: self.n_sessions]))

    def tilt(self, z: Floats, s: Floats) -> Floats:
        """[R] U'(y), x^(1 - alpha) with x = e^y: by what alpha changes a session's weight."""
        if self.alpha == 1.0:
            return np.ones(self.n_sessions)
        with np.errstate(over="ignore"):
            return np.exp((1.0 - self.alpha) * (np.log(z[: self.n_sessions]) + self.worth(s)))

    def linear(self, move: Floats, load: Floats) -> Floats:
        """[m] left-hand sides of the linear constraints; `load` is that of the rates in `move`."""
        _, werner, s = self.parts(move)
        queues, capped = self.queues, self.capped
        stored = load[queues] + s / self.capacity[queues] + werner[queues]
        return np.concatenate([stored, load[capped] / self.max_utilisation + werner[capped]])

    def gap(self, z: Floats, guess: Floats | None = None) -> Floats:
        """[m] what the linear constraints leave: `guess`, exact where it is tiny, as far as the sum allows it."""
        used = self.linear(z, self.load(z[: self.n_sessions]))
        rounding = 4.0 * EPSILON * (1.0 + used)
        return 1.0 - used if guess is None else np.clip(guess, 1.0 - used - rounding, 1.0 - used + rounding)

    def gradient(self, slopes: tuple[Floats, Floats], price: Floats, pull: Floats) -> Floats:
        """[n] of price . linear - pull . S."""
        by_werner, by_slack = slopes
        n_queues = len(self.queues)
        stored, capped = np.zeros(self.n_links), np.zeros(self.n_links)
        stored[self.queues], capped[self.capped] = price[:n_queues], price[n_queues:]
        rates = self.to_sessions(stored + capped / self.max_utilisation, self.share)
        werner, s = stored + capped - by_werner * self.to_links(pull), price[:n_queues] / self.capacity[self.queues]
        if self.stores:
            s = s - self.to_links(pull, by_slack)[self.queues]
        return np.concatenate([rates, werner, s])

    # A "room" is what must stay positive; the barrier is the sum of their logarithms. One vector holds them all, in the
    # order: linear constraints, fidelity floors, lower bounds, upper bounds (only those that are there).

    def rooms(self, z: Floats, gap: Floats, s: Floats) -> Floats:
        """All rooms at z, where `gap` = that of the linear constraints and s = S(z)."""
        floored, low, high = self.limited
        return np.concatenate([gap, (s - self.floor)[floored], (z - self.low)[low], (self.high - z)[high]])

    def room_change(self, move: Floats, linear: Floats, s: Floats) -> Floats:
        """Change of all rooms along `move`, to first order; `linear` [m] and `s` [R] change as it says."""
        floored, low, high = self.limited
        return np.concatenate([-linear, s[floored], move[low], -move[high]])

    def split(self, x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """A vector over rooms as [m], [R], [n], [n], with zeros where there is no room."""
        start = self.n_linear
        scattered: list[Floats] = []
        for place, size in zip(self.limited, (self.n_sessions, len(self.low), len(self.low)), strict=True):
            whole = np.zeros(size)
            stop = start + len(whole[place])
            whole[place] = x[start:stop]
            scattered.append(whole)
            start = stop
        return x[: self.n_linear], scattered[0], scattered[1], scattered[2]

    @cached_property
    def hop_start(self) -> Ints:
        """[R + 1] first hop of each session."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.hop_session, minlength=self.n_sessions))])

    @cached_property
    def hops(self) -> tuple[Indices, Indices]:
        """`hop_start` and `hop_link` for compiled code, which need not ask whether they count from the end."""
        return self.hop_start.astype(np.uint32), self.hop_link.astype(np.uint32)

    @property
    def stores(self) -> bool:
        """Whether there are queues."""
        return len(self.queues) > 0

    @cached_property
    def _ones(self) -> Floats:
        return np.ones(len(self.hop_link))

    @cached_property
    def free(self) -> Bools:
        """[n] variables that are not fixed."""
        return self.low < self.high

    @cached_property
    def unit(self) -> Bools:
        """[n] variables that are v of links."""
        variable = np.arange(len(self.low)) - self.n_sessions
        return (variable >= 0) & (variable < self.n_links)

    @cached_property
    def _waiting(self) -> tuple[Ints, Ints, Floats]:
        """Hops before which pairs are stored, their queues, and their gamma."""
        waits = np.flatnonzero(self.gamma > 0.0)
        return waits, places(self.queues, self.n_links)[self.hop_link[waits]], self.gamma[waits]

    @cached_property
    def limited(self) -> tuple[Places, Places, Places]:
        """Sessions with a floor, and variables with a lower and with an upper bound."""
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        return _sliced(np.isfinite(self.floor)), _sliced(self.free & low), _sliced(self.free & high)


def _sliced(chosen: Bools) -> Places:
    """Where `chosen` is true: a slice, if it can be, as that takes no time."""
    found = np.flatnonzero(chosen)
    whole = len(found) > 0 and found[-1] - found[0] == len(found) - 1
    return slice(int(found[0]), int(found[-1]) + 1) if whole else found


@caching.entry(file=__file__)
def _to_sessions(start: Indices, link: Indices, weight: Floats, x: Floats) -> Floats:
    totals = np.zeros(len(start) - 1)
    for r in range(len(totals)):
        for h in range(start[r], start[r + 1]):
            totals[r] += weight[h] * x[link[h]]
    return totals


@caching.entry(file=__file__)
def _to_links(start: Indices, link: Indices, weight: Floats, x: Floats, n_links: int) -> Floats:
    totals = np.zeros(n_links)
    for r in range(len(x)):
        for h in range(start[r], start[r + 1]):
            totals[link[h]] += weight[h] * x[r]
    return totals

"""QPrimalDual without packets: its equations iterated as they stand, in two forms, with feedback as late as one likes.

`Steps` chooses the paper's form, (14) to (17) of model.md §6 in additive steps [paper]; with `decoherence` (14'), (18)
and (21) of §7.2 take the place of (14) [ours]. λ is updated first, then μ, then w with the new λ and μ. Any other gains
(an object with the fields of `ScaledGains`, as `agents.update_rules.Gains`) choose the form in logarithms in which this
project's policies run, (22) to (24) of §7.3 [ours], sources and links at once. `-pi` prices queues, of which a fluid
has none, and `-approx` has a signal for each hop: both are left out.

A session hears of its route a number of updates later, `delay`, one for each session: Σ λ and W are then those of that
state. What links know of sessions is not late.

`Fluid.flow` is the paper's form in continuous time,

    dλ/dt = k_λ (Σ R - C)⁺,  dμ/dt = k_μ (K - log W)⁺,  dw/dt = k_w (-dC/dw's size · λ + Σ σ / w)

with (·)⁺ as in: λ and μ do not fall below 0. One unit of time is one update.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any, Protocol

import numpy as np
from numba.core.errors import NumbaExperimentalFeatureWarning
from numpy.typing import ArrayLike

from qnum_gym import caching
from qnum_gym.optimum import fluid_kernel
from qnum_gym.optimum.matrices import Bools, Floats, Ints
from qnum_gym.optimum.problem import Allocation, Problem
from qnum_gym.physics import measures
from qnum_gym.physics.links import LINK_MODELS, LinkModel
from qnum_gym.physics.measures import MEASURES, Measure

kernel: Any = fluid_kernel  # numba has no types

MARGIN = 0.001  # a(W) is taken at W no less than (1 + this) times where f becomes positive
PRICE, FIDELITY, WERNER = 5e-6, 1e-2, 5e-5  # k_λ, k_μ, k_w as quoted from the paper
NOTHING = np.zeros((0, 3))
BLOCK = 500  # updates between two looks at how far away the optimum is


@dataclass(frozen=True, slots=True)
class Steps:
    """Constants of the paper's form: k_λ, k_μ, k_w, and ρ, the highest utilisation of links.

    Raises:
        ValueError: one that is not positive and finite, or a utilisation above 1.
    """

    price: float = PRICE
    fidelity: float = FIDELITY
    werner: float = WERNER
    utilisation: float = 1.0

    def __post_init__(self) -> None:
        for name in PAPER:
            value = getattr(self, name)
            if not 0.0 < value < np.inf or (name == "utilisation" and value > 1.0):
                valid = "positive, at most 1" if name == "utilisation" else "positive and finite"
                raise ValueError(f"steps: {name} = {value!r}; valid: {valid}")

    def times(self, factor: float) -> Steps:
        """All three steps times a factor."""
        return Steps(self.price * factor, self.fidelity * factor, self.werner * factor, self.utilisation)


class ScaledGains(Protocol):
    """What the scaled form reads: fields of `agents.update_rules.Gains`, which says what they are."""

    @property
    def utilisation(self) -> float: ...  # noqa: D102
    @property
    def gain(self) -> float: ...  # noqa: D102
    @property
    def damping(self) -> float: ...  # noqa: D102
    @property
    def floor(self) -> float: ...  # noqa: D102
    @property
    def rate_step(self) -> float: ...  # noqa: D102
    @property
    def signal_step(self) -> float: ...  # noqa: D102
    @property
    def spread(self) -> float: ...  # noqa: D102
    @property
    def memory(self) -> float: ...  # noqa: D102
    @property
    def tilt(self) -> float: ...  # noqa: D102
    @property
    def margin(self) -> float: ...  # noqa: D102


PAPER = ("price", "fidelity", "werner", "utilisation")  # as the loops take them
SCALED = (
    *("utilisation", "gain", "damping", "floor", "rate_step"),
    *("signal_step", "spread", "memory", "tilt", "margin"),
)


class Fluid:
    """QPrimalDual on one problem, without packets.

    Args:
        problem: whose active sessions take part, R of them here.
        gains: `Steps` for the paper's form, else those of the scaled one.
        decoherence: whether links keep slack for what storage costs (§7.2), and W is what storage leaves of it.
        delay: [R] updates after which a session hears of its route, or one number for all.

    Raises:
        ValueError: no active session, one whose route is down, `fairness` 0, or a delay that cannot be.
    """

    def __init__(
        self,
        problem: Problem,
        gains: Steps | ScaledGains | None = None,
        *,
        decoherence: bool = False,
        delay: ArrayLike = 0,
    ) -> None:
        gains = Steps() if gains is None else gains
        if not problem.active.any():
            raise ValueError("fluid: no session is active; valid: at least one")
        if problem.blocked.any():
            blocked = problem.describe(np.flatnonzero(problem.blocked))
            raise ValueError(f"fluid: the route of {blocked} is down; valid: problem.servable()")
        if problem.fairness == 0.0:
            raise ValueError("fluid: fairness = 0: its (15) gives no rate; valid: above 0")
        self.problem, self.gains, self.decoherence = problem, gains, decoherence
        self.scaled = not isinstance(gains, Steps)
        self.chosen = np.flatnonzero(problem.active)
        self.delay = _delays(delay, len(self.chosen))
        self._gains = np.array([getattr(gains, name) for name in (SCALED if self.scaled else PAPER)], np.float64)

    @property
    def size(self) -> tuple[int, int]:
        """L and R."""
        return len(self.problem.arrays.capacity), len(self.chosen)

    @property
    def used(self) -> Bools:
        """[L] links on an active session's route."""
        return np.bincount(self._net.hops["link"], minlength=self.size[0]) > 0

    def start(self) -> Floats:
        """The state from where the policies begin: fresh pairs as at first, and prices where (17) stands still."""
        a = self.problem.arrays
        w = np.clip(a.initial_werner, a.werner_min, a.werner_max)
        return self._state(w, a.initial_rate[self.chosen], np.zeros(self.size[1]), None)

    def at(self, best: Allocation) -> Floats:
        """The state at an optimum, of which the solver knows all but the slack that (18) asks for.

        Prices of floors and, in the paper's form without storage, of links that do not bind are 0 and not what the
        interior-point method leaves of them: whichever is the smaller of price and slack is taken as 0.
        """
        a, chosen = self.problem.arrays, self.chosen
        slack = np.log(best.expected_werner[chosen]) - a.log_werner_floor[chosen]
        floor_prices = np.where(best.fidelity_prices[chosen] > slack, best.fidelity_prices[chosen], 0.0)
        if not self.scaled and not self.decoherence:
            made = a.link_rates.rate(best.werner, a.capacity)
            room = best.slack - (1.0 - self.gains.utilisation) * made
            best = replace(best, link_prices=np.where(best.link_prices * made**2 > room, best.link_prices, 0.0))
        x = self._state(best.werner, best.rates[chosen], floor_prices, best)
        if not self.scaled and self.decoherence:
            x[-self.size[0] :] = self.step(x, self.observe(x))[-self.size[0] :]
        return x

    def observe(self, x: Floats) -> Floats:
        """What sessions hear of a state: rows [R, 3] of Σ θλ, log Π w with gates, log of what storage leaves."""
        return self._iterate(x, 0, 1, NOTHING)[1]

    def step(self, x: Floats, seen: Floats) -> Floats:
        """The state after one update, of a state and what sessions hear by then."""
        return self._iterate(x, 1, 1, seen)[0][1]

    def run(self, x: Floats, steps: int, every: int = 1) -> Floats:
        """States [1 + steps/every, N] of so many updates from x on."""
        return self._iterate(x, steps, every, NOTHING)[0]

    def slope(self, x: Floats) -> Floats:
        """d/dt of x in continuous time; of the paper's form without decoherence, and without delay."""
        return self._flow(x, 1.0, 0, 1)[1]

    def flow(self, x: Floats, dt: float, steps: int, every: int = 1) -> Floats:
        """States [1 + steps/every, N] in continuous time, `dt` apart before `every`; as for `slope`."""
        return self._flow(x, dt, steps, every)[0]

    def link_prices(self, x: Floats) -> Floats:
        """λ, [..., L]."""
        prices = x[..., : self.size[0]]
        return np.exp(prices) if self.scaled else prices

    def werner(self, x: Floats) -> Floats:
        """w, [..., L]."""
        n_links, n_sessions = self.size
        if self.scaled:
            return -np.expm1(x[..., n_links : 2 * n_links])
        return x[..., n_links + n_sessions : 2 * n_links + n_sessions]

    def rates(self, x: Floats) -> Floats:
        """R, [..., R], without delay."""
        n_links, n_sessions = self.size
        if self.scaled:
            return np.exp(x[..., 2 * n_links : 2 * n_links + n_sessions])
        if x.ndim > 1:
            return np.array([self.rates(row) for row in x])
        sessions, seen = self._net.sessions, self.observe(x)
        w = np.maximum(np.exp(seen[:, 1] + seen[:, 2]), sessions["lowest"])
        worth = sessions["delivery"] * measures.values(self.problem.arrays.measure[self.chosen], w)
        with np.errstate(divide="ignore"):
            wanted = (sessions["weight"] * worth ** (1.0 - sessions["alpha"]) / seen[:, 0]) ** (1.0 / sessions["alpha"])
        return np.clip(wanted, sessions["rate_min"], sessions["rate_max"])

    def distance(self, x: Floats, best: Allocation) -> float:
        """Largest relative error of the rates."""
        return float(np.abs(self.rates(x) / best.rates[self.chosen] - 1.0).max())

    def converge(self, best: Allocation, tolerance: float = 1e-8, most: int = 400_000) -> tuple[Floats, int]:
        """From `start` until the rates are within `tolerance` of those of `best`: the state, and updates taken.

        Raises:
            ArithmeticError: they are not after `most` updates.
        """
        x, taken = self.start(), 0
        if self.delay.any():
            raise ValueError("fluid: converge with a delay; valid: without one, or `run`")
        while (distance := self.distance(x, best)) > tolerance:
            if taken >= most:
                raise ArithmeticError(f"fluid: rates are off by {distance:.1e} after {taken} updates")
            x, taken = self.run(x, BLOCK, BLOCK)[-1], taken + BLOCK
        return x, taken

    def _state(self, w: Floats, rates: Floats, floor_prices: Floats, best: Allocation | None) -> Floats:
        """[N] where links have w, and prices of `best` or those at which (17) stands still."""
        a, chosen, (sessions, links, hops) = self.problem.arrays, self.chosen, self._net
        fresh = np.add.reduceat(np.log(w)[hops["link"]], sessions["start"]) + sessions["gates"]
        reached = np.exp(fresh) if best is None else best.expected_werner[chosen]
        reached = np.maximum(reached, sessions["lowest"])
        value = sessions["weight"] * measures.elasticities(a.measure[chosen], reached)
        worth = sessions["delivery"] * rates * measures.values(a.measure[chosen], reached)
        tilt = worth ** (1.0 - sessions["alpha"])
        if best is None:
            signal = np.bincount(hops["link"], (value * tilt)[hops["session"]], self.size[0])
            made, cost = a.link_rates.rate(w, a.capacity), a.link_rates.cost(w, a.capacity)
            cost = np.where(links["knob"], cost, made / (1.0 - w))
            prices = np.divide(signal, cost * w * self.gains.utilisation, out=np.zeros_like(w), where=signal > 0.0)
        else:
            prices = best.link_prices
        if not self.scaled:
            slack = np.zeros_like(w) if best is None else best.slack
            free = slack if best is not None else 0.1 * a.link_rates.rate(w, a.capacity)
            return np.concatenate([prices, floor_prices, w, free if self.decoherence else 0.0 * w])
        with np.errstate(divide="ignore"):
            log_price = np.where(prices > 0.0, np.log(np.maximum(prices, 1e-300)), 0.0)
        log_signal = np.log(value + floor_prices / tilt)
        stored = np.exp(np.log(reached) - fresh) if self.decoherence and best is not None else np.ones_like(rates)
        return np.concatenate([log_price, np.log1p(-w), np.log(rates), log_signal, stored, np.log(tilt)])

    def _iterate(self, x: Floats, steps: int, every: int, given: Floats) -> tuple[Floats, Floats]:
        return self._call(kernel.iterate, self.scaled, x, self.delay, steps, every, given)

    def _flow(self, x: Floats, dt: float, steps: int, every: int) -> tuple[Floats, Floats]:
        if self.scaled or self.decoherence:
            raise ValueError("fluid: continuous time; valid: the paper's form (Steps) without decoherence")
        return self._call(kernel.flow, x, dt, steps, every)

    def _call(self, function: Any, *arguments: Any) -> Any:
        functions, models = self._formulas
        caching.announce(function, "QPrimalDual without packets")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)  # of functions that are arguments
            return function(functions, models, self._net, self._gains, *arguments)

    @cached_property
    def _formulas(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        a = self.problem.arrays
        functions = tuple(_of_measure(MEASURES.at(int(code))) for code in np.unique(a.measure[self.chosen]))
        return functions, tuple(_of_model(LINK_MODELS.at(int(code))) for code in np.unique(a.link_model))

    @cached_property
    def _net(self) -> Any:
        p, a, chosen = self.problem, self.problem.arrays, self.chosen
        hops = np.flatnonzero(p.active[a.hop_session])
        counts = np.diff(a.hop_start)[chosen]
        start = np.concatenate([[0], np.cumsum(counts)])
        aware = float(self.decoherence)
        sessions = _records(
            kernel.SESSION,
            measure=np.unique(a.measure[chosen], return_inverse=True)[1],
            start=start[:-1],
            end=start[1:],
            weight=a.weight[chosen],
            alpha=a.fairness[chosen],
            floor=a.log_werner_floor[chosen],
            rate_min=p.lowest_rates[chosen],
            rate_max=a.rate_max[chosen],
            delivery=p.delivery[chosen],
            lowest=measures.positive_from(a.measure[chosen]) * (1.0 + MARGIN),
            gates=np.add.reduceat(p.gate_log[hops], start[:-1]),
            flight=aware * np.add.reduceat(p.flight_log[hops], start[:-1]),
        )
        links = _records(
            kernel.LINK,
            model=np.unique(a.link_model, return_inverse=True)[1],
            capacity=a.capacity,
            chance=np.where(a.capacity > 0.0, a.capacity * a.cycle_time / a.modes, 1.0),
            dark_count=a.dark_count,
            clicks=a.clicks,
            modes=a.modes,
            werner_min=a.werner_min,
            werner_max=a.werner_max,
            knob=a.link_rates.knobs,
        )
        hops = _records(
            kernel.HOP,
            session=np.repeat(np.arange(len(chosen)), counts),
            link=a.hop_link[hops],
            theta=p.thinning[hops],
            gamma=aware * p.storage_rate[hops],
        )
        return kernel.Network(sessions, links, hops)


def _records(form: Any, **columns: Any) -> Any:
    """Rows of a record type, from its columns."""
    rows: Any = np.zeros(len(next(iter(columns.values()))), form)
    for name, column in columns.items():
        rows[name] = column
    return rows


@cache
def _of_measure(measure: Measure) -> Any:
    return kernel.of_measure(measure)


@cache
def _of_model(model: LinkModel) -> Any:
    return kernel.of_model(model)


def _delays(delay: ArrayLike, sessions: int) -> Ints:
    found = np.asarray(delay)
    if found.shape not in ((), (sessions,)) or found.dtype.kind not in "iu" or (found < 0).any():
        raise ValueError(f"fluid: delay = {delay!r}; valid: whole numbers of updates, from 0, one or {sessions}")
    return np.broadcast_to(found, sessions).astype(np.int64)

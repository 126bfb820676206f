"""Quantum network utility maximisation (QNUM) of one scenario at one time, as arrays and formulas.

Source: arXiv:2510.09371 for the utility and the constraints (model.md §5); the expected Werner parameter under storage
(model.md §7) and the thinning of the traffic on its way are [ours].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from qnum_gym.optimum import fairness
from qnum_gym.optimum.fresh import Fresh
from qnum_gym.optimum.matrices import Bools, Floats, Ints, Sparse, entries
from qnum_gym.physics import measures
from qnum_gym.rules import SWAPPINGS
from qnum_gym.scenarios import Arrays, Scenario

LASTING = 1e-8  # 1/s: a pair that decays more slowly than this does not decay (model.md §7): T_c = 1e12 s is "perfect"
RATE_FLOOR = 1e-4  # 1/s: the least R f(W) that a utility distinguishes, so that a silent second costs no infinity


class InfeasibleError(ValueError):
    """No allocation with every f > 0, every floor and every demand kept.

    Attributes:
        sessions: indices of the sessions that stand in the way: all that can not be served even alone or, if there
            are none, sessions that can not be served together, while all but any one of them can.
        links: indices of the links for which the latter compete.
        feasible: by "min_rate" (1/s) and "min_fidelity", the largest values of the `sessions` with which they can be
            served, all others off: asked less by one factor for all, or by one share of what is above f = 0. Only
            what would do by itself; nothing where it was not looked for (`relief`).
    """

    def __init__(
        self,
        message: str,
        sessions: tuple[int, ...],
        links: tuple[int, ...] = (),
        feasible: dict[str, dict[int, float]] | None = None,
    ) -> None:
        super().__init__(message)
        self.sessions = sessions
        self.links = links
        self.feasible = feasible or {}

    def __reduce__(self) -> tuple[type[InfeasibleError], tuple[Any, ...]]:
        """Exceptions cross process borders by pickle, which would forget all but the message."""
        return type(self), (str(self), self.sessions, self.links, self.feasible)


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """Rates, Werner parameters and what follows from them; R sessions and L links in the scenario's order.

    Attributes:
        rates: [R] injection rates, 1/s; 0 for a session that is not active.
        werner: [L] Werner parameters of fresh pairs; a link that no active session uses keeps its initial value.
        link_prices: [L] lambda_l, 1/(1/s): utility lost per unit of further arrival rate at link l, the dual of
            sum R + s <= d (1 - w) together with that of a utilisation cap. NaN where not computed (static allocations).
        fidelity_prices: [R] mu_r: utility lost per unit of K_r, the dual of log W_r >= K_r; 0 without a floor. NaN
            where not computed.
        rate_prices: [R] nu_r: utility lost per unit of log min_rate, the dual of log(delivered rate) >= log min_rate; 0
            without a demand, or where it does not bind (up to the method's residual). NaN where not computed.
        utility: sum over active sessions of weight * U_r.
        expected_werner: [R] W_r by the formula that was maximised; NaN for a session that is not active.
        slack: [L] s_l = d_l (1 - w_l) - y_l, pairs/s.
        kkt_residual: largest violation of stationarity (per unit of log R, log s, log(1 - w)) or complementarity, over
            the mean weight; all constraints are kept strictly. NaN where not computed.
        iterations: Newton steps, of the start that led here; 0 for static allocations.
        proven_global: whether no allocation at all has more utility (`proof`). False: a local optimum, for all one
            knows, or a static allocation.
        starts: how many searches found an optimum; 0 for static allocations.
        agreed: how many of them found this utility, to 1e-6 of the weights' sum (for alpha other than 1: of its size).
    """

    rates: Floats
    werner: Floats
    link_prices: Floats
    fidelity_prices: Floats
    rate_prices: Floats
    utility: float
    expected_werner: Floats
    slack: Floats
    kkt_residual: float
    iterations: int = 0
    proven_global: bool = False
    starts: int = 0
    agreed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """One scenario at one time, with what its formulas need per hop (H hops, session after session).

    Attributes:
        arrays: the scenario's resolved arrays.
        names: "source->destination" of each session, for messages.
        link_names: "a-b" of each link, likewise.
        storage_rate: [H] Gamma_{r,l}, 1/s, by `storage_rates`; 0 where waiting costs no fidelity, and below 1e-8.
        gate_log: [H] log of the swap's gate factor; 0 on the first hop.
        flight_log: [H] -(gamma_source + gamma_{node after l}) tau_l, decay while the header travels; in parallel
            swapping only the source waits for it, and the destination for the last hop. An end that stores no half has
            gamma = 0. On the last hop also decay while the ACK travels, where both ends wait for it (model.md §4.4).
        thinning: [H] share of the session's q-datagrams that get as far as this link's queue.
        delivery: [R] share of them that is delivered and acknowledged; 0 behind a link that is down.
        incidence: sparse [L, R], thinning of each active session at each link: y = incidence @ R.
    """

    arrays: Arrays
    names: tuple[str, ...]
    link_names: tuple[str, ...]
    storage_rate: Floats
    gate_log: Floats
    flight_log: Floats
    thinning: Floats
    delivery: Floats
    incidence: Sparse = field(repr=False)

    @classmethod
    def from_scenario(cls, s: Scenario, time: float = 0.0) -> Problem:
        """The problem of the sessions active at `time` (s), with all events up to then applied."""
        return cls.from_arrays(s, s.arrays(time))

    @classmethod
    def from_arrays(cls, s: Scenario, a: Arrays) -> Problem:
        """The same of a scenario's resolved arrays, in which numbers may have been changed."""
        a = replace(a, rate_max=np.minimum(a.rate_max, a.rate_cap))
        first, last = a.hop_index == 0, a.hop_index == np.diff(a.hop_start)[a.hop_session] - 1
        gamma, parallel = a.decay_rate, in_parallel(a)
        source_rate, end_rate = (rates[a.hop_session] for rates in a.end_decay_rates)
        storage_rate = storage_rates(a, source_rate, end_rate, gamma)
        waits_after = np.where(last, end_rate, np.where(parallel[a.hop_session], 0.0, gamma[a.hop_to]))
        flight_log = -(source_rate + waits_after) * a.latency[a.hop_link]
        answer = np.add.reduceat(a.latency[a.hop_link], a.hop_start[:-1]) + s.feedback_delay
        flight_log[last] -= np.where(a.until_ack, (source_rate + end_rate)[last] * answer, 0.0)
        swap_success = np.where(first, 1.0, a.swap_success[a.hop_from])
        kept = 1.0 - s.message_loss
        passed = np.where(a.capacity[a.hop_link] > 0.0, swap_success * kept, 0.0)
        hops, survived = np.diff(a.hop_start), passed.copy()
        for place in range(1, int(hops.max())):
            here = np.flatnonzero(a.hop_index == place)
            survived[here] *= survived[here - 1]
        # in parallel a request asks every link, whatever becomes of the swaps; then the outcomes travel as well
        thinning = np.where(parallel[a.hop_session], kept**a.hop_index, np.where(first, 1.0, np.roll(survived, 1)))
        delivery = survived[last] * kept ** np.where(parallel, 2 * hops - 1, hops)  # the ACK crosses every hop
        return cls(
            arrays=a,
            names=tuple(f"{x.source}->{x.destination}" for x in s.sessions),
            link_names=tuple(f"{x.a}-{x.b}" for x in s.links),
            storage_rate=np.where(storage_rate < LASTING, 0.0, storage_rate),
            gate_log=np.where(first, 0.0, np.log(a.gate_factor[a.hop_from])),
            flight_log=flight_log,
            thinning=thinning,
            delivery=delivery,
            incidence=_incidence(a, thinning),
        )

    @property
    def active(self) -> Bools:
        """[R] sessions that are on."""
        return self.arrays.active

    @property
    def fairness(self) -> float:
        """Alpha of `fairness.utility`."""
        return float(self.arrays.fairness[0])

    @property
    def decays(self) -> bool:
        """Whether a memory in which an active session stores pairs decays."""
        used = self.active[self.arrays.hop_session]
        return bool((self.storage_rate[used] > 0.0).any() or (self.flight_log[used] < 0.0).any())

    def without(self, sessions: Bools) -> Problem:
        """The problem as if the `sessions` [R] were off."""
        alive = replace(self.arrays, active=self.active & ~sessions)
        return replace(self, arrays=alive, incidence=_incidence(alive, self.thinning))

    def servable(self) -> Problem:
        """The problem without the sessions that are hopeless."""
        return self.without(self.hopeless)

    def fixed(self, rates: ArrayLike | None = None, werner: ArrayLike | None = None) -> Problem:
        """The problem with given injection rates or Werner parameters.

        Args:
            rates: 1/s, one for all sessions or [R], NaN for those that are free.
            werner: likewise of links; those that cannot set theirs keep what they have.

        Raises:
            ValueError: one outside its range.
        """
        a = self.arrays
        rate_min, rate_max = _pinned("rates", "session", rates, a.rate_min, a.rate_max, a.active)
        werner_min, werner_max = _pinned("werner", "link", werner, a.werner_min, a.werner_max, a.link_rates.knobs)
        ends = {"rate_min": rate_min, "rate_max": rate_max, "werner_min": werner_min, "werner_max": werner_max}
        return replace(self, arrays=replace(a, **ends))

    @property
    def blocked(self) -> Bools:
        """[R] active sessions whose route has a link without capacity."""
        a = self.arrays
        dead = np.zeros(len(a.active), dtype=np.bool_)
        dead[a.hop_session[a.capacity[a.hop_link] <= 0.0]] = True
        return dead & a.active

    @property
    def hopeless(self) -> Bools:
        """[R] active sessions that nobody can serve, even with the network for themselves (model.md §5, [ours]).

        Their route is down, their lowest admissible rate does not fit it or their `rate_range`, or even the best
        Werner parameters leave W no higher than where f is 0, or than their fidelity floor.
        """
        a = self.arrays
        return a.active & ~((self.highest_log_werner > self.least_log_werner) & (self.lowest_rates <= a.rate_max))

    @property
    def lowest_rates(self) -> Floats:
        """[R] injection rates, 1/s, that keep both the rate's range and the demand for delivered pairs."""
        a = self.arrays
        demanded = np.divide(a.min_rate, self.delivery, out=np.zeros_like(a.min_rate), where=a.min_rate > 0.0)
        return np.maximum(a.rate_min, demanded)

    @property
    def least_log_werner(self) -> Floats:
        """[R] log of the W that a session has to exceed: where f becomes positive, or its fidelity floor."""
        return np.maximum(np.log(measures.positive_from(self.arrays.measure)), self.arrays.log_werner_floor)

    @property
    def highest_log_werner(self) -> Floats:
        """[R] log W of each session at its lowest rate, alone in the network and with the best Werner parameters.

        Every hop has its own maximum, by `Fresh.best`. -inf where a link cannot carry the rate.
        """
        a, gamma = self.arrays, self.storage_rate
        y = self.lowest_rates[a.hop_session] * self.thinning
        fresh = Fresh(a.link_rates, a.capacity, a.werner_min)[a.hop_link]
        d = fresh.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            v = fresh.best(gamma, y, fresh.of(a.werner_min[a.hop_link]), fresh.of(a.werner_max[a.hop_link]))
            slack = d * (1.0 - v) - y
            stored = np.where(gamma > 0.0, np.log(slack / (slack + gamma)), 0.0)
            log_hop = np.log(fresh.werner(v)) + stored + self.gate_log + self.flight_log
        fits = (d > 0.0) & (slack >= -1e-12 * d) & ((slack > 0.0) | (gamma == 0.0))
        return np.add.reduceat(np.where(fits, log_hop, -np.inf), a.hop_start[:-1])

    def arrivals(self, rates: Floats) -> Floats:
        """y_l, 1/s: q-datagrams that reach each link, [..., L] for injection rates [..., R]."""
        flat = rates.reshape(-1, rates.shape[-1])
        return cast(Floats, (self.incidence @ flat.T).T.reshape(*rates.shape[:-1], -1))

    def expected_delivery(self, rates: Floats) -> Floats:
        """Delivered pairs per second, [..., R], for injection rates [..., R] that the links can carry."""
        return rates * self.delivery

    def expected_werner(
        self, rates: Floats, werner: Floats, *, geometric: bool = False, decoherence: bool = True
    ) -> Floats:
        """Mean end-to-end Werner parameter [..., R] of what is delivered, by the product formula of model.md §7.

        A link without slack (y >= d (1 - w)) keeps pairs for ever: W = 0 for whoever stores a pair before it.

        Args:
            rates: injection rates [..., R], 1/s.
            werner: Werner parameters of fresh pairs [..., L].
            geometric: use the exact sojourn of an M/Geo/1 queue on each session's second link, where arrivals are
                Poisson if nothing else disturbs them; the other links, and all of them in parallel swapping, keep the
                exponential approximation.
            decoherence: False leaves out storage and header flight (model.md §5, with gate factors).
        """
        a = self.arrays
        log_hop = np.log(werner)[..., a.hop_link] + self.gate_log
        if decoherence:
            arrivals = self.arrivals(np.where(a.active, rates, 0.0))
            capacity = a.link_rates.rate(werner, a.capacity)
            stored = self._stored(arrivals[..., a.hop_link], capacity[..., a.hop_link], geometric)
            with np.errstate(divide="ignore"):
                log_hop = log_hop + self.flight_log + np.log(stored)
        return np.exp(np.add.reduceat(log_hop, a.hop_start[:-1], axis=-1))

    def _stored(self, arrivals: Floats, capacity: Floats, geometric: bool) -> Floats:
        """E[exp(-Gamma * sojourn)] on each hop, [..., H]."""
        a, gamma = self.arrays, self.storage_rate
        slack = np.maximum(capacity - arrivals, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            factor = slack / (slack + gamma)
            if geometric:
                cycle = a.cycle_time[a.hop_link]
                p, x = capacity * cycle, np.exp(-gamma * cycle)
                service = p * x / (1.0 - (1.0 - p) * x)
                queue = slack / capacity * gamma * service / (gamma - arrivals + arrivals * service)
                second = (a.hop_index == 1) & ~in_parallel(a)[a.hop_session]
                factor = np.where(second & (slack > 0.0), queue, factor)
        return np.where(gamma > 0.0, factor, 1.0)

    def utilities(self, rates: Floats, werner: Floats) -> Floats:
        """U_r, `fairness.utility` of max(R_r f_r(W_r), 1e-4), [..., R]; 0 for a session that is not active.

        Args:
            rates: delivered pairs per second [..., R].
            werner: end-to-end Werner parameters [..., R]; NaN (nothing delivered) counts as worthless.
        """
        worth = rates * measures.values(self.arrays.measure, werner)
        return np.where(
            self.active, fairness.utility(np.where(worth > RATE_FLOOR, worth, RATE_FLOOR), self.fairness), 0.0
        )

    def tilts(self, rates: Floats, werner: Floats) -> Floats:
        """x^(1 - alpha), [R], x = R f(W) > 0: what a session's weight is times in the conditions of the optimum.

        1 for alpha = 1, and for a session that is not active; arguments as for `utilities`.
        """
        worth = np.where(self.active, rates * measures.values(self.arrays.measure, werner), 1.0)
        return worth ** (1.0 - self.fairness)

    def utility(self, rates: Floats, werner: Floats) -> float:
        """Sum of weight * U_r over the active sessions; rates and Werner parameters [R] as for `utilities`."""
        return float(self.arrays.weight @ self.utilities(rates, werner))

    def shortfalls(self, rates: Floats, werner: Floats) -> tuple[Floats, Floats]:
        """(K_r - log W_r)⁺ and (log of the demand - log R_r)⁺, each [..., R]; infinite where nothing is delivered.

        Args:
            rates: as for `utilities`.
            werner: likewise.
        """
        a = self.arrays
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = a.log_werner_floor - np.log(np.where(werner > 0.0, werner, 0.0))
            demand = np.log(a.min_rate) - np.log(rates)
        floored = a.log_werner_floor > -np.inf
        return (
            np.where(floored & (floor > 0.0), floor, 0.0),
            np.where((a.min_rate > 0.0) & (demand > 0.0), demand, 0.0),
        )

    def describe(self, sessions: Ints | list[int]) -> str:
        """Names of sessions for messages: "session 0 (s0->d0), session 2 (s2->d2)"; no more than twenty."""
        return _listed([f"session {int(r)} ({self.names[int(r)]})" for r in sessions])

    def describe_links(self, links: Ints | list[int]) -> str:
        """Names of links for messages: "link 0 (s0-left), link 2 (s2-left)"; no more than twenty."""
        return _listed([f"link {int(l)} ({self.link_names[int(l)]})" for l in links])


def _pinned(
    name: str, whose: str, given: ArrayLike | None, low: Floats, high: Floats, chosen: Bools
) -> tuple[Floats, Floats]:
    """Ranges [low, high], those of the `chosen` narrowed to their value where that is not NaN."""
    if given is None:
        return low, high
    values = np.asarray(given, dtype=np.float64)
    if values.shape not in ((), low.shape):
        raise ValueError(f"{name}: shape {values.shape}; valid: a number, or one for each {whose}, {low.shape}")
    values = np.where(chosen, values, np.nan)
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        i = wrong[0]
        raise ValueError(f"{name}[{i}] = {values[i]:g}: valid for {whose} {i}: {low[i]:g} to {high[i]:g}, or NaN")
    return np.where(np.isnan(values), low, values), np.where(np.isnan(values), high, values)


def _listed(names: list[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def in_parallel(a: Arrays) -> Bools:
    """[R] whether the formulas of parallel swapping hold, and not those of sequential swapping.

    Raises:
        ValueError: the kind of swapping has neither.
    """
    for code in map(int, np.unique(a.swapping)):
        if SWAPPINGS.at(code).parallel is None:
            valid = ", ".join(name for name in SWAPPINGS if SWAPPINGS[name].parallel is not None)
            raise ValueError(f"swapping = {SWAPPINGS.names()[code]!r}: no formula for its E[W]; valid: {valid}")
    return np.array([bool(kind.parallel) for kind in SWAPPINGS.values()])[a.swapping]


def storage_rates(a: Arrays, source: Floats, destination: Floats, decay_rate: Floats) -> Floats:
    """Gamma_{r,l}, 1/s: what a wait for the pair of link l costs, E[W_r] being a product of s/(s + Gamma) [ours].

    Sequential swapping: gamma_source + gamma_{node before l}, 0 on the first hop (model.md §7). Parallel: pairs wait
    for each other; Gamma is what a longer sojourn at l costs where all n links of the route have the same slack
    ((28) of model.md §7.4). With h = (1 + 1/2 + ... + 1/n)/n it is h (gamma_source + gamma_destination)
    plus half the gamma of each of the link's nodes that swaps, less that of an end of the route whose own pair it is;
    nothing where that is below 0.

    Args:
        a: routes and kind of swapping.
        source: [H] gamma of the session's source.
        destination: [H] that of its destination.
        decay_rate: [V] that of each node; those of a link's own two nodes count.
    """
    hops = np.diff(a.hop_start)[a.hop_session]
    first, last = a.hop_index == 0, a.hop_index == hops - 1
    before, after = decay_rate[a.hop_from], decay_rate[a.hop_to]
    inverse = 1.0 / np.arange(1, int(hops.max()) + 1, dtype=np.float64)
    share = np.cumsum(inverse)[hops - 1] / hops
    ends = (share - first) * source + (share - last) * destination
    parallel = np.maximum(ends + 0.5 * (np.where(first, 0.0, before) + np.where(last, 0.0, after)), 0.0)
    return np.where(in_parallel(a)[a.hop_session], parallel, np.where(first, 0.0, source + before))


def _incidence(a: Arrays, thinning: Floats) -> Sparse:
    share = thinning * a.active[a.hop_session]
    return entries(a.hop_link, a.hop_session, share, (len(a.capacity), len(a.active)))


def geometric_mean(utility: float, weights: Floats, alpha: float = 1.0) -> float:
    """What R f(W), 1/s (bit/s for `secret_key`), gives this utility, sum(weight * U), if all sessions have it.

    For alpha = 1 that is exp(sum(weight * U) / sum(weight)), the geometric mean; else the certainty equivalent (30).
    """
    return float(fairness.certainty_equivalent(utility / np.sum(weights), alpha))

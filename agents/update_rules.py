"""The update rules of QPrimalDual's sources and links, which `qprimaldual.py` derives: arrays with a row for each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.delivery import Delivery
from qnum_gym.agents.giving_up import GivingUp
from qnum_gym.agents.options import Constants, Range, constant
from qnum_gym.agents.policy import Bools
from qnum_gym.optimum.problem import storage_rates
from qnum_gym.physics import measures
from qnum_gym.physics.links import at_coordinate, coordinate
from qnum_gym.physics.measures import MEASURES, Measure
from qnum_gym.scenarios import Arrays
from qnum_gym.simulator.telemetry import HeaderTelemetry, LinkTelemetry, SessionTelemetry

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]  # of measures: places in `measures.MEASURES`

TINY = 1e-9  # stands for a Werner parameter of 0
RAREST = 0.01  # a way that delivers less than this share is as good as shut
SLACK_STEPS = 6  # Newton steps in log s: from within a factor of two, each squares the error
PRICE_SPAN = 1e4  # a price stays within this factor of where v = 0: with w at the end of its range it might run away


@dataclass(frozen=True, slots=True)
class Gains(Constants):
    """Dimensionless constants of QPrimalDual, the same for all networks; times in control intervals.

    Raises:
        ValueError: a value that is not positive and finite, or `utilisation` above 1.
    """

    # ρ, cap on y / (d (1 - w)): at 1 a queue grows for ever
    utilisation: float = constant(0.95, Range(0.3, 0.98, log=False), share=True)
    gain: float = constant(0.3, Range(0.1, 0.6))  # k
    damping: float = constant(0.7, Range(0.3, 1.0))  # κ
    floor: float = 0.3  # k_μ
    rate_step: float = constant(0.4, Range(0.1, 0.8))  # bound of a step of log R
    # bound of a step of log σ: W falls at once when queues build up, and a(W) leaps
    signal_step: float = constant(0.1, Range(0.03, 0.3))
    spread: float = 1.0  # h, round trips over which a step of log σ is spread; next to nothing: as if none took time
    memory: float = constant(30.0, Range(5.0, 100.0))  # intervals with an ACK that tell how much of W storage leaves
    tilt: float = 0.1  # step of log x^(1 - α) towards what it is, no longer than `signal_step`
    margin: float = 0.001  # a(W) is taken at W no less than (1 + margin) times where f becomes positive: a ≤ 1/margin
    hopeless: float = 300.0  # price of a floor or a demand, over ω, above which it is out of reach
    losses: float = 20.0  # a source goes back to its first rate after so many times the losses that precede an ACK
    forget: float = 30.0  # age at which a link forgets a session's header (model.md §4)


class Signals:
    """How a signal σ follows W, (16) and a: n rows, of sessions' weights, measures, log floors K and α, each [n].

    Every source runs one for its session.
    """

    def __init__(self, weight: Floats, measure: Codes, log_floor: Floats, alpha: Floats, gains: Gains) -> None:
        self._gains, self._measure, self._bias = gains, measure, 1.0 - alpha
        self._worthwhile = measures.positive_from(measure) * (1.0 + gains.margin)
        self.take(weight, log_floor)

    def take(self, weight: Floats, log_floor: Floats) -> None:
        """Other weights and log floors K [n] from now on."""
        self._weight = weight
        self._floor = log_floor  # -inf for none: the step to it is then below 0 and bounded
        self._least = np.maximum(log_floor, np.log(self._worthwhile))  # floor as long as f = 0
        self._least_werner = np.exp(self._least)
        self._most = np.log(weight / self._gains.margin)  # of log σ: a floor out of reach would raise it for ever

    def first_guess(self) -> tuple[Floats, Floats]:
        """log W and log σ [n] while nothing is known."""
        log_fresh = np.log([_usual_werner(measure) for measure in MEASURES.values()])[self._measure]
        return log_fresh, self._value(np.exp(log_fresh), log_fresh)[0]

    def step(
        self, log_signal: Floats, werner: Floats, latest: Floats, log_fresh: Floats, pace: float | Floats = 1.0
    ) -> Floats:
        """The next log σ [n].

        werner: W on average. latest: as it arrived last. log_fresh: log Π w_l. pace: share of a step to take.
        """
        log_value, comes_back = self._value(werner, log_fresh)
        to_value = (log_value - log_signal) / (1.0 + comes_back)
        worthless = np.maximum(werner, latest) < self._worthwhile  # not if a queue has drained and only the mean is low
        floor = np.where(worthless, self._least, self._floor)
        to_floor = self._gains.floor * (np.log(np.maximum(werner, TINY)) / floor - 1.0)
        return self.limited(log_signal + pace * bounded(np.maximum(to_value, to_floor), self._gains.signal_step))

    def tilt(self, rate: Floats, werner: Floats) -> Floats:
        """log x^(1 - α) [n], x = R f(W) of pairs delivered; W is taken as worth something."""
        worth = measures.values(self._measure, np.maximum(werner, self._worthwhile))
        return self._bias * np.log(rate * worth)

    def next_tilt(self, tilt: Floats, rate: Floats, werner: Floats) -> Floats:
        """[n] a step towards it; none as long as f(W) = 0, for what a session is not worth yet says nothing."""
        step = bounded(self._gains.tilt * (self.tilt(rate, werner) - tilt), self._gains.signal_step)
        return np.where(werner < self._worthwhile, tilt, tilt + step)

    def short(self, werner: Floats) -> Bools:
        """[n] whether W [n] is below the floor, or f(W) is as good as 0."""
        return werner < self._least_werner

    def limited(self, log_signal: Floats) -> Floats:
        """log σ [n], at most where a(W) is taken at its largest."""
        return np.minimum(log_signal, self._most)

    def _value(self, werner: Floats, log_fresh: Floats) -> tuple[Floats, Floats]:
        """log ω a(W) [n], and b [n]."""
        w = np.maximum(werner, self._worthwhile)
        a, slope = measures.elasticities(self._measure, w), measures.elasticity_slopes(self._measure, w)
        return np.log(self._weight * a), np.maximum(slope / a * log_fresh, 0.0)


class Sources:
    """All source controllers, one row each; no row reads another."""

    def __init__(self, a: Arrays, interval: Floats, gains: Gains, aware: bool) -> None:
        self._interval, self._gains, self._aware = interval, gains, aware
        self._weight = a.weight
        self._signals = Signals(a.weight, a.measure, a.log_werner_floor, a.fairness, gains)
        self._lowest, self._highest = a.rate_min, a.rate_max
        self._take(a)
        self._delivery = Delivery(len(a.weight), gains.memory)
        self._given_up = GivingUp(len(a.weight), gains.hopeless)
        self._keep = 1.0 - 1.0 / max(gains.memory, 1.0)
        log_fresh, log_signal = self._signals.first_guess()  # a source's memory before it has heard of anything
        zeros, tilt = np.zeros(len(a.weight)), self._signals.tilt(a.initial_rate, np.exp(log_fresh))
        self._first = np.array([np.log(a.initial_rate), log_signal, log_fresh, zeros, zeros, zeros, zeros, tilt])
        self._memory = self._first.copy()  # [8, R]

    def _take(self, wishes: Arrays | SessionTelemetry) -> None:
        """What the sessions want from now on, and how fast they may inject."""
        self._demand = wishes.min_rate
        self._range = np.maximum(self._lowest, self._demand), np.minimum(self._highest, wishes.rate_cap)
        self._log_range = np.log(self._range[0]), np.log(self._range[1])

    def _follow(self, seen: SessionTelemetry) -> None:
        """Take what the sessions want now; where ω is another one, so is ω a at once."""
        self._take(seen)
        self._signals.take(seen.weight, seen.log_werner_floor)
        change = np.log(seen.weight / self._weight)
        self._weight = seen.weight
        for memory in (self._first, self._memory):
            memory[1] += change

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [R]."""
        self._memory = np.where(rows, self._first, self._memory)
        self._delivery.forget(rows)
        self._given_up.forget(rows)

    def update(self, seen: SessionTelemetry) -> tuple[Floats, Floats]:
        """Rates [R] and signals σ [R]."""
        gains = self._gains
        self._follow(seen)
        log_rate, log_signal, log_fresh, made, arrived, losses, delay, tilt = self._memory
        heard = seen.delivered > 0

        # W, from the ACKs' accumulators: Σ log w as it is now, what storage leaves of it as a mean over deliveries
        log_fresh = np.where(heard, seen.mean_log_werner, log_fresh)
        keep = np.where(heard, self._keep, 1.0)
        made = keep * made + np.where(heard, seen.delivered * np.exp(log_fresh), 0.0)
        arrived = keep * arrived + np.where(heard, seen.sum_werner, 0.0)
        stored = np.divide(arrived, made, out=np.ones_like(made), where=made > 0.0) if self._aware else 1.0
        werner = np.exp(log_fresh) * stored
        latest = np.divide(seen.sum_werner, seen.delivered, out=np.zeros_like(made), where=heard)

        known = np.where(heard, seen.mean_rtt / self._interval, delay)
        delay = np.where(made > 0.0, known, delay + 1.0)
        pace = np.where(heard, 1.0 / np.maximum(gains.spread * delay, 1.0), 0.0)
        log_signal = self._signals.step(log_signal, werner, latest, log_fresh, pace)

        # (15) and the demand; Σ θλ = 0 says that no link on the way knows its price yet
        self._delivery.update(seen)
        answer = np.where(self._delivery.unknown & (seen.nacked > 0), seen.nack_thinned_price, 0.0)
        price = np.where(heard, seen.mean_thinned_price, answer)
        wanted: Floats = np.log(self._weight / np.where(price > 0.0, price, 1.0)) + tilt
        wanted = np.where(price > 0.0, wanted, log_rate)
        wanted = np.maximum(wanted, np.log(self._delivery.injection(self._demand, self._range[0])))

        # nothing but losses, for many times as long as it takes to deliver a pair, say that the way is shut
        losses = np.where(heard, 0.0, losses + seen.dropped)
        share = np.where(self._delivery.unknown, RAREST, np.maximum(self._delivery.share, RAREST))
        shut = losses > gains.losses / share
        wanted = np.where(shut, np.minimum(log_rate, self._first[0]), wanted)
        log_rate = np.clip(log_rate + bounded(wanted - log_rate, gains.rate_step), *self._log_range)

        delivered = np.exp(log_rate) * self._delivery.share
        tilt = np.where(heard, self._signals.next_tilt(tilt, delivered, werner), tilt)
        memory = np.array([log_rate, log_signal, log_fresh, made, arrived, losses, delay, tilt])
        self._give_up(seen.active, memory, werner, latest, price)
        self._memory = np.where(seen.active & ~self._given_up.resting, memory, self._first)
        return self._controls()

    def _give_up(self, active: Bools, memory: Floats, werner: Floats, latest: Floats, price: Floats) -> None:
        """Count what a floor costs as long as W is below it, σ, and what a demand does, R Σ θλ.

        werner: [R] W on average. latest: [R] as it arrived last, 0 if nothing did. price: [R] Σ θλ, NaN if unknown.
        """
        rate, signal, heard = np.exp(memory[0]), np.exp(memory[1]), memory[3] > 0.0
        demanding = self._demand > 0.0
        of_floor = np.where(heard & self._signals.short(np.maximum(werner, latest)), signal, 0.0)
        of_demand = np.where(demanding & (price > 0.0), rate * price / np.exp(memory[7]), 0.0)
        self._given_up.update(np.maximum(of_floor, of_demand) / self._weight, ~demanding & ~self._signals.short(latest))
        self._given_up.forget(~active)

    @property
    def logs(self) -> Floats:
        """[2, R] log R and log σ as they stand (a copy)."""
        return self._memory[:2].copy()

    @property
    def delay(self) -> Floats:
        """[R] the round trip in control intervals; while none was measured, the time since the session began."""
        return self._memory[6]

    def correct(self, steps: Floats) -> tuple[Floats, Floats]:
        """Take further steps [2, R] of log R and log σ after an update: rates [R] and signals σ [R] then."""
        log_rate, log_signal = self._memory[:2] + steps
        demand = np.log(self._delivery.injection(self._demand, self._range[0]))
        log_rate = np.maximum(log_rate, np.minimum(self._memory[0], demand))
        log_rate, log_signal = np.clip(log_rate, *self._log_range), self._signals.limited(log_signal)
        self._memory = np.array([log_rate, log_signal, *self._memory[2:]])
        return self._controls()

    def _controls(self) -> tuple[Floats, Floats]:
        rates, signals = np.clip(np.exp(self._memory[0]), *self._range), np.exp(self._memory[1] + self._memory[7])
        return np.where(self._given_up.resting, self._lowest, rates), np.where(self._given_up.resting, 0.0, signals)


def sum_of_headers(a: Arrays, values: Floats) -> Floats:
    """[L] sums of `values` [H] over the headers of each link."""
    return np.bincount(a.hop_link, weights=values, minlength=len(a.capacity)).astype(np.float64, copy=False)


class Links:
    """All link controllers, one row each; the headers [H] are reached by way of their own link alone."""

    def __init__(self, a: Arrays, interval: Floats, gains: Gains, aware: bool) -> None:
        self._gains = gains
        self._arrays, self._aware = a, aware
        self._lifetime = gains.forget * interval[a.hop_session]
        self._link = a.hop_link
        self._range = a.werner_min, a.werner_max
        self._rates = a.link_rates
        self._log_range = -coordinate(a.werner_max), -coordinate(a.werner_min)
        self._first = -coordinate(np.clip(a.initial_werner, *self._range))
        self._log_loss = self._first  # log(1 - w)
        self._price = np.zeros(len(a.capacity))  # λ, 1/(1/s); 0: not known yet

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [L]."""
        self._log_loss = np.where(rows, self._first, self._log_loss)
        self._price = np.where(rows, 0.0, self._price)

    def update(self, seen: LinkTelemetry, headers: HeaderTelemetry, decay_rate: Floats) -> tuple[Floats, Floats]:
        """Werner parameters [L] and prices [L]. A link that is down, or of which nobody makes use, waits as it is.

        decay_rate: [V] γ of the nodes now; that of its own two nodes is what a link looks up here.
        """
        rho = self._gains.utilisation
        fresh = headers.age <= self._lifetime
        signal = np.where(fresh, self._signals(headers), 0.0)
        arrivals, signals = self._sum(np.where(fresh, headers.rate * headers.thinning, 0.0)), self._sum(signal)
        source = headers.decay_rate  # and for the destination's, which parallel swapping asks for: no header tells it
        gamma = np.where(fresh & self._aware, storage_rates(self._arrays, source, source, decay_rate), 0.0)

        used = (signals > 0.0) & (seen.capacity > 0.0)
        werner = at_coordinate(-self._log_loss)
        made = np.where(used, self._rates.rate(werner, seen.capacity), 1.0)  # C
        cost = np.where(used, self._rates.cost(werner, seen.capacity), 1.0)  # -dC/dw
        cost = np.where(self._rates.knobs, cost, made / (1.0 - werner))  # w cannot be set: as if in `single_click`
        even = np.where(used, signals, 1.0) / (cost * werner)  # the λ' with v = 0
        price = np.where(self._price > 0.0, self._price, even / rho)
        price = np.clip(price, even / PRICE_SPAN, even * PRICE_SPAN)

        slack, own_price = self._slack_and_own_price(price, (1.0 - rho) * made, signal, gamma)
        congestion = self._congestion(seen, (arrivals + slack) / made, used)
        self._step(price, congestion, _log(even / own_price, used), used)
        return self._controls()

    @property
    def logs(self) -> Floats:
        """[2, L] log(1 − w) and log λ as they stand, the latter 0 where λ is not known yet (a copy)."""
        return np.array([self._log_loss, np.log(np.where(self._price > 0.0, self._price, 1.0))])

    def correct(self, steps: Floats) -> tuple[Floats, Floats]:
        """Take further steps [2, L] of log(1 − w) and log λ after an update: Werner parameters and prices [L] then."""
        self._log_loss = np.clip(self._log_loss + steps[0], *self._log_range)
        self._price = self._price * np.exp(steps[1])
        return self._controls()

    def _controls(self) -> tuple[Floats, Floats]:
        return np.clip(at_coordinate(-self._log_loss), *self._range), self._price.copy()

    def _signals(self, headers: HeaderTelemetry) -> Floats:
        """σ_r as the link of each header knows it, [H]."""
        return headers.signal

    def _slack_and_own_price(
        self, price: Floats, least: Floats, signal: Floats, gamma: Floats
    ) -> tuple[Floats, Floats]:
        """s and λ' [L]; `least` is (1 - ρ) C."""
        slack = np.maximum(self._slack(price, signal, gamma), least)
        above = np.maximum(price - self._saving(slack, signal, gamma), 0.0)
        return slack, price - (1.0 - self._gains.utilisation) * above

    def _congestion(self, seen: LinkTelemetry, load: Floats, used: Bools) -> Floats:
        """The residual e [L]; `load` is (y + s) / C."""
        return _log(load, used)

    def _step(self, price: Floats, congestion: Floats, value: Floats, used: Bools) -> None:
        """The links' updates; where w is at the end of its range, the price answers to congestion alone, as in (14)."""
        k, kappa = self._gains.gain, self._gains.damping
        wanted = self._log_loss + k * (congestion - kappa * value)
        log_loss = np.clip(wanted, *self._log_range)
        step = k * np.where(log_loss == wanted, value + kappa * congestion, congestion)
        self._price = np.where(used, price * np.exp(step), self._price)
        self._log_loss = np.where(used, log_loss, self._log_loss)

    def _sum(self, values: Floats) -> Floats:
        return sum_of_headers(self._arrays, values)

    def _saving(self, slack: Floats, signal: Floats, gamma: Floats) -> Floats:
        """g(s), [L]."""
        s = np.where(gamma > 0.0, slack[self._link], 1.0)
        return self._sum(signal * gamma / (s * (s + gamma)))

    def _slack(self, price: Floats, signal: Floats, gamma: Floats) -> Floats:
        """The s with g(s) = λ, [L]; 0 where nobody is stored. Newton's method for log g as a function of log s."""
        stake = self._sum(signal * gamma)
        stores = stake > 0.0
        log_slack = 0.5 * np.log(np.where(stores, stake / price, 1.0))  # exact for Γ much below s
        for _ in range(SLACK_STEPS):
            s = np.exp(log_slack)[self._link]
            terms = signal * gamma / (s * (s + gamma))
            saving = np.where(stores, self._sum(terms), 1.0)
            slope = np.where(stores, self._sum(terms * (1.0 + s / (s + gamma))), 1.0)  # -dg/dlog s
            log_slack += np.where(stores, np.log(saving / price) * saving / slope, 0.0)
        return np.where(stores, np.exp(log_slack), 0.0)


def _usual_werner(measure: Measure) -> float:
    """W with a(W) |log W| = 1, about what the optimality conditions ask for on any network: a source's first guess."""
    lowest = measure.positive_from
    w = lowest + (1.0 - lowest) * np.arange(1, 1000, dtype=np.float64) / 1000.0
    return float(w[np.argmin(np.abs(np.log(measures.elasticity(measure.name, w) * -np.log(w))))])


def bounded(step: Floats, bound: float) -> Floats:
    """`step`, at most `bound` either way."""
    return np.clip(step, -bound, bound)


def _log(ratio: Floats, where: Bools) -> Floats:
    """A residual: log of a ratio, at most one either way; 0 elsewhere."""
    return bounded(np.log(np.where(where, ratio, 1.0)), 1.0)

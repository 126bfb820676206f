"""QPrimalDual-approx and QPrimalDual-PI: other links, the rest as in `qprimaldual.py`.

[paper] arXiv:2510.09371 names both, to save control traffic and to keep queues short. [ours] Their equations were not
to be had: what follows is this project's own.

**approx**: a link does without the sources' signals. It takes W_r for w_l^h, h the hops of r as the header tells them,
as if all links of the route were like itself, and runs for each of its sessions the rule by which a source sets
σ_r = ω_r a_r + μ_r (16). ω_r, f_r, K_r and α it is told once, at the route's set-up. Headers then carry no signal, the
ACKs the prices as ever. Where the links of a route differ, a link worse than the others takes W_r for lower and a_r
for higher than it is, and so, at given prices, makes fewer and better pairs than it should; a better one the contrary.
The fixed point is not the optimum, unless all links are alike.

**PI**: in place of what headers say of rates, a link prices the queue q that it measures, its mean over the interval,
against a set point, as model.md §6 states it:

    λ_l ← [ λ_l + k_P (q - q_previous) + k_I (q - q_ref) ]⁺

Dimensionless, that is the residual of congestion in `qprimaldual.py`, which is zero at q = q_ref,

    e = k_P (q - q_previous) / q_ref + k_I (q / q_ref - 1),     at most 1 either way,     q_ref = ρ / (1 - ρ)

for in equilibrium a link of utilisation ρ holds q_ref on average (M/M/1; model.md §7). The slack is then s = (1 - ρ) C
on every link, asked for by (18) or not, and a unit of capacity gives ρ to traffic and 1 - ρ to slack:

    λ' = ρ λ + (1 - ρ) g(s)

with a_r at the Werner parameter that arrives. The fixed point is the optimum with every utilisation at ρ, if that is
what gives the queue q_ref. Where g alone asks for so much capacity that the queue stays below q_ref, λ falls to zero:
[·]⁺ above. (Without g and at Π w_l, links know nothing of storage and crowd: measured, NSFNET then
loses its longest routes where ρ exceeds 0.6; with a_r as it arrives and without g, where it exceeds 0.5.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnum_gym.agents.giving_up import GivingUp
from qnum_gym.agents.options import Constants, Range, constant, constants
from qnum_gym.agents.policy import POLICIES
from qnum_gym.agents.qprimaldual import QPrimalDual
from qnum_gym.agents.update_rules import Bools, Floats, Gains, Links, Signals, Sources, bounded
from qnum_gym.physics.links import at_coordinate
from qnum_gym.scenarios import Arrays
from qnum_gym.simulator.telemetry import HeaderTelemetry, LinkTelemetry

GIVEN_UP = 0.1  # times a source's first rate: a lowest rate below that says that it has given up


@dataclass(frozen=True, slots=True)
class QueueGains(Gains):
    """Constants of QPrimalDual-PI, those that `configs/policies/qprimaldual-pi.yaml` found, the same for all networks.

    Raises:
        ValueError: a value that is not positive and finite, or `utilisation` not below 1.
    """

    utilisation: float = 0.735  # ρ, which sets the queue: q_ref = ρ / (1 - ρ)
    gain: float = 0.2
    damping: float = 0.986
    rate_step: float = 0.176
    signal_step: float = 0.0391
    memory: float = 44.1
    proportional: float = constant(0.148, Range(0.02, 1.0))  # k_P
    integral: float = constant(0.0312, Range(0.03, 1.0))  # k_I

    def __post_init__(self) -> None:
        Constants.__post_init__(self)
        if self.utilisation == 1.0:
            raise ValueError("gains: utilisation = 1.0: must be below 1, or the set point of the queue is infinite")


@POLICIES.registers("qprimaldual-approx")
class QPrimalDualApprox(QPrimalDual):
    """`qprimaldual-da` without the sources' signals, which the links estimate [ours].

    Args:
        decoherence_aware: keep slack for what storage costs (18), at the signals that the link estimates.
        **gains: fields of `Gains` that shall have other values.

    Raises:
        ValueError: an unknown gain, or one that cannot be.
    """

    stamps = False

    def __init__(self, decoherence_aware: bool = True, **gains: float) -> None:
        super().__init__(decoherence_aware, **gains)

    def controllers(self, a: Arrays, interval: Floats) -> tuple[Sources, Links]:
        """Those of a network."""
        return Sources(a, interval, self.gains, self._aware), EstimatingLinks(a, interval, self.gains, self._aware)


@POLICIES.registers("qprimaldual-pi")
class QPrimalDualPI(QPrimalDual):
    """`qprimaldual-da` with prices that keep the queues at a set point [ours].

    Args:
        **gains: fields of `QueueGains` that shall have other values.

    Raises:
        ValueError: an unknown gain, or one that cannot be.
    """

    gains: QueueGains

    def __init__(self, **gains: float) -> None:
        super().__init__()
        self.gains = constants(QueueGains, gains)

    def controllers(self, a: Arrays, interval: Floats) -> tuple[Sources, Links]:
        """Those of a network."""
        return Sources(a, interval, self.gains, aware=True), QueuePricingLinks(a, interval, self.gains)


class EstimatingLinks(Links):
    """Links that estimate the signals of their sessions, one row per hop.

    A floor that is out of reach raises the estimate as it does a source's signal, and a link gives up by the same rule.
    A source at its lowest rate has given up too: headers do not bring the signal 0 that it has then.
    """

    def __init__(self, a: Arrays, interval: Floats, gains: Gains, aware: bool) -> None:
        super().__init__(a, interval, gains, aware)
        r = a.hop_session
        self._rule = Signals(a.weight[r], a.measure[r], a.log_werner_floor[r], a.fairness[r], gains)
        rare = a.rate_min < GIVEN_UP * a.initial_rate  # else the lowest rate may be what a session is best served with
        self._lowest = np.where(rare, a.rate_min, 0.0)[r]
        log_fresh, first_signal = self._rule.first_guess()
        self._first_memory = np.array([first_signal, self._rule.tilt(a.initial_rate[r], np.exp(log_fresh))])
        self._log_signal, self._tilt = self._first_memory  # [H]
        self._weight, self._given_up = a.weight[r], GivingUp(len(r), gains.hopeless)

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [L]."""
        super().forget(rows)
        self._log_signal, self._tilt = np.where(rows[self._link], self._first_memory, (self._log_signal, self._tilt))
        self._given_up.forget(rows[self._link])

    def _signals(self, headers: HeaderTelemetry) -> Floats:
        log_werner = headers.hops.astype(np.float64) * np.log(at_coordinate(-self._log_loss))[self._link]
        werner = np.exp(log_werner)
        self._log_signal = self._rule.step(self._log_signal, werner, werner, log_werner)
        heard = headers.rate > 0.0
        self._tilt = np.where(
            heard, self._rule.next_tilt(self._tilt, np.where(heard, headers.rate, 1.0), werner), self._tilt
        )
        short = self._rule.short(werner)
        self._given_up.update(np.where(short, np.exp(self._log_signal), 0.0) / self._weight, ~short)
        self._given_up.forget(headers.age > self._lifetime)
        resting = self._given_up.resting
        self._log_signal = np.where(resting, self._first_memory[0], self._log_signal)
        counts = (headers.rate > self._lowest) & ~resting
        return np.where(counts, np.exp(self._log_signal + self._tilt), 0.0)


class QueuePricingLinks(Links):
    """Links that price the queue they measure."""

    def __init__(self, a: Arrays, interval: Floats, gains: QueueGains) -> None:
        super().__init__(a, interval, gains, aware=True)
        self._set_point = gains.utilisation / (1.0 - gains.utilisation)
        self._proportional, self._integral = gains.proportional, gains.integral
        self._queue = np.zeros(len(a.capacity))  # in the interval before

    def forget(self, rows: Bools) -> None:
        """Begin anew where `rows` [L]."""
        super().forget(rows)
        self._queue = np.where(rows, 0.0, self._queue)

    def _slack_and_own_price(
        self, price: Floats, least: Floats, signal: Floats, gamma: Floats
    ) -> tuple[Floats, Floats]:
        rho = self._gains.utilisation
        return least, rho * price + (1.0 - rho) * self._saving(least, signal, gamma)

    def _congestion(self, seen: LinkTelemetry, load: Floats, used: Bools) -> Floats:
        queue = seen.mean_queue / self._set_point
        residual = self._proportional * (queue - self._queue) + self._integral * (queue - 1.0)
        self._queue = queue
        return np.where(used, bounded(residual, 1.0), 0.0)

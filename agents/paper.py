"""QPrimalDual as the paper has it: (14) to (17) of model.md §6 literally, on header information only.

[paper] arXiv:2510.09371, in additive steps, with the gains quoted there. Once per control interval a link takes

    (14)  λ_l ← [ λ_l + k_λ ( Σ_{r∋l} R_r − ρ d_l (1 − w_l) ) ]⁺
    (17)  w_l ← clip( w_l + k_w ( −ρ d_l λ_l + Σ_{r∋l} σ_r / w_l ) ),    σ_r = ω_r a_r + μ_r

the second with the new λ_l, and a source

    (15)  R_r = ω_r / Σ_{l∈r} λ_l     α-fair (29): R_r^α = ω_r f(W_r)^(1 − α) / Σ λ_l, and ω_r a_r is times x_r^(1 − α)
    (16)  μ_r ← [ μ_r + k_μ ( K_r − log W_r ) ]⁺

with ρ = 1, and no bounds but those of `rate_range` and `werner_range`. These steps are small: the fluid model takes
tens of thousands of them. So the policy acts every 0.01 s, `interval`, whatever the scenario's control interval is.

[ours], as the paper does not say it, or says it of a model without messages: R_r and σ_r are those of the last header
that the link saw, within `forget` seconds; W_r = Π w_l and Σ λ_l are means over the last ACKs that came. Until the
first one R_r stays as it is, and W_r is 0.967 for each hop. A price begins where (17) stands still. Where f(W_r) <= 0
there is no a_r: it is taken at the W a thousandth above where f becomes positive. With other link models than
`single_click` the rate C stands for d_l (1 − w_l) and −dC/dw for d_l; where w cannot be set, (14) is all a link does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnum_gym.agents.options import Constants, constant, constants
from qnum_gym.agents.policy import POLICIES, Bools, Policy, Seen
from qnum_gym.agents.update_rules import Floats, sum_of_headers
from qnum_gym.optimum.fluid import FIDELITY, MARGIN, PRICE, WERNER
from qnum_gym.physics import measures
from qnum_gym.simulator import Controls

FIRST_WERNER = 0.967  # w that a source supposes of all links until its first ACK: the paper's w_l(0)


@dataclass(frozen=True, slots=True)
class PaperGains(Constants):
    """Constants of `qprimaldual-paper`.

    Raises:
        ValueError: a value that is not positive and finite, or `utilisation` above 1.
    """

    price: float = PRICE  # k_λ
    fidelity: float = FIDELITY  # k_μ
    werner: float = WERNER  # k_w
    utilisation: float = constant(1.0, share=True)  # ρ
    interval: float = 0.01  # s between two updates
    forget: float = 30.0  # s after which a link forgets a session's header


@POLICIES.registers("qprimaldual-paper")
class QPrimalDualPaper(Policy):
    """(14) to (17) literally, every 0.01 s.

    Args:
        **gains: fields of `PaperGains` that shall have other values.

    Raises:
        ValueError: an unknown gain, or one that cannot be.
    """

    local = True

    def __init__(self, **gains: float) -> None:
        self.gains = constants(PaperGains, gains)
        self.interval = self.gains.interval

    def prepare(self) -> None:
        """Read the networks.

        Raises:
            ValueError: with `fairness` 0 (15) gives no rate.
        """
        a = self.networks.arrays
        if (a.fairness == 0.0).any():
            raise ValueError("qprimaldual-paper: fairness = 0: its (15) gives no rate; valid: above 0")
        self._rates = a.link_rates
        self._lowest = measures.positive_from(a.measure) * (1.0 + MARGIN)
        log_werner = np.diff(a.hop_start) * np.log(FIRST_WERNER)
        self._first = a.initial_rate, np.zeros(len(a.weight)), log_werner, a.initial_werner
        self._price = np.full(len(a.capacity), np.nan)  # λ; NaN: not known yet
        self._rate, self._floor_price, self._log_werner, self._werner = self._first  # R, μ, log W, w

    def forget(self, which: Bools) -> None:
        """Nothing is drawn: `seeds` are unused."""
        sessions, links = self.networks.rows(which)
        rate, floor_price, log_werner, werner = self._first
        self._rate = np.where(sessions, rate, self._rate)
        self._floor_price = np.where(sessions, floor_price, self._floor_price)
        self._log_werner = np.where(sessions, log_werner, self._log_werner)
        self._werner, self._price = np.where(links, werner, self._werner), np.where(links, np.nan, self._price)

    def act(self, seen: Seen) -> Controls:
        """One update of every source and every link, each from its own rows."""
        signals = self._sources(seen)
        self._links(seen)
        return Controls(self._rate, self._werner, signals, np.where(np.isnan(self._price), 0.0, self._price))

    def _sources(self, seen: Seen) -> Floats:
        """(15) and (16); signals σ [R]."""
        a, now, heard = self.networks.arrays, seen.sessions, seen.sessions.delivered > 0
        self._log_werner = np.where(heard, seen.sessions.mean_log_werner, self._log_werner)
        werner, bias = np.maximum(np.exp(self._log_werner), self._lowest), 1.0 - a.fairness
        worth = measures.values(a.measure, werner)
        price = np.where(heard, seen.sessions.mean_price, np.nan)
        wanted = np.divide(now.weight * worth**bias, price, out=np.full_like(price, np.inf), where=price != 0.0)
        wanted = np.clip(wanted ** (1.0 / a.fairness), a.rate_min, np.minimum(a.rate_max, now.rate_cap))
        self._rate = np.where(heard, wanted, self._rate)
        step = self.gains.fidelity * (now.log_werner_floor - self._log_werner)  # -inf without a floor
        self._floor_price = np.maximum(self._floor_price + step, 0.0)
        tilted = now.weight * (self._rate * worth) ** bias
        return tilted * measures.elasticities(a.measure, werner) + self._floor_price

    def _links(self, seen: Seen) -> None:
        """(14) and (17)."""
        a, gains, headers, d = self.networks.arrays, self.gains, seen.headers, seen.links.capacity
        fresh = headers.age <= gains.forget
        arrivals = sum_of_headers(a, np.where(fresh, headers.rate, 0.0))
        value = sum_of_headers(a, np.where(fresh, headers.signal, 0.0)) / self._werner
        room = gains.utilisation * self._rates.rate(self._werner, d)
        cost = gains.utilisation * self._rates.cost(self._werner, d)
        used = (value > 0.0) & (d > 0.0)
        slope = np.where(cost > 0.0, cost, room / (1.0 - self._werner))  # where w cannot be set: as in `single_click`
        still = np.divide(value, slope, out=np.zeros_like(value), where=used)
        price = np.where(np.isnan(self._price), still, self._price)
        price = np.maximum(price + gains.price * (arrivals - room), 0.0)
        werner = np.clip(self._werner + gains.werner * (value - cost * price), a.werner_min, a.werner_max)
        self._price, self._werner = np.where(used, price, self._price), np.where(used, werner, self._werner)

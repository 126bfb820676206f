"""`qprimaldual-paper` against its four equations, written out as plain loops over sessions and links."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, evaluation, optimum
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator, Telemetry


@dataclass
class Plain:
    """(14) to (17) for one network whose sessions all have the measure `negativity`, single-click links."""

    scenario: Scenario
    rho: float
    k_price: float = 5e-6
    k_floor: float = 1e-2
    k_werner: float = 5e-5
    rates: list[float] = field(default_factory=list[float])
    floors: list[float] = field(default_factory=list[float])
    signals: list[float] = field(default_factory=list[float])
    werner: list[float] = field(default_factory=list[float])
    prices: dict[int, float] = field(default_factory=dict[int, float])
    log_w: dict[int, float] = field(default_factory=dict[int, float])

    def __post_init__(self) -> None:
        self.rates = [1.0 for _ in self.scenario.sessions]
        self.floors = [0.0 for _ in self.scenario.sessions]
        self.werner = [0.967 for _ in self.scenario.links]

    def act(self, seen: Telemetry) -> None:
        self.signals = []
        low, high = self.scenario.rate_range
        for r, session in enumerate(self.scenario.sessions):
            if seen.sessions.delivered[r]:
                self.log_w[r] = seen.sessions.mean_log_werner[r]
            log_w = self.log_w.get(r, 3 * math.log(0.967))
            w = max(math.exp(log_w), 1.001 / 3)
            worth, alpha = (3 * w - 1) / 4, self.scenario.fairness
            if seen.sessions.delivered[r]:
                wanted = (session.weight * worth ** (1 - alpha) / seen.sessions.mean_price[r]) ** (1 / alpha)  # (15)
                self.rates[r] = min(max(wanted, low), high)
            if session.min_fidelity is not None:
                k = math.log((4 * session.min_fidelity - 1) / 3)
                self.floors[r] = max(self.floors[r] + self.k_floor * (k - log_w), 0.0)  # (16)
            value = session.weight * (self.rates[r] * worth) ** (1 - alpha) * 3 * w / (3 * w - 1)
            self.signals.append(value + self.floors[r])
        for l in range(len(self.scenario.links)):
            rows = [h for h in range(len(seen.headers.link)) if seen.headers.link[h] == l and seen.headers.age[h] <= 30]
            if not rows:
                continue
            d, w = seen.links.capacity[l], self.werner[l]
            signal = sum(seen.headers.signal[h] for h in rows)
            price = self.prices.get(l, signal / (self.rho * d * w))
            load = sum(seen.headers.rate[h] for h in rows)
            self.prices[l] = max(price + self.k_price * (load - self.rho * d * (1 - w)), 0.0)  # (14)
            step = self.k_werner * (-self.rho * d * self.prices[l] + signal / w)  # (17), with the new price
            self.werner[l] = min(max(w + step, 0.5), 0.999)


@pytest.mark.parametrize(("rho", "alpha"), [(1.0, 1.0), (0.9, 1.0), (1.0, 2.0)])
def test_the_equations(rho: float, alpha: float) -> None:
    s = qnum_gym.scenario("dumbbell", measure="negativity", coherence_time=50.0, control_interval=0.01, fairness=alpha)
    own = [{"weight": 2.0}, {"min_fidelity": 0.85}, {}]
    s = s.replace(sessions=[session.model_copy(update=x) for session, x in zip(s.sessions, own, strict=True)])
    policy, plain, simulator = agents.make("qprimaldual-paper", utilisation=rho), Plain(s, rho), Simulator(s, 1)
    policy.reset(s)
    for _ in range(800):
        seen = simulator.advance(0.01)
        plain.act(seen)
        x = policy.act(seen)
        assert x.session_signals is not None
        assert x.link_signals is not None
        np.testing.assert_allclose(x.rates, plain.rates, rtol=1e-10)
        np.testing.assert_allclose(x.werner, plain.werner, rtol=1e-10)
        np.testing.assert_allclose(x.session_signals, plain.signals, rtol=1e-10)
        np.testing.assert_allclose(x.link_signals, [plain.prices.get(l, 0.0) for l in range(7)], rtol=1e-9)
        simulator.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
    assert len(plain.prices) == 7
    assert plain.floors[1] > 0.0 or alpha > 1.0


def test_where_it_leads_with_perfect_memories() -> None:
    """To the optimum of model.md §5, with every utilisation at most 0.9."""
    s = qnum_gym.scenario("dumbbell", measure="negativity", coherence_time=math.inf, control_interval=0.01)
    best = optimum.solve(s, max_utilisation=0.9)
    policy, simulator = agents.make("qprimaldual-paper", utilisation=0.9), Simulator(s, 0)
    policy.reset(s)
    for _ in range(5_000):
        x = policy.act(simulator.advance(0.01))
        simulator.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
    np.testing.assert_allclose(x.rates, best.rates, rtol=0.02)
    np.testing.assert_allclose(x.werner, best.werner, rtol=0.02)


def test_a_sum_of_rates_gives_no_rate() -> None:
    with pytest.raises(ValueError, match=r"qprimaldual-paper: fairness = 0: .* valid: above 0"):
        agents.make("qprimaldual-paper").reset(qnum_gym.scenario("dumbbell", fairness=0.0))


def test_it_acts_in_its_own_interval() -> None:
    s = qnum_gym.scenario("dumbbell", episode_length=10)
    own = s.replace(control_interval=0.01, episode_length=1000)
    jobs = [evaluation.Job(agents.make("qprimaldual-paper"), scenario, [3]) for scenario in (s, own)]
    (coarse,), (fine,) = evaluation.run(jobs)
    for name, value in coarse.items():
        np.testing.assert_array_equal(value, fine[name])

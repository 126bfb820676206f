"""QPrimalDual's single steps by hand: residuals, bounds, ends of ranges, the slack of (18); losses and demands."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from test_policies import Run, ratios

import qnum_gym
from qnum_gym import agents
from qnum_gym.agents.delivery import Delivery
from qnum_gym.agents.giving_up import PATIENCE, REST, SHORTEST
from qnum_gym.agents.update_rules import Gains, Links, Signals, Sources
from qnum_gym.optimum import Problem
from qnum_gym.scenarios import Link, LinkEvent, Session
from qnum_gym.scenarios.arrays import WISHES

Seen: Any = SimpleNamespace  # in place of telemetry
GAINS = Gains()
K, KAPPA, RHO = 0.3, 0.7, 0.95  # the defaults

# --- links ------------------------------------------------------------------------------------------------------------


class OneLink:
    """The link of a network of one, as `qprimaldual` runs it: S is 1, y what its headers announce."""

    def __init__(self, gains=GAINS, **options):
        self.a = qnum_gym.scenario("chain", nodes=2, **options).arrays()
        self.links = Links(self.a, np.ones(1), gains, aware=False)
        self.d, self.w = self.a.capacity[0], self.a.initial_werner[0]

    def update(self, rate, thinning=1.0):
        """w and λ after an update."""
        one = np.ones(1)
        headers = Seen(age=0.0 * one, rate=rate * one, thinning=thinning * one, signal=one, decay_rate=0.0 * one)
        w, price = self.links.update(Seen(capacity=self.a.capacity), headers, self.a.decay_rate)
        return w[0], price[0]


def log_step(link, before, after):
    """Steps of log(1 - w) and log λ."""
    return [math.log((1.0 - after[0]) / (1.0 - before[0])), math.log(after[1] / before[1])]


def test_a_step_of_a_link_by_hand():
    """Residuals of moderate size: with λ = S/(ρ d w), where v = 0, then from there."""
    link = OneLink()
    c = link.d * (1.0 - link.w)
    start = link.w, 1.0 / (RHO * link.d * link.w)
    e = math.log(0.5 + 1.0 - RHO)
    first = link.update(0.5 * c)
    assert log_step(link, start, first) == pytest.approx([K * e, K * KAPPA * e])
    w, price = first
    e = math.log(0.8 * c / (link.d * (1.0 - w)) + 1.0 - RHO)
    v = math.log(1.0 / (link.d * w * RHO * price))
    assert abs(v) > 0.05
    second = link.update(1.6 * c, thinning=0.5)
    assert log_step(link, first, second) == pytest.approx([K * (e - KAPPA * v), K * (v + KAPPA * e)])


@pytest.mark.parametrize(("load", "bound"), [(1e3, 1.0), (1e-3, None)])
def test_a_residual_counts_as_one_at_most(load, bound):
    link = OneLink()
    start = link.w, 1.0 / (RHO * link.d * link.w)
    after = link.update(load * link.d * (1.0 - link.w))
    e = -1.0 if bound is None else bound  # log(1e-3 + 0.05) is below -2
    assert log_step(link, start, after) == pytest.approx([K * e, K * KAPPA * e])


def test_a_price_answers_to_congestion_alone_where_w_is_at_the_end_of_its_range():
    link = OneLink(werner_range=(0.9, 0.999), initial_werner=0.9)  # overloaded: w would fall
    c = link.d * (1.0 - 0.9)
    e = math.log(1.2 + 1.0 - RHO)
    start = 0.9, 1.0 / (RHO * link.d * 0.9)
    after = link.update(1.2 * c)
    assert after[0] == pytest.approx(0.9)
    assert log_step(link, start, after)[1] == pytest.approx(K * e)  # (14); with the crossed term it were κ times that
    again = link.update(1.2 * c)
    assert log_step(link, after, again)[1] == pytest.approx(K * e)


def test_a_price_that_finds_no_balance_stays_within_a_factor_of_ten_thousand():
    """A source that does not answer, and w at the end of its range: λ would grow, or fall, for ever."""
    link = OneLink(werner_range=(0.9, 0.99), initial_werner=0.9)
    even = 1.0 / (link.d * 0.9)
    found = [link.update(5.0 * link.d)[1] for _ in range(100)][-1]
    assert found / even == pytest.approx(1e4 * math.exp(K))  # the last step comes after the bound
    found = [link.update(1e-3)[1] for _ in range(200)][-1]
    even = 1.0 / (link.d * 0.99)
    assert found / even == pytest.approx(1e-4 * math.exp(-K))


@pytest.mark.parametrize(
    ("gammas", "signals", "price"),
    [
        ((0.2, 0.02), (1.0, 3.0), 0.1),
        ((50.0, 50.0), (1.0, 3.0), 10.0),
        ((1e-4, 300.0), (1.0, 3.0), 1e-3),
        ((9526.32403, 4.50954451e-4), (0.41541825, 33.80782674), 37928.07426578),  # the slowest of 3000 at random
    ],
)
def test_slack_solves_its_equation_to_the_last_digits(gammas, signals, price):
    """g(s) = λ of (18), against a bracketing root finder."""
    base = qnum_gym.scenario("dumbbell", sessions=2)
    a = base.arrays()
    links = Links(a, np.ones(2), GAINS, aware=True)
    (bottleneck,) = [l for l in range(len(a.capacity)) if (a.hop_link == l).sum() == 2]
    signal = np.array(signals)[a.hop_session]
    gamma = np.where(a.hop_link == bottleneck, np.array(gammas)[a.hop_session], 0.0)
    slack = links._slack(np.full(len(a.capacity), price), signal, gamma)

    def saving(log_s):
        s = math.exp(log_s)
        return math.log(sum(x * g / (s * (s + g)) for x, g in zip(signals, gammas, strict=True)) / price)

    assert math.log(slack[bottleneck]) == pytest.approx(brentq(saving, -30.0, 30.0, xtol=1e-14), abs=1e-12)
    assert (np.delete(slack, bottleneck) == 0.0).all()


# --- sources ----------------------------------------------------------------------------------------------------------


def test_a_signal_stops_where_a_floor_is_out_of_reach():
    """A floor that W never keeps would raise σ for ever: it ends at ω times the largest a(W) that counts."""
    signals = Signals(np.array([2.0]), np.array([1]), np.array([math.log(0.99)]), np.ones(1), GAINS)
    log_signal, w = np.zeros(1), np.array([0.8])
    for _ in range(1000):
        log_signal = signals.step(log_signal, w, w, np.log(w))
    assert math.exp(log_signal[0]) == pytest.approx(2.0 / 0.001)
    assert signals.limited(np.array([99.0]))[0] == log_signal[0]


class OneSource:
    """The source of a session over a chain, played its news by hand."""

    def __init__(self, gains=GAINS, **session):
        base = qnum_gym.scenario("chain", nodes=3)
        session = Session(**{**dict(base.sessions[0]), "initial_rate": 1.0, **session})
        arrays = base.replace(sessions=[session]).arrays()
        self.wishes = {name: getattr(arrays, name) for name in WISHES}
        self.sources = Sources(arrays, np.ones(1), gains, aware=True)

    def hear(self, delivered=0, nacked=0, price=0.1, nack_price=0.1, werner=0.95):
        """R after an interval's news."""
        one, some = np.ones(1), delivered > 0
        seen = Seen(
            active=one > 0.0,
            **self.wishes,
            delivered=delivered * one,
            dropped=nacked * one,
            nacked=nacked * one,
            sum_werner=werner * delivered * one,
            mean_log_werner=math.log(0.95) * one if some else math.nan * one,
            mean_rtt=0.1 * one if some else math.nan * one,
            mean_thinned_price=price * one if some else math.nan * one,
            nack_thinned_price=nack_price * one if nacked else math.nan * one,
        )
        rates, signals = self.sources.update(seen)
        self.signal = signals[0]
        return rates[0]


@pytest.mark.parametrize("share", [1.0, 0.2, 0.001])
def test_a_way_is_shut_after_many_times_the_losses_that_precede_an_ack(share):
    """20 times 1/share of them, at most 2000; one loss less is not enough."""
    source, per_ack = OneSource(), round(1.0 / share)
    for _ in range(40):
        rate = source.hear(delivered=1, nacked=per_ack - 1)
    assert rate == pytest.approx(10.0)
    limit = 20 * min(per_ack, 100)
    assert source.hear(nacked=limit) == pytest.approx(10.0)
    assert source.hear() == pytest.approx(10.0)
    assert source.hear(nacked=1) == pytest.approx(10.0 * math.exp(-GAINS.rate_step))
    assert source.hear() < 9.0
    for _ in range(20):
        rate = source.hear(nacked=1)
    assert rate == 1.0
    assert source.hear(delivered=1) == pytest.approx(math.exp(GAINS.rate_step))


def test_a_source_below_its_first_rate_stays_there_when_the_way_is_shut():
    source = OneSource()
    for _ in range(10):
        source.hear(delivered=10, price=4.0)
    assert source.hear(nacked=100) == pytest.approx(0.25)


def test_before_its_first_ack_a_source_goes_by_nacks():
    """Else a way that delivers one in a hundred would be found only after hours at the first rate."""
    source = OneSource()
    for _ in range(20):
        rate = source.hear(nacked=10, nack_price=0.2)
    assert rate == pytest.approx(5.0)
    source.hear(delivered=1, price=0.25)
    assert source.hear(delivered=1, nacked=10, price=0.25, nack_price=0.1) == pytest.approx(4.0)
    assert source.hear(nacked=10, nack_price=0.1) == pytest.approx(4.0)


def test_a_source_without_an_ack_gives_up_after_two_thousand_losses():
    source = OneSource()
    rates = [source.hear(nacked=100, nack_price=0.2) for _ in range(40)]
    assert rates[19] == pytest.approx(5.0)
    assert rates[20] == pytest.approx(5.0 * math.exp(-0.4))
    assert rates[-1] == 1.0


@pytest.mark.parametrize("gap", [2, 10])
def test_what_a_source_does_depends_on_its_news_not_on_the_intervals_between(gap):
    """Averages and steps of the signal wait for the next ACK: W of old would be answered again and again."""
    often, rarely = OneSource(), OneSource()
    for price in (0.3, 0.1, 0.2) * 20:
        rate = often.hear(delivered=1, price=price)
        assert rarely.hear(delivered=1, price=price) == rate
        for _ in range(gap - 1):
            assert rarely.hear() == rate
        assert np.array_equal(often.sources.logs, rarely.sources.logs)


def test_the_share_delivered_is_acks_over_acks_and_losses():
    delivery, one = Delivery(1, 30.0), np.ones(1)
    hear = lambda acks, losses: delivery.update(  # noqa: E731
        Seen(delivered=acks * one, dropped=losses * one, active=one > 0.0)
    )
    hear(0, 7)
    assert delivery.unknown[0]
    assert delivery.share[0] == 1.0
    for _ in range(200):
        hear(3, 5)
        hear(0, 4)
    assert delivery.share[0] == pytest.approx(0.25, rel=1e-3)
    hear(0, 10_000)  # shut: nothing is learnt until there is an ACK again
    assert delivery.share[0] == pytest.approx(0.25, rel=1e-3)
    hear(10_000, 0)
    assert delivery.share[0] == pytest.approx(0.5, rel=0.05)
    delivery.forget(np.array([True]))
    assert delivery.unknown[0]


# --- demands are of delivered pairs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["qprimaldual", "qprimaldual-da", "qprimaldual-approx", "qprimaldual-pi", "aimd"])
def test_a_demand_is_injected_by_so_much_more_as_is_lost(policy):
    """All that a source needs is ACKs and losses: here a third gets through."""
    demand = 2.5 if policy == "aimd" else 5.0  # its one w leaves the bottleneck with 26 pairs/s for all three
    scenario = qnum_gym.scenario("dumbbell", swap_success=math.sqrt(1.0 / 3.0), rate_range=(0.01, 80.0))
    demanding = scenario.replace(sessions=[Session(**{**dict(x), "min_rate": demand}) for x in scenario.sessions])
    run = Run(demanding, agents.make(policy), 0, 300)
    delivered = run.delivered[100:].sum(axis=0) / 200.0
    assert (delivered > demand * (1.0 - 3.0 / math.sqrt(200.0 * demand))).all()  # three standard errors
    greedy = scenario.replace(sessions=[Session(**{**dict(x), "min_rate": 60.0}) for x in scenario.sessions])
    rates = np.array([controls.rates for controls in Run(greedy, agents.make(policy), 0, 40).controls])
    assert rates.max() <= 80.0


@pytest.mark.parametrize(("name", "demand"), [("qprimaldual-da", 15.0), ("aimd", 8.0)])
def test_a_demand_of_one_session_is_met_on_packets(name, demand):
    """Swap success 0.7: to inject what is asked for would deliver half of it."""
    base = qnum_gym.scenario("dumbbell", swap_success=0.7)
    demanding = Session(**{**dict(base.sessions[0]), "min_rate": demand})
    scenario = base.replace(sessions=[demanding, *base.sessions[1:]])
    delivery = Problem.from_scenario(scenario).delivery[0]
    assert delivery == pytest.approx(0.49)
    run = Run(scenario, agents.make(name), 1, 300)
    assert run.delivered[150:, 0].sum() / 150.0 == pytest.approx(demand, rel=0.08)  # 1200 pairs at least
    rates = [controls.rates[0] for controls in run.controls[150:]]
    assert np.mean(rates) == pytest.approx(demand / delivery, rel=0.08)


# --- losses, on packets -----------------------------------------------------------------------------------------------

LOSSES = {
    "swaps": qnum_gym.scenario("nsfnet", swap_success=0.5),
    "chain": qnum_gym.scenario("chain", nodes=9, swap_success=0.7),
    "messages": qnum_gym.scenario("dumbbell", message_loss=0.2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_aware_controllers_reach_the_oracle_where_much_is_lost(name):
    """Measured over 10 seeds and 1000 intervals in docs/policies.md, all about 1."""
    assert ratios(LOSSES[name], "qprimaldual-da", range(2), 600).mean() > 0.9


def test_a_lossy_way_that_is_shut_is_found_out_and_opens_again():
    base = qnum_gym.scenario("dumbbell", swap_success=0.5)
    bottleneck = (base.links[3].a, base.links[3].b)
    events = [LinkEvent(time=100.0, link=bottleneck, up=False), LinkEvent(time=150.0, link=bottleneck, up=True)]
    run = Run(base.replace(events=events), agents.make("qprimaldual-da"), 0, 300)
    assert (run.controls[99].rates > 10.0).all()
    assert (run.controls[149].rates <= 1.0).all()
    assert run.geometric_mean(200, 300) > 0.85 * run.geometric_mean(50, 100)


def test_a_way_that_is_shut_from_the_beginning_is_given_up():
    base = qnum_gym.scenario("chain", nodes=4)
    dead = (base.links[2].a, base.links[2].b)
    links = [Link(**dict(x)) for x in base.links]
    scenario = base.replace(links=links, events=[LinkEvent(time=0.0, link=dead, up=False)])
    run = Run(scenario, agents.make("qprimaldual-da"), 0, 300)
    assert (run.controls[-1].rates <= 1.0).all()


# --- what is out of reach ---------------------------------------------------------------------------------------------


def test_a_source_below_its_floor_lets_go_of_rate_and_signal_and_comes_back() -> None:
    one = OneSource(min_fidelity=0.98)
    rates, signals = [], []
    for _ in range(100):
        rates.append(one.hear(delivered=5))
        signals.append(one.signal)
    given_up = signals.index(0.0)
    assert signals[given_up - 1] > 300.0  # ω = 1
    assert np.all(np.array(signals[given_up:]) == 0.0)
    assert np.all(np.array(rates[given_up:]) == 0.01)  # the lowest
    good = [one.hear(delivered=5, werner=0.99) for _ in range(int(REST * SHORTEST))]
    assert good[-1] > 0.01
    assert one.signal > 0.0


def test_a_demand_that_costs_too_much_is_given_up() -> None:
    one = OneSource(min_rate=50.0)
    assert one.hear(delivered=50, price=1.0) == 50.0
    rates = [one.hear(delivered=50, price=6.1) for _ in range(int(PATIENCE))]
    assert rates == [50.0] * 19 + [0.01]
    patient = OneSource(min_rate=50.0)
    assert [patient.hear(delivered=50, price=5.9) for _ in range(50)][-1] == 50.0

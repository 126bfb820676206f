"""QPrimalDual's fixed point, and what it does on packets."""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.agents.update_rules import PRICE_SPAN, Gains, Signals
from qnum_gym.optimum import Problem
from qnum_gym.physics import measures, werner
from qnum_gym.rules import HOLDS
from qnum_gym.scenarios import Link, LinkEvent, Node, Scenario, Session
from qnum_gym.scenarios.arrays import WISHES
from qnum_gym.simulator import Controls, Simulator

CAP = 0.95  # utilisation of the controllers


# --- the fluid network: formulas in place of packets ------------------------------------------------------------------


def fluid_telemetry(problem: Problem, controls: Controls | None, time: float) -> Any:
    """What the controllers would measure in a network without randomness that is in balance at every moment."""
    a = problem.arrays
    begun = controls is not None
    if controls is None:
        controls = Controls(a.initial_rate, a.initial_werner, 0.0 * a.initial_rate, 0.0 * a.initial_werner)
    stamped = 0.0 * a.weight if controls.session_signals is None else controls.session_signals
    traffic, delivered = problem.arrivals(controls.rates), problem.expected_delivery(controls.rates)
    load = np.minimum(traffic / (a.capacity * (1.0 - controls.werner)), 0.99)
    assert controls.link_signals is not None
    prices = controls.link_signals[a.hop_link]
    along = lambda x: np.add.reduceat(x, a.hop_start[:-1])  # noqa: E731
    return SimpleNamespace(
        times=np.array([time]),
        sessions=SimpleNamespace(
            active=a.active,
            **{name: getattr(a, name) for name in WISHES},
            delivered=delivered * begun,
            dropped=(controls.rates - delivered) * begun,
            nacked=0.0 * controls.rates,
            mean_rtt=0.0 * controls.rates,
            mean_price=along(prices),
            mean_thinned_price=along(problem.thinning * prices),
            nack_thinned_price=0.0 * controls.rates,
            mean_log_werner=along(np.log(controls.werner)[a.hop_link] + problem.gate_log),
            sum_werner=delivered * problem.expected_werner(controls.rates, controls.werner),
        ),
        links=SimpleNamespace(capacity=a.capacity, mean_queue=load / (1.0 - load) * begun),
        headers=SimpleNamespace(
            age=np.full(len(a.hop_link), 0.0 if begun else np.inf),
            rate=controls.rates[a.hop_session],
            thinning=problem.thinning,
            signal=stamped[a.hop_session],
            hops=np.diff(a.hop_start)[a.hop_session],
            decay_rate=a.end_decay_rates[0][a.hop_session],
        ),
    )


def settled(scenario: Scenario, policy: Any) -> Any:
    """The controls after so many intervals on the fluid network; none here takes more than 470 to come within 1e-6."""
    problem, controls = Problem.from_scenario(scenario), None
    policy.reset(scenario, 0)
    for i in range(600):
        controls = policy.act(fluid_telemetry(problem, controls, float(i)))
    return controls


def mixed_network(seed, floors=False, swap_success=1.0):
    """Everybody different: memories, fibres, weights, measures; with `floors` also fidelity floors and a demand."""
    rng = np.random.default_rng(seed)
    base = qnum_gym.scenario("waxman", nodes=12, seed=seed, sessions=8)
    sessions = [
        {**dict(x), "weight": rng.uniform(0.5, 3.0), "measure": measures.MEASURES.names()[rng.integers(3)]}
        for x in base.sessions
    ]
    scenario = base.replace(
        nodes=[Node(name=x.name, coherence_time=rng.uniform(5.0, 100.0)) for x in base.nodes],
        links=[Link(**{**dict(x), "coupling": rng.uniform(0.3, 1.0)}) for x in base.links],
        sessions=[Session(**x) for x in sessions],
        swap_success=swap_success,
    )
    if not floors:
        return scenario
    free = optimum.solve(scenario, decoherence=True, max_utilisation=CAP)
    for r, session in enumerate(sessions):
        if r % 2 == 0:
            session["min_fidelity"] = werner.fidelity(1.02 * free.expected_werner[r])
    sessions[1]["min_rate"] = 1.05 * Problem.from_scenario(scenario).expected_delivery(free.rates)[1]
    return scenario.replace(sessions=[Session(**x) for x in sessions])


def of_mixed_holds(base):
    """Sessions in turn of each hold."""
    held = [{**dict(x), "hold": HOLDS.names()[r % len(HOLDS)]} for r, x in enumerate(base.sessions)]
    return base.replace(sessions=[Session(**x) for x in held], feedback_delay=0.05)


FLUID = {
    "dumbbell": qnum_gym.scenario("dumbbell"),
    "nsfnet": qnum_gym.scenario("nsfnet"),
    "surfnet": qnum_gym.scenario("surfnet"),
    "negativity": qnum_gym.scenario("dumbbell", measure="negativity"),
    "tight": qnum_gym.scenario("dumbbell", coherence_time=1.0),
    "mixed": mixed_network(1),
    "gates": qnum_gym.scenario("chain", gate_factor=0.99),
    "swaps": qnum_gym.scenario("nsfnet", swap_success=0.5),
    "long": qnum_gym.scenario("chain", nodes=9, swap_success=0.7),
    "longer": qnum_gym.scenario("chain", nodes=9, swap_success=0.5),
    "messages": qnum_gym.scenario("surfnet", message_loss=0.2),
    "ack": qnum_gym.scenario("nsfnet", hold="ack", feedback_delay=0.2),
    "measure": qnum_gym.scenario("nsfnet", hold="measure"),
    "holds": of_mixed_holds(mixed_network(1)),
    "both": qnum_gym.scenario("nsfnet", swap_success=0.7, message_loss=0.1),
    "sum": qnum_gym.scenario("surfnet", fairness=0.5),
    "delay": mixed_network(1, swap_success=0.8).replace(fairness=2.0),
    "worst": qnum_gym.scenario("nsfnet", fairness=4.0),
}


@pytest.mark.parametrize("name", FLUID)
@pytest.mark.parametrize("policy", ["qprimaldual", "qprimaldual-da"])
def test_fixed_point_is_the_central_optimum(name, policy):
    aware, scenario = policy.endswith("-da"), FLUID[name]
    best = optimum.solve(scenario, decoherence=aware, max_utilisation=CAP)
    controls = settled(scenario, agents.make(policy))
    used = np.isin(np.arange(len(scenario.links)), scenario.arrays().hop_link)
    np.testing.assert_allclose(controls.rates, best.rates, rtol=1e-6)
    np.testing.assert_allclose(1.0 - controls.werner[used], 1.0 - best.werner[used], rtol=1e-6)
    priced = used & (best.link_prices > 1e-6 * best.link_prices.max())
    np.testing.assert_allclose(controls.link_signals[priced], best.link_prices[priced], rtol=1e-6)
    assert (controls.link_signals[used & ~priced] < 2.0 / PRICE_SPAN * best.link_prices.max()).all()


@pytest.mark.parametrize("swap_success", [1.0, 0.8])
@pytest.mark.parametrize("seed", [0, 4])
def test_fixed_point_keeps_floors_and_demands(seed, swap_success):
    scenario = mixed_network(seed, floors=True, swap_success=swap_success)
    best = optimum.solve(scenario, decoherence=True, max_utilisation=CAP)
    assert best.fidelity_prices.max() > 1.0
    controls = settled(scenario, agents.make("qprimaldual-da"))
    worth = scenario.arrays().weight * measures.elasticities(scenario.arrays().measure, best.expected_werner)
    np.testing.assert_allclose(controls.rates, best.rates, rtol=1e-5)
    np.testing.assert_allclose(controls.session_signals, worth + best.fidelity_prices, rtol=1e-4)


def test_utilisation_cap_is_an_option_and_one_is_the_papers_problem():
    scenario = qnum_gym.scenario("dumbbell")
    controls = settled(scenario, agents.make("qprimaldual", utilisation=1.0))
    np.testing.assert_allclose(controls.rates, optimum.solve(scenario).rates, rtol=1e-6)


# --- packets ----------------------------------------------------------------------------------------------------------


class Run:
    """A policy on the simulator: deliveries and their Werner parameters, queues, controls, per interval."""

    def __init__(self, scenario, policy, seed, intervals):
        self.scenario, self.controls = scenario, []
        delivered, worth, queues = [], [], []
        simulator = Simulator(scenario, seed)
        policy.reset(scenario, seed)
        telemetry = simulator.telemetry()
        for _ in range(intervals):
            c = policy.act(telemetry)
            simulator.set_controls(c.rates, c.werner, c.session_signals, c.link_signals)
            telemetry = simulator.advance(scenario.control_interval)
            self.controls.append(c)
            delivered.append(telemetry.sessions.delivered)
            worth.append(telemetry.sessions.sum_werner)
            queues.append(telemetry.links.mean_queue)
        self.delivered, self.worth, self.queues = np.array(delivered), np.array(worth), np.array(queues)

    def geometric_mean(self, start=None, stop=None):
        """Of R f(W) over the intervals [start, stop), the second half if not said."""
        start = len(self.delivered) // 2 if start is None else start
        delivered, worth = self.delivered[start:stop].sum(axis=0), self.worth[start:stop].sum(axis=0)
        seconds = len(self.delivered[start:stop]) * self.scenario.control_interval
        problem = Problem.from_scenario(self.scenario)
        utility = problem.utility(delivered / seconds, worth / np.maximum(delivered, 1))
        return optimum.geometric_mean(utility, problem.arrays.weight)


@cache
def run_of(scenario, name, seed, intervals):
    """A policy's run; the oracle's is asked for often."""
    return Run(scenario, agents.make(name, **({"utilisation": CAP} if name == "oracle" else {})), seed, intervals)


def ratios(scenario, name, seeds, intervals, part=(None, None)):
    """gm against the oracle's on the same random draws, per seed; in `part` of the intervals as `geometric_mean`."""
    own, best = (
        np.array([run_of(scenario, policy, seed, intervals).geometric_mean(*part) for seed in seeds])
        for policy in (name, "oracle")
    )
    return own / best


STANDARD = (100, 200)  # what the result of a standard episode, the first 200 intervals, is made of


REGISTERED = ("dumbbell", "nsfnet", "surfnet")


@pytest.mark.parametrize("name", REGISTERED)
def test_aware_controllers_reach_the_oracle(name):
    """Measured over 10 seeds: 1.00 on each network, never below 0.98, in the standard episode (cold start) too."""
    scenario, seeds = qnum_gym.scenario(name), range(5)
    assert ratios(scenario, "qprimaldual-da", seeds, 1000).min() > 0.96
    assert ratios(scenario, "qprimaldual-da", seeds, 1000, STANDARD).min() > 0.96


@pytest.mark.parametrize(
    "changes",
    [
        {"coherence_time": 3.0},
        {"coherence_time": math.inf},
        {"measure": "negativity"},
        {"measure": "distillable"},
        {"sessions": 8},
        {"window": 10},
        {"memory": 5},
        {"feedback_delay": 5.0},
        {"control_interval": 0.2},
        {"message_loss": 0.05},
    ],
    ids=str,
)
def test_the_same_gains_do_elsewhere(changes):
    assert ratios(qnum_gym.scenario("dumbbell", **changes), "qprimaldual-da", range(2), 500).mean() > 0.95


@pytest.mark.parametrize(("measure", "coherence_time"), [("negativity", 0.15), ("secret_key", 3.0)])
def test_sessions_that_arrive_worthless_find_their_way_within_the_standard_episode(measure, coherence_time):
    """NSFNET next to the smallest T_c: measured over 5 seeds 1.00 each; with a(W) alone to follow 0.59 and 0.97."""
    scenario = qnum_gym.scenario("nsfnet", measure=measure, coherence_time=coherence_time)
    found = ratios(scenario, "qprimaldual-da", range(3), 200).mean()
    assert found > 0.9
    assert found > ratios(scenario, "best_static", range(3), 200).mean()


@pytest.mark.parametrize("measure", measures.MEASURES)
def test_a_signal_of_a_worthless_session_rises_as_for_a_floor(measure):
    """The step of (16) in logarithms, by hand, at a W a tenth below where f becomes positive."""
    lowest = measures.find(measure).positive_from
    code, gains = np.array([measures.code(measure)]), Gains(signal_step=10.0)
    signals = Signals(
        np.full(1, 1e-3), code, np.full(1, -math.inf), np.ones(1), gains
    )  # so light that a(W) asks for less
    here, before = np.array([0.9 * lowest]), np.array([-1.0])
    step = signals.step(before, here, here, np.log(np.array([0.95]))) - before
    floor = math.log(lowest * (1.0 + gains.margin))
    assert step[0] == pytest.approx(gains.floor * (math.log(0.9 * lowest) / floor - 1.0))
    assert step[0] > 0.02
    drained = signals.step(before, here, np.array([1.1 * lowest]), np.log(np.array([0.95]))) - before
    assert drained[0] < 0.02


@pytest.mark.parametrize(("delay", "intervals"), [(10.0, 300), (30.0, 600)])
@pytest.mark.parametrize("name", REGISTERED)
def test_late_news_costs_time_and_no_utility(name, delay, intervals):
    """Measured over 3 seeds and 600 intervals 0.998 to 1.004; without the source's patience 0.86 on NSFNET."""
    scenario = qnum_gym.scenario(name, feedback_delay=delay, window=5000)
    assert ratios(scenario, "qprimaldual-da", range(1), intervals).min() > 0.95


def source_after(policy, intervals, delivered=5.0, **news):
    """log σ of the first source after each of the intervals, which all bring the same news."""
    scenario = qnum_gym.scenario("dumbbell")
    policy.reset(scenario)
    zeros, a = np.zeros(3), scenario.arrays()
    seen = {name: getattr(a, name) for name in WISHES}
    seen |= {"active": zeros == 0.0, "dropped": zeros, "nacked": zeros, "delivered": zeros + delivered}
    seen |= {"mean_thinned_price": zeros + 0.05, "nack_thinned_price": zeros}
    seen |= {key: zeros + value for key, value in news.items()}
    updates = [policy._sources.update(SimpleNamespace(**seen)) for _ in range(intervals)]
    return np.log([signals[0] for _, signals in updates])


@pytest.mark.parametrize("rtt", [0.1, 1.0, 4.0, 10.0, 30.0])
def test_a_step_of_the_signal_is_spread_over_the_round_trip(rtt):
    """The news is that W has fallen far: every step is at its bound."""
    news = {"mean_rtt": rtt, "mean_log_werner": math.log(0.8), "sum_werner": 5.0 * 0.8}
    steps = np.diff(source_after(agents.make("qprimaldual-da"), 3, **news))
    np.testing.assert_allclose(steps, Gains().signal_step / max(rtt, 1.0), rtol=1e-9)
    hasty = np.diff(source_after(agents.make("qprimaldual-da", spread=1e-9), 3, **news))
    np.testing.assert_allclose(hasty, Gains().signal_step, rtol=1e-9)


def test_a_source_that_waits_for_its_first_news_keeps_its_signal():
    """It has a floor that its first guess of W does not keep, and hears nothing for 30 intervals."""
    base = qnum_gym.scenario("dumbbell")
    floor = [Session(**{**dict(x), "min_fidelity": 0.97}) for x in base.sessions]
    policy: Any = agents.make("qprimaldual-da")
    silence = np.zeros(3)
    policy.reset(scenario := base.replace(sessions=floor))
    seen = {name: getattr(scenario.arrays(), name) for name in WISHES}
    seen |= {"active": silence == 0.0, "dropped": silence, "delivered": silence, "sum_werner": silence}
    seen |= {"nacked": silence}
    seen |= dict.fromkeys(
        ("mean_thinned_price", "nack_thinned_price", "mean_rtt", "mean_log_werner"), silence + math.nan
    )
    signal = [policy._sources.update(SimpleNamespace(**seen))[1][0] for _ in range(30)]
    assert len(set(signal)) == 1


def test_round_trips_within_an_interval_change_nothing():
    scenario = qnum_gym.scenario("dumbbell", control_interval=5.0)
    default, hasty = (Run(scenario, agents.make("qprimaldual-da", **o), 0, 40) for o in ({}, {"spread": 1e-9}))
    for mine, theirs in zip(default.controls, hasty.controls, strict=True):
        np.testing.assert_array_equal(mine.rates, theirs.rates)
        np.testing.assert_array_equal(mine.session_signals, theirs.session_signals)


@pytest.mark.parametrize(("name", "least"), [("dumbbell", 0.93), ("nsfnet", 1.06), ("surfnet", 1.0)])
def test_aware_controllers_in_parallel_swapping(name, least):
    """Against the optimum of sequential swapping; 0.96, 1.12 and 1.05 were measured (docs/policies.md)."""
    scenario = qnum_gym.scenario(name)
    best = optimum.solve(scenario, decoherence=True).utility
    parallel = scenario.replace(swapping="parallel")
    reached = [Run(parallel, agents.make("qprimaldual-da"), seed, 400).geometric_mean() for seed in range(3)]
    assert np.mean(reached) > least * optimum.geometric_mean(best, scenario.arrays().weight)


@pytest.mark.parametrize("name", REGISTERED)
def test_fixed_point_in_parallel_swapping(name):
    scenario = qnum_gym.scenario(name, swapping="parallel")
    best = optimum.solve(scenario, decoherence=True, max_utilisation=CAP)
    controls = settled(scenario, agents.make("qprimaldual-da"))
    np.testing.assert_allclose(controls.rates, best.rates, rtol=1e-6)


def test_within_a_minute_of_a_cold_start():
    runs = [Run(qnum_gym.scenario("dumbbell"), agents.make("qprimaldual-da"), seed, 200) for seed in range(5)]
    reached = [run.geometric_mean(40, 60) / run.geometric_mean() for run in runs]
    assert np.mean(reached) > 0.95


@pytest.mark.parametrize("name", REGISTERED)
def test_plain_controllers_do_where_memories_are_perfect(name):
    scenario = qnum_gym.scenario(name, coherence_time=1e6)
    assert ratios(scenario, "qprimaldual", range(1), 1000).min() > 0.98


def test_plain_controllers_suffer_from_decoherence():
    """They fill every link to the cap, where some 19 q-datagrams wait: their pairs are worth nothing on arrival."""
    scenario = qnum_gym.scenario("dumbbell")
    plain = Run(scenario, agents.make("qprimaldual"), 0, 400)
    aware = Run(scenario, agents.make("qprimaldual-da"), 0, 400)
    assert plain.geometric_mean() < 0.5 * aware.geometric_mean()
    assert plain.queues[200:, 3:].mean() > 3.0 * aware.queues[200:, 3:].mean()


def test_without_a_cap_queues_grow_until_windows_stop_them():
    scenario = qnum_gym.scenario("dumbbell", coherence_time=1e6)
    queue = {rho: Run(scenario, agents.make("qprimaldual", utilisation=rho), 0, 400).queues[200:].max(axis=1).mean()
             for rho in (0.95, 1.0)}  # fmt: skip
    assert queue[1.0] > 1.5 * queue[0.95]


def test_a_source_that_hears_only_of_losses_goes_back_to_its_first_rate_and_recovers():
    base = qnum_gym.scenario("dumbbell")
    bottleneck = (base.links[3].a, base.links[3].b)
    scenario = base.replace(
        events=[LinkEvent(time=100.0, link=bottleneck, up=False), LinkEvent(time=150.0, link=bottleneck, up=True)]
    )
    run = Run(scenario, agents.make("qprimaldual-da"), 0, 300)
    assert (run.controls[99].rates > 10.0).all()
    assert (run.controls[149].rates <= 1.0).all()
    assert run.geometric_mean(200, 300) > 0.9 * run.geometric_mean(50, 100)


def test_sessions_come_and_go():
    base = qnum_gym.scenario("dumbbell")
    late = Session(**{**dict(base.sessions[2]), "start": 100.0, "stop": 200.0})
    run = Run(base.replace(sessions=[*base.sessions[:2], late]), agents.make("qprimaldual-da"), 0, 300)
    rates = np.array([c.rates for c in run.controls])
    assert (rates[:100, 2] == 1.0).all()
    assert (rates[201:, 2] == 1.0).all()
    shared, alone = rates[150:200, 0].mean(), rates[260:300, 0].mean()
    assert rates[150:200, 2].mean() == pytest.approx(shared, rel=0.1)
    assert alone > 1.2 * shared


@pytest.mark.parametrize("name", agents.names())
def test_controls_are_in_range_and_the_same_for_the_same_seed(name):
    scenario, policy = qnum_gym.scenario("nsfnet"), agents.make(name)
    assert policy.name == name
    assert isinstance(policy, agents.Policy)
    runs = [Run(scenario, policy, seed, 20).controls for seed in (7, 7, 8)]
    numbers = [np.concatenate([np.concatenate([c.rates, c.werner]) for c in run]) for run in runs]
    assert (numbers[0] == numbers[1]).all()
    still = name in ("equal_share", "best_static", "oracle")
    assert (numbers[0] == numbers[2]).all() == still

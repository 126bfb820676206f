"""AIMD, QPrimalDual-approx and QPrimalDual-PI: their laws, their fixed points, and what they do on packets."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_policies import REGISTERED, STANDARD, Run, ratios, run_of, settled

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.agents.aimd import _avoidance, _Links
from qnum_gym.optimum import Problem
from qnum_gym.scenarios import LinkEvent, Session

make: Any = agents.make  # a policy, and the attributes of its own
Seen: Any = SimpleNamespace  # in place of telemetry

# --- aimd -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0.0, 0.2, 0.8])
def test_window_follows_the_acks_one_by_one(bad):
    """A share `bad` of 40 ACKs halves the window, each other one adds 1/cwnd: the formula against the expectation."""
    for window in (1.5, 3.0, 20.0):
        step, by_steps = 0.01, window
        for _ in range(4000):
            by_steps += step * ((1.0 - bad) / by_steps - bad * by_steps / 2.0)
        found = _avoidance(np.array([window]), np.array([40.0]), np.array([40.0 * bad]))
        assert found[0] == pytest.approx(by_steps, rel=0.01)


def test_marks_follow_the_queue_and_add_up_along_a_route():
    a = qnum_gym.scenario("dumbbell").arrays()
    links = _Links(a, make("aimd", queue=2.0, proportional=0.1, integral=0.02).gains)
    queue = np.zeros(len(a.capacity))
    queue[3] = 6.0
    _, first = links.update(Seen(mean_queue=queue))
    _, second = links.update(Seen(mean_queue=queue))
    assert first[3] == pytest.approx(-math.log(1.0 - (0.1 * 3.0 + 0.02 * 2.0)))
    assert second[3] == pytest.approx(-math.log(1.0 - (0.1 * 3.0 + 2 * 0.02 * 2.0)))
    assert (second[[0, 1, 2, 4, 5, 6]] == 0.0).all()


def test_aimd_holds_the_bottleneck_at_its_set_point_and_shares_it_out():
    policy, run = make("aimd"), run_of(qnum_gym.scenario("dumbbell"), "aimd", 0, 1000)
    assert run.queues[500:, 3].mean() == pytest.approx(policy.gains.queue, rel=0.1)
    shares = run.delivered[500:].sum(axis=0)
    assert shares.min() > 0.9 * shares.max()
    for controls in run.controls:
        assert (controls.werner == policy.gains.werner).all()


def test_aimd_starts_slowly_and_again_after_a_blackout():
    base = qnum_gym.scenario("dumbbell")
    bottleneck = (base.links[3].a, base.links[3].b)
    events = [LinkEvent(time=100.0, link=bottleneck, up=False), LinkEvent(time=150.0, link=bottleneck, up=True)]
    run = Run(base.replace(events=events), agents.make("aimd"), 0, 300)
    assert (run.controls[1].rates <= 1.0 * math.exp(make("aimd").gains.rate_step) + 1e-9).all()
    assert (run.delivered[105:150] == 0).all()
    assert run.geometric_mean(200, 300) > 0.9 * run.geometric_mean(50, 100)


# --- approx -----------------------------------------------------------------------------------------------------------


def test_approx_is_the_optimum_where_all_links_are_alike():
    scenario = qnum_gym.scenario("chain", coherence_time=math.inf)
    assert len({link.length_km for link in scenario.links}) == 1
    ends = scenario.sessions[0]
    scenario = scenario.replace(sessions=[Session(source=ends.source, destination=ends.destination)])
    best = optimum.solve(scenario, max_utilisation=0.95)
    controls = settled(scenario, agents.make("qprimaldual-approx"))
    assert controls.session_signals is None
    np.testing.assert_allclose(controls.rates, best.rates, rtol=1e-6)
    np.testing.assert_allclose(controls.werner, best.werner, rtol=1e-6)


def test_approx_is_biased_where_links_differ():
    """The bottleneck takes the whole route for as bad as itself: fewer and better pairs than there should be."""
    scenario = qnum_gym.scenario("dumbbell", coherence_time=math.inf)
    best, problem = optimum.solve(scenario, max_utilisation=0.95), Problem.from_scenario(scenario)
    controls = settled(scenario, agents.make("qprimaldual-approx"))
    assert controls.werner[3] > best.werner[3] + 0.01
    np.testing.assert_allclose(controls.rates / best.rates, 0.785, atol=0.01)
    werner = problem.expected_werner(controls.rates, controls.werner)
    lost = best.utility - problem.utility(controls.rates, werner)
    assert 0.99 > math.exp(-lost / 3) > 0.95


# --- PI ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", REGISTERED)
def test_pi_settles_at_the_optimum_of_its_utilisation(name):
    """Where memories hardly decay nobody asks for more slack than the set point leaves."""
    scenario = qnum_gym.scenario(name, coherence_time=1e5)
    best = optimum.solve(scenario, decoherence=True, max_utilisation=0.7)
    controls = settled(scenario, agents.make("qprimaldual-pi", utilisation=0.7))
    np.testing.assert_allclose(controls.rates, best.rates, rtol=1e-3)


@pytest.mark.parametrize("name", REGISTERED)
def test_pi_holds_queues_at_the_set_point(name):
    """Of every link that has a price; the others' are below: storage alone makes them better."""
    policy, run = make("qprimaldual-pi"), run_of(qnum_gym.scenario(name), "qprimaldual-pi", 0, 1000)
    queues = run.queues[500:].mean(axis=0)
    prices = np.array([controls.link_signals for controls in run.controls[500:]]).mean(axis=0)
    priced = prices > 0.03 * prices.max()
    set_point = policy.gains.utilisation / (1.0 - policy.gains.utilisation)
    assert priced.sum() >= 4
    assert queues[priced].mean() == pytest.approx(set_point, rel=0.05)
    np.testing.assert_allclose(queues[priced], set_point, rtol=0.25)
    assert (queues[~priced] < 1.1 * set_point).all()


# --- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "network", "least"),
    [
        ("aimd", "dumbbell", 0.4),
        ("aimd", "nsfnet", 0.7),
        ("aimd", "surfnet", 0.4),
        ("qprimaldual-approx", "dumbbell", 0.93),
        ("qprimaldual-approx", "nsfnet", 0.93),
        ("qprimaldual-approx", "surfnet", 0.93),
        ("qprimaldual-pi", "dumbbell", 0.85),
        ("qprimaldual-pi", "nsfnet", 0.85),
        ("qprimaldual-pi", "surfnet", 0.85),
    ],
)
def test_share_of_the_oracle(policy, network, least):
    """Measured over 10 seeds, see docs/policies.md."""
    for part in (STANDARD, (500, 1000)):
        assert ratios(qnum_gym.scenario(network), policy, range(3), 1000, part).mean() > least


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("aimd", {"quue": 1.0}, "quue: unknown; valid: werner, queue"),
        ("aimd", {"werner": 1.1}, "werner = 1.1: must be positive, at most 1"),
        ("qprimaldual-pi", {"integral": 0.0}, "integral = 0.0: must be positive and finite"),
        ("qprimaldual-pi", {"utilisation": 1.0}, "utilisation = 1.0: must be below 1"),
        ("qprimaldual-approx", {"queue": 1.0}, "queue: unknown"),
    ],
)
def test_impossible_gains_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        agents.make(name, **options)

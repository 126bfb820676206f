"""Scores, recomputed in plain loops from what was measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

import qnum_gym
from qnum_gym import optimum, werner
from qnum_gym.envs import EpisodeRecord, Score, ScoreWindow
from qnum_gym.envs.worth import Worth
from qnum_gym.scenario import LinkEvent, Scenario, Session
from qnum_gym.simulator import Simulator, Telemetry


def entropy(x: float) -> float:
    return -sum(p * math.log2(p) for p in (x, 1.0 - x) if p > 0.0)


def worth(measure: str, w: float) -> float:
    """f(W), written once more from model.md §3."""
    f = (3.0 * w + 1.0) / 4.0
    if measure == "negativity":
        return (3.0 * w - 1.0) / 4.0
    if measure == "secret_key":
        return 1.0 - 2.0 * entropy((1.0 - w) / 2.0)
    return 1.0 + f * math.log2(f) + (1.0 - f) * math.log2((1.0 - f) / 3.0)


def dynamic() -> Scenario:
    """Sessions of all measures and several weights that come and go within intervals; links worsen, fail, return."""
    base = qnum_gym.scenario("dumbbell", sessions=3, control_interval=0.5)
    sessions = [
        Session(source="s0", destination="d0", measure="secret_key", weight=2.0),
        Session(source="s1", destination="d1", measure="negativity", stop=9.25),
        Session(source="s2", destination="d2", measure="distillable", weight=0.5, start=4.75),
    ]
    events = [
        LinkEvent(time=6.25, link=("left", "right"), extra_loss_db=3.0),
        LinkEvent(time=12.5, link=("s2", "left"), up=False),
        LinkEvent(time=14.0, link=("s2", "left"), up=True),
    ]
    return base.replace(sessions=sessions, events=events)


def down(scenario: Scenario, r: int, time: float) -> bool:
    """Whether the session is on, and a link of its route is not."""
    a = scenario.arrays(time)
    return bool(a.active[r]) and any(a.capacity[l] == 0.0 for l in scenario.routes[r])


def plain_score(scenario: Scenario, past: list[Telemetry]) -> tuple[float, float, list[float]]:
    """Score, geometric mean and per-session scores of the intervals in `past`, in steps of a quarter second."""
    utility = lower = upper = shares = 0.0
    utilities, weights = [], []
    seconds = sum(t.seconds for t in past)
    quarters = [q / 4 for t in past for q in range(round((t.time - t.seconds) * 4), round(t.time * 4))]
    for r, session in enumerate(scenario.sessions):
        stop = math.inf if session.stop is None else session.stop
        on = sum(0.25 for q in quarters if session.start <= q < stop and not down(scenario, r, q))
        pairs = sum(int(t.sessions.delivered[r]) for t in past)
        total_w = sum(
            float(t.sessions.mean_werner[r]) * int(t.sessions.delivered[r]) for t in past if t.sessions.delivered[r]
        )
        rate = pairs / on if on else 0.0
        value = rate * worth(str(session.measure or scenario.measure), total_w / pairs) if pairs else 0.0
        utilities.append(math.log(max(value, 1e-4)))
        weights.append(session.weight * on / seconds)
    for u, weight in zip(utilities, weights, strict=True):
        utility += weight * u
        shares += weight
    for q in quarters:
        moment = max(time for time in scenario.change_times() if time <= q)
        low, high = optimum.bounds(scenario, moment)
        for r, session in enumerate(scenario.sessions):
            if down(scenario, r, q):
                low -= session.weight * math.log(1e-4)
                high -= session.weight * math.log(1e-4)
        lower += 0.25 * low / seconds
        upper += 0.25 * high / seconds
    own = [
        (u - lower / shares) / ((upper - lower) / shares) if w else 0.0 for u, w in zip(utilities, weights, strict=True)
    ]
    return (utility - lower) / (upper - lower), math.exp(utility / shares), own


@pytest.mark.parametrize("make", [dynamic, lambda: qnum_gym.scenario("nsfnet", control_interval=2.0)])
def test_score_is_what_plain_loops_make_of_the_telemetry(make: object) -> None:
    scenario = make()  # type: ignore[operator]
    simulator, window, record = Simulator(scenario, seed=3), ScoreWindow(Score(scenario)), EpisodeRecord(scenario)
    simulator.set_controls(rates=np.full(len(scenario.sessions), 6.0))
    past: list[Telemetry] = []
    for _ in range(41):
        past.append(simulator.advance(scenario.control_interval))
        record.add(past[-1])
        outcome = window.add(past[-1])
        score, mean, own = plain_score(scenario, past[-20:])
        assert outcome.score == pytest.approx(score, rel=1e-9)
        assert outcome.geometric_mean == pytest.approx(mean, rel=1e-9)
        np.testing.assert_allclose(outcome.session_scores, own, rtol=1e-9, atol=1e-12)
    score, mean, _ = plain_score(scenario, past[20:])
    assert len(record) == 41
    assert record.result().score == pytest.approx(score, rel=1e-9)
    assert record.result().geometric_mean == pytest.approx(mean, rel=1e-9)
    assert record.result().seconds == pytest.approx(21 * scenario.control_interval)


def test_session_scores_average_to_the_score() -> None:
    scenario = dynamic()
    simulator, window = Simulator(scenario, seed=5), ScoreWindow(Score(scenario))
    for _ in range(10):
        outcome = window.add(simulator.advance(0.5))
    share = np.array([2.0, 1.0, 0.5 * 0.25 / 5.0])  # the third began a quarter second before the end
    assert np.average(outcome.session_scores, weights=share) == pytest.approx(outcome.score)


def test_pooled_rates_and_werner_parameters() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    simulator, record = Simulator(scenario, seed=1), EpisodeRecord(scenario)
    past = [simulator.advance(1.0) for _ in range(10)]
    for telemetry in past:
        record.add(telemetry)
    result = record.result()
    delivered = np.sum([t.sessions.delivered for t in past[5:]], axis=0)
    np.testing.assert_allclose(result.rate, delivered / 5.0)
    pooled = np.nansum([t.sessions.delivered * t.sessions.mean_werner for t in past[5:]], axis=0) / delivered
    np.testing.assert_allclose(result.werner, pooled)
    expected = optimum.Problem.from_scenario(scenario).utility(result.rate, result.werner)
    assert result.utility == pytest.approx(expected)


def test_a_cut_session_does_not_count() -> None:
    """While a link of its route is down nobody could serve it: the others' score goes on as if it had left."""
    scenario = qnum_gym.scenario("dumbbell")
    cut = scenario.replace(events=[LinkEvent(time=20.0, link=("s0", "left"), up=False)])
    gone = scenario.replace(sessions=[scenario.sessions[0].model_copy(update={"stop": 20.0}), *scenario.sessions[1:]])
    results = []
    for each in (cut, gone):
        best = optimum.solve(each, decoherence=True, max_utilisation=0.95)
        simulator, record, window = Simulator(each, seed=1), EpisodeRecord(each), ScoreWindow(Score(each))
        simulator.set_controls(best.rates, best.werner)
        for _ in range(60):
            telemetry = simulator.advance(1.0)
            record.add(telemetry)
            assert -3.0 < window.add(telemetry).score < 1.5
        results.append(record.result())
    assert results[0].score == pytest.approx(results[1].score, abs=0.05)
    assert results[0].session_scores[0] == results[1].session_scores[0] == 0.0


def test_nothing_measured_and_nobody_there() -> None:
    scenario = qnum_gym.scenario("chain")
    with pytest.raises(ValueError, match="no interval yet"):
        EpisodeRecord(scenario).result()
    empty = ScoreWindow(Score(scenario)).outcome()
    assert (empty.score, empty.utility, empty.geometric_mean, empty.seconds) == (0.0, 0.0, 0.0, 0.0)
    late = scenario.replace(sessions=[scenario.sessions[0].model_copy(update={"start": 50.0})])
    simulator, window = Simulator(late), ScoreWindow(Score(late))
    outcome = window.add(simulator.advance(1.0))
    assert (outcome.score, outcome.geometric_mean, outcome.session_scores[0]) == (0.0, 0.0, 0.0)
    assert (outcome.rate[0], outcome.werner[0]) == (0.0, 0.0)


def test_silence_costs_the_floor() -> None:
    """No pair delivered: every utility at log 1e-4."""
    scenario = qnum_gym.scenario("dumbbell", coherence_time=100.0)
    window = ScoreWindow(Score(scenario))
    simulator = Simulator(scenario)
    simulator.set_controls(rates=np.full(3, 0.01))
    outcome = window.add(simulator.advance(0.001))
    low, high = optimum.bounds(scenario)
    assert outcome.utility == pytest.approx(3 * math.log(1e-4))
    assert outcome.score == pytest.approx((3 * math.log(1e-4) - low) / (high - low))


def test_window_forgets_and_continues() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    simulator, window = Simulator(scenario, seed=2), ScoreWindow(Score(scenario))
    for _ in range(25):
        window.add(simulator.advance(1.0))
    other = ScoreWindow(Score(scenario))
    other.set_state(window.get_state())
    telemetry = simulator.advance(1.0)
    assert other.add(telemetry).score == window.add(telemetry).score
    window.clear()
    fresh = ScoreWindow(Score(scenario))
    assert window.add(telemetry).score == fresh.add(telemetry).score


def test_compiled_worth_is_that_of_werner() -> None:
    w = np.linspace(0.0, 0.9999, 300)
    for codes in ([0], [1], [2], [0, 1, 2]):
        code = np.resize(codes, 300)
        f, slope = Worth(code)(w)
        np.testing.assert_allclose(f, werner.values(code, w), rtol=1e-12, atol=1e-15)
        positive = f > 0.0
        np.testing.assert_allclose((slope / f)[positive], werner.elasticities(code, w)[positive], rtol=1e-12)


def test_infeasible_scenarios_are_refused() -> None:
    with pytest.raises(optimum.InfeasibleError):
        Score(qnum_gym.scenario("dumbbell", coherence_time=0.2))

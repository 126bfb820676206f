"""Scores, recomputed in plain loops from what was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv, Outcome, Score
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.evaluation import run_episode
from qnum_gym.physics import measures
from qnum_gym.scenarios import LinkEvent, Scenario, Session
from qnum_gym.simulator import Telemetry


class Run:
    """An episode of one network under constant controls."""

    def __init__(self, scenario: Scenario, seed: int = 0) -> None:
        self.batch = EnvBatch([scenario], threads=1)
        self.batch.reset(0, seed)
        self.simulator = self.batch.simulators[0]
        self.rows: list[np.ndarray] = []

    def advance(self) -> Telemetry:
        self.batch.advance()
        self.rows.append(self.batch.rows[0])
        return self.simulator.telemetry()

    @property
    def window(self) -> Outcome:
        return self.batch.outcome(0)

    def result(self) -> Outcome:
        return self.batch.scores[0].result(np.array(self.rows))


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


def floors() -> Scenario:
    """A floor and a demand that this run's controls do not keep, and pairs told apart."""
    base = qnum_gym.scenario("dumbbell", control_interval=0.5, worth="per_pair")
    a, b, c = base.sessions
    asked = [
        a.model_copy(update={"min_fidelity": 0.93, "stop": 9.25}),
        b.model_copy(update={"min_rate": 8.0, "weight": 2.0}),
        c,
    ]
    return base.replace(sessions=asked, events=[LinkEvent(time=6.25, link=("left", "right"), extra_loss_db=1.0)])


def plain_score(scenario: Scenario, past: list[Telemetry]) -> dict[str, Any]:
    """What the intervals in `past` came to, in steps of a quarter second."""
    seconds = sum(t.seconds for t in past)
    quarters = [q / 4 for t in past for q in range(round((t.time - t.seconds) * 4), round(t.time * 4))]
    moments = [max(time for time in scenario.change_times() if time <= q) for q in quarters]
    scales = [optimum.yardstick(scenario, moment) for moment in moments]
    utilities, measured, shares, cost = [], [], [], 0.0
    for r, session in enumerate(scenario.sessions):
        stop = math.inf if session.stop is None else session.stop
        on = [session.start <= q < stop and not down(scenario, r, q) for q in quarters]
        assert on == [bool(scale.counts[r]) for scale in scales]
        pairs = sum(int(t.sessions.delivered[r]) for t in past)
        total_w = sum(
            float(t.sessions.mean_werner[r]) * int(t.sessions.delivered[r]) for t in past if t.sessions.delivered[r]
        )
        counted = sum(on) / 4
        rate = pairs / counted if counted else 0.0
        value = rate * worth(str(session.measure or scenario.measure), total_w / pairs) if pairs else 0.0
        if scenario.worth == "per_pair":
            value = sum(float(t.sessions.sum_worth[r]) for t in past) / counted if counted else 0.0
        u = math.log(max(value, 1e-4))
        measured.append(u)
        if pairs and session.min_fidelity is not None:
            price = np.mean([scale.floor_penalty[r] for scale, here in zip(scales, on, strict=True) if here])
            u -= price * max(math.log((4 * session.min_fidelity - 1) / 3) - math.log(total_w / pairs), 0.0)
        if pairs and session.min_rate > 0.0:
            price = np.mean([scale.demand_penalty[r] for scale, here in zip(scales, on, strict=True) if here])
            u -= price / session.weight * max(math.log(session.min_rate) - math.log(rate), 0.0)
        utilities.append(max(u, math.log(1e-4)))
        shares.append(session.weight * counted / seconds)
        fidelity = (3.0 * (total_w / pairs if pairs else 0.0) + 1.0) / 4.0
        if counted and session.min_fidelity is not None:
            cost += max(session.min_fidelity - fidelity, 0.0) / session.min_fidelity
        if counted and session.min_rate > 0.0:
            cost += max(session.min_rate - rate, 0.0) / session.min_rate
    share = sum(shares)
    utility, plain = (sum(w * u for w, u in zip(shares, us, strict=True)) for us in (utilities, measured))
    lower, upper = (sum(getattr(scale, end) for scale in scales) / 4 / seconds for end in ("lower", "upper"))
    span = max(upper - lower, 0.05 * share)
    return {
        "score": math.exp((utility - upper) / share),
        "relative": (utility - lower) / span,
        "geometric_mean": math.exp(plain / share),
        "optimum": math.exp(upper / share),
        "cost": cost,
        "session_relative": [
            (u - lower / share) / (span / share) if w else 0.0 for u, w in zip(utilities, shares, strict=True)
        ],
    }


@pytest.mark.parametrize("make", [dynamic, floors, lambda: qnum_gym.scenario("nsfnet", control_interval=2.0)])
def test_score_is_what_plain_loops_make_of_the_telemetry(make: Callable[[], Scenario]) -> None:
    scenario = make()
    run = Run(scenario, seed=3)
    run.simulator.set_controls(rates=np.full(len(scenario.sessions), 6.0))
    past: list[Telemetry] = []
    for _ in range(41):
        past.append(run.advance())
        for name, value in plain_score(scenario, past[-20:]).items():
            np.testing.assert_allclose(getattr(run.window, name), value, rtol=1e-9, atol=1e-12, err_msg=name)
    result = run.result()
    for name, value in plain_score(scenario, past[20:]).items():
        np.testing.assert_allclose(getattr(result, name), value, rtol=1e-9, atol=1e-12, err_msg=name)
    assert result.seconds == pytest.approx(21 * scenario.control_interval)
    for r, session in enumerate(scenario.sessions):
        missing = max((session.min_fidelity or 0.0) - (3.0 * result.werner[r] + 1.0) / 4.0, 0.0)
        assert result.fidelity_shortfall[r] == pytest.approx(missing if result.counted[r] else 0.0)
        missing = max(session.min_rate - result.rate[r], 0.0)
        assert result.rate_shortfall[r] == pytest.approx(missing if result.counted[r] else 0.0)


def test_cost_is_of_what_the_reward_looks_at() -> None:
    for reward in ("relative", "interval"):
        env = AllocationEnv(floors(), reward=reward)
        assert env.reset(seed=0)[1]["cost"] == 0.0
        for _ in range(5):
            *_, info = env.step(np.zeros(env.action_space.shape, np.float32))
        last = env.env_batch.scores[0].outcome(env.row[np.newaxis])
        assert info["cost"] == (env.outcome if reward == "relative" else last).cost > 0.0


def test_session_rewards_average_to_the_reward() -> None:
    scenario = dynamic()
    run = Run(scenario, seed=5)
    for _ in range(10):
        run.advance()
    share = np.array([2.0, 1.0, 0.5 * 0.25 / 5.0])  # the third began a quarter second before the end
    np.testing.assert_allclose(run.window.share, share)
    assert np.average(run.window.session_relative, weights=share) == pytest.approx(run.window.relative)


def test_pooled_rates_and_werner_parameters() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    run = Run(scenario, seed=1)
    past = [run.advance() for _ in range(10)]
    result = run.result()
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
    for changed in (cut, gone):
        best = optimum.solve(changed, decoherence=True, max_utilisation=0.95)
        run = Run(changed, seed=1)
        run.simulator.set_controls(best.rates, best.werner)
        for _ in range(60):
            run.advance()
            assert -3.0 < run.window.relative < 1.5
        results.append(run.result())
    assert results[0].score == pytest.approx(results[1].score, abs=0.05)
    assert results[0].session_relative[0] == results[1].session_relative[0] == 0.0


def test_nothing_measured_and_nobody_there() -> None:
    scenario = qnum_gym.scenario("chain")
    with pytest.raises(ValueError, match="no interval yet"):
        Score(scenario).result(np.zeros((0, 12)))
    empty = Run(scenario).window
    assert (empty.score, empty.relative, empty.utility, empty.geometric_mean, empty.seconds) == (
        0.0,
        0.0,
        0.0,
        0.0,
        0.0,
    )
    late = scenario.replace(sessions=[scenario.sessions[0].model_copy(update={"start": 50.0})])
    run = Run(late)
    run.advance()
    outcome = run.window
    assert (outcome.score, outcome.geometric_mean, outcome.session_relative[0]) == (0.0, 0.0, 0.0)
    assert (outcome.rate[0], outcome.werner[0]) == (0.0, 0.0)


def test_silence_costs_the_floor() -> None:
    """No pair delivered: every utility at log 1e-4."""
    scenario = qnum_gym.scenario("dumbbell", coherence_time=100.0, control_interval=0.001)
    run = Run(scenario)
    run.simulator.set_controls(rates=np.full(3, 0.01))
    run.advance()
    outcome = run.window
    scale = optimum.yardstick(scenario)
    assert outcome.utility == pytest.approx(3 * math.log(1e-4))
    assert outcome.relative == pytest.approx((3 * math.log(1e-4) - scale.lower) / (scale.upper - scale.lower))
    assert outcome.score == pytest.approx(1e-4 / scale.geometric_mean)


def test_window_forgets_and_continues() -> None:
    scenario = qnum_gym.scenario("dumbbell")
    run, other = Run(scenario, seed=2), Run(scenario)
    for _ in range(25):
        run.advance()
    assert run.window.seconds == 20.0
    other.batch.set_state(run.batch.get_state())
    run.advance()
    other.advance()
    assert other.window.score == run.window.score
    fresh = Run(scenario, seed=4)
    run.batch.reset(0, 4)
    for again in (run, fresh):
        again.advance()
    assert run.window.seconds == 1.0
    assert run.window.score == fresh.window.score


def test_compiled_worth_is_that_of_werner() -> None:
    w = np.linspace(0.0, 0.9999, 300)
    for codes in ([0], [1], [2], [0, 1, 2]):
        code = np.resize(codes, 300)
        f, slope = PairValue(code)(w)
        np.testing.assert_allclose(f, measures.values(code, w), rtol=1e-12, atol=1e-15)
        positive = f > 0.0
        np.testing.assert_allclose((slope / f)[positive], measures.elasticities(code, w)[positive], rtol=1e-12)


def test_who_cannot_be_served_counts_in_nothing() -> None:
    """As if the hopeless sessions were not there, though they send and deliver."""
    s = qnum_gym.scenario("surfnet", coherence_time=0.3, measure="negativity")
    with pytest.warns(optimum.ScoreWarning, match="counted in no score"):
        run = Run(s, seed=1)
    hopeless = optimum.Problem.from_scenario(s).hopeless
    assert 0 < hopeless.sum() < len(s.sessions)
    run.simulator.set_controls(rates=np.full(len(s.sessions), 2.0))
    past = [run.advance() for _ in range(20)]
    outcome, counted = run.window, ~hopeless
    assert (run.simulator.telemetry().sessions.delivered > 0).any()
    np.testing.assert_array_equal(outcome.counted > 0.0, counted)
    pairs = np.sum([t.sessions.delivered for t in past], axis=0)
    np.testing.assert_allclose(outcome.rate, pairs / 20.0)  # shown all the same
    problem = optimum.Problem.from_scenario(s)
    mean = np.exp(problem.utilities(outcome.rate, outcome.werner)[counted].mean())
    assert outcome.geometric_mean == pytest.approx(mean)
    assert outcome.score == pytest.approx(mean / optimum.yardstick(s).geometric_mean)


def test_a_scenario_that_nobody_can_serve_runs_without_a_score() -> None:
    s = qnum_gym.scenario("dumbbell", coherence_time=0.01)
    with pytest.warns(optimum.ScoreWarning, match="counted in no score"):
        env = AllocationEnv(s)
    envs = AllocationVectorEnv(2, s)
    env.reset(seed=0)
    envs.reset(seed=0)
    idle = np.zeros(env.action_space.shape, np.float32)
    for _ in range(4):
        observation, reward, *_, info = env.step(idle)
        _, rewards, *_, infos = envs.step(np.array([idle, idle]))
        assert np.isfinite(observation).all()
        assert reward == rewards[0] == 0.0
        assert math.isnan(info["metrics/score"])
        assert np.isnan(infos["metrics/score"]).all()
        assert info["metrics/geometric_mean"] == 0.0


def test_an_episode_in_whose_second_half_nobody_counts_has_no_score() -> None:
    scenario = qnum_gym.scenario("chain")
    early = scenario.replace(sessions=[scenario.sessions[0].model_copy(update={"stop": 3.0})])
    run = Run(early)
    for _ in range(10):
        run.advance()
    assert math.isnan(run.result().score)


@pytest.mark.parametrize("min_fidelity", [0.93, 0.95])
def test_breaking_a_floor_never_pays(min_fidelity: float) -> None:
    """On packets: what the optimum with the floor gives against the optimum blind to it."""
    blind = qnum_gym.scenario("dumbbell")
    s = blind.replace(sessions=[each.model_copy(update={"min_fidelity": min_fidelity}) for each in blind.sessions])
    results = []
    for allocation in (
        optimum.solve(s, decoherence=True, max_utilisation=0.95),
        optimum.solve(blind, decoherence=True),
    ):
        run = Run(s, seed=0)
        run.simulator.set_controls(allocation.rates * 0.99, allocation.werner)
        for _ in range(200):
            run.advance()
        results.append(run.result())
    kept, broken = results
    assert 0.8 < kept.score <= 1.05
    assert broken.score < kept.score - 0.02
    assert broken.relative < kept.relative
    assert (broken.fidelity_shortfall > 0.0).all()
    assert broken.geometric_mean > kept.geometric_mean  # of R f(W) alone the blind one has more
    assert max(abs(result.relative) for result in results) < 1e3


@pytest.mark.parametrize("weight", [1e-6, 1.0, 1e6])
def test_rewards_are_bounded(weight: float) -> None:
    """Also where `equal_share` is as good as the optimum, or better than what the floors leave of it."""
    link = {"a": "a", "b": "b", "length_km": 0.0, "werner_range": (0.966999, 0.967)}
    s = Scenario(
        links=[link],
        sessions=[Session(source="a", destination="b", weight=weight)],
        initial_werner=0.967,
        rate_range=(0.01, 1e5),
        cycle_time=1e-5,
        control_interval=0.001,
    )
    scale = optimum.yardstick(s)
    assert scale.upper - scale.lower < 0.06 * weight
    run = Run(s)
    run.advance()
    assert run.window.rate[0] == 0.0
    assert -1e3 < run.window.relative < -100.0


def test_pairs_told_apart_are_worth_no_less_than_pooled() -> None:
    """Plain QPrimalDual's pairs on Dumbbell: f of the mean W is nothing, the mean of f⁺ is not (model.md §5)."""
    results = {}
    for kind in ("pooled", "per_pair"):
        s = qnum_gym.scenario("dumbbell", worth=kind)
        results[kind] = run_episode(AllocationEnv(s), agents.make("qprimaldual"), 0)
    np.testing.assert_array_equal(results["pooled"].werner, results["per_pair"].werner)
    assert results["pooled"].geometric_mean < 0.2
    assert results["per_pair"].geometric_mean > 5.0 * results["pooled"].geometric_mean

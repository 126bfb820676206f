"""A session's weight, floor, demand and cap change while it is on: from the scenario to the score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.config import ScenarioError
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import SESSION_FEATURES
from qnum_gym.evaluation import run_episode
from qnum_gym.scenarios import Scenario, SessionEvent
from qnum_gym.simulator import Simulator

LATER: dict[str, Any] = {"weight": 3.0, "min_fidelity": 0.9, "min_rate": 2.0, "rate_cap": 12.0}


def changing(**fields: Any) -> Scenario:
    """At 10 s session 0 wants what `LATER` says, at 25 s it lets go of floor, demand and cap."""
    events = [
        SessionEvent(time=10.0, session=0, **LATER),
        SessionEvent(time=25.0, session=0, min_fidelity=0.25, min_rate=0.0, rate_cap=math.inf),
    ]
    return qnum_gym.scenario("dumbbell", events=events, episode_length=40, **fields)


def static(**fields: Any) -> Scenario:
    base = qnum_gym.scenario("dumbbell")
    return base.replace(sessions=[base.sessions[0].model_copy(update=fields), *base.sessions[1:]])


@pytest.mark.parametrize(("time", "fields"), [(9.9, {}), (10.0, LATER), (25.0, {"weight": 3.0})])
def test_the_optimum_of_a_time_is_that_of_a_static_network(time: float, fields: dict[str, Any]) -> None:
    """The cap stands in the other scenario as the upper end of its rates."""
    if "rate_cap" in fields:
        fields = {**fields, "rate_range": (0.01, fields["rate_cap"])}
        del fields["rate_cap"]
    found, expected = optimum.solve(changing(), time=time), optimum.solve(static(**fields))
    np.testing.assert_allclose(found.rates, expected.rates, rtol=1e-9)
    np.testing.assert_allclose(found.werner, expected.werner, rtol=1e-9)
    assert found.utility == pytest.approx(expected.utility, rel=1e-12)
    assert optimum.yardstick(changing(), time).geometric_mean == pytest.approx(
        optimum.yardstick(static(**fields)).geometric_mean, rel=1e-9
    )


def test_the_source_injects_no_faster_than_its_cap_and_goes_back_to_what_it_was_told() -> None:
    s = qnum_gym.scenario("dumbbell", events=[{"time": 20, "session": 0, "rate_cap": 5}])
    s = s.replace(events=[*s.events, {"time": 40, "session": 0, "rate_cap": math.inf}])
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[40.0, 1.0, 1.0])
    counts, caps = [], []
    for _ in range(3):
        seen = simulator.advance(20.0).sessions
        counts.append(int(seen.injected[0]))
        caps.append(float(seen.rate_cap[0]))
        simulator.set_controls(werner=simulator.controls.werner * 0.999)
    for count, rate in zip(counts, (40.0, 5.0, 40.0), strict=True):
        assert abs(count - 20.0 * rate) < 4.0 * math.sqrt(20.0 * rate)
    assert caps == [math.inf, 5.0, math.inf]  # of the interval's end, to which a change at that time does not belong
    assert simulator.advance(0.1).sessions.rate[0] == 40.0


def test_controllers_are_told() -> None:
    simulator = Simulator(changing(), 0)
    seen = [simulator.advance(10.5 if i == 0 else 15.0).sessions for i in range(2)]
    assert [float(x.weight[0]) for x in seen] == [3.0, 3.0]
    assert float(seen[0].log_werner_floor[0]) == pytest.approx(math.log((4 * 0.9 - 1) / 3))
    assert [float(x.min_rate[0]) for x in seen] == [2.0, 0.0]
    assert float(seen[1].log_werner_floor[0]) == -math.inf


def test_scalar_vector_and_parallel_environments_agree() -> None:
    s = changing()
    alone = AllocationEnv(s)
    parallel = qnum_gym.parallel_env(s, signals=False)
    vector = AllocationVectorEnv(2, s)
    rng = np.random.default_rng(0)
    first, _ = alone.reset(seed=3)
    together, _ = vector.reset(seed=[3, 4])
    parallel.reset(seed=3)
    np.testing.assert_array_equal(first, together[0])
    for _ in range(40):
        action = rng.uniform(-1.0, 1.0, alone.action_space.shape).astype(np.float32)
        observation, reward, _, _, info = alone.step(action)
        rows, rewards, _, _, infos = vector.step(np.stack([action, action]))
        np.testing.assert_array_equal(observation, rows[0])
        assert reward == rewards[0]
        assert info["metrics/score"] == infos["metrics/score"][0]
        of_agents = dict(zip(parallel.agents, action, strict=True))
        shared = parallel.step({agent: np.array([value]) for agent, value in of_agents.items()})[1]
        assert set(shared.values()) == {reward}
    weight = list(SESSION_FEATURES).index("weight")
    assert first[weight] == 0.0
    assert observation[weight] == pytest.approx(math.log10(3.0) / 2.0)


def test_score_is_of_every_part_by_itself() -> None:
    """Pairs and seconds recounted: gm of the parts before and after the change, held against the optima of both."""
    s = qnum_gym.scenario("dumbbell", events=[{"time": 10, "session": 0, "weight": 4, "rate_cap": 3}])
    batch, rows = EnvBatch([s], threads=1), []
    batch.reset(0, 5)
    best = optimum.solve(s)
    batch.simulators[0].set_controls(rates=best.rates * 0.9, werner=best.werner)
    told: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(20):
        batch.advance()
        rows.append(batch.rows[0])
        seen = batch.simulators[0].telemetry().sessions
        told.append((seen.delivered.copy(), seen.sum_werner.copy()))
    utility, reference, weights = 0.0, 0.0, 0.0
    for part, time, weight in ((told[:10], 0.0, [1, 1, 1]), (told[10:], 10.0, [4, 1, 1])):
        pairs, werner = (sum(columns) for columns in zip(*part, strict=True))
        w = werner / pairs
        p = (1 - w) / 2
        worth = 1 + 2 * (p * np.log2(p) + (1 - p) * np.log2(1 - p))
        utility += 0.5 * float(np.dot(weight, np.log(pairs / 10.0 * worth)))
        reference += 0.5 * sum(weight) * math.log(optimum.yardstick(s, time).geometric_mean)
        weights += 0.5 * sum(weight)
    found = batch.scores[0].outcome(np.array(rows))
    assert found.score == pytest.approx(math.exp((utility - reference) / weights), rel=1e-9)
    np.testing.assert_allclose(found.share, [2.5, 1.0, 1.0])
    assert batch.outcome(0).score == found.score  # the window holds the same 20 intervals


@pytest.mark.parametrize("name", ["oracle", "qprimaldual-da"])
def test_policies_follow(name: str) -> None:
    """The capped session goes as far as its cap, the heavier one gets more, and the score stays near 1."""
    s = qnum_gym.scenario("dumbbell", episode_length=240, events=[{"time": 100, "session": 1, "weight": 4}])
    s = s.replace(events=[*s.events, {"time": 100, "session": 0, "rate_cap": 4}])
    env, seen = AllocationEnv(s), []
    policy = agents.make(name)
    found = run_episode(env, policy, 0, lambda telemetry, _: seen.append(telemetry.sessions.rate.copy()))
    best = optimum.solve(s, time=100.0)
    assert found.score == pytest.approx(1.0, abs=0.08)
    late = np.mean(seen[160:], axis=0)
    assert late[0] == pytest.approx(4.0, rel=1e-6)
    assert late[1] / late[2] == pytest.approx(best.rates[1] / best.rates[2], rel=0.1)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"session": 3, "weight": 2}, r"events\[0\].session = 3: must be the place of a session, 0 to 2"),
        ({"session": 0}, r"events\[0\] = .*: must say weight, min_fidelity, min_rate or rate_cap"),
        ({"session": 0, "weight": 0}, r"events\[0\].weight = 0: must be greater than or equal to 0.000000001"),
        ({"session": 0, "rate_cap": 0.01}, r"events\[0\].rate_cap = 0.01: must be above 0.01, the lowest rate"),
        ({"session": 0, "min_rate": 5, "rate_cap": 4}, r"events\[0\].rate_cap = 4.0: .* may inject 4.0/s then"),
        ({"session": 0, "up": True}, r"events\[0\].up: unknown key; valid keys: type, time, session, weight"),
    ],
)
def test_events_that_cannot_be(event: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        qnum_gym.scenario("dumbbell", events=[{"time": 1.0, **event}])


def test_a_demand_above_a_later_cap_is_refused_where_it_stands() -> None:
    with pytest.raises(ScenarioError, match=r"events\[0\].min_rate = 5.0: sessions\[0\] wants 5.0 pairs/s from 7 s on"):
        static(rate_cap=[[0, 9], [6, 4]]).replace(events=[{"time": 7.0, "session": 0, "min_rate": 5}])


def test_scenarios_keep_them_in_yaml(tmp_path: Any) -> None:
    s = changing()
    s.to_yaml(tmp_path / "s.yaml")
    assert Scenario.from_yaml(tmp_path / "s.yaml") == s

"""Rewards by name and from elsewhere: equal in all three environments, refused where they are none."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import qnum_gym
from qnum_gym.envs import REWARDS, AllocationEnv, AllocationVectorEnv, Outcomes, Reward
from qnum_gym.registry import UnknownKind
from qnum_gym.scenarios import LinkEvent, Scenario, Session

STEPS = 8
DUMBBELL = qnum_gym.scenario("dumbbell")


def scenario() -> Scenario:
    """Weights, a session that comes and one that goes, a floor, a link that worsens."""
    base = qnum_gym.scenario("dumbbell", initial_rate=8.0, episode_length=STEPS)
    sessions = [
        Session(source="s0", destination="d0", weight=2.0, min_fidelity=0.95),
        Session(source="s1", destination="d1", measure="negativity", stop=4.5),
        Session(source="s2", destination="d2", start=2.5),
    ]
    return base.replace(sessions=sessions, events=[LinkEvent(time=3.25, link=("left", "right"), extra_loss_db=3.0)])


def in_three_shapes(reward: Any) -> tuple[AllocationEnv, list[float], list[np.ndarray]]:
    """The scalar environment after an episode, its rewards, and the sessions'; the other two give the same bits."""
    scalar = AllocationEnv(scenario(), reward=reward, signals=True)
    vector = AllocationVectorEnv(2, scenario(), reward=reward, signals=True, autoreset_mode="DISABLED")
    parallel = qnum_gym.parallel_env(scenario(), reward=reward)
    scalar.reset(seed=3)
    vector.reset(seed=[5, 3])
    parallel.reset(seed=3)
    idle = np.zeros(scalar.action_space.shape, np.float32)
    got, parts = [], []
    for _ in range(STEPS):
        _, value, *_, info = scalar.step(idle)
        _, many, *_, infos = vector.step(np.array([idle, idle]))
        _, each, _, _, of_agents = parallel.step(dict.fromkeys(parallel.agents, np.zeros(2, np.float32)))
        assert isinstance(value, float)
        assert value == many[1]
        assert {own["rewards/team"] for own in of_agents.values()} == {value}
        if not scalar.env_batch.reward.local:
            assert set(each.values()) == {value}
        np.testing.assert_array_equal(infos["rewards/session"][1], info["rewards/session"])
        assert [of_agents[f"source_{r}"]["rewards/session"] for r in range(3)] == info["rewards/session"].tolist()
        got.append(value)
        parts.append(info["rewards/session"])
    return scalar, got, parts


@pytest.mark.bits
@pytest.mark.parametrize("name", ["relative", "local", "share", "log", "interval"])
def test_named_rewards_are_what_they_say(name: str) -> None:
    env, got, parts = in_three_shapes(name)
    seen = env.outcome
    assert np.ptp(got) > 0.0
    counted = seen.counted > 0.0
    shares = seen.share[counted] / seen.share.sum()
    if name in ("relative", "local"):
        assert got[-1] == seen.relative
        assert shares @ parts[-1][counted] == pytest.approx(got[-1])
        return
    plain = AllocationEnv(scenario(), signals=True)  # with the default reward: the network is the same
    plain.reset(seed=3)
    rows, scores = [], []
    for _ in range(STEPS):
        *_, info = plain.step(np.zeros(20, np.float32))
        rows.append(plain.row)
        scores.append(info["metrics/score"])
    alone = [plain.env_batch.scores[0].outcome(row[np.newaxis]).score for row in rows]
    named = {"share": scores, "interval": alone, "log": [math.log(max(score, 1e-4)) for score in scores]}
    np.testing.assert_allclose(got, named[name], rtol=1e-12)
    if name == "share":
        assert np.exp(shares @ np.log(parts[-1][counted])) == pytest.approx(got[-1])
    if name == "log":
        expected = np.log(np.maximum(np.exp(seen.utilities[counted]) / seen.optimum, 1e-4))
        np.testing.assert_allclose(parts[-1][counted], expected)


def test_where_nobody_counts_every_reward_is_zero() -> None:
    late = qnum_gym.scenario("chain", episode_length=3)
    late = late.replace(sessions=[late.sessions[0].model_copy(update={"start": 50.0})])
    for name in REWARDS:
        env = AllocationEnv(late, reward=name)
        env.reset(seed=0)
        _, reward, *_, info = env.step(np.zeros(env.action_space.shape, np.float32))
        assert reward == 0.0
        assert not info["rewards/session"].any()


THROUGHPUT = """
from qnum_gym.envs import Reward

class Throughput(Reward):
    pooled = False

    def __call__(self, seen):
        return seen.rate.sum(axis=1)

    def per_session(self, seen):
        return seen.rate
"""


def test_a_reward_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(THROUGHPUT)
    env, got, parts = in_three_shapes(f"{path}:Throughput")
    assert got[-1] == env.telemetry.sessions.delivered[[0, 2]].sum() / 1.0  # the second session is off
    assert parts[-1].sum() == got[-1]
    made = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, reward=f"{path}:Throughput")
    made.reset(seed=0)
    pickle.loads(pickle.dumps(made)).step(made.action_space.sample())
    with pytest.raises(ValueError, match="has no Throughputs; did you mean 'Throughput'"):
        gym.make("qnum_gym/Dumbbell-v0", reward=f"{path}:Throughputs")


class Least(Reward):
    """The least of the sessions' rates."""

    local = True

    def __call__(self, seen: Outcomes) -> np.ndarray:
        return seen.rate.min(axis=1)


def test_a_reward_as_an_object_or_class_or_registered() -> None:
    env, got, parts = in_three_shapes(Least())
    assert got[-1] == env.outcome.rate.min()
    np.testing.assert_array_equal(parts[-1], np.full(3, got[-1]))  # `per_session` was not given
    assert in_three_shapes(Least)[1] == got
    REWARDS.register("least", Least)
    try:
        assert in_three_shapes("least")[1] == got
    finally:
        REWARDS.remove("least")


class Wrong(Reward):
    def __call__(self, seen: Outcomes) -> np.ndarray:
        return seen.rate


@pytest.mark.parametrize("make", [AllocationEnv, AllocationVectorEnv, qnum_gym.parallel_env])
def test_what_is_no_reward_is_refused(make: Any) -> None:
    def made(reward: Any) -> Any:
        return (
            make(scenario=qnum_gym.scenario("dumbbell"), reward=reward)
            if make is not qnum_gym.parallel_env
            else (make("dumbbell", reward=reward))
        )

    with pytest.raises(UnknownKind, match=r"reward = 'shear': did you mean 'share'\? valid: share, .*file.py:Class"):
        made("shear")
    for wrong in (3, dict, "math:pi", None):
        with pytest.raises(ValueError, match=r"reward = .*valid: share, log, interval, relative, local, or a subclass"):
            made(wrong)


def test_a_reward_of_a_wrong_shape_is_refused() -> None:
    env = AllocationEnv("dumbbell", reward=Wrong())
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"Wrong gives shape \(1, 3\); valid: \(1,\)"):
        env.step(np.zeros(10, np.float32))
    with pytest.raises(gym.error.ResetNeeded):
        env.step(np.zeros(10, np.float32))

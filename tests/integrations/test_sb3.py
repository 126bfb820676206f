"""The adapter gives SB3 exactly what its own DummyVecEnv over monitored scalar environments would."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from qnum_gym.envs import AllocationEnv
from qnum_gym.integrations.sb3 import SB3VecEnv


def adapted(num: int = 3, **arguments: object) -> SB3VecEnv:
    return SB3VecEnv(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=num, **arguments))


def test_same_as_dummy_vec_env() -> None:
    ours = adapted(episode_length=4)
    theirs = make_vec_env(lambda: AllocationEnv("dumbbell", episode_length=4), n_envs=3)
    ours.seed(5)
    theirs.seed(5)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    for _ in range(10):
        actions = rng.uniform(-1, 1, (3, 10)).astype(np.float32)
        for one, other in zip(ours.step(actions)[:3], theirs.step(actions)[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        ours_info, theirs_info = ours.step(actions)[3], theirs.step(actions)[3]
        for mine, monitored in zip(ours_info, theirs_info, strict=True):
            assert mine.get("TimeLimit.truncated", False) == monitored["TimeLimit.truncated"]
            assert ("episode" in mine) == ("episode" in monitored)
            if "episode" in mine:
                np.testing.assert_array_equal(mine["terminal_observation"], monitored["terminal_observation"])
                assert mine["episode"]["l"] == monitored["episode"]["l"] == 4
                assert mine["episode"]["r"] == pytest.approx(monitored["episode"]["r"], abs=1e-5)


def test_ppo_learns_through_it_and_its_state_is_data() -> None:
    envs = VecNormalize(adapted(4), norm_obs=False)
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, seed=0)
    model.learn(256)
    assert model.num_timesteps == 256
    inner = adapted(4)
    inner.seed(1)
    inner.reset()
    state = inner.get_state()
    actions = np.full((4, 10), 0.5, np.float32)
    first = [inner.step(actions) for _ in range(3)]
    inner.set_state(state)
    for (observations, rewards, dones, _), again in zip(first, (inner.step(actions) for _ in range(3)), strict=True):
        for one, other in zip((observations, rewards, dones), again[:3], strict=True):
            np.testing.assert_array_equal(one, other)


def test_metrics_on_demand() -> None:
    envs = SB3VecEnv(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2), metrics=True)
    envs.reset()
    *_, infos = envs.step(np.zeros((2, 10), np.float32))
    assert infos[1]["metrics"]["rate"].shape == (3,)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="valid: an AllocationVectorEnv"):
        SB3VecEnv(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match="SAME_STEP"):
        adapted(2, autoreset_mode="NextStep")
    envs = adapted(2)
    with pytest.raises(AttributeError, match="render_mode cannot be set"):
        envs.set_attr("render_mode", "ansi")
    with pytest.raises(AttributeError, match="single environments have no methods"):
        envs.env_method("render")
    assert envs.env_is_wrapped(gym.Wrapper) == [False, False]
    assert envs.get_attr("num_envs", [0]) == [2]

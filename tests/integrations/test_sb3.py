"""The adapter gives SB3 exactly what its own DummyVecEnv over monitored scalar environments would."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.wrappers import vector as wrappers
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from qnum_gym.envs import AllocationEnv
from qnum_gym.integrations.sb3 import SB3VecEnv


def adapted(num: int = 3, **arguments: Any) -> SB3VecEnv:
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


def test_networks_of_different_sizes_share_a_policy() -> None:
    scenarios = ["dumbbell", "nsfnet", "chain", "dumbbell"]
    envs = SB3VecEnv(
        gym.make_vec("qnum_gym/Scenario-v0", 4, scenario=scenarios, observation="graph", episode_length=10)
    )
    model = PPO("MultiInputPolicy", envs, n_steps=16, batch_size=32, n_epochs=1, seed=0, device="cpu")
    model.set_logger(Logger(None, []))  # the default one leaves a folder
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(128)
    assert any((value != before[name]).any() for name, value in model.policy.state_dict().items())
    envs.reset()
    _, _, over, infos = [envs.step(np.zeros((4, *(envs.action_space.shape or ())))) for _ in range(10)][-1]
    assert over.all()
    assert all(envs.observation_space.contains(info["terminal_observation"]) for info in infos)


@pytest.mark.filterwarnings("ignore:Your observation")  # of two axes, for which SB3 has no extractor of its own
def test_sb3_s_checker_accepts_a_graph() -> None:
    check_env(AllocationEnv("dumbbell", observation="graph", episode_length=5))


def test_made_by_itself_it_asks_for_same_step() -> None:
    """Equal to the one over a default environment; information only where it is asked for."""
    made, given = SB3VecEnv.make("qnum_gym/Dumbbell-v0", 3, episode_length=4), adapted(episode_length=4)
    assert made.envs.metadata["autoreset_mode"] == gym.vector.AutoresetMode.SAME_STEP
    for envs in (made, given):
        envs.seed(5)
    np.testing.assert_array_equal(made.reset(), given.reset())
    actions = np.full((3, 10), 0.5, np.float32)
    for step in range(1, 6):
        (*mine, infos), (*others, _) = made.step(actions), given.step(actions)
        for one, other in zip(mine, others, strict=True):
            np.testing.assert_array_equal(one, other)
        assert set(infos[0]) == ({"terminal_observation", "TimeLimit.truncated", "episode"} if step == 4 else set())
    asked = SB3VecEnv.make("qnum_gym/Dumbbell-v0", metrics=True)
    asked.reset()
    assert asked.step(actions[:1])[3][0]["metrics/time"] == 1.0


def test_ppo_learns_through_it_and_its_state_is_data() -> None:
    envs = VecNormalize(adapted(4), norm_obs=False)
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, seed=0)
    model.set_logger(Logger(None, []))  # the default one leaves a folder
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


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
def test_metrics_on_demand_are_of_the_step_itself(mode: str) -> None:
    """At the end of an episode too, as in SB3's own DummyVecEnv; the next episode's first are in `reset_infos`."""
    made = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=3, autoreset_mode=mode)
    ours = SB3VecEnv(made, metrics=True)
    theirs = make_vec_env(lambda: AllocationEnv("dumbbell", episode_length=3), n_envs=2)
    ours.seed(5)
    theirs.seed(5)
    ours.reset()
    theirs.reset()
    rng = np.random.default_rng(0)
    for _ in range(7):
        actions = rng.uniform(-1, 1, (2, 10)).astype(np.float32)
        mine, others = ours.step(actions), theirs.step(actions)
        for i in range(2):
            pairs = [(mine[3][i], others[3][i])]
            if mine[2][i]:
                pairs.append((ours.reset_infos[i], theirs.reset_infos[i]))
            for one, other in pairs:
                special = {"TimeLimit.truncated", "terminal_observation", "episode"}
                assert one.keys() - special == other.keys() - special
                for key in other.keys() - special:
                    np.testing.assert_array_equal(one[key], other[key])
    assert ours.reset_infos[0]["metrics/time"] == 0.0


def shifted(observation: np.ndarray) -> np.ndarray:
    return observation + np.float32(5.0)


WRAPPERS = {
    "rewards": (
        lambda envs: wrappers.TransformReward(envs, lambda reward: 0 * reward + 7.0),
        lambda env: gym.wrappers.TransformReward(env, lambda reward: 7.0),
    ),
    "actions": (
        lambda envs: wrappers.RescaleAction(envs, np.float32(-3.0), np.float32(3.0)),  # pyright: ignore[reportArgumentType]
        lambda env: gym.wrappers.RescaleAction(env, np.float32(-3.0), np.float32(3.0)),
    ),
    "observations": (
        lambda envs: wrappers.VectorizeTransformObservation(
            envs,
            gym.wrappers.TransformObservation,
            func=shifted,
            observation_space=gym.spaces.Box(4, 6, envs.single_observation_space.shape, np.float32),
        ),
        lambda env: gym.wrappers.TransformObservation(
            env, shifted, gym.spaces.Box(4, 6, env.observation_space.shape, np.float32)
        ),
    ),
}


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP", "DISABLED"])
@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_stepped(name: str, mode: str) -> None:
    """As over scalar environments in the same wrappers: spaces, observations, rewards, last observations."""
    many, single = WRAPPERS[name]
    made = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=3, autoreset_mode=mode)
    if name == "observations" and mode == "SAME_STEP":
        pytest.skip("Gymnasium's wrappers of observations refuse this mode")
    ours = SB3VecEnv(many(made))
    theirs = make_vec_env(lambda: single(AllocationEnv("dumbbell", episode_length=3)), n_envs=2)
    assert ours.action_space == theirs.action_space
    assert ours.observation_space == theirs.observation_space
    ours.seed(5)
    theirs.seed(5)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    rng = np.random.default_rng(0)
    high = vars(ours.action_space)["high"]
    for _ in range(7):
        actions = rng.uniform(-high, high, (2, 10)).astype(np.float32)
        mine, others = ours.step(actions), theirs.step(actions)
        for one, other in zip(mine[:3], others[:3], strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(mine[3], others[3], strict=True):
            assert ("terminal_observation" in one) == ("terminal_observation" in other)
            if "terminal_observation" in one:
                np.testing.assert_array_equal(one["terminal_observation"], other["terminal_observation"])
    with pytest.raises(ValueError, match="the state of a wrapper is unknown"):
        ours.get_state()


def test_normalised_observations_are_gymnasiums() -> None:
    """Statistics count what NEXT_STEP shows: every step, and the first observation of each episode."""
    plain = wrappers.NormalizeObservation(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=3))
    ours = SB3VecEnv(wrappers.NormalizeObservation(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=3)))
    ours.seed(1)
    np.testing.assert_array_equal(ours.reset(), plain.reset(seed=1)[0])
    actions = np.full((2, 10), 0.5, np.float32)
    for _ in range(7):
        observations, _, dones, infos = ours.step(actions)
        expected, _, _, over, _ = plain.step(actions)
        if over.all():
            assert dones.all()
            np.testing.assert_array_equal([info["terminal_observation"] for info in infos], expected)
            expected = plain.step(actions)[0]  # the step that resets
        np.testing.assert_array_equal(observations, expected)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="valid: an AllocationVectorEnv"):
        SB3VecEnv(gym.make_vec("CartPole-v1", num_envs=2))
    with pytest.raises(ValueError, match="information is a list; valid: without DictInfoToList"):
        SB3VecEnv(wrappers.DictInfoToList(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2))).reset()
    envs = adapted(2)
    with pytest.raises(AttributeError, match="render_mode cannot be set"):
        envs.set_attr("render_mode", "ansi")
    with pytest.raises(AttributeError, match="single environments have no methods"):
        envs.env_method("render")
    for options in ({"scenario": "dumbbell"}, [{}, {"scenario": "dumbbell"}]):
        with pytest.raises(ValueError, match="valid: none, a SB3VecEnv is reset without"):
            envs.set_options(options)
    envs.set_options()
    assert envs.env_is_wrapped(gym.Wrapper) == [False, False]
    assert envs.get_attr("num_envs", [0]) == [2]
    wrapped = SB3VecEnv(wrappers.ClipReward(gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2), 0.0, 1.0))
    assert wrapped.get_attr("controls", [0])[0].rates.shape == (2, 3)  # of the environment beneath

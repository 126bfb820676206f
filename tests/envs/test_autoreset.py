"""What happens where an episode ends: as in Gymnasium's own `SyncVectorEnv` over scalar environments, in every mode."""

from __future__ import annotations

import re
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import vector as wrappers

import qnum_gym
from qnum_gym import ScenarioError
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv

from .test_vector import NUM, scenarios

MODES = [mode.name for mode in AutoresetMode]


def pair(mode: str, **keywords: Any) -> tuple[AllocationVectorEnv, SyncVectorEnv]:
    ours = AllocationVectorEnv(NUM, scenarios(), autoreset_mode=mode, threads=1, **keywords)
    makers = [lambda s=s: AllocationEnv(s, **keywords) for s in scenarios()]
    return ours, SyncVectorEnv(makers, autoreset_mode=AutoresetMode[mode])


def same(ours: Any, theirs: Any, where: str = "") -> None:
    """Equal in keys, types, shapes and bits."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            same(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, np.ndarray) and theirs.dtype == object:
        assert [x is None for x in ours] == [x is None for x in theirs], where
        for one, other in zip(ours, theirs, strict=True):
            if other is not None:
                same(one, other, where)
    else:
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape), where
        np.testing.assert_array_equal(ours, theirs, where)


def steps(envs: Any, count: int, seed: int = 0) -> list[Any]:
    """What `reset` and every step of random actions give; where it is disabled, who is over is reset between them."""
    rng = np.random.default_rng(seed)
    found = [envs.reset(seed=11)]
    disabled = envs.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    for _ in range(count):
        actions = rng.uniform(-1, 1, envs.action_space.shape).astype(np.float32)
        found.append(envs.step(actions))
        over = found[-1][3]
        if disabled and over.any():
            found.append(envs.reset(options={"reset_mask": over.copy()}))
    return found


@pytest.mark.bits
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("info", ["flat", "none"])
def test_equal_to_gymnasiums_own(mode: str, info: str) -> None:
    ours, theirs = pair(mode, signals=True, info=info)
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"]
    for i, (mine, other) in enumerate(zip(steps(ours, 40), steps(theirs, 40), strict=True)):
        for part, (one, two) in enumerate(zip(mine, other, strict=True)):
            same(one, two, f"{i}, part {part}: ")


def test_the_ignored_action_may_be_anything() -> None:
    """In NEXT_STEP the step after the last one takes no action of who resets, in Gymnasium not even a look at it."""
    ours, theirs = pair("NEXT_STEP")
    for envs in (ours, theirs):
        envs.reset(seed=3)
    over = np.zeros(NUM, bool)
    for _ in range(14):
        actions = np.where(over[:, np.newaxis], np.nan, np.full(ours.action_space.shape, 0.25))
        mine, other = ours.step(actions), theirs.step(actions)
        for one, two in zip(mine, other, strict=True):
            same(one, two)
        over = mine[3]
    with pytest.raises(ValueError, match="= nan; valid: -1 to 1"):
        ours.step(np.full(ours.action_space.shape, np.nan))


def test_the_default_is_gymnasiums() -> None:
    envs: Any = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=5)
    assert envs.metadata["autoreset_mode"] == envs.autoreset_mode == AutoresetMode.NEXT_STEP
    for name in ("SAME_STEP", "SameStep", AutoresetMode.SAME_STEP):
        made = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, autoreset_mode=name)
        assert made.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    with pytest.raises(ValueError, match=r"autoreset_mode = 'same'; valid: NEXT_STEP, SAME_STEP, DISABLED"):
        gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, autoreset_mode="same")


def test_episodes_as_rllib_counts_them() -> None:
    """RLlib's runner: the observation at the end is the last one, the next one the next episode's first."""
    envs = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=1, episode_length=5)
    scalar = gym.make("qnum_gym/Dumbbell-v0", episode_length=5)
    observation, _ = envs.reset(seed=0)
    episodes = [[observation[0]]]
    over = False
    while len(episodes) < 4:
        observation, _, _, truncated, _ = envs.step(np.zeros((1, 10), np.float32))
        if over:
            episodes.append([observation[0]])
        else:
            episodes[-1].append(observation[0])
        over = truncated[0]
    assert [len(episode) - 1 for episode in episodes[:3]] == [5, 5, 5]
    for episode in episodes[:3]:
        own, _ = scalar.reset(seed=0) if episode is episodes[0] else scalar.reset()
        for seen in episode:
            np.testing.assert_array_equal(seen, own)
            if seen is not episode[-1]:
                own = scalar.step(np.zeros(10, np.float32))[0]


THREE: Any = np.float32(3.0)
WRAPPED: dict[str, Any] = {
    "statistics": wrappers.RecordEpisodeStatistics,
    "normalised observations": wrappers.NormalizeObservation,
    "normalised rewards": wrappers.NormalizeReward,
    "rescaled actions": lambda envs: wrappers.RescaleAction(envs, -THREE, THREE),
    "clipped actions": wrappers.ClipAction,
    "clipped rewards": lambda envs: wrappers.ClipReward(envs, -1.0, 1.0),
    "flat": wrappers.FlattenObservation,
    "list": wrappers.DictInfoToList,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrappers_see_the_same(wrapper: str, mode: str) -> None:
    """Equal over ours and over Gymnasium's, wall time apart; and what refuses a mode refuses it for both."""
    envs: list[Any] = [AllocationVectorEnv(2, "dumbbell", episode_length=4, autoreset_mode=mode)]
    make = lambda: AllocationEnv("dumbbell", episode_length=4)  # noqa: E731
    envs.append(SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode[mode]))
    try:
        ours, theirs = map(WRAPPED[wrapper], envs)
    except ValueError as error:
        assert wrapper in ("normalised observations", "flat")
        assert mode != "NEXT_STEP"
        with pytest.raises(ValueError, match=re.escape(str(error))):
            WRAPPED[wrapper](envs[1])
        return
    if wrapper == "statistics" and mode == "DISABLED":
        pytest.skip("SyncVectorEnv takes reset_mask away from the wrapper, which then counts on")
    for mine, other in zip(steps(ours, 11), steps(theirs, 11), strict=True):
        for one, two in zip(mine[:-1], other[:-1], strict=True):
            np.testing.assert_array_equal(one, two)
        infos = zip(mine[-1], other[-1], strict=True) if wrapper == "list" else [(mine[-1], other[-1])]
        for one, two in infos:
            assert one.keys() == two.keys()
            if "episode" in two:
                np.testing.assert_array_equal(one["episode"]["l"], two["episode"]["l"])
                np.testing.assert_array_equal(one["episode"]["r"], two["episode"]["r"])


def test_statistics_count_each_step_once() -> None:
    envs = wrappers.RecordEpisodeStatistics(gym.make_vec("qnum_gym/Dumbbell-v0", 2, episode_length=3))
    envs.reset(seed=0)
    lengths, returns, total = [], [], np.zeros(2)
    for _ in range(12):
        _, rewards, _, _, info = envs.step(np.zeros((2, 10), np.float32))
        total += rewards
        if "episode" in info:
            lengths.append(info["episode"]["l"].tolist())
            returns.append(info["episode"]["r"])
            np.testing.assert_allclose(returns[-1], total)
            total[:] = 0.0
    assert lengths == [[3, 3]] * 3


@pytest.mark.parametrize("value", [-1, 0, True, 3.0, "3", np.float64(3.0)])
def test_a_time_limit_is_a_positive_integer(value: Any) -> None:
    with pytest.raises(ValueError, match=r"max_episode_steps = .*; valid: a positive integer"):
        gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, max_episode_steps=value)
    with pytest.raises(ValueError, match=r"num_envs = .*; valid: a positive integer"):
        AllocationVectorEnv(value, "dumbbell")


def test_a_refused_reset_changes_nothing() -> None:
    ours, untouched = (AllocationVectorEnv(3, "dumbbell", threads=1) for _ in range(2))
    for envs in (ours, untouched):
        envs.reset(seed=5)
        envs.step(np.full((3, 10), 0.5))
    mask = np.array([True, False, True])
    wrong: tuple[dict[str, Any], ...] = (
        {"seed": [1, 2, -3]},
        {"seed": [1, 2, 3.5]},
        {"seed": [1, 2]},
        {"seed": -1},
        {"seed": 7, "options": {"mask": mask}},
        {"seed": 7, "options": ["reset_mask"]},
        {"seed": 7, "options": {"reset_mask": mask[:2]}},
        {"seed": 7, "options": {"reset_mask": ~mask & mask}},
        {"seed": 7, "options": {"reset_mask": mask.astype(float)}},
    )
    for keywords in wrong:
        with pytest.raises((ValueError, gym.error.Error)):
            ours.reset(**keywords)
    a, b = ours.get_state(), untouched.get_state()
    assert a["randoms"] == b["randoms"]
    same(a["env_batch"]["arrays"], b["env_batch"]["arrays"])
    for mine, other in zip(ours.reset(), untouched.reset(), strict=True):
        same(mine, other)


def test_the_interval_in_which_next_step_resets_is_within_the_clock() -> None:
    slow: dict[str, Any] = {"initial_rate": 1e-6, "rate_range": (1e-7, 1e-5)}
    longest = qnum_gym.scenario("chain", control_interval=1e6, episode_length=100, **slow)
    with pytest.raises(ScenarioError, match=r"control_interval = 1e\+06: 100 intervals, and the one in which"):
        AllocationVectorEnv(1, longest)
    AllocationVectorEnv(1, longest.replace(episode_length=99))
    AllocationVectorEnv(1, longest, autoreset_mode="SameStep")

"""The native vector environment is n scalar ones, bit for bit."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.scenarios import LinkEvent, Scenario, Session

NUM = 5


def scenarios() -> list[Scenario]:
    """Five different ones over one topology: events, losses, measures, intervals, ranges."""
    base = qnum_gym.scenario("dumbbell", episode_length=12)
    knobs = zip(("secret_key", "negativity", "distillable"), (0.0, 2.5, 0.0), (1.0, 2.0, 3.0), strict=True)
    sessions = [
        Session(source=f"s{i}", destination=f"d{i}", measure=measure, start=start, weight=weight)
        for i, (measure, start, weight) in enumerate(knobs)
    ]
    return [
        base,
        base.replace(sessions=sessions, episode_length=9),
        base.replace(events=[LinkEvent(time=3.25, link=("left", "right"), extra_loss_db=3.0)], message_loss=0.05),
        base.replace(control_interval=0.3, werner_range=(0.8, 0.99), rate_range=(0.5, 80.0)),
        base.replace(measure="negativity", coherence_time=1.0, discipline="fair", memory=4),
    ]


def same(ours: Any, theirs: Any, where: str = "") -> None:
    if isinstance(theirs, dict):
        for key in theirs:
            same(ours[key], theirs[key], f"{where}/{key}")
    else:
        np.testing.assert_array_equal(ours, theirs, err_msg=where)


def of(info: dict[str, Any], i: int) -> dict[str, Any]:
    """Environment i's share of a vector environment's info, without the masks."""
    shares = {k: v for k, v in info.items() if not k.startswith("_")}
    return {k: of(v, i) if isinstance(v, dict) else v[i] for k, v in shares.items()}


@pytest.mark.bits
@pytest.mark.parametrize("mode", ["SAME_STEP", "NEXT_STEP"])
@pytest.mark.parametrize("kind", ["step", "level"])
@pytest.mark.parametrize("threads", [1, 3])
def test_equal_to_scalar_environments(mode: str, kind: Any, threads: int) -> None:
    vector = AllocationVectorEnv(
        NUM, scenarios(), action=kind, signals=True, autoreset_mode=AutoresetMode[mode], threads=threads
    )
    scalars = [AllocationEnv(s, action=kind, signals=True) for s in scenarios()]
    observations, info = vector.reset(seed=11)
    rng = np.random.default_rng(0)
    for i, env in enumerate(scalars):
        observation, own = env.reset(seed=11 + i)
        same(observations[i], observation)
        same(of(info, i), own)
    over = [False] * NUM
    ended = 0
    for _ in range(40):
        actions = rng.uniform(-1, 1, (NUM, *vector.single_action_space.shape)).astype(np.float32)
        observations, rewards, terminated, truncated, info = vector.step(actions)
        assert not terminated.any()
        for i, env in enumerate(scalars):
            if mode == "NEXT_STEP" and over[i]:
                observation, own = env.reset()
                reward, done = 0.0, False
            else:
                observation, reward, _, done, own = env.step(actions[i])
            assert (rewards[i], truncated[i]) == (reward, done)
            if done and mode == "SAME_STEP":
                assert info["_final_obs"][i]
                assert info["_final_info"][i]
                same(info["final_obs"][i], observation)
                same(of(info["final_info"], i), own)
                observation, own = env.reset()
            own_info = {key: value for key, value in info.items() if not key.startswith("final")}
            same(observations[i], observation)
            same(of(own_info, i), own)
            ours, theirs = vector.env_batch.simulators[i].get_state(), env.simulator.get_state()
            same(ours["arrays"], theirs["arrays"])
            over[i] = done
            ended += done
    assert ended > 12


@pytest.mark.bits
def test_any_number_of_threads_gives_the_same_bits() -> None:
    each = [AllocationVectorEnv(NUM, scenarios(), signals=True, threads=threads) for threads in (1, 2, 3)]
    one, *others = each
    for envs in each:
        envs.reset(seed=5)
    one.action_space.seed(1)
    for _ in range(25):
        actions = one.action_space.sample()
        first = one.step(actions)
        for envs in others:
            for ours, theirs in zip(envs.step(actions), first, strict=True):
                same(ours, theirs)
    for envs in others:
        for ours, theirs in zip(envs.env_batch.simulators, one.env_batch.simulators, strict=True):
            same(ours.get_state()["arrays"], theirs.get_state()["arrays"])


@pytest.mark.parametrize("threads", [1, 2])
def test_refused_input_steps_nothing(threads: int) -> None:
    envs, untouched = (AllocationVectorEnv(3, "dumbbell", threads=threads) for _ in range(2))
    for each in (envs, untouched):
        each.reset(seed=0)
    for where in ((0, 0), (2, 9)):
        for bad in (np.nan, 1.5, -np.inf):
            actions = np.zeros((3, 10))
            actions[where] = bad
            with pytest.raises(ValueError, match=rf"action\[{where[0]}, {where[1]}\] = {bad}"):
                envs.step(actions)
    controls = envs.controls
    controls.werner[2, 6] = 1.5
    with pytest.raises(ValueError, match=r"werner\[2, 6\] = 1.5"):
        envs.step_controls(controls)
    same(envs.get_state()["env_batch"]["arrays"], untouched.get_state()["env_batch"]["arrays"])
    for ours, theirs in zip(envs.step(np.zeros((3, 10))), untouched.step(np.zeros((3, 10))), strict=True):
        same(ours, theirs)


def test_made_by_gymnasium() -> None:
    envs = gym.make_vec("qnum_gym/NSFNet-v0", num_envs=3, episode_length=4)
    assert isinstance(envs, AllocationVectorEnv)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    first, _ = envs.reset(seed=1)
    again, _ = envs.reset(seed=1)
    np.testing.assert_array_equal(first, again)
    assert envs.observation_space.contains(first)
    for _ in range(9):
        observations, *_ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observations)
    shorter = gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, max_episode_steps=3)
    shorter.reset(seed=0)
    ends = [shorter.step(shorter.action_space.sample())[3].all() for _ in range(6)]
    assert ends == [False, False, True, False, False, False]


def test_wrappers_of_gymnasium_work() -> None:
    envs = gym.wrappers.vector.RecordEpisodeStatistics(
        gym.make_vec("qnum_gym/Dumbbell-v0", num_envs=2, episode_length=3, autoreset_mode="SAME_STEP")
    )
    envs = gym.wrappers.vector.DictInfoToList(envs)
    envs.reset(seed=0)
    for _ in range(3):
        *_, infos = envs.step(envs.action_space.sample())
    assert infos[1]["episode"]["l"] == 3
    assert infos[1]["final_info"]["metrics/rate"].shape == (3,)


def test_disabled_autoreset() -> None:
    envs = AllocationVectorEnv(3, "dumbbell", autoreset_mode=AutoresetMode.DISABLED, episode_length=2)
    envs.reset(seed=[3, None, 5])
    envs.step(envs.action_space.sample())
    *_, truncated, _ = envs.step(envs.action_space.sample())
    assert truncated.all()
    with pytest.raises(gym.error.ResetNeeded, match="reset them"):
        envs.step(envs.action_space.sample())
    envs.reset(options={"reset_mask": np.array([True, True, False])})
    with pytest.raises(gym.error.ResetNeeded, match=r"\[2\]"):
        envs.step(envs.action_space.sample())
    envs.reset(options={"reset_mask": np.array([False, False, True])})
    envs.step(envs.action_space.sample())


def test_arrays_handed_out_stay() -> None:
    envs = AllocationVectorEnv(2, "dumbbell")
    observations, info = envs.reset(seed=0)
    kept = observations.copy(), info["metrics/rate"].copy(), info["controls/rates"].copy()
    for _ in range(3):
        envs.step(envs.action_space.sample())
    for now, before in zip((observations, info["metrics/rate"], info["controls/rates"]), kept, strict=True):
        same(now, before)


def test_env_batch_continues_bit_for_bit() -> None:
    envs = AllocationVectorEnv(NUM, scenarios())
    envs.reset(seed=2)
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(10)]
    for action in actions[:5]:
        envs.step(action)
    pickled, restored = pickle.loads(pickle.dumps(envs)), AllocationVectorEnv(NUM, scenarios())
    restored.set_state(envs.get_state())
    for action in actions[5:]:
        result = envs.step(action)
        for copy in (pickled, restored):
            for ours, theirs in zip(result, copy.step(action), strict=True):
                same(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs = 0; valid: a positive integer"),
        ({"num_envs": 2, "scenario": ["dumbbell"]}, "scenario has 1 entries; valid: 2"),
        ({"num_envs": 2, "scenario": ["dumbbell", "nsfnet"]}, "all the same"),
        ({"num_envs": 1, "coherence": 3.0}, "coherence: unknown keyword"),
        ({"num_envs": 1, "threads": 0}, "threads = 0"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AllocationVectorEnv(**{"scenario": "dumbbell", **arguments})


def test_refused_actions_and_seeds() -> None:
    envs = AllocationVectorEnv(2, "dumbbell")
    with pytest.raises(gym.error.ResetNeeded):
        envs.step(envs.action_space.sample())
    with pytest.raises(ValueError, match="seed has 3 entries; valid: 2"):
        envs.reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="'mask' unknown; valid: 'reset_mask'"):
        envs.reset(options={"mask": None})
    with pytest.raises(ValueError, match="reset_mask has shape"):
        envs.reset(options={"reset_mask": [True]})
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"action\[1, 3\] = nan"):
        envs.step(np.where(np.arange(20).reshape(2, 10) == 13, np.nan, 0.0))
    with pytest.raises(ValueError, match=r"action has shape \(10,\)"):
        envs.step(np.zeros(10))

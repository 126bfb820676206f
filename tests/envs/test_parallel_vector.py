"""The native parallel environment is n PettingZoo environments, as arrays."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence

import qnum_gym
from qnum_gym.envs import AllocationParallelVectorEnv, AllocationVectorEnv
from qnum_gym.envs.observations import of_one
from qnum_gym.scenarios import LinkEvent, ScenarioError
from tests.envs.test_parallel import LENGTH, dynamic

NSFNET = qnum_gym.scenario("nsfnet", episode_length=LENGTH)
CHAIN = qnum_gym.scenario("chain", episode_length=LENGTH - 2, control_interval=0.5)


def drawn(env: AllocationParallelVectorEnv, rng: np.random.Generator) -> np.ndarray:
    """Actions of all agents, NaN where there is none."""
    actions = rng.uniform(-1, 1, env.action_space.shape or ()).astype(np.float32)
    return np.where(env.agent_mask[:, :, np.newaxis], actions, np.nan)


def same_infos(ours: dict[str, Any], i: int, theirs: dict[str, dict[str, Any]], mask: np.ndarray) -> None:
    """Every agent's information stands in the arrays, under the same keys."""
    n = next(k for k, agent in enumerate(theirs) if agent.startswith("link"))
    keys = {key for key in ours if not key.startswith(("_", "final"))}
    assert keys == {key for own in theirs.values() for key in own}
    for place, (agent, own) in zip(np.flatnonzero(mask), theirs.items(), strict=True):
        k = list(theirs).index(agent)
        for key, value in own.items():
            row = ours[key][i]
            whole = len(mask) if key in ("rewards/local", "controls/signal") else 0
            entry = row if np.ndim(row) == 0 else row[place if whole else k - (n if agent.startswith("link") else 0)]
            assert entry == value, (agent, key)


@pytest.mark.bits
@pytest.mark.parametrize(("mode", "reward"), [("NEXT_STEP", "local"), ("SAME_STEP", "share"), ("DISABLED", "local")])
def test_it_is_n_parallel_environments(mode: str, reward: str) -> None:
    scenarios = [CHAIN, NSFNET, dynamic()]
    native = AllocationParallelVectorEnv(
        3, scenarios, observation="graph", reward=reward, autoreset_mode=mode, threads=2
    )
    each = [qnum_gym.parallel_env(scenario, observation="graph", reward=reward) for scenario in scenarios]
    rng, over = np.random.default_rng(0), np.zeros(3, bool)
    seen, info = native.reset(seed=4)
    firsts = [env.reset(seed=4 + i) for i, env in enumerate(each)]
    for i, (observations, infos) in enumerate(firsts):
        np.testing.assert_array_equal(seen[i, native.agent_mask[i]], list(observations.values()))
        same_infos(info, i, infos, native.agent_mask[i])
    for step in range(2 * LENGTH + 3):
        if step == 5:
            native = pickle.loads(pickle.dumps(native))
        if step == 9:
            native = copy.deepcopy(native)
        if mode == "DISABLED" and over.any():
            native.reset(options={"reset_mask": over})
            for i in np.flatnonzero(over):
                each[i].reset()
        actions = drawn(native, rng)
        if mode == "NEXT_STEP":
            actions[over] = np.nan  # those who reset ignore their actions
        seen, rewards, terminated, truncated, info = native.step(actions)
        assert seen.shape == (3, *native.single_observation_space.shape)
        assert rewards.shape == (3, len(native.possible_agents))
        assert not terminated.any()
        state = native.state()
        for i, env in enumerate(each):
            mask, ended = native.agent_mask[i], False
            assert not seen[i, ~mask].any()
            assert not rewards[i, ~mask].any()
            if mode == "NEXT_STEP" and over[i]:
                observations, infos = env.reset()
                assert not rewards[i].any()
            else:
                own = dict(zip(env.agents, actions[i, mask], strict=True))
                observations, scores, _, dones, infos = env.step(own)
                assert rewards[i, mask].tolist() == list(scores.values())
                ended = all(dones.values())
                if ended and mode == "SAME_STEP":
                    np.testing.assert_array_equal(info["final_obs"][i][mask], list(observations.values()))
                    same_infos(info["final_info"], i, infos, mask)
                    observations, infos = env.reset()
            assert truncated[i] == ended
            np.testing.assert_array_equal(seen[i, mask], list(observations.values()))
            same_infos(info, i, infos, mask)
            for key in ("sessions", "links", "nodes"):
                alone = env.state()[key]
                np.testing.assert_array_equal(of_one(state, i)[key][: len(alone)], alone)
        over = truncated
    assert np.isfinite(rewards).all()


def test_names_groups_and_spaces() -> None:
    env = qnum_gym.parallel_vector_env("NSFNet-v0", 2, info="none")
    par = qnum_gym.parallel_env("NSFNet-v0")
    assert env.possible_agents == par.possible_agents == [agent for group in env.groups.values() for agent in group]
    for name, rows in env.rows.items():
        assert env.possible_agents[rows] == env.groups[name]
    assert env.agent_observation_space == par.observation_space("link_3")
    assert env.agent_action_space == par.action_space("source_0")
    assert env.state_space == par.state_space
    seen, info = env.reset(seed=[3, 4])
    assert info == {}
    assert env.observation_space.contains(seen)
    assert env.state().shape == (2, *par.state_space.shape)
    par.reset(seed=4)
    np.testing.assert_array_equal(env.state()[1], par.state())
    assert env.agent_mask.all()
    assert qnum_gym.parallel_vector_env("NSFNet-v0", signals=False).action_space.shape == (
        1,
        len(env.possible_agents),
        1,
    )


def test_agents_of_sessions_that_are_off_and_of_links_that_are_down_are_masked() -> None:
    a, *others = qnum_gym.scenario("dumbbell").sessions
    scenario = qnum_gym.scenario("dumbbell").replace(
        sessions=[a.model_copy(update={"start": 1.5, "stop": 3.5}), *others],
        events=[LinkEvent(time=t, link=("left", "right"), up=up) for t, up in ((0.5, False), (3.5, True))],
    )
    env = qnum_gym.parallel_vector_env(scenario, 2)
    env.reset(seed=0)
    for time in range(1, 6):
        env.step(np.zeros(env.action_space.shape))
        on = [1.5 <= time < 3.5, True, True]
        up = [{link.a, link.b} != {"left", "right"} or time >= 4 for link in scenario.links]
        assert env.action_mask.tolist() == [on + up] * 2


def test_controls_in_physical_units_and_states() -> None:
    native, vector = qnum_gym.parallel_vector_env("dumbbell", 2), AllocationVectorEnv(2, "dumbbell", signals=True)
    native.reset(seed=1)
    vector.reset(seed=1)
    controls = vector.controls
    rewards = [env.step_controls(controls)[1] for env in (native, vector)]
    assert rewards[0].tolist() == [[reward] * 10 for reward in rewards[1]]
    state = native.get_state()
    actions = np.random.default_rng(0).uniform(-1, 1, native.action_space.shape)
    first = native.step(actions)
    native.set_state(state)
    assert data_equivalence(first, native.step(actions), exact=True)


def test_what_is_refused() -> None:
    env = qnum_gym.parallel_vector_env("dumbbell", 2)
    with pytest.raises(ResetNeeded):
        env.step(np.zeros((2, 10, 2)))
    env.reset(seed=0)
    before = env.get_state()
    for where, wrong in (((1, 4, 1), 1.5), ((0, 2, 0), np.nan)):
        actions = np.zeros((2, 10, 2))
        actions[where] = wrong
        name = env.possible_agents[where[1]]
        with pytest.raises(
            ValueError, match=rf"actions\[{where[0]}\] of {name}: \[{where[2]}\] = {wrong}; valid: -1 to 1"
        ):
            env.step(actions)
    with pytest.raises(ValueError, match=r"actions has shape \(2, 20\); valid: \(2, 10, 2\)"):
        env.step(np.zeros((2, 20)))
    assert data_equivalence(before, env.get_state(), exact=True)
    with pytest.raises(ValueError, match="valid: all the same, or observation='graph'"):
        qnum_gym.parallel_vector_env(["dumbbell", "nsfnet"], 2)
    with pytest.raises(ScenarioError, match=r"id = 'NSFNet-v9'"):
        qnum_gym.parallel_vector_env("NSFNet-v9", 2)
    with pytest.raises(TypeError, match="colour"):
        qnum_gym.parallel_vector_env("nsfnet", 2, colour="red")

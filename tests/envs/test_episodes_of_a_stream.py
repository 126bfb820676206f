"""Environments whose episodes have another network each: the same bits in all three, by seed, and states that go on."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from pettingzoo.test import parallel_api_test, parallel_seed_test
from stable_baselines3.common.vec_env import SubprocVecEnv

import qnum_gym
from qnum_gym import Scenario, ScenarioError, Stream
from qnum_gym.cli.common import UsageError, scenario_of_id
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.observations import of_one
from qnum_gym.optimum.yardstick import known

from .test_autoreset import same, steps

LENGTH = 4


def different() -> list[Scenario]:
    """Of all sizes, lengths and intervals; one in which sessions come and go."""
    dumbbell = qnum_gym.scenario("dumbbell", episode_length=LENGTH, name="three")
    sessions = [dumbbell.sessions[0].model_copy(update={"start": 1.5}), dumbbell.sessions[1]]
    return [
        dumbbell,
        dumbbell.replace(name="late", sessions=sessions, episode_length=LENGTH - 1),
        qnum_gym.scenario("chain", nodes=9, sessions=1, episode_length=LENGTH, control_interval=0.5),
    ]


def alike() -> list[Scenario]:
    """Of one size."""
    lengths = (5.0, 10.0, 20.0)
    return [qnum_gym.scenario("chain", sessions=2, length_km=x, episode_length=LENGTH, name=f"{x:g}") for x in lengths]


STREAMS: dict[str, tuple[Any, str]] = {"graph": (different, "graph"), "flat": (alike, "flat")}


def stream(kind: str) -> dict[str, Any]:
    """Keywords of an environment, with a stream of its own."""
    networks, observation = STREAMS[kind]
    return {"scenario": Stream(networks()), "observation": observation}


@pytest.mark.bits
@pytest.mark.parametrize("mode", [mode.name for mode in AutoresetMode])
@pytest.mark.parametrize("kind", STREAMS)
def test_vector_and_scalar_agree(kind: str, mode: str) -> None:
    """Over episodes of several networks, key by key, as Gymnasium's own over scalar environments."""
    ours = AllocationVectorEnv(3, **stream(kind), autoreset_mode=mode, threads=1)
    theirs: Any = SyncVectorEnv([lambda: AllocationEnv(**stream(kind))] * 3, autoreset_mode=AutoresetMode[mode])
    for i, (mine, other) in enumerate(zip(steps(ours, 14), steps(theirs, 14), strict=True)):
        for part, (one, two) in enumerate(zip(mine, other, strict=True)):
            same(one, two, f"{i}, part {part}: ")
    assert ours.env_batch.scenarios == tuple(env.unwrapped.scenario for env in theirs.envs)


def episodes(env: Any, count: int, seed: int | None) -> Iterator[Any]:
    """Everything that fixed actions bring about; the scenario's name after each reset."""
    rng = np.random.default_rng(1)
    for k in range(count):
        yield env.reset(seed=seed if k == 0 else None), env.unwrapped.scenario.name
        truncated = False
        while not truncated:
            result = env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
            truncated = result[3]
            yield result


def parallel(**keywords: Any) -> Any:
    return qnum_gym.parallel_env(keywords.pop("scenario", None), **keywords)


def equal(one: Any, other: Any) -> bool:
    return data_equivalence(tuple(one), tuple(other), exact=True)


@pytest.mark.bits
@pytest.mark.parametrize("kind", STREAMS)
def test_seeds_reproduce_the_networks(kind: str) -> None:
    env, other = AllocationEnv(**stream(kind)), AllocationEnv(**stream(kind))
    first = list(episodes(env, 6, seed=3))
    assert equal(first, episodes(env, 6, seed=3))
    assert equal(first, episodes(other, 6, seed=3))
    assert not equal(first, episodes(other, 6, seed=4))
    assert len({item[1] for item in first if len(item) == 2}) == 3


@pytest.mark.bits
def test_a_network_is_the_same_as_alone() -> None:
    """What a stream's episode shows is what its network shows by itself, without the padding."""
    env = AllocationEnv(**stream("graph"))
    for seed in range(4):
        env.reset(seed=seed)
        scenario = env.scenario
        own = AllocationEnv(scenario, observation="graph")
        rng = np.random.default_rng(seed)
        rng_of_env = np.random.Generator(np.random.PCG64(seed))
        simulator_seed = Stream(different()).episode(rng_of_env)[1]
        own.reset()
        own.env_batch.reset(0, simulator_seed)
        own._intervals = 0
        r, l = len(scenario.sessions), len(scenario.links)
        most = env.env_batch.sizes.sessions
        for _ in range(scenario.episode_length):
            action = rng.uniform(-1, 1, env.action_space.shape)
            mine = env.step(action)
            single = own.step(np.concatenate((action[:r], action[most : most + l])))
            assert mine[1] == single[1]
            np.testing.assert_array_equal(mine[0]["sessions"][:r], single[0]["sessions"])
            np.testing.assert_array_equal(mine[0]["links"][:l], single[0]["links"])
            assert not mine[0]["sessions"][r:].any()


@pytest.mark.bits
@pytest.mark.parametrize("kind", STREAMS)
def test_parallel_agrees_agent_by_agent(kind: str) -> None:
    """With the scalar environment, and with the first of two networks side by side."""
    par = parallel(**stream(kind))
    own = stream(kind)
    pair = qnum_gym.parallel_vector_env(own.pop("scenario"), 2, autoreset_mode="DISABLED", **own)
    scalar = AllocationEnv(**stream(kind), signals=True)
    sizes = scalar.env_batch.sizes
    n, rng, met = sizes.sessions + sizes.links, np.random.default_rng(0), set[str]()
    for seed in range(5):
        par.reset(seed=seed)
        scalar.reset(seed=seed)
        pair.reset(seed=[seed, 0])
        met.add(scalar.scenario.name)
        r, l = len(scalar.scenario.sessions), len(scalar.scenario.links)
        assert par.agents == [f"source_{i}" for i in range(r)] + [f"link_{i}" for i in range(l)]
        assert list(par.names) == par.agents
        while par.agents:
            central = rng.uniform(-1, 1, 2 * n).astype(np.float32)
            places = {f"source_{i}": i for i in range(r)} | {f"link_{i}": sizes.sessions + i for i in range(l)}
            actions = {agent: central[[place, n + place]] for agent, place in places.items()}
            seen, rewards, _, truncated, infos = par.step(actions)
            _, reward, _, over, info = scalar.step(central)
            many, _, _, _, _ = pair.step(np.stack([central.reshape(2, n).T] * 2))
            np.testing.assert_array_equal(many[0][pair.agent_mask[0]], np.stack([*seen.values()]))
            if pair._over[1] and not over:
                pair.reset(options={"reset_mask": np.array([False, True])})
            assert set(rewards.values()) == {reward}
            assert set(truncated.values()) == {over}
            assert seen.keys() == infos.keys() == actions.keys()
            rows = [*scalar.env_batch.session_rows[0, :r], *scalar.env_batch.link_rows[0, :l]]
            for agent, row in zip(seen, rows, strict=True):
                held = seen[agent][1:17] if agent.startswith("source") else seen[agent][17:]
                np.testing.assert_array_equal(held, row)
            assert [infos[f"source_{i}"]["metrics/rate"] for i in range(r)] == info["metrics/rate"][:r].tolist()
            assert data_equivalence(par.state(), scalar.observe(), exact=True)
    assert len(met) == 3
    assert len(par.possible_agents) == n


@pytest.mark.filterwarnings("ignore:No agents present but not all possible_agents")  # of a smaller network
@pytest.mark.parametrize("kind", STREAMS)
def test_pettingzoo_finds_nothing(kind: str) -> None:
    parallel_api_test(parallel(**stream(kind), reward="local"), num_cycles=20)
    parallel_seed_test(lambda: parallel(**stream(kind)))


@pytest.mark.bits
@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("how", ["pickle", "state"])
def test_copies_go_on_the_same(kind: str, how: str) -> None:
    """In the middle of an episode, with weights that were changed; also into an environment that was elsewhere."""
    env, vector = AllocationEnv(**stream(kind)), AllocationVectorEnv(2, **stream(kind))
    actions = np.random.default_rng(2).uniform(-1, 1, (20, 2, *env.action_space.shape)).astype(np.float32)
    env.reset(seed=0)
    vector.reset(seed=0)
    for made in (env, vector):
        assert made.stream is not None
        made.stream.set_weights({made.stream.names[1]: 4.0})
    for action in actions[:5]:
        vector.step(action)
    env.step(actions[0, 0])
    if how == "pickle":
        env_copy, vector_copy = pickle.loads(pickle.dumps((env, vector)))
    else:
        env_copy, vector_copy = AllocationEnv(**stream(kind)), AllocationVectorEnv(2, **stream(kind))
        env_copy.reset(seed=9)
        vector_copy.reset(seed=9)
        env_copy.set_state(pickle.loads(pickle.dumps(env.get_state())))
        vector_copy.set_state(pickle.loads(pickle.dumps(vector.get_state())))
    for action in actions[5:]:
        assert data_equivalence(vector.step(action), vector_copy.step(action), exact=True)
    streams: list[Any] = [env.stream, env_copy.stream]
    assert streams[1].weights == streams[0].weights
    assert data_equivalence(env.step(actions[1, 0]), env_copy.step(actions[1, 0]), exact=True)
    assert equal(episodes(env, 3, None), episodes(env_copy, 3, None))


def test_weights_change_what_comes_next() -> None:
    own = stream("graph")
    vector = AllocationVectorEnv(3, **own)
    own["scenario"].set_weights({"late": 0.0, "chain": 0.0})
    vector.reset(seed=0)
    assert {scenario.name for scenario in vector.env_batch.scenarios} == {"three"}
    assert vector.stream is own["scenario"]
    shorter = AllocationEnv(**own, episode_length=2)  # a stream of its own fields, the same weights
    own["scenario"].set_weights({"late": 1.0, "three": 0.0})
    shorter.reset(seed=0)
    assert (shorter.scenario.name, shorter.scenario.episode_length) == ("late", 2)


def test_one_episode_of_another_network() -> None:
    env = AllocationEnv(**stream("flat"))
    other = alike()[0].replace(name="other", coherence_time=3.0)
    env.reset(seed=0, options={"scenario": other})
    assert env.scenario == other
    env.reset()
    assert env.scenario in alike()


def test_prepared_networks_are_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Stream(["tree", "dumbbell"], size=2)
    own.prepare()
    assert all(known(own.sample(name, index)) for name in own.names for index in (0, 1))

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise AssertionError("solved again")

    monkeypatch.setattr(sys.modules["qnum_gym.optimum.yardstick"], "solve_problem", refuse)
    monkeypatch.setattr(sys.modules["qnum_gym.families"], "worth_measuring", refuse)
    env = AllocationEnv(own, observation="graph")
    for seed in range(10):
        env.reset(seed=seed)


def test_a_picture_is_of_the_present_network() -> None:
    env = AllocationEnv(**stream("graph"), render_mode="ansi")
    vector = AllocationVectorEnv(2, **stream("graph"), render_mode="rgb_array")
    for seed in range(3):
        env.reset(seed=seed)
        assert str(env.render()).startswith(env.scenario.name)
        vector.reset(seed=seed)
        assert len(vector.render() or ()) == 2
        assert vector._tiles.scenarios == vector.env_batch.scenarios


# --- weights, from outside --------------------------------------------------------------------------------------------


def test_weights_reach_environments_in_other_processes() -> None:
    """By a method's name, as Gymnasium's and SB3's remote environments are spoken to."""
    first, second, _ = (network.name for network in alike())
    own = Stream(alike()[:2], weights={second: 0.0})
    make = partial(gym.make, "qnum_gym/Scenario-v0", scenario=own)
    change = {first: 0.0, second: 1.0}
    envs = AsyncVectorEnv([make], context="spawn")
    remote = SubprocVecEnv([make], start_method="spawn")

    def drawn() -> list[str]:
        envs.reset(seed=0)
        remote.reset()
        return [network.name for network in (*envs.get_attr("scenario"), *remote.get_attr("scenario"))]

    assert drawn() == [first] * 2
    own.set_weights(change)
    assert drawn() == [first] * 2  # they have copies
    envs.call("set_stream_weights", change)
    remote.env_method("set_stream_weights", change)
    assert drawn() == [second] * 2
    envs.close()
    remote.close()


def test_weights_of_an_environment_are_its_streams() -> None:
    one, many = AllocationEnv(**stream("graph")), AllocationVectorEnv(2, **stream("graph"))
    for env in (one, many):
        env.set_stream_weights({"three": 0.5})
        assert env.stream is not None
        assert env.stream.weights["three"] == 0.5
    with pytest.raises(ValueError, match=r"weights: 'thre': did you mean 'three'"):
        many.set_stream_weights({"thre": 1.0})
    with pytest.raises(ValueError, match="weights: always the same network here; valid: with families="):
        AllocationEnv("chain").set_stream_weights({"chain": 1.0})


# --- by id and by keyword ---------------------------------------------------------------------------------------------


def test_families_by_id() -> None:
    keywords: dict[str, Any] = {"families": ["dumbbell", "tree"], "size": 2, "episode_length": 3}
    env: Any = gym.make("qnum_gym/Families-v0", **keywords)
    vector: Any = gym.make_vec("qnum_gym/Families-v0", num_envs=2, **keywords)
    parallel = qnum_gym.parallel_env("Families-v0", **keywords)
    every: Any = gym.make("qnum_gym/Families-v0").unwrapped
    assert every.stream.names == qnum_gym.families.names("train")
    observation, _ = env.reset(seed=0)
    many, _ = vector.reset(seed=[0, 1])
    parallel.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert data_equivalence(of_one(many, 0), observation, exact=True)
    assert parallel.scenario == env.unwrapped.scenario
    assert {entry.count for entry in env.unwrapped.stream.entries} == {2}
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json())).unwrapped
    assert again.stream.names == ("dumbbell", "tree")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"families": "trains"}, "source = 'trains': did you mean 'train'"),
        ({"families": "train", "scenario": "dumbbell"}, "families: there is a scenario too"),
        ({"scenario": "dumbbell", "size": 3}, "size: there are no families"),
        ({"families": "train", "episode_lenght": 3}, "episode_lenght: unknown keyword; did you mean 'episode_length'"),
        (
            {"families": "dumbbell", "size": 2},
            r"has \d sessions; valid: 6, the spaces are fixed, or observation='graph'",
        ),
    ],
)
def test_refusals(keywords: dict[str, Any], message: str) -> None:
    for make in (AllocationEnv, lambda **given: AllocationVectorEnv(2, **given), parallel):
        with pytest.raises(ValueError, match=message):
            make(**keywords)


def test_a_network_that_does_not_fit_is_refused() -> None:
    lengths = iter([4, 5])
    env = AllocationEnv(Stream(lambda rng: qnum_gym.scenario("chain", nodes=next(lengths))), observation="graph")
    with pytest.raises(ScenarioError, match="the room that there is"):
        env.reset(seed=0)


def test_the_command_line_wants_one_network(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="another network for each episode; valid: an id of one, or --suite"):
        scenario_of_id("Families-v0")

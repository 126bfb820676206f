"""Kinds of observation: the graph is the scenario's, smaller networks are padded, and a stranger's own kind works."""

from __future__ import annotations

import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv, ObservationKind
from qnum_gym.envs.observations import of_one
from qnum_gym.scenarios import LinkEvent, NodeEvent, Scenario, ScenarioError, Session
from qnum_gym.scenarios.sizes import Sizes

DUMBBELL, NSFNET, CHAIN = (qnum_gym.scenario(name, episode_length=5) for name in ("dumbbell", "nsfnet", "chain"))
MASKS = {"sessions": "session_mask", "links": "link_mask", "nodes": "node_mask", "hops": "hop_mask"}
MASKS |= {"session_nodes": "session_mask", "link_nodes": "link_mask"}


def dynamic() -> Scenario:
    """A session that comes and goes, a link that is down for a while, and a memory that worsens."""
    a, b, c = DUMBBELL.sessions
    sessions: list[Session] = [a, b.model_copy(update={"start": 1.5, "stop": 3.5}), c]
    failure = [LinkEvent(time=time, link=("left", "right"), up=up) for time, up in ((2.5, False), (4.5, True))]
    events = [*failure, NodeEvent(time=2.5, node="left", coherence_time=0.5)]
    return DUMBBELL.replace(sessions=sessions, events=events, coherence_time=20.0, swap_success=0.9)


def test_a_graph_is_that_of_the_scenario() -> None:
    for scenario in (dynamic(), NSFNET):
        names = [node.name for node in scenario.nodes]
        seen, _ = AllocationEnv(scenario, observation="graph").reset(seed=0)
        routes = [(r, l, place) for r, route in enumerate(scenario.routes) for place, l in enumerate(route)]
        assert seen["hops"].tolist() == [list(hop) for hop in routes]
        ends = [[names.index(s.source), names.index(s.destination)] for s in scenario.sessions]
        assert seen["session_nodes"].tolist() == ends
        assert seen["link_nodes"].tolist() == [[names.index(l.a), names.index(l.b)] for l in scenario.links]
        for v, name in enumerate(names):
            inside = sum(name in session.path[1:-1] for session in scenario.sessions) / len(scenario.sessions)
            sources, destinations = (
                sum(getattr(s, end) == name for s in scenario.sessions) / len(scenario.sessions)
                for end in ("source", "destination")
            )
            degree = sum(name in (link.a, link.b) for link in scenario.links)
            coherence = math.log10(scenario.coherence_time / scenario.control_interval) / 3
            expected = [
                coherence,
                scenario.swap_success,
                scenario.gate_factor,
                1 / degree,
                sources,
                destinations,
                inside,
            ]
            np.testing.assert_allclose(seen["nodes"][v], expected, rtol=1e-6)
        assert all(seen[mask].all() for mask in MASKS.values())


@pytest.mark.parametrize("signals", [False, True])
def test_what_is_off_is_masked_and_memories_are_those_of_now(signals: bool) -> None:
    env = AllocationEnv(dynamic(), observation="graph", signals=signals)
    seen, _ = env.reset(seed=0)
    left = [node.name for node in env.scenario.nodes].index("left")
    for time in range(1, 6):
        seen = env.step(np.zeros(env.action_space.shape))[0]
        on = [1, int(1.5 <= time < 3.5), 1]
        up = [int({link.a, link.b} != {"left", "right"} or not 2.5 <= time < 4.5) for link in DUMBBELL.links]
        assert seen["action_mask"].tolist() == [*on, *up] * (1 + signals)
        assert seen["session_mask"].tolist() == [1, 1, 1]
        of_time = 0.5 if time >= 2.5 else 20.0
        assert seen["nodes"][left, 0] == pytest.approx(math.log10(of_time) / 3, rel=1e-6)


def same(mine: Any, padded: Any) -> None:
    """Whether a graph is what the padded one's masks leave of it."""
    for key, mask in MASKS.items():
        own = padded[mask].astype(bool)
        np.testing.assert_array_equal(padded[key][own], mine[key])
        assert not padded[key][~own].any()
        assert own[: own.sum()].all()


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_networks_of_different_sizes_are_each_as_alone(mode: str) -> None:
    scenarios = [CHAIN, NSFNET, dynamic()]
    vector = AllocationVectorEnv(3, scenarios, observation="graph", signals=True, autoreset_mode=mode, threads=2)
    scalars = [AllocationEnv(scenario, observation="graph", signals=True) for scenario in scenarios]
    sizes = Sizes.of(scenarios)
    assert vector.single_action_space.shape == (2 * (sizes.sessions + sizes.links),)
    seen, _ = vector.reset(seed=3)
    for i, env in enumerate(scalars):
        same(env.reset(seed=3 + i)[0], of_one(seen, i))
    rng, over = np.random.default_rng(0), False
    for step in range(12):
        if step == 7:
            vector = pickle.loads(pickle.dumps(vector))
        actions = rng.uniform(-1, 1, vector.action_space.shape).astype(np.float32)
        seen, rewards, _, truncated, info = vector.step(actions)
        assert vector.observation_space.contains(seen)
        for i, env in enumerate(scalars):
            n, m = len(env.scenario.sessions), len(env.scenario.links)
            parts = np.split(actions[i], np.cumsum([sizes.sessions, sizes.links, sizes.sessions]))
            own = np.concatenate([part[:k] for part, k in zip(parts, (n, m, n, m), strict=True)])
            if over and mode == "NEXT_STEP":
                alone, reward, ended = env.reset()[0], 0.0, False
            else:
                alone, reward, _, ended, _ = env.step(own)
            if ended and mode == "SAME_STEP":
                same(alone, info["final_obs"][i])
                alone = env.reset()[0]
            assert (rewards[i], truncated[i]) == (reward, ended)
            same(alone, of_one(seen, i))
        over = bool(truncated.all())


def test_another_scenario_that_fits_may_come() -> None:
    env = AllocationEnv(NSFNET, observation="graph")
    small = NSFNET.replace(sessions=NSFNET.sessions[:3])
    seen, _ = env.reset(seed=1, options={"scenario": small})
    assert env.observation_space.contains(seen)
    alone = AllocationEnv(small, observation="graph")
    same(alone.reset(seed=1)[0], seen)
    actions = np.random.default_rng(0).uniform(-1, 1, env.action_space.shape)
    seen, reward, *_ = env.step(actions)
    n = len(NSFNET.sessions)
    assert reward == alone.step(np.concatenate((actions[:3], actions[n:])))[1]
    state = pickle.dumps(env.get_state())
    other = AllocationEnv(NSFNET, observation="graph")
    other.set_state(pickle.loads(state))
    assert data_equivalence(other.step(actions)[0], env.step(actions)[0], exact=True)
    with pytest.raises(ScenarioError, match="the room that there is"):
        AllocationEnv(DUMBBELL, observation="graph").reset(options={"scenario": NSFNET})
    parallel = qnum_gym.parallel_env(NSFNET, observation="graph")
    parallel.reset(options={"scenario": small})
    assert len(parallel.agents) == len(parallel.possible_agents) - len(NSFNET.sessions) + 3


def test_what_was_seen_stays_as_it_was() -> None:
    env = AllocationEnv(DUMBBELL, observation="graph")
    first, _ = env.reset(seed=0)
    copy = pickle.loads(pickle.dumps(first))
    second = env.step(env.action_space.sample())[0]
    assert data_equivalence(first, copy, exact=True)
    for part in second.values():
        part[:] = 1  # whoever writes into an observation writes into nothing else
    assert data_equivalence(env.reset(seed=0)[0], copy, exact=True)


def test_flat_observations_are_of_one_size() -> None:
    with pytest.raises(ValueError, match="valid: all the same, or observation='graph'"):
        AllocationVectorEnv(2, [DUMBBELL, NSFNET])
    with pytest.raises(ValueError, match=r"observation = 'grpah': did you mean 'graph'\? valid: flat, graph"):
        AllocationEnv(DUMBBELL, observation="grpah")
    with pytest.raises(ValueError, match="valid: flat, graph, or a subclass of ObservationKind"):
        AllocationEnv(DUMBBELL, observation=dict)  # type: ignore[arg-type]


def test_the_global_state_of_many_agents_can_be_a_graph() -> None:
    central = AllocationEnv(NSFNET, observation="graph", signals=True)
    env = qnum_gym.parallel_env(NSFNET, observation="graph")
    central.reset(seed=2)
    env.reset(seed=2)
    assert data_equivalence(env.state(), central.observe(), exact=True)
    assert env.state_space == central.observation_space


class Half(ObservationKind):
    """Half of what there is."""

    def space(self, sizes, actions):  # type: ignore[no-untyped-def]
        return gym.spaces.Box(-1.0, 1.0, (8 * sizes.sessions,), np.float32)

    def __call__(self, batch, actions):  # type: ignore[no-untyped-def]
        return batch.session_rows[:, :, :8].reshape(len(batch.scenarios), -1)


@pytest.mark.parametrize("observation", ["graph", Half])
def test_gymnasium_accepts_it(observation: Any) -> None:
    check_env(gym.make("qnum_gym/Dumbbell-v0", observation=observation, episode_length=5).unwrapped)

"""The parallel environment is the scalar one, agent by agent: PettingZoo's rules, equal bits, local rows, rewards."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from pettingzoo.test import parallel_api_test, parallel_seed_test
from test_locality import disturbed

import qnum_gym
from qnum_gym import agents
from qnum_gym.envs import ActionMap, AllocationEnv, AllocationVectorEnv, local_rewards, neighbourhoods
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES
from qnum_gym.scenarios import Link, LinkEvent, Scenario, ScenarioError, Session

LENGTH = 12
DOCS = Path(__file__).parents[2] / "docs"


def dynamic(**keywords: Any) -> Scenario:
    """Sessions of several measures and weights that come and go, losses, an event; one link that no route uses."""
    base = qnum_gym.scenario("dumbbell", episode_length=LENGTH, **keywords)
    sessions = [
        Session(source="s0", destination="d0", weight=2.0),
        Session(source="s1", destination="d1", measure="negativity", stop=7.25),
        Session(source="s2", destination="d2", measure="distillable", weight=0.5, start=3.75),
    ]
    events = [LinkEvent(time=5.25, link=("left", "right"), extra_loss_db=3.0)]
    spare = Link(a="s0", b="s1", length_km=5.0)
    routes = [session.path for session in base.sessions]
    sessions = [s.model_copy(update={"path": path}) for s, path in zip(sessions, routes, strict=True)]
    return base.replace(links=[*base.links, spare], sessions=sessions, events=events, message_loss=0.05)


def sample(env: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {a: rng.uniform(-1.0, 1.0, env.action_space(a).shape).astype(np.float32) for a in env.agents}


def joint(actions: dict[str, np.ndarray]) -> np.ndarray:
    """The central action, spelt out: rates, Werner parameters, sources' signals, links' signals."""
    kinds = ("source", "link")
    return np.array([actions[a][k] for k in range(2) for kind in kinds for a in actions if a.startswith(kind)])


def run(env: Any, steps: int, seed: int | None = None) -> list[Any]:
    rng = np.random.default_rng(0)
    history = [] if seed is None else [env.reset(seed=seed)]
    for _ in range(steps):
        if not env.agents:
            history.append(env.reset())
        history.append((env.step(sample(env, rng)), env.state()))
    return history


def same(a: Any, b: Any) -> bool:
    return data_equivalence(tuple(a), tuple(b), exact=True)


# --- PettingZoo's rules -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "keywords", [{}, {"homogeneous": False, "reward": "local"}, {"signals": False, "info": "none"}]
)
def test_pettingzoo_finds_nothing(keywords: dict[str, Any]) -> None:
    """pytest turns warnings into errors."""
    parallel_api_test(qnum_gym.parallel_env("NSFNet-v0", episode_length=30, **keywords), num_cycles=70)
    parallel_seed_test(lambda: qnum_gym.parallel_env("NSFNet-v0", **keywords))


@pytest.mark.bits
def test_equal_seeds_equal_bits_other_seeds_other_bits() -> None:
    """PettingZoo's own seed test stops after one step: any(truncations) asks the agents' names."""
    one, two = (qnum_gym.parallel_env(dynamic()) for _ in range(2))
    first = run(one, 2 * LENGTH, seed=5)
    assert same(first, run(two, 2 * LENGTH, seed=5))
    assert same(first, run(one, 2 * LENGTH, seed=5))
    assert not same(first, run(two, 2 * LENGTH, seed=6))


def test_spaces_hold_what_comes_and_are_each_agent_s_own() -> None:
    for homogeneous in (True, False):
        env = qnum_gym.parallel_env("dumbbell", homogeneous=homogeneous)
        assert env.possible_agents == [f"source_{r}" for r in range(3)] + [f"link_{l}" for l in range(7)]
        for observations in (env.reset(seed=0)[0], *(env.step(sample(env, np.random.default_rng(1)))[:1])):
            for agent, row in observations.items():
                assert row in env.observation_space(agent)
        spaces = [env.action_space(agent) for agent in env.possible_agents]
        assert len({id(space) for space in spaces}) == len(spaces)  # each is seeded by itself
    assert env.state() in env.state_space
    assert (env.names["source_0"], env.names["link_0"]) == ("s0→d0", "s0–left")


def test_all_end_together_and_nobody_terminates() -> None:
    env = qnum_gym.parallel_env("dumbbell", episode_length=3)
    with pytest.raises(ResetNeeded):
        env.step({})
    env.reset(seed=0)
    for i in range(3):
        agents = env.agents
        _, _, terminated, truncated, _ = env.step(sample(env, np.random.default_rng(i)))
        assert list(truncated) == list(terminated) == agents == env.possible_agents
        assert not any(terminated.values())
        assert set(truncated.values()) == {i == 2}
    assert env.agents == []
    with pytest.raises(ResetNeeded):
        env.step(dict.fromkeys(env.possible_agents, np.zeros(2, np.float32)))
    env.reset()
    assert env.agents == env.possible_agents


# --- one environment in three shapes ----------------------------------------------------------------------------------


def rows(env: AllocationEnv, observation: np.ndarray, homogeneous: bool) -> list[np.ndarray]:
    """Each agent's observation, cut out of the central one by hand."""
    n, m = len(SESSION_FEATURES), len(LINK_FEATURES)
    split = n * len(env.scenario.sessions)
    sources = [observation[k : k + n] for k in range(0, split, n)]
    links = [observation[k : k + m] for k in range(split, len(observation), m)]
    if not homogeneous:
        return sources + links
    return [np.array([1, *s, *[0] * m]) for s in sources] + [np.array([-1, *[0] * n, *l]) for l in links]


OF_LINKS = {"metrics/queue", "metrics/utilisation", "controls/werner"}
ALONE = {"rewards/team", "rewards/local", "controls/signal"}  # that the central environment does not tell


def assert_infos(infos: dict[str, Any], info: dict[str, Any]) -> None:
    """Every entry of the central information is at the agents whose it is, under the same key."""
    of_all = {key for key, value in info.items() if np.ndim(value) == 0}
    assert len(of_all) == 13
    for agent, own in infos.items():
        kind, _, i = agent.partition("_")
        of_kind = OF_LINKS if kind == "link" else info.keys() - of_all - OF_LINKS
        assert own.keys() == of_all | of_kind | ALONE
        for key in own.keys() - ALONE:
            assert own[key] == (info[key] if key in of_all else info[key][int(i)]), key


@pytest.mark.parametrize("through", ["actions", "controls"])
@pytest.mark.parametrize("kind", ["step", "level"])
@pytest.mark.parametrize("homogeneous", [True, False])
def test_scalar_vector_and_parallel_agree_bit_for_bit(through: str, kind: Any, homogeneous: bool) -> None:
    """Over two episodes and the resets before, between and after, in a scenario where everything happens."""
    scenario = dynamic()
    parallel = qnum_gym.parallel_env(scenario, action=kind, homogeneous=homogeneous)
    scalar = AllocationEnv(scenario, action=kind, signals=True)
    vector = AllocationVectorEnv(2, scenario, action=kind, signals=True, autoreset_mode="SAME_STEP")
    decoder = ActionMap(scenario, kind, signals=True)
    both = ActionMap([scenario] * 2, kind, signals=True)
    neighbourhood = neighbourhoods(scenario.arrays(0.0))

    def assert_seen(observations: Any, central: np.ndarray, infos: Any, info: Any) -> None:
        expected = rows(scalar, central, homogeneous)
        for own, row in zip(observations.values(), expected, strict=True):
            assert own.dtype == np.float32
            np.testing.assert_array_equal(own, row)
        np.testing.assert_array_equal(parallel.state(), central)
        assert_infos(infos, info)

    observations, infos = parallel.reset(seed=7)
    central, info = scalar.reset(seed=7)
    seen, _ = vector.reset(seed=7)
    np.testing.assert_array_equal(seen[0], central)
    assert_seen(observations, central, infos, info)
    rng = np.random.default_rng(0)
    for step in range(2 * LENGTH):
        actions = sample(parallel, rng)
        action = joint(actions)
        if through == "actions":
            observations, rewards, _, truncated, infos = parallel.step(actions)
            central, reward, _, over, info = scalar.step(action)
            seen, scores, _, done, many = vector.step(np.stack([action, action]))
        else:
            controls = decoder.decode(action, scalar.controls)
            for_both = both.decode(np.stack([action, action]), vector.controls)
            observations, rewards, _, truncated, infos = parallel.step_controls(controls)
            central, reward, _, over, info = scalar.step_controls(controls)
            seen, scores, _, done, many = vector.step_controls(for_both)
        assert_seen(observations, central, infos, info)
        assert set(rewards.values()) == {reward} == {scores[0]}
        assert set(truncated.values()) == {over} == {bool(done[0])} == {step % LENGTH == LENGTH - 1}
        past, many = (many["final_obs"], many["final_info"]) if over else (seen, many)
        np.testing.assert_array_equal(past[0], central)
        for key, values in info.items():
            np.testing.assert_array_equal(many[key][0], values)
        if not over:  # else the vector environment is in its next episode already
            local = local_rewards(
                neighbourhood,
                vector.env_batch.session_rewards,
                vector.env_batch.outcomes.counted,
                vector.env_batch.rewards,
            )
            assert [own["rewards/local"] for own in infos.values()] == local[0].tolist()
        else:
            assert parallel.agents == []
            observations, infos = parallel.reset()
            central, info = scalar.reset()
            np.testing.assert_array_equal(seen[0], central)
            assert_seen(observations, central, infos, info)


def test_a_policy_s_controls_go_through() -> None:
    """QPrimalDual's signals are prices, outside any action's range."""
    parallel, scalar = qnum_gym.parallel_env("nsfnet"), AllocationEnv("nsfnet", signals=True)
    parallel.reset(seed=3)
    scalar.reset(seed=3)
    one, two = agents.make("qprimaldual-da"), agents.make("qprimaldual-da")
    one.reset(parallel.scenario, 0)
    two.reset(scalar.scenario, 0)
    for _ in range(20):
        _, rewards, _, _, _ = parallel.step_controls(one.act(parallel.central.telemetry))
        _, reward, _, _, _ = scalar.step_controls(two.act(scalar.telemetry))
        assert rewards["link_5"] == rewards["source_0"] == reward


@pytest.mark.parametrize("homogeneous", [True, False])
def test_continuations(homogeneous: bool) -> None:
    env, other = (qnum_gym.parallel_env(dynamic(), homogeneous=homogeneous, reward="local") for _ in range(2))
    run(env, 5, seed=3)
    other.set_state(pickle.loads(pickle.dumps(env.get_state())))
    copies = [pickle.loads(pickle.dumps(env)), copy.deepcopy(env), other]
    told = [env.state(), *run(env, 2 * LENGTH)]
    for each in copies:
        assert same(told, [each.state(), *run(each, 2 * LENGTH)])
    over = qnum_gym.parallel_env("chain", episode_length=1)
    run(over, 1, seed=0)
    assert pickle.loads(pickle.dumps(over)).agents == copy.deepcopy(over).agents == []


# --- local: what an agent sees and gets -------------------------------------------------------------------------------


@pytest.mark.parametrize("homogeneous", [True, False])
def test_an_observation_is_made_of_its_own_controller_s_rows(homogeneous: bool) -> None:
    """All other rows of the telemetry, and the truth, are rubbish from the first interval on."""
    env = qnum_gym.parallel_env("nsfnet", homogeneous=homogeneous)
    rng = np.random.default_rng(2)
    env.reset(seed=1)
    simulator, story = env.central.simulator, []
    telemetry = [env.central.telemetry]
    for _ in range(6):
        story.append(env.step(sample(env, rng))[0])
        telemetry.append(simulator.telemetry())
    others = 0
    for i, agent in enumerate(env.possible_agents):
        session, link = (i, None) if agent.startswith("source") else (None, i - len(env.scenario.sessions))
        env.reset(seed=1)
        env.central.encoder.reset()
        for step, each in enumerate(telemetry):
            spoilt = disturbed(each, session, link, rng, nan=False)
            spoilt.headers.records["link"] = each.headers.records["link"]  # an index: whose row it is
            with np.errstate(all="ignore"):
                env.central.env_batch.observations[0] = env.central.encoder.encode(spoilt)
            if step:
                seen = env._observations()
                np.testing.assert_array_equal(seen[agent], story[step - 1][agent], err_msg=f"{agent}, {step}")
                others += sum((seen[a] != story[step - 1][a]).any() for a in seen if a != agent)
    assert others > 100 * len(env.possible_agents)  # and the rubbish does show, in the others' rows


def test_another_agent_s_action_is_not_seen_at_once() -> None:
    """Only what crosses the network reaches an agent: a link that nobody uses sees none of it."""
    env = qnum_gym.parallel_env(dynamic())
    unused = env.possible_agents[-1]
    told = []
    for change in (-1.0, 1.0):
        env.reset(seed=0)
        actions = {agent: np.full(2, change, np.float32) for agent in env.agents} | {unused: np.zeros(2, np.float32)}
        told.append([env.step(actions)[0] for _ in range(5)][-1])
    np.testing.assert_array_equal(told[0][unused], told[1][unused])
    assert all((told[0][agent] != told[1][agent]).any() for agent in env.agents if agent != unused)


def plain_neighbours(scenario: Scenario) -> list[set[int]]:
    """Sessions of each controller's neighbourhood, from the routes."""
    routes = [set(route) for route in scenario.routes]
    of_sources = [{q for q, other in enumerate(routes) if other & own} for own in routes]
    return of_sources + [{r for r, route in enumerate(routes) if l in route} for l in range(len(scenario.links))]


@pytest.mark.parametrize("make", [dynamic, lambda: qnum_gym.scenario("nsfnet"), lambda: qnum_gym.scenario("surfnet")])
def test_neighbourhoods_are_those_of_the_routes(make: Any) -> None:
    scenario = make()
    matrix = neighbourhoods(scenario.arrays(0.0))
    assert matrix.shape == (len(scenario.sessions) + len(scenario.links), len(scenario.sessions))
    for row, near in zip(matrix, plain_neighbours(scenario), strict=True):
        expected = [s.weight if r in near else 0.0 for r, s in enumerate(scenario.sessions)]
        assert row.tolist() == expected
    assert (matrix == 0).any()


def test_neighbours_by_hand() -> None:
    """a – b – c – d: r0 over ab bc, r1 over bc, r2 over cd; r0 and r1 meet on bc, nobody meets r2; ac is unused."""
    scenario = Scenario(
        links=[Link(a=a, b=b, length_km=5) for a, b in ("ab", "bc", "cd", "ac")],
        sessions=[
            Session(source="a", destination="c", path=("a", "b", "c"), weight=3.0),
            Session(source="b", destination="c", path=("b", "c")),
            Session(source="c", destination="d", path=("c", "d"), weight=0.5),
        ],
    )
    matrix = neighbourhoods(scenario.arrays())
    assert matrix.tolist() == [[3, 1, 0], [3, 1, 0], [0, 0, 0.5], [3, 0, 0], [3, 1, 0], [0, 0, 0.5], [0, 0, 0]]
    scores = local_rewards(matrix, np.array([1.0, -3.0, 0.5]), np.array([5.0, 10.0, 0.0]), 0.25)
    middle = (3.0 * 5.0 * 1.0 - 1.0 * 10.0 * 3.0) / (3.0 * 5.0 + 1.0 * 10.0)
    assert scores.tolist() == [middle, middle, 0.25, 1.0, middle, 0.25, 0.25]


def test_local_rewards_recomputed_in_plain_loops() -> None:
    """Shares of the last 20 intervals from the scenario's own times; sessions come and go on the way."""
    scenario = dynamic().replace(episode_length=30)
    env = qnum_gym.parallel_env(scenario, reward="local")
    env.reset(seed=2)
    rng, near = np.random.default_rng(3), plain_neighbours(scenario)
    met_team = 0
    for step in range(1, 31):
        _, rewards, _, _, infos = env.step(sample(env, rng))
        team = infos["link_0"]["rewards/team"]
        shares = []
        for session in scenario.sessions:
            stop = np.inf if session.stop is None else session.stop
            shares.append(session.weight * max(0.0, min(step, stop) - max(step - 20, 0, session.start)))
        own = [infos[f"source_{r}"]["rewards/session"] for r in range(3)]
        for agent, neighbours in zip(env.possible_agents, near, strict=True):
            total = sum(shares[r] for r in neighbours)
            expected = sum(shares[r] * own[r] for r in neighbours) / total if total > 0 else team
            met_team += total == 0
            assert rewards[agent] == pytest.approx(expected, rel=1e-9, abs=1e-12)
            assert infos[agent]["rewards/local"] == rewards[agent]
        everybody = sum(share * score for share, score in zip(shares, own, strict=True)) / sum(shares)
        assert team == pytest.approx(everybody)
    assert met_team > 30  # the spare link always, and those of sessions that were not on


# --- by which name, and what is refused -------------------------------------------------------------------------------


def test_ids_names_paths_and_scenarios(tmp_path: Path) -> None:
    scenario = qnum_gym.scenario("nsfnet")
    path = tmp_path / "net-v1.yaml"
    scenario.to_yaml(path)
    for given in ("NSFNet-v0", "qnum_gym/NSFNet-v0", "nsfnet", path, str(path), scenario):
        assert qnum_gym.parallel_env(given).scenario == scenario
        assert qnum_gym.parallel_env(given, coherence_time=50.0).scenario == scenario.replace(coherence_time=50.0)
    assert qnum_gym.parallel_env("Scenario-v0", scenario=path).scenario == scenario
    assert len(qnum_gym.parallel_env("Dumbbell-v0", sessions=5).possible_agents) == 5 + 11


@pytest.mark.parametrize(
    ("id", "keywords", "message"),
    [
        ("NSFNt-v0", {}, "id = 'NSFNt-v0': did you mean 'qnum_gym/NSFNet-v0'?.* valid: .*qnum_gym/Dumbbell-v0"),
        ("nsfnt", {}, "scenario = 'nsfnt': did you mean 'nsfnet'?"),
        ("Scenario-v0", {}, "scenario: missing"),
        ("nsfnet", {"homogenous": False}, "homogenous: unknown keyword; did you mean 'homogeneous'?"),
        ("nsfnet", {"reward": "mine"}, "reward = 'mine': valid: share, log, interval"),
        ("nsfnet", {"action": "jump"}, "action = 'jump': valid: step, level, discrete, single"),
        ("nsfnet", {"render_mode": "human"}, "render_mode = 'human'; valid: ansi, rgb_array"),
    ],
)
def test_refused_arguments(id: str, keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        qnum_gym.parallel_env(id, **keywords)
    with pytest.raises(ScenarioError, match="homogeneous"):
        qnum_gym.parallel_env("nsfnet", rewards="local")
    with pytest.raises(ScenarioError) as error:
        AllocationEnv("nsfnet", homogeneous=True)
    assert "valid: access" not in str(error.value)


def test_refused_actions_and_options() -> None:
    env = qnum_gym.parallel_env("chain")
    env.reset(seed=0)
    good = sample(env, np.random.default_rng(0))
    before = env.get_state()
    for bad, message in (
        ({a: v for a, v in good.items() if a != "link_1"}, r"missing \['link_1'\], unknown \[\]"),
        (good | {"link_99": np.zeros(2)}, r"missing \[\], unknown \['link_99'\]"),
        (good | {"source_0": np.zeros(3)}, r"action of source_0 has shape \(3,\); valid: \(2,\)"),
        (good | {"link_0": np.array([0.0, np.nan])}, r"action of link_0: \[1\] = nan; valid: -1 to 1"),
        (good | {"link_0": np.array([1.5, 0.0])}, r"action of link_0: \[0\] = 1.5; valid: -1 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            env.step(bad)
    assert data_equivalence(before, env.get_state(), exact=True)
    with pytest.raises(ValueError, match="'sead' unknown; valid: 'scenario'"):
        env.reset(options={"sead": 1})


def test_swapping_the_scenario_swaps_neighbours_and_names() -> None:
    env, other = qnum_gym.parallel_env("dumbbell", reward="local"), dynamic()
    other = other.replace(links=other.links[:-1])
    run(env, 3, seed=0)
    fresh = qnum_gym.parallel_env(other, reward="local")
    assert same(env.reset(seed=4, options={"scenario": other}), fresh.reset(seed=4))
    assert same(run(env, 5), run(fresh, 5))
    assert env.names == fresh.names
    back = qnum_gym.parallel_env("dumbbell", reward="local")
    back.set_state(env.get_state())
    assert same(run(env, 5), run(back, 5))


def test_pictures_are_those_of_the_central_environment() -> None:
    env, central = qnum_gym.parallel_env("dumbbell", render_mode="ansi"), AllocationEnv("dumbbell", render_mode="ansi")
    env.reset(seed=0)
    central.reset(seed=0)
    assert env.render() == central.render()
    picture = qnum_gym.parallel_env("dumbbell", render_mode="rgb_array")
    picture.reset(seed=0)
    shown: Any = picture.render()
    assert shown.shape == (720, 1280, 3)
    picture.close()


def test_without_pettingzoo_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["pettingzoo"] = None  # as if it were not there
import qnum_gym
from qnum_gym import *
import qnum_gym.envs
try:
    parallel_env("Chain-v0")
except ImportError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert (
        said.strip()
        == "PettingZoo is not installed; parallel_env needs: pip install -e '.[multi]' in the clone's folder"
    )


def test_the_example_in_the_docs_runs() -> None:
    text = (DOCS / "multiagent.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    names: dict[str, Any] = {}
    exec(example, names)
    assert not names["par"].agents
    assert set(names["rewards"]) == set(names["par"].possible_agents)
    assert names["infos"]["source_0"]["metrics/time"] == 200.0

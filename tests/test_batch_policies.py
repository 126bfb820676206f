"""A policy does for each of many networks what it does for it alone, to the last bit."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.evaluation import runner
from qnum_gym.scenarios import LinkEvent, NodeEvent, Session
from qnum_gym.scenarios.arrays import side_by_side
from qnum_gym.simulator import Controls, JoinedTelemetry, Simulator

BASE = qnum_gym.scenario("dumbbell", episode_length=24)
LINK = (BASE.links[3].a, BASE.links[3].b)
DIFFERENT = [  # of equal numbers of sessions and links, all else may differ
    BASE,
    BASE.replace(coherence_time=2.0, control_interval=0.5, episode_length=9),
    BASE.replace(
        measure="negativity",
        episode_length=15,
        events=[
            LinkEvent(time=3.5, link=LINK, up=False),
            LinkEvent(time=8.0, link=LINK, up=True, extra_loss_db=3.0),
            NodeEvent(time=5.0, node=BASE.nodes[0].name, coherence_time=1.0),
        ],
    ),
    BASE.replace(
        sessions=[
            Session(**{**dict(BASE.sessions[0]), "weight": 2.0, "min_fidelity": 0.8}),
            Session(**{**dict(BASE.sessions[1]), "start": 2.0, "stop": 10.0}),
            Session(**{**dict(BASE.sessions[2]), "measure": "distillable"}),
        ]
    ),
    qnum_gym.scenario("dumbbell", episode_length=17),
]


class Stubborn(agents.Policy):
    """Remembers, row by row, and sets signals every other time."""

    name, local = "stubborn", True

    def prepare(self):
        self.total = np.zeros(len(self.networks.of_session))
        self.intervals = np.zeros(len(self.networks), int)

    def forget(self, which):
        self.total[which[self.networks.of_session]] = 0.0
        self.intervals[which] = 0

    def act(self, seen):
        self.total += seen.sessions.delivered
        self.intervals += 1
        passed = self.intervals[self.networks.of_session]
        rates = np.minimum(seen.sessions.rate * (1.0 + 0.01 * passed), 40.0)
        return Controls(rates, seen.links.werner, np.where(passed % 2, seen.sessions.signal, rates + self.total))


OWN = Path(__file__).with_name("own_policy.py")
MAKERS = {
    **{name: lambda name=name: agents.make(name) for name in agents.names()},
    "stubborn": Stubborn,
    "of a file": lambda: agents.make(f"{OWN}:Vegas"),
    "a sub-class": lambda: agents.make(f"{OWN}:Halved"),
}


def same(alone: Controls, together: Controls, i: int) -> None:
    for name in ("rates", "werner", "session_signals", "link_signals"):
        mine, theirs = getattr(alone, name), getattr(together, name)
        if mine is None:
            assert theirs is None or name.endswith("signals")
        else:
            np.testing.assert_array_equal(mine, theirs[i], err_msg=f"{name} of network {i}")


@pytest.mark.bits
@pytest.mark.parametrize("name", MAKERS)
def test_each_row_is_that_of_the_policy_alone(name):
    """Over several episodes, whose ends come at different times: a reset of some leaves the others alone."""
    n = len(DIFFERENT)
    vector = AllocationVectorEnv(n, DIFFERENT, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = [AllocationEnv(scenario) for scenario in DIFFERENT]
    singles = [MAKERS[name]() for _ in range(n)]
    together = MAKERS[name]()
    seeds = list(range(3, 3 + n))
    vector.reset(seed=seeds)
    together.reset(DIFFERENT, seeds)
    for env, policy, seed in zip(envs, singles, seeds, strict=True):
        env.reset(seed=seed)
        policy.reset(env.scenario, seed)
    for step in range(60):
        wanted = vector.env_batch.per_network(together.act(vector.env_batch.telemetry()))
        _, rewards, _, truncated, _ = vector.step_controls(wanted)
        seeds = [seed + 100 * bool(over) for seed, over in zip(seeds, truncated, strict=True)]
        if truncated.any():
            together.reset(DIFFERENT, seeds, truncated)
        for i, (env, policy) in enumerate(zip(envs, singles, strict=True)):
            controls = policy.act(env.telemetry)
            same(controls, wanted, i)
            _, reward, _, over, _ = env.step_controls(controls)
            assert (reward, over) == (rewards[i], truncated[i]), f"interval {step}, network {i}"
            if over:
                env.reset()
                policy.reset(env.scenario, seeds[i])


def test_networks_of_different_routes_side_by_side():
    """Numbers of hops and nodes need not be equal."""
    scenarios = [qnum_gym.scenario("waxman", nodes=8 + k, links=14, sessions=4, seed=k) for k in range(4)]
    scenarios = [scenario.replace(episode_length=15) for scenario in scenarios]
    assert len({len(s.arrays().hop_link) for s in scenarios}) > 1
    vector = AllocationVectorEnv(4, scenarios, autoreset_mode=AutoresetMode.DISABLED)
    outcomes = evaluation.run_episodes(vector, agents.make("qprimaldual-da"), range(4))
    for i, scenario in enumerate(scenarios):
        alone = evaluation.run_episode(AllocationEnv(scenario), agents.make("qprimaldual-da"), i)
        assert (alone.score, alone.utility) == (outcomes[i].score, outcomes[i].utility)
        np.testing.assert_array_equal(alone.werner, outcomes[i].werner)


@pytest.mark.bits
@pytest.mark.parametrize("name", [*MAKERS, *agents.zoo()])
def test_networks_of_any_sizes_side_by_side(name):
    scenarios = [BASE, qnum_gym.scenario("nsfnet"), DIFFERENT[2], qnum_gym.scenario("chain")]
    make = MAKERS.get(name, lambda: agents.make(name))
    together = make()
    together.reset(scenarios, 5)
    simulators, singles = [Simulator(s, 3) for s in scenarios], [make() for _ in scenarios]
    for i, (policy, scenario) in enumerate(zip(singles, scenarios, strict=True)):
        policy.reset(scenario, 5 + i)
    for _ in range(12):
        wanted = together.act(JoinedTelemetry([simulator.state for simulator in simulators]))
        alone = [policy.act(s.telemetry()) for policy, s in zip(singles, simulators, strict=True)]
        for field in dataclasses.fields(Controls):
            rows = [getattr(controls, field.name) for controls in alone]
            if rows[0] is None:
                assert getattr(wanted, field.name) is None
            else:
                np.testing.assert_array_equal(getattr(wanted, field.name), np.concatenate(rows), err_msg=field.name)
        for simulator, c in zip(simulators, alone, strict=True):
            simulator.set_controls(c.rates, c.werner, c.session_signals, c.link_signals)
            simulator.advance(simulator.scenario.control_interval)


def test_a_policy_forgets_everything_at_a_reset():
    vector = AllocationVectorEnv(2, BASE)
    for name in MAKERS:
        policy, stories = MAKERS[name](), []
        for _ in range(2):
            vector.reset(seed=7)
            policy.reset([BASE, BASE], 7)
            story = []
            for _ in range(5):
                controls = policy.act(vector.env_batch.telemetry())
                vector.step_controls(controls)
                story.append(controls)
            stories.append(story)
        for one, other in zip(*stories, strict=True):
            np.testing.assert_array_equal(one.rates, other.rates)
            np.testing.assert_array_equal(one.werner, other.werner)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([],), "0 scenarios"),
        (([BASE, BASE], [1]), "2 scenarios, 1 seeds"),
        (([BASE, BASE], 0, [True]), r"a mask of shape \(1,\)"),
        (([BASE, DIFFERENT[1]], 0, [True, False]), "mask leaves some networks"),
    ],
)
def test_resets_that_cannot_be_are_refused(arguments, said):
    policy = agents.make("random")
    policy.reset([BASE, BASE])
    with pytest.raises(ValueError, match=said):
        policy.reset(*arguments)


def test_a_policy_that_would_not_forget_is_refused():
    with pytest.raises(TypeError, match="policy Elephant: prepare without forget"):

        class Elephant(agents.Policy):
            def prepare(self):
                self.memory = 0.0

            def act(self, seen):
                return Controls(seen.sessions.rate, seen.links.werner)


def test_a_reset_of_its_own_is_refused():
    with pytest.raises(TypeError, match="policy Old: a reset of its own; valid: prepare and forget"):

        class Old(agents.Policy):
            def reset(self, scenario, seed=0):
                self.scenario = scenario


class Alone:
    """For one network, and no `Policy`."""

    name = "alone"

    def reset(self, scenario, seed=0): ...
    def act(self, telemetry): ...


@pytest.mark.parametrize(
    "policy",
    [Alone(), Alone, agents.QPrimalDual, "aimd"],
    ids=["object", "class", "policy", "name"],
)
def test_what_is_no_policy_is_refused(policy):
    said = "policy = .*: valid: an object of a sub-class of qnum_gym.agents.Policy"
    with pytest.raises(ValueError, match=said):
        evaluation.run_episode(AllocationEnv(BASE), policy, 0)
    with pytest.raises(ValueError, match=said):
        evaluation.evaluate(BASE, {"it": policy}, [0])


def test_what_equal_scenarios_hold_is_computed_once(monkeypatch):
    calls = []
    solve = qnum_gym.optimum.solve_problem
    monkeypatch.setattr(qnum_gym.optimum, "solve_problem", lambda *a, **k: calls.append(1) or solve(*a, **k))
    vector = AllocationVectorEnv(6, [DIFFERENT[0], DIFFERENT[2]] * 3)
    policy = agents.make("oracle")
    for _ in range(2):
        vector.reset(seed=0)
        policy.reset(vector.env_batch.scenarios)
        for _ in range(11):
            vector.step_controls(policy.act(vector.env_batch.telemetry()))
    assert len(calls) == 1 + len(DIFFERENT[2].change_times())


# --- the joined network -----------------------------------------------------------------------------------------------


def test_joined_arrays_are_those_of_a_network_that_falls_apart():
    each = [scenario.arrays() for scenario in (*DIFFERENT[:2], qnum_gym.scenario("nsfnet"))]
    joined = side_by_side(each)
    assert joined.hop_start[-1] == len(joined.hop_link)
    np.testing.assert_array_equal(np.diff(joined.hop_start), np.concatenate([np.diff(a.hop_start) for a in each]))
    sessions = np.repeat(np.arange(len(joined.weight)), np.diff(joined.hop_start))
    np.testing.assert_array_equal(joined.hop_session, sessions)
    for index, of in (("hop_link", "capacity"), ("hop_from", "decay_rate"), ("hop_session", "weight")):
        looked_up = np.concatenate([getattr(a, of)[getattr(a, index)] for a in each])
        np.testing.assert_array_equal(getattr(joined, of)[getattr(joined, index)], looked_up)
    ends = np.stack([joined.link_a, joined.link_b], axis=1)[joined.hop_link]
    np.testing.assert_array_equal(np.sort(ends, 1), np.sort(np.stack([joined.hop_from, joined.hop_to], axis=1), 1))
    assert not joined.hop_link.flags.writeable


def test_joined_telemetry_is_that_of_each():
    scenarios = [DIFFERENT[1], DIFFERENT[0], qnum_gym.scenario("nsfnet")]
    simulators = [Simulator(scenario, 2) for scenario in scenarios]
    alone = [s.advance(10.0 + i) for i, s in enumerate(simulators)]
    states = [s.state for s in simulators]
    joined, arrays = JoinedTelemetry(states), side_by_side([s.arrays() for s in scenarios])
    np.testing.assert_array_equal(joined.times, [10.0, 11.0, 12.0])
    for block, index in (("sessions", ()), ("links", ()), ("headers", ("link", "session", "node"))):
        blocks = [getattr(telemetry, block) for telemetry in alone]
        for name in [name for name in dir(type(blocks[0])) if not name.startswith("_")]:
            if name not in (*index, "records"):
                each = np.concatenate([getattr(b, name) for b in blocks])
                np.testing.assert_array_equal(getattr(getattr(joined, block), name), each, err_msg=name)
    for name, expected in (("link", "hop_link"), ("session", "hop_session"), ("node", "hop_from")):
        np.testing.assert_array_equal(getattr(joined.headers, name), getattr(arrays, expected))
    before = joined.sessions.injected.copy()
    simulators[0].advance(50.0)
    np.testing.assert_array_equal(joined.sessions.injected, before)


# --- evaluation -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", agents.names())
def test_evaluation_in_batches_is_that_of_one_episode_after_the_other(name, monkeypatch):
    monkeypatch.setattr(runner, "AT_ONCE", 4)  # the last batch is smaller
    scenario = DIFFERENT[2].replace(episode_length=13)
    told, seeds = [], [5, 0, 3, 11, 2, 9]
    progress = lambda done, *_: told.append(done)  # noqa: E731
    results = evaluation.evaluate(scenario, {"it": agents.make(name)}, seeds, progress=progress)
    policy = agents.make(name)
    env = AllocationEnv(runner.with_interval(scenario, policy.interval))
    for s, seed in enumerate(seeds):
        alone = evaluation.run_episode(env, policy, seed)
        assert (results.score[0, s], results.geometric_mean[0, s]) == (alone.score, alone.geometric_mean)
        np.testing.assert_array_equal(results.rate[0, s], alone.rate)
        np.testing.assert_array_equal(results.werner[0, s], alone.werner)
    assert told == [0, 4, 6]


def test_a_subclass_acts_as_itself_on_many_networks():
    make = MAKERS["a sub-class"]
    halved = evaluation.evaluate(BASE, {"halved": make(), "whole": agents.make("qprimaldual")}, [0, 1])
    alone = evaluation.run_episode(AllocationEnv(BASE), make(), 1)
    assert halved.score[0, 1] == alone.score != halved.score[1, 1]


# --- learned ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    torch = pytest.importorskip("torch")
    ppo = pytest.importorskip("stable_baselines3").PPO
    torch.set_num_threads(1)
    return ppo("MlpPolicy", AllocationEnv(BASE), n_steps=64, seed=3, device="cpu", policy_kwargs={"net_arch": [32]})


def test_a_model_acts_on_all_at_once_up_to_rounding(model):
    from qnum_gym.agents.learned import LearnedPolicy

    single, together, seed = LearnedPolicy(model), LearnedPolicy(model), 30
    for n in (5, 70):  # 70: more than one block
        vector, env = AllocationVectorEnv(n, BASE), AllocationEnv(BASE)
        vector.reset(seed=seed)
        together.reset([BASE] * n, seed)
        env.reset(seed=seed + 2)
        single.reset(BASE, seed + 2)
        for _ in range(10):
            alone = single.act(env.telemetry)
            all_of_them = vector.env_batch.per_network(together.act(vector.env_batch.telemetry()))
            np.testing.assert_allclose(all_of_them.rates[2], alone.rates, rtol=1e-6)
            np.testing.assert_allclose(all_of_them.werner[2], alone.werner, rtol=1e-6)
            env.step_controls(Controls(all_of_them.rates[2], all_of_them.werner[2]))
            vector.step_controls(all_of_them)


def test_a_models_results_hardly_depend_on_the_company(model):
    from qnum_gym.agents.learned import LearnedPolicy

    policies, short = {"model": LearnedPolicy(model)}, BASE.replace(episode_length=8)
    many = evaluation.evaluate(short, policies, range(70))
    for seeds in ([41], [69, 5, 12]):
        few = evaluation.evaluate(short, policies, seeds)
        np.testing.assert_allclose(few.score[0], many.score[0, seeds], rtol=1e-2)  # actions differ by rounding


@pytest.mark.bits
def test_samples_are_those_of_each_alone(model):
    from qnum_gym.agents.learned import LearnedPolicy

    policy, short = LearnedPolicy(model, deterministic=False), BASE.replace(episode_length=6)
    results = evaluation.evaluate(short, {"samples": policy}, [4, 1])
    alone = [evaluation.run_episode(AllocationEnv(short), copy.copy(policy), seed).score for seed in (4, 1)]
    np.testing.assert_array_equal(results.score[0], alone)


def test_a_model_of_another_network_is_refused(model):
    from qnum_gym.agents.learned import LearnedPolicy

    with pytest.raises(ValueError, match="valid for 'nsfnet'"):
        LearnedPolicy(model).reset([BASE, qnum_gym.scenario("nsfnet")])

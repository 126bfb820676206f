"""The graph network: against a plain computation, the same under renumbering, on any network, saved without code."""

from __future__ import annotations

import json
import pickle
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import qnum_gym
from qnum_gym import agents
from qnum_gym.agents.learned import features, graph
from qnum_gym.agents.learned.zips import no_schedule
from qnum_gym.config import ConfigError
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.observation import ObservationEncoder
from qnum_gym.scenarios import Scenario
from qnum_gym.training.callback import StopRequest
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.folder import RunFolder
from qnum_gym.training.run import check, train

torch.set_num_threads(1)

RUN = {
    "name": "small",
    "env": "qnum_gym/Dumbbell-v0",
    "overrides": {"episode_length": 20, "rate_step": 0.25},
    "envs": 2,
    "steps": 64,
    "ppo": {"policy": "graph", "n_steps": 16, "batch_size": 16, "n_epochs": 2, "net_arch": [8, 4]},
    "evaluation": {"every": 2, "seeds": 1, "references": ["equal_share"]},
}


class Silent:
    def steps(self, done):
        pass

    def evaluated(self, row):
        pass


def actor(scenario, seed=0, widths=(8, 4), **options):
    """Untrained, with heads large enough that actions differ."""
    torch.manual_seed(seed)
    spaces = ObservationEncoder(scenario).space(), ActionMap(scenario).space()
    policy = graph.GraphActorCritic(*spaces, no_schedule, graph=graph.graph(scenario), net_arch=[*widths], **options)
    for head in (policy.mlp_extractor.of_session, policy.mlp_extractor.of_link):
        torch.nn.init.normal_(head.weight)
    return policy.eval()


def observed(scenario, n=3, seed=0):
    size = ObservationEncoder(scenario).size
    return torch.as_tensor(np.random.default_rng(seed).uniform(-1, 1, (n, size)), dtype=torch.float32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config = TrainConfig.checked(RUN, "small")
    folder = RunFolder.create(config, tmp_path_factory.mktemp("runs"))
    train(config, folder, Silent(), StopRequest())
    return folder


def test_one_layer_is_what_its_formula_says():
    """A session over links 2, 0 and one over 0, in NumPy, hop by hop; nobody passes link 1."""
    torch.manual_seed(1)
    side = graph.Side(2, 3, 4, torch.nn.Tanh)
    own, other = torch.randn(1, 3, 2), torch.randn(1, 2, 3)  # of the links; of the sessions
    means = torch.as_tensor(graph.over(graph.routing([[2, 0], [0]], 3).transpose(2, 1, 0)))
    found = side(own, other, means)[0].detach().numpy()
    w = {name: value.detach().numpy() for name, value in side.named_parameters()}
    g, v = other[0].numpy(), w["take.weight"].reshape(4, 4, 3)  # hop's feature, width, the other's
    hops = [[(0, (1, 0, 1, 1)), (1, (1, 1, 1, 0))], [], [(0, (1, 1, 0, 0))]]  # session, features
    for l, its in enumerate(hops):
        heard = sum(v[k] @ g[r] * e[k] / len(its) for r, e in its for k in range(4))
        expected = np.tanh(w["keep.weight"] @ own[0, l].numpy() + w["keep.bias"] + heard)
        np.testing.assert_allclose(found[l], expected, rtol=1e-5, atol=1e-6)


def test_renumbered_sessions_and_links_get_the_same_actions():
    scenario = qnum_gym.scenario("nsfnet")
    policy, x = actor(scenario), observed(scenario)
    random = np.random.default_rng(3)
    sessions, links = random.permutation(len(scenario.sessions)), random.permutation(len(scenario.links))
    other = Scenario(
        links=[scenario.links[l] for l in links],
        sessions=[scenario.sessions[r] for r in sessions],
        nodes=scenario.nodes,
    )
    renumbered = actor(other)
    split = ObservationEncoder(scenario).split
    rows = x[:, :split].reshape(3, -1, 16)[:, sessions], x[:, split:].reshape(3, -1, 13)[:, links]
    y = torch.cat([each.reshape(3, -1) for each in rows], 1)
    places = np.concatenate((sessions, len(sessions) + links))
    with torch.no_grad():
        expected = policy.mlp_extractor.forward_actor(x)[:, places]
        np.testing.assert_allclose(renumbered.mlp_extractor.forward_actor(y), expected, atol=1e-5)
        np.testing.assert_allclose(renumbered.predict_values(y), policy.predict_values(x), atol=1e-5)
        assert expected.std() > 0.1


def test_what_a_link_does_depends_on_its_neighbours_within_reach_and_no_others():
    """Two chains that do not meet, in one network: what is observed on one is nothing to the other."""
    links = [{"a": k, "b": k + 1, "length_km": 10} for k in (0, 1, 10, 11)]
    scenario = Scenario(links=links, sessions=[(0, 2), (10, 12)])
    policy, x = actor(scenario), observed(scenario, 1)
    changed = x.clone()
    changed[:, 16:32] *= -0.5  # the second session's row
    with torch.no_grad():
        before, after = (policy.mlp_extractor.forward_actor(each)[0] for each in (x, changed))
    assert (before != after).tolist() == [False, True, False, False, True, True]


def test_the_log_probability_is_that_of_independent_gaussians():
    scenario = qnum_gym.scenario("dumbbell")
    policy, x = actor(scenario), observed(scenario)
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-1.0, 0.5]))
        actions, _, found = policy(x)
        mean = policy.mlp_extractor.forward_actor(x)
    std = torch.tensor([np.exp(-1.0)] * 3 + [np.exp(0.5)] * 7, dtype=torch.float32)
    z = (actions - mean) / std
    expected = (-0.5 * z**2 - torch.log(std) - 0.5 * np.log(2 * np.pi)).sum(1)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_running_statistics_are_those_of_all_that_was_seen():
    scale = features.RunningScale(3)
    data = torch.randn(50, 2, 3) * torch.tensor([1.0, 0.01, 5.0]) + 2.0
    for batch in (data[:7], data[7:8], data[8:]):
        scale(batch)
    seen = data.reshape(-1, 3).numpy()
    np.testing.assert_allclose(scale.running_mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale.running_var, seen.var(0), rtol=1e-3)
    before = scale.running_count.clone()
    out = scale.eval()(data)
    assert scale.running_count == before == 100
    np.testing.assert_allclose(out.reshape(-1, 3).std(0, correction=0), 1.0, rtol=2e-2)


@pytest.mark.parametrize("standardise", [False, True])
def test_saved_weights_act_the_same_and_run_on_any_network(tmp_path, standardise):
    scenario = qnum_gym.scenario("dumbbell", sessions=2)
    policy = actor(scenario, standardise=standardise)
    policy.train()(observed(scenario))
    graph.save(policy.eval(), {"rate_step": 0.5}, tmp_path / "clever.npz")
    saved = agents.make(tmp_path / "clever.npz")
    assert (saved.name, saved.local) == ("clever", False)
    env = AllocationEnv(scenario, rate_step=0.5)
    observation, _ = env.reset(seed=5)
    saved.reset(scenario)
    for _ in range(3):
        controls = saved.act(env.telemetry)
        observation, *_ = env.step(policy.predict(observation, deterministic=True)[0])
        np.testing.assert_array_equal(env.controls.rates, controls.rates)
        np.testing.assert_array_equal(env.controls.werner, controls.werner)
    for other in (qnum_gym.scenario("dumbbell", sessions=5), qnum_gym.scenario("surfnet")):
        env = AllocationEnv(other)
        env.reset(seed=0)
        saved.reset(other)
        env.step_controls(saved.act(env.telemetry))


def test_many_networks_at_once_are_as_each_alone(tmp_path):
    """Also where their graphs differ: two dumbbells of one size, the second with its routes the other way round."""
    scenario = qnum_gym.scenario("dumbbell", sessions=2)
    graph.save(actor(scenario), {}, tmp_path / "m.npz")
    policy = agents.make(tmp_path / "m.npz")
    back = scenario.replace(sessions=[(s.destination, s.source) for s in scenario.sessions])
    for scenarios in ([scenario] * 3, [scenario, back]):
        envs = AllocationVectorEnv(len(scenarios), scenarios, autoreset_mode="Disabled")
        envs.reset(seed=0)
        policy.reset(scenarios)
        controls = envs.env_batch.per_network(policy.act(envs.env_batch.telemetry()))
        for i, each in enumerate(scenarios):
            env = AllocationEnv(each)
            env.reset(seed=i)
            policy.reset(each)
            np.testing.assert_allclose(policy.act(env.telemetry).rates, controls.rates[i], rtol=2e-6)


def test_a_run_trains_it_and_leaves_weights_for_any_network(trained):
    zipped, plain = (agents.make(path) for path in (trained.model, trained.graph))
    env = AllocationEnv(qnum_gym.scenario("dumbbell"))
    env.reset(seed=3)
    for policy in (zipped, plain):
        policy.reset(env.scenario)
    np.testing.assert_array_equal(zipped.act(env.telemetry).rates, plain.act(env.telemetry).rates)
    assert vars(PPO.load(trained.model))["env_options"] == {"rate_step": 0.25}


def test_what_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        agents.make(tmp_path / "nowhere.npz")
    path = tmp_path / "wrong.npz"
    for content in (b"hello", pickle.dumps({"about": 1}), b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a policy that this package saved"):
            agents.make(path)
    np.savez(path, about=np.array({"format": 1}, dtype=object))  # code in disguise
    with pytest.raises(ValueError, match="not a policy that"):
        agents.make(path)
    np.savez(path, about=np.array(json.dumps({"format": 7})))
    with pytest.raises(ValueError, match="format 7; valid: 1"):
        agents.make(path)
    scenario = qnum_gym.scenario("dumbbell")
    graph.save(actor(scenario), {}, path)
    with zipfile.ZipFile(path) as archive:
        assert all(name.endswith(".npy") for name in archive.namelist())
    policy: Any = agents.make(path)
    policy._shape["net_arch"] = [8, 5]
    with pytest.raises(ValueError, match="weights do not fit its shape"):
        policy.reset(scenario)


def test_signals_are_refused_before_anything_runs():
    config = TrainConfig.checked({**RUN, "overrides": {"signals": True}}, "small")
    with pytest.raises(ConfigError, match=r"here.yaml: ppo.policy = 'graph'"):
        check(config, "here.yaml")

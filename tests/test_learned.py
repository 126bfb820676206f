"""A model of Stable-Baselines3 as a policy: it acts as it would in the environment, and misfits are refused."""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_contrib import ARS, TQC, TRPO, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

import qnum_gym
from qnum_gym import agents
from qnum_gym.agents import learned
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.integrations.sb3 import SB3VecEnv
from qnum_gym.simulator import Controls

torch.set_num_threads(1)


def environment(**options):
    return AllocationEnv(qnum_gym.scenario("dumbbell", sessions=2), **options)


def untrained(algorithm, env, **options):
    return algorithm("MlpPolicy", env, seed=3, device="cpu", policy_kwargs={"net_arch": [8]}, **options)


CASES = {
    "ppo": (PPO, {}),
    "sac": (SAC, {}),
    "level": (PPO, {"action": "level"}),
    "steps": (PPO, {"rate_step": 0.5, "werner_step": 0.3}),
    "signals": (PPO, {"signals": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_saved_model_acts_as_in_the_environment(case, tmp_path):
    algorithm, options = CASES[case]
    env = environment(**options)
    model = untrained(algorithm, env, n_steps=64) if algorithm is PPO else untrained(algorithm, env, buffer_size=10)
    learned.remember(model, **options)
    model.save(tmp_path / "clever.zip")

    policy = agents.make(tmp_path / "clever.zip")
    assert (policy.name, policy.local) == ("clever", False)
    other = environment(**options)
    observation, _ = env.reset(seed=5)
    other.reset(seed=5)
    for candidate in (policy, learned.LearnedPolicy(model)):
        candidate.reset(other.scenario, 5)
    for _ in range(5):
        action = model.predict(observation, deterministic=True)[0]
        assert np.abs(action).max() > 0.0
        controls = policy.act(other.telemetry)
        observation, *_ = env.step(action)
        again, *_ = other.step_controls(controls)
        np.testing.assert_array_equal(observation, again)


def recurrent(tmp_path):
    options = {"net_arch": [8], "lstm_hidden_size": 8}
    env = environment()
    model = RecurrentPPO("MlpLstmPolicy", env, seed=3, device="cpu", policy_kwargs=options, n_steps=64)
    model.save(tmp_path / "recurrent.zip")
    return model, agents.make(tmp_path / "recurrent.zip"), env


def test_a_recurrent_model_carries_its_memory_and_forgets_it_with_the_episode(tmp_path):
    model, policy, env = recurrent(tmp_path)
    first = []
    for _ in range(2):
        observation, _ = env.reset(seed=5)
        policy.reset(env.scenario)
        memory, forgetful = None, 0
        for step in range(5):
            action, memory = model.predict(observation, memory, deterministic=True)
            rates = policy.act(env.telemetry).rates
            forgetful += (model.predict(observation, deterministic=True)[0] != action).any()
            observation, *_ = env.step(action)
            np.testing.assert_array_equal(env.controls.rates, rates)
            if step == 0:
                first.append(rates)
        assert forgetful == 4  # memory matters, from the second step on
    np.testing.assert_array_equal(*first)


def test_a_recurrent_model_for_many_networks_is_the_same_in_each(tmp_path):
    """70 networks: more than one block. One episode begins anew in the midst of the others."""
    _, policy, env = recurrent(tmp_path)
    together = copy.deepcopy(policy)
    n = 70
    envs = AllocationVectorEnv(n, env.scenario, autoreset_mode="Disabled")
    begins = {0: np.arange(n) >= 0, 3: np.arange(n) == 68}
    acted = []
    for step in range(6):
        if step in begins:
            mask = begins[step]
            envs.reset(seed=[i + 1000 * step for i in range(n)], options={"reset_mask": mask})
            together.reset([env.scenario] * n, range(n), mask)
        controls = envs.env_batch.per_network(together.act(envs.env_batch.telemetry()))
        acted.append(controls)
        envs.step_controls(controls)
    for i, start, seed in ((0, 0, 0), (65, 0, 65), (68, 3, 3068)):
        env.reset(seed=seed)
        policy.reset(env.scenario)
        for step in range(start, 6):
            controls = policy.act(env.telemetry)
            np.testing.assert_allclose(acted[step].rates[i], controls.rates, rtol=2e-6)
            np.testing.assert_allclose(acted[step].werner[i], controls.werner, rtol=2e-6)
            env.step_controls(Controls(acted[step].rates[i], acted[step].werner[i]))


def test_samples_follow_the_seed(tmp_path):
    model = untrained(PPO, environment(), n_steps=64)
    model.save(tmp_path / "model.zip")
    policy = agents.make(str(tmp_path / "model.zip"), deterministic=False)
    env = environment()
    env.reset(seed=1)

    def first(seed):
        policy.reset(env.scenario, seed)
        return policy.act(env.telemetry).rates

    assert (first(1) == first(1)).all()
    assert (first(1) != first(2)).any()


def test_a_model_of_another_network_is_refused(tmp_path):
    untrained(PPO, environment(), n_steps=64).save(tmp_path / "small.zip")
    policy = agents.make(tmp_path / "small.zip")
    with pytest.raises(
        ValueError, match=r"'small': its observations have shape \(97,\); valid for 'dumbbell': \(139,\)"
    ):
        policy.reset(qnum_gym.scenario("dumbbell"), 0)


def test_what_is_not_a_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        agents.make(tmp_path / "nowhere.zip")
    (tmp_path / "text.zip").write_text("hello")
    with pytest.raises(ValueError, match="not a model saved by Stable-Baselines3"):
        agents.make(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", "hello")
    with pytest.raises(ValueError, match="not a model saved by Stable-Baselines3"):
        agents.make(tmp_path / "other.zip")
    with pytest.raises(ValueError, match="'reward' unknown; valid: action"):
        learned.remember(untrained(PPO, gym.make("CartPole-v1"), n_steps=64), reward=1)


ALGORITHMS = {
    "PPO": (PPO, {"n_steps": 8, "batch_size": 8}),
    "PPO, gSDE": (PPO, {"n_steps": 8, "batch_size": 8, "use_sde": True}),
    "A2C, gSDE": (A2C, {"use_sde": True}),
    "TRPO, gSDE": (TRPO, {"n_steps": 8, "batch_size": 8, "use_sde": True}),
    "ARS": (ARS, {}),
    "SAC": (SAC, {"buffer_size": 10}),
    "TD3": (TD3, {"buffer_size": 10}),
    "TQC": (TQC, {"buffer_size": 10}),
    "DQN": (DQN, {"buffer_size": 10}),
    "PPO, discrete": (PPO, {"n_steps": 8, "batch_size": 8}),
    "MaskablePPO": (MaskablePPO, {"n_steps": 8, "batch_size": 8}),
}
ACTION = {"DQN": "single", "PPO, discrete": "discrete", "MaskablePPO": "discrete"}  # the others: level


@pytest.mark.parametrize("case", ALGORITHMS)
def test_a_plain_model_carries_its_environment_s_options_and_needs_no_trust(case, tmp_path):
    """Nothing is noted by hand: the action space that Stable-Baselines3 saves says what an action means."""
    (algorithm, options), action = ALGORITHMS[case], ACTION.get(case, "level")
    envs = SB3VecEnv(gym.make_vec("qnum_gym/Chain-v0", 2, action=action))
    model = algorithm("MlpPolicy", envs, device="cpu", policy_kwargs={"net_arch": [8]}, **options)
    model.save(tmp_path / "plain.zip")
    env = AllocationEnv("chain", action=action)
    observation, _ = env.reset(seed=0)
    wanted = [agents.make(tmp_path / "plain.zip", trust=trust) for trust in (False, True)]
    for policy in wanted:
        policy.reset(env.scenario)
    controls = [policy.act(env.telemetry) for policy in wanted]
    env.step(model.predict(observation, deterministic=True)[0])
    for found in controls:
        np.testing.assert_array_equal(found.rates, env.controls.rates)
        np.testing.assert_array_equal(found.werner, env.controls.werner)


def test_masks_are_those_of_the_environment(tmp_path):
    """Many networks at once; a range so narrow that steps end at once, so that the masks decide."""
    ranges = {"rate_range": (0.9, 1.1), "werner_range": (0.95, 0.98), "action": "discrete"}
    envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", 3, **ranges)
    model = MaskablePPO("MlpPolicy", envs, n_steps=8, batch_size=8, seed=1, device="cpu")
    model.set_logger(Logger(None, []))  # the default one leaves a folder
    model.learn(24)
    model.save(tmp_path / "masked.zip")
    policy = agents.make(tmp_path / "masked.zip")
    scenario = AllocationEnv("dumbbell", **ranges).scenario
    inside, outside = AllocationVectorEnv(3, scenario, action="discrete"), AllocationVectorEnv(3, scenario)
    seen, _ = inside.reset(seed=2)
    outside.reset(seed=2)
    policy.reset([scenario] * 3, 2)
    closed = 0
    for _ in range(8):
        masks = inside.action_masks()
        actions = model.predict(seen, action_masks=masks, deterministic=True)[0]
        closed += (model.predict(seen, deterministic=True)[0] != actions).sum()
        outside.step_controls(policy.act(outside.env_batch.telemetry()))
        seen, *_ = inside.step(actions)
        np.testing.assert_array_equal(inside.controls.rates, outside.controls.rates)
        np.testing.assert_array_equal(inside.controls.werner, outside.controls.werner)
    assert closed > 0


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize(
    "key", ["policy_class", "policy_kwargs", "observation_space", "seed", "_last_obs", "policy.pth"]
)
def test_nothing_in_a_model_runs(key, tmp_path):
    untrained(PPO, environment(), n_steps=64).save(tmp_path / "good.zip")
    ran, code = tmp_path / "ran", pickle.dumps(Evil(tmp_path / "ran"))
    with zipfile.ZipFile(tmp_path / "good.zip") as good, zipfile.ZipFile(tmp_path / "evil.zip", "w") as evil:
        for name in good.namelist():
            content = good.read(name)
            if name == "data" and key != "policy.pth":
                data = json.loads(content)
                field = {":type:": "<class 'dict'>", ":serialized:": base64.b64encode(code).decode()}
                data[key] = (
                    field | (data[key] if isinstance(data[key], dict) else {}) | {":serialized:": field[":serialized:"]}
                )
                data |= {"_last_original_obs": [0.0]} if key == "_last_obs" else {}  # so that it is looked at
                content = json.dumps(data).encode()
            evil.writestr(name, code if name == key else content)
    refusals = {"policy.pth": "no plain tensors", "_last_obs": "trained in a VecNormalize"}
    refused = pytest.raises(ValueError, match=refusals[key]) if key in refusals else contextlib.nullcontext()
    with refused:
        agents.make(tmp_path / "evil.zip")
    assert not ran.exists()


def test_what_has_no_plain_description_asks_for_trust(tmp_path):
    class Mine(torch.nn.ReLU):
        pass

    model = PPO("MlpPolicy", environment(), n_steps=64, policy_kwargs={"activation_fn": Mine})
    model.save(tmp_path / "mine.zip")
    with pytest.raises(ValueError, match=r"cannot be rebuilt from plain data .*runs code: --trust"):
        agents.make(tmp_path / "mine.zip")
    agents.make(tmp_path / "mine.zip", trust=True)


def test_a_model_without_options_is_refused_until_told(tmp_path):
    box = [
        gym.spaces.Box(-1.0, 1.0, space.shape, np.float32)
        for space in (environment().observation_space, environment().action_space)
    ]
    model = PPO(ActorCriticPolicy, environment(), n_steps=64, device="cpu")
    model.observation_space, model.action_space = box
    model.save(tmp_path / "foreign.zip")
    with pytest.raises(ValueError, match="say it: action, signals, rate_step, werner_step"):
        agents.make(tmp_path / "foreign.zip")
    agents.make(tmp_path / "foreign.zip", action="step")
    with pytest.raises(ValueError, match="takes no option reward"):
        agents.make(tmp_path / "foreign.zip", reward=1)


def test_a_normalised_model_asks_for_its_statistics(tmp_path):
    envs = VecNormalize(SB3VecEnv(gym.make_vec("qnum_gym/Chain-v0", 2)))
    model = PPO("MlpPolicy", envs, n_steps=16, batch_size=8, n_epochs=1, device="cpu")
    model.set_logger(Logger(None, []))  # the default one leaves a folder
    model.learn(64)
    model.save(tmp_path / "model.zip")
    envs.save(str(tmp_path / "statistics.pkl"))
    with pytest.raises(ValueError, match="trained in a VecNormalize"):
        agents.make(tmp_path / "model.zip")
    with pytest.raises(ValueError, match=r"a pickle, which runs code; valid with --trust"):
        agents.make(tmp_path / "model.zip", vecnormalize=tmp_path / "statistics.pkl")
    policy = agents.make(tmp_path / "model.zip", vecnormalize=tmp_path / "statistics.pkl", trust=True)
    env = AllocationEnv("chain")
    observation, _ = env.reset(seed=0)
    policy.reset(env.scenario)
    controls = policy.act(env.telemetry)
    env.step(model.predict(envs.normalize_obs(observation), deterministic=True)[0])
    np.testing.assert_allclose(controls.rates, env.controls.rates, rtol=1e-6)


@pytest.mark.parametrize("rewards_alone", [False, True])
def test_off_policy_models_that_saw_plain_observations_ask_for_nothing(rewards_alone, tmp_path):
    """Stable-Baselines3 notes an original observation with them in any case."""
    envs = SB3VecEnv.make("qnum_gym/Chain-v0", 2)
    envs = VecNormalize(envs, norm_obs=False) if rewards_alone else envs
    model = SAC("MlpPolicy", envs, buffer_size=100, learning_starts=8, batch_size=8, device="cpu")
    model.set_logger(Logger(None, []))  # the default one leaves a folder
    model.learn(16)
    model.save(tmp_path / "model.zip")
    agents.make(tmp_path / "model.zip")
    agents.make(tmp_path / "model.zip", trust=True)


def test_models_that_fit_no_allocation_are_refused_in_one_line(tmp_path):
    DQN("MlpPolicy", gym.make("CartPole-v1"), buffer_size=10).save(tmp_path / "dqn.zip")
    scaled = gym.wrappers.RescaleAction(environment(), np.float32(-3.0), np.float32(3.0))
    untrained(PPO, scaled, n_steps=64).save(tmp_path / "scaled.zip")
    for name, options in (("dqn", {}), ("scaled", {"action": "step"})):
        with pytest.raises(ValueError, match=r"model = .*(valid|plain data|say it)") as found:
            agents.make(tmp_path / f"{name}.zip", **options)
        assert "\n" not in str(found.value)

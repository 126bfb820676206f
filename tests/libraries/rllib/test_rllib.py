"""RLlib's environment runners over ours: one environment, a vector of them, the controllers; and training."""

import pickle
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import ray
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

import qnum_gym
from qnum_gym import Stream, evaluation, scenario
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.integrations import rllib

ID = "qnum_gym/Dumbbell-v0"
LENGTH, SEED = 5, 7


@pytest.fixture(autouse=True)
def ids():
    """Known to Ray."""
    rllib.register()


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_an_episode_of_a_runner_is_one_of_ours(mode):
    config = PPOConfig().environment(ID, env_config={"episode_length": LENGTH}).debugging(seed=SEED)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode=mode)
    runner = SingleAgentEnvRunner(config=config, worker_index=0)
    assert isinstance(runner.env.unwrapped, AllocationVectorEnv) == (mode == "vector_entry_point")
    episodes = runner.sample(num_episodes=4, random_actions=True)
    for i in range(2):  # each environment has lived through two
        env = gym.make(ID, episode_length=LENGTH)
        for k, episode in enumerate(episodes[i::2]):
            observation, _ = env.reset(seed=SEED + i if k == 0 else None)
            np.testing.assert_array_equal(episode.get_observations(0), observation)
            for t, action in enumerate(episode.get_actions()):
                observation, reward, *_ = env.step(action)
                np.testing.assert_array_equal(episode.get_observations(t + 1), observation)
                assert episode.get_rewards(t) == reward
            assert (len(episode), episode.is_truncated, episode.is_terminated) == (LENGTH, True, False)


def test_the_controllers_are_agents_of_two_policies():
    config = (
        PPOConfig()
        .environment(rllib.ControllersEnv, env_config={"id": "Dumbbell-v0", "episode_length": LENGTH, "info": "none"})
        .multi_agent(policies={"source", "link"}, policy_mapping_fn=lambda agent, *_, **__: agent.rpartition("_")[0])
        .env_runners(num_env_runners=0, num_envs_per_env_runner=1)
    )
    runner = MultiAgentEnvRunner(config=config, worker_index=0)
    (episode,) = runner.sample(num_episodes=1)
    agents = {f"source_{r}" for r in range(3)} | {f"link_{l}" for l in range(7)}
    assert set(episode.agent_episodes) == agents
    assert episode.is_truncated
    for agent in agents:
        own = episode.agent_episodes[agent]
        assert (len(own), own.get_observations().shape) == (LENGTH, (LENGTH + 1, 30))
        assert own.module_id == agent.rpartition("_")[0]


@pytest.mark.parametrize("mode", ["sync", "vector_entry_point"])
def test_a_curriculum_reaches_the_environments_of_a_runner(mode: str) -> None:
    networks = [scenario("chain", sessions=1, length_km=x, episode_length=LENGTH, name=f"{x}") for x in (5, 10)]
    own = Stream(networks, weights={"10": 0.0})
    config = PPOConfig().environment("qnum_gym/Scenario-v0", env_config={"scenario": own})
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2, gym_env_vectorize_mode=mode)
    runner = SingleAgentEnvRunner(config=pickle.loads(pickle.dumps(config)), worker_index=0)  # its own copy
    envs = runner.env.unwrapped
    change = {"5": 0.0, "10": 1.0}
    if mode == "sync":
        envs.call("set_stream_weights", change)
    else:
        envs.set_stream_weights(change)
    envs.reset(seed=0)
    drawn = envs.get_attr("scenario") if mode == "sync" else envs.env_batch.scenarios
    assert [network.name for network in drawn] == ["10", "10"]
    assert own.weights == {"5": 1.0, "10": 0.0}


def test_controllers_that_share_a_network_learn(tmp_path: Path) -> None:
    """PPO on a source and two links; the checkpoint of before and of after, as policies on seeds of their own."""
    keywords = {"nodes": 3, "episode_length": 60}
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    config = (
        PPOConfig()
        .environment(rllib.ControllersEnv, env_config={"id": "Chain-v0", "signals": False, "info": "none", **keywords})
        .multi_agent(policies={"agents"}, policy_mapping_fn=lambda *_, **__: "agents")
        .env_runners(num_env_runners=0)
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[32, 32], free_log_std=True, vf_share_layers=False))
        .training(lr=1e-3, gamma=0.95, lambda_=0.95, train_batch_size_per_learner=960, minibatch_size=240, num_epochs=8)
        .debugging(seed=0)
    )
    algorithm = config.build_algo()
    algorithm.save_to_path(str(tmp_path / "before"))
    for _ in range(8):
        algorithm.train()
    algorithm.save_to_path(str(tmp_path / "after"))
    algorithm.stop()
    ray.shutdown()
    policies = {name: rllib.TrainedPolicy(tmp_path / name, signals=False) for name in ("before", "after")}
    results = evaluation.evaluate(scenario("chain", **keywords), policies, range(8))
    before, after = results.score.mean(axis=1)
    assert after > before + 0.2


def test_tune_finds_constants_in_few_trials(run_example: Callable[[str, int], tuple[float, float]]) -> None:
    before, after = run_example("ray_tune", 4)
    assert after > before + 0.3


def test_a_checkpoint_is_a_policy(tmp_path: Path) -> None:
    """The policy does what the modules do, stepped by hand. An algorithm's checkpoint holds them in this folder."""
    par = qnum_gym.parallel_env("Dumbbell-v0", info="none", signals=False)
    specs = {
        group: RLModuleSpec(
            module_class=DefaultPPOTorchRLModule,
            observation_space=par.observation_space(f"{group}_0"),
            action_space=par.action_space(f"{group}_0"),
            model_config=DefaultModelConfig(fcnet_hiddens=[16], free_log_std=True, vf_share_layers=False),
        )
        for group in ("source", "link")
    }
    modules = MultiRLModuleSpec(rl_module_specs=specs).build()
    modules.save_to_path(str(tmp_path / "learner_group" / "learner" / "rl_module"))
    policy = rllib.TrainedPolicy(tmp_path, signals=False)
    observations, _ = par.reset(seed=5)
    policy.reset(par.scenario)
    for _ in range(5):
        controls = policy.act(par.central.telemetry)
        actions = {}
        for group in ("source", "link"):
            own = [agent for agent in par.agents if agent.startswith(group)]
            batch = {"obs": torch.as_tensor(np.stack([observations[agent] for agent in own]))}
            means = modules[group].forward_inference(batch)["action_dist_inputs"][:, :1]
            actions |= dict(zip(own, np.clip(means.detach().numpy(), -1.0, 1.0), strict=True))
        observations, *_ = par.step(actions)
        np.testing.assert_allclose(controls.rates, par.central.controls.rates, rtol=1e-6)
        np.testing.assert_allclose(controls.werner, par.central.controls.werner, rtol=1e-6)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        rllib.TrainedPolicy("nowhere")


def test_the_example_learns_with_remote_runners(run_example):
    before, after = run_example("rllib_ppo", 20000)
    assert after > before + 5.0

"""SuperSuit makes the agents slots of one vector environment, which one network of SB3 then acts for."""

import numpy as np
import supersuit
from stable_baselines3 import PPO

import qnum_gym
from qnum_gym import agents
from qnum_gym.agents.learned.parallel import ParallelPolicy


def test_one_network_for_all_agents(tmp_path):
    par = qnum_gym.parallel_env("Dumbbell-v0", reward="local", info="none")
    envs = supersuit.concat_vec_envs_v1(supersuit.pettingzoo_env_to_vec_env_v1(par), 1, base_class="stable_baselines3")
    assert envs.num_envs == 10
    model = PPO("MlpPolicy", envs, n_steps=32, batch_size=64, n_epochs=1, device="cpu")
    model.learn(640)
    observations = envs.reset()
    action, _ = model.predict(observations, deterministic=True)
    assert action.shape == (10, 2)
    assert np.isfinite(envs.step(action)[1]).all()
    model.save(tmp_path / "shared.zip")
    policy = agents.make(tmp_path / "shared.zip")
    assert isinstance(policy, ParallelPolicy)
    par.reset(seed=3)
    policy.reset(par.scenario)
    controls = policy.act(par.central.telemetry)
    observations = par.central.env_batch.agent_rows()[0]
    par.step(dict(zip(par.agents, model.predict(observations, deterministic=True)[0], strict=True)))
    np.testing.assert_array_equal(controls.rates, par.central.controls.rates)

"""TorchRL takes all three environments as they are."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torchrl.envs import GymEnv, GymWrapper, PettingZooWrapper
from torchrl.envs.utils import check_env_specs

import qnum_gym

ID = "qnum_gym/Dumbbell-v0"


@pytest.mark.parametrize("info", ["flat", "none"])
def test_the_scalar_environment(info):
    check_env_specs(GymEnv(ID, info=info))


@pytest.mark.parametrize("mode", ["DISABLED", "SAME_STEP"])
@pytest.mark.parametrize("info", ["flat", "none"])
def test_the_vector_environment(mode, info):
    env = GymWrapper(gym.make_vec(ID, num_envs=3, autoreset_mode=mode, info=info, episode_length=5))
    check_env_specs(env)
    run = env.rollout(12, break_when_any_done=False)
    assert run.shape == (3, 12)
    assert run["next", "truncated"].squeeze(-1).sum(dim=1).tolist() == [2, 2, 2]


def test_equal_steps_are_equal_rewards():
    env, plain = GymEnv(ID, info="none"), gym.make(ID)
    env.set_seed(3, static_seed=True)  # which resets
    state = env.reset()
    plain.reset(seed=3)
    plain.reset()
    for k in range(5):
        action = np.full(10, 0.1 * k, np.float32)
        state["action"] = torch.as_tensor(action)
        state = env.step(state)
        assert state["next", "reward"].item() == pytest.approx(plain.step(action)[1])
        state = state["next"].clone()


def test_agents_form_groups_by_themselves():
    env = PettingZooWrapper(qnum_gym.parallel_env("Dumbbell-v0"))
    check_env_specs(env)
    assert {name: len(agents) for name, agents in env.group_map.items()} == {"source": 3, "link": 7}

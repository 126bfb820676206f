"""TorchRL takes all three environments as they are."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from tensordict.nn import TensorDictModule, TensorDictSequential
from torchrl.envs import GymEnv, GymWrapper, PettingZooWrapper
from torchrl.envs.utils import check_env_specs

import qnum_gym
from qnum_gym.agents.learned.parallel import ParallelPolicy
from qnum_gym.integrations.torchrl import actors

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


def test_what_acts_for_groups_is_a_policy() -> None:
    """`ParallelPolicy` of its actors does what TorchRL does with the same modules."""
    torch.manual_seed(0)
    parts = [
        TensorDictModule(
            torch.nn.Sequential(torch.nn.Linear(30, 2), torch.nn.Tanh()),
            in_keys=[(group, "observation")],
            out_keys=[(group, "action")],
        )
        for group in ("source", "link")
    ]
    env = PettingZooWrapper(qnum_gym.parallel_env("Dumbbell-v0", info="none", episode_length=5))
    begun, par = env.reset(), qnum_gym.parallel_env("Dumbbell-v0", info="none", episode_length=5)
    par.set_state(env.get_state())
    run = env.rollout(5, TensorDictSequential(*parts), auto_reset=False, tensordict=begun)
    policy = ParallelPolicy(actors(TensorDictSequential(*parts)))
    policy.reset(par.scenario)
    for step in run:
        controls = policy.act(par.central.telemetry)
        rows = [row.detach().numpy() for group in ("source", "link") for row in step[group, "action"]]
        par.step(dict(zip(par.possible_agents, rows, strict=True)))
        np.testing.assert_allclose(controls.rates, par.central.controls.rates, rtol=1e-6)
        np.testing.assert_allclose(controls.werner, par.central.controls.werner, rtol=1e-6)


def test_masks_of_choices_are_in_the_specifications() -> None:
    env = PettingZooWrapper(qnum_gym.parallel_env("Dumbbell-v0", action="discrete", info="none"))
    check_env_specs(env)
    assert env.observation_spec["link", "action_mask"].shape == (7, 9)

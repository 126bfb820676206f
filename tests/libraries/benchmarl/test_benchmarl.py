"""BenchMARL's task: groups, state, an environment that TorchRL finds right; and training."""

import pytest
import torch
from torchrl.envs.utils import check_env_specs

import qnum_gym
from qnum_gym.integrations.benchmarl import AllocationTask

pytestmark = pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested")
SOURCES, LINKS, LENGTH = 3, 7, 5


@pytest.fixture(scope="module")
def task():
    """Short episodes, shares of one's own."""
    return AllocationTask("Dumbbell-v0", {"episode_length": LENGTH, "reward": "local"})


def test_specifications(task):
    env = task.get_env_fun(1, True, 0, "cpu")()
    check_env_specs(env)
    assert task.max_steps(env) == LENGTH
    assert task.group_map(env) == {
        "source": [f"source_{r}" for r in range(SOURCES)],
        "link": [f"link_{l}" for l in range(LINKS)],
    }
    assert task.state_spec(env)["state"].shape == (16 * SOURCES + 13 * LINKS,)
    assert task.observation_spec(env)["link", "observation"].shape == (LINKS, 30)
    assert task.action_spec(env)["source", "action"].shape == (SOURCES, 2)
    assert task.action_mask_spec(env) is None
    assert not task.has_render(env)


def test_an_episode_is_one_of_ours(task):
    env = task.get_env_fun(1, True, 0, "cpu")()
    begun = env.reset()
    par = qnum_gym.parallel_env("Dumbbell-v0", episode_length=LENGTH, reward="local")
    par.set_state(env.get_state())  # TorchRL makes the seed
    run = env.rollout(100, auto_reset=False, tensordict=begun)
    assert len(run) == LENGTH
    for step in run:
        rows = [step[group, "action"].numpy() for group in ("source", "link")]
        actions = dict(zip(par.possible_agents, (row for part in rows for row in part), strict=True))
        observations, rewards, *_ = par.step(actions)
        after = step["next"]
        torch.testing.assert_close(after["state"], torch.as_tensor(par.state()), rtol=0.0, atol=0.0)
        for i in range(LINKS):
            assert (after["link", "observation"][i].numpy() == observations[f"link_{i}"]).all()
            assert after["link", "reward"][i].item() == pytest.approx(rewards[f"link_{i}"], rel=1e-6)


def test_the_example_learns(run_example):
    before, after = run_example("benchmarl_mappo", 14000)
    assert after > before + 5.0

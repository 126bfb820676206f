"""BenchMARL's task: groups, state, an environment that TorchRL finds right; and training."""

from pathlib import Path

import pytest
import torch
from benchmarl.algorithms import QmixConfig
from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.models.mlp import MlpConfig
from torchrl.envs.utils import ExplorationType, check_env_specs, set_exploration_type

import qnum_gym
from qnum_gym.integrations.benchmarl import AllocationTask, TrainedPolicy

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


def test_qmix_chooses_among_masked_actions_and_its_checkpoint_is_a_policy(tmp_path: Path) -> None:
    """The policy does what TorchRL does with the trained modules, in an environment of its own."""
    config = ExperimentConfig.get_from_yaml()
    config.max_n_frames, config.off_policy_collected_frames_per_batch, config.off_policy_train_batch_size = 200, 100, 32
    config.off_policy_n_envs_per_worker, config.off_policy_n_optimizer_steps = 2, 2
    config.evaluation, config.checkpoint_at_end = False, True
    config.loggers, config.create_json, config.save_folder = [], False, tmp_path
    choosing = {"action": "discrete", "signals": False, "episode_length": 2 * LENGTH}
    task = AllocationTask("Dumbbell-v0", choosing)
    model = MlpConfig(num_cells=[16], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    experiment = Experiment(task, QmixConfig.get_from_yaml(), model, seed=0, config=config)
    experiment.run()
    (checkpoint,) = tmp_path.glob("*/checkpoints/*.pt")
    policy = TrainedPolicy(checkpoint)

    env = task.get_env_fun(1, False, 0, "cpu")()
    assert task.action_mask_spec(env)["link", "action_mask"].shape == (LINKS, 3)
    begun = env.reset()
    par = qnum_gym.parallel_env("Dumbbell-v0", info="none", **choosing)
    par.set_state(env.get_state())
    with set_exploration_type(ExplorationType.DETERMINISTIC):
        run = env.rollout(100, experiment.policy, auto_reset=False, tensordict=begun)
    policy.reset(par.scenario)
    assert (policy.local, len(run)) == (True, 2 * LENGTH)
    for step in run:
        controls = policy.act(par.central.telemetry)
        choices = [int(choice) for group in ("source", "link") for choice in step[group, "action"]]
        par.step(dict(zip(par.possible_agents, choices, strict=True)))
        assert (controls.rates == par.central.controls.rates).all()
        assert (controls.werner == par.central.controls.werner).all()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        TrainedPolicy("nowhere.pt")

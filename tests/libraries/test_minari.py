"""Datasets of Minari: what is recorded is what happened, and experts that act through header signals act rightly."""

import numpy as np
import pytest

from qnum_gym import agents
from qnum_gym.envs import AllocationEnv
from qnum_gym.integrations.minari import collect, returns


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))


def test_a_dataset_replays_bit_for_bit_in_the_environment_that_it_recovers():
    dataset = collect("qnum-gym/dumbbell/da-v0", "qnum_gym/Dumbbell-v0", "qprimaldual-da", 2, seed=5, action="level")
    assert (dataset.total_episodes, dataset.total_steps) == (2, 400)
    env = dataset.recover_environment()
    for k, episode in enumerate(dataset.iterate_episodes()):
        assert np.array_equal(env.reset(seed=5 + k)[0], episode.observations[0])
        for action, observation, reward in zip(episode.actions, episode.observations[1:], episode.rewards, strict=True):
            got = env.step(action)
            assert np.array_equal(got[0], observation)
            assert got[1] == reward


def test_the_expert_is_as_good_as_in_the_evaluation():
    """Its signals are in no action, and it acts as if they were in the headers: they are, in its own network."""
    dataset = collect("qnum-gym/dumbbell/da-v0", "qnum_gym/Dumbbell-v0", "qprimaldual-da", 1, seed=5, action="level")
    env, policy, total = AllocationEnv("dumbbell"), agents.make("qprimaldual-da"), 0.0
    env.reset(seed=5)
    policy.reset(env.scenario, 5)
    for _ in range(200):
        total += env.step_controls(policy.act(env.telemetry))[1]
    assert returns(dataset)[0] == pytest.approx(total, rel=0.02)


def test_actions_with_signals_are_refused():
    with pytest.raises(ValueError, match="signals: valid"):
        collect("qnum-gym/x-v0", "qnum_gym/Dumbbell-v0", "oracle", 1, signals=True)
    with pytest.raises(ValueError, match="episodes = 0"):
        collect("qnum-gym/x-v0", "qnum_gym/Dumbbell-v0", "oracle", 0)

"""The warm start: the learner comes to act as its teacher would in the same state, and bad teachers are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from qnum_gym import agents
from qnum_gym.config import ConfigError
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.training.config import TrainConfig
from qnum_gym.training.imitation import imitate
from qnum_gym.training.run import build, check

torch.set_num_threads(1)


def config(**changes):
    ppo = {"n_steps": 16, "batch_size": 16, "net_arch": [32], **changes}
    return TrainConfig.checked({"name": "warm", "env": "qnum_gym/Chain-v0", "envs": 4, "ppo": ppo}, "here.yaml")


def led(model, intervals):
    """The environment after an episode's first intervals under a model's mean action, and what the oracle does there.

    The episode begins cold.
    """
    env = AllocationEnv(model.get_env().venv.envs.env_batch.scenarios[0])
    oracle = agents.make("oracle")
    observation, _ = env.reset(seed=7)
    oracle.reset(env.scenario)
    wanted = oracle.act(env.telemetry)
    assert env.controls.rates[0] < 0.1 * wanted.rates[0]
    for _ in range(intervals):
        observation, *_ = env.step(model.predict(observation, deterministic=True)[0])
    return env, wanted


@pytest.mark.parametrize("policy", ["mlp", "graph"])
def test_the_learner_comes_to_act_as_its_teacher(policy):
    model: Any = build(config(policy=policy, net_arch=[32, 32]))
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    imitate(model, config(), "oracle", 4000, seed=0)

    env, wanted = led(model, 60)
    np.testing.assert_allclose(env.controls.rates, wanted.rates, rtol=0.2)
    np.testing.assert_allclose(1.0 - env.controls.werner, 1.0 - wanted.werner, rtol=0.2)

    after = model.policy.state_dict()
    for name in before:  # exploration and value are PPO's own
        if "log_std" in name or "value" in name or "critic" in name:
            assert torch.equal(before[name], after[name]), name


def test_a_teacher_with_options_comes_from_its_file(tmp_path):
    """It teaches other actions than without them, and the learner follows."""
    path = tmp_path / "teacher.yaml"
    path.write_text("policy: oracle\noptions: {utilisation: 0.4}\n")
    check(config(imitate=str(path)), "here.yaml")
    model: Any = build(config())
    imitate(model, config(), str(path), 4000, seed=0)
    env, plain = led(model, 60)
    assert env.controls.rates[0] < 0.7 * plain.rates[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"teacher.yaml: no such file"),
        ("policy: orcale", r"did you mean 'oracle'"),
        ("policy: oracle\noptions: {overlaod: 2}", r"takes no option overlaod"),
    ],
)
def test_a_teacher_s_file_that_cannot_be_is_refused_before_anything_runs(tmp_path, text, message):
    path = tmp_path / "teacher.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"here.yaml: ppo.imitate = '.*teacher.yaml': .*" + message):
        check(config(imitate=str(path)), "here.yaml")


def test_an_unknown_teacher_is_refused_before_anything_runs():
    with pytest.raises(
        ConfigError, match=r"here.yaml: ppo.imitate = 'orcale': policy = 'orcale': did you mean 'oracle'"
    ):
        check(config(imitate="orcale"), "here.yaml")


def test_a_teacher_that_acts_through_headers_teaches_what_it_does():
    """It works on its own signals, though none of them are in the learner's headers."""
    model: Any = build(config())
    imitate(model, config(), "qprimaldual-da", 6000, seed=0)
    env, wanted = led(model, 100)
    np.testing.assert_allclose(env.controls.rates, wanted.rates, rtol=0.25)
    np.testing.assert_allclose(1.0 - env.controls.werner, 1.0 - wanted.werner, rtol=0.25)


def test_signals_move_no_pair():
    """What lets the teacher look at networks of its own, in which nothing differs but what headers carry."""
    rng = np.random.default_rng(3)
    silent, loud = AllocationVectorEnv(2, "nsfnet", signals=False), AllocationVectorEnv(2, "nsfnet", signals=True)
    for envs in (silent, loud):
        envs.reset(seed=5)
    for _ in range(20):
        action = rng.uniform(-1.0, 1.0, (2, 29)).astype(np.float32)
        silent.step(action)
        loud.step(np.concatenate((action, rng.uniform(-1.0, 1.0, (2, 29)).astype(np.float32)), axis=1))
        np.testing.assert_array_equal(silent.env_batch.counts, loud.env_batch.counts)
        np.testing.assert_array_equal(silent.env_batch.latency, loud.env_batch.latency)
        np.testing.assert_array_equal(silent.env_batch.queue, loud.env_batch.queue)


def test_a_silent_teacher_teaches_silence_where_actions_have_signals():
    loud = TrainConfig.checked({**config().model_dump(), "overrides": {"signals": True}}, "here.yaml")
    model: Any = build(loud)
    imitate(model, loud, "oracle", 4000, seed=0)
    env = AllocationEnv(model.get_env().venv.envs.env_batch.scenarios[0], signals=True)
    observation, _ = env.reset(seed=7)
    knobs = len(env.controls.rates) + len(env.controls.werner)
    for _ in range(60):
        action = model.predict(observation, deterministic=True)[0]
        observation, *_ = env.step(action)
    assert np.abs(action[knobs:]).max() < 0.2

"""Specifications are data: what is made from their JSON is the same."""

from __future__ import annotations

import importlib.util
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec

import qnum_gym
from qnum_gym import scenarios, topologies
from qnum_gym.envs import AllocationEnv
from qnum_gym.scenarios import LinkEvent, ScenarioError, Session

DUMBBELL = qnum_gym.scenario("dumbbell", coherence_time=float("inf"))
CHANGED = DUMBBELL.replace(
    name="changed", events=[LinkEvent(time=3.0, link=("left", "right"), extra_loss_db=2.0)], measure="negativity"
)


@pytest.mark.parametrize(
    ("id", "keywords"),
    [
        ("Scenario", {"scenario": CHANGED}),
        ("Scenario", {"scenario": CHANGED.model_dump(mode="json")}),
        ("Scenario", {"scenario": "nsfnet", "rate_range": (0.1, np.float64(50.0))}),
        ("Dumbbell", {"coherence_time": 5.0, "action": "level"}),
        ("Dumbbell", {"sessions": [Session(source="s0", destination="d1")]}),
    ],
)
def test_made_again_from_json(id: str, keywords: dict[str, Any]) -> None:
    env: Any = gym.make(f"qnum_gym/{id}-v0", **keywords)
    again: Any = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert again.unwrapped.scenario == env.unwrapped.scenario
    assert again.action_space == env.action_space
    np.testing.assert_array_equal(again.reset(seed=0)[0], env.reset(seed=0)[0])


def test_vector_environments_too() -> None:
    envs: Any = gym.make_vec(
        "qnum_gym/Scenario-v0", num_envs=2, scenario=CHANGED, autoreset_mode=gym.vector.AutoresetMode.DISABLED
    )
    again: Any = gym.make_vec(EnvSpec.from_json(envs.spec.to_json()))
    assert again.env_batch.scenarios == envs.env_batch.scenarios == (CHANGED, CHANGED)
    assert again.autoreset_mode == envs.autoreset_mode
    mapped: Any = gym.make_vec("qnum_gym/Scenario-v0", num_envs=2, scenario=CHANGED.model_dump(mode="json"))
    assert mapped.env_batch.scenarios == envs.env_batch.scenarios


def test_a_mapping_is_checked() -> None:
    with pytest.raises(ScenarioError, match="linsk: unknown key"):
        gym.make("qnum_gym/Scenario-v0", scenario={"linsk": [], "sessions": []})


def test_no_module_shares_its_name_with_a_function() -> None:
    assert scenarios.Scenario is qnum_gym.Scenario
    assert qnum_gym.scenario("chain") == topologies.scenario("chain")
    assert importlib.util.find_spec("qnum_gym.scenario") is None


def test_a_named_network_takes_a_name() -> None:
    assert qnum_gym.scenario("dumbbell", name="mine").name == "mine"
    env: Any = gym.make("qnum_gym/Dumbbell-v0", name="mine").unwrapped
    assert env.scenario.name == "mine"


@pytest.mark.parametrize("name", topologies.names())
def test_what_an_error_lists_is_valid_for_this_network(name: str) -> None:
    with pytest.raises(ScenarioError, match=r"unexpected keyword argument 'frameskip'") as found:
        AllocationEnv(name, frameskip=4)
    assert isinstance(found.value, TypeError)
    listed = str(found.value).partition("valid: ")[2].partition(" (")[0].split(", ")
    assert set(topologies.keywords(name)) <= set(listed)
    if "seed" in listed:
        topologies.scenario(name, seed=1)
    else:
        with pytest.raises(ScenarioError, match="seed: unknown keyword"):
            topologies.scenario(name, seed=1)

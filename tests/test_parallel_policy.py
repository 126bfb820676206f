"""What acts for single agents is, as a policy, the same as stepping the parallel environment by hand, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.agents.learned.local import LocalPolicy
from qnum_gym.agents.learned.parallel import ParallelPolicy
from qnum_gym.envs import AllocationVectorEnv
from qnum_gym.integrations.controllers import ControllersVecEnv
from tests.envs.test_parallel import dynamic
from tests.test_locality import disturbed, episode

STEPS = 10
WEIGHTS = np.random.default_rng(0).normal(size=(30, 9)).astype(np.float32)


def means(rows: np.ndarray) -> np.ndarray:
    """Row by row, so that BLAS has no say: what stands in other rows cannot matter."""
    return np.tanh((np.nan_to_num(rows)[:, :, np.newaxis] * WEIGHTS[: rows.shape[1], :2]).sum(axis=1))


def choices(rows: np.ndarray, action_mask: np.ndarray) -> np.ndarray:
    values = (rows[:, :, np.newaxis] * WEIGHTS).sum(axis=1)
    return np.where(action_mask, values, -np.inf).argmax(axis=1)


class Small(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(torch.nn.Linear(30, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.layers(rows))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "function": (means, {}),
    "level": (means, {"action": "level"}),
    "module": (Small(), {"rate_step": 0.3}),
    "groups": ({"source": means, "link": lambda rows: -means(rows)}, {}),
    "own features": ({"source": means, "link": means}, {"homogeneous": False}),
    "choices": (choices, {"action": "discrete"}),
}


def by_hand(actor: Any, par: Any, observations: dict[str, Any], infos: dict[str, Any]) -> dict[str, Any]:
    """What a user of PettingZoo would write."""
    actions: dict[str, Any] = {}
    parts = {"": actor} if not isinstance(actor, dict) else actor
    for group, act in parts.items():
        own = [agent for agent in par.agents if agent.startswith(group)]
        rows = np.stack([observations[agent] for agent in own])
        if isinstance(act, torch.nn.Module):
            with torch.no_grad():
                found: Any = act(torch.as_tensor(rows)).numpy()
        elif act is choices:
            found = act(rows, np.stack([infos[agent]["action_mask"] for agent in own]) > 0)
        else:
            found = act(rows)
        actions |= dict(zip(own, found, strict=True))
    return actions


@pytest.mark.bits
@pytest.mark.parametrize("case", CASES)
def test_it_is_the_parallel_environment_by_hand(case: str) -> None:
    """In a batch of three networks, of which each has its own draws."""
    actor, options = CASES[case]
    scenario, n = dynamic(), 3
    policy = ParallelPolicy(actor, **options)
    meaning = {key: value for key, value in options.items() if key != "homogeneous"}
    envs = AllocationVectorEnv(n, scenario, signals=True, **meaning)
    envs.reset(seed=4)
    policy.reset([scenario] * n, 4)
    each = [qnum_gym.parallel_env(scenario, **options) for _ in range(n)]
    seen = [par.reset(seed=4 + i) for i, par in enumerate(each)]
    for _ in range(STEPS):
        controls = policy.act(envs.env_batch.telemetry())
        envs.step_controls(controls)
        for i, par in enumerate(each):
            observations, *_, infos = par.step(by_hand(actor, par, *seen[i]))
            seen[i] = observations, infos
            np.testing.assert_array_equal(par.state(), envs.observe()[i])
            np.testing.assert_array_equal(par.central.controls.rates, envs.controls.rates[i])


@pytest.mark.parametrize("case", ["function", "choices", "own features"])
def test_rubbish_in_other_rows_changes_nothing(case: str) -> None:
    actor, options = CASES[case]
    policy, scenario = ParallelPolicy(actor, **options), qnum_gym.scenario("dumbbell")
    story = episode([scenario], policy)
    assert (policy.local, policy.knows) == (True, "local")
    rng = np.random.default_rng(1)
    for session, link in ((0, 3), (2, 6)):
        for nan in (False, True):
            other = ParallelPolicy(actor, **options)
            other.reset(scenario, 0)
            for telemetry, c in story:
                with np.errstate(all="ignore"):
                    found = other.act(disturbed(telemetry, session, link, rng, nan))
                assert found.rates[session] == c.rates[session]
                assert found.werner[link] == c.werner[link]
                assert found.session_signals is not None
                assert found.session_signals[session] == c.session_signals[session]


def test_networks_of_any_sizes_share_it() -> None:
    scenarios = [qnum_gym.scenario(name) for name in ("chain", "nsfnet", "dumbbell")]
    together = ParallelPolicy(means)
    stories = episode(scenarios, together)
    for i, scenario in enumerate(scenarios):
        for (_, c), (_, alone) in zip(stories, episode([scenario], ParallelPolicy(means)), strict=True):
            own = together.networks.of_session == i
            np.testing.assert_array_equal(c.rates[own], alone.rates)


class OneAgent(gym.Env[Any, Any]):
    """The spaces of an agent, which is all that a model is made of."""

    def __init__(self, **options: Any) -> None:
        par = qnum_gym.parallel_env("chain", **options)
        self.observation_space, self.action_space = par.observation_space("link_0"), par.action_space("link_0")


@pytest.mark.parametrize("kind", ["level", "discrete"])
def test_a_model_of_stable_baselines3_needs_nothing(kind: str, tmp_path: Path) -> None:
    """What its actions mean is noted on the agents' action spaces."""
    model = PPO("MlpPolicy", OneAgent(action=kind), n_steps=8, batch_size=8, seed=0, device="cpu")
    model.save(tmp_path / "shared.zip")
    policy = agents.make(tmp_path / "shared.zip")
    assert (type(policy), policy.name, policy.local) == (ParallelPolicy, "shared", True)
    par = qnum_gym.parallel_env("nsfnet", action=kind)  # another network
    observations, _ = par.reset(seed=0)
    policy.reset(par.scenario)
    for _ in range(STEPS):
        controls = policy.act(par.central.telemetry)
        actions = model.predict(np.stack(list(observations.values())), deterministic=True)[0]
        observations, *_ = par.step(dict(zip(par.agents, actions, strict=True)))
        np.testing.assert_array_equal(controls.rates, par.central.controls.rates)
        np.testing.assert_array_equal(controls.werner, par.central.controls.werner)
    with pytest.raises(ValueError, match="of single agents; valid: mean actions"):
        agents.make(tmp_path / "shared.zip", deterministic=False)


def test_a_model_of_corrections_needs_nothing(tmp_path: Path) -> None:
    """`ControllersVecEnv`: the model corrects QPrimalDual-DA."""
    scenarios = [qnum_gym.scenario(name, episode_length=20) for name in ("chain", "dumbbell")]
    envs = ControllersVecEnv(scenarios, copies=1, seed=0)
    model = PPO("MlpPolicy", envs, n_steps=8, batch_size=8, seed=0, device="cpu")
    model.save(tmp_path / "corrections.zip")
    policy = agents.make(tmp_path / "corrections.zip")
    assert (type(policy), policy.name, policy.local) == (LocalPolicy, "corrections", True)
    observations: Any = envs.reset()
    policy.reset(scenarios)
    batch = envs._envs
    for _ in range(STEPS):
        controls = batch.per_network(policy.act(batch.telemetry()))
        envs.step_async(model.predict(observations, deterministic=True)[0])
        observations, *_ = envs.step_wait()
        np.testing.assert_array_equal(controls.rates, batch.controls.rates)
        np.testing.assert_array_equal(controls.werner, batch.controls.werner)


MINE = """
import numpy as np
from qnum_gym.agents.learned.parallel import ParallelPolicy


class Mine(ParallelPolicy):
    def __init__(self):
        super().__init__(lambda rows: np.tanh(rows[:, 8:10] - rows[:, 25:27]))
"""


def test_three_lines_in_a_file_are_a_policy(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    policy = agents.make(f"{tmp_path / 'mine.py'}:Mine")
    assert (policy.name, policy.local) == ("Mine", True)
    results = evaluation.evaluate(qnum_gym.scenario("chain", episode_length=4), {"mine": policy}, seeds=[0])
    assert np.isfinite(results.score[0]).all()


def test_refusals() -> None:
    with pytest.raises(ValueError, match="actor has source; valid: one for each of source, link"):
        ParallelPolicy({"source": means})
    with pytest.raises(ValueError, match="homogeneous = False: rows of sources and links differ"):
        ParallelPolicy(means, homogeneous=False)
    with pytest.raises(ValueError, match="action = 'single': moves one control of all"):
        ParallelPolicy(means, action="single")
    policy = ParallelPolicy(lambda rows: rows[:, :3])
    scenario = qnum_gym.scenario("chain")
    policy.reset(scenario, 0)
    with pytest.raises(ValueError, match=r"the network's actions has shape \(\d+, 3\); valid: \(\d+, 2\)"):
        policy.act(qnum_gym.Simulator(scenario, 0).telemetry())

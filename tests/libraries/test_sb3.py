"""Every algorithm of Stable-Baselines3 and sb3-contrib: trained briefly, saved, and run by evaluate.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import sb3_contrib
import stable_baselines3
import torch
from sb3_contrib.common.maskable.evaluation import evaluate_policy as mean_return
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

from qnum_gym import agents
from qnum_gym.cli import evaluate
from qnum_gym.envs import AllocationEnv
from qnum_gym.integrations.sb3 import SB3VecEnv

DOCS = Path(__file__).parents[2] / "docs"
LENGTH, STEPS, ENVS = 20, 160, 2


class Algorithm(NamedTuple):
    """How a short run of it looks: the kind of action, whether gSDE exists, its arguments."""

    actions: tuple[str, ...]
    arguments: dict[str, Any]
    sde: bool = False
    policy: str = "MlpPolicy"


CONTINUOUS, CHOICES, ONE = ("step", "level"), ("discrete", "single"), ("single",)
ON = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
OFF = {"learning_starts": 32, "buffer_size": 500, "batch_size": 16}
ALGORITHMS = {
    "A2C": Algorithm((*CONTINUOUS, *CHOICES), {}, sde=True),
    "DDPG": Algorithm(CONTINUOUS, OFF),
    "DQN": Algorithm(ONE, OFF),
    "PPO": Algorithm((*CONTINUOUS, *CHOICES), ON, sde=True),
    "SAC": Algorithm(CONTINUOUS, OFF, sde=True),
    "TD3": Algorithm(CONTINUOUS, OFF),
    "ARS": Algorithm(CONTINUOUS, {"n_delta": 2, "n_eval_episodes": 1}),
    "CrossQ": Algorithm(CONTINUOUS, OFF, sde=True),
    "MaskablePPO": Algorithm(CHOICES, ON),
    "QRDQN": Algorithm(ONE, OFF),
    "RecurrentPPO": Algorithm((*CONTINUOUS, *CHOICES), ON, sde=True, policy="MlpLstmPolicy"),
    "TQC": Algorithm(CONTINUOUS, OFF, sde=True),
    "TRPO": Algorithm((*CONTINUOUS, *CHOICES), {"n_steps": 16, "batch_size": 16}, sde=True),
}
CASES = [
    (name, action, sde, normalised)
    for name, algorithm in ALGORITHMS.items()
    for action in algorithm.actions
    for sde, normalised in ((False, False), (False, True), (algorithm.sde, True))[: 3 if action == "step" else 1]
    if action != "level"  # the space of "step"
]


def library(name: str) -> Any:
    return stable_baselines3 if hasattr(stable_baselines3, name) else sb3_contrib


def made(name: str, envs: Any, **arguments: Any) -> Any:
    model = getattr(library(name), name)(ALGORITHMS[name].policy, envs, seed=0, device="cpu", **arguments)
    model.set_logger(Logger(None, []))  # the default one leaves a folder
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("name", "action", "sde", "normalised"), CASES)
def test_trained_saved_and_evaluated(
    name: str, action: str, sde: bool, normalised: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    envs: Any = SB3VecEnv.make("qnum_gym/Chain-v0", ENVS, action=action, episode_length=LENGTH)
    envs = VecNormalize(envs) if normalised else envs
    widths = {"policy_kwargs": {"net_arch": [16]}} if name != "ARS" else {}
    model = made(name, envs, **ALGORITHMS[name].arguments, **widths, **({"use_sde": True} if sde else {}))
    before = [parameter.clone() for parameter in model.policy.parameters()]
    model.learn(STEPS)
    assert any((new != old).any() for new, old in zip(model.policy.parameters(), before, strict=True))
    model.save(tmp_path / "model.zip")
    options: dict[str, Any] = {}
    if normalised:
        envs.save(str(tmp_path / "statistics.pkl"))
        options = {"trust": True, "vecnormalize": tmp_path / "statistics.pkl"}

    policy = agents.make(tmp_path / "model.zip", **options)
    env = AllocationEnv("chain", action=action)
    observation, _ = env.reset(seed=5)
    policy.reset(env.scenario, 5)
    masks = {"action_masks": env.action_masks} if name == "MaskablePPO" else {}
    memory = None
    for step in range(5):
        seen = envs.normalize_obs(observation) if normalised else observation
        keywords = {key: mask() for key, mask in masks.items()}
        begins = {"episode_start": np.array([step == 0])} if "Recurrent" in name else {}
        chosen, memory = model.predict(seen, memory, deterministic=True, **begins, **keywords)
        controls = policy.act(env.telemetry)
        observation, *_ = env.step(chosen)
        np.testing.assert_allclose(controls.rates, env.controls.rates, rtol=1e-6)
        np.testing.assert_allclose(controls.werner, env.controls.werner, rtol=1e-6)

    given = ["--trust", "--vecnormalize", str(tmp_path / "statistics.pkl")] if normalised else []
    command = ["--env", "Chain-v0", "--policy", str(tmp_path / "model.zip"), "--seeds", "2", "--steps", "10", *given]
    assert evaluate.main([*command, "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["policies"].values()
    assert np.isfinite(result["score"]["mean"])


def test_the_table_of_docs_is_this_matrix() -> None:
    rows = ["| algorithm | library | `action=` | gSDE |", "|---|---|---|---|"]
    for name, algorithm in ALGORITHMS.items():
        kinds = ", ".join(f'"{kind}"' for kind in algorithm.actions)
        where = "sb3-contrib" if library(name) is sb3_contrib else "Stable-Baselines3"
        rows.append(f"| {name} | {where} | {kinds} | {'yes' if algorithm.sde else 'has none'} |")
    assert "\n".join(rows) in (DOCS / "libraries.md").read_text(encoding="utf-8")


def test_sb3_contrib_learns() -> None:
    """Masked choices on Dumbbell; Stable-Baselines3 itself learns in `test_examples`."""
    torch.set_num_threads(1)
    envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", 16, action="discrete")
    model = made("MaskablePPO", envs, n_steps=64, batch_size=256, gamma=0.95, learning_rate=1e-3)
    before, _ = mean_return(model, envs, 16)
    model.learn(30_000)
    after, _ = mean_return(model, envs, 16)
    print(f"return before {before:.1f}, after {after:.1f}")
    assert after > before + 10.0

"""The examples: each runs as its user would run it, briefly, and what it trains gets better."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# How far each is run, and by how much its return must grow. Untrained: near 15 of 200, or 0.07 in an interval.
BRIEFLY = {
    "sb3_ten_lines": (50_000, 60.0),
    "cleanrl_ppo": (80_000, 60.0),
    "torchrl_ppo": (50_000, 0.2),
    "offline_minari": (8, 60.0),
    "own_reward": (50_000, 60.0),
    "own_observation": (50_000, 60.0),
    "curriculum": (50_000, 60.0),  # on networks that its training comes to last
    "graph_network": (50_000, 25.0),  # on networks that it never saw
    "fluid_gradients": (100, 0.2),  # updates; score on packets
}


@pytest.mark.parametrize("name", BRIEFLY)
def test_an_example_learns(name: str, run_example: Callable[[str, int], tuple[float, float]]) -> None:
    steps, least = BRIEFLY[name]
    before, after = run_example(name, steps)
    assert after > before + least


def test_a_policy_of_ones_own_stands_between_the_references(output_of: Callable[[str, int], str]) -> None:
    said = re.findall(r"(\S+): (\S+) +score (\S+)", output_of("own_policy", 2))
    scores = {(network, name): float(score) for network, name, score in said}
    for network in ("dumbbell", "nsfnet"):
        assert 0.2 < scores[network, "own"] < scores[network, "qprimaldual-da"]
        assert scores[network, "oracle"] == pytest.approx(1.0, abs=0.1)


def test_a_search_of_a_training_configuration(tmp_path: Path) -> None:
    """Two trials; what it finds is at least the configuration as it is."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "examples/optuna_training.py"), "6000", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    found = re.search(r"score as it is (\S+), best (\S+)", done.stdout)
    assert found is not None
    before, best = map(float, found.groups())
    assert 0.0 < before <= best
    assert len(list(tmp_path.glob("runs/optuna/trial-*/model.zip"))) == 2
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)  # all are done
    assert again.stdout == done.stdout


def test_every_example_is_run() -> None:
    """Those of libraries with an environment of their own are run there."""
    elsewhere = {"rllib_ppo", "ray_tune", "benchmarl_mappo"}
    run = {*BRIEFLY, "own_policy", "optuna_training"}
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} - elsewhere == run

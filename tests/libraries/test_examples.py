"""The examples: each runs as its user would run it, briefly, and what it trains gets better."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# How far each is run, and by how much its return must grow. Untrained: near 15 of 200, or 0.07 in an interval.
BRIEFLY = {
    "sb3_ten_lines": (50_000, 60.0),
    "cleanrl_ppo": (80_000, 60.0),
    "torchrl_ppo": (50_000, 0.2),
    "offline_minari": (8, 60.0),
    "graph_network": (50_000, 50.0),  # on networks that it never saw
}


@pytest.mark.parametrize("name", BRIEFLY)
def test_an_example_learns(name, tmp_path):
    steps, least = BRIEFLY[name]
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), str(steps)]
    run = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]
    before, after = map(float, re.search(r"(?:return|reward) before (\S+), after (\S+)", run.stdout).groups())
    assert after > before + least


def test_every_example_is_run():
    """Those of libraries with an environment of their own are run there."""
    elsewhere = {"rllib_ppo", "benchmarl_mappo"}
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} - elsewhere == set(BRIEFLY)

"""The examples: each runs as its user would run it, briefly, and what it trains gets better."""

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
def test_an_example_learns(name, run_example):
    steps, least = BRIEFLY[name]
    before, after = run_example(name, steps)
    assert after > before + least


def test_every_example_is_run():
    """Those of libraries with an environment of their own are run there."""
    elsewhere = {"rllib_ppo", "benchmarl_mappo"}
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} - elsewhere == set(BRIEFLY)

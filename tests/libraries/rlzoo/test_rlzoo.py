"""rl-zoo3 trains on a registered id with the hyperparameters of configs/rl_zoo3, and evaluate.py runs what it saved."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qnum_gym.cli import evaluate

ROOT = Path(__file__).parents[3]
ENV, STEPS = "qnum_gym/Dumbbell-v0", 30_000


def test_it_learns_and_its_model_is_a_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--algo", "ppo", "--env", ENV, "--gym-packages", "qnum_gym", "--seed", "0", "--num-threads", "1"]
    files = ["--conf-file", str(ROOT / "configs/rl_zoo3/ppo.yml"), "-f", str(tmp_path), "--eval-freq", "-1"]
    done = subprocess.run(
        [sys.executable, "-m", "rl_zoo3.train", *options, *files, "-n", str(STEPS)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (model,) = tmp_path.glob("ppo/*/qnum_gym-Dumbbell-v0.zip")
    first: list[float] = []
    last: list[float] = []
    for path in model.parent.glob("*.monitor.csv"):
        with path.open(encoding="utf-8") as file:
            next(file)  # what was monitored
            returns = [float(row["r"]) for row in csv.DictReader(file)]
        first.append(returns[0])
        last.append(returns[-1])
    before, after = (sum(returns) / len(returns) for returns in (first, last))
    assert after > before + 10.0, (before, after)
    assert evaluate.main(["--env", ENV, "--policy", str(model), "--seeds", "2", "--steps", "20", "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["policies"].values()
    assert result["score"]["mean"] > 0.0

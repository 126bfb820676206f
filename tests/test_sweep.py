"""`qnum-gym sweep` and experiments on scenarios of one's own: equal to evaluate, interrupted and resumed, refused."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import Scenario, ScenarioError, evaluation
from qnum_gym.cli.main import main
from qnum_gym.evaluation import PolicySpec, runner
from qnum_gym.experiments import field_sweep
from qnum_gym.scenarios.sources import resolve

SWEEP = [
    "sweep", "small.yaml", "--vary", "coherence_time=[5,50]", "--vary", "links[1].length_km=[10,20]",
    "--policy", "equal_share", "--seeds", "2", "--steps", "6", "--jobs", "1", "--set", "sessions.weight=2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """A scenario file in the folder where commands run."""
    monkeypatch.chdir(tmp_path)
    scenario = qnum_gym.scenario("chain", nodes=3)
    scenario.to_yaml("small.yaml")
    return scenario


def rows(folder: str = "runs/sweep", name: str = "sweep") -> list[dict[str, str]]:
    with Path(folder, f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --- fields of parts --------------------------------------------------------------------------------------------------


def test_fields_of_all_parts_or_of_one_are_set(small: Scenario) -> None:
    s = resolve(small, {"links.coupling": 0.5, "links[1].length_km": 33.0, "sessions.weight": 2, "memory": 7}, ())
    assert [(link.coupling, link.length_km) for link in s.links] == [(0.5, 10.0), (0.5, 33.0)]
    assert (s.sessions[0].weight, s.memory) == (2.0, 7)
    assert resolve("small.yaml", {"nodes[0].coherence_time": 3.0}, ()).nodes[0].coherence_time == 3.0
    assert s.sessions[0].path == small.sessions[0].path


def test_fields_of_parts_that_cannot_be_are_refused(small: Scenario) -> None:
    for place, value, match in (
        ("links.lenght_km", 3, r"links.lenght_km: unknown field; did you mean 'length_km'\? valid: length_km, "),
        ("links[2].length_km", 3, r"links\[2\].length_km: index 2: valid: 0 to 1"),
        ("links[0].length_km", -3, r"links\[0\].length_km = -3: must be"),
        ("links.a", "x", "links.a: unknown field"),
        ("link.length_km", 3, "link.length_km: unknown keyword"),
    ):
        with pytest.raises(ScenarioError, match=match):
            resolve(small, {place: value}, ())


def test_commands_set_fields_of_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["network", "small.yaml", "--set", "links.length_km=25", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["km"] == 50.0


# --- the command ------------------------------------------------------------------------------------------------------


def test_a_sweep_is_what_evaluate_says_at_each_point(small: Scenario, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SWEEP, "--figure", "pdf", "--figure", "svg"]) == 0
    table = capsys.readouterr().out
    found = rows()
    assert [(row["coherence_time"], row["links[1].length_km"], row["policy"]) for row in found] == [
        (memory, km, policy)
        for memory in ("5.0", "50.0") for km in ("10.0", "20.0") for policy in ("oracle", "equal_share")
    ]  # fmt: skip
    sessions = [{"source": 0, "destination": 2, "weight": 2}]
    links = [{"a": 0, "b": 1, "length_km": 10}, {"a": 1, "b": 2, "length_km": 20}]
    scenario = Scenario(name="chain", links=links, sessions=sessions, coherence_time=50, episode_length=6)
    results = evaluation.evaluate(scenario, {"equal_share": PolicySpec.of("equal_share")}, range(2))
    assert float(found[-1]["gm"]) == pytest.approx(results.geometric_mean[0].mean(), rel=1e-12)
    assert float(found[-1]["score"]) == pytest.approx(results.score[0].mean(), rel=1e-12)
    assert len(table.splitlines()) == 2 + 8
    assert Path("runs/sweep/sweep.txt").read_text(encoding="utf-8") == table
    described = json.loads(Path("runs/sweep/sweep.json").read_text(encoding="utf-8"))
    assert described["configuration"]["vary"] == {"coherence_time": [5, 50], "links[1].length_km": [10, 20]}
    assert len(described["rows"]) == 8
    starts = {"pdf": b"%PDF", "svg": b"<?xml"}
    assert all(Path(f"runs/sweep/sweep.{kind}").read_bytes().startswith(start) for kind, start in starts.items())


def test_an_interrupted_sweep_goes_on_to_the_same_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SWEEP, "--out", "whole"]) == 0
    assert Path("whole/sweep.png").read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(field_sweep.FieldSweep, "draw", lambda *_: None)
    simulate, done = runner.simulate, list[Any]()

    def interrupted(batch: Any, threads: int | None) -> Any:
        if done:
            raise KeyboardInterrupt
        done.append(batch)
        return simulate(batch, threads)

    monkeypatch.setattr(runner, "simulate", interrupted)
    assert main([*SWEEP, "--out", "parts"]) == 130
    assert not Path("parts/sweep.csv").exists()
    monkeypatch.setattr(runner, "simulate", simulate)
    capsys.readouterr()
    assert main([*SWEEP, "--out", "parts"]) == 0
    assert re.search(r"\b(8) of 16 episodes run now", capsys.readouterr().err)
    assert Path("parts/sweep.csv").read_bytes() == Path("whole/sweep.csv").read_bytes()
    assert main([*SWEEP, "--out", "parts", "--jobs", "2"]) == 0
    assert "0 of 16 episodes run now" in capsys.readouterr().err


def test_words_and_keywords_of_a_topology_are_swept_too(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["sweep", "chain", "--vary", "hold=[header,measure]", "--vary", "nodes=[3,4]", "--policy", "equal_share"]
    assert main([*argv, "--seeds", "1", "--steps", "2", "--json", "--jobs", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["hold"], row["nodes"]) for row in found[::2]] == [
        ("header", 3.0), ("header", 4.0), ("measure", 3.0), ("measure", 4.0),
    ]  # fmt: skip


def test_the_page_s_command_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "reproduce.md").read_text(encoding="utf-8")
    (command,) = [line for line in page.splitlines() if line.startswith("qnum-gym sweep")]
    argv = shlex.split(command)[1:]
    argv[argv.index("--seeds") + 1], argv[argv.index("--steps") + 1] = "1", "2"
    assert main([*argv, "--jobs", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 3 * 2 * 4


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--vary", "coherence_tim=[1,2]"], "coherence_tim: unknown keyword; did you mean 'coherence_time'?"),
        (["--vary", "links.lenght_km=[1,2]"], "links.lenght_km: unknown field; did you mean 'length_km'?"),
        (["--vary", "coherence_time=3"], "--vary coherence_time=3: valid: a list of values, e.g. coherence_time=[1,2]"),
        (["--vary", "coherence_time=[]"], "--vary coherence_time=[]: valid: a list of values"),
        (["--vary", "coherence_time=[1,1]"], "coherence_time = [1, 1]: valid: each value once"),
        (["--vary", "coherence_time=[10,-1]"], "coherence_time = -1: must be"),
        (["--vary", "episode_length=[10,20]"], "episode_length: valid: `intervals`"),
        (["--vary", "memory=[1,2]", "--set", "memory=3"], "memory: is fixed and varied"),
        (["--vary", "memory=[1,2]", "--steps", "7"], "intervals = 7: must be even"),
        (["--vary", "memory=[1,2]", "--policy", "nobody"], "--policy 'nobody'"),
        ([], "--vary: valid: at least one"),
    ],
)
def test_what_cannot_be_swept_is_refused_before_anything_runs(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "simulate", None)
    with pytest.raises(SystemExit, match="2"):
        main(["sweep", "small.yaml", *argv, "--policy", "equal_share"])
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


# --- experiments ------------------------------------------------------------------------------------------------------


def test_an_experiment_runs_on_a_scenario_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "overhead.yaml"
    config.write_text(
        "networks: [dumbbell]\ncontrol_intervals: [1, 2]\npolicies: [qprimaldual-da]\nseeds: 1\nintervals: 20\n"
    )
    argv = ["reproduce", "overhead", "--config", str(config), "--scenario", "small.yaml", "--out", "out", "--jobs", "1"]
    assert main(argv) == 0
    assert {row["network"] for row in rows("out", "overhead")} == {"small.yaml"}
    assert np.isfinite([float(row["gm"]) for row in rows("out", "overhead")]).all()
    for refused, said in (
        (
            ["reproduce", "scaling", "--scenario", "small.yaml"],
            "--scenario: scaling makes its own networks; valid: con",
        ),
        (["reproduce", "latency", "--scenario", "none.yaml"], "networks[0] = 'none.yaml': none.yaml: No such file"),
        (["reproduce", "latency", "--scenario", "dumbell"], "did you mean 'dumbbell'? must be one of"),
    ):
        with pytest.raises(SystemExit, match="2"):
            main(refused)
        assert said in capsys.readouterr().err

"""The command line: qnum-gym, evaluate.py, and what they refuse."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qnum_gym import agents, optimum, topologies
from qnum_gym import scenario as named
from qnum_gym.cli import common, evaluate, main

ROOT = Path(__file__).parents[1]
DUMBBELL = "configs/scenarios/dumbbell.yaml"


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def json_of(command, capsys, *argv):
    assert command.main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal_of(command, capsys, *argv):
    with pytest.raises(SystemExit) as error:
        command.main(list(argv))
    assert error.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err


# --- qnum-gym ---------------------------------------------------------------------------------------------------------


def test_list(capsys):
    found = json_of(main, capsys, "list")
    assert "qnum_gym/Dumbbell-v0" in found["environments"]
    assert found["scenarios"] == list(topologies.names())
    assert found["policies"] == [*agents.names(), *agents.zoo()]
    assert main.main(["list"]) == 0
    assert "qprimaldual-da" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["dumbbell", "Dumbbell-v0", "qnum_gym/Dumbbell-v0", DUMBBELL])
def test_a_scenario_has_many_names(name, capsys):
    found = json_of(main, capsys, "optimum", name)
    best = optimum.solve(named("dumbbell"), decoherence=True)
    assert found["rates"] == pytest.approx(best.rates.tolist())
    assert found["werner"] == pytest.approx(best.werner.tolist())
    assert found["link_prices"] == pytest.approx(best.link_prices.tolist())
    assert found["utility"] == pytest.approx(best.utility)
    assert found["geometric_mean"] == pytest.approx(optimum.geometric_mean(best.utility, [1.0] * 3))


def test_optimum_options(capsys):
    found = json_of(main, capsys, "optimum", "dumbbell", "--no-decoherence", "--max-utilisation", "0.9")
    best = optimum.solve(named("dumbbell"), max_utilisation=0.9)
    assert found["utility"] == pytest.approx(best.utility)
    assert main.main(["optimum", "dumbbell", "--set", "measure=negativity"]) == 0
    text = capsys.readouterr().out
    assert "with decoherence" in text
    assert "s0 → left → right → d0" in text
    assert "1/s," in text.splitlines()[-2]


def test_overrides_are_typed(capsys):
    found = json_of(
        main, capsys, "optimum", "dumbbell", "--set", "coherence_time=1e6", "--set", "sessions=2",
        "--set", "rate_range=[0.1, 1e2]",
    )  # fmt: skip
    best = optimum.solve(named("dumbbell", sessions=2, coherence_time=1e6, rate_range=(0.1, 100.0)), decoherence=True)
    assert found["rates"] == pytest.approx(best.rates.tolist())
    endless = json_of(main, capsys, "optimum", "dumbbell", "--set", "coherence_time=.inf")
    assert endless["utility"] == pytest.approx(optimum.solve(named("dumbbell")).utility, abs=1e-3)


def test_simulate(capsys, tmp_path):
    picture = tmp_path / "episode.png"
    argv = ["simulate", "dumbbell", "--policy", "oracle", "--seconds", "30", "--seed", "4"]
    found = json_of(main, capsys, *argv, "--png", str(picture))
    assert picture.stat().st_size > 20_000
    assert found["seconds"] == 30.0
    for r in range(3):
        assert found["injected"][r] == found["delivered"][r] + found["dropped"][r] + found["in_flight"][r]
    assert found == json_of(main, capsys, *argv, "--out", str(tmp_path))
    assert json.loads((tmp_path / "run.json").read_text()) == found
    names = {"pairs.csv", "pairs.parquet", "sessions.csv", "links.parquet", "scenario.yaml", "distributions.png"}
    assert names < {path.name for path in tmp_path.iterdir()}
    assert main.main(argv) == 0
    assert f"{found['events']} events" in capsys.readouterr().out


def test_simulate_shows_the_episode_that_evaluate_measures(capsys):
    episode = json_of(main, capsys, "simulate", "chain", "--policy", "qprimaldual-da", "--seconds", "20", "--seed", "0")
    measured = json_of(
        evaluate, capsys, "--env", "Chain-v0", "--policy", "qprimaldual-da", "--seeds", "1", "--steps", "20"
    )
    assert measured["policies"]["qprimaldual-da"]["score"]["mean"] == episode["score"]
    assert measured["policies"]["qprimaldual-da"]["rate"] == episode["rate"]


def test_version_and_missing_command(capsys):
    with pytest.raises(SystemExit) as error:
        main.main(["--version"])
    assert error.value.code == 0
    assert capsys.readouterr().out.startswith("qnum-gym ")
    assert "COMMAND" in refusal_of(main, capsys)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["optimum", "dumbell"], "scenario 'dumbell': scenario = 'dumbell': did you mean 'dumbbell'"),
        (["optimum", "nowhere.yaml"], "nowhere.yaml: No such file"),
        (["optimum", "dumbbell", "--set", "coherence_time"], "--set 'coherence_time': valid: KEY=VALUE"),
        (["optimum", "dumbbell", "--set", "coherence_time=-1"], "coherence_time = -1"),
        (["optimum", "dumbbell", "--set", "coherense_time=1"], "did you mean 'coherence_time'"),
        (["optimum", "dumbbell", "--set", "n=[1"], "--set 'n=[1'"),
        (["optimum", "dumbbell", "--set", "n=2", "--set", "n=3"], "n is set already, to 2"),
        (["optimum", "dumbbell", "--set", "coherence_time=0.1"], "session 0"),
        (["optimum", "dumbbell", "--max-utilisation", "0"], "--max-utilisation: '0': valid: more than 0, at most 1"),
        (["stability", "dumbbell", "--set", "fairness=0"], "fairness = 0: its (15) gives no rate"),
        (["stability", "dumbbell", "--set", "coherence_time=0.1"], "session 0"),
        (["stability", "dumbbell", "--delays", "1,x"], "--delays: '1,x': valid: whole numbers from 0 to 300"),
        (["stability", "dumbbell", "--delays", "301"], "--delays: '301'"),
        (["stability", "dumbbell", "--png", "x.jpeg"], "ends in .png, .pdf, .svg"),
        (["simulate", "dumbbell", "--policy", "orcale"], "--policy 'orcale': policy = 'orcale': did you mean 'oracle'"),
        (["simulate", "dumbbell", "--policy", "oracle", "--seconds", "1.5"], "--seconds 1.5: valid: 1 or more whole"),
        (["simulate", "dumbbell", "--policy", "oracle", "--seconds", "nan"], "--seconds nan"),
        (
            ["simulate", "dumbbell", "--policy", "oracle", "--set", "simulator=fluid", "--out", "out"],
            "--out: simulator 'fluid' has no q-datagrams to record",
        ),
        (["simulate", "dumbbell", "--policy", "oracle", "--png", "x.jpeg"], "ends in .png, .pdf, .svg"),
        (["simulate", "dumbbell", "--policy", "oracle", "--png", "LICENSE/x.png"], "--png 'LICENSE': there is a file"),
    ],
)
def test_qnum_gym_refuses(argv, message, capsys):
    assert message in refusal_of(main, capsys, *argv)


# --- evaluate.py ------------------------------------------------------------------------------------------------------


def test_evaluate_prints_the_agreed_json_and_nothing_else():
    command = [
        sys.executable, "evaluate.py", "--env", "qnum_gym/Dumbbell-v0", "--policy", "oracle", "--policy", "equal_share",
        "--seeds", "2", "--steps", "20", "--json",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    document = json.loads(done.stdout)
    assert list(document) == ["env", "policies"]
    assert document["env"] == "qnum_gym/Dumbbell-v0"
    assert list(document["policies"]) == ["oracle", "equal_share"]
    oracle = document["policies"]["oracle"]
    assert oracle["score"]["ci95"][0] <= oracle["score"]["mean"] <= oracle["score"]["ci95"][1]
    assert oracle["geometric_mean"] > document["policies"]["equal_share"]["geometric_mean"]
    assert len(oracle["rate"]) == len(oracle["werner"]) == 3


def test_evaluate_takes_ids_files_labels_and_overrides(capsys):
    common_options = ("--policy", "equal_share", "--policy", "again=equal_share", "--seeds", "2", "--steps", "6")
    by_id = json_of(evaluate, capsys, "--env", "Dumbbell-v0", *common_options)
    by_file = json_of(evaluate, capsys, "--scenario", DUMBBELL, *common_options)
    assert by_id["env"] == "qnum_gym/Dumbbell-v0"
    assert by_file["env"] == DUMBBELL
    assert by_id["policies"] == by_file["policies"]
    assert by_id["policies"]["again"] == by_id["policies"]["equal_share"]
    other = json_of(evaluate, capsys, "--env", "Dumbbell-v0", *common_options, "--set", "coherence_time=1e3")
    assert other["policies"] != by_id["policies"]


def test_evaluate_saves_where_told(tmp_path, capsys):
    folder = tmp_path / "out"
    argv = ["--env", "Chain-v0", "--policy", "oracle", "--seeds", "2", "--steps", "4", "--out", str(folder)]
    assert evaluate.main(argv) == 0
    out, err = capsys.readouterr()
    assert "2 paired seeds" in out
    assert str(folder) in err
    assert {path.name for path in folder.iterdir()} >= {"seeds.csv", "comparison.png", "table.txt"}


def test_evaluate_leaves_nothing_behind_with_json(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    json_of(evaluate, capsys, "--env", "Chain-v0", "--policy", "oracle", "--seeds", "1", "--steps", "2")
    assert list(tmp_path.iterdir()) == []
    assert evaluate.main(["--env", "Chain-v0", "--policy", "oracle", "--seeds", "1", "--steps", "2"]) == 0
    assert [path.name[:9] for path in (tmp_path / "runs" / "evaluate").iterdir()] == ["Chain-v0-"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--env", "Dumbbel-v0", "--policy", "oracle"], "--env 'Dumbbel-v0': did you mean 'qnum_gym/Dumbbell-v0'"),
        (["--env", "Dumbbell-v0", "--policy", "best"], "--policy 'best': policy = 'best'"),
        (["--env", "Dumbbell-v0", "--policy", "nowhere.zip"], "--policy 'nowhere.zip'"),
        (
            ["--env", "Dumbbell-v0", "--policy", "oracle", "--seeds", "0"],
            "--seeds: '0': valid: a whole number, at least 1",
        ),
        (["--env", "Dumbbell-v0", "--policy", "oracle", "--steps", "7"], "--steps: '7': valid: an even number"),
        (["--env", "Dumbbell-v0", "--policy", "oracle", "--steps", "x"], "--steps: 'x': valid: a whole number"),
        (["--env", "Dumbbell-v0", "--policy", "oracle", "--policy", "oracle"], "there is a 'oracle' already"),
        (["--env", "Dumbbell-v0", "--policy", "oracle", "--set", "memory=0"], "memory = 0"),
        (["--env", "Dumbbell-v0", "--policy", "oracle", "--out", "LICENSE"], "--out 'LICENSE': there is a file"),
        (["--env", "Scenario-v0", "--policy", "oracle"], "scenario: missing"),
        (["--scenario", "nowhere.yaml", "--policy", "oracle"], "nowhere.yaml: No such file"),
        (["--env", "Dumbbell-v0"], "--policy"),
        (["--policy", "oracle"], "--env --scenario"),
    ],
)
def test_evaluate_refuses(argv, message, capsys):
    assert message in refusal_of(evaluate, capsys, *argv)


def test_files_that_are_no_models_are_refused(tmp_path, capsys):
    model = tmp_path / "model.zip"
    model.write_text("not a model")
    assert f"--policy '{model}'" in refusal_of(evaluate, capsys, "--env", "Dumbbell-v0", "--policy", str(model))


def test_a_label_may_contain_an_equals_sign_if_the_path_does(tmp_path):
    path = tmp_path / "a=b.zip"
    path.write_text("not a model")
    with pytest.raises(common.UsageError, match="a=b"):
        common.specs([str(path)])


# --- terminals and pipes ----------------------------------------------------------------------------------------------


def run_python(code, encoding, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=environment, **options)


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_what_a_terminal_cannot_show_is_replaced(encoding, tmp_path):
    calls = [
        ("evaluate", ["--help"]), ("train", ["--help"]), ("main", ["optimum", "--help"]), ("main", ["list"]),
        ("main", ["optimum", "dumbbell"]), ("main", ["optimum", "dumbbéll─"]),
        (
            "evaluate",
            ["--scenario", "chain", "--policy", "equal_share", "--seeds", "1", "--steps", "2", "--out", str(tmp_path)],
        ),
    ]  # fmt: skip
    code = f"""
import importlib
for module, argv in {calls!r}:
    try:
        code = importlib.import_module("qnum_gym.cli." + module).main(argv)
    except SystemExit as end:
        code = end.code
    print(f"code={{code}}")
"""
    done = run_python(code, encoding)
    assert done.returncode == 0, done.stderr.decode(encoding)
    codes = [word for word in done.stdout.decode(encoding).split() if word.startswith("code=")]
    assert codes == ["code=0"] * 5 + ["code=2", "code=0"]
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "results.json").is_file()


def test_a_reader_who_leaves_early_sees_no_traceback():
    code = "import sys; from qnum_gym.cli.main import main; sys.exit(main(['optimum', 'nsfnet']))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert error == b""


def test_a_label_that_is_another_policy_s_name_is_refused(capsys):
    argv = ["--env", "Dumbbell-v0", "--policy", "oracle=equal_share"]
    assert "'oracle' is the name of a policy that is there" in refusal_of(evaluate, capsys, *argv)


def test_results_are_saved_before_they_are_printed(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", fail)
    argv = ["--scenario", "chain", "--policy", "equal_share", "--seeds", "1", "--steps", "2", "--out", str(tmp_path)]
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert evaluate.main(argv) == 1
    assert (tmp_path / "results.json").is_file()

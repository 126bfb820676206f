"""Tuning: trials counted, gone on with, results that `agents.make` takes; the files that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import qnum_gym
from qnum_gym import agents
from qnum_gym.cli import main
from qnum_gym.evaluation import tuning

make: Any = agents.make  # a policy, and the attributes of its own
ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "configs" / "policies").glob("*.yaml"))


def task(policy="aimd", seeds=1):
    return tuning.Task(policy, ("dumbbell",), (20,), seeds)


def tuned(folder, trials, told=None, **changes):
    pytest.importorskip("optuna")
    scenarios = {"dumbbell": qnum_gym.scenario("dumbbell", episode_length=20)}
    values = [] if told is None else told
    return tuning.tune(task(**changes), scenarios, trials, folder, lambda *told: values.append(told))


def test_a_study_goes_on_where_it_stopped_and_ends_the_same(tmp_path):
    told: list[tuple[int, float, float]] = []
    first = tuned(tmp_path / "a", 2, told)
    assert (first.trials, [trial[0] for trial in told]) == (2, [1, 2])
    rest = tuned(tmp_path / "a", 4, told)
    assert (rest.trials, [trial[0] for trial in told]) == (4, [1, 2, 3, 4])
    assert rest.value == max(trial[1] for trial in told) >= rest.before == told[0][1]
    undisturbed = tuned(tmp_path / "b", 4)
    assert (undisturbed.options, undisturbed.value) == (rest.options, rest.value)
    assert tuned(tmp_path / "a", 3).trials == 4


def test_the_first_trial_is_the_policy_as_it_is(tmp_path):
    found = tuned(tmp_path, 1)
    gains = make("aimd").gains
    assert found.options == {name: getattr(gains, name) for name in tuning.space("aimd")}


@pytest.mark.parametrize("calls", [1, 2, 4])  # of the oracle, of the first trial, of the second
def test_a_study_interrupted_anywhere_tries_the_policy_as_it_is_once(calls, tmp_path, monkeypatch):
    undisturbed = tuned(tmp_path / "b", 3)
    run, made = tuning.run, []

    def dying(*args, **options):
        made.append(1)
        if len(made) == calls:
            raise SystemExit
        return run(*args, **options)

    monkeypatch.setattr(tuning, "run", dying)
    with pytest.raises(SystemExit):
        tuned(tmp_path / "a", 3)
    monkeypatch.undo()
    told: list[tuple[int, float, float]] = []
    found = tuned(tmp_path / "a", 3, told)
    assert (found.options, found.value, found.before) == (undisturbed.options, undisturbed.value, undisturbed.before)
    assert found.trials == 3


def test_a_journal_that_is_none_is_refused(tmp_path):
    for content in ("junk\n", '{"op_code": 99}\n', "[]\n"):
        (tmp_path / "journal.log").write_text(content)
        with pytest.raises(tuning.StudyError, match=r"journal\.log"):
            tuned(tmp_path, 1)


def test_another_task_needs_another_folder(tmp_path):
    tuned(tmp_path, 1)
    with pytest.raises(tuning.DifferentTaskError, match="valid: another folder"):
        tuned(tmp_path, 1, seeds=2)


def test_the_command_writes_what_make_reads(tmp_path, capsys):
    pytest.importorskip("optuna")
    out = tmp_path / "new" / "aimd.yaml"
    argv = ["tune", "--policy", "aimd", "--scenario", "dumbbell", "--trials", "2", "--seeds", "1", "--steps", "10"]
    assert main.main([*argv, "--folder", str(tmp_path / "study"), "--out", str(out)]) == 0
    assert "of the oracle's geometric mean, with defaults" in capsys.readouterr().out
    written = yaml.safe_load(out.read_text(encoding="utf-8"))
    assert written["study"]["trials"] == 2
    assert written["study"]["seeds"] == [1000, 1000]
    assert make(out).gains == make("aimd", **written["options"]).gains
    assert make(out, queue=5.0).gains.queue == 5.0


@pytest.mark.parametrize("policy", ["best_static", "oracle", str(ROOT / "configs/policies/aimd.yaml")])
def test_nothing_to_tune_is_said(policy, capsys):
    pytest.importorskip("optuna")
    with pytest.raises(SystemExit):
        main.main(["tune", "--policy", policy, "--scenario", "dumbbell"])
    assert "nothing to tune; valid: aimd" in capsys.readouterr().err


def test_without_optuna_the_command_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        main.main(["tune", "--policy", "aimd", "--scenario", "dumbbell"])
    assert "pip install -e '.[tune]' in the clone's folder" in capsys.readouterr().err


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_are_policies_tuned_with_the_same_budget(path):
    policy, content = agents.make(path), yaml.safe_load(path.read_text(encoding="utf-8"))
    if "overload" in content["options"]:  # a policy for another kind of network, chosen by hand as the file says
        assert path.stem == "oracle-overload"
        return
    assert policy.name == path.stem
    if hasattr(policy, "gains"):
        assert content["study"]["trials"] == 60
        assert content["study"]["scenarios"] == ["dumbbell", "nsfnet", "surfnet"]
        assert set(content["options"]) == set(tuning.space(policy.name))
    else:
        assert content["options"] == {}


@pytest.mark.parametrize("name", ["aimd", "qprimaldual-pi"])
def test_defaults_are_the_tuned_ones(name):
    assert make(name).gains == make(ROOT / "configs" / "policies" / f"{name}.yaml").gains


def test_a_file_that_is_no_policy_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.yaml"):
        agents.make(tmp_path / "none.yaml")
    path = tmp_path / "other.yaml"
    path.write_text("options: 3\n", encoding="utf-8")
    with pytest.raises(ValueError, match="valid: a mapping with policy, a name"):
        agents.make(path)

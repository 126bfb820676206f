"""Policies by name, and those of other people: from a file, a module or another package, wherever one can be named."""

from __future__ import annotations

import inspect
import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.agents.policy import POLICIES
from qnum_gym.cli import evaluate, main
from qnum_gym.envs import AllocationEnv
from qnum_gym.evaluation import PolicySpec, Processes, provenance, suite, tuning

make: Any = agents.make  # a policy, and the attributes of its own
FILE = Path(__file__).with_name("own_policy.py")
VEGAS = f"{FILE}:Vegas"


@pytest.fixture
def copy(tmp_path):
    """The file in a folder of its own."""
    file = tmp_path / "mine.py"
    file.write_text(FILE.read_text(encoding="utf-8"), encoding="utf-8")
    return file


# --- where they can be named ------------------------------------------------------------------------------------------


def test_a_class_in_a_file_and_in_a_module_is_the_policy(monkeypatch):
    scenario = qnum_gym.scenario("dumbbell", episode_length=10)
    policy = make(VEGAS, step=0.1)
    assert (policy.name, policy.local, policy.knows, policy.gains.step) == ("Vegas", True, "local", 0.1)
    monkeypatch.syspath_prepend(FILE.parent)
    results = evaluation.evaluate(scenario, {text: PolicySpec.of(text) for text in (VEGAS, "own_policy:Vegas")}, [0, 1])
    assert (results.score[0] == results.score[1]).all()
    assert results.score[0, 1] == evaluation.run_episode(AllocationEnv(scenario), agents.make(VEGAS), 1).score > 0.0


def test_evaluate_takes_it(capsys, monkeypatch):
    monkeypatch.chdir(FILE.parent)
    options = ["--env", "Dumbbell-v0", "--steps", "10", "--seeds", "2", "--json"]
    assert evaluate.main([*options, "--policy", "own_policy.py:Vegas", "--policy", "half=own_policy.py:Halved"]) == 0
    assert list(json.loads(capsys.readouterr().out)["policies"]) == ["own_policy.py:Vegas", "half"]


def test_the_suite_takes_it(monkeypatch, tmp_path):
    tasks = [suite.Task("grid", False, qnum_gym.scenario(name, episode_length=10)) for name in ("grid", "chain")]
    scores, run = [], suite.run
    monkeypatch.setattr(suite, "tasks", lambda names, count: tasks)
    monkeypatch.setattr(suite, "run", lambda *given, **others: scores.append(run(*given, **others)) or 1 / 0)
    options = ["--family", "grid", "--seeds", "2", "--policy", f"mine={VEGAS}", "--jobs", "1", "--out", str(tmp_path)]
    with pytest.raises(ZeroDivisionError):  # the statistics take longest
        evaluate.main(["--suite", "test", *options])
    assert (scores[0].of("mine") > 0.0).all()
    assert scores[0].of("mine").shape == (1, 2, 2)


def test_simulate_and_tune_take_it(capsys, tmp_path):
    assert main.main(["simulate", "dumbbell", "--policy", VEGAS, "--seconds", "5"]) == 0
    assert "score" in capsys.readouterr().out
    pytest.importorskip("optuna")
    out = tmp_path / "found.yaml"
    options = ["--scenario", "dumbbell", "--steps", "10", "--seeds", "1", "--trials", "2", "--out", str(out)]
    assert main.main(["tune", "--policy", VEGAS, *options, "--folder", str(tmp_path / "study"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["options"]
    assert list(found) == ["werner", "step"]
    gains = make(out).gains
    assert {name: getattr(gains, name) for name in found} == found


def test_what_can_be_tuned_has_a_range_around_its_value(monkeypatch):
    assert list(tuning.space(VEGAS)) == ["werner", "step"]
    with pytest.raises(ValueError, match=r"nothing to tune; valid: aimd, .*, or another class with `gains`"):
        tuning.space("oracle")
    monkeypatch.setattr(tuning, "_space", lambda policy: {"step": (0.5, agents.Range(0.01, 0.2))})
    with pytest.raises(ValueError, match=r"gains: step = 0.5: valid: within its range, 0.01 to 0.2"):
        tuning.space(VEGAS)


def test_an_entry_point_of_another_package_is_a_name(monkeypatch):
    monkeypatch.syspath_prepend(FILE.parent)
    point = metadata.EntryPoint("vegas", "own_policy:Vegas", "qnum_gym.policies")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point] if group == point.group else [])
    try:
        assert agents.make("vegas", step=0.1).name == "vegas"
        assert agents.names()[-1] == "vegas"
    finally:
        POLICIES.remove("vegas")


# --- results that are kept --------------------------------------------------------------------------------------------


def test_what_is_kept_counts_with_the_file_that_ran(copy):
    text = f"{copy}:Vegas"
    before, policy = provenance.identity(PolicySpec.of(text)), make(text)
    assert provenance.identity(PolicySpec.of(text)) == before
    assert type(agents.make(text)) is type(policy)
    copy.write_text(copy.read_text(encoding="utf-8").replace("constant(0.05", "constant(0.06"), encoding="utf-8")
    assert provenance.identity(PolicySpec.of(text)) != before
    assert (policy.gains.step, make(text).gains.step) == (0.05, 0.06)


def test_what_is_kept_counts_with_the_files_that_a_policy_names(copy, tmp_path):
    weights = tmp_path / "weights"
    weights.write_text("0.1")
    copy.write_text(copy.read_text(encoding="utf-8") + f"\n\nclass Weighed(Vegas):\n    files = ({str(weights)!r},)\n")
    spec = PolicySpec.of(f"{copy}:Weighed")
    before = provenance.identity(spec)
    assert provenance.identity(spec) == before
    weights.write_text("0.2")
    assert provenance.identity(spec) != before


def test_a_file_with_constants_counts_with_the_class_that_it_names(copy, tmp_path):
    (tmp_path / "mine.yaml").write_text(f"policy: {copy}:Vegas\noptions: {{step: 0.1}}\n", encoding="utf-8")
    spec: Any = PolicySpec.of(str(tmp_path / "mine.yaml"))
    before = provenance.identity(spec)
    assert spec.make().gains.step == 0.1
    copy.write_text(copy.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert provenance.identity(spec) != before


# --- documents --------------------------------------------------------------------------------------------------------


def table():
    """All policies as rows of a table."""
    rows = ["| policy | what it does | knows |", "|---|---|---|"]
    for name in POLICIES:
        about = (inspect.getdoc(POLICIES[name]) or "").splitlines()[0].removesuffix(".")
        rows.append(f"| `{name}` | {about} | {POLICIES[name].knows} |")
    return "\n".join(rows)


def test_documents_have_what_the_registry_has():
    assert table() in FILE.parents[1].joinpath("docs/policies.md").read_text(encoding="utf-8")


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("qprimaldual_da", {}, "did you mean 'qprimaldual-da'.*valid: aimd"),
        ("", {}, "policy = ''"),
        ("oracle", {"gain": 1.0}, "'oracle' takes no option gain"),
        ("random", {"x": 1.0}, "'random' takes no option x"),
        ("qprimaldual", {"gian": 1.0}, "gian: unknown; valid: utilisation, gain"),
        ("qprimaldual-da", {"utilisation": 1.1}, "utilisation = 1.1: must be positive, at most 1"),
        ("oracle", {"utilisation": 0.0}, "utilisation = 0.0: must be positive, at most 1"),
        ("oracle", {"share": 0.5}, "policy 'oracle' takes no option share"),
        ("qprimaldual-da", {"gain": math.nan}, "gain = nan"),
        ("qprimaldual-da", {"memory": math.inf}, "memory = inf: must be positive and finite"),
    ],
)
def test_impossible_policies_are_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        agents.make(name, **options)


def test_options_reach_the_gains():
    assert make("qprimaldual-da", utilisation=0.8).gains == agents.Gains(utilisation=0.8)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (
            "qprimaldaul",
            {},
            r"policy = 'qprimaldaul': did you mean 'qprimaldual'\? valid: aimd, .*, zoo/local, file",
        ),
        ("nowhere.py:Mine", {}, "nowhere.py fails: FileNotFoundError: no such file"),
        ("{}:Vega", {}, "has no Vega; did you mean 'Vegas'"),
        ("{}:Alone", {}, "own_policy.py:Alone': valid: a sub-class of qnum_gym.agents.Policy"),
        ("{}:STEP", {}, "own_policy.py:STEP': valid: a sub-class of qnum_gym.agents.Policy"),
        ("fractions:Fraction", {}, "valid: a sub-class of qnum_gym.agents.Policy"),
        ("{}:Actless", {}, "Actless fails: TypeError: Can't instantiate abstract class Actless .*act"),
        ("{}:Needy", {}, "Needy fails: TypeError: .*'level'"),
        ("{}:Needy", {"levle": 1.0}, "takes no option levle; valid: level"),
        ("{}:Vegas", {"stpe": 1.0}, "gains: stpe: unknown; valid: werner, step, patience"),
        ("{}:Vegas", {"werner": 1.5}, "gains: werner = 1.5: must be positive, at most 1"),
    ],
)
def test_what_is_no_policy_is_refused(text, options, said):
    with pytest.raises(ValueError, match=said):
        agents.make(text.format(FILE), **options)


@pytest.mark.parametrize(
    ("line", "said"),
    [("    def prepare(self): ...", "prepare without forget"), ("    def reset(self): ...", "a reset of its own")],
)
def test_a_class_that_cannot_be_is_refused_with_its_file(line, said, tmp_path):
    file = tmp_path / "bad.py"
    file.write_text(f"from qnum_gym.agents import Policy\nclass Bad(Policy):\n    def act(self, seen): ...\n{line}\n")
    with pytest.raises(ValueError, match=rf"policy = '.*bad.py:Bad': .*bad.py fails: TypeError: policy Bad: {said}"):
        agents.make(f"{file}:Bad")


@pytest.mark.parametrize("command", ["evaluate", "simulate", "tune"])
def test_commands_say_so(command, capsys):
    run = evaluate.main if command == "evaluate" else main.main
    argv = {
        "evaluate": ["--env", "Dumbbell-v0", "--json"],
        "simulate": ["simulate", "dumbbell"],
        "tune": ["tune", "--scenario", "dumbbell"],
    }[command]
    with pytest.raises(SystemExit):
        run([*argv, "--policy", f"{FILE}:Alone"])
    assert "valid: a sub-class of qnum_gym.agents.Policy" in capsys.readouterr().err


def test_results_of_a_changed_file_do_not_mix(copy):
    """An object's class stays the one that it was made of, whatever becomes of the file."""
    scenario = qnum_gym.scenario("dumbbell", episode_length=10)
    store, spec = evaluation.Store(), PolicySpec.of(f"{copy}:Vegas")
    before = evaluation.evaluate(scenario, {"it": spec}, [0], store=store, processes=Processes(1))
    copy.write_text(copy.read_text(encoding="utf-8").replace("constant(0.97", "constant(0.95"), encoding="utf-8")
    after = evaluation.evaluate(scenario, {"it": spec}, [0], store=store, processes=Processes(1))
    assert after.score[0, 0] != before.score[0, 0]

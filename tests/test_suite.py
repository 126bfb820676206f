"""The suite: every policy on every task, and the leaderboard made of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qnum_gym import evaluation, families
from qnum_gym.agents import make
from qnum_gym.cli.evaluate import main
from qnum_gym.evaluation import PolicySpec, statistics, suite
from qnum_gym.evaluation.leaderboard import Leaderboard
from qnum_gym.evaluation.report import save_leaderboard
from qnum_gym.evaluation.suite import Scores, Task

CONFIGS = Path(__file__).parents[1] / "configs" / "policies"
TWICE = [PolicySpec.of(which, "twice") for which in (str(CONFIGS / "best_static.yaml"), "equal_share")]
POLICIES = [*(PolicySpec.of(name) for name in ("aimd", "qprimaldual-da", "oracle")), *TWICE]
SEEDS = (0, 3)


@pytest.fixture(scope="module")
def tasks():
    short = {"episode_length": 12}
    drawn = [("tree", 0), ("tree", 1), ("tree", 3), ("dumbbell-dynamic", 0)]
    return tuple(
        Task(name, families.family(name).dynamic, families.sample(name, i).replace(**short)) for name, i in drawn
    )


@pytest.fixture(scope="module")
def scores(tasks):
    return suite.run(POLICIES, tasks, SEEDS)


@pytest.fixture(scope="module")
def leaderboard():
    """Of numbers that are known: [K, S, T] with T two tasks of each of three families."""
    scenario = families.sample("dumbbell", 0)
    kinds = [("a", False), ("a", False), ("b", True), ("b", True), ("c", False), ("c", False)]
    tasks = tuple(Task(name, dynamic, scenario.replace(name=f"{name}/{t}")) for t, (name, dynamic) in enumerate(kinds))
    rng = np.random.default_rng(0)
    best = rng.uniform(1.0, 5.0, size=(1, 3, 6))
    means = {
        "oracle": best,
        "qprimaldual-da": best * rng.uniform(0.8, 1.0, size=(1, 3, 6)),
        "twice": best * rng.uniform(0.9, 1.2, size=(2, 3, 6)),
    }
    shares = {label: values / 5.0 for label, values in means.items()}
    return Leaderboard("test", Scores(tasks, (0, 1, 2), means, shares), POLICIES[1:])


def _known(seeds: int, tasks: int) -> Scores:
    scenario = families.sample("dumbbell", 0)
    values = np.random.default_rng(1).uniform(size=(1, seeds, tasks))
    both = {"qprimaldual-da": values, "oracle": values + 0.1}
    return Scores(tuple(Task("a", False, scenario) for _ in range(tasks)), tuple(range(seeds)), both, both)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_score_is_that_of_an_evaluation(scores, tasks):
    for t, task in enumerate(tasks):
        alone = evaluation.evaluate(task.scenario, {"aimd": make("aimd")}, SEEDS)
        np.testing.assert_array_equal(scores.geometric_means["aimd"][0, :, t], alone.geometric_mean[0])
        np.testing.assert_array_equal(scores.of("aimd")[0, :, t], alone.score[0])


def test_trainings_are_an_axis_and_families_a_choice(scores):
    assert scores.of("twice").shape == (2, 2, 4)
    assert scores.of("aimd", ["tree"]).shape == (1, 2, 3)
    np.testing.assert_array_equal(scores.of("aimd", ["dumbbell-dynamic"]), scores.of("aimd")[:, :, 3:])


def test_what_a_policy_knows():
    assert [policy.make().knows for policy in POLICIES[:3]] == ["local", "local", "scenario"]


# --- the leaderboard --------------------------------------------------------------------------------------------------


def test_rows_are_scipys_numbers(leaderboard):
    scores = {label: leaderboard.scores.of(label) for label in ("qprimaldual-da", "twice", "oracle")}
    rows = {row.label: row for row in leaderboard.rows}
    assert leaderboard.kinds == {"static": ["a", "c"], "dynamic": ["b"]}
    for label, values in scores.items():
        for where, chosen in (("static", [0, 1, 4, 5]), ("dynamic", [2, 3])):
            expected = stats.trim_mean(np.ravel(values[:, :, chosen]), 0.25)
            assert rows[label].kinds[where].mean == pytest.approx(expected)
        assert rows[label].families["c"].mean == pytest.approx(stats.trim_mean(np.ravel(values[:, :, 4:]), 0.25))
        assert rows[label].overall.mean == pytest.approx(stats.trim_mean(np.ravel(values), 0.25))
        lowest = np.sort(np.repeat(values.ravel(), 10))[: values.size]
        assert rows[label].worst.mean == pytest.approx(lowest.mean())
    theirs = scores["qprimaldual-da"]
    wins = [stats.mannwhitneyu(scores["twice"][..., t].ravel(), theirs[..., t].ravel()).statistic for t in (2, 3)]
    assert rows["twice"].improvement["dynamic"].mean == pytest.approx(np.mean(wins) / 18)
    assert rows["qprimaldual-da"].improvement["static"].mean == pytest.approx(0.5)
    order = [row.overall.mean for row in leaderboard.rows]
    assert order == sorted(order, reverse=True)


def test_everything_saved_reads_back(leaderboard, tmp_path):
    paths = {path.name: path for path in save_leaderboard(leaderboard, tmp_path / "new")}
    assert set(paths) == {"leaderboard.md", "scores.csv", "leaderboard.json", "profiles.png", "families.png"}
    with paths["scores.csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (1 + 1 + 2) * 3 * 6
    twice = [float(row["score"]) for row in rows if row["policy"] == "twice" and row["family"] == "b"]
    assert stats.trim_mean(twice, 0.25) == pytest.approx(
        json.loads(paths["leaderboard.json"].read_text())["policies"]["twice"]["families"]["b"]["mean"]
    )
    assert json.loads(paths["leaderboard.json"].read_text())["policies"]["twice"]["worst_decile"]["all"]["ci95"]
    header, _, *lines = paths["leaderboard.md"].read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][:4] == [
        "policy",
        "knows",
        "IQM, static",
        "IQM, dynamic",
    ]
    assert "| worst decile | a | c | b |" in header
    assert [line.split("`")[1] for line in lines] == [row.label for row in leaderboard.rows]
    assert "3 families × 2 tasks × 3 paired seeds, twice 2 trainings" in leaderboard.caption
    for name in ("profiles.png", "families.png"):
        assert paths[name].stat().st_size > 20_000


def test_few_seeds_or_tasks_are_said_with_how_many_would_do(leaderboard: Leaderboard) -> None:
    """With S seeds a resample's mean deviates by √((S − 1)/S) of what a mean of S does."""
    assert "Warning" not in Leaderboard("test", _known(10, 12), POLICIES[1:3]).text()
    few = "3 paired seeds make intervals about 18% too narrow, 10 would do"
    assert (
        leaderboard.warning
        == f"Warning: {few}; 2 tasks leave out kinds of network or change, 12 of each family would do."
    )
    assert leaderboard.as_json()["warning"] == leaderboard.warning
    assert f"\n{leaderboard.warning}\n" in leaderboard.text()
    assert leaderboard.markdown().endswith(f"\n{leaderboard.warning}\n")
    rng = np.random.default_rng(1)
    intervals = [statistics.interquartile_mean(x, 100) for x in rng.normal(size=(20, 1, 3, 30))]
    widths = [interval.high - interval.low for interval in intervals]
    means = rng.normal(size=(1000, 1, 3, 30))
    actual = 2 * 1.96 * np.std([stats.trim_mean(np.ravel(x), 0.25) for x in means])
    assert np.mean(widths) / actual == pytest.approx(np.sqrt(2 / 3), abs=0.08)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_runs_resumes_and_saves(tmp_path, capsys):
    argv = ["--suite", "validation", "--family", "validation/dumbbell", "--tasks", "1", "--seeds", "2", "--jobs", "1"]
    argv += ["--policy", "equal_share", "--out", str(tmp_path)]
    assert main(argv) == 0
    out, err = capsys.readouterr()
    assert "validation: 1 families × 1 tasks × 2 paired seeds" in out
    assert "suite: 6/6 episodes" in err
    assert "dynamic" not in out.split("\n\n")[1]
    assert main([*argv, "--json"]) == 0
    out, err = capsys.readouterr()
    assert "suite: 6/6 episodes: kept from before" in err
    document = json.loads(out)
    assert set(document["policies"]) == {"equal_share", "qprimaldual-da", "oracle"}
    assert 0.9 < document["policies"]["oracle"]["iqm"]["static"]["mean"] < 1.1
    assert json.loads((tmp_path / "leaderboard.json").read_text()) == document


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--suite", "tset"], "--suite 'tset': did you mean 'test'? valid: train, validation, test"),
        (["--suite", "test", "--family", "girds"], "--family 'girds': did you mean 'grid'? valid in 'test': grid"),
        (["--suite", "test", "--set", "memory=5"], "--set: valid: with --env or --scenario"),
        (["--suite", "test", "--steps", "20"], "--steps: valid: with --env or --scenario"),
        (["--suite", "test", "--policy", "aimd,oracle"], "several trainings need a name; valid: LABEL=aimd,oracle"),
        (["--suite", "test", "--policy", "oracle=aimd"], "'oracle' is the name of a policy that is there"),
        (["--suite", "test", "--policy", "aimd", "--policy", "aimd"], "there is a 'aimd' already"),
        (["--suite", "test", "--family", "grid", "--tasks", "1", "--policy", "zoo/none"], "--policy 'zoo/none': "),
        (["--suite", "test", "--family", "grid", "--tasks", "1", "--out", __file__], "there is a file of that name"),
        (["--env", "Dumbbell-v0", "--policy", "aimd", "--tasks", "2"], "--tasks: valid: with --suite"),
        (["--env", "Dumbbell-v0"], "--policy: valid: at least one"),
    ],
)  # fmt: skip
def test_the_command_refuses(argv, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err

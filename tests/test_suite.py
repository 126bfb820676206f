"""The suite: every policy on every task, what is kept, and the leaderboard made of it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qnum_gym import agents, evaluation, families, suite
from qnum_gym.agents import make
from qnum_gym.cli.evaluate import main
from qnum_gym.evaluation.identity import identity
from qnum_gym.suite import PolicySpec, Task, runs

CONFIGS = Path(__file__).parents[1] / "configs" / "policies"
TWICE = PolicySpec("twice", (str(CONFIGS / "best_static.yaml"), "equal_share"))
CONTENDERS = [PolicySpec(name, (name,)) for name in ("aimd", "qprimaldual-da", "oracle")] + [TWICE]
SEEDS = (0, 3)


@pytest.fixture(scope="module")
def tasks():
    short = {"episode_length": 12}
    drawn = [("tree", 0), ("tree", 1), ("tree", 3), ("dumbbell-dynamic", 0)]
    return tuple(
        Task(name, families.family(name).dynamic, families.sample(name, i).replace(**short)) for name, i in drawn
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("suite")


@pytest.fixture(scope="module")
def scores(tasks, folder):
    return suite.run(CONTENDERS, tasks, SEEDS, folder)


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
    return suite.Leaderboard("test", suite.Scores(tasks, (0, 1, 2), means, shares), CONTENDERS[1:])


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


@pytest.mark.bits
def test_several_processes_come_to_the_same(scores, tasks, tmp_path):
    again = suite.run(CONTENDERS[:3], tasks[:2], SEEDS, tmp_path, jobs=2)
    for label, means in again.geometric_means.items():
        np.testing.assert_array_equal(means, scores.geometric_means[label][:, :, :2])


def refuse(job, threads):
    raise AssertionError(f"{job.policy} ran again")


def test_nothing_is_run_twice(scores, tasks, folder, monkeypatch):
    monkeypatch.setattr(runs, "_simulate", refuse)
    told = []
    again = suite.run(CONTENDERS, tasks, SEEDS, folder, progress=lambda *what: told.append(what))
    np.testing.assert_array_equal(again.of("twice"), scores.of("twice"))
    assert told == [(5 * 4 * 2, 5 * 4 * 2, "kept from before")]


def test_further_seeds_tasks_and_broken_files_run_and_no_more(tasks, tmp_path, monkeypatch):
    ran = []

    def simulate(job, threads):
        ran.extend((scenario.name, seed) for scenario, seed in zip(job.scenarios, job.seeds, strict=True))
        return [(1.0, 0.5)] * len(job.seeds)

    monkeypatch.setattr(runs, "_simulate", simulate)
    oracle = CONTENDERS[2:3]
    suite.run(oracle, tasks[:1], [0], tmp_path)
    suite.run(oracle, tasks[:2], [0, 1], tmp_path)
    assert sorted(ran) == [("tree/0", 0), ("tree/0", 1), ("tree/1", 0), ("tree/1", 1)]
    broken = next(tmp_path.iterdir())
    broken.write_text(broken.read_text()[:-9])
    suite.run(oracle, tasks[:2], [0, 1], tmp_path)
    assert len(ran) == 6


def test_an_interrupted_suite_goes_on(tasks, tmp_path, monkeypatch):
    simulate, ran = runs._simulate, []

    def tired(job, threads):
        if ran:
            raise KeyboardInterrupt
        ran.append(job)
        return simulate(job, threads)

    monkeypatch.setattr(runs, "_simulate", tired)
    with pytest.raises(KeyboardInterrupt):
        suite.run(CONTENDERS[:3], tasks, SEEDS, tmp_path)
    told = []
    monkeypatch.setattr(runs, "_simulate", simulate)
    suite.run(CONTENDERS[:3], tasks, SEEDS, tmp_path, progress=lambda done, *_: told.append(done))
    assert told[0] == len(ran[0].seeds) > 0


def test_what_is_kept_is_told_apart_by_policy_file_and_scenario(tmp_path):
    policy = tmp_path / "mine.yaml"
    policy.write_text("policy: aimd\n")
    before = identity(str(policy))
    policy.write_text("policy: aimd\noptions: {}\n")
    identity.cache_clear()
    assert identity(str(policy)) != before
    assert len({identity(name) for name in agents.names()}) == len(agents.names())


def test_what_a_contender_knows():
    assert [each.knows for each in CONTENDERS[:3]] == ["local", "local", "scenario"]


# --- the leaderboard --------------------------------------------------------------------------------------------------


def test_rows_are_scipys_numbers(leaderboard):
    scores = {label: leaderboard.scores.of(label) for label in ("qprimaldual-da", "twice", "oracle")}
    rows = {row.policy.label: row for row in leaderboard.rows}
    assert leaderboard.kinds == {"static": ["a", "c"], "dynamic": ["b"]}
    for label, values in scores.items():
        for where, chosen in (("static", [0, 1, 4, 5]), ("dynamic", [2, 3])):
            expected = stats.trim_mean(values[:, :, chosen], 0.25, axis=None)
            assert rows[label].kinds[where].mean == pytest.approx(expected)
        assert rows[label].families["c"].mean == pytest.approx(stats.trim_mean(values[:, :, 4:], 0.25, axis=None))
        assert rows[label].overall.mean == pytest.approx(stats.trim_mean(values, 0.25, axis=None))
    theirs = scores["qprimaldual-da"]
    wins = [stats.mannwhitneyu(scores["twice"][..., t].ravel(), theirs[..., t].ravel()).statistic for t in (2, 3)]
    assert rows["twice"].improvement["dynamic"].mean == pytest.approx(np.mean(wins) / 18)
    assert rows["qprimaldual-da"].improvement["static"].mean == pytest.approx(0.5)
    order = [row.overall.mean for row in leaderboard.rows]
    assert order == sorted(order, reverse=True)


def test_everything_saved_reads_back(leaderboard, tmp_path):
    paths = {path.name: path for path in suite.save(leaderboard, tmp_path / "new")}
    assert set(paths) == {"leaderboard.md", "scores.csv", "leaderboard.json", "profiles.png", "families.png"}
    with paths["scores.csv"].open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == (1 + 1 + 2) * 3 * 6
    twice = [float(row["score"]) for row in rows if row["policy"] == "twice" and row["family"] == "b"]
    assert stats.trim_mean(twice, 0.25) == pytest.approx(
        json.loads(paths["leaderboard.json"].read_text())["policies"]["twice"]["families"]["b"]["mean"]
    )
    header, _, *lines = paths["leaderboard.md"].read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")][:4] == [
        "policy",
        "knows",
        "IQM, static",
        "IQM, dynamic",
    ]
    assert [line.split("`")[1] for line in lines] == [row.policy.label for row in leaderboard.rows]
    assert "3 families × 2 tasks × 3 paired seeds, twice 2 trainings" in leaderboard.caption
    for name in ("profiles.png", "families.png"):
        assert paths[name].stat().st_size > 20_000


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
        (["--suite", "test", "--out", __file__], "there is a file of that name"),
        (["--env", "Dumbbell-v0", "--policy", "aimd", "--tasks", "2"], "--tasks: valid: with --suite"),
        (["--env", "Dumbbell-v0"], "--policy: valid: at least one"),
    ],
)  # fmt: skip
def test_the_command_refuses(argv, message, capsys):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err

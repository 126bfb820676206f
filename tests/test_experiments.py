"""`qnum-gym reproduce`: configurations, cache and resumption, and each experiment in miniature."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from qnum_gym import agents, experiments
from qnum_gym.agents import make
from qnum_gym.cli.main import main
from qnum_gym.config import ConfigError
from qnum_gym.envs import AllocationEnv
from qnum_gym.envs.rewards import DEFAULT
from qnum_gym.evaluation import PolicySpec, runner
from qnum_gym.experiments.latency import slowed
from qnum_gym.experiments.policies import smallest_coherence_time
from qnum_gym.experiments.recording import Recording, Run, changed
from qnum_gym.experiments.rewards import Rewards
from qnum_gym.optimum import InfeasibleError, solve
from qnum_gym.scenarios.topologies import scenario
from qnum_gym.simulator import Controls

TINY = {
    "convergence": """
networks: [dumbbell]
coherence_times: [10, .inf]
policies: [qprimaldual-da, {policy: qprimaldual, label: slow, options: {gain: 0.1}}]
shown: slow
seeds: 2
intervals: 10
quick: {coherence_times: [20]}
""",
    "policies": """
networks: [dumbbell]
measures: [secret_key]
coherence_times: [0.01, 10, .inf]
policies: [qprimaldual-da, equal_share]
seeds: 2
intervals: 20
quick: {seeds: 1}
""",
    "latency": """
networks: [dumbbell]
holds: [header, ack, measure]
feedback_delays: [0, 2]
latency_factors: [1, 100]
message_losses: [0.1]
window: 500
policies: [qprimaldual-da]
held_policies: [qprimaldual-da]
seeds: 2
intervals: 10
""",
    "decoherence": """
networks: [dumbbell]
coherence_times: [10, 100]
policies: [qprimaldual-pi]
parallel: [oracle, qprimaldual-pi]
seeds: 2
intervals: 10
""",
    "dynamics": """
networks: [dumbbell]
cases: [sessions, loss, failure]
begin: 4
end: 8
policies: [qprimaldual-da]
seeds: 2
intervals: 12
""",
    "overhead": """
networks: [dumbbell]
control_intervals: [1, 3]
policies: [qprimaldual-da, qprimaldual-approx, best_static]
seeds: 2
intervals: 10
""",
    "rewards": """
networks: [dumbbell]
rewards: [share, interval]
policies: [equal_share, random]
seeds: 2
intervals: 10
""",
    "paper": """
networks: [dumbbell]
utilisations: [0.9]
factors: [1]
policies: [qprimaldual]
seeds: 2
intervals: 2
""",
    "scaling": """
sizes: [{sessions: 2, nodes: 5, links: 5}, {sessions: 4, nodes: 8, links: 12}]
graphs: 2
coherence_time: 100
policies: [qprimaldual-da]
seeds: 2
intervals: 10
""",
    "stability": """
networks: [dumbbell]
feedback_delays: [0, 1]
gains: [0.1, 0.3]
window: 500
seeds: 2
intervals: 10
""",
}


@pytest.fixture
def config(tmp_path):
    """Name -> the file of its tiny configuration."""

    def written(name: str, text: str | None = None) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(TINY[name] if text is None else text)
        return path

    return written


def test_every_experiment_has_a_miniature_here():
    assert set(TINY) == set(experiments.names())


@pytest.mark.parametrize("name", experiments.names())
@pytest.mark.parametrize("quick", [False, True])
def test_shipped_configurations_are_valid_and_quick_ones_smaller(name, quick):
    kind = experiments.registry()[name]
    experiment, full = kind.shipped(quick), kind.shipped()
    assert experiment.seeds >= (3 if quick else 10)
    work = [each.seeds * each.intervals for each in (experiment, full)]
    assert work[0] < work[1] if quick else work[0] == work[1]


@pytest.mark.parametrize("name", experiments.names())
def test_miniature_gives_table_json_and_figure(name, config, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reproduce", name, "--config", str(config(name)), "--out", str(out), "--json", "--jobs", "1"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["experiment"] == name
    assert 0 < said["simulated"] == said["episodes"] <= 2 * said["runs"]
    with (out / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = json.loads((out / f"{name}.json").read_text())
    assert len(rows) == len(kept["rows"]) > 0
    assert kept["configuration"]["seeds"] == 2
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.part"))

    csv_before = (out / f"{name}.csv").read_bytes()
    assert main(["reproduce", name, "--config", str(config(name)), "--out", str(out), "--json", "--jobs", "1"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["simulated"] == 0
    assert (out / f"{name}.csv").read_bytes() == csv_before


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("path", sorted(Path("configs/experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_further_configurations_are_valid(path, quick):
    name = path.stem.partition("_")[0]  # dynamics_local: of the experiment `dynamics`
    assert experiments.registry()[name].from_yaml(path, quick).runs()


def test_a_killed_command_goes_on_and_ends_with_the_same_bits_whatever_the_processes(config, tmp_path, capsys):
    arguments = ["reproduce", "policies", "--config", str(config("policies")), "--json"]
    assert main([*arguments, "--jobs", "1", "--out", str(tmp_path / "undisturbed")]) == 0
    total = json.loads(capsys.readouterr().out)[0]["episodes"]
    out = tmp_path / "out"
    code = "import sys; from qnum_gym.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments, "--jobs", "2", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while process.poll() is None and not list(out.glob("cache/*.npz")):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    kept = len(list(out.glob("cache/*.npz")))
    assert main([*arguments, "--jobs", "1", "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)[0]["simulated"] <= total - kept
    for name in ("policies.csv", "policies.json"):
        assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_an_interrupted_command_says_that_it_goes_on(config, tmp_path, monkeypatch, capsys):
    def interrupted(batch, threads):
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "simulate", interrupted)
    assert (
        main(
            ["reproduce", "latency", "--config", str(config("latency")), "--out", str(tmp_path / "out"), "--jobs", "1"]
        )
        == 130
    )
    assert "goes on" in capsys.readouterr().err


def test_an_experiment_is_two_files_dropped_in(tmp_path):
    """A copy of the package in which `latency` has another name."""
    copy = shutil.copytree(Path(experiments.__file__).parents[1], tmp_path / "qnum_gym")
    shutil.copytree(Path(agents.__file__).parent, copy / "agents", dirs_exist_ok=True)
    for suffix in (".py", ".yaml"):
        text = (copy / "experiments" / f"latency{suffix}").read_text()
        (copy / "experiments" / f"mine{suffix}").write_text(text.replace('registers("latency")', 'registers("mine")'))
    code = "from qnum_gym import experiments as e; print(*e.names()); e.registry()['mine'].shipped(); print(e.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    names, place = said.stdout.splitlines()
    assert names.split() == sorted([*experiments.names(), "mine"])
    assert Path(place).is_relative_to(tmp_path)


def test_an_experiment_of_another_package_comes_with_its_entry_point(tmp_path, monkeypatch):
    kind = type("Mine", (experiments.registry()["latency"],), {})
    point = SimpleNamespace(name="mine", load=lambda: kind)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == experiments.GROUP else [])
    registry = experiments.registry()
    try:
        assert registry["mine"] is kind
        assert experiments.names()[-1] == "mine"
    finally:
        registry.remove("mine")


def record(run):
    (records,) = runner.run([run.job])
    return Recording.of(records)


def test_recording_agrees_with_evaluate():
    from qnum_gym.evaluation import evaluate

    net = scenario("dumbbell", episode_length=30)
    seen = record(Run({}, net, PolicySpec.of("qprimaldual-da"), 3, series=True))
    told = evaluate(net, {"da": make("qprimaldual-da")}, range(3))
    np.testing.assert_array_equal(seen.geometric_mean, told.geometric_mean[0])
    np.testing.assert_array_equal(seen.score, told.score[0])
    assert seen.window.shape == (30, 3)
    assert seen.time.tolist() == [float(t) for t in range(1, 31)]
    assert (seen.storage < seen.latency).all()


def test_returns_are_what_the_environment_gives():
    net, rewards = scenario("dumbbell", episode_length=25), ("share", "interval", "relative")
    seen = record(Run({}, net, PolicySpec.of("random"), 2, rewards=rewards))
    for k, reward in enumerate(rewards):
        for seed in range(2):
            env, policy = AllocationEnv(net, reward=reward), make("random")
            env.reset(seed=seed)
            policy.reset(net, seed)
            steps = (env.step_controls(policy.act(env.telemetry)) for _ in range(25))
            assert sum(step[1] for step in steps) == pytest.approx(seen.returns[k, seed], rel=1e-12)


def test_the_default_reward_ranks_policies_as_the_evaluation_does():
    """All references on all networks, one seed; docs/reproduce.md has twenty, by the same measure."""
    experiment = Rewards.shipped().model_copy(update={"seeds": 1, "rewards": (DEFAULT,)})
    assert (len(experiment.networks), len(experiment.policies)) == (7, 9)
    seen = [Recording.of(records) for records in runner.run([run.job for run in experiment.runs()])]
    scores, returns = np.array([(found.score[0], found.returns[0, 0]) for found in seen]).T
    found: Any = stats.spearmanr(scores, returns)  # its type is not public
    assert found.statistic >= 0.95


def test_storage_time_is_the_time_since_the_first_pair():
    """One link: its first pair is its last, and what is stored waits only for the header."""
    net = scenario("chain", nodes=2, episode_length=20, feedback_delay=3.0, coherence_time=float("inf"))
    seen = record(Run({}, net, PolicySpec.of("oracle"), 2))
    np.testing.assert_allclose(seen.storage, 10.0 / 200_000.0, rtol=1e-9)


def test_control_cost_is_the_routes_length_and_the_controllers_of_the_network():
    """Dumbbell: 3 hops; 3 sources and 7 links. -da: a signal there, prices there and back; -approx: prices."""
    net = scenario("dumbbell", episode_length=400, memory=10_000)
    for policy, scalars, updates in (("qprimaldual-da", 9, 10), ("qprimaldual-approx", 6, 10), ("best_static", 0, 0)):
        seen = record(Run({}, net, PolicySpec.of(policy), 2))
        np.testing.assert_allclose(seen.scalars, scalars, rtol=0.01)
        assert (seen.updates == updates).all()


def test_who_sets_anything_new():
    zeros, step = np.zeros((1, 2)), np.array([[0.0, 1.0]])
    still = Controls(zeros, zeros, zeros, zeros)
    assert changed(still, still).tolist() == [[False, False, False, False]]
    assert changed(still, Controls(step, zeros, step, zeros)).tolist() == [[False, True, False, False]]
    assert changed(still, Controls(step, zeros, 1.0 - step, step)).tolist() == [[True, True, False, True]]
    assert changed(Controls(zeros, zeros), Controls(zeros, step)).tolist() == [[False, False, False, True]]


def test_smallest_coherence_time_is_where_the_optimum_begins():
    least = smallest_coherence_time("dumbbell", "secret_key")
    assert 0.4 < least < 0.7
    with pytest.raises(InfeasibleError):
        solve(scenario("dumbbell", coherence_time=0.9 * least), decoherence=True, max_utilisation=0.95)


def test_slow_headers_are_slow_by_the_factor():
    net = scenario("dumbbell")
    np.testing.assert_allclose(slowed(net, 50.0).arrays().latency, 50.0 * net.arrays().latency)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("sedes: 3", ["sedes", "unknown key", "seeds"]),
        ("seeds: 0", ["seeds = 0", "greater than or equal to 1"]),
        ("intervals: 3", ["intervals = 3", "even"]),
        ("networks: [dumbel]", ["networks[0] = 'dumbel'", "did you mean 'dumbbell'"]),
        ("policies: [oracel]", ["oracel", "did you mean 'oracle'"]),
        ("policies: [{policy: qprimaldual, options: {gian: 1}}]", ["gian"]),
        ("quick: 3", ["quick = 3", "mapping"]),
        ("quick: {seeds: -1}", ["quick", "seeds = -1"]),
        ("quick: {sedes: 1}", ["quick", "sedes", "unknown key"]),
    ],
)
def test_a_bad_configuration_is_refused_with_field_value_and_valid(change, words, config, tmp_path):
    key = change.partition(":")[0]
    kept = [line for line in TINY["policies"].splitlines() if not line.startswith(f"{key}:")]
    path = config("policies", "\n".join([*kept, change]))
    with pytest.raises(ConfigError) as refused:
        experiments.registry()["policies"].from_yaml(path)
    for word in [path.name, *words]:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["polices"], ["polices", "did you mean 'policies'", "convergence"]),
        (["--config", "x.yaml"], ["--config", "exactly one NAME"]),
        (["policies", "--config", "nowhere.yaml"], ["nowhere.yaml", "No such file"]),
    ],
)
def test_bad_arguments_are_refused(arguments, words, tmp_path, capsys):
    with pytest.raises(SystemExit) as refused:
        main(["reproduce", *arguments, "--out", str(tmp_path)])
    assert refused.value.code == 2
    said = capsys.readouterr().err
    for word in words:
        assert word in said

"""`qnum-gym reproduce`: configurations, cache and resumption, and each experiment in miniature."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from qnum_gym import experiments
from qnum_gym.cli.main import main
from qnum_gym.config import ConfigError
from qnum_gym.evaluation.identity import identity
from qnum_gym.experiments import reproduce
from qnum_gym.experiments.cache import Cache
from qnum_gym.experiments.experiment import shipped
from qnum_gym.experiments.latency import slowed
from qnum_gym.experiments.policies import smallest_coherence_time
from qnum_gym.experiments.runs import Run, changed, record
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
feedback_delays: [0, 2]
latency_factors: [1, 100]
message_losses: [0.1]
window: 500
policies: [qprimaldual-da]
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
    experiment = shipped(experiments.kind(name), name, quick)
    assert experiment.seeds >= (3 if quick else 10)
    full = shipped(experiments.kind(name), name)
    work = [each.seeds * each.intervals for each in (experiment, full)]
    assert work[0] < work[1] if quick else work[0] == work[1]


@pytest.mark.parametrize("name", experiments.names())
def test_miniature_gives_table_json_and_figure(name, config, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["reproduce", name, "--config", str(config(name)), "--out", str(out), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["experiment"] == name
    assert 0 < said["simulated"] <= said["runs"]
    with (out / f"{name}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = json.loads((out / f"{name}.json").read_text())
    assert len(rows) == len(kept["rows"]) > 0
    assert kept["configuration"]["seeds"] == 2
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob("*.part"))

    csv_before = (out / f"{name}.csv").read_bytes()
    assert main(["reproduce", name, "--config", str(config(name)), "--out", str(out), "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert said["simulated"] == 0
    assert (out / f"{name}.csv").read_bytes() == csv_before


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("path", sorted(Path("configs/experiments").glob("*.yaml")), ids=lambda path: path.stem)
def test_further_configurations_are_valid(path, quick):
    name = path.stem.partition("_")[0]  # dynamics_local: of the experiment `dynamics`
    assert experiments.kind(name).from_yaml(path, quick).runs()


def test_a_recording_belongs_to_the_policy_file_it_was_made_with(tmp_path):
    net, weights = scenario("dumbbell", episode_length=10), tmp_path / "mine.npz"
    weights.write_bytes(Path("agents/zoo/local.npz").read_bytes())
    before = Run({}, net, str(weights), 2).key
    weights.write_bytes(weights.read_bytes() + b" ")
    identity.cache_clear()
    assert Run({}, net, str(weights), 2).key != before


def test_an_interrupted_run_goes_on_where_it_stopped(config, tmp_path, monkeypatch, capsys):
    arguments = ["reproduce", "policies", "--config", str(config("policies")), "--json", "--out"]
    assert main([*arguments, str(tmp_path / "undisturbed")]) == 0
    total = json.loads(capsys.readouterr().out)[0]["runs"]
    calls = []

    def interrupted(run):
        calls.append(run)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return record(run)

    monkeypatch.setattr(reproduce, "record", interrupted)
    assert main([*arguments, str(tmp_path / "out")]) == 130
    assert "goes on" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "out")]) == 0
    assert json.loads(capsys.readouterr().out)[0]["simulated"] == total - 3
    for name in ("policies.csv", "policies.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def test_cache_tells_runs_apart_and_survives_a_broken_file(tmp_path):
    net = scenario("dumbbell", episode_length=4)
    run = Run({"policy": "oracle"}, net, "oracle", 2)
    others = [
        Run({}, net.replace(coherence_time=20.0), "oracle", 2),
        Run({}, net, "best_static", 2),
        Run({}, net, "oracle", 3),
        Run({}, net, "oracle", 2, {"gain": 0.1}),
        Run({}, net, "oracle", 2, series=True),
    ]
    assert len({each.key for each in [run, *others]}) == 6
    assert run.key == Run({"policy": "another label"}, net, "oracle", 2).key
    cache, seen = Cache(tmp_path), record(run)
    assert cache.get(run) is None
    cache.put(run, seen)
    for mine, kept in zip(seen, cache.get(run), strict=True):
        np.testing.assert_array_equal(mine, kept)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:40])
    assert cache.get(run) is None


def test_recording_agrees_with_evaluate():
    from qnum_gym.agents import make
    from qnum_gym.evaluation import evaluate

    net = scenario("dumbbell", episode_length=30)
    seen = record(Run({}, net, "qprimaldual-da", 3, series=True))
    told = evaluate(net, {"da": make("qprimaldual-da")}, range(3))
    np.testing.assert_array_equal(seen.geometric_mean, told.geometric_mean[0])
    np.testing.assert_array_equal(seen.score, told.score[0])
    assert seen.window.shape == (30, 3)
    assert seen.time.tolist() == [float(t) for t in range(1, 31)]
    assert (seen.storage < seen.latency).all()


def test_storage_time_is_the_time_since_the_first_pair():
    """One link: its first pair is its last, and what is stored waits only for the header."""
    net = scenario("chain", nodes=2, episode_length=20, feedback_delay=3.0, coherence_time=float("inf"))
    seen = record(Run({}, net, "oracle", 2))
    np.testing.assert_allclose(seen.storage, 10.0 / 200_000.0, rtol=1e-9)


def test_control_cost_is_the_routes_length_and_the_controllers_of_the_network():
    """Dumbbell: 3 hops; 3 sources and 7 links. -da: a signal there, prices there and back; -approx: prices."""
    net = scenario("dumbbell", episode_length=400, memory=10_000)
    for policy, scalars, updates in (("qprimaldual-da", 9, 10), ("qprimaldual-approx", 6, 10), ("best_static", 0, 0)):
        seen = record(Run({}, net, policy, 2))
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
        experiments.kind("policies").from_yaml(path)
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

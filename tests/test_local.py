"""The shared local policy, and the evolution strategy that trains it."""

from __future__ import annotations

import importlib
import json
import math
import os
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import qnum_gym
from qnum_gym import agents, families
from qnum_gym.agents.learned import files, local
from qnum_gym.agents.learned.local import LINK_FEATURES, SOURCE_FEATURES, LocalPolicy, Network, SharedControllers
from qnum_gym.agents.networks import Networks
from qnum_gym.cli.main import main
from qnum_gym.config import ConfigError
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.evaluation.episodes import run_episode, run_episodes
from qnum_gym.scenarios import LinkEvent
from qnum_gym.simulator import Controls, Simulator
from qnum_gym.training import evolution, kinds
from qnum_gym.training.evolution import Evolution, EvolutionConfig, Heads, PerNetwork
from qnum_gym.training.local import Rollouts, silent, train
from qnum_gym.training.shared_ppo import SharedPPOConfig

NSFNET = qnum_gym.scenario("nsfnet", episode_length=30)
SMALL = {"name": "tiny", "algorithm": "evolution", "families": ["tree"], "validation_families": ["validation/tree"]}
SMALL |= {
    "scenarios": 2,
    "copies": 1,
    "validation_scenarios": 1,
    "validation_seeds": 1,
    "generations": 3,
    "validation_every": 2,
}
SMALL_PPO = {**SMALL, "algorithm": "shared_ppo", "copies": 2, "rollouts": 3, "redraw": 2}
del SMALL_PPO["generations"]


def random_network(hidden=(), seed=0, scale=0.3) -> Network:
    heads = Heads.of(hidden)
    return heads.network(scale * np.random.default_rng(seed).standard_normal(heads.size))


def nothing() -> Network:
    heads = Heads.of(())
    return heads.network(np.zeros(heads.size))


def controls_over_time(policy, scenario, seed=3):
    simulator = Simulator(scenario, seed)
    policy.reset(scenario, seed)
    seen, story = simulator.telemetry(), []
    for _ in range(scenario.episode_length):
        c = policy.act(seen)
        story.append(np.concatenate((c.rates, c.werner, c.session_signals, c.link_signals)))
        simulator.set_controls(c.rates, c.werner, c.session_signals, c.link_signals)
        seen = simulator.advance(scenario.control_interval)
    return np.array(story)


@pytest.mark.bits
def test_without_corrections_it_is_qprimaldual_da():
    ours = controls_over_time(LocalPolicy(nothing()), NSFNET)
    np.testing.assert_array_equal(ours, controls_over_time(agents.make("qprimaldual-da"), NSFNET))


def test_corrections_move_the_logarithms_by_their_reach():
    scenario = qnum_gym.scenario("dumbbell")
    controllers, envs = SharedControllers(Networks([scenario])), EnvBatch([scenario], 1)
    envs.reset(0, 0)
    for _ in range(15):
        controllers.look(envs.telemetry(), envs.shared_rows())
        before = controllers.correct(np.zeros((3, 2), np.float32), np.zeros((7, 2), np.float32))
        envs.step(Controls(*before))
    sources, links = np.array([[0.5, -1.0]] * 3, np.float32), np.array([[-0.5, 0.25]] * 7, np.float32)
    rates, werner, signals, prices = controllers.correct(sources, links)  # further steps from where `before` stands
    np.testing.assert_allclose(np.log(rates / before[0]), 0.5 * 0.5, rtol=1e-9)
    np.testing.assert_allclose(np.log(signals / before[2]), -0.1, rtol=1e-9)
    np.testing.assert_allclose(np.log((1 - werner) / (1 - before[1])), -0.5 * 0.15, rtol=1e-9)
    np.testing.assert_allclose(np.log(prices / before[3]), 0.25 * 0.3, rtol=1e-9)


def test_backlog_delay_and_surprise_are_what_they_say():
    scenario = qnum_gym.scenario("chain", sessions=1, feedback_delay=4.0, window=1000)
    controllers, envs = SharedControllers(Networks([scenario])), EnvBatch([scenario], 1)
    envs.reset(0, 1)
    rates, werner = np.array([40.0]), np.full(4, 0.95)
    for _ in range(200):
        source, link = controllers.look(envs.telemetry(), envs.shared_rows())
        envs.step(Controls(rates, werner, np.ones(1), np.ones(4)))
    seen = envs.telemetry()
    delay = math.exp(3.0 * source[0, SOURCE_FEATURES.index("delay")]) - 1.0
    assert delay == pytest.approx(seen.sessions.mean_rtt[0], rel=0.05)  # control intervals of 1 s
    assert 4.0 < delay < 5.0
    # Little's law: as many are under way as rate and round trip account for
    assert abs(source[0, SOURCE_FEATURES.index("backlog")]) < 0.1
    assert np.abs(link[:, LINK_FEATURES.index("surprise")]).max() < 0.4
    load = 40.0 / (seen.links.capacity * 0.05)
    expected = (np.log1p(seen.links.mean_queue) - np.log1p(load / (1.0 - load))) / 3.0
    source, link = controllers.look(seen, envs.shared_rows())
    np.testing.assert_allclose(link[:, LINK_FEATURES.index("backlog")], expected, atol=1e-6)


@pytest.mark.bits
@pytest.mark.parametrize("hidden", [(), (8,)])
def test_many_networks_at_once_are_each_as_alone(hidden):
    policy, seeds = LocalPolicy(random_network(hidden)), range(5)
    envs = AllocationVectorEnv(5, NSFNET, autoreset_mode=AutoresetMode.DISABLED)
    together = run_episodes(envs, policy, seeds)
    env = AllocationEnv(NSFNET)
    for seed, outcome in zip(seeds, together, strict=True):
        alone = run_episode(env, policy, seed)
        assert alone.geometric_mean == outcome.geometric_mean
        np.testing.assert_array_equal(alone.werner, outcome.werner)


DIGEST = """
import hashlib, numpy as np, qnum_gym
from qnum_gym import agents
from qnum_gym.agents.learned.local import LINK_FEATURES, SOURCE_FEATURES, answer
random = np.random.default_rng(0)
layers = [(random.normal(size=(1, a, b)).astype("f4"), np.zeros((1, b), "f4")) for a, b in ((24, 16), (16, 2))]
found = hashlib.sha256(answer(layers, random.normal(size=(333, 24)).astype("f4")).tobytes())
for matrix_and_bias, size in zip(agents.make("zoo/local").network.heads, (SOURCE_FEATURES, LINK_FEATURES)):
    layers = [(m[None], b[None]) for m, b in matrix_and_bias]
    found.update(answer(layers, random.normal(size=(97, len(size))).astype("f4")).tobytes())
print(found.hexdigest())
"""


def test_equal_weights_give_equal_bits_whatever_the_blas():
    core = "numpy._core" if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else "numpy.core"
    features = importlib.import_module(f"{core}._multiarray_umath").__cpu_features__
    kernels = ["Prescott", *(["Haswell", "Zen"] if features.get("AVX2") else [])]
    settings = [{}, *({"OPENBLAS_CORETYPE": kernel} for kernel in kernels), {"OMP_NUM_THREADS": "2"}]
    runs = [
        subprocess.run(
            [sys.executable, "-c", DIGEST], env=os.environ | given, capture_output=True, text=True, check=True
        )
        for given in settings
    ]
    assert len({run.stdout for run in runs}) == 1


def test_features_are_finite_and_bounded_through_changes():
    link = (NSFNET.links[13].a, NSFNET.links[13].b)
    events = [LinkEvent(time=5.0, link=link, up=False), LinkEvent(time=12.0, link=link, up=True, extra_loss_db=6.0)]
    scenario = NSFNET.replace(events=events, feedback_delay=3.0)
    controllers, envs, network = (
        SharedControllers(Networks([scenario])),
        EnvBatch([scenario], 1),
        random_network(scale=1.0),
    )
    envs.reset(0, 0)
    for _ in range(30):
        rows = controllers.look(envs.telemetry(), envs.shared_rows())
        assert [x.shape[1] for x in rows] == [len(SOURCE_FEATURES), len(LINK_FEATURES)]
        assert all(np.isfinite(x).all() and np.abs(x).max() <= 1.0 + 1e-6 for x in rows)
        envs.step(Controls(*controllers.correct(*network(*rows))))


def test_who_learns_nothing_corrects_nothing():
    base = qnum_gym.scenario("dumbbell", episode_length=120)
    link = base.links[base.routes[0][0]]
    down = LinkEvent(time=20.0, link=(link.a, link.b), up=False)
    story = controls_over_time(LocalPolicy(random_network()), base.replace(events=[down]))
    rates, werner, signals, prices = np.split(story, np.cumsum([3, 7, 3]), axis=1)
    cut_off = rates[:, 0], signals[:, 0], werner[:, base.routes[0][0]], prices[:, base.routes[0][0]]
    for over_time in cut_off:
        assert np.ptp(np.log(over_time[40:])) < 1e-5  # not for as long as nothing comes back
        assert len(set(over_time[:20])) > 10
    assert len(set(rates[40:, 1])) > 60  # the others go on


def test_a_session_that_no_one_answers_waits_after_a_while():
    base = qnum_gym.scenario("dumbbell", episode_length=60, feedback_delay=10.0)
    up = controls_over_time(LocalPolicy(random_network()), base)
    assert len({tuple(row) for row in up[20:, :3]}) > 30  # late answers are answers
    link = base.links[base.routes[0][0]]
    down = LinkEvent(time=0.0, link=(link.a, link.b), up=False)
    never = controls_over_time(LocalPolicy(random_network()), base.replace(events=[down]))
    assert np.ptp(never[4:, 0]) < 1e-9


@pytest.mark.bits
def test_a_file_gives_the_same_policy_back(tmp_path):
    policy = LocalPolicy(random_network((4,)))
    local.save(random_network((4,)), tmp_path / "mine.npz", trained=1)
    again = agents.make(tmp_path / "mine.npz")
    assert again.name == "mine"
    np.testing.assert_array_equal(controls_over_time(again, NSFNET), controls_over_time(policy, NSFNET))


def test_files_that_are_not_ours_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz'?: not a policy that this package saved"):
        agents.make(path)
    about = local.ABOUT | {"format": 99}
    files.write(path, about, {})
    with pytest.raises(ValueError, match="format = 99; valid: 2"):
        local.load(path)
    with pytest.raises(FileNotFoundError, match="no such file"):
        agents.make(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"zoo/nobody.*valid: zoo/local"):
        agents.make("zoo/nobody")
    with pytest.raises(ValueError, match="takes no option gain"):
        agents.make("zoo/local", gain=1.0)


@pytest.mark.parametrize("name", ["local"])
def test_those_in_the_zoo_say_how_they_were_trained(name):
    about, arrays = files.read(f"{agents.__path__[0]}/zoo/{name}.npz")
    shipped: Any = kinds.from_yaml(f"configs/train/{name}.yaml")
    assert type(shipped).checked(about["config"], "zoo").replace(name=name) == shipped
    assert len(about["commit"]) == 40
    last = about["curve"][-1]
    assert last["done"] == shipped.rounds
    assert last["dynamic"] > 0.005  # of log gm over QPrimalDual-DA's, on the validation families
    assert (
        sum(x.size for x in arrays.values()) == Heads.of(()).size == 2 * (len(SOURCE_FEATURES) + len(LINK_FEATURES) + 2)
    )


# --- the envs --------------------------------------------------------------------------------------------------------


def test_a_batch_means_what_an_episode_means():
    scenarios = [families.sample("tree-dynamic", 0), qnum_gym.scenario("dumbbell"), families.sample("waxman", 3)]
    means = Rollouts(scenarios, 1).play(silent, 7)
    for i, scenario in enumerate(scenarios):
        alone = AllocationVectorEnv(1, scenario, autoreset_mode=AutoresetMode.DISABLED)
        alone.reset(seed=0)
        alone.env_batch.reset(0, 7 + i)  # the streams that network i had
        policy = agents.make("qprimaldual-da")
        policy.reset(scenario)
        rows = []
        for _ in range(200):
            alone.step_controls(policy.act(alone.env_batch.telemetry()))
            rows.append(alone.env_batch.rows[0])
        result = alone.env_batch.scores[0].result(np.array(rows))
        assert means[i] == pytest.approx(math.log(result.geometric_mean), rel=1e-9)


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.bits
def test_every_network_may_have_weights_of_its_own():
    heads = Heads.of((5,))
    rollouts = Rollouts([families.sample("tree", i) for i in range(3)], 1)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((rollouts.n, heads.size))
    sources = rng.uniform(-1, 1, (len(rollouts.of_session), len(SOURCE_FEATURES))).astype(np.float32)
    links = rng.uniform(-1, 1, (len(rollouts.of_link), len(LINK_FEATURES))).astype(np.float32)
    found = PerNetwork(heads, weights, rollouts)(sources, links)
    for i in range(rollouts.n):
        of = rollouts.of_session == i, rollouts.of_link == i
        for mine, theirs, rows in zip(found, heads.network(weights[i])(sources[of[0]], links[of[1]]), of, strict=True):
            np.testing.assert_array_equal(mine[rows], theirs)


class _Bowl:
    """In place of a envs: what weights come to is how near they are to a secret."""

    n = 64

    def __init__(self, *_):
        self.secret = 0.1 * np.cos(np.arange(Heads.of(()).size))
        self.of_session = self.of_link = np.arange(self.n)

    def play(self, network, seed):
        weights = [x.reshape(self.n, -1) for head, _ in network._heads for x in head]
        return -((np.concatenate(weights, axis=1) - self.secret) ** 2).sum(axis=1)


def test_evolution_climbs_to_where_a_bowl_is_lowest(monkeypatch):
    monkeypatch.setattr(evolution, "Rollouts", _Bowl)
    training = Evolution(small(EvolutionConfig).replace(generations=150))
    before = np.linalg.norm(training.weights - _Bowl().secret)
    for _ in range(150):
        training.step()
    assert np.linalg.norm(training.weights - _Bowl().secret) < 0.2 * before


def small(kind):
    return kind.checked(SMALL if kind is EvolutionConfig else SMALL_PPO, "small")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of a whole small run of a kind."""

    @cache
    def run(kind):
        folder, lines = tmp_path_factory.mktemp("whole"), []
        assert train(small(kind), folder, lines.append, lambda: False)
        assert len(lines) == 3  # rounds 0, 2 and 3
        return folder

    return run


@pytest.mark.bits
@pytest.mark.parametrize("kind", [EvolutionConfig, SharedPPOConfig])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(kind, undisturbed, tmp_path, monkeypatch):
    config, whole_run = small(kind), undisturbed(kind)
    for name in ("parts", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    asked = iter([False, True])
    assert not train(config, tmp_path / "parts", print, lambda: next(asked))
    assert train(config, tmp_path / "parts", print, lambda: False)
    assert train(config, tmp_path / "parts", print, lambda: False)  # nothing is left to do
    (about, whole), (other, parts) = (files.read(folder / "model.npz") for folder in (whole_run, tmp_path / "parts"))
    assert [row["done"] for row in about["curve"]] == [0, 2, 3]
    assert other["curve"] == about["curve"]
    assert any(x.any() for x in whole.values())
    for name, array in whole.items():
        np.testing.assert_array_equal(array, parts[name])
    assert not list((tmp_path / "temporary").glob("SB3*"))  # a logger's


@pytest.mark.parametrize("kind", [EvolutionConfig, SharedPPOConfig])
@pytest.mark.parametrize("where", ["model", "checkpoint", "curve"])
def test_a_run_killed_at_its_last_validation_ends_with_its_last_weights(
    kind, where, undisturbed, tmp_path, monkeypatch
):
    from qnum_gym.training import local as module

    config, whole, killed = small(kind), undisturbed(kind), tmp_path
    owners = {
        "model": (module, "save"),
        "curve": (module.Curve, "write"),
        "checkpoint": (type(config.learner()), "save"),
    }
    owner, name = owners[where]
    write, calls = getattr(owner, name), []

    def dying(*args, **options):
        calls.append(1)
        if len(calls) == 3:  # rounds 0, 2 and 3 have a validation
            raise SystemExit
        return write(*args, **options)

    monkeypatch.setattr(owner, name, dying)
    with pytest.raises(SystemExit):
        train(config, killed, lambda line: None, lambda: False)
    monkeypatch.undo()
    assert train(config, killed, lambda line: None, lambda: False)
    assert files.read(killed / "model.npz")[0]["curve"] == files.read(whole / "model.npz")[0]["curve"]
    for one, other in zip(*(files.read(folder / "model.npz")[1].values() for folder in (whole, killed)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (killed / "validations.csv").read_bytes() == (whole / "validations.csv").read_bytes()


@pytest.mark.parametrize("kind", [EvolutionConfig, SharedPPOConfig])
def test_a_changed_configuration_or_a_torn_checkpoint_is_refused(kind, tmp_path):
    config = small(kind)
    learner = config.learner()
    path = tmp_path / learner.CHECKPOINT
    learner.save(path)
    config.replace(name="other").learner().restore(path)
    with pytest.raises(ConfigError, match=r"config.yaml: hidden = \[4\], at the checkpoint \[\]; valid: as it was"):
        config.replace(hidden=[4]).learner().restore(path)
    for content in (path.read_bytes()[:-30], b"", b"PK", b"junk" * 100):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="not a whole checkpoint"):
            config.learner().restore(path)


@pytest.mark.parametrize("harm", ["nan", "missing", "bias", "shape", "text"])
def test_weights_that_are_not_whole_are_refused(harm, tmp_path):
    path = tmp_path / "model.npz"
    local.save(random_network((4,)), path)
    about, arrays = files.read(path)
    if harm == "nan":
        arrays["links.1.bias"][0] = np.nan
    elif harm == "missing":
        del arrays["sources.0.matrix"]
    elif harm == "bias":
        del arrays["links.1.bias"]
    elif harm == "shape":
        arrays["links.0.matrix"] = arrays["links.0.matrix"][:-1]
    else:
        arrays["links.1.bias"] = np.array(["a", "b"])
    files.write(path, about, arrays)
    with pytest.raises(ValueError, match=r"model\.npz"):
        agents.make(path)


def test_configurations_that_cannot_be_are_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps(SMALL | {"families": ["trees"]}))
    with pytest.raises(ConfigError, match=r"run\.yaml: families\[0\] = 'trees': did you mean 'tree'"):
        EvolutionConfig.from_yaml(path)
    path.write_text(json.dumps(SMALL | {"families": ["grid"]}))  # of the test split
    with pytest.raises(ConfigError, match=r"families\[0\] = 'grid': must be one of dumbbell"):
        EvolutionConfig.from_yaml(path)
    path.write_text(json.dumps(SMALL | {"deviation": 0}))
    with pytest.raises(ConfigError, match=r"deviation = 0"):
        EvolutionConfig.from_yaml(path)


def test_its_weights_as_a_picture(tmp_path, capsys):
    assert main(["corrections", "zoo/local", "--png", str(tmp_path / "weights.png"), "--json"]) == 0
    weights = json.loads(capsys.readouterr().out)
    matrix = files.read(f"{agents.__path__[0]}/zoo/local.npz")[1]["links.0.matrix"]
    trend = 0.3 * matrix[LINK_FEATURES.index("trend"), 1]
    assert weights["link: log λ"]["trend"] == pytest.approx(float(trend))
    assert (tmp_path / "weights.png").stat().st_size > 10_000
    with pytest.raises(SystemExit, match="2"):
        main(["corrections", "qprimaldual-da"])
    assert "valid: a local policy" in capsys.readouterr().err

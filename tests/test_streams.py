"""Streams: another network for each episode, by seed; what was solved is kept."""

from __future__ import annotations

import json
import pickle
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import test_imports

import qnum_gym
from qnum_gym import Scenario, ScenarioError, Stream, families
from qnum_gym.optimum import ScoreWarning, yardstick
from qnum_gym.optimum.yardstick import _known, known
from qnum_gym.scenarios import Session
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.streams import cache as module
from qnum_gym.streams.cache import NetworkCache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own, and a process that has solved nothing yet."""
    monkeypatch.setenv("QNUM_GYM_CACHE", str(tmp_path))
    forget()
    return tmp_path / "networks"


def forget() -> None:
    _known.clear()


def small(rng: np.random.Generator) -> Scenario:
    return qnum_gym.scenario("dumbbell", sessions=2, coherence_time=float(rng.uniform(10.0, 50.0)))


def drawn(stream: Stream, count: int, seed: int = 0) -> list[tuple[Scenario, int]]:
    rng = np.random.default_rng(seed)
    return [stream.episode(rng) for _ in range(count)]


# --- what is drawn ----------------------------------------------------------------------------------------------------


def test_seeds_reproduce_the_stream() -> None:
    one, two = (Stream(small, size=5) for _ in range(2))
    assert drawn(one, 20) == drawn(two, 20) == drawn(one, 20)
    assert drawn(one, 20) != drawn(one, 20, seed=1)
    assert len({scenario for scenario, _ in drawn(one, 60)}) == 5
    assert len({seed for _, seed in drawn(one, 60)}) == 60
    assert one.sample("small", 3) in {scenario for scenario, _ in drawn(one, 60)}


def test_a_family_s_networks_are_those_of_its_first_numbers() -> None:
    stream = Stream(["tree", "dumbbell"], size=2)
    found = {scenario.name for scenario, _ in drawn(stream, 40)}
    assert found == {"tree/0", "tree/1", "dumbbell/0", "dumbbell/1"}
    assert stream.sample("tree", 1) == families.sample("tree", 1)
    assert Stream("validation").names == families.names("validation")


def test_weights_say_how_often_and_may_change() -> None:
    nets = [qnum_gym.scenario("chain", length_km=length, sessions=1) for length in (5.0, 6.0, 7.0)]
    stream = Stream(nets, weights={"chain#2": 3.0})
    assert stream.names == ("chain", "chain#2", "chain#3")
    counts = Counter(nets.index(scenario) for scenario, _ in drawn(stream, 1000))
    np.testing.assert_allclose([counts[i] / 1000 for i in range(3)], [0.2, 0.6, 0.2], atol=0.05)
    stream.set_weights({"chain#2": 0.0, "chain": 0.0})
    assert {scenario for scenario, _ in drawn(stream, 50)} == {nets[2]}
    assert stream.weights == {"chain": 0.0, "chain#2": 0.0, "chain#3": 1.0}
    for weights, message in (
        ({"chan": 1.0}, "weights: 'chan'.*valid: chain, chain#2, chain#3"),
        ({"chain": -1.0}, "chain = -1.0; valid: 0 and above, finite"),
        ({"chain": float("nan")}, "chain = nan"),
        ({"chain#3": 0.0}, "all are 0"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.set_weights(weights)
    assert stream.weights["chain#3"] == 1.0


def test_overrides_hold_for_every_network() -> None:
    stream = Stream([small, qnum_gym.scenario("chain")], size=3, episode_length=7)
    shorter = stream.replace(control_interval=0.5)
    for scenario, _ in drawn(shorter, 10):
        assert (scenario.episode_length, scenario.control_interval) == (7, 0.5)
    shorter.set_weights({"small": 0.0})  # for both
    assert {scenario.name for scenario, _ in drawn(stream, 10)} == {"chain"}
    with pytest.raises(ScenarioError, match="episode_lenght: unknown keyword"):
        Stream("train", episode_lenght=3)
    with pytest.raises(ScenarioError, match="size: unknown keyword"):
        stream.replace(size=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "trains"}, "source = 'trains': .*valid: train, .*, headroom-train, dumbbell"),
        ({"source": []}, "source: empty"),
        ({"source": [3]}, "source = 3; valid: a family, a split"),
        ({"size": 0}, "size = 0; valid: a positive integer"),
        ({"size": True}, "size = True"),
        ({"size": 1.5}, "size = 1.5"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(**arguments)


def test_a_function_that_draws_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match=r"lambda.*: gives 3; valid: a function that gives a Scenario"):
        Stream(lambda rng: 3)  # pyright: ignore[reportArgumentType]
    growing = lambda rng: qnum_gym.scenario("chain", nodes=int(rng.integers(3, 6)))  # noqa: E731
    stream = Stream(growing, sizes=Sizes(9, 2, 9, 99))
    with pytest.raises(ScenarioError, match="valid: at most 2, the room that there is"):
        drawn(stream, 20)
    with pytest.raises(ValueError, match="size = None"):
        Stream(small, size=None).prepare()


def test_sizes_are_those_of_the_largest() -> None:
    chain = qnum_gym.scenario("chain", nodes=9, sessions=1)
    assert Stream([chain, small]).sizes == Sizes(2, 8, 9, 8)
    for name in families.names():
        for index in range(2 if name == "waxman-large" else 3):
            families.family(name).sizes.check(families.family(name)._draw(np.random.default_rng(index), index))


def test_pickles_go_on_the_same() -> None:
    stream = Stream([small, qnum_gym.scenario("chain")], size=4)
    stream.set_weights({"small": 5.0})
    again = pickle.loads(pickle.dumps(stream))
    assert again.weights == stream.weights
    assert drawn(again, 10) == drawn(stream, 10)


# --- what is kept -----------------------------------------------------------------------------------------------------


def refuse(*arguments: Any, **keywords: Any) -> Any:
    raise AssertionError("computed again")


def numbers(scenario: Scenario) -> list[list[Any]]:
    scales = [yardstick(scenario, time) for time in scenario.change_times()]
    return [[getattr(scale, name) for name in type(scale).__slots__] for scale in scales]


def test_what_was_solved_before_is_read(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = Stream("dumbbell-dynamic", size=2)
    first.prepare()
    expected = {scenario.name: numbers(scenario) for scenario in (first.sample("dumbbell-dynamic", i) for i in (0, 1))}
    assert len(list(cache.iterdir())) == 4
    forget()
    monkeypatch.setattr(module.families, "sample", refuse)
    monkeypatch.setattr(module, "yardstick", refuse)
    second = Stream("dumbbell-dynamic", size=2)
    for scenario, _ in drawn(second, 6):
        assert known(scenario)
        for mine, other in zip(numbers(scenario), expected[scenario.name], strict=True):
            for one, two in zip(mine, other, strict=True):
                np.testing.assert_array_equal(one, two)
                assert np.asarray(one).dtype == np.asarray(two).dtype


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"scenario": 3}', '{"yardsticks": [], "warnings": []}', '{"yardsticks": [{}]}']
)
def test_a_damaged_file_counts_as_none(cache: Path, damage: str) -> None:
    stream = Stream(small, size=1)
    scenario = drawn(stream, 1)[0][0]
    expected = numbers(scenario)
    for file in cache.iterdir():
        file.write_text(damage)
    forget()
    assert not NetworkCache().refer(scenario)
    np.testing.assert_equal(numbers(scenario), expected)
    assert all(json.loads(file.read_text()) for file in cache.iterdir())


def test_a_file_of_another_network_or_version_counts_as_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    networks = NetworkCache()
    networks.draw("tree", 0)
    (file,) = cache.iterdir()
    other = json.loads(file.read_text())
    other["scenario"]["coherence_time"] += 1.0
    file.write_text(json.dumps(other))
    assert networks.draw("tree", 0) == families.sample("tree", 0)
    monkeypatch.setattr(module, "code", lambda: "another")
    networks.draw("tree", 0)
    assert len(list(cache.iterdir())) == 2


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QNUM_GYM_CACHE", str(tmp_path / "file"))
    assert drawn(Stream(small, size=1), 1)[0][0] == Stream(small, size=1).sample("small", 0)


def test_a_warning_is_said_again() -> None:
    chain = qnum_gym.scenario("chain", sessions=1)
    hopeless = chain.replace(sessions=[*chain.sessions, Session(source=0, destination=4, min_fidelity=0.9999)])
    for _ in range(2):
        with pytest.warns(ScoreWarning, match="hopeless even alone"):
            NetworkCache().refer(hopeless)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            NetworkCache().refer(hopeless)  # known
        forget()


def test_all_code_counts_that_numbers_depend_on() -> None:
    graph = nx.DiGraph((one, other) for place, one, other in test_imports.EDGES if place != "types")
    needed = {"families"} | nx.descendants(graph, "families") | nx.descendants(graph, "optimum.yardstick")
    assert {test_imports.room(name) for name in needed} <= {name.removesuffix(".py") for name in module.CODE}
    assert all((Path(qnum_gym.__file__).parent / name).exists() for name in module.CODE)


def test_the_example_in_the_docs_runs() -> None:
    page = (Path(__file__).parent.parent / "docs/streams.md").read_text(encoding="utf-8")
    example = page.split("```python\n")[1].split("```")[0]
    short = example.replace("size=20", "size=1").replace("n_steps=64", "n_steps=16").replace("learn(1000", "learn(64")
    assert short != example
    names: dict[str, Any] = {}
    exec(short, names)
    assert names["stream"].weights == {"dumbbell": 1.0, "tree": 0.064}
    assert names["envs"].envs.unwrapped.stream is not names["stream"]  # with an episode length of its own

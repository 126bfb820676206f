"""An episode on record: the files agree with the telemetry, with each other, and their distributions with theory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import qnum_gym
from qnum_gym.agents.static import Oracle
from qnum_gym.evaluation import distributions, episode_files
from qnum_gym.evaluation.distributions import histogram, sample, share
from qnum_gym.evaluation.episode_files import EpisodeFiles
from qnum_gym.evaluation.trace import trace
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator

pd: Any = pandas


def test_the_files_hold_what_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(episode_files, "WAITING", 100)  # several pieces
    monkeypatch.setattr(episode_files, "LAST", 200)
    s = qnum_gym.scenario("dumbbell", episode_length=25)
    with EpisodeFiles(tmp_path, s) as files:
        seen = trace(s, Oracle(), 3, files)
        assert not (tmp_path / "pairs.csv").exists()  # not before it is whole
    pairs = pd.read_parquet(tmp_path / "pairs.parquet")
    assert (pairs.groupby("session").size() == seen.injected).all()
    assert (pairs[pairs["fate"] == "delivered"].groupby("session").size() == seen.delivered).all()
    assert (pairs[pairs["fate"] == "in_flight"].groupby("session").size() == seen.in_flight).all()
    assert not pairs.duplicated(["session", "sequence"]).any()
    assert 200 <= len(files.last) < len(pairs)

    simulator = Simulator(s, 3)
    plain = trace(s, Oracle(), 3)  # not recorded: the same
    np.testing.assert_array_equal(plain.queue, seen.queue)
    assert simulator.recording is False
    sessions, links = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("sessions", "links"))
    assert (sessions.groupby("session")["delivered"].sum() == seen.delivered).all()
    np.testing.assert_array_equal(links["mean_queue"].to_numpy().reshape(25, -1), seen.queue)
    for name, frame in (("pairs", pairs), ("sessions", sessions), ("links", links)):
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{name}.csv"), frame, check_dtype=False)
    assert Scenario.from_yaml(tmp_path / "scenario.yaml") == s


def test_an_episode_that_fails_leaves_no_tables(tmp_path: Path) -> None:
    s = qnum_gym.scenario("chain", episode_length=3)

    def interrupted() -> None:
        with EpisodeFiles(tmp_path, s) as files:
            trace(s, Oracle(), 3, files)
            files._write()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["scenario.yaml"]


def table(acked: list[float], werner: float = 0.9) -> Any:
    n = len(acked)
    columns = {"fate": ["delivered"] * n, "injected": np.zeros(n), "delivered": acked, "acked": acked}
    return pd.DataFrame({**columns, "werner": [werner] * n})


def test_age_grows_from_zero_to_each_time_between_deliveries() -> None:
    """After 1, 2, and 6 s: ages up to 1 s for 2 of 5 s, up to 4 s for all of them; 2 s is reached by 3 s of 5."""
    gaps = sample(table([1.0, 2.0, 6.0]), "age")
    np.testing.assert_array_equal(gaps, [1.0, 4.0])
    np.testing.assert_allclose(share(gaps, [0.0, 0.5, 1.0, 2.0, 4.0, 9.0], "age"), [0.0, 0.2, 0.4, 0.6, 1.0, 1.0])
    _, density = histogram(gaps, "age", bins=4)
    np.testing.assert_allclose(density, [0.4, 0.2, 0.2, 0.2])


def test_shares_of_pairs() -> None:
    waited = sample(table([3.0, 1.0, 2.0, 2.0]), "latency")
    np.testing.assert_array_equal(share(waited, [0.9, 1.0, 2.0, 3.0], "latency"), [0.0, 0.25, 0.75, 1.0])
    edges, density = histogram(waited, "latency", bins=7)
    assert (density * np.diff(edges)).sum() == pytest.approx(1.0)
    np.testing.assert_allclose(sample(table([1.0, 2.0]), "fidelity"), (3 * 0.9 + 1) / 4)
    with pytest.raises(ValueError, match="of = 'speed'; valid: latency, fidelity, age"):
        sample(table([1.0]), "speed")


def test_poisson_deliveries_have_an_exponential_age() -> None:
    """A link that is always fast enough passes on what a Poisson source sends: P(age > t) = exp(-R t)."""
    s = Scenario(
        links=[{"a": 0, "b": 1, "capacity": 1e6, "length_km": 0.0}],
        sessions=[{"source": 0, "destination": 1}],
        cycle_time=1e-7,
        initial_rate=50.0,
    )
    simulator = Simulator(s, recording=True)
    simulator.advance(400.0)
    gaps = sample(simulator.pairs(), "age")
    t = np.array([0.005, 0.02, 0.05])
    np.testing.assert_allclose(share(gaps, t, "age"), 1 - np.exp(-50.0 * t), atol=0.02)


def test_a_picture_of_few_and_of_many_sessions(tmp_path: Path) -> None:
    for name in ("chain", "nsfnet"):
        simulator = Simulator(qnum_gym.scenario(name), recording=True)
        simulator.advance(20.0)
        path = tmp_path / f"{name}.svg"
        distributions.draw_distributions(simulator.pairs(), simulator.scenario, path, name)
        assert path.stat().st_size > 10_000

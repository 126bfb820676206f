"""Rate caps over time, from numbers, names and files; demand matrices."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import Scenario, Simulator
from qnum_gym.config import ScenarioError
from qnum_gym.scenarios import Session

ROOT = Path(__file__).parent.parent


def capped(rate_cap: Any) -> Session:
    return Session(source="s0", destination="d0", rate_cap=rate_cap)


def total(session: Session, seconds: float) -> float:
    """∫ of the cap."""
    steps = [*session.rate_cap, (seconds, 0.0)]
    return sum(rate * (after[0] - time) for (time, rate), after in pairwise(steps))


def test_a_day_is_a_sine() -> None:
    day = capped({"profile": "daily", "low": 2, "high": 10, "period": 120, "seconds": 240, "steps": 24})
    times, rates = np.array(day.rate_cap).T
    np.testing.assert_allclose(times, np.arange(48) * 5.0)
    np.testing.assert_allclose(rates[:24], rates[24:])
    exact = 6.0 - 4.0 * np.cos(2.0 * np.pi * (times + 2.5) / 120.0)
    np.testing.assert_allclose(rates, exact, atol=0.02)
    assert total(day, 240.0) == pytest.approx(240.0 * 6.0)
    quarter = 6.0 * 30.0 - 4.0 * 120.0 / (2.0 * np.pi)  # ∫ over a quarter of the day
    assert total(Session(source="s0", destination="d0", rate_cap=day.rate_cap[:6]), 30.0) == pytest.approx(quarter)
    later = capped({"profile": "daily", "low": 2, "high": 10, "period": 120, "seconds": 240, "steps": 24, "phase": 0.5})
    np.testing.assert_allclose(np.array(later.rate_cap)[:12, 1], rates[12:24])


def test_a_flash_crowd_rises_stays_and_falls() -> None:
    crowd = capped({"profile": "flash_crowd", "base": 2, "peak": 10, "at": 60, "rise": 8, "hold": 30, "fall": 40})
    assert total(crowd, 200.0) == pytest.approx(2.0 * 200.0 + 8.0 * (30.0 + 0.5 * (8.0 + 40.0)))
    assert crowd.rate_cap[:2] == ((0.0, 2.0), (60.0, 3.0))
    assert max(crowd.rate_cap, key=lambda step: step[1]) == (68.0, 10.0)
    assert crowd.rate_cap[-1] == (138.0, 2.0)
    at_once = capped({"profile": "flash_crowd", "base": 2, "peak": 10, "at": 0, "hold": 30})
    assert at_once.rate_cap == ((0.0, 10.0), (30.0, 2.0))


def test_from_a_file_and_into_the_simulator(tmp_path: Path) -> None:
    file = tmp_path / "load.csv"
    file.write_text("time,alice,bob\n0,5,1\n20,30,2\n40,5,3\n")
    assert capped(str(file)).rate_cap == ((0.0, 5.0), (20.0, 30.0), (40.0, 5.0))
    assert capped(f"{file}:bob").rate_cap == ((0.0, 1.0), (20.0, 2.0), (40.0, 3.0))
    s = qnum_gym.scenario("dumbbell")
    s = s.replace(sessions=[capped(str(file)), *s.sessions[1:]])
    assert s.change_times() == (0.0, 20.0, 40.0)
    assert [s.arrays(time).rate_cap[0] for time in (0.0, 19.9, 20.0, 50.0)] == [5.0, 5.0, 30.0, 5.0]
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[100.0, 1.0, 1.0])
    counts = [int(simulator.advance(20.0).sessions.injected[0]) for _ in range(3)]
    assert all(abs(count - mean) < 4 * mean**0.5 for count, mean in zip(counts, (100, 600, 100), strict=True))
    assert Scenario.model_validate(s.model_dump(mode="json")) == s
    path = tmp_path / "s.yaml"
    path.write_text((s.to_yaml()).replace("[[0.0, 5.0], [20.0, 30.0], [40.0, 5.0]]", f"{file}:alice"))
    assert Scenario.from_yaml(path) == s


@pytest.mark.parametrize(
    ("rate_cap", "message"),
    [
        ({"profile": "dayly"}, "profile = 'dayly': did you mean 'daily'"),
        ({"low": 1}, "profile = 'None': valid: daily, flash_crowd"),
        ({"profile": "daily", "low": 1}, "profile daily: high: valid: low, high, period, .*; needed: low, high"),
        ({"profile": "flash_crowd", "base": 1, "peak": "x", "at": 2}, "peak = 'x': valid: a number from 0 to 1e9"),
        ({"profile": "daily", "low": 1, "high": 2, "period": 0, "seconds": 9}, "period = 0: valid: above 0"),
        ({"profile": "daily", "low": 1, "high": 2, "period": 1e-3, "seconds": 1e5}, "valid: at most 10000 pieces"),
        ("nothing.csv", "nothing.csv: No such file"),
        ([[3, 1], [2, 2]], "must be .time, rate. each, in order of time"),
        ([[0, 0.001]], "must be above 0.01, the lowest rate of sessions"),
    ],
)
def test_what_cannot_be(rate_cap: Any, message: str) -> None:
    s = qnum_gym.scenario("dumbbell")
    with pytest.raises(ScenarioError, match=rf"sessions\[0\].rate_cap.*{message}"):
        s.replace(sessions=[{"source": "s0", "destination": "d0", "rate_cap": rate_cap}])


def test_a_demand_matrix(tmp_path: Path) -> None:
    file = tmp_path / "demand.csv"
    file.write_text("source,Leiden,Delft,Gouda\nDelft,3,,0\nGouda,1.5,2,\n")
    s = Scenario.from_file("randstad.json", sessions=str(file))
    found = [(x.source, x.destination, x.rate_cap) for x in s.sessions]
    assert found == [
        ("Delft", "Leiden", ((0.0, 3.0),)),
        ("Gouda", "Leiden", ((0.0, 1.5),)),
        ("Gouda", "Delft", ((0.0, 2.0),)),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,Leyden\nDelft,3\n", "column 'Leyden': did you mean 'Leiden'"),
        ("from,Leiden\nDelft,3\n", "column 'from': valid: a row for each session"),
        ("source,Leiden\nDelf,3\n", "row 2: unknown node 'Delf'; did you mean 'Delft'"),
        ("source,Leiden\nDelft,-3\n", "row 2, Leiden: -3; valid: a rate in 1/s, 0 or nothing"),
        ("source,Leiden\nDelft,many\n", "row 2, Leiden: 'many'; valid: a rate"),
        ("source,Delft\nDelft,1\n", "must be another node than the source"),
    ],
)
def test_matrices_that_cannot_be(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "demand.csv"
    file.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        Scenario.from_file("randstad.json", sessions=str(file))

"""Time since a session's last delivery: its integral, from the times of all ACKs."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from qnum_gym import Simulator, scenario
from qnum_gym.scenarios import Session


@pytest.mark.parametrize("swapping", ["sequential", "parallel"])
def test_age_from_the_times_of_all_deliveries(swapping: str) -> None:
    """Also of sessions that begin late and end early, over advances of any length."""
    spans: list[dict[str, Any]] = [{}, {"start": 2.3, "stop": 7.1}, {"stop": 4.0}]
    sessions = [Session(source=f"s{r}", destination=f"d{r}", **span) for r, span in enumerate(spans)]
    s = scenario("dumbbell", sessions=sessions, swapping=swapping, swap_success=0.8)
    simulator = Simulator(s, 3, recording=True)
    simulator.set_controls(rates=[5.0, 3.0, 0.01])
    begin, seen = 0.0, list[Any]()
    for seconds in (1.0, 0.5, 2.0, 0.01, 5.0):
        telemetry = simulator.advance(seconds)
        seen.append((begin, begin + seconds, telemetry.sessions.sum_age, telemetry.sessions.age))
        begin += seconds
    records = simulator.take_records()
    acked = records[records["acked"] < 2**59]
    assert (np.bincount(acked["session"], minlength=3)[:2] > 5).all()
    for r, span in enumerate(spans):
        on, off = span.get("start", 0.0), span.get("stop", np.inf)
        times = np.sort(acked["acked"][acked["session"] == r]) / 1e9
        times = np.concatenate([[on], times[(times > on) & (times < off)]])
        for low, high, integral, age in seen:
            corners = np.unique(np.clip([low, high, *times], max(low, on), max(min(high, off), low, on)))
            expected = 0.0
            for a, b in pairwise(corners):
                last = times[times <= a].max()
                expected += ((b - last) ** 2 - (a - last) ** 2) / 2.0
            assert integral[r] == pytest.approx(expected, rel=1e-9, abs=1e-12)
            if on <= high < off:
                assert age[r] == pytest.approx(high - times[times < high].max(), abs=1e-9)
            else:
                assert np.isnan(age[r])


def test_age_of_poisson_deliveries() -> None:
    """1/R where pairs are made as soon as they are asked for."""
    s = scenario("chain", nodes=2, length_km=0.1, cycle_time=1e-6)
    simulator = Simulator(s, 1)
    simulator.set_controls(rates=[4.0])
    age = simulator.advance(5000.0).sessions.sum_age[0] / 5000.0
    assert age == pytest.approx(0.25, rel=0.05)

"""Sessions that are on more than once, and those that come and go at random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qnum_gym import Scenario, Simulator, scenario
from qnum_gym.config import ScenarioError
from qnum_gym.scenarios import Session, poisson_sessions


def with_periods(*periods: tuple[float, float], **fields: Any) -> Scenario:
    sessions = [
        Session(source="s0", destination="d0", periods=periods, **fields),
        Session(source="s1", destination="d1"),
    ]
    return scenario("dumbbell", sessions=sessions)


def test_a_session_is_on_in_its_periods_alone() -> None:
    s = with_periods((1.0, 2.0), (4.0, 5.5), (5.5, 6.0))
    assert s.change_times() == (0.0, 1.0, 2.0, 4.0, 5.5, 6.0)
    on = [bool(s.arrays(time).active[0]) for time in (0.0, 1.0, 1.99, 2.0, 4.0, 5.5, 5.9, 6.0)]
    assert on == [False, True, True, False, True, True, True, False]
    simulator = Simulator(s, 0)
    simulator.set_controls(rates=[50.0, 50.0])
    injected = [int(simulator.advance(0.5).sessions.injected[0]) for _ in range(14)]
    assert [count > 0 for count in injected] == [k in (2, 3, 8, 9, 10, 11) for k in range(14)]
    assert Scenario.model_validate(s.model_dump(mode="json")) == s


@pytest.mark.parametrize(
    ("periods", "fields", "message"),
    [
        (((2.0, 1.0),), {}, "must be \\[start, stop\\] each"),
        (((3.0, 4.0), (1.0, 2.0)), {}, "one after the other"),
        (((1.0, 3.0), (2.0, 4.0)), {}, "one after the other"),
        (((1.0, 2.0),), {"start": 1.0}, "must not stand beside start or stop"),
    ],
)
def test_periods_that_cannot_be(
    periods: tuple[tuple[float, float], ...], fields: dict[str, float], message: str
) -> None:
    with pytest.raises(ScenarioError, match=rf"sessions\[0\].periods .*{message}"):
        with_periods(*periods, **fields)


def test_share_of_the_time_that_requests_are_under_way() -> None:
    """That of an M/G/infinity queue with at least one customer, 1 - exp(-load)."""
    sessions = poisson_sessions(
        [("a", "b"), ("b", "c")], rate=0.2, mean_duration=5.0, seconds=100_000.0, seed=1, weight=2.0
    )
    for session in sessions:
        assert session.weight == 2.0
        times = np.array(session.periods)
        assert (np.diff(times.ravel()) > 0.0).all()
        assert (times[:, 1] - times[:, 0]).sum() / 100_000.0 == pytest.approx(1.0 - np.exp(-0.5), rel=0.05)
    again = poisson_sessions([("a", "b"), ("b", "c")], 0.2, 5.0, 100_000.0, 1, weight=2.0)
    assert again == sessions
    assert poisson_sessions([("a", "b"), ("b", "c")], 1e-9, 5.0, 10.0, 1)[0].start == 10.0
    with pytest.raises(ValueError, match=r"rate = -1.0; valid: positive and finite"):
        poisson_sessions([("a", "b")], -1.0, 1.0, 1.0, 0)

"""A source whose floor or demand is out of reach gives it up, and the others get what they got without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.agents.giving_up import PATIENCE, REST, SHORTEST, GivingUp
from qnum_gym.optimum import Problem
from qnum_gym.scenarios import Session

NO, YES = np.array([False]), np.array([True])
CHEAP, COSTLY = np.array([99.0]), np.array([101.0])


def intervals_of_rest(giving_up: GivingUp, good: np.ndarray) -> int:
    count = 0
    while giving_up.resting[0]:
        giving_up.update(CHEAP, good)
        count += 1
    return count


def test_it_gives_up_after_twenty_costly_intervals_in_a_row_and_rests_twice_as_long_each_time() -> None:
    giving_up = GivingUp(1, 100.0)
    for cost in [COSTLY] * 19 + [CHEAP] + [COSTLY] * 19:
        giving_up.update(cost, NO)
    giving_up.update(CHEAP, NO)
    for times in range(3):
        for _ in range(int(PATIENCE)):
            assert not giving_up.resting[0]
            giving_up.update(COSTLY, NO)
        assert intervals_of_rest(giving_up, NO) == REST * 2**times
    giving_up.forget(YES)
    for _ in range(int(PATIENCE)):
        giving_up.update(COSTLY, NO)
    assert intervals_of_rest(giving_up, YES) == REST * SHORTEST  # its pairs are good again


@pytest.mark.parametrize(
    ("name", "wish"),
    [
        ("qprimaldual-da", {"min_fidelity": 0.9995}),
        ("qprimaldual-da", {"min_rate": 500.0}),
        ("qprimaldual-approx", {"min_fidelity": 0.9996}),
    ],
)
def test_a_hopeless_session_costs_the_others_nothing(name: str, wish: dict[str, Any]) -> None:
    """Measured on SURFnet over 5 seeds and 400 intervals: 0.992 to 1.009 (docs/policies.md)."""
    base = qnum_gym.scenario("dumbbell", episode_length=240)
    one_more = Session(source="s0", destination="right", **wish)
    scenario = base.replace(sessions=[*base.sessions, one_more])
    assert Problem.from_scenario(scenario).hopeless.tolist() == [False, False, False, True]
    policy = {name: agents.make(name)}
    with pytest.warns(qnum_gym.optimum.ScoreWarning, match="hopeless"):
        burdened = evaluation.evaluate(scenario, policy, seeds=range(3))
    free = evaluation.evaluate(base, policy, seeds=range(3))
    assert burdened.score[0].mean() > 0.97 * free.score[0].mean()

"""What is refused is refused in one line and leaves everything as it was, random streams included."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.parallel import AllocationParallelEnv
from qnum_gym.simulator import Controls

SIZE = 10
NOT_REAL = {
    "masked": np.ma.masked_array(np.zeros(SIZE), mask=np.arange(SIZE) == 3),
    "complex": np.zeros(SIZE, complex),
    "strings": np.full(SIZE, "0.5"),
    "bytes": np.full(SIZE, b"0.5"),
    "dates": np.zeros(SIZE, "datetime64[s]"),
    "spans": np.zeros(SIZE, "timedelta64[s]"),
    "objects": np.full(SIZE, 0.5, object),
    "booleans": np.ones(SIZE, bool),
    "records": np.zeros(SIZE, [("a", float)]),
    "ragged": [[0.0], *[0.0] * (SIZE - 1)],
    "none": None,
}


def stack(value: Any) -> Any:
    if isinstance(value, np.ma.MaskedArray):
        return [value, value]  # which NumPy would take for a plain array
    return np.stack([value, value]) if isinstance(value, np.ndarray) else [value, value]


def state(env: Any) -> str:
    """All of it, as text: the arrays whole."""
    with np.printoptions(threshold=10**9, precision=17):
        return repr(env.get_state())


def part(value: Any, n: int) -> Any:
    return value if value is None else value[:n]


@pytest.mark.parametrize("kind", NOT_REAL)
def test_actions_that_are_no_real_numbers(kind: str) -> None:
    value = NOT_REAL[kind]
    scalar, vector = AllocationEnv("dumbbell"), AllocationVectorEnv(2, "dumbbell", threads=1)
    parallel = AllocationParallelEnv("dumbbell")
    for env in (scalar, vector, parallel):
        env.reset(seed=1)
    before = [state(env) for env in (scalar, vector, parallel)]
    refusal = pytest.raises(ValueError, match=r"valid: \(?real numbers of shape|has shape .*; valid: ")
    with refusal:
        scalar.step(value)
    with refusal:
        vector.step(stack(value))
    actions = {agent: np.zeros(2, np.float32) for agent in parallel.agents}
    with refusal:
        parallel.step({**actions, "link_0": part(value, 2)})
    controls = scalar.controls
    for given in (Controls(part(value, 3), controls.werner), Controls(controls.rates, part(value, 7))):
        if value is None:
            break
        with refusal:
            scalar.step_controls(given)
        with refusal:
            vector.step_controls(Controls(stack(given.rates), stack(given.werner)))
    signals: Any = part(value, 3) if value is not None else [[]]
    with refusal:
        scalar.step_controls(Controls(controls.rates, controls.werner, signals))
    assert [state(env) for env in (scalar, vector, parallel)] == before


def test_integers_and_lists_are_numbers() -> None:
    one, other = AllocationEnv("dumbbell"), AllocationEnv("dumbbell")
    one.reset(seed=0)
    other.reset(seed=0)
    np.testing.assert_array_equal(one.step([0] * SIZE)[0], other.step(np.zeros(SIZE, np.int8))[0])


@pytest.mark.parametrize(
    "keywords",
    [
        {"seed": 3, "options": {"scenari": "dumbbell"}},
        {"seed": 3, "options": {"scenario": "nsfnet"}},
        {"seed": 3, "options": {"scenario": "nsfnte"}},
        {"seed": 3, "options": {"scenario": 7}},
        {"seed": 3, "options": ["scenario"]},
        {"seed": -3},
        {"seed": 1.5},
        {"seed": "1"},
        {"seed": -3, "options": {"scenario": qnum_gym.scenario("dumbbell", coherence_time=3.0)}},
    ],
)
@pytest.mark.parametrize("make", [AllocationEnv, AllocationParallelEnv])
def test_a_refused_reset_changes_nothing(make: Any, keywords: dict[str, Any]) -> None:
    env, untouched = make("dumbbell"), make("dumbbell")
    for each in (env, untouched):
        each.reset(seed=1)
    before = state(env)
    with pytest.raises((ValueError, gym.error.Error)):
        env.reset(**keywords)
    assert state(env) == before == state(untouched)
    np.testing.assert_equal(env.reset(), untouched.reset())  # the next episode of the same sequence

"""Actions and the controls they stand for: monotone, within the ranges, and there and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import qnum_gym
from qnum_gym.envs import ActionMap
from qnum_gym.scenarios import Link, Scenario, Session
from qnum_gym.simulator import Controls, Simulator

SCENARIO = Scenario(
    links=[
        Link(a="a", b="b", length_km=10, werner_range=(0.6, 0.9999), initial_werner=0.9),
        Link(a="b", b="c", length_km=20),
    ],
    sessions=[
        Session(source="a", destination="c", rate_range=(1e-6, 3.0), initial_rate=0.5),
        Session(source="b", destination="c"),
    ],
)
RATES = np.array([[1e-6, 0.01], [3.0, 1000.0]])
WERNER = np.array([[0.6, 0.5], [0.9999, 0.999]])
START = Controls(np.array([0.5, 1.0]), np.array([0.9, 0.967]))

positions = arrays(np.float64, 4, elements=st.floats(-1.0, 1.0))


def test_levels_span_the_ranges() -> None:
    levels = ActionMap(SCENARIO, "level")
    for end, position in enumerate((-1.0, 1.0)):
        controls = levels.decode(np.full(4, position, np.float32), START)
        np.testing.assert_allclose(controls.rates, RATES[end], rtol=1e-12)
        np.testing.assert_allclose(1.0 - controls.werner, 1.0 - WERNER[end], rtol=1e-12)
    middle = levels.decode(np.zeros(4), START)
    np.testing.assert_allclose(middle.rates, np.sqrt(RATES.prod(axis=0)), rtol=1e-12)
    np.testing.assert_allclose(1.0 - middle.werner, np.sqrt((1.0 - WERNER).prod(axis=0)), rtol=1e-12)


@given(positions)
def test_levels_have_an_inverse(action: np.ndarray) -> None:
    levels = ActionMap(SCENARIO, "level")
    np.testing.assert_allclose(levels.encode(levels.decode(action, START), START), action, atol=1e-6)


@pytest.mark.parametrize("kind", ["step", "level"])
def test_more_is_more(kind: str) -> None:
    actions = ActionMap(SCENARIO, kind)
    decoded = [actions.decode(np.full(4, x), START) for x in np.linspace(-1.0, 1.0, 21)]
    assert (np.diff([c.rates for c in decoded], axis=0) > 0).all()
    assert (np.diff([c.werner for c in decoded], axis=0) > 0).all()


def test_a_step_is_bounded_and_relative() -> None:
    steps = ActionMap(SCENARIO, "step", rate_step=0.3, werner_step=0.2)
    same = steps.decode(np.zeros(4), START)
    np.testing.assert_allclose(same.rates, START.rates, rtol=1e-14)
    np.testing.assert_allclose(same.werner, START.werner, rtol=1e-14)
    up = steps.decode(np.ones(4), START)
    np.testing.assert_allclose(up.rates, START.rates * np.exp(0.3), rtol=1e-12)
    np.testing.assert_allclose(1.0 - up.werner, (1.0 - START.werner) * np.exp(-0.2), rtol=1e-12)
    np.testing.assert_allclose(steps.encode(up, START), 1.0, atol=1e-6)
    far = Controls(np.array([3.0, 0.01]), np.array([0.9999, 0.5]))
    np.testing.assert_array_equal(steps.encode(far, START), [1.0, -1.0, 1.0, -1.0])


@given(st.lists(positions, min_size=1, max_size=8), st.sampled_from(["step", "level"]))
def test_every_action_is_within_the_ranges(episode: list[np.ndarray], kind: str) -> None:
    actions = ActionMap(SCENARIO, kind, rate_step=20.0, werner_step=9.0)
    simulator = Simulator(SCENARIO)
    for action in episode:
        controls = actions.decode(np.sign(action) if kind == "step" else action, simulator.controls)
        assert ((controls.rates >= RATES[0]) & (controls.rates <= RATES[1])).all()
        assert ((controls.werner >= WERNER[0]) & (controls.werner <= WERNER[1])).all()
        simulator.set_controls(controls.rates, controls.werner)  # refuses anything outside


@given(positions, st.sampled_from(["step", "level"]))
def test_compiled_decoding_is_the_closed_form(action: np.ndarray, kind: str) -> None:
    controls = ActionMap(SCENARIO, kind, rate_step=0.3, werner_step=0.2).decode(action, START)
    if kind == "level":
        rates = RATES[0] ** (0.5 - action[:2] / 2) * RATES[1] ** (0.5 + action[:2] / 2)  # geometric interpolation
        losses = (1.0 - WERNER[0]) ** (0.5 - action[2:] / 2) * (1.0 - WERNER[1]) ** (0.5 + action[2:] / 2)
    else:
        rates = np.clip(START.rates * np.exp(0.3 * action[:2]), *RATES)
        losses = np.clip((1.0 - START.werner) * np.exp(-0.2 * action[2:]), *(1.0 - WERNER[::-1]))
    np.testing.assert_allclose(controls.rates, rates, rtol=1e-12)
    np.testing.assert_allclose(controls.werner, 1.0 - losses, rtol=1e-12)


@pytest.mark.parametrize("kind", ["step", "level"])
def test_many_are_each_alone(kind: str) -> None:
    scenarios = [SCENARIO, SCENARIO.replace(rate_range=(0.1, 90.0)), SCENARIO.replace(werner_range=(0.7, 0.99))]
    together = ActionMap(scenarios, kind, signals=True)
    last = Controls(np.array([[0.5, 1.0], [2.0, 3.0], [0.2, 4.0]]), np.array([[0.9, 0.967], [0.95, 0.6], [0.8, 0.9]]))
    actions = np.random.default_rng(0).uniform(-1, 1, (3, 8)).astype(np.float32)
    controls = together.decode(actions, last)
    for i, scenario in enumerate(scenarios):
        alone = ActionMap(scenario, kind, signals=True).decode(actions[i], Controls(last.rates[i], last.werner[i]))
        for name in ("rates", "werner", "session_signals", "link_signals"):
            np.testing.assert_array_equal(getattr(controls, name)[i], getattr(alone, name))
    if kind == "level":
        np.testing.assert_allclose(together.encode(controls, last), actions, atol=1e-6)


@pytest.mark.parametrize("kind", ["step", "level"])
def test_networks_of_different_sizes_are_each_alone(kind: str) -> None:
    names = ["dumbbell", "nsfnet", "chain"]
    together = ActionMap([qnum_gym.scenario(name) for name in names], kind, signals=True)
    rng, n, m = np.random.default_rng(0), together.coordinates.sessions, together.coordinates.links
    sizes = {name: (len(qnum_gym.scenario(name).sessions), len(qnum_gym.scenario(name).links)) for name in names}
    for names[2] in ("chain", "nsfnet"):  # the second time another network took the chain's place
        together.replace(2, qnum_gym.scenario(names[2]))
        own = np.array([[*(np.arange(n) < sizes[name][0]), *(np.arange(m) < sizes[name][1])] for name in names])
        last = Controls(np.where(own[:, :n], 3.0, 0.0), np.where(own[:, n:], 0.95, 0.0))
        actions = np.where(np.tile(own, 2), rng.uniform(-1, 1, (3, together.size)), np.nan)  # nothing there, no refusal
        controls = together.decode(actions, last)
        assert not controls.rates[~own[:, :n]].any()
        assert not controls.werner[~own[:, n:]].any()
        for i, name in enumerate(names):
            r, l = (np.flatnonzero(x) for x in (own[i, :n], own[i, n:]))
            alone = ActionMap(qnum_gym.scenario(name), kind, signals=True)
            action = actions[i, ~np.isnan(actions[i])]
            expected = alone.decode(action, Controls(last.rates[i, r], last.werner[i, l]))
            for field, rows in (("rates", r), ("werner", l), ("session_signals", r), ("link_signals", l)):
                np.testing.assert_array_equal(getattr(controls, field)[i, rows], getattr(expected, field))
        given: Any = controls.session_signals, controls.link_signals
        signals = map(np.nan_to_num, given)
        again = together.encode(Controls(controls.rates, controls.werner, *signals), last)
        np.testing.assert_allclose(again, np.nan_to_num(actions), atol=1e-6)
        np.testing.assert_array_equal(together.mask(own[:, :n], own[:, n:]), np.tile(own, 2))
    actions[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"action\[1, 0\] = nan; valid: -1 to 1"):
        together.decode(actions, last)


def test_signals_follow_the_controls() -> None:
    actions = ActionMap(SCENARIO, "level", signals=True)
    assert actions.space().shape == (8,)
    action = np.linspace(-1.0, 1.0, 8)
    controls = actions.decode(action, START)
    np.testing.assert_array_equal(controls.session_signals, action[4:6])
    np.testing.assert_array_equal(controls.link_signals, action[6:])
    np.testing.assert_allclose(actions.encode(controls, START), action, atol=1e-6)
    silent = Controls(controls.rates, controls.werner)
    np.testing.assert_array_equal(actions.encode(silent, START)[4:], 0.0)
    assert ActionMap(SCENARIO, "level").decode(action[:4], START).link_signals is None
    prices = Controls(controls.rates, controls.werner, controls.session_signals, np.array([0.5, 3.0]))
    with pytest.raises(ValueError, match="link_signals up to 3; valid: -1 to 1, or step_controls"):
        actions.encode(prices, START)
    with pytest.raises(ValueError, match="controls have session_signals, an action has none"):
        ActionMap(SCENARIO, "level").encode(controls, START)


def test_refused_actions() -> None:
    actions = ActionMap(qnum_gym.scenario("dumbbell"))
    last = Simulator(qnum_gym.scenario("dumbbell")).controls
    with pytest.raises(ValueError, match=r"shape \(9,\); valid: \(10,\)"):
        actions.decode(np.zeros(9), last)
    with pytest.raises(ValueError, match=r"shape \(1, 10\)"):
        actions.decode(np.zeros((1, 10)), last)
    for bad in (np.nan, np.inf, -1.01):
        action = np.zeros(10)
        action[3] = bad
        with pytest.raises(ValueError, match=rf"action\[3\] = {bad}; valid: -1 to 1"):
            actions.decode(action, last)
    rounded = actions.decode(np.full(10, 1.0 + 1e-7), last)
    np.testing.assert_array_equal(rounded.rates, actions.decode(np.ones(10), last).rates)


def test_refused_kinds_and_steps() -> None:
    with pytest.raises(ValueError, match="action = 'jump': valid: step, level, discrete, single"):
        ActionMap(SCENARIO, "jump")  # type: ignore[arg-type]
    for step in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=r"rate_step = .*; valid: a positive number"):
            ActionMap(SCENARIO, rate_step=step)

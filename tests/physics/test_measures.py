"""Measures against their definitions and complex steps; a fourth one in all that uses measures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.cli.main import main
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.physics import measures
from qnum_gym.physics.measures import MEASURES, Measure
from qnum_gym.scenarios import Scenario, ScenarioError
from qnum_gym.simulator import Reference
from qnum_gym.validation.density import werner_state

PLAIN = ("negativity", "secret_key", "distillable")
GRID = np.linspace(0.785, 0.9995, 60)


def test_measures_are_their_definitions() -> None:
    def entropy(p: np.ndarray) -> np.ndarray:
        return -p * np.log2(p) - (1 - p) * np.log2(1 - p)

    f = (3 * GRID + 1) / 4
    np.testing.assert_allclose(measures.value("secret_key", GRID), 1 - 2 * entropy((1 - GRID) / 2), atol=1e-14)
    np.testing.assert_allclose(
        measures.value("distillable", GRID), 1 + f * np.log2(f) + (1 - f) * np.log2((1 - f) / 3), atol=1e-14
    )
    for w in (0.2, 0.5, 0.9):  # negativity from the partial transpose
        transposed = werner_state(w).reshape(2, 2, 2, 2).transpose(0, 3, 2, 1).reshape(4, 4)
        smallest = float(np.linalg.eigvalsh(transposed)[0])
        assert measures.value("negativity", w) == pytest.approx(-smallest, abs=1e-15)


@pytest.mark.parametrize("measure", PLAIN)
def test_derivatives_by_complex_step(measure: str) -> None:
    """a and da/ds from log f(e^s) and a(e^s) continued to complex s: no cancellation, so exact to rounding."""

    def log_f(s: np.ndarray) -> np.ndarray:
        w = np.exp(s)
        if measure == "negativity":
            return np.log((3 * w - 1) / 4)
        if measure == "secret_key":
            e, i = (1 - w) / 2, (1 + w) / 2
            return np.log(1 + 2 * (e * np.log(e) + i * np.log(i)) / np.log(2))
        o, g = (1 - w) / 4, (1 + 3 * w) / 4
        return np.log(1 + (g * np.log(g) + 3 * o * np.log(o)) / np.log(2))

    s, step = np.log(GRID), 1e-30
    np.testing.assert_allclose(measures.log_value(measure, GRID), log_f(s), rtol=1e-12)
    np.testing.assert_allclose(measures.elasticity(measure, GRID), np.imag(log_f(s + 1j * step)) / step, rtol=1e-12)
    h = 1e-4  # the slope by Richardson's central differences of the closed elasticity
    central = [
        (measures.elasticity(measure, np.exp(s + k * h)) - measures.elasticity(measure, np.exp(s - k * h)))
        / (2 * k * h)
        for k in (1, 2)
    ]
    inner = GRID < 0.998
    np.testing.assert_allclose(
        measures.elasticity_slope(measure, GRID)[inner],
        ((4 * central[0] - central[1]) / 3)[inner],
        rtol=2e-6,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("measure", "zero", "concave"),
    [("negativity", 1 / 3, 1.0), ("secret_key", 0.779944, 0.961784), ("distillable", 0.747614, 0.958635)],
)
def test_zeros_and_concavity_limits(measure: str, zero: float, concave: float) -> None:
    start, end = measures.find(measure).positive_from, measures.find(measure).concave_until
    assert start == pytest.approx(zero, abs=1e-6)
    assert end == pytest.approx(concave, abs=1e-6)
    assert abs(measures.value(measure, start)) < 1e-15
    assert measures.value(measure, start + 1e-12) > 0 > measures.value(measure, start - 1e-12)
    inside = np.linspace(start, end, 400)[1:-1]
    assert (measures.elasticity_slope(measure, inside) < 0).all()
    if end < 1:
        assert measures.elasticity_slope(measure, end + 1e-6) > 0
        assert abs(measures.elasticity_slope(measure, end)) < 1e-10


@pytest.mark.parametrize("measure", PLAIN)
def test_near_the_zero_and_near_one(measure: str) -> None:
    start = measures.find(measure).positive_from
    for distance in (1e-4, 1e-7, 1e-10):  # a single zero: a(W) * (W - W0)/W0 -> 1
        w = start + distance
        assert measures.elasticity(measure, w) * (w - start) / start == pytest.approx(1, abs=5 * distance + 1e-5)
    below = np.array([start - 1e-9, 0.1, -0.2])
    assert (measures.log_value(measure, below) == -np.inf).all()
    assert (measures.elasticity(measure, below) == np.inf).all()
    assert (measures.elasticity_slope(measure, below) == -np.inf).all()
    close = 1 - np.logspace(-16, -3, 30)
    for function in (measures.value, measures.log_value, measures.elasticity, measures.elasticity_slope):
        assert np.isfinite(function(measure, close)).all()
        assert np.isnan(function(measure, np.array([np.nan]))).all()
    assert measures.value(measure, 1.0) == pytest.approx(0.5 if measure == "negativity" else 1.0, abs=1e-15)
    assert measures.log_value(measure, 1.0) == pytest.approx(np.log(measures.value(measure, 1.0)), abs=1e-15)


def test_scalars_arrays_and_mixed_codes() -> None:
    assert isinstance(measures.value("secret_key", 0.9), float)
    assert measures.value("secret_key", np.full((2, 3), 0.9)).shape == (2, 3)
    codes, w = np.array([0, 1, 2, 1]), np.array([0.4, 0.9, 0.95, 0.5])
    for mixed, single in (
        (measures.values, measures.value),
        (measures.log_values, measures.log_value),
        (measures.elasticities, measures.elasticity),
        (measures.elasticity_slopes, measures.elasticity_slope),
    ):
        assert list(mixed(codes, w)) == [single(PLAIN[c], x) for c, x in zip(codes, w, strict=True)]
    with pytest.raises(ValueError, match="magic"):
        measures.value("magic", 0.9)


# --- a fourth measure, by all the ways in -----------------------------------------------------------------------------

SOURCE = """
import numpy as np

def log_negativity(w):
    good = 1 + 3 * w
    return np.log2(good / 2), 3 * w / (good * np.log(2)), -9 * w**2 / (good**2 * np.log(2))
"""


def log_negativity(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log2((1 + 3W)/2)."""
    good = 1 + 3 * w
    return np.log2(good / 2), 3 * w / (good * np.log(2)), -9 * w**2 / (good**2 * np.log(2))


def of_numbers(w: float) -> tuple[float, float, float]:
    """The same of one number, and 0 below its zero."""
    if w < 1 / 3:
        return 0.0, 0.0, 0.0
    return np.log2((1 + 3 * w) / 2), 3 * w / ((1 + 3 * w) * np.log(2)), -9 * w**2 / ((1 + 3 * w) ** 2 * np.log(2))


@pytest.fixture(params=["registered", "of numbers", "file"])
def fourth(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The name of a registered log-negativity."""
    if request.param == "file":
        (tmp_path / "mine.py").write_text(SOURCE)
        name = measures.find(f"{tmp_path / 'mine.py'}:log_negativity").name
    else:
        terms = log_negativity if request.param == "registered" else of_numbers
        name = measures.register("log_negativity", terms, unit="ebit/s").name
    yield name
    MEASURES.remove(name)


def scene(measure: str, **overrides: object) -> Scenario:
    return qnum_gym.scenario("dumbbell", measure=measure, episode_length=4, **overrides)


def rewards_of(measure: str) -> list[np.ndarray]:
    """Rewards of a few steps: scalar, vector and parallel environments under the same actions."""
    s = scene(measure)
    name, parallel = "qnum_gym/Scenario-v0", qnum_gym.parallel_env("Scenario-v0", scenario=s)
    env: Any = gym.make(name, scenario=s)
    vector: Any = gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", scenario=s)
    env.reset(seed=3)
    vector.reset(seed=[3, 4])
    parallel.reset(seed=3)
    rows = []
    for _ in range(3):
        action = np.full(env.action_space.shape, 0.3, np.float32)
        reward = env.step(action)[1]
        actions = {agent: np.full(parallel.action_space(agent).shape, 0.3, np.float32) for agent in parallel.agents}
        own = parallel.step(actions)[1]
        rows.append([reward, vector.step(np.array([action, action]))[1][0], own[parallel.possible_agents[0]]])
    return list(np.array(rows).T)


@pytest.mark.bits
def test_a_fourth_measure_gives_the_same_rewards_everywhere(fourth: str) -> None:
    scalar, vector, parallel = rewards_of(fourth)
    assert np.isfinite(scalar).all()
    np.testing.assert_array_equal(scalar, vector)
    np.testing.assert_array_equal(scalar, parallel)
    assert not np.array_equal(scalar, rewards_of("secret_key")[0])


def test_a_fourth_measure_in_all_that_uses_it(fourth: str, capsys: pytest.CaptureFixture[str]) -> None:
    s = scene(fourth, worth="per_pair")
    w = np.linspace(0.4, 1.0, 13)
    expected = np.log2((1 + 3 * w) / 2)
    codes = np.full(len(w), measures.code(fourth))
    np.testing.assert_allclose(PairValue(codes)(w)[0], expected, rtol=1e-14)
    np.testing.assert_allclose(measures.values(codes, w), expected, rtol=1e-14)
    assert measures.find(fourth).positive_from == pytest.approx(1 / 3, abs=1e-12)
    assert measures.find(fourth).concave_until == 1.0

    best = optimum.solve(s)  # stationary in R: R Σλ = ω; U by hand
    u = np.sum(np.log(best.rates * np.log2((1 + 3 * best.expected_werner) / 2)))
    assert best.utility == pytest.approx(u, rel=1e-9)
    assert best.kkt_residual < 1e-6

    env: Any = gym.make("qnum_gym/Scenario-v0", scenario=s, render_mode="ansi")
    policy = agents.make("qprimaldual-da")
    policy.reset(s)
    env.reset(seed=0)
    simulator, reference = qnum_gym.Simulator(s, 0), Reference(s, 0)
    for _ in range(4):
        seen = simulator.advance(1.0)
        np.testing.assert_array_equal(seen.sessions.sum_worth, reference.advance(1.0).sessions.sum_worth)
        x = policy.act(seen)
        for network in (simulator, reference):
            network.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
        env.step(np.zeros(env.action_space.shape, np.float32))
    assert seen.sessions.sum_worth.sum() > 0
    assert measures.find(fourth).unit in str(env.render())
    if ":" in fourth:
        assert main(["optimum", "dumbbell", "--set", f"measure={fourth}"]) == 0
        assert "geometric mean" in capsys.readouterr().out


def test_a_measure_registered_while_a_simulator_runs_leaves_it_alone() -> None:
    s = scene("secret_key")
    alone, disturbed = qnum_gym.Simulator(s, 1), qnum_gym.Simulator(s, 1)
    expected = [alone.advance(2.0).sessions.sum_worth for _ in range(2)]
    first = disturbed.advance(2.0).sessions.sum_worth
    measures.register("between", log_negativity)
    try:
        qnum_gym.Simulator(scene("between")).advance(1.0)
        np.testing.assert_array_equal([first, disturbed.advance(2.0).sessions.sum_worth], expected)
    finally:
        MEASURES.remove("between")


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda w: (w**2 - 0.25, w**2, 2 * w**2), "W f' = .* by differences"),
        (lambda w: (w**2 - 0.25, 2 * w**2, w**2), "W f' [+] W² f'' = .* by differences"),
        (lambda w: (-w, -w, 0 * w), "f[(]1[)] = -1; valid: finite"),
        (lambda w: (1 - w / 2, -w / 2, 0 * w), "f falls with W"),
        (lambda w: (w**0 / 0, w, w), "its terms fail|finite"),
        (lambda w: ((3 * w + 1) / 4, 0.75 * w, 0 * w), "convex in s; valid: concave"),
    ],
)
def test_terms_that_cannot_be(terms: measures.Terms, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Measure("wrong", terms)


def test_unknown_names_and_codes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"measure = 'secretkey': did you mean 'secret_key'[?] valid: negativity, "):
        scene("secretkey")
    with pytest.raises(ScenarioError, match=r"measure = 'nowhere.py:f': nowhere.py fails: FileNotFoundError"):
        scene("nowhere.py:f")
    (tmp_path / "mine.py").write_text("def other(w): return w, w, 0 * w\n")
    with pytest.raises(ScenarioError, match=r"mine.py has no f; valid: a name that it defines"):
        scene(f"{tmp_path / 'mine.py'}:f")
    with pytest.raises(ValueError, match="measure = code 7: valid: 0 to 2"):
        PairValue(np.array([7]))
    with pytest.raises(ValueError, match="registered already"):
        measures.register("negativity", log_negativity)


def test_what_numba_cannot_compile_is_refused_when_it_is_needed() -> None:
    def strange(w: Any) -> Any:
        return tuple(np.array(x) + float(str(0)) for x in log_negativity(w))

    measures.register("strange", strange)
    try:
        with pytest.raises(ValueError, match="measure = 'strange': numba cannot compile its terms"):
            qnum_gym.Simulator(scene("strange"))
    finally:
        MEASURES.remove("strange")


def test_what_a_finite_key_is_short_of() -> None:
    """model.md §12: the bound of Tomamichel et al. (2012), n of N pairs in the key and k = N − n for the error rate."""
    w, secret, correct = 0.9, 1e-10, 1e-15
    error = (1 - w) / 2

    def entropy(q: np.ndarray | float) -> np.ndarray:
        return np.asarray(-q * np.log2(q) - (1 - q) * np.log2(1 - q))

    asymptotic = measures.value("secret_key", w)
    assert asymptotic == pytest.approx(0.4272, abs=5e-5)
    for pairs, share in ((1e4, 0.12), (1e5, 0.53), (1e6, 0.76), (1e7, 0.89)):
        k = pairs * np.geomspace(1e-3, 0.6, 400)
        n = pairs - k
        worse = np.minimum(error + np.sqrt((n + k) / (n * k) * (k + 1) / k * np.log(4 / secret)), 0.5)
        length = n * (1 - entropy(worse) - entropy(error)) - np.log2(2 / (secret**2 * correct))
        assert length.max() / pairs / asymptotic == pytest.approx(share, abs=6e-3)

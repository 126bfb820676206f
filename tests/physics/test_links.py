"""Link models: the paper's against its formulas, and another one in all that asks a link for its rate."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import minimize
from simulator.test_reference import assert_equal_runs

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.cli.main import main
from qnum_gym.optimum.fresh import Fresh
from qnum_gym.physics import links
from qnum_gym.physics.links import LINK_MODELS, Hardware, LinkModel, LinkRates
from qnum_gym.scenarios import Link, Scenario, ScenarioError, Session
from qnum_gym.simulator import Simulator

SOURCE = """
def square(w, hardware):
    return 1.0 - w * w, -2.0 * w, -2.0 + 0.0 * w
"""


def of_square(w: Any, hardware: Hardware) -> tuple[Any, Any, Any]:
    """Rate d (1 - w²)."""
    return 1.0 - w * w, -2.0 * w, -2.0 + 0.0 * w


@pytest.fixture(params=["registered", "file"])
def square(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The name of a registered model of rate d (1 - w²)."""
    if request.param == "file":
        (tmp_path / "mine.py").write_text(SOURCE)
        name = links.find(f"{tmp_path / 'mine.py'}:square").name
    else:
        name = links.register("square", of_square, lambda b, hardware: (1.0 - b) ** 0.5).name
    yield name
    LINK_MODELS.remove(name)


def test_the_paper_s_model() -> None:
    """Numbers of model.md §2: 10 km give d = 1191.492; F = 1 - alpha and p = 2 eta alpha."""
    s = qnum_gym.scenario("chain")
    a = s.arrays()
    eta, alpha = 10 ** (-0.1 * 0.2 * 10 / 2), 0.05
    w = 1 - 4 * alpha / 3
    assert a.capacity[0] == pytest.approx(1191.492, abs=5e-4)
    assert links.SINGLE_CLICK.success(w, Hardware(1.5 * eta)) == pytest.approx(2 * eta * alpha, rel=1e-12)
    assert a.link_rates.rate(np.full(4, w), a.capacity)[0] == pytest.approx(2 * eta * alpha / 1e-3, rel=1e-12)
    assert links.SINGLE_CLICK.lossy(1000.0, 6.0) == pytest.approx(1000 * 10**-0.3)
    x = np.linspace(0.1, 6, 7)
    np.testing.assert_allclose(links.coordinate(links.at_coordinate(x)), x, rtol=1e-13)
    assert links.coordinate(0.9) == pytest.approx(math.log(10))


def test_links_of_several_models(square: str) -> None:
    rng = np.random.default_rng(0)
    codes = np.array([0, links.code(square), 0])
    rates, w, d = LinkRates(codes, np.full(3, 1e-3)), rng.uniform(0.3, 0.99, (5, 3)), np.array([100.0, 200.0, 300.0])
    b = 1 - np.where(codes == 0, w, w**2)
    np.testing.assert_allclose(rates.rate(w, d), d * b, rtol=1e-14)
    np.testing.assert_allclose(rates.cost(w, d), d * np.where(codes == 0, 1, 2 * w), rtol=1e-14)
    np.testing.assert_allclose(rates.werner(b, d), w, rtol=1e-12)
    np.testing.assert_array_equal(rates[[1, 1]].rate(w[:, [1, 1]], d[[1, 1]]), rates.rate(w, d)[:, [1, 1]])
    fresh = Fresh(rates, d, np.full(3, 0.2))
    v, step = fresh.of(w), 1e-5
    np.testing.assert_allclose(fresh.scale * (1 - v), d * b, rtol=1e-12)
    log_werner = [np.log(fresh.werner(v + k * step)) for k in (-1, 0, 1)]
    np.testing.assert_allclose(fresh.slope(v), (log_werner[2] - log_werner[0]) / (2 * step), rtol=1e-6)
    bend = (2 * log_werner[1] - log_werner[0] - log_werner[2]) / step**2
    np.testing.assert_allclose(fresh.bend(v), bend, rtol=1e-3)
    gamma, y = np.array([3.0, 3.0, 0.0]), 0.1 * d
    ends = fresh.of(np.full(3, 0.2)), fresh.of(np.full(3, 0.94))
    best, grid = fresh.best(gamma, y, *ends), np.linspace(*ends, 20001)
    s = fresh.scale * (1 - grid) - y
    with np.errstate(invalid="ignore"):
        value = np.where(s > 0, np.log(fresh.werner(grid)) - np.log1p(gamma / s), -np.inf)
    np.testing.assert_allclose(best, grid[np.argmax(value, axis=0), range(3)], atol=1e-4)


def test_the_optimum_of_another_model_is_scipy_s(square: str) -> None:
    """Two links of different models, one session: SLSQP on the rate and both w."""
    s = Scenario(
        links=(Link(a="a", b="b", length_km=10), Link(a="b", b="c", length_km=20, link_model=square)),
        sessions=(Session(source="a", destination="c"),),
        coherence_time=math.inf,
    )
    d, best = s.arrays().capacity, optimum.solve(s)

    def log_key(w: float) -> float:
        e = (1 - w) / 2
        return math.log(1 + 2 * (e * math.log2(e) + (1 - e) * math.log2(1 - e)))

    found = minimize(
        lambda x: -x[0] - log_key(x[1] * x[2]),
        [math.log(30.0), 0.96, 0.96],
        method="SLSQP",
        bounds=[(0, 6), (0.5, 0.999), (0.5, 0.999)],
        constraints=[
            {"type": "ineq", "fun": lambda x: 1 - math.exp(x[0]) / (d[0] * (1 - x[1]))},
            {"type": "ineq", "fun": lambda x: 1 - math.exp(x[0]) / (d[1] * (1 - x[2] ** 2))},
        ],
        options={"ftol": 1e-14, "maxiter": 500},
    )
    assert best.utility == pytest.approx(-found.fun, abs=1e-7)
    np.testing.assert_allclose([*best.rates, *best.werner], [math.exp(found.x[0]), *found.x[1:]], rtol=2e-4)
    with_storage = optimum.solve(s.replace(coherence_time=10.0), decoherence=True)
    assert with_storage.kkt_residual < 1e-6  # and `check.residual` accepted it, by the rate's own slope
    assert with_storage.utility < best.utility


def test_simulator_reference_and_environments_agree_on_another_model(square: str) -> None:
    s = qnum_gym.scenario("dumbbell", link_model=square, episode_length=4)
    mixed = s.replace(links=[s.links[0].model_copy(update={"link_model": "single_click"}), *s.links[1:]])
    mixed = mixed.replace(events=[{"time": 2.5, "link": ["left", "right"], "extra_loss_db": 3.0}])
    assert_equal_runs(mixed, seed=2, steps=6)
    one = Scenario(
        links=(Link(a="a", b="b", length_km=0, capacity=400, link_model=square),),
        sessions=(Session(source="a", destination="b", initial_rate=900, window=2000),),
        rate_range=(1.0, 1000.0),
        memory=10**6,
    )
    simulator = Simulator(one, 1)
    simulator.set_controls(werner=[0.8])
    simulator.advance(5.0)
    made = simulator.advance(200.0).links.generated[0] / 200.0  # saturated: the link's rate, by 1.96 sigma of 28 800
    assert made == pytest.approx(400 * (1 - 0.8**2), rel=0.02)

    name, parallel = "qnum_gym/Scenario-v0", qnum_gym.parallel_env("Scenario-v0", scenario=mixed)
    env: Any = gym.make(name, scenario=mixed)
    vector: Any = gym.make_vec(name, num_envs=2, vectorization_mode="vector_entry_point", scenario=mixed)
    seen = [env.reset(seed=3)[0]], [vector.reset(seed=[3, 4])[0][0]]
    parallel.reset(seed=3)
    for _ in range(3):
        action = np.full(env.action_space.shape, -0.3, np.float32)
        observation, reward, *_ = env.step(action)
        observations, rewards, *_ = vector.step(np.array([action, action]))
        own = parallel.step({x: np.full(parallel.action_space(x).shape, -0.3, np.float32) for x in parallel.agents})[1]
        np.testing.assert_array_equal([reward, reward], [rewards[0], own[parallel.possible_agents[0]]])
        seen[0].append(observation)
        seen[1].append(observations[0])
    np.testing.assert_array_equal(*seen)


def test_tables_show_what_another_model_makes(square: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The bottleneck of three equal sessions is full: it makes 3 R = d (1 - w²)."""
    assert main(["optimum", "dumbbell", "--no-decoherence", "--set", f"link_model={square}", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    bottleneck = best["links"].index("left-right")
    d = qnum_gym.scenario("dumbbell").arrays().capacity[bottleneck]
    assert sum(best["rates"]) == pytest.approx(d * (1 - best["werner"][bottleneck] ** 2), rel=1e-6)
    assert main(["optimum", "dumbbell", "--no-decoherence", "--set", f"link_model={square}"]) == 0
    assert f"{sum(best['rates']):.4f}" in capsys.readouterr().out


def test_controllers_find_the_optimum_of_another_model(square: str) -> None:
    """QPrimalDual-DA on packets: most of the oracle's geometric mean."""
    s = qnum_gym.scenario("dumbbell", link_model=square, coherence_time=30.0)
    best = optimum.solve(s, decoherence=True, max_utilisation=0.95)
    policy, simulator = agents.make("qprimaldual-da"), Simulator(s, 0)
    policy.reset(s)
    for _ in range(400):
        x = policy.act(simulator.advance(1.0))
        simulator.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
    np.testing.assert_allclose(x.rates, best.rates, rtol=0.15)
    np.testing.assert_allclose(1 - x.werner, 1 - best.werner, rtol=0.15)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (lambda w, h: ((1 - w) ** 2, -2 * (1 - w), 2 + 0 * w), "b is not concave"),
        (lambda w, h: (w, 1 + 0 * w, 0 * w), "b does not fall"),
        (lambda w, h: (1 - w * w, -w, -1 + 0 * w), "b' is not what differences give"),
        (lambda w, h: (1 - w * w, -2 * w, -1 + 0 * w), "b'' is not the slope"),
        (lambda w, h: (1 - 2 * w, -2 + 0 * w, 0 * w), "below 0"),
        (lambda w, h: (-w / h.dark_count, -1 / h.dark_count, 0 * w), "fail: ZeroDivisionError"),
        (lambda w, h: w.no, "its terms fail: AttributeError"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_models_that_cannot_be(terms: links.Terms, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinkModel("wrong", terms)
    with pytest.raises(ValueError, match="the inverse does not give w back"):
        LinkModel("wrong", links.single_click, lambda b, h: b**2)
    with pytest.raises(ValueError, match="b changes with w"):
        LinkModel("wrong", links.single_click, knob=False)


def test_unknown_names_and_codes_are_refused() -> None:
    with pytest.raises(ScenarioError, match=r"link_model = 'single': did you mean 'single_click'[?] valid: single"):
        qnum_gym.scenario("chain", link_model="single")
    with pytest.raises(ValueError, match="link_model = code 5: valid: 0 to 3"):
        LinkRates(np.array([5]), np.ones(1))
    with pytest.raises(ValueError, match="registered already"):
        links.register("single_click", links.single_click)

"""V, eigenvalues, the condition for local stability, and the largest stable gains: predicted, and in the fluid."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qnum_gym
from qnum_gym import optimum
from qnum_gym.agents.update_rules import Gains
from qnum_gym.cli import main
from qnum_gym.cli.common import scenario_of_name
from qnum_gym.optimum import Problem, stability
from qnum_gym.optimum.fluid import Fluid, Steps
from qnum_gym.physics import measures
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Link, Scenario, Session

QUICK = Steps(2e-4, 1e-2, 2e-3)


def line(measure: str, capacity: float = 100.0, floors: tuple[float | None, float | None] = (None, None)) -> Scenario:
    """Three links in a line, two sessions that share the middle one."""
    links = [Link(a=i, b=i + 1, length_km=1, capacity=capacity) for i in range(3)]
    fidelities = [None if floor is None else fidelity(floor) for floor in floors]
    sessions = [Session(source=i, destination=i + 2, min_fidelity=fidelities[i]) for i in range(2)]
    return Scenario(name="line", links=links, sessions=sessions, measure=measure)


def test_v_never_increases_where_utilities_are_concave() -> None:
    """`negativity` on 50 random networks, from random prices and Werner parameters."""
    for seed in range(50):
        s = qnum_gym.scenario("waxman", nodes=6 + seed % 8, sessions=2 + seed % 4, seed=seed, measure="negativity")
        fluid, best = Fluid(Problem.from_scenario(s)), optimum.solve(s)
        x, draws = fluid.start(), np.random.default_rng(seed)
        n_links, n_sessions = fluid.size
        x[:n_links] *= np.exp(draws.normal(size=n_links))
        x[n_links + n_sessions : 2 * n_links + n_sessions] = draws.uniform(0.6, 0.99, n_links)
        v = stability.lyapunov(fluid, fluid.flow(x, 2.0, 2500, 20), best)
        assert (np.diff(v) <= 1e-13 * v[0]).all()
        assert v[-1] < v[0]


def test_v_with_floors() -> None:
    s = line("negativity", floors=(0.8, None))
    fluid, best = Fluid(Problem.from_scenario(s), QUICK), optimum.solve(s)
    v = stability.lyapunov(fluid, fluid.flow(fluid.start(), 0.5, 20_000, 20), best)
    assert (np.diff(v) <= 1e-13 * v[0]).all()
    assert v[-1] < 0.01 * v[0]


CASES: list[tuple[str, dict[str, Any], Steps]] = [
    ("dumbbell", {"measure": "secret_key"}, Steps()),
    ("nsfnet", {"measure": "distillable"}, Steps(utilisation=0.9)),
    ("dumbbell", {"measure": "negativity", "fairness": 2.0}, Steps()),
    ("dumbbell", {"link_model": "single_click_exact", "fairness": 0.5}, Steps()),
    ("chain", {"swap_success": 0.5}, Steps()),
]


@pytest.mark.parametrize(("name", "fields", "steps"), CASES)
def test_jacobian(name: str, fields: dict[str, Any], steps: Steps) -> None:
    """The derivatives as written out are those of the compiled dynamics, and the optimum is stable."""
    s = qnum_gym.scenario(name, **fields)
    best = optimum.solve(s, max_utilisation=steps.utilisation)
    check_jacobian(Fluid(Problem.from_scenario(s), steps), best)


def test_jacobian_with_a_floor() -> None:
    s = line("secret_key", floors=(0.97, 0.9))
    best = optimum.solve(s)
    fluid = Fluid(Problem.from_scenario(s), QUICK)
    check_jacobian(fluid, best)
    assert stability.jacobian(fluid, best).free.tolist() == [0, 1, 2, 3, 5, 6, 7]  # the second floor does not bind


def check_jacobian(fluid: Fluid, best: optimum.Allocation) -> None:
    x, (matrix, free) = fluid.at(best), stability.jacobian(fluid, best)
    np.testing.assert_allclose(fluid.slope(x)[free], 0.0, atol=1e-9)
    columns: list[Any] = []
    for i in free:
        step = np.zeros_like(x)
        step[i] = 1e-6 * x[i]
        columns.append((fluid.slope(x + step) - fluid.slope(x - step))[free] / (2.0 * step[i]))
    np.testing.assert_allclose(matrix, np.array(columns).T, atol=1e-7 * np.abs(matrix).max())
    eigenvalues = stability.jacobian(fluid, best).eigenvalues
    assert eigenvalues.real.max() < 0.0
    assert eigenvalues.real[0] == eigenvalues.real.max()


@pytest.mark.parametrize(("floor", "stable"), [(0.97, True), (0.98, False)])
def test_beyond_concavity(floor: float, stable: bool) -> None:
    """Where floors hold W in the range in which log f is convex, (34) tells how much of that is borne."""
    s = line("secret_key", 1000.0, (floor, floor))
    best = optimum.solve(s)
    fluid = Fluid(Problem.from_scenario(s), Steps(1e-5, 1e-2, 1e-4))
    slope, pull = measures.elasticity_slope("secret_key", floor), measures.elasticity("secret_key", floor)
    assert slope > 0.0
    found = stability.condition(fluid, best)
    np.testing.assert_allclose(found.sessions, 1.0 - 2.0 * slope / (pull + best.fidelity_prices), rtol=1e-6)
    assert found.by_sessions is found.holds is stable
    assert found.hessian.min() >= found.sessions.min() - 1e-9
    assert bool(stability.jacobian(fluid, best).eigenvalues.real.max() < 0.0) is stable
    assert stability.settles(fluid, best) is stable


def test_condition_without_floors() -> None:
    s = qnum_gym.scenario("dumbbell")
    found = stability.condition(Fluid(Problem.from_scenario(s)), optimum.solve(s))
    assert found.by_sessions
    assert found.holds
    assert (found.sessions > 1.0).all()  # concave at the optimum
    assert (found.hessian >= 1.0 - 1e-12).all()


def test_a_closed_form_of_the_delayed_update() -> None:
    """x' = x - k x(n - D) is stable up to k = 2 sin(π / (4 D + 2)) (Levin and May 1976)."""
    for delay in (1, 2, 5, 30):
        limit = 2.0 * np.sin(np.pi / (4.0 * delay + 2.0))
        for factor, stable in ((0.999, True), (1.001, False)):
            heard, told = np.zeros((1, 3)), np.zeros((3, 1))
            heard[0, 1], told[1, 0] = -limit * factor, 1.0
            form = stability.Linear(np.ones((1, 1)), heard, told)
            assert (stability.spectral_radius(form, np.array([delay])) < 1.0) is stable


@pytest.mark.parametrize("delay", [0, 10, 30])
@pytest.mark.parametrize("scaled", [False, True])
def test_critical_gain(delay: int, scaled: bool) -> None:
    """Predicted and measured within a tenth of each other, in both forms."""
    s = qnum_gym.scenario("dumbbell")
    problem, rho = Problem.from_scenario(s), 0.95 if scaled else 1.0
    best = optimum.solve(s, decoherence=scaled, max_utilisation=rho)

    def make(gain: float) -> Fluid:
        gains = dataclasses.replace(Gains(), gain=gain) if scaled else Steps().times(gain)
        return Fluid(problem, gains, decoherence=scaled, delay=delay)

    predicted = stability.predicted_gain(make, best)
    assert stability.settles(make(0.95 * predicted), best)
    assert not stability.settles(make(1.05 * predicted), best)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "stability.png"
    arguments = ["stability", "chain", "--set", "nodes=3", "--delays", "5", "--png", str(picture), "--json"]
    assert main.main(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    s = qnum_gym.scenario("chain", nodes=3)
    eigenvalues = stability.jacobian(Fluid(Problem.from_scenario(s)), optimum.solve(s)).eigenvalues
    assert [re for re, _ in found["eigenvalues"]] == pytest.approx(eigenvalues.real.tolist())
    assert found["condition"]["holds"]
    assert found["lyapunov"]["v"][-1] < 1e-6 * found["lyapunov"]["v"][0]
    assert found["lyapunov"]["largest_increase"] < 1e-13
    assert [(gain["form"], gain["delay"]) for gain in found["gains"]] == [("paper", 5), ("qprimaldual-da", 5)]
    for gain in found["gains"]:
        assert gain["measured"] == pytest.approx(gain["predicted"], rel=0.1)
    assert picture.stat().st_size > 10_000


def test_refusals() -> None:
    s = line("secret_key")
    scaled = Fluid(Problem.from_scenario(s), Gains())
    for function in (stability.jacobian, stability.condition):
        with pytest.raises(ValueError, match=r"of the paper's form alone; valid: Steps, without decoherence"):
            function(scaled, optimum.solve(s))


SLACK = ["sessions[0].min_fidelity=0.89", "sessions[0].rate_cap=25", "sessions[0].min_rate=20"]


@pytest.mark.parametrize("bound", SLACK)
def test_what_does_not_bind_is_no_disturbance(bound: str) -> None:
    """A floor or a bound next to the optimum leaves the largest stable gain as it is without."""
    s = scenario_of_name("dumbbell", [bound], option="scenario")
    problem, best = Problem.from_scenario(s), optimum.solve(s)

    def make(factor: float) -> Fluid:
        return Fluid(problem, Steps().times(factor))

    assert Fluid(problem).at(best)[7] == 0.0  # μ, of which the interior-point method leaves 2e-10
    measured = stability.measured_gain(make, best)
    assert measured == pytest.approx(stability.predicted_gain(make, best), rel=0.01)
    assert measured == pytest.approx(68.4, rel=0.01)  # as in docs/stability.md


def test_links_without_knobs(capsys: pytest.CaptureFixture[str]) -> None:
    """Only the shared link binds: one price, which is damped, is all that moves."""
    assert main.main(["stability", "dumbbell", "--set", "link_model=double_click", "--delays", "0"]) == 0
    found = capsys.readouterr().out
    assert "(33) and (34) ask nothing, as no link has a w to choose" in found
    (paper, scaled) = (row.split() for row in found.splitlines() if row.startswith(("paper  ", "qprimaldual-da  ")))
    assert float(paper[-1]) == pytest.approx(float(paper[-2]), rel=0.01)
    assert float(scaled[-1]) == pytest.approx(float(scaled[-2]), rel=0.01)
    assert float(scaled[-1]) > 0.5


def test_nothing_moves(capsys: pytest.CaptureFixture[str]) -> None:
    still = ["link_model=double_click", *(f"sessions[{r}].rate_cap=5" for r in range(3))]
    with pytest.raises(SystemExit):
        main.main(["stability", "dumbbell", *(part for field in still for part in ("--set", field))])
    assert "no link binds and none has a w to choose" in capsys.readouterr().err


def test_sessions_of_time_0_that_can_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    fields = ["sessions[0].min_fidelity=0.9999", "sessions[1].start=10"]
    arguments = ["stability", "dumbbell", *(part for field in fields for part in ("--set", field)), "--delays", "0"]
    assert main.main(arguments) == 0
    found = capsys.readouterr().out
    assert found.startswith("dumbbell at time 0: ")
    assert "left out, as nobody could serve it even alone: session 0\n" in found
    assert main.main([*arguments, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["left_out"] == [0]
    assert len(values["sessions"]) == len(values["condition"]["sessions"]) == 1

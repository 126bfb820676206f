"""QPrimalDual without packets: against its equations in plain loops, and where it leads, against the solver."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import qnum_gym
from qnum_gym import optimum
from qnum_gym.agents.update_rules import Gains
from qnum_gym.optimum import Problem
from qnum_gym.optimum.fluid import Fluid, Steps
from qnum_gym.physics import measures
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Link, LinkEvent, Scenario, Session


def line(floor: float | None = None, **fields: Any) -> Scenario:
    """Three links in a line, two sessions that share the middle one, of unlike weights; the first with a floor on W."""
    links = [Link(a=i, b=i + 1, length_km=1, capacity=d) for i, d in enumerate((100.0, 60.0, 110.0))]
    least = None if floor is None else fidelity(floor)
    sessions = [Session(source=0, destination=2, min_fidelity=least), Session(source=1, destination=3, weight=2.0)]
    return Scenario(name="line", links=links, sessions=sessions, **fields)


def plain(s: Scenario, k: Steps, delay: tuple[int, int], updates: int) -> list[list[float]]:
    """(14) to (17), with d (1 - w), and U = log R + log f; λ, μ and w in one row for each update."""
    a = s.arrays()
    d, routes = a.capacity.tolist(), s.routes
    w = [0.967] * 3

    def pull(r: int, log_w: float) -> float:
        return a.weight[r] * measures.elasticity(s.measure, math.exp(log_w))

    def at(w: list[float], r: int) -> float:
        return sum(math.log(w[l]) for l in routes[r])

    value = [sum(pull(r, at(w, r)) for r in range(2) if l in routes[r]) for l in range(3)]
    price = [value[l] / (k.utilisation * d[l] * w[l]) for l in range(3)]
    floor_price = [0.0, 0.0]
    rows = [[*price, *floor_price, *w]]
    for n in range(updates):
        late = [rows[max(n - delay[r], 0)] for r in range(2)]
        log_w = [at(late[r][5:], r) for r in range(2)]
        rate = [a.weight[r] / sum(late[r][l] for l in routes[r]) for r in range(2)]
        for l in range(3):
            load = sum(rate[r] for r in range(2) if l in routes[r])
            price[l] = max(price[l] + k.price * (load - k.utilisation * d[l] * (1 - w[l])), 0.0)
        for r in range(2):
            floor_price[r] = max(floor_price[r] + k.fidelity * (a.log_werner_floor[r] - log_w[r]), 0.0)
        for l in range(3):
            value[l] = sum(pull(r, log_w[r]) + floor_price[r] for r in range(2) if l in routes[r])
            w[l] = min(max(w[l] + k.werner * (value[l] / w[l] - k.utilisation * d[l] * price[l]), 0.5), 0.999)
        rows.append([*price, *floor_price, *w])
    return rows


@pytest.mark.parametrize(("delay", "rho"), [((0, 0), 1.0), ((7, 3), 0.9)])
def test_the_equations(delay: tuple[int, int], rho: float) -> None:
    s = line(0.97, measure="secret_key")
    k = Steps(1e-4, 1e-2, 1e-3, rho)
    fluid = Fluid(Problem.from_scenario(s), k, delay=delay)
    states = fluid.run(fluid.start(), 400)
    np.testing.assert_allclose(states[:, :8], plain(s, k, delay, 400), rtol=1e-9)
    assert states[:, 3].max() > 0.0


CASES: dict[str, tuple[dict[str, Any], Any, bool]] = {
    "secret_key": ({"measure": "secret_key"}, Steps(), False),
    "distillable": ({"measure": "distillable"}, Steps(), False),
    "negativity": ({"measure": "negativity"}, Steps(price=2e-5), False),
    "exact": ({"link_model": "single_click_exact"}, Steps(), False),
    "fair": ({"fairness": 0.7}, Steps(), False),
    "filled to 0.9": ({}, Steps(utilisation=0.9), False),
    "aware": ({}, Steps(), True),
    "aware, filled to 0.9, ack": ({"hold": "ack"}, Steps(utilisation=0.9), True),
    "scaled": ({}, Gains(), False),
    "scaled, aware": ({}, Gains(), True),
    "scaled, fair, aware": ({"fairness": 2.0}, Gains(), True),
    "scaled, lossy": ({"swap_success": 0.8, "message_loss": 0.05}, Gains(), True),
    "scaled, modes": ({"link_model": "single_click_exact", "modes": 4}, Gains(), True),
}


@pytest.mark.parametrize("case", CASES)
def test_it_comes_to_the_optimum(case: str) -> None:
    fields, gains, aware = CASES[case]
    s = qnum_gym.scenario("dumbbell", **fields)
    best = optimum.solve(s, decoherence=aware, max_utilisation=gains.utilisation)
    fluid = Fluid(Problem.from_scenario(s), gains, decoherence=aware)
    at = fluid.at(best)
    np.testing.assert_allclose(fluid.step(at, fluid.observe(at)), at, atol=1e-8)
    x, _ = fluid.converge(best, 1e-8)
    np.testing.assert_allclose(fluid.rates(x), best.rates, rtol=1e-8)
    np.testing.assert_allclose(fluid.werner(x), best.werner, atol=2e-6)
    np.testing.assert_allclose(fluid.link_prices(x), best.link_prices, rtol=1e-4)


@pytest.mark.parametrize("gains", [Steps(1e-4, 1e-1, 1e-3), Gains()])
def test_floors(gains: Any) -> None:
    s = line(0.8, measure="negativity")
    best = optimum.solve(s, max_utilisation=gains.utilisation)
    fluid = Fluid(Problem.from_scenario(s), gains)
    x, _ = fluid.converge(best)
    assert best.fidelity_prices[0] > 1.0
    np.testing.assert_allclose(fluid.rates(x), best.rates, rtol=1e-8)
    np.testing.assert_allclose(np.prod(fluid.werner(x)[:2]), 0.8, rtol=1e-7)


def test_a_session_that_is_off_and_a_late_one() -> None:
    """Who is off takes no part; with delays rates come to the same optimum, later."""
    s = line(measure="negativity")
    s = s.replace(sessions=[s.sessions[0].model_copy(update={"start": 5.0}), s.sessions[1]])
    problem = Problem.from_scenario(s)
    best = optimum.solve_problem(problem)
    fluid = Fluid(problem, Steps(1e-4, 1e-2, 1e-3), delay=20)
    x = fluid.run(fluid.start(), 40_000, 40_000)[-1]
    np.testing.assert_allclose(fluid.rates(x), best.rates[1:], rtol=1e-8)
    assert fluid.used.tolist() == [False, True, True]


def test_in_continuous_time() -> None:
    """Against scipy's integration of the same gradients, written out."""
    s, k = line(0.8, measure="negativity"), Steps(1e-4, 1e-1, 1e-3)
    a = s.arrays()
    on = np.array([[float(l in route) for route in s.routes] for l in range(3)])

    def gradient(_: float, x: Any) -> Any:
        price, floor_price, w = x[:3], x[3:5], x[5:]
        log_w = on.T @ np.log(w)
        push = on @ (a.weight / (on.T @ price)) - a.capacity * (1 - w)
        pull = on @ (a.weight * 3 / (3 - np.exp(-log_w)) + floor_price) / w - a.capacity * price
        short = a.log_werner_floor - log_w
        return np.concatenate(
            [k.price * push, np.where((floor_price > 0) | (short > 0), k.fidelity * short, 0), k.werner * pull]
        )

    fluid = Fluid(Problem.from_scenario(s), k)
    states = fluid.flow(fluid.start(), 0.5, 4000, 400)
    exact = solve_ivp(gradient, (0, 2000), states[0, :8], t_eval=np.linspace(0, 2000, 11), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(states[:, :8], exact.y.T, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fluid.slope(states[3])[:8], gradient(0, states[3, :8]), rtol=1e-9, atol=1e-12)


def test_refusals() -> None:
    problem = Problem.from_scenario(line())
    with pytest.raises(ValueError, match=r"steps: price = -1; valid: positive and finite"):
        Steps(price=-1)
    with pytest.raises(ValueError, match=r"steps: utilisation = 2.0; valid: positive, at most 1"):
        Steps(utilisation=2.0)
    with pytest.raises(ValueError, match=r"fluid: delay = 1.5; valid: whole numbers of updates, from 0, one or 2"):
        Fluid(problem, delay=1.5)
    with pytest.raises(ValueError, match=r"fluid: delay = \[1, 2, 3\]; valid"):
        Fluid(problem, delay=[1, 2, 3])
    with pytest.raises(ValueError, match=r"fairness = 0: .* valid: above 0"):
        Fluid(Problem.from_scenario(line(fairness=0.0)))
    cut = line(events=[LinkEvent(time=0.0, link=(0, 1), up=False)])
    with pytest.raises(ValueError, match=r"route of session 0 .* is down; valid: problem.servable\(\)"):
        Fluid(Problem.from_scenario(cut))
    with pytest.raises(ValueError, match=r"no session is active"):
        Fluid(problem.without(np.ones(2, np.bool_)))
    fluid = Fluid(problem, Gains())
    with pytest.raises(ValueError, match=r"continuous time; valid: the paper's form"):
        fluid.slope(fluid.start())
    with pytest.raises(ValueError, match=r"converge with a delay; valid: without one"):
        Fluid(problem, delay=1).converge(optimum.solve_problem(problem))
    with pytest.raises(ArithmeticError, match=r"off by .* after 0 updates"):
        Fluid(problem).converge(optimum.solve_problem(problem), most=0)

"""What the solver says beside the allocation: proof, starts, what would be feasible; and with what it is given."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from qnum_gym.cli.main import main
from qnum_gym.optimum import InfeasibleError, Problem, sensitivities, solve, solve_problem
from qnum_gym.physics import measures
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Link, Node, Scenario, Session
from qnum_gym.scenarios.topologies import scenario


def pair(**fields: Any) -> list[Session]:
    """Two sessions of the dumbbell, the first with `fields`."""
    return [Session(source=f"s{i}", destination=f"d{i}", **(fields if i == 0 else {})) for i in range(2)]


def rivals(weight: float) -> Scenario:
    """Who gets most gets all (alpha = 0), and then the link is set to its own measure: two optima, one at each end."""
    sessions = [Session(source="a", destination="b", measure="secret_key", weight=weight)]
    sessions.append(Session(source="a", destination="b", measure="negativity"))
    links = [Link(a="a", b="b", length_km=10)]
    return Scenario(name="rivals", links=links, sessions=sessions, fairness=0.0, rate_range=(1e-3, 2000.0))


# --- how sure it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["chain", "dumbbell", "grid", "nsfnet", "nsfnet-full", "star", "surfnet", "waxman"])
@pytest.mark.parametrize("measure", measures.MEASURES.names())
def test_optima_of_the_topologies_are_proven_global(name: str, measure: str) -> None:
    x = solve(scenario(name, measure=measure), decoherence=True)
    assert x.proven_global
    assert (x.starts, x.agreed) == (1, 1)
    assert 0 < x.iterations < 40
    assert solve(scenario(name, measure=measure)).proven_global


@pytest.mark.parametrize(("measure", "last"), [("secret_key", 0.929180), ("distillable", 0.923069)])
def test_the_last_werner_parameter_that_is_proven_whatever_can_be_reached(measure: str, last: float) -> None:
    """A line from W = 1, where log f = 0, touches log f(e^s) there."""
    assert measures.log_value(measure, last) == pytest.approx(
        measures.elasticity(measure, last) * np.log(last), abs=1e-5
    )


def test_where_nothing_is_proven() -> None:
    """A W beyond where the measure is concave; a tangent that does not stay above; alpha below 1."""
    high = solve(scenario("dumbbell", sessions=pair(min_fidelity=0.975), coherence_time=1e3))
    assert high.expected_werner[0] > 0.9617
    assert not high.proven_global
    slow = solve(scenario("chain", nodes=2, rate_range=(0.01, 60.0)))
    assert slow.expected_werner[0] == pytest.approx(1 - 60 / 1191.492, abs=1e-6)  # there it is concave
    assert not slow.proven_global
    assert not solve(scenario("dumbbell", fairness=0.9)).proven_global
    assert solve(scenario("dumbbell", fairness=2.0)).proven_global


def test_more_starts_find_the_better_of_two_optima() -> None:
    """Both closed forms: the link at the best w of the one measure, or as low as the other session bears it."""
    s = rivals(1.4)
    d = s.arrays().capacity[0]
    w = np.linspace(0.8, 0.99, 10_001)
    key = np.max((1 - w) * measures.value("secret_key", w))
    least = measures.MEASURES["secret_key"].positive_from
    worse, better = 1.4 * d * key, d * (1 - least) * measures.value("negativity", least)
    one, many = solve(s), solve(s, starts=20)
    assert one.utility == pytest.approx(worse, rel=1e-4)
    assert many.utility == pytest.approx(better, rel=1e-4)
    assert many.starts == 20
    assert 0 < many.agreed < 20
    assert not many.proven_global
    assert many.kkt_residual <= 1e-8


def test_a_proof_needs_no_other_start() -> None:
    assert solve(scenario("dumbbell"), starts=10).starts == 1
    with pytest.raises(ValueError, match="starts = 0: must be at least 1"):
        solve(scenario("dumbbell"), starts=0)


# --- given rates, given Werner parameters -----------------------------------------------------------------------------


def test_given_werner_parameters() -> None:
    """Three sessions share what the bottleneck makes."""
    s = scenario("dumbbell")
    x = solve(s, werner=0.95)
    rate = s.arrays().capacity[3] * 0.05 / 3
    np.testing.assert_allclose(x.rates, rate, rtol=1e-8)
    np.testing.assert_array_equal(x.werner, 0.95)
    assert x.utility == pytest.approx(3 * np.log(rate * measures.value("secret_key", 0.95**3)), abs=1e-8)
    assert x.kkt_residual <= 1e-8


def test_given_rates_with_decoherence() -> None:
    """Each hop by itself: the first makes what is asked, the others are where (13) of model.md says."""
    s = scenario("dumbbell")
    x, d = solve(s, True, rates=5.0), s.arrays().capacity
    np.testing.assert_allclose(x.rates, 5.0)
    assert x.werner[0] == pytest.approx(1 - 5 / d[0], abs=1e-8)
    for link, arrivals in ((3, 15.0), (4, 5.0)):
        gamma, room = 2 / 10.0, d[link] - arrivals
        slack = np.sqrt(gamma**2 + gamma * room) - gamma
        assert x.werner[link] == pytest.approx(1 - (arrivals + slack) / d[link], abs=1e-7)
    assert x.kkt_residual <= 1e-8


def test_given_rates_and_werner_parameters_leave_the_formula() -> None:
    s = scenario("dumbbell")
    for decoherence in (False, True):
        x, p = solve(s, decoherence, rates=[5.0, 6.0, 7.0], werner=0.95), Problem.from_scenario(s)
        worth = p.expected_werner(np.array([5.0, 6.0, 7.0]), np.full(7, 0.95), decoherence=decoherence)
        assert x.utility == pytest.approx(p.utility(np.array([5.0, 6.0, 7.0]), worth), abs=1e-9)


def test_what_is_given_as_it_would_be_anyway_changes_nothing() -> None:
    s = scenario("dumbbell", sessions=pair(weight=2.0))
    free = solve(s, True)
    some = solve(s, True, rates=[free.rates[0], np.nan], werner=[*[np.nan] * 3, free.werner[3], *[np.nan] * 3])
    assert (some.rates[0], some.werner[3]) == (free.rates[0], free.werner[3])
    np.testing.assert_allclose(some.rates, free.rates, rtol=1e-6)
    np.testing.assert_allclose(some.werner, free.werner, rtol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rates": [5.0, np.nan, 2000.0]}, r"rates\[2\] = 2000: valid for session 2: 0.01 to 1000, or NaN"),
        ({"werner": 0.3}, r"werner\[0\] = 0.3: valid for link 0: 0.5 to 0.999, or NaN"),
        ({"rates": [5.0, 5.0]}, r"rates: shape \(2,\); valid: a number, or one for each session, \(3,\)"),
    ],
)
def test_what_cannot_be_given(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(scenario("dumbbell"), **given)


# --- every link model, next to SLSQP ----------------------------------------------------------------------------------


@pytest.mark.parametrize("decoherence", [False, True])
def test_link_models_side_by_side(decoherence: bool) -> None:
    """Exact links with both kinds of detectors, double clicks and given ones on one route, memories all different."""
    kinds: list[dict[str, Any]] = [
        {"link_model": "single_click_exact", "detectors": "threshold", "dark_count": 1e-6},
        {"link_model": "double_click", "initial_werner": 0.985},
        {"link_model": "single_click_exact", "modes": 3},
        {"link_model": "fixed", "attempt_success": 0.05, "initial_werner": 0.98},
    ]
    links = [Link(a=i, b=i + 1, length_km=8.0 + i, **kind) for i, kind in enumerate(kinds)]
    nodes = [Node(name=i, coherence_time=t) for i, t in enumerate((20.0, 50.0, 10.0, 100.0, 30.0))]
    sessions = [Session(source=0, destination=4), Session(source=1, destination=3, weight=2.0)]
    s = Scenario(name="mixed", links=links, nodes=nodes, sessions=sessions, swap_success=0.9, hold="ack", coupling=0.5)
    p, ours = Problem.from_scenario(s), solve(s, decoherence, 0.97)
    a = p.arrays

    def loss(x: np.ndarray) -> float:
        werner = np.where(a.link_rates.knobs, 1 - np.exp(x[2:]), a.initial_werner)
        return -p.utility(np.exp(x[:2]) * p.delivery, p.expected_werner(np.exp(x[:2]), werner, decoherence=decoherence))

    def rooms(x: np.ndarray) -> np.ndarray:
        werner = np.where(a.link_rates.knobs, 1 - np.exp(x[2:]), a.initial_werner)
        return 1 - p.arrivals(np.exp(x[:2])) / (0.97 * a.link_rates.rate(werner, a.capacity))

    bounds = [*zip(np.log(1 - a.werner_max), np.log(1 - a.werner_min), strict=True)]
    start = np.concatenate([[0.0, 0.0], np.log(1 - 0.05 * a.werner_min - 0.95 * a.werner_max)])
    found = minimize(
        loss,
        start,
        method="SLSQP",
        bounds=[(-4, 6), (-4, 6), *bounds],
        constraints={"type": "ineq", "fun": rooms},
        options={"ftol": 1e-12, "maxiter": 400},
    )
    assert found.success
    assert ours.utility == pytest.approx(-found.fun, abs=1e-6)
    assert ours.kkt_residual <= 1e-8


# --- what would be feasible -------------------------------------------------------------------------------------------


def test_the_largest_floor_and_demand_that_are_feasible() -> None:
    """Of one session alone: by closed form without decoherence, and just within and just beyond."""
    s = scenario("dumbbell", sessions=pair(min_rate=60.0, min_fidelity=0.95))
    with pytest.raises(InfeasibleError) as refused:
        solve(s)
    error = refused.value
    d = s.arrays().capacity[[0, 3, 5]]
    assert error.sessions == (0,)
    assert error.feasible["min_fidelity"][0] == pytest.approx(fidelity(float(np.prod(1 - 60 / d))), rel=1e-4)
    most = error.feasible["min_rate"][0]
    assert np.prod(1 - most / d) == pytest.approx((4 * 0.95 - 1) / 3, rel=1e-4)
    assert f"min_rate at most {most:.6g}/s of session 0" in str(error)
    assert pickle.loads(pickle.dumps(error)).feasible == error.feasible
    for factor, fine in ((0.999, True), (1.001, False)):
        for fields in ({"min_rate": factor * most, "min_fidelity": 0.95},):
            less = scenario("dumbbell", sessions=pair(**fields)[:1])
            if fine:
                solve(less)
            else:
                with pytest.raises(InfeasibleError):
                    solve(less)


def test_what_rivals_can_have_together() -> None:
    """Two demands that do not fit together: both less by one factor. Fidelities have nothing to do with it."""
    sessions = [Session(source=f"s{i}", destination=f"d{i}", min_rate=rate) for i, rate in enumerate((60.0, 30.0))]
    with pytest.raises(InfeasibleError) as refused:
        solve(scenario("dumbbell", sessions=[*sessions, Session(source="s2", destination="d2")], n=3), True)
    error = refused.value
    assert set(error.sessions) == {0, 1}
    assert list(error.feasible) == ["min_rate"]
    rates = error.feasible["min_rate"]
    assert rates[0] == pytest.approx(2 * rates[1])
    s = scenario(
        "dumbbell", sessions=[x.model_copy(update={"min_rate": 0.999 * rates[i]}) for i, x in enumerate(sessions)]
    )
    assert solve(s, True).kkt_residual <= 1e-8


def test_nothing_less_is_feasible_on_a_route_that_is_down() -> None:
    s = scenario("dumbbell", events=[{"time": 0.0, "link": ("s0", "left"), "up": False}])
    with pytest.raises(InfeasibleError, match="down") as refused:
        solve(s)
    assert refused.value.feasible == {}


# --- sessions that nobody can serve -----------------------------------------------------------------------------------


def test_hopeless_sessions_are_left_out() -> None:
    """What is left is the optimum of the others, as `evaluate` has it."""
    s = scenario("dumbbell", sessions=pair(min_fidelity=0.999))
    with pytest.raises(InfeasibleError):
        solve(s, True)
    x, others = (
        solve(s, True, leave_out_hopeless=True),
        solve_problem(Problem.from_scenario(s).servable(), decoherence=True),
    )
    assert x.utility == others.utility
    np.testing.assert_array_equal(x.rates, others.rates)
    assert np.isnan(x.expected_werner[0])
    with pytest.raises(InfeasibleError):  # all of them
        solve(scenario("dumbbell", coherence_time=0.3), True, leave_out_hopeless=True)


def test_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    file = tmp_path / "hopeless.yaml"
    scenario("dumbbell", sessions=pair(min_fidelity=0.999)).to_yaml(file)
    assert main(["optimum", str(file)]) == 0
    text = capsys.readouterr().out
    assert "proven to be the global optimum" in text
    assert "left out, as nobody could serve it even alone: session 0" in text
    assert main(["optimum", "dumbbell", "--werner", "0.95", "--rate", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["werner"] == [0.95] * 7
    assert found["left_out"] == []
    assert main(["optimum", "dumbbell", "--set", "fairness=0.5", "--starts", "3"]) == 0
    assert "3 of 3 starts found this utility" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["optimum", "dumbbell", "--werner", "0.2"])
    assert "werner[0] = 0.2: valid for link 0: 0.5 to 0.999" in capsys.readouterr().err


def test_the_command_at_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    """A session that starts at 20 s: off before, and then the optimum of a scenario where it is always on."""
    later = ["optimum", "dumbbell", "--set", "sessions[1].start=20"]
    assert main(later) == 0
    assert "this is the optimum at 0 s (--time)" in capsys.readouterr().out
    assert main([*later, "--time", "20", "--prices", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    best = solve(scenario("dumbbell"), True)
    assert found["geometric_mean"] == pytest.approx(np.exp(best.utility / 3), rel=1e-9)
    worth = sensitivities(scenario("dumbbell"), True)["capacity"].utility
    np.testing.assert_allclose(found["sensitivities"]["capacity"]["utility"], worth, rtol=1e-6)
    with pytest.raises(SystemExit):
        main([*later, "--time", "-1"])
    assert "'-1': valid: seconds, from 0" in capsys.readouterr().err

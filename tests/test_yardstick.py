"""What the score is held against: hopeless sessions, prices of promises, and both ends, against values of their own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy import optimize

from qnum_gym import scenario
from qnum_gym.optimum import Problem, ScoreWarning, best_static, equal_share, penalised, solve, yardstick
from qnum_gym.physics import measures
from qnum_gym.scenarios import LinkEvent, NodeEvent, Scenario, Session


@pytest.mark.parametrize(("name", "coherence"), [("dumbbell", 10.0), ("nsfnet", 10.0), ("surfnet", 100.0)])
def test_both_ends(name: str, coherence: float) -> None:
    s = scenario(name, coherence_time=coherence)
    found = yardstick(s)
    best = solve(s, decoherence=True)
    assert found.counts.all()
    assert not found.worthless.any()
    assert found.lower == pytest.approx(equal_share(s).utility)
    assert found.upper == pytest.approx(best.utility, abs=1e-9)
    assert found.lower < best_static(s).utility < found.upper
    np.testing.assert_allclose(found.best_rates, best.rates)
    np.testing.assert_allclose(found.best_werner, best.expected_werner)
    assert found.geometric_mean == pytest.approx(np.exp(best.utility / len(s.sessions)))
    endless = s.replace(coherence_time=np.inf)
    assert yardstick(endless).upper == pytest.approx(solve(endless).utility, abs=1e-9)
    assert yardstick(s) is found


def test_the_optimum_of_model_md() -> None:
    """gm* of the default Dumbbell, model.md §10."""
    assert yardstick(scenario("dumbbell")).geometric_mean == pytest.approx(5.154, abs=1e-3)
    assert yardstick(scenario("dumbbell", coherence_time=100.0)).geometric_mean == pytest.approx(7.669, abs=1e-3)
    assert yardstick(scenario("dumbbell", measure="negativity")).geometric_mean == pytest.approx(16.711, abs=1e-3)


def test_it_follows_events() -> None:
    sessions = [Session(source=f"s{i}", destination=f"d{i}", start=10.0 * (i == 2)) for i in range(3)]
    cut = LinkEvent(time=20, link=("s0", "left"), up=False)
    s = scenario("dumbbell", sessions=sessions, events=[cut, LinkEvent(time=30, link=("s0", "left"), up=True)])
    two, three, without_first, again = (yardstick(s, t) for t in (0.0, 10.0, 20.0, 30.0))
    assert (three.lower, three.upper) == (again.lower, again.upper)
    assert yardstick(s, 15.0).upper == three.upper
    assert three.upper == pytest.approx(yardstick(scenario("dumbbell")).upper)
    assert without_first.counts.tolist() == [False, True, True]
    assert not without_first.worthless.any()  # cut off: nothing is delivered that would have to be left out
    assert without_first.upper == pytest.approx(two.upper, abs=1e-6)
    nobody = yardstick(scenario("dumbbell", sessions=[Session(source="s0", destination="d0", start=5.0)]))
    assert (nobody.lower, nobody.upper, nobody.geometric_mean) == (0.0, 0.0, 0.0)


def highest_w(s: Scenario, r: int) -> float:
    """Each hop by a search over w; nobody else is there, and the session sends as little as it may."""
    a, total = s.arrays(), 1.0
    source = a.decay_rate[a.source[r]]
    for h in range(a.hop_start[r], a.hop_start[r + 1]):
        l = a.hop_link[h]
        rate = 0.0 if a.hop_index[h] == 0 else source + a.decay_rate[a.hop_from[h]]

        def lost(w: Any, l: int = int(l), rate: float = float(rate)) -> Any:
            slack = a.capacity[l] * (1.0 - w) - a.rate_min[r]
            return -w * slack / (slack + rate) if rate > 0.0 else -w

        top = min(a.werner_max[l], 1.0 - a.rate_min[r] / a.capacity[l])
        found: Any = optimize.minimize_scalar(
            lost, bounds=(a.werner_min[l], top), method="bounded", options={"xatol": 1e-12}
        )
        total *= -min(found.fun, lost(top), lost(a.werner_min[l]))
        total *= np.exp(-(source + a.decay_rate[a.hop_to[h]]) * a.latency[l])
    return total


@pytest.mark.parametrize("coherence", [0.05, 0.3, 1.0, 3.0, 10.0, 1e4, np.inf])
@pytest.mark.parametrize("name", ["dumbbell", "nsfnet", "surfnet"])
def test_who_is_hopeless_is_who_a_search_over_w_cannot_serve(name: str, coherence: float) -> None:
    s = scenario(name, coherence_time=coherence, werner_range=(0.6, 0.99))
    problem = Problem.from_scenario(s)
    expected = [highest_w(s, r) for r in range(len(s.sessions))]
    np.testing.assert_allclose(np.exp(problem.highest_log_werner), expected, rtol=1e-7)
    np.testing.assert_array_equal(problem.hopeless, np.array(expected) <= measures.find(s.measure).positive_from)


def test_hopeless_sessions_are_named_once_and_left_out() -> None:
    s = scenario("surfnet", coherence_time=1.0)
    hopeless = Problem.from_scenario(s).hopeless
    assert 0 < hopeless.sum() < len(s.sessions)
    with pytest.warns(ScoreWarning, match=r"surfnet: hopeless even alone .* session 0 \(Delft->Enschede\)") as caught:
        found = yardstick(s)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert yardstick(s) is found
    np.testing.assert_array_equal(found.counts, ~hopeless)
    np.testing.assert_array_equal(found.worthless, hopeless)
    rest = s.replace(sessions=[session for session, gone in zip(s.sessions, hopeless, strict=True) if not gone])
    alone = yardstick(rest)
    assert found.upper == pytest.approx(alone.upper, abs=1e-9)
    assert found.lower == pytest.approx(alone.lower, abs=1e-9)
    assert found.geometric_mean == pytest.approx(alone.geometric_mean)


@pytest.mark.parametrize(
    "asked",
    [{"min_fidelity": 0.999}, {"min_rate": 600.0}, {"min_rate": 20.0, "rate_range": (0.01, 22.0)}],
)
def test_a_session_that_asks_for_what_nobody_can_give_is_hopeless(asked: dict[str, object]) -> None:
    s = scenario("dumbbell", swap_success=0.9)  # of 22 pairs/s at most 17.8 arrive
    s = s.replace(sessions=[s.sessions[0].model_copy(update=asked), *s.sessions[1:]])
    with pytest.warns(ScoreWarning, match=r"session 0 \(s0->d0\)"):
        found = yardstick(s)
    assert found.counts.tolist() == [False, True, True]


def test_sessions_that_cannot_be_served_together_have_no_optimum() -> None:
    """Each could deliver 300 pairs/s alone, at a bottleneck of 473; all three cannot."""
    base = scenario("dumbbell", measure="negativity", coherence_time=np.inf)
    s = base.replace(sessions=[each.model_copy(update={"min_rate": 300.0}) for each in base.sessions])
    assert not Problem.from_scenario(s).hopeless.any()
    with pytest.warns(ScoreWarning, match="dumbbell: no score, as there is no optimum: session 0"):
        found = yardstick(s)
    assert not found.counts.any()
    assert found.worthless.all()
    assert np.isnan(found.best_rates).all()


def test_a_moment_without_hope() -> None:
    s = scenario("dumbbell", events=[NodeEvent(time=20.0, node="s1", coherence_time=0.01)])
    with pytest.warns(ScoreWarning, match=r"dumbbell from 20 s on: hopeless .* session 1"):
        assert yardstick(s, 20.0).counts.tolist() == [True, False, True]
    assert yardstick(s, 10.0).counts.all()


def promised() -> Scenario:
    """A floor and a demand that bind, of sessions of different weights."""
    base = scenario("dumbbell", swap_success=0.9)
    a, b, c = base.sessions
    return base.replace(
        sessions=[
            a.model_copy(update={"min_fidelity": 0.91, "weight": 2.0}),
            b.model_copy(update={"min_rate": 12.0, "weight": 0.5}),
            c,
        ]
    )


def test_breaking_a_promise_never_pays() -> None:
    """No static allocation, whatever it breaks, exceeds the optimum that keeps all; without penalties many do."""
    s = promised()
    problem, found = Problem.from_scenario(s), yardstick(s)
    penalties = found.floor_penalty, found.demand_penalty
    assert [p.nonzero()[0].tolist() for p in penalties] == [[0], [1]]
    free = solve(s.replace(sessions=[x.model_copy(update={"min_fidelity": None, "min_rate": 0.0}) for x in s.sessions]),
                 decoherence=True)  # fmt: skip
    rng = np.random.default_rng(0)
    blind = 0
    for step in np.linspace(0.0, 1.0, 400):
        rates = free.rates * np.exp(0.3 * step * rng.normal(size=3))
        werner = 1.0 - (1.0 - free.werner) * np.exp(0.3 * step * rng.normal(size=7))
        delivered, w = problem.expected_delivery(rates), problem.expected_werner(rates, werner)
        assert penalised(problem, delivered, w, *penalties) <= found.upper + 1e-6
        blind += problem.utility(delivered, w) > found.upper
    assert blind > 20
    best = solve(s, decoherence=True)
    kept = penalised(problem, problem.expected_delivery(best.rates), best.expected_werner, *penalties)
    assert kept == pytest.approx(found.upper, abs=1e-6)


def test_what_a_broken_promise_costs() -> None:
    s = promised()
    problem, found = Problem.from_scenario(s), yardstick(s)
    best = solve(s, decoherence=True)
    rates, w = np.array([10.0, 6.0, 12.0]), np.array([0.87, 0.9, 0.9])
    plain = problem.utility(rates, w)
    floor = 2.0 * best.fidelity_prices[0] * (np.log((4.0 * 0.91 - 1.0) / 3.0) - np.log(0.87))
    demand = 2.0 * best.rate_prices[1] * np.log(2.0)
    cost = plain - penalised(problem, rates, w, found.floor_penalty, found.demand_penalty)
    assert cost == pytest.approx(floor + demand)
    silent = penalised(problem, np.zeros(3), np.full(3, np.nan), found.floor_penalty, found.demand_penalty)
    assert silent == pytest.approx(3.5 * np.log(1e-4))


def test_both_kinds_of_swapping_have_one_yardstick() -> None:
    s = scenario("dumbbell")
    assert yardstick(s.replace(swapping="parallel")).upper == yardstick(s).upper

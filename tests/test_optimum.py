"""The central optimum: check values of model.md §10, optimality conditions, infeasible scenarios."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from qnum_gym.optimum import Allocation, InfeasibleError, Problem, geometric_mean, solve, solve_problem
from qnum_gym.physics import measures
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Link, LinkEvent, Node, NodeEvent, Scenario, Session
from qnum_gym.scenarios.topologies import scenario


def two_sessions(measure: str) -> Scenario:
    """Own link of 2 km each, then a shared one of 20 km."""
    links = [Link(a="a", b="m", length_km=2), Link(a="b", b="m", length_km=2), Link(a="m", b="z", length_km=20)]
    sessions = [Session(source=s, destination="z", path=(s, "m", "z")) for s in "ab"]
    return Scenario(name="two", links=links, sessions=sessions, measure=measure)


def even_dumbbell(measure: str) -> Scenario:
    """Dumbbell with d = 1000 on every link."""
    s = scenario("dumbbell", measure=measure)
    return s.replace(links=[Link(a=x.a, b=x.b, length_km=x.length_km, capacity=1000) for x in s.links])


def floored_line() -> Scenario:
    """Links d = (100, 60, 100) in a line, sessions over {0, 1} and {1, 2} with W >= 0.8."""
    links = [Link(a=i, b=i + 1, length_km=1, capacity=d) for i, d in enumerate((100.0, 60.0, 100.0))]
    sessions = [Session(source=0, destination=2), Session(source=1, destination=3)]
    sessions = [x.model_copy(update={"min_fidelity": fidelity(0.8)}) for x in sessions]
    return Scenario(name="line", links=links, sessions=sessions, measure="negativity")


def pairs_with(**fields: Any) -> list[Session]:
    """The dumbbell's three sessions, the first with `fields`."""
    return [Session(source=f"s{i}", destination=f"d{i}", **(fields if i == 0 else {})) for i in range(3)]


@pytest.mark.parametrize(
    ("build", "measure", "rate", "w", "utility"),
    [
        (two_sessions, "distillable", 42.963348, (0.970008, 0.909210), 5.823754),
        (two_sessions, "secret_key", 36.839305, (0.974283, 0.922152), 5.480904),
        (two_sessions, "negativity", 132.359493, (0.907602, 0.720299), 6.919380),
        (even_dumbbell, "secret_key", 21.054466, (0.978946, 0.936837), 6.523860),
        (even_dumbbell, "negativity", 79.262420, (0.920738, 0.762213), 8.769040),
    ],
)
def test_published_optima(build: Any, measure: str, rate: float, w: tuple[float, float], utility: float) -> None:
    s = build(measure)
    optimum = solve(s)
    shared = [l for l in range(len(s.links)) if sum(l in route for route in s.routes) > 1]
    expected = np.full(len(s.links), w[0])
    expected[shared] = w[1]
    np.testing.assert_allclose(optimum.rates, rate, rtol=0, atol=6e-7)
    np.testing.assert_allclose(optimum.werner, expected, rtol=0, atol=6e-7)
    assert optimum.utility == pytest.approx(utility, abs=6e-7)
    assert optimum.kkt_residual < 1e-9

    n, own = len(s.sessions), len(s.routes[0]) - 1
    d, d_shared = s.arrays().capacity[s.routes[0][0]], s.arrays().capacity[shared[0]]

    def stationarity(r: float) -> float:
        """By symmetry all links are full, so that one equation in R is left: 1/R = sum of prices, lambda = a/(w d)."""
        w_own, w_shared = 1 - r / d, 1 - n * r / d_shared
        a = measures.elasticity(measure, w_own**own * w_shared)
        return 1 / r - own * a / (w_own * d) - n * a / (w_shared * d_shared)

    exact: Any = brentq(stationarity, 0.9 * rate, 1.1 * rate, xtol=1e-13, rtol=np.float64(1e-14))
    np.testing.assert_allclose(optimum.rates, exact, rtol=1e-9)


def test_published_optimum_with_fidelity_floor() -> None:
    optimum = solve(floored_line())
    np.testing.assert_allclose(optimum.rates, 4.792027, rtol=0, atol=6e-7)
    np.testing.assert_allclose(optimum.werner, [0.952080, 0.840266, 0.952080], rtol=0, atol=6e-7)
    np.testing.assert_allclose(optimum.link_prices, [0.043685, 0.164995, 0.043685], rtol=0, atol=6e-7)
    np.testing.assert_allclose(optimum.fidelity_prices, 2.444897, rtol=0, atol=6e-7)
    assert optimum.utility + 2 * np.log(4) == pytest.approx(3.806851, abs=6e-7)  # the table leaves the 1/4 of f out
    np.testing.assert_allclose(optimum.expected_werner, 0.8, rtol=1e-9)


@pytest.mark.parametrize(
    ("measure", "coherence", "rate", "w", "utilisation", "utility", "gm"),
    [
        ("secret_key", 10.0, 17.4459, (0.98536, 0.93078, 0.97266), (1, 0.799, 0.536), 4.9196, 5.154),
        ("secret_key", 100.0, 20.3593, (0.98291, 0.93104, 0.97887), (1, 0.936, 0.809), 6.1114, 7.669),
        ("negativity", 10.0, 76.7516, (0.93558, 0.74428, 0.92322), (1, 0.951, 0.839), 8.4482, 16.711),
    ],
)
def test_published_optima_with_decoherence(
    measure: str,
    coherence: float,
    rate: float,
    w: tuple[float, ...],
    utilisation: tuple[float, ...],
    utility: float,
    gm: float,
) -> None:
    s = scenario("dumbbell", measure=measure, coherence_time=coherence)
    optimum = solve(s, decoherence=True)
    a = s.arrays()
    used = 1 - optimum.slack / (a.capacity * (1 - optimum.werner))
    np.testing.assert_allclose(optimum.rates, rate, rtol=0, atol=6e-5)
    for r in range(3):
        np.testing.assert_allclose(optimum.werner[list(s.routes[r])], w, rtol=0, atol=6e-6)
        np.testing.assert_allclose(used[list(s.routes[r])], utilisation, rtol=0, atol=6e-4)
    assert optimum.utility == pytest.approx(utility, abs=6e-5)
    assert geometric_mean(optimum.utility, a.weight) == pytest.approx(gm, abs=6e-4)


@pytest.mark.parametrize(
    ("measure", "formula", "simulated"), [("secret_key", 0.8672, 0.8674), ("negativity", 0.6236, 0.6259)]
)
def test_expected_werner_at_the_published_optima(measure: str, formula: float, simulated: float) -> None:
    s = scenario("dumbbell", measure=measure)
    optimum = solve(s, decoherence=True)
    p = Problem.from_scenario(s)
    expected = p.expected_werner(optimum.rates, optimum.werner)
    np.testing.assert_allclose(expected, optimum.expected_werner, rtol=1e-12)
    np.testing.assert_allclose(expected, formula, rtol=0, atol=6e-5)
    sharper = p.expected_werner(optimum.rates, optimum.werner, geometric=True)
    np.testing.assert_allclose(sharper, simulated, atol=1.2e-3)
    assert (np.abs(sharper - simulated) < np.abs(expected - simulated) + 1e-4).all()


def fixed_point_errors(s: Scenario, x: Allocation, decoherence: bool, rho: float) -> list[float]:
    """How far model.md's (14'), (15)-(18) move from the allocation, from its public fields only; inner variables."""
    p = Problem.from_scenario(s)
    a = p.arrays
    d, weight = a.capacity, a.weight
    pull = weight * measures.elasticities(a.measure, x.expected_werner) + x.fidelity_prices
    errors: list[float] = []
    for r in np.flatnonzero(a.active):
        lowest = max(a.rate_min[r], a.min_rate[r] / p.delivery[r])
        if lowest * 1.0001 < x.rates[r] < a.rate_max[r] * 0.9999:
            hops = a.hop_session == r
            price = float(p.thinning[hops] @ x.link_prices[a.hop_link[hops]])
            errors.append(1 - x.rates[r] * price / weight[r])  # (15)
        floor = a.log_werner_floor[r]
        if np.isfinite(floor):
            errors.append(float(min(np.log(x.expected_werner[r]) - floor, 0.0)))
            errors.append(float(x.fidelity_prices[r] * (np.log(x.expected_werner[r]) - floor)))  # (16)
    for l in np.unique(a.hop_link[a.active[a.hop_session]]):
        hops = np.flatnonzero((a.hop_link == l) & a.active[a.hop_session])
        gamma = p.storage_rate[hops] if decoherence else np.zeros(len(hops))
        s_l, price, total = x.slack[l], x.link_prices[l], d[l] * (1 - x.werner[l])
        least = (1 - rho) * total
        g = float(np.sum(pull[a.hop_session[hops]] * gamma / (s_l * (s_l + gamma)))) if gamma.any() else 0.0
        errors.append(float(min(s_l - least, 0.0) / total))  # capacity
        slack = s_l > least * (1 + 1e-6) + 1e-6 * total
        errors.append(float((price - g) * s_l if slack else min(price - g, 0.0)))  # (18)
        if a.werner_min[l] + 1e-6 < x.werner[l] < a.werner_max[l] - 1e-6:
            credit = (1 - rho) * d[l] * max(price - g, 0.0)
            stress = -d[l] * price + credit + pull[a.hop_session[hops]].sum() / x.werner[l]
            errors.append(stress * (1 - x.werner[l]))  # (17)
    return errors


CASES: dict[str, Scenario] = {
    "dumbbell": scenario("dumbbell"),
    "nsfnet": scenario("nsfnet"),
    "surfnet": scenario("surfnet", coherence_time=100.0),
    "floors": scenario("dumbbell", sessions=pairs_with(min_fidelity=0.95), coherence_time=100.0),
    "weights": scenario("dumbbell", sessions=pairs_with(weight=7.0)),
    "demand": scenario("dumbbell", sessions=pairs_with(min_rate=40.0)),
    "capped rate": scenario("dumbbell", sessions=pairs_with(rate_range=(0.01, 5.0))),
    "lossy swaps": scenario("chain", sessions=3, swap_success=0.8, gate_factor=0.99, message_loss=0.02),
    "mixed": scenario("dumbbell", sessions=pairs_with(measure="negativity")),
}


@pytest.mark.parametrize("rho", [1.0, 0.9])
@pytest.mark.parametrize("decoherence", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_optimum_is_the_fixed_point_of_the_published_updates(name: str, decoherence: bool, rho: float) -> None:
    s = CASES[name]
    optimum = solve(s, decoherence=decoherence, max_utilisation=rho)
    assert optimum.kkt_residual < 1e-9
    assert np.max(np.abs(fixed_point_errors(s, optimum, decoherence, rho))) < 2e-5
    assert (optimum.link_prices >= 0).all()
    assert (optimum.fidelity_prices >= 0).all()


def test_prices_are_marginal_utilities() -> None:
    """d utility / d d_l = lambda_l (1 - w_l), d utility / d K_r = -mu_r."""
    s, step = floored_line(), 1e-4
    base = solve(s)

    def utility(log_floor: float, capacity: float) -> float:
        sessions, links = list(s.sessions), list(s.links)
        sessions[0] = sessions[0].model_copy(update={"min_fidelity": fidelity(float(np.exp(log_floor)))})
        links[1] = links[1].model_copy(update={"capacity": capacity})
        return solve(s.replace(sessions=sessions, links=links)).utility

    floor = float(np.log(0.8))
    lost = utility(floor - step, 60.0) - utility(floor + step, 60.0)
    assert lost / (2 * step) == pytest.approx(base.fidelity_prices[0], rel=1e-5)
    gained = utility(floor, 60.0 + step) - utility(floor, 60.0 - step)
    assert gained / (2 * step) == pytest.approx(base.link_prices[1] * (1 - base.werner[1]), rel=1e-5)


@pytest.mark.parametrize("decoherence", [False, True])
@pytest.mark.parametrize("rho", [1.0, 0.9])
def test_prices_with_losses_weights_and_memories(decoherence: bool, rho: float) -> None:
    """All three prices against central differences of the optimal utility, where q-datagrams get lost on the way."""
    base = scenario("chain", sessions=3, swap_success=0.8, gate_factor=0.99, message_loss=0.02, measure="negativity")
    nodes = [x.name for x in base.nodes]
    step = 1e-4

    def best(demand: float = 1.0, floor: float = 0.0, capacity: float = 1.0) -> Allocation:
        """The optimum with the first session's demand, the second's floor and the second link's d moved."""
        sessions = [
            Session(source=nodes[0], destination=nodes[4], weight=2.0, min_rate=45.0 * demand),
            Session(source=nodes[1], destination=nodes[4], weight=0.5, min_fidelity=fidelity(0.7 * np.exp(floor))),
            Session(source=nodes[0], destination=nodes[2], weight=1.0, min_rate=0.5),
        ]
        links = list(base.links)
        links[1] = links[1].model_copy(update={"capacity": 1000.0 * capacity})
        return solve(base.replace(sessions=sessions, links=links), decoherence, rho)

    x = best()
    demand = (best(demand=np.exp(-step)).utility - best(demand=np.exp(step)).utility) / (2 * step)
    assert demand > 0.1
    assert x.rate_prices[0] == pytest.approx(demand, rel=1e-5)
    np.testing.assert_allclose(x.rate_prices[1:], 0.0, atol=1e-8)
    floor = (best(floor=-step).utility - best(floor=step).utility) / (2 * step)
    assert floor > 0.1
    assert x.fidelity_prices[1] == pytest.approx(floor, rel=1e-5)
    np.testing.assert_allclose(x.fidelity_prices[[0, 2]], 0.0, atol=1e-8)
    if rho == 1.0:  # lambda is the price of arrivals; a cap's share of d counts but rho of it
        capacity = (best(capacity=1 + step).utility - best(capacity=1 - step).utility) / (2 * step * 1000.0)
        assert x.link_prices[1] * (1 - x.werner[1]) == pytest.approx(capacity, rel=1e-5)


def test_price_of_a_demand_that_leaves_the_rate_no_range() -> None:
    def best(demand: float) -> Allocation:
        return solve(scenario("dumbbell", sessions=pairs_with(min_rate=demand, rate_range=(0.01, demand))))

    lost = (best(40 * np.exp(-1e-4)).utility - best(40 * np.exp(1e-4)).utility) / 2e-4
    assert lost > 0.1
    assert best(40.0).rate_prices[0] == pytest.approx(lost, rel=1e-5)
    assert best(4.0).rate_prices[0] == 0.0  # here the upper bound holds the rate back


def test_infinite_memory_makes_decoherence_irrelevant() -> None:
    s = scenario("dumbbell", coherence_time=np.inf)
    plain, stored = solve(s), solve(s, decoherence=True)
    assert stored.utility == pytest.approx(plain.utility, abs=1e-8)
    slowly = solve(s.replace(coherence_time=1e7), decoherence=True)
    assert plain.utility - slowly.utility == pytest.approx(0, abs=2e-3)


def test_heterogeneous_memories() -> None:
    """A source with a poor memory gets less entanglement, and a router's memory concerns those who store there."""
    s = scenario("dumbbell")
    nodes = [Node(name=x.name, coherence_time=1.0 if x.name == "s0" else None) for x in s.nodes]
    optimum = solve(s.replace(nodes=nodes), decoherence=True)
    assert optimum.expected_werner[0] < optimum.expected_werner[1] == pytest.approx(optimum.expected_werner[2])
    assert optimum.kkt_residual < 1e-9


def test_session_events_and_unused_links() -> None:
    sessions = [Session(source=f"s{i}", destination=f"d{i}", start=10.0 * i) for i in range(3)]
    s = scenario("dumbbell", sessions=sessions)
    early, late = solve(s, decoherence=True), solve(s, decoherence=True, time=20.0)
    assert early.rates[0] > 0
    assert (early.rates[1:] == 0).all()
    assert np.isnan(early.expected_werner[1:]).all()
    unused = [l for l in range(len(s.links)) if l not in s.routes[0]]
    np.testing.assert_array_equal(early.werner[unused], s.arrays().initial_werner[unused])
    assert (early.link_prices[unused] == 0).all()
    assert late.utility == pytest.approx(solve(scenario("dumbbell"), decoherence=True).utility)
    nobody = solve(s.replace(sessions=[x.model_copy(update={"start": 5.0}) for x in sessions]))
    assert nobody.utility == 0
    assert (nobody.rates == 0).all()


def test_degraded_memory_event() -> None:
    s = scenario("dumbbell", events=[NodeEvent(time=5, node="s0", coherence_time=2.0)])
    assert solve(s, decoherence=True, time=5).utility < solve(s, decoherence=True, time=4.9).utility


@pytest.mark.parametrize(
    ("name", "coherence", "sessions"),
    [("dumbbell", 0.3, (0, 1, 2)), ("dumbbell", 0.45, (0, 1, 2)), ("nsfnet", 1.5, (4, 7)), ("nsfnet", 1.9, (4, 7))],
)
def test_too_little_coherence_names_the_sessions(name: str, coherence: float, sessions: tuple[int, ...]) -> None:
    s = scenario(name, coherence_time=coherence)
    with pytest.raises(InfeasibleError, match=r"Werner parameter they need|fidelity stays below") as caught:
        solve(s, decoherence=True)
    assert caught.value.sessions == sessions
    for r in sessions:
        assert f"session {r} ({s.sessions[r].source}->{s.sessions[r].destination})" in str(caught.value)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.sessions, copy.links, str(copy)) == (sessions, caught.value.links, str(caught.value))
    assert solve(s).kkt_residual < 1e-9  # without decoherence there is no trouble


@pytest.mark.parametrize(("name", "coherence"), [("dumbbell", 0.5), ("nsfnet", 2.0)])
def test_just_enough_coherence(name: str, coherence: float) -> None:
    optimum = solve(scenario(name, coherence_time=coherence), decoherence=True)
    assert optimum.kkt_residual < 1e-9
    assert (optimum.expected_werner > measures.find("secret_key").positive_from).all()


def test_other_reasons_for_infeasibility() -> None:
    high = scenario("dumbbell", sessions=pairs_with(min_fidelity=0.999))
    with pytest.raises(InfeasibleError, match=r"session 0 \(s0->d0\): even alone") as caught:
        solve(high)
    assert caught.value.sessions == (0,)
    hungry = [Session(source=f"s{i}", destination=f"d{i}", min_rate=160.0) for i in range(3)]
    with pytest.raises(InfeasibleError, match=r"480/s of link 3 \(left-right\), which carries 473"):
        solve(scenario("dumbbell", sessions=hungry, measure="negativity"))
    wasteful = scenario("chain", sessions=[Session(source=0, destination=4, min_rate=600.0)], swap_success=0.5)
    with pytest.raises(InfeasibleError, match="higher injection rate than rate_range allows"):
        solve(wasteful)
    broken = scenario("dumbbell", events=[LinkEvent(time=3, link=("s1", "left"), up=False)])
    assert solve(broken).kkt_residual < 1e-9
    with pytest.raises(InfeasibleError, match=r"session 1 \(s1->d1\): a link on the route is down") as caught:
        solve(broken, time=3)
    assert caught.value.sessions == (1,)


def crowded(seed: int) -> Scenario:
    """A ring with chords, 3 to 12 sessions with floors and demands: many can be served alone, not together."""
    rng = np.random.default_rng(seed)
    pairs = [(i, (i + 1) % 8) for i in range(8)] + [(0, 4), (2, 6)]
    links = [Link(a=a, b=b, length_km=float(rng.uniform(5, 25))) for a, b in pairs]
    sessions: list[Session] = []
    for _ in range(rng.integers(3, 13)):
        a, b = rng.choice(8, 2, replace=False).tolist()
        fidelity, rate = (rng.uniform(0.5, 0.85), rng.uniform(0, 60)) if seed % 2 else (None, rng.uniform(0, 300))
        sessions.append(Session(source=a, destination=b, min_fidelity=fidelity, min_rate=rate))
    return Scenario(name="crowded", links=links, sessions=sessions, measure="negativity")


def test_rivals_are_a_minimal_set() -> None:
    """The sessions named can not be served, even with all others off; with any one of them off they can."""
    reasons = {"can not all reach": 0, "their lowest rates ask": 0}
    for seed in range(30):
        s, decoherence = crowded(seed), seed % 3 == 0
        problem = Problem.from_scenario(s).servable()
        try:
            solve_problem(problem, decoherence=decoherence)
        except InfeasibleError as error:
            found = error
            reason = next(each for each in reasons if each in str(found))
            reasons[reason] += 1
            named = np.isin(np.arange(len(s.sessions)), found.sessions)
            assert problem.active[named].all()
            with pytest.raises(InfeasibleError, match=reason) as again:
                solve_problem(problem.without(~named), decoherence=decoherence)
            assert again.value.sessions == found.sessions
            for r in found.sessions:
                others = problem.without(~named | (np.arange(len(named)) == r))
                assert np.isfinite(solve_problem(others, decoherence=decoherence).utility)
            passing = [sum(l in s.routes[r] for r in found.sessions) for l in found.links]
            assert found.links
            assert min(passing) > 1
            for l in found.links:
                assert f"link {l} ({s.links[l].a}-{s.links[l].b})" in str(found)
    assert min(reasons.values()) >= 1, reasons
    assert sum(reasons.values()) >= 8, reasons


@pytest.mark.parametrize("rivals", [(17, 230), (5, 151, 299)])
def test_rivals_among_hundreds(rivals: tuple[int, ...]) -> None:
    """In a star, 300 sessions of which these share a poor link; together they ask more than it can do."""
    links = [Link(a="hub", b=f"n{i}", length_km=5) for i in range(301)]
    links += [Link(a="hub", b="far", length_km=40)]
    share = 1.2 / len(rivals)  # of what the poor link carries at its lowest W, 0.5
    rate = 0.5 * 1500 * 10**-0.4 * share
    sessions = [
        Session(source=f"n{r}", destination="far", min_rate=rate)
        if r in rivals
        else Session(source=f"n{r}", destination=f"n{r + 1}")
        for r in range(300)
    ]
    s = Scenario(name="star", links=links, sessions=sessions, measure="negativity")
    with pytest.raises(InfeasibleError, match=r"link 301 \(hub-far\)") as caught:
        solve(s)
    assert (caught.value.sessions, caught.value.links) == (rivals, (301,))
    floored = [x.model_copy(update={"min_rate": 0.5 * x.min_rate, "min_fidelity": 0.8}) for x in sessions]
    with pytest.raises(InfeasibleError, match=r"can not all reach .* over link 301 \(hub-far\)") as caught:
        solve(s.replace(sessions=[x if r in rivals else sessions[r] for r, x in enumerate(floored)]))
    assert caught.value.sessions == rivals


@pytest.mark.parametrize("rho", [0.0, -0.5, 1.01, float("nan")])
def test_impossible_utilisation(rho: float) -> None:
    with pytest.raises(ValueError, match="max_utilisation"):
        solve(scenario("dumbbell"), max_utilisation=rho)


@pytest.mark.parametrize("weights", [(1e-3, 1.0, 1e3), (1e-6, 1.0, 1e6), (1.0, 1.0, 1e4)])
@pytest.mark.parametrize("decoherence", [False, True])
def test_extreme_weights(weights: tuple[float, ...], decoherence: bool) -> None:
    sessions = [Session(source=f"s{i}", destination=f"d{i}", weight=x) for i, x in enumerate(weights)]
    optimum = solve(scenario("dumbbell", sessions=sessions), decoherence=decoherence)
    assert optimum.kkt_residual < 1e-9
    assert (np.diff(optimum.rates) >= -1e-6).all()


@pytest.mark.parametrize("most", [0.02, 0.5, 3.0])
def test_rates_at_their_bounds_beyond_concavity(most: float) -> None:
    """With rates held down W rises to where log f(e^s) is convex; the solution is still the best w."""
    s = scenario("dumbbell", rate_range=(0.01, most), initial_rate=0.01)
    optimum = solve(s)
    assert optimum.kkt_residual < 1e-9
    np.testing.assert_allclose(optimum.rates, most, rtol=1e-6)
    assert (optimum.expected_werner > measures.find("secret_key").concave_until).all()
    a = s.arrays()
    load = Problem.from_scenario(s).arrivals(optimum.rates)
    np.testing.assert_allclose(optimum.werner, np.minimum(a.werner_max, 1 - load / a.capacity), rtol=1e-8)


def test_delivered_pairs_have_survived_swaps_headers_and_acks() -> None:
    """n hops: n - 1 swaps, n headers and n ACKs must succeed; a link is reached after all headers and swaps before."""
    s = scenario("chain", sessions=[(0, 4), (1, 2)], swap_success=0.8, message_loss=0.1)
    p = Problem.from_scenario(s)
    np.testing.assert_allclose(p.delivery, [0.8**3 * 0.9**8, 0.9**2], rtol=1e-14)
    np.testing.assert_allclose(p.thinning, [1, 0.9, 0.9**2 * 0.8, 0.9**3 * 0.8**2, 1], rtol=1e-14)

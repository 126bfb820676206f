"""The formula of model.md §7 and §3, the static allocations of §8."""

from __future__ import annotations

import numpy as np
import pytest

from qnum_gym.optimum import Problem, best_static, equal_share, geometric_mean, solve
from qnum_gym.physics import measures
from qnum_gym.scenarios import Node, Scenario, Session
from qnum_gym.scenarios.topologies import scenario


def by_hand(s: Scenario, rates: np.ndarray, werner: np.ndarray) -> np.ndarray:
    """E[W] written out as model.md §7 has it, session by session and link by link."""
    a = s.arrays()
    gamma = {node.name: rate for node, rate in zip(s.nodes, a.decay_rate, strict=True)}
    success = {node.name: q for node, q in zip(s.nodes, a.swap_success, strict=True)}
    gate = {node.name: g for node, g in zip(s.nodes, a.gate_factor, strict=True)}
    arrivals = np.zeros(len(s.links))
    for r, session in enumerate(s.sessions):
        alive = rates[r]
        for hop, l in enumerate(s.routes[r]):
            arrivals[l] += alive
            alive *= success[session.path[hop]] if hop > 0 else 1.0
    result = []
    for r, session in enumerate(s.sessions):
        w, origin = 1.0, gamma[session.source]
        for hop, l in enumerate(s.routes[r]):
            u, v = session.path[hop], session.path[hop + 1]
            w *= werner[l] * np.exp(-(origin + gamma[v]) * a.latency[l])
            if hop > 0:
                slack = a.capacity[l] * (1 - werner[l]) - arrivals[l]
                w *= gate[u] * slack / (slack + origin + gamma[u])
        result.append(w)
    return np.array(result)


@pytest.fixture(scope="module")
def uneven() -> Scenario:
    s = scenario("nsfnet", gate_factor=0.99, swap_success=0.9, processing_delay=1e-3)
    nodes = [
        Node(name=x.name, coherence_time=3.0 + i, swap_success=0.8 + 0.01 * i, gate_factor=1 - 0.001 * i)
        for i, x in enumerate(s.nodes)
    ]
    return s.replace(nodes=nodes)


def test_expected_werner_by_hand(uneven: Scenario) -> None:
    p, rng = Problem.from_scenario(uneven), np.random.default_rng(0)
    rates, werner = rng.uniform(0.5, 3, len(p.active)), rng.uniform(0.9, 0.98, len(p.arrays.capacity))
    np.testing.assert_allclose(p.expected_werner(rates, werner), by_hand(uneven, rates, werner), rtol=1e-13)


def test_formulas_take_batches(uneven: Scenario) -> None:
    p, rng = Problem.from_scenario(uneven), np.random.default_rng(1)
    rates, werner = rng.uniform(0.5, 3, (5, 2, 8)), rng.uniform(0.9, 0.98, (5, 2, 21))
    for geometric in (False, True):
        batch = p.expected_werner(rates, werner, geometric=geometric)
        single = [
            [p.expected_werner(*pair, geometric=geometric) for pair in zip(*row, strict=True)]
            for row in zip(rates, werner, strict=True)
        ]
        np.testing.assert_allclose(batch, single, rtol=1e-14)
    utilities = p.utilities(p.expected_delivery(rates), batch)
    assert utilities.shape == (5, 2, 8)
    assert p.utility(p.expected_delivery(rates[0, 0]), batch[0, 0]) == pytest.approx(utilities[0, 0].sum())


def test_sojourn_formulas() -> None:
    """Idle M/Geo/1: one geometric service (model.md §3); busy: against its waiting-time distribution, summed up."""
    s = scenario("chain", nodes=3, sessions=[(0, 2)], coherence_time=0.1, processing_delay=0.0)
    p = Problem.from_scenario(s)
    a = p.arrays
    werner = np.array([0.95, 0.9])
    chance = a.capacity[1] * (1 - werner[1]) * a.cycle_time[1]
    gamma, cycle = 20.0, a.cycle_time[1]
    x = np.exp(-gamma * cycle)
    flight = np.exp(p.flight_log.sum())
    idle = p.expected_werner(np.array([1e-9]), werner, geometric=True)[0] / (werner.prod() * flight)
    assert idle == pytest.approx(chance * x / (1 - (1 - chance) * x), rel=1e-6)

    rate = 0.7 * chance / cycle
    busy = p.expected_werner(np.array([rate]), werner, geometric=True)[0] / (werner.prod() * flight)
    rng, total = np.random.default_rng(5), 0.0
    gaps, services = rng.exponential(1 / rate, 400_000), rng.geometric(chance, 400_000) * cycle
    free, now, sojourns = 0.0, 0.0, np.empty(len(gaps))
    for i, (gap, service) in enumerate(zip(gaps, services, strict=True)):
        now += gap
        free = max(free, now) + service
        sojourns[i] = free - now
    total = np.exp(-gamma * sojourns).mean()
    assert busy == pytest.approx(total, rel=0.015)
    plain = p.expected_werner(np.array([rate]), werner)[0] / (werner.prod() * flight)
    assert abs(plain - total) > abs(busy - total)


def fork_join(slacks: np.ndarray, gammas: np.ndarray) -> float:
    """E[exp(-storage)] where n links' pairs come after independent exponential sojourns, by first-step analysis.

    Whatever set of pairs is there, a half waits at each node with a pair on one of its sides only (model.md)."""
    n = len(slacks)

    def value(done: tuple[bool, ...]) -> float:
        if all(done):
            return 1.0
        beside = (False, *done, False)
        decay = sum(g for g, left, right in zip(gammas, beside[:-1], beside[1:], strict=True) if left != right)
        to_come = [l for l in range(n) if not done[l]]
        onward = sum(slacks[l] * value((*done[:l], True, *done[l + 1 :])) for l in to_come)
        return onward / (sum(slacks[l] for l in to_come) + decay)

    return value((False,) * n)


def test_fork_join_of_two_links() -> None:
    """s₀s₁/(s₀+s₁) · (1/(s₁+γ₀+γ₁) + 1/(s₀+γ₁+γ₂)): the pair made first waits at both of its own nodes."""
    (s, u), (g, h, k) = (3.0, 7.0), (0.1, 0.2, 0.4)
    closed = s * u / (s + u) * (1 / (u + g + h) + 1 / (s + h + k))
    assert fork_join(np.array([s, u]), np.array([g, h, k])) == pytest.approx(closed, rel=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_parallel_rates_are_the_cost_of_waiting_where_slacks_are_equal(n: int) -> None:
    """Γ_l is -∂ log E[exp(-storage)] / ∂(1/s_l) for small γ, which differ from node to node."""
    times = np.random.default_rng(n).uniform(20.0, 60.0, n + 1)
    ends = [{"a": i, "b": i + 1, "length_km": 10.0} for i in range(n)]
    nodes = [{"name": i, "coherence_time": x} for i, x in enumerate(times)]
    s = Scenario(links=ends, nodes=nodes, sessions=[{"source": 0, "destination": n}], swapping="parallel")
    slack, step, cost = 1e6, 1e-3, []
    for l in range(n):
        sides = [np.where(np.arange(n) == l, slack / (1 + sign * step), slack) for sign in (1.0, -1.0)]
        longer, shorter = (np.log(fork_join(each, 1.0 / times)) for each in sides)
        cost.append((shorter - longer) * slack / (2 * step))
    np.testing.assert_allclose(Problem.from_scenario(s).storage_rate, np.maximum(cost, 0.0), rtol=1e-4, atol=1e-8)


def test_messages_and_swaps_in_parallel() -> None:
    """n - 1 requests, n outcomes and n ACKs; a failed swap keeps no request from the links ahead."""
    s = scenario("chain", nodes=4, sessions=[(0, 3)], swap_success=0.8, message_loss=0.1, swapping="parallel")
    p = Problem.from_scenario(s)
    np.testing.assert_allclose(p.thinning, [1.0, 0.9, 0.81])
    np.testing.assert_allclose(p.delivery, 0.8**2 * 0.9**8)


def test_overload_leaves_nothing() -> None:
    p = Problem.from_scenario(scenario("dumbbell"))
    werner = np.full(7, 0.95)
    assert (p.expected_werner(np.full(3, 100.0), werner) == 0).all()
    endless = Problem.from_scenario(scenario("dumbbell", coherence_time=np.inf))
    np.testing.assert_allclose(endless.expected_werner(np.full(3, 100.0), werner), 0.95**3)


def test_utility_floor_and_worthless_pairs() -> None:
    s = scenario(
        "dumbbell",
        sessions=[Session(source=f"s{i}", destination=f"d{i}", start=5.0 * (i == 2), weight=1.0 + i) for i in range(3)],
    )
    p = Problem.from_scenario(s)
    least = np.log(1e-4)
    np.testing.assert_allclose(
        p.utilities(np.array([10.0, 10.0, 10.0]), np.array([0.5, np.nan, 0.9])), [least, least, 0]
    )
    np.testing.assert_allclose(p.utilities(np.zeros(3), np.full(3, 0.9)), [least, least, 0])
    good = np.log(10 * measures.value("secret_key", 0.9))
    assert p.utility(np.full(3, 10.0), np.full(3, 0.9)) == pytest.approx(3 * good)
    assert geometric_mean(3 * good, p.arrays.weight[:2]) == pytest.approx(np.exp(good))


def test_equal_share_of_the_dumbbell() -> None:
    """The bottleneck's rho d (1 - 0.967)/3 each, rho by the formula."""
    s = scenario("dumbbell")
    share = equal_share(s)
    p, d = Problem.from_scenario(s), s.arrays().capacity[3]
    np.testing.assert_array_equal(share.werner, 0.967)
    utilities = []
    for rho in np.arange(1, 20) / 20:
        rates = np.full(3, rho * d * 0.033 / 3)
        utilities.append(p.utility(rates, p.expected_werner(rates, share.werner)))
    best = (1 + int(np.argmax(utilities))) / 20
    np.testing.assert_allclose(share.rates, best * d * 0.033 / 3)
    assert share.utility == pytest.approx(max(utilities))
    assert np.isnan(share.kkt_residual)


def test_equal_share_takes_the_smallest_share() -> None:
    """Chain with one session end to end and one on each link: every link is split in two."""
    s = scenario("chain", nodes=4, sessions=[(0, 3), (0, 1), (1, 2), (2, 3)])
    share = equal_share(s)
    np.testing.assert_allclose(share.rates, share.rates[0])
    used = 1 - share.slack / (s.arrays().capacity * 0.033)
    np.testing.assert_allclose(used * 20, np.round(used[0] * 20))


@pytest.mark.parametrize("name", ["dumbbell", "nsfnet", "surfnet", "chain", "star", "grid", "waxman"])
def test_best_static_is_the_best_of_its_kind(name: str) -> None:
    s = scenario(name, coherence_time=100.0)
    p, best = Problem.from_scenario(s), best_static(s)
    assert equal_share(s).utility <= best.utility + 1e-9
    assert best.utility <= solve(s, decoherence=True).utility + 1e-9
    a, sessions = p.arrays, np.bincount(p.arrays.hop_link, minlength=len(p.arrays.capacity))
    rng = np.random.default_rng(3)
    for _ in range(300):
        near = rng.random() < 0.7
        w = np.clip(best.werner[0] + rng.normal(0, 0.003), 0.5, 0.999) if near else rng.uniform(0.5, 0.999)
        share = rng.uniform(0.01, 0.95) * a.capacity * (1 - w) / np.maximum(sessions, 1)
        rates = np.clip([share[list(route)].min() for route in s.routes], a.rate_min, a.rate_max)
        werner = np.full(len(a.capacity), w)
        assert p.utility(rates, p.expected_werner(rates, werner)) <= best.utility + 1e-9


def test_best_static_leaves_a_twentieth_of_its_fullest_link() -> None:
    """Where no memory decays the formula itself knows no reason not to fill it."""
    s = scenario("dumbbell", coherence_time=np.inf)
    best, d = best_static(s), s.arrays().capacity
    assert (1.0 - best.slack / (d * (1.0 - best.werner))).max() == pytest.approx(0.95, abs=1e-12)


def test_static_allocations_keep_to_the_ranges() -> None:
    s = scenario("dumbbell", werner_range=(0.5, 0.94), initial_werner=0.9, rate_range=(2.0, 4.0), initial_rate=3.0)
    for allocation in (equal_share(s), best_static(s)):
        assert (allocation.werner <= 0.94).all()
        assert ((allocation.rates >= 2.0) & (allocation.rates <= 4.0)).all()

"""α-fair utilities: the optimum against closed forms and other methods, the score, the controllers."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.optimize import minimize

from qnum_gym import Scenario, agents, scenario
from qnum_gym.envs.rewards import REWARDS
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.optimum import Allocation, InfeasibleError, Problem, geometric_mean, solve, solve_problem, yardstick
from qnum_gym.optimum.formulation import build, fair
from qnum_gym.optimum.interior import _Systems
from qnum_gym.physics import measures
from qnum_gym.simulator import Controls, Simulator
from tests.test_optimum_independent import margins, random_scenario

ALPHAS = (0.0, 0.5, 0.9, 1.0, 2.0, 4.0)


def by_definition(x: Any, alpha: float, weight: Any = 1.0) -> float:
    """Σ ω U(x) as model.md has it."""
    return float(np.sum(weight * (np.log(x) if alpha == 1.0 else x ** (1.0 - alpha) / (1.0 - alpha))))


@pytest.mark.parametrize("alpha", ALPHAS)
def test_equal_sessions_share_a_link(alpha: float) -> None:
    """One link of 1000 p pairs/s of which each of n equal sessions has an n-th, whatever alpha is."""
    link = {"a": "x", "b": "y", "length_km": 1.0, "link_model": "fixed", "attempt_success": 0.1, "initial_werner": 0.95}
    s = Scenario(links=[link], sessions=[("x", "y")] * 4, fairness=alpha)
    found = solve(s)
    if alpha > 0.0:  # the sum does not care who gets how much
        np.testing.assert_allclose(found.rates, 25.0, rtol=1e-8)
    assert found.rates.sum() == pytest.approx(100.0)
    x = 25.0 * measures.value("secret_key", 0.95)
    assert found.utility == pytest.approx(by_definition(np.full(4, x), alpha), rel=1e-9)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0, 4.0])
def test_linear_network(alpha: float) -> None:
    """One session over all of L links of capacity C, and one over each (Mo & Walrand 2000).

    With R₀ + R = C and f₀, f of the long and the short ones, f₀^(1−α) R₀^(−α) = L f^(1−α) R^(−α). Where pairs lose
    nothing on the way that is the classical R₀ = C/(1 + L^(1/α)).
    """
    n_links, capacity, w = 3, 100.0, 0.97
    kind = {"link_model": "fixed", "attempt_success": 0.1, "initial_werner": w, "length_km": 1.0}
    links = [{"a": i, "b": i + 1, **kind} for i in range(n_links)]
    sessions = [(0, n_links), *((i, i + 1) for i in range(n_links))]
    found = solve(Scenario(links=links, sessions=sessions, fairness=alpha, measure="negativity"))
    worth = (3.0 * w**n_links - 1.0) / (3.0 * w - 1.0)
    ratio = (n_links * worth ** (alpha - 1.0)) ** (1.0 / alpha)  # R/R₀
    long = capacity / (1.0 + ratio)
    np.testing.assert_allclose(found.rates, [long, *[capacity - long] * n_links], rtol=1e-8)
    price = (((capacity - long) * (3.0 * w - 1.0) / 4.0) ** (1.0 - alpha)) / (capacity - long)  # U'(x) f of a short one
    np.testing.assert_allclose(found.link_prices, price, rtol=1e-7)


def slsqp(p: Problem, around: Problem, alpha: float, decoherence: bool, starts: int, seed: int) -> float:
    """Σ ω U(x) at best, by SLSQP in (log R, log(1 − w)) from around the optimum for alpha = 1."""
    a, used, rng = p.arrays, np.unique(p.arrays.hop_link), np.random.default_rng(seed)
    n = len(a.active)

    def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        werner = a.initial_werner.copy()
        werner[used] = 1.0 - np.exp(x[n:])
        return np.exp(x[:n]), werner

    def loss(x: np.ndarray) -> float:
        rates, werner = split(x)
        expected = p.expected_werner(rates, werner, decoherence=decoherence)
        worth = np.maximum(p.expected_delivery(rates) * measures.values(a.measure, expected), 1e-3)
        return -by_definition(worth, alpha, a.weight)

    limits = [*zip(np.log(a.rate_min), np.log(a.rate_max), strict=True)]
    limits += [*zip(np.log(1.0 - a.werner_max[used]), np.log(1.0 - a.werner_min[used]), strict=True)]
    rule = {"type": "ineq", "fun": lambda x: np.maximum(margins(p, *split(x), decoherence, 1.0), -50.0)}
    best, log_optimum = -np.inf, solve_problem(around, decoherence=decoherence)
    for _ in range(starts):
        rates, loss_of_werner = log_optimum.rates * rng.uniform(0.5, 0.9, n), 1.0 - log_optimum.werner[used]
        first = np.log(np.concatenate([rates, loss_of_werner * rng.uniform(0.9, 1.0, len(used))]))
        options = {"maxiter": 500, "ftol": 1e-11}
        found = minimize(loss, first, method="SLSQP", bounds=limits, constraints=rule, options=options)
        if margins(p, *split(found.x), decoherence, 1.0).min() > -1e-7:
            best = max(best, -float(found.fun))
    return best


@pytest.mark.parametrize(("alpha", "decoherence", "starts"), [(0.5, True, 2), (2.0, True, 1), (4.0, False, 1)])
def test_slsqp_finds_no_better(alpha: float, decoherence: bool, starts: int) -> None:
    """Convex for alpha ≥ 1; below, the better of two starts."""
    compared = 0
    for seed in range(5):
        s = random_scenario(seed).replace(fairness=alpha)
        try:
            ours = solve(s, decoherence)
        except InfeasibleError:
            continue
        assert ours.kkt_residual < 1e-9
        p = Problem.from_scenario(s)
        x = p.expected_delivery(ours.rates) * measures.values(p.arrays.measure, ours.expected_werner)
        assert by_definition(x, alpha, p.arrays.weight) == pytest.approx(ours.utility, rel=1e-9)
        around = Problem.from_scenario(random_scenario(seed))
        other = slsqp(p, around, alpha, decoherence, starts, seed)
        scale = float(np.sum(p.arrays.weight * x ** (1.0 - alpha)))  # of a change of all log x by 1
        assert other <= ours.utility + 1e-6 * scale
        assert other == pytest.approx(ours.utility, abs=1e-3 * scale)
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("alpha", [0.5, 3.0])
def test_newton_systems(alpha: float) -> None:
    """Both ways to solve them, with a term for R times S, against a dense matrix."""
    for seed in (0, 1, 2):
        p = Problem.from_scenario(random_scenario(seed).replace(fairness=alpha))
        model = build(p, True, 1.0)
        rng, n, m, n_sessions = (
            np.random.default_rng(seed),
            len(model.program.low),
            model.program.n_linear,
            len(model.sessions),
        )
        z = np.concatenate(
            [rng.uniform(1, 30, n_sessions), rng.uniform(0.98, 0.99, len(model.links)), rng.uniform(5, 50, n)]
        )[:n]
        program = fair(p, model, z).program
        systems = _Systems(program)
        own, stiff = 10 ** rng.uniform(-2, 2, n) / z**2, 10 ** rng.uniform(-3, 6, m)
        own[:n_sessions] += 2.0 / z[:n_sessions] ** 2
        bent, crossed = rng.uniform(1, 2, n_sessions), rng.uniform(-1, 1, n_sessions) / z[:n_sessions]
        slopes = program.slopes(z)
        jacobian = systems.jacobian.at(slopes, np.zeros(n_sessions)).toarray()
        hessian = np.diag(own) + jacobian.T @ (np.concatenate([stiff, bent])[:, None] * jacobian)
        mixed = np.zeros((n, n))
        mixed[:n_sessions] = crossed[:, None] * jacobian[m:]
        gradient, missing = rng.normal(size=n) / z, rng.normal(size=n_sessions)
        right = -gradient - jacobian[m:].T @ (bent * missing)
        right[:n_sessions] -= crossed * missing
        free = program.free
        expected = np.zeros(n)
        expected[free] = np.linalg.solve((hessian + mixed + mixed.T)[np.ix_(free, free)], right[free])
        system = systems.at(slopes, own, stiff, bent, crossed, 1e-12)
        moves = [system.move(gradient, missing)]
        systems.iterative = False
        moves.append(system.move(gradient, missing))
        for move, linear, s in moves:
            assert np.abs((move - expected) / z).max() < 1e-6 * np.abs(expected / z).max()
            error = np.abs(np.concatenate([linear, s]) - jacobian @ expected)
            assert error.max() < 1e-6 * np.abs(jacobian @ expected).max()


def test_price_of_a_demand() -> None:
    """nu of a session, by differences of the optimum."""

    def with_demand(rate: float) -> Allocation:
        s = scenario("nsfnet", fairness=2.0)
        demanding = s.sessions[2].model_copy(update={"min_rate": rate})
        return solve(s.replace(sessions=[*s.sessions[:2], demanding, *s.sessions[3:]]), decoherence=True)

    below, found, above = (with_demand(15.0 * np.exp(step)) for step in (-1e-4, 0.0, 1e-4))
    assert found.rate_prices[2] == pytest.approx((below.utility - above.utility) / 2e-4, rel=1e-4)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0, 4.0])
def test_score_is_the_ratio_of_certainty_equivalents(alpha: float) -> None:
    """Of what an episode's info says was delivered; one session's weight is 2."""
    s = scenario("nsfnet", fairness=alpha)
    s = s.replace(sessions=[s.sessions[0].model_copy(update={"weight": 2.0}), *s.sessions[1:]])
    env: Any = gym.make("qnum_gym/Scenario-v0", scenario=s).unwrapped
    env.reset(seed=3)
    best = solve(s, decoherence=True, max_utilisation=0.9)
    for _ in range(20):
        info = env.step_controls(Controls(np.maximum(best.rates, 0.05), best.werner))[4]
    weight = s.arrays().weight
    share, codes = weight / weight.sum(), s.arrays().measure

    def equivalent(rate: Any, w: Any) -> float:
        x = np.maximum(rate * measures.values(codes, w), 1e-4)
        return float((share @ x ** (1.0 - alpha)) ** (1.0 / (1.0 - alpha)))

    found = equivalent(info["metrics/rate"], info["metrics/werner"])
    assert info["metrics/geometric_mean"] == pytest.approx(found, rel=1e-9)
    optimum = solve(s, decoherence=True)
    assert info["metrics/score"] == pytest.approx(found / equivalent(optimum.rates, optimum.expected_werner), rel=1e-6)
    own = info["rewards/session"]
    assert (share @ own ** (1.0 - alpha)) ** (1.0 / (1.0 - alpha)) == pytest.approx(info["metrics/score"], rel=1e-9)


def test_scores_side_by_side_and_alone() -> None:
    """Networks of different alpha in one vector environment, each as alone, with every reward."""
    scenarios = [scenario("dumbbell", fairness=alpha) for alpha in (1.0, 2.0, 0.5)]
    for reward in REWARDS:
        vector: Any = AllocationVectorEnv(3, scenario=scenarios, reward=reward)
        alone: list[Any] = [gym.make("qnum_gym/Scenario-v0", scenario=s, reward=reward).unwrapped for s in scenarios]
        vector.reset(seed=[5, 6, 7])
        for i, env in enumerate(alone):
            env.reset(seed=5 + i)
        action = np.full(vector.action_space.shape, 0.2, np.float32)
        for _ in range(4):
            rewards, info = vector.step(action)[1::3]
            for i, env in enumerate(alone):
                found = env.step(action[i])
                assert found[1] == rewards[i]
                assert (found[4]["rewards/session"] == info["rewards/session"][i]).all()


def test_reward_relative_is_bounded() -> None:
    """U(1e-4) is -3e11 for alpha = 4: nothing delivered counts as -1000."""
    env: Any = gym.make("qnum_gym/Dumbbell-v0", fairness=4.0, reward="relative").unwrapped
    env.reset(seed=1)
    controls = Controls(np.full(3, 0.01), np.full(7, 0.6))
    assert env.step_controls(controls)[1] == -1000.0


def test_controllers_find_the_optimum_on_packets() -> None:
    """With alpha = 0.5, where half of NSFNET's sessions would be left with nothing if weights followed x at once."""
    s = scenario("nsfnet", fairness=0.5)
    policy, simulator = agents.make("qprimaldual-da"), Simulator(s, 0)
    policy.reset(s, 0)
    delivered, werner = np.zeros((2, 8))
    for interval in range(200):
        x = policy.act(simulator.telemetry())
        simulator.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
        seen = simulator.advance(1.0).sessions
        if interval >= 100:
            delivered, werner = delivered + seen.delivered, werner + seen.sum_werner
    reached = Problem.from_scenario(s).utility(delivered / 100.0, werner / np.maximum(delivered, 1.0))
    assert geometric_mean(reached, s.arrays().weight, 0.5) > 0.95 * yardstick(s).geometric_mean


def test_metrics_of_an_interval() -> None:
    """Jain's index, the worst session, age and waste, from what was measured; one session's route goes down."""
    s = scenario("dumbbell", events=[{"time": 2.0, "link": ["s2", "left"], "up": False}])
    env: Any = gym.make("qnum_gym/Scenario-v0", scenario=s).unwrapped
    env.reset(seed=2)
    best, delivered, made, ages = solve(s, decoherence=True, max_utilisation=0.9), 0, 0, np.zeros(3)
    rates = best.rates * [1.0, 0.5, 1.0]
    for interval in range(4):
        info = env.step_controls(Controls(rates, best.werner))[4]
        seen = env.telemetry
        delivered, made = delivered + seen.sessions.delivered.sum(), made + seen.links.generated.sum()
        ages += seen.sessions.sum_age * [1.0, 1.0, float(interval < 2)]
    x = info["metrics/rate"] * np.maximum(measures.values(s.arrays().measure, info["metrics/werner"]), 0.0)
    assert info["metrics/jain"] == pytest.approx(x.sum() ** 2 / (3.0 * (x**2).sum()))
    assert info["metrics/worst"] == pytest.approx(x.min())
    assert info["metrics/worst_session"] == x.argmin()
    assert info["metrics/waste"] == pytest.approx(made / (3.0 * delivered))
    np.testing.assert_allclose(info["metrics/age"], ages / [4.0, 4.0, 2.0])
    assert info["metrics/mean_age"] == pytest.approx(info["metrics/age"].mean())
    np.testing.assert_array_equal(info["metrics/age_now"], seen.sessions.age)

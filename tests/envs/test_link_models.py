"""Networks whose links have different models: solver, controllers and environments."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize

import qnum_gym
from qnum_gym import agents, optimum
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator

EXACT = {"link_model": "single_click_exact", "detectors": "threshold", "dark_count": 1e-5, "coupling": 0.5}
DOUBLE = {"link_model": "double_click", "initial_werner": 0.96, "modes": 2}
FIXED = {"link_model": "fixed", "attempt_success": 0.06, "initial_werner": 0.97}


def mixed(**physics: object) -> Scenario:
    """Dumbbell: first links exact, the bottleneck a double click, last links fixed, several modes, and the paper's."""
    s = qnum_gym.scenario("dumbbell", **physics)
    fields = [EXACT, EXACT, {**EXACT, "detectors": "resolving"}, DOUBLE, FIXED, {"modes": 3}, {}]
    return s.replace(links=[link.model_copy(update=more) for link, more in zip(s.links, fields, strict=True)])


KNOBS = np.array([True, True, True, False, False, True, True])


def success(alpha: float) -> tuple[float, float]:
    """p and w of EXACT's links (10 km, threshold detectors), by model.md §2.1."""
    eta, delta = 0.5 * 10**-0.1, 1e-5
    dark = 2 * delta * (1 - delta)
    p = alpha * eta * (2 - alpha * eta) * (1 - delta) + dark * (1 - alpha * eta) ** 2
    good = 2 * alpha * eta * (1 - alpha) * (1 - delta) + dark * alpha * (1 - alpha) * (1 - eta)
    return p, (4 * good / p - 1) / 3


def test_the_optimum_is_scipy_s() -> None:
    """One session over an exact, a double-click and a multiplexed link, with storage: Nelder-Mead on R and the last w.

    The first link is full, which gives its alpha.
    """
    s = mixed()
    s = s.replace(sessions=[{"source": "s1", "destination": "d1"}])
    best = optimum.solve(s, decoherence=True)
    gamma, flight = 0.2, 40 / 2e5  # 2/T_c, of both halves; s
    double = 2 * (10**-0.2) ** 2 / 2 - ((10**-0.2) ** 2 / 2) ** 2

    def first(rate: float) -> float:
        alpha: Any = brentq(lambda alpha: success(alpha)[0] - rate * 1e-3, 1e-3, 0.5)
        return success(alpha)[1]

    def loss(x: NDArray[np.float64]) -> float:
        rate, w_last = math.exp(x[0]), 1 - math.exp(x[1])
        slack = [c * 1e3 - rate for c in (double, 1 - (1 - 1.5 * 10**-0.1 * (1 - w_last)) ** 3)]
        if min(slack) <= 0:
            return math.inf
        stored = math.prod(room / (room + gamma) for room in slack)
        e = (1 - first(rate) * 0.96 * w_last * stored * math.exp(-gamma * flight)) / 2
        key = 1 + 2 * (e * math.log2(e) + (1 - e) * math.log2(1 - e))
        return -x[0] - math.log(key) if key > 0 else math.inf

    found = minimize(loss, [math.log(10.0), math.log(0.03)], method="Nelder-Mead", options={"fatol": 1e-14})
    assert best.utility == pytest.approx(-found.fun, abs=1e-9)
    rate = math.exp(found.x[0])
    np.testing.assert_allclose(best.werner[[1, 3, 5]], [first(rate), 0.96, 1 - math.exp(found.x[1])], atol=1e-5)
    assert best.rates[0] == pytest.approx(rate, rel=1e-4)


@pytest.mark.parametrize("action", ["step", "level"])
def test_environments_agree_and_ignore_what_cannot_be_set(action: str) -> None:
    s = mixed(episode_length=6)
    options = {"scenario": s, "action": action}
    envs: tuple[Any, Any, Any] = (
        gym.make("qnum_gym/Scenario-v0", **options),
        gym.make_vec("qnum_gym/Scenario-v0", num_envs=2, vectorization_mode="vector_entry_point", **options),
        qnum_gym.parallel_env("Scenario-v0", **options),
    )
    env, vector, parallel = envs
    seen = [env.reset(seed=3)[0]], [vector.reset(seed=[3, 3])[0]]
    parallel.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        one = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        other = one.copy()
        other[3:][~KNOBS] = rng.uniform(-1, 1, 2)
        observation, reward, *_ = env.step(one)
        observations, rewards, *_ = vector.step(np.array([one, other]))
        own = parallel.step({x: np.array([other[i], 0.0]) for i, x in enumerate(parallel.possible_agents)})
        np.testing.assert_array_equal([reward, reward, reward], [*rewards, own[1][parallel.possible_agents[0]]])
        seen[0].append(observation)
        seen[1].append(observations)
        np.testing.assert_array_equal(env.unwrapped.controls.werner[~KNOBS], [0.96, 0.97])
    for mine, theirs in zip(*seen, strict=True):
        np.testing.assert_array_equal(mine, theirs[0])
        np.testing.assert_array_equal(mine, theirs[1])
        np.testing.assert_array_equal(mine[16 * 3 :].reshape(7, 13)[~KNOBS, 0], 0.0)
    simulator = Simulator(s, 0)
    with pytest.raises(ValueError, match=r"werner\[3\]"):
        simulator.set_controls(werner=np.full(7, 0.95))


@pytest.mark.parametrize("signals", [False, True])
def test_the_mask_says_what_cannot_be_set(signals: bool) -> None:
    env = gym.make("qnum_gym/Scenario-v0", scenario=mixed(), observation="graph", signals=signals)
    mask = env.reset(seed=0)[0]["action_mask"]
    np.testing.assert_array_equal(mask, [1, 1, 1, *KNOBS, *([1] * 10 if signals else [])])


@pytest.mark.parametrize("name", [x for x in agents.names() if x != "random"])
def test_policies_leave_alone_what_cannot_be_set(name: str) -> None:
    """And find rates that are worth something; -da comes near the optimum, its links without a knob only pricing."""
    s = mixed(coherence_time=30.0)
    best = optimum.solve(s, decoherence=True, max_utilisation=0.95)
    policy, simulator = agents.make(name), Simulator(s, 0)
    policy.reset(s)
    for _ in range(250 if name == "qprimaldual-da" else 20):
        x = policy.act(simulator.advance(1.0))
        np.testing.assert_array_equal(x.werner[~KNOBS], [0.96, 0.97])
        simulator.set_controls(x.rates, x.werner, x.session_signals, x.link_signals)
    if name == "qprimaldual-da":
        np.testing.assert_allclose(x.rates, best.rates, rtol=0.15)
        np.testing.assert_allclose(1 - x.werner, 1 - best.werner, rtol=0.15)

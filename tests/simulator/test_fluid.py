"""The fluid form against the formulas of model.md §7, an ODE solver, and its own accounts."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import qnum_gym
from qnum_gym import agents
from qnum_gym.evaluation.episodes import run_episode
from qnum_gym.optimum import solve
from qnum_gym.optimum.problem import Problem
from qnum_gym.scenarios import Scenario, ScenarioError

LARGE = 10**6
LOSSY: dict[str, Any] = {"swap_success": 0.7, "gate_factor": 0.99, "feedback_delay": 0.6, "control_interval": 0.5}
CASES: dict[str, dict[str, Any]] = {
    "dumbbell": {},
    "nsfnet": {"hold": "ack", "feedback_delay": 0.4},
    "surfnet": {"hold": "measure"},
    "chain": {**LOSSY, "length_km": 5.0},
}


def rest(name: str, **options: Any) -> tuple[Scenario, qnum_gym.Simulator, Problem, np.ndarray, np.ndarray]:
    """A network at rest: links filled to 0.8 of the optimum's."""
    s = qnum_gym.scenario(name, simulator="fluid", window=LARGE, **options)
    best = solve(s, decoherence=True, max_utilisation=0.8)
    simulator = qnum_gym.Simulator(s)
    simulator.set_controls(best.rates, best.werner)
    simulator.advance(3000.0)
    return s, simulator, Problem.from_scenario(s), best.rates, best.werner


@pytest.mark.parametrize("name", CASES)
def test_at_rest_it_is_the_formula(name: str) -> None:
    s, simulator, problem, rates, werner = rest(name, **CASES[name])
    telemetry, a = simulator.advance(1000.0), s.arrays()
    arrivals = problem.arrivals(rates)
    slack = a.link_rates.rate(werner, a.capacity) - arrivals
    np.testing.assert_allclose(telemetry.sessions.mean_werner, problem.expected_werner(rates, werner), rtol=1e-7)
    np.testing.assert_allclose(telemetry.links.mean_queue, arrivals / slack, rtol=1e-6)
    np.testing.assert_allclose(telemetry.links.utilisation, arrivals / (arrivals + slack), atol=1e-6)
    np.testing.assert_allclose(telemetry.links.arrivals / 1000.0, arrivals, atol=1.01e-3)
    np.testing.assert_allclose(telemetry.sessions.delivered / 1000.0, problem.delivery * rates, atol=1.01e-3)
    for r, route in enumerate(s.routes):
        links = list(route)
        flight = a.latency[links].sum()
        latency = (1.0 / slack[links]).sum() + flight
        np.testing.assert_allclose(telemetry.sessions.mean_latency[r], latency, rtol=1e-6)
        round_trip = latency - 1.0 / slack[links[0]] + flight + s.feedback_delay
        np.testing.assert_allclose(telemetry.sessions.mean_rtt[r], round_trip, rtol=1e-6)
        np.testing.assert_allclose(
            telemetry.sessions.sum_age[r] / 1000.0, 1.0 / (problem.delivery * rates)[r], rtol=1e-6
        )


def test_headers_tell_what_the_ends_set() -> None:
    _, simulator, _, rates, _ = rest("chain", **CASES["chain"])
    prices = np.arange(1.0, 5.0)
    simulator.set_controls(session_signals=[7.0], link_signals=prices)
    simulator.advance(500.0)
    telemetry = simulator.advance(100.0)
    reached = 0.7 ** np.array([0, 0, 1, 2])
    np.testing.assert_allclose(telemetry.headers.thinning, reached, rtol=1e-9)
    np.testing.assert_allclose(telemetry.headers.rate, rates[0])
    np.testing.assert_allclose(telemetry.headers.signal, 7.0)
    np.testing.assert_allclose(telemetry.headers.age, 0.0, atol=1.0 / rates[0])
    np.testing.assert_allclose(telemetry.sessions.mean_price, 10.0, rtol=1e-6)
    np.testing.assert_allclose(telemetry.sessions.mean_thinned_price, reached @ prices, rtol=1e-6)
    lost = 0.3 * reached[1:]
    sums = np.cumsum(prices)[1:]
    np.testing.assert_allclose(telemetry.sessions.nack_price, lost @ sums / lost.sum(), rtol=1e-6)
    np.testing.assert_allclose(telemetry.sessions.nacked / 100.0, lost.sum() * rates, atol=0.02)
    assert telemetry.truth.drops.sum() == pytest.approx(telemetry.sessions.nacked[0], abs=1)


def test_an_overloaded_link_grows_linearly() -> None:
    link = {"a": 0, "b": 1, "length_km": 1.0, "capacity": 300.0}
    s = Scenario(
        links=[link], sessions=[(0, 1)], window=LARGE, simulator="fluid", initial_rate=50.0, initial_werner=0.9
    )
    simulator = qnum_gym.Simulator(s)
    simulator.advance(100.0)
    before = simulator.state.fluid_links["content"][0]
    telemetry = simulator.advance(100.0)
    assert before == pytest.approx(20.0 * 100.0, rel=0.01)
    assert simulator.state.fluid_links["content"][0] - before == pytest.approx(20.0 * 100.0, rel=0.001)
    assert telemetry.links.generated[0] == pytest.approx(30.0 * 100.0, abs=3)
    assert telemetry.links.utilisation[0] == pytest.approx(1.0, abs=1e-3)


def test_short_steps_follow_the_differential_equation() -> None:
    """Two links, the second one shared: dq/dt = y − C q/(1 + q), solved by SciPy."""
    links = [
        {"a": 0, "b": 1, "length_km": 1.0, "capacity": 400.0},
        {"a": 1, "b": 2, "length_km": 1.0, "capacity": 300.0},
    ]
    s = Scenario(
        links=links, sessions=[(0, 2), (1, 2)], window=LARGE, simulator="fluid", initial_rate=6.0, initial_werner=0.95
    )
    made = 20.0, 15.0

    def flow(_: float, q: np.ndarray) -> list[float]:
        first = made[0] * q[0] / (1.0 + q[0])
        leaving = made[1] / (1.0 + q[1] + q[2])
        return [6.0 - first, first - leaving * q[1], 6.0 - leaving * q[2]]

    wanted = solve_ivp(flow, (0.0, 3.0), np.zeros(3), t_eval=[0.5, 3.0], rtol=1e-9, atol=1e-12).y
    simulator = qnum_gym.Simulator(s)
    for k, steps in enumerate((500, 2500)):
        for _ in range(steps):
            simulator.advance(0.001)
        np.testing.assert_allclose(simulator.state.tanks["amount"], wanted[:, k], rtol=2e-3)


def stored(simulator: qnum_gym.Simulator) -> np.ndarray:
    """[R] q-datagrams at links, and answers that have not been counted."""
    state = simulator.state
    n = len(state.sessions)
    at_links = np.bincount(state.hops["session"], state.tanks["amount"], n)
    return at_links + state.answers["amount"].reshape(n, -1).sum(axis=1)


def test_nothing_gets_lost_unsaid() -> None:
    """Injected = delivered + told lost + under way, with overflow, failed swaps, a link that goes down and windows."""
    s = qnum_gym.scenario(
        "nsfnet", simulator="fluid", memory=3, window=20, swap_success=0.9, feedback_delay=2.3, initial_rate=30.0
    ).replace(events=[{"time": 10.4, "link": (5, 12), "up": False}, {"time": 20.2, "link": (5, 12), "up": True}])
    simulator = qnum_gym.Simulator(s)
    injected = delivered = nacked = drops = 0
    for seconds in (0.3, 1.0, 7.77, 5.0, 0.01, 30.0):
        telemetry = simulator.advance(seconds)
        injected += telemetry.sessions.injected
        delivered += telemetry.sessions.delivered
        nacked += telemetry.sessions.nacked
        drops += telemetry.truth.drops
        parts = simulator.state.fluid_sessions["injected"]
        np.testing.assert_allclose(injected + parts, delivered + nacked + stored(simulator), rtol=1e-9)
        np.testing.assert_array_equal(injected - delivered - nacked, telemetry.sessions.unacked)
        np.testing.assert_array_equal(injected - delivered - drops.sum(axis=1), telemetry.truth.in_flight)
        assert (simulator.state.fluid_sessions["unacked"] <= 20.0 + 1e-9).all()
        held = np.bincount(2 * s.arrays().hop_link + s.arrays().hop_direction, simulator.state.tanks["amount"])
        first = np.bincount((2 * s.arrays().hop_link + s.arrays().hop_direction)[s.arrays().hop_start[:-1]])
        assert (held[: len(first)][first == 0] <= 3.0 + 1e-9).all()
    assert drops[:, 0].sum() > 10
    assert (drops[:, 2] > 0).all()
    assert telemetry.sessions.paused.any()


def test_answers_take_their_time() -> None:
    s = qnum_gym.scenario("chain", simulator="fluid", feedback_delay=3.0, initial_rate=20.0)
    simulator = qnum_gym.Simulator(s)
    counts = np.array([simulator.advance(1.0).sessions.delivered[0] for _ in range(40)])
    arrived = qnum_gym.Simulator(s.replace(feedback_delay=0.0))
    wanted = np.array([arrived.advance(1.0).sessions.delivered[0] for _ in range(40)])
    assert not counts[:3].any()
    assert np.abs(np.cumsum(counts)[3:] - np.cumsum(wanted)[:-3]).max() <= 1


@pytest.mark.parametrize("cut", [7, 20])
def test_a_state_is_an_exact_continuation(cut: int) -> None:
    s = qnum_gym.scenario("dumbbell", simulator="fluid", initial_rate=15.0, feedback_delay=0.7, swap_success=0.9)
    whole = qnum_gym.Simulator(s)
    for _ in range(cut):
        whole.advance(0.4)
    others = [pickle.loads(pickle.dumps(whole)), copy.deepcopy(whole), qnum_gym.Simulator(s)]
    others[2].set_state(whole.get_state())
    for simulator in [*others, whole]:
        simulator.advance(3.0)
    for other in others:
        for name, array in whole.get_state()["arrays"].items():
            np.testing.assert_array_equal(array, other.get_state()["arrays"][name], err_msg=name)


def test_all_environments_do_the_same_and_policies_need_no_second_path() -> None:
    options: dict[str, Any] = {"simulator": "fluid", "episode_length": 60}
    env = gym.make("qnum_gym/NSFNet-v0", **options)
    vector: Any = gym.make_vec("qnum_gym/NSFNet-v0", 2, **options)
    parallel = qnum_gym.parallel_env("NSFNet-v0", **options)
    env.reset(seed=1)
    vector.reset(seed=[1, 2])
    parallel.reset(seed=1)
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-1.0, 1.0, env.action_space.shape).astype(np.float32)
        row, reward, *_ = env.step(action)
        rows, rewards, *_ = vector.step(np.stack([action, action]))
        actions = {agent: np.array([a, 0.0]) for agent, a in zip(parallel.agents, action, strict=True)}
        _, own, *_ = parallel.step(actions)
        np.testing.assert_array_equal(rows, [row, row])
        np.testing.assert_array_equal(rewards, reward)
        assert own.keys() == actions.keys()


@pytest.mark.parametrize(("name", "least"), [("qprimaldual-da", 0.9), ("zoo/local", 0.9), ("oracle", 0.95)])
def test_policies_do_on_it_what_they_do_on_packets(name: str, least: float) -> None:
    env: Any = gym.make("qnum_gym/Dumbbell-v0", simulator="fluid").unwrapped
    assert least < run_episode(env, agents.make(name), 0).score < 1.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"simulator": "fluids"}, "did you mean 'fluid'"),
        ({"swapping": "parallel"}, "swapping = 'parallel': simulator 'fluid' knows 'sequential' only"),
        ({"discipline": "lifo"}, "discipline = 'lifo'"),
        ({"drop_policy": "push_out"}, "drop_policy"),
        ({"pacing": "even"}, "pacing"),
        ({"cutoff": 3.0}, "cutoff"),
        ({"message_loss": 0.1}, "message_loss"),
        ({"worth": "per_pair"}, "worth"),
        ({"sessions": [{"source": "s0", "destination": "d0", "cutoff": 2.0}]}, "sessions[0].cutoff"),
        ({"sessions": [{"source": "s0", "destination": "d0", "pairs": 2}]}, "sessions[0].pairs"),
    ],
)
def test_what_it_does_not_know_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        qnum_gym.scenario("dumbbell", **{"simulator": "fluid", **options})
    assert message in str(refused.value)


def test_there_is_nothing_to_record() -> None:
    s = qnum_gym.scenario("dumbbell", simulator="fluid")
    for option in ({"trace": True}, {"recording": True}):
        with pytest.raises(ValueError, match="neither events nor q-datagrams"):
            qnum_gym.Simulator(s, **option)

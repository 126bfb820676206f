"""The optimum against other people's solvers: cvxpy + Clarabel where QNUM is convex, SLSQP where it is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest
from scipy.optimize import brentq, minimize

from benchmarks.peers.convex import AFFINE, by_cvxpy
from qnum_gym.optimum import InfeasibleError, Problem, geometric_mean, solve
from qnum_gym.physics import measures
from qnum_gym.physics.measures import MEASURES
from qnum_gym.scenarios import Link, Node, Scenario, Session
from qnum_gym.scenarios.topologies import scenario

CHSH = (2 * np.sqrt(2), 2.0)  # f(W) = 2 sqrt(2) W - 2: by how much a pair violates the inequality, W > 1/sqrt(2)
PARTS, INSTANCES = 4, 100
STAR = {1.5: 58.5618, 5.0: 55.3981, 10.0: 51.0411, 20.0: 42.9633, 50.0: 24.2555}  # km of the shared link: pairs/s


@pytest.fixture(scope="module")
def affine() -> Iterator[dict[str, tuple[float, float]]]:
    """Measures f(W) = a W - b."""
    a, b = CHSH
    measures.register("chsh", lambda w: (a * w - b, a * w, 0.0 * w))
    yield AFFINE | {"chsh": CHSH}
    MEASURES.remove("chsh")


def convex_instance(seed: int) -> tuple[Scenario, bool, float]:
    """A random network, whether its memories decay, and a cap on utilisation."""
    rng = np.random.default_rng(seed)
    nodes, decoherence = int(rng.integers(4, 10)), bool(rng.random() < 0.6)
    tree = nx.random_labeled_tree(nodes, seed=int(rng.integers(2**31)))
    graph = nx.compose(tree, nx.gnp_random_graph(nodes, 0.2, seed=int(rng.integers(2**31))))
    for u, v in graph.edges:
        graph.edges[u, v]["length_km"] = float(rng.uniform(2, 40))
    flows: list[dict[str, Any]] = []
    for _ in range(int(rng.integers(1, 7))):
        source, destination = (int(x) for x in rng.choice(nodes, 2, replace=False))
        flow = {"source": source, "destination": destination, "weight": float(rng.uniform(0.3, 3))}
        flow["measure"] = str(rng.choice(["negativity", "chsh"]))
        if rng.random() < 0.3:
            flow["min_fidelity"] = float(rng.uniform(0.7, 0.93))
        if rng.random() < 0.3:
            flow["min_rate"] = float(rng.uniform(1, 40))
        flows.append(flow)
    lossy: dict[str, Any] = (
        {"swap_success": 0.9, "gate_factor": 0.995, "message_loss": 0.01} if rng.random() < 0.3 else {}
    )
    hold, fairness = str(rng.choice(["header", "ack", "measure"])), float(rng.choice([1.0, 1.0, 1.5, 2.0, 4.0]))
    s = Scenario.from_graph(graph, sessions=flows, hold=hold, fairness=fairness, **lossy)
    s = s.replace(nodes=[Node(name=x.name, coherence_time=float(10 ** rng.uniform(0.5, 3))) for x in s.nodes])
    return s, decoherence, float(rng.choice([1.0, 0.95]))


@pytest.mark.parametrize("part", range(PARTS))
def test_cvxpy_finds_the_same_utility(part: int, affine: dict[str, tuple[float, float]]) -> None:
    """To 1e-6, of 25 convex instances; what we call infeasible is so for cvxpy."""
    pytest.importorskip("cvxpy")
    solved, seed = 0, 1000 * part
    while solved < INSTANCES // PARTS:
        s, decoherence, rho = convex_instance(seed)
        seed += 1
        p = Problem.from_scenario(s)
        theirs = by_cvxpy(p, decoherence=decoherence, max_utilisation=rho, affine=affine)
        try:
            ours = solve(s, decoherence, rho)
        except InfeasibleError:
            assert theirs == -np.inf, seed
            continue
        solved += 1
        assert ours.kkt_residual <= 1e-8, seed
        assert ours.utility == pytest.approx(theirs, abs=1e-6), seed
        means = [geometric_mean(u, p.arrays.weight, p.fairness) for u in (ours.utility, theirs)]
        assert np.log(means[0] / means[1]) == pytest.approx(0.0, abs=1e-6), seed


def slsqp(p: Problem, start: np.ndarray, decoherence: bool) -> float:
    """The utility of the local optimum that SLSQP finds in (log R, log(1 - w)) from a start; -inf where it fails."""
    a = p.arrays
    n, used = len(a.active), np.unique(a.hop_link)

    def split(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        werner = a.initial_werner.copy()
        werner[used] = 1.0 - np.exp(x[n:])
        return np.exp(x[:n]), werner

    def loss(x: np.ndarray) -> float:
        rates, werner = split(x)
        return -p.utility(p.expected_delivery(rates), p.expected_werner(rates, werner, decoherence=decoherence))

    def rooms(x: np.ndarray) -> np.ndarray:
        rates, werner = split(x)
        return (1.0 - p.arrivals(rates) / (0.97 * a.capacity * (1.0 - werner)))[used]

    limits = [*zip(np.log(a.rate_min), np.log(a.rate_max), strict=True)]
    limits += [*zip(np.log(1 - a.werner_max[used]), np.log(1 - a.werner_min[used]), strict=True)]
    rules = {"type": "ineq", "fun": rooms}
    options = {"maxiter": 300, "ftol": 1e-11}
    found = minimize(loss, start, method="SLSQP", bounds=limits, constraints=rules, options=options)
    return -found.fun if found.success and rooms(found.x).min() > -1e-7 else -np.inf


@pytest.mark.parametrize(("measure", "decoherence"), [("secret_key", True), ("distillable", False)])
def test_slsqp_from_many_starts_finds_nothing_better(measure: str, decoherence: bool) -> None:
    """Not convex: of six random starts on each of four networks the best reaches our utility, and none exceeds it."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        nodes = int(rng.integers(3, 6))
        graph = nx.random_labeled_tree(nodes, seed=seed)
        for u, v in graph.edges:
            graph.edges[u, v]["length_km"] = float(rng.uniform(2, 25))
        flows = [tuple(int(x) for x in rng.choice(nodes, 2, replace=False)) for _ in range(2)]
        s = Scenario.from_graph(graph, sessions=flows, measure=measure, coherence_time=20.0)
        ours, p = solve(s, decoherence, 0.97), Problem.from_scenario(s)
        a, best = p.arrays, -np.inf
        used = np.unique(a.hop_link)
        for _ in range(6):
            werner = 1.0 - 10 ** rng.uniform(-3, -1.5, len(used))
            rates = 10 ** rng.uniform(-1.5, 0.5, len(a.active))
            best = max(best, slsqp(p, np.concatenate([np.log(rates), np.log(1.0 - werner)]), decoherence))
        assert best == pytest.approx(ours.utility, abs=1e-7), seed


@pytest.mark.parametrize(
    ("measure", "best"),
    [
        ("negativity", (2 / 3, 0.804738, 0.862120, 0.893469)),
        ("secret_key", (0.899654, 0.947622, 0.964566, 0.973228)),
        ("distillable", (0.883557, 0.938795, 0.958494, 0.968601)),
    ],
)
def test_chains_of_equal_links(measure: str, best: tuple[float, ...]) -> None:
    """One session over n full links has its optimum where n a(w^n)/w = 1/(1 - w), whatever d is."""
    for n, w in enumerate(best, start=1):
        x = solve(scenario("chain", nodes=n + 1, measure=measure))
        np.testing.assert_allclose(x.werner, w, rtol=0, atol=6e-7)
        exact: Any = brentq(lambda w, n=n: n * measures.elasticity(measure, w**n) / w - 1 / (1 - w), w - 1e-4, w + 1e-4)
        np.testing.assert_allclose(x.werner, exact, rtol=0, atol=1e-9)
        assert x.kkt_residual <= 1e-8


@pytest.mark.parametrize(("length_km", "rate"), list(STAR.items()))
def test_two_users_of_a_star(length_km: float, rate: float) -> None:
    """The star of Vardoyan and Wehner: two users, each 2 km from the hub, share the link to a third node."""
    links = [Link(a="u0", b="hub", length_km=2), Link(a="u1", b="hub", length_km=2)]
    links.append(Link(a="hub", b="server", length_km=length_km))
    sessions = [Session(source=f"u{i}", destination="server") for i in range(2)]
    x = solve(Scenario(name="star", links=links, sessions=sessions, measure="distillable"))
    np.testing.assert_allclose(x.rates, rate, rtol=0, atol=6e-5)
    assert x.kkt_residual <= 1e-8

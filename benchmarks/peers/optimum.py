"""The central optimum side by side with cvxpy + Clarabel: random instances, negativity, no decoherence; CPU seconds.

Routes of 3 to 8 hops are random walks without repeats on a square grid or on a random graph of degree 4, with one
session per node unless told otherwise; links are 2 to 20 km long. Both solve in turns, in one process, on one core;
building the scenario does not count, handing it to the solver does. Needs the packages of optimum_requirements.txt next
to those of qnum_gym.

    python -m benchmarks.peers.optimum [GRAPH:NODES[:SESSIONS] …] [--alone GRAPH:NODES[:SESSIONS] …]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np

from benchmarks.peers.convex import by_cvxpy
from qnum_gym.optimum import Problem, solve_problem
from qnum_gym.scenarios import Scenario

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("instances", nargs="*", default=["grid:2000", "grid:10000", "random:2000"])
    parser.add_argument("--alone", nargs="*", default=["grid:30000"], help="solved by qnum_gym only")
    parser.add_argument("--measure", default="negativity", help="of the instances solved alone")
    parser.add_argument("--decoherence", action="store_true", help="of the instances solved alone, too")
    options = parser.parse_args()
    small = instance("grid:16", "negativity")
    solve_problem(small)  # compiles
    if options.instances:
        by_cvxpy(small)  # imports
    for name in options.instances:
        problem = instance(name, "negativity")
        rounds = [(timed(solve_problem, problem), timed(by_cvxpy, problem)) for _ in range(ROUNDS)]
        ours, theirs, ratios = [], [], []
        for (own, x), (other, utility) in rounds:
            ours.append(own)
            theirs.append(other)
            ratios.append(other / own)
            assert abs(x.utility - utility) < 1e-5 * abs(utility), (x.utility, utility)
        print(name, "qnum_gym", described(ours), "cvxpy + Clarabel", described(theirs), "ratio", described(ratios))
    for name in options.alone:
        problem = instance(name, options.measure)
        seconds, x = timed(lambda p: solve_problem(p, decoherence=options.decoherence), problem)
        about = f"{options.measure}{', decoherence' if options.decoherence else ''}"
        print(name, about, f"qnum_gym {seconds:.2f}, residual {x.kkt_residual:.1e}, at most {_peak():.2f} GB")


def instance(name: str, measure: str) -> Problem:
    """The random problem called "grid:NODES:SESSIONS" or "random:NODES:SESSIONS"."""
    kind, size, *more = name.split(":")
    n, rng = int(size), np.random.default_rng(7)
    wanted = int(more[0]) if more else n
    side = round(n**0.5)
    square = nx.convert_node_labels_to_integers(nx.grid_2d_graph(side, side))
    graph = square if kind == "grid" else nx.random_regular_graph(4, n, seed=7)
    for u, v in graph.edges:
        graph.edges[u, v]["length_km"] = float(rng.uniform(2, 20))
    sessions: list[dict[str, Any]] = []
    while len(sessions) < wanted:
        hops = int(rng.integers(3, 9))
        path = [int(rng.integers(len(graph)))]
        while len(path) <= hops and (ahead := [v for v in graph[path[-1]] if v not in path]):
            path.append(ahead[int(rng.integers(len(ahead)))])
        if len(path) == hops + 1:
            sessions.append({"source": path[0], "destination": path[-1], "path": tuple(path)})
    return Problem.from_scenario(Scenario.from_graph(graph, sessions=sessions, measure=measure))


def _peak() -> float:
    """Greatest memory of this process so far, GB, the scenario's included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def timed(solver: Callable[[Problem], Any], problem: Problem) -> tuple[float, Any]:
    start = time.process_time()
    found = solver(problem)
    return time.process_time() - start, found


def described(figures: list[float]) -> str:
    """Median and range."""
    return f"{np.median(figures):.3g} ({min(figures):.3g} – {max(figures):.3g})"


if __name__ == "__main__":
    main()

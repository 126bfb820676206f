"""Small networks of which theory knows the answer, and random ones of which only the reference does."""

from __future__ import annotations

import math
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from qnum_gym.rules import HOLDS
from qnum_gym.scenarios import LinkEvent, NodeEvent, Scenario, Session, SessionEvent
from qnum_gym.validation.running import line

__all__ = ["line", "random_network", "scenarios"]

HARDWARE: list[dict[str, object]] = [  # of a link
    {},
    {},
    {"modes": 3},
    {"link_model": "single_click_exact", "coupling": 0.9, "dark_count": 1e-6},
    {"link_model": "single_click_exact", "coupling": 0.9, "dark_count": 1e-6, "detectors": "threshold", "modes": 2},
    {"link_model": "double_click", "initial_werner": 0.95, "modes": 20},
    {"link_model": "fixed", "attempt_success": 0.03, "initial_werner": 0.9},
]


def random_network(seed: int, nodes: int, sessions: int, **physics: Any) -> Scenario:
    """A connected Waxman-like graph with 5 to 30 km links and sessions between random pairs of nodes."""
    rng = np.random.default_rng(seed)
    graph = nx.random_labeled_tree(nodes, seed=seed)
    for _ in range(nodes // 3):
        a, b = rng.choice(nodes, 2, replace=False)
        graph.add_edge(int(a), int(b))
    for a, b in graph.edges:
        graph.edges[a, b]["length_km"] = float(rng.uniform(5, 30))
    pairs = [tuple(int(x) for x in rng.choice(nodes, 2, replace=False)) for _ in range(sessions)]
    return Scenario.from_graph(graph, pairs, **physics)


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    """Any network with any mix of options."""
    pick = draw
    graph = pick(st.sampled_from(["tree", "dumbbell", "chain", "grid", "star"]))
    seed = pick(st.integers(0, 2**16))
    shapes = {
        "tree": lambda: nx.random_labeled_tree(pick(st.integers(2, 9)), seed=seed),
        "dumbbell": lambda: nx.Graph([(0, 3), (1, 3), (2, 3), (3, 4), (4, 5), (4, 6), (4, 7)]),
        "chain": lambda: nx.path_graph(pick(st.integers(2, 6))),
        "grid": lambda: nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 3)),
        "star": lambda: nx.star_graph(4),
    }
    g = shapes[graph]()
    for a, b in g.edges:
        g.edges[a, b]["length_km"] = pick(st.floats(0.0, 60.0))
        g.edges[a, b].update(pick(st.sampled_from(HARDWARE)))
    for v in g.nodes:
        g.nodes[v]["coherence_time"] = pick(st.sampled_from([None, 0.5, 5.0, math.inf]))
        g.nodes[v]["swap_success"] = pick(st.sampled_from([None, None, 0.7]))
    nodes = list(g.nodes)
    sessions = []
    for _ in range(pick(st.integers(1, 4))):
        source, destination = pick(st.permutations(nodes))[:2]
        start = pick(st.sampled_from([0.0, 0.0, 1.5]))
        sessions.append(
            Session(
                source=source,
                destination=destination,
                cutoff=pick(st.sampled_from([None, None, 0.05, 0.5])),
                window=pick(st.sampled_from([None, 1, 4])),
                pairs=pick(st.sampled_from([None, None, 5])),
                pacing=pick(st.sampled_from(["poisson", "poisson", "even"])),
                hold=pick(st.sampled_from([None, *HOLDS])),
                start=start,
                stop=pick(st.sampled_from([None, None, 3.0])),
            )
        )
    edges = list(g.edges)
    events: list[LinkEvent | NodeEvent | SessionEvent] = []
    for _ in range(pick(st.integers(0, 3))):
        time = pick(st.floats(0.0, 5.0))
        link = pick(st.sampled_from(edges))
        events.append(
            pick(
                st.sampled_from(
                    [
                        LinkEvent(time=time, link=link, extra_loss_db=6.0),
                        LinkEvent(time=time, link=link, up=False),
                        LinkEvent(time=time, link=link, up=True, extra_loss_db=0.0),
                        NodeEvent(time=time, node=link[0], coherence_time=0.3),
                        SessionEvent(time=time, session=0, rate_cap=8.0, weight=2.0),
                        SessionEvent(time=time, session=0, rate_cap=math.inf, min_rate=1.0, min_fidelity=0.8),
                    ]
                )
            )
        )
    return Scenario.from_graph(
        g,
        sessions,
        events=events,
        gate_factor=pick(st.sampled_from([1.0, 0.98])),
        processing_delay=pick(st.sampled_from([0.0, 0.01])),
        feedback_delay=pick(st.sampled_from([0.0, 0.0, 0.2])),
        message_loss=pick(st.sampled_from([0.0, 0.0, 0.15])),
        memory=pick(st.sampled_from([1, 2, 5, 100])),
        window=pick(st.sampled_from([3, 100])),
        discipline=pick(st.sampled_from(["fifo", "lifo", "fair"])),
        drop_policy=pick(st.sampled_from(["drop_tail", "push_out"])),
        swapping=pick(st.sampled_from(["sequential", "parallel"])),
    )

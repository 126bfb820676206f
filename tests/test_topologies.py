"""Networks by name, the shortest-route rule against brute force, and random networks."""

import inspect
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import qnum_gym
from qnum_gym import ScenarioError, optimum, topologies
from qnum_gym.envs.rendering.layout import positions
from qnum_gym.scenarios import Scenario, Session
from qnum_gym.scenarios.topologies.topology import parameters


def route(graph, source, destination):
    """The shortest one, as a scenario takes it."""
    return Scenario.from_graph(graph, [(source, destination)]).sessions[0].path


def lengths(graph):
    return {frozenset(edge): graph.edges[edge]["length_km"] for edge in graph.edges}


# --- routes -----------------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw):
    """Small graphs with many ties: lengths of a few tenths, whose sums floating point would tell apart."""
    n = draw(st.integers(2, 7))
    nodes = draw(st.permutations([*"abcdefg"[:n]]))
    graph = nx.Graph()
    graph.add_nodes_from(nodes)
    pairs = list(itertools.combinations(nodes, 2))
    for a, b in draw(st.lists(st.sampled_from(pairs), unique=True)):
        graph.add_edge(a, b, length_km=draw(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7])))
    return graph


@given(graphs(), st.data())
def test_the_shortest_route_is_the_first_by_length_hops_and_order_of_nodes(graph, data):
    source, destination = data.draw(st.permutations(list(graph)))[:2]
    order = {node: v for v, node in enumerate(graph)}

    def rank(route):
        tenths = sum(round(10 * graph.edges[hop]["length_km"]) for hop in itertools.pairwise(route))
        return tenths, len(route), [order[node] for node in route]

    routes = list(nx.all_simple_paths(graph, source, destination))
    if not routes:
        with pytest.raises(ScenarioError, match=r"no links connect it|must have at least one entry"):
            route(graph, source, destination)
    else:
        assert route(graph, source, destination) == tuple(min(routes, key=rank))


@given(graphs())
def test_many_sessions_at_once_take_the_same_routes_as_each_alone(graph):
    pairs = [(a, b) for a, b in itertools.permutations(graph, 2) if nx.has_path(graph, a, b)]
    assume(pairs)
    together = Scenario.from_graph(graph, pairs).sessions
    assert [s.path for s in together] == [route(graph, a, b) for a, b in pairs]


def test_a_tie_goes_to_fewer_hops_then_to_the_node_that_came_first():
    graph = nx.Graph()
    graph.add_nodes_from(["s", "y", "x", "t"])
    for a, b, km in [("s", "x", 1), ("x", "t", 1), ("s", "y", 1), ("y", "t", 1)]:
        graph.add_edge(a, b, length_km=km)
    assert route(graph, "s", "t") == ("s", "y", "t")
    graph.add_edge("s", "t", length_km=2)
    assert route(graph, "s", "t") == ("s", "t")


def test_unknown_ends_are_refused():
    with pytest.raises(ScenarioError, match=r"source = 'Delf': unknown node; did you mean 'Delft'\?"):
        route(topologies.graph("surfnet"), "Delf", "Utrecht")


# --- the named networks -----------------------------------------------------------------------------------------------


def test_dumbbell():
    s = qnum_gym.scenario("dumbbell")
    assert [node.name for node in s.nodes] == ["s0", "s1", "s2", "left", "right", "d0", "d1", "d2"]
    assert [(link.a, link.b, link.length_km) for link in s.links] == [
        ("s0", "left", 10),
        ("s1", "left", 10),
        ("s2", "left", 10),
        ("left", "right", 20),
        ("right", "d0", 10),
        ("right", "d1", 10),
        ("right", "d2", 10),
    ]
    assert s.routes == ((0, 3, 4), (1, 3, 5), (2, 3, 6))


def test_dumbbell_grows_with_its_sessions():
    s = qnum_gym.scenario("dumbbell", sessions=5, access_km=3, bottleneck_km=7)
    assert len(s.sessions) == 5
    assert [link.length_km for link in s.links] == [3] * 5 + [7] + [3] * 5
    assert len(qnum_gym.scenario("dumbbell", n=5).sessions) == 5
    assert len(qnum_gym.scenario("dumbbell", n=5, sessions=2).sessions) == 2
    crossed = qnum_gym.scenario("dumbbell", sessions=[("s0", "d2"), Session(source="d1", destination="s1", weight=2)])
    assert [(x.source, x.destination, x.weight) for x in crossed.sessions] == [("s0", "d2", 1), ("d1", "s1", 2)]


def test_nsfnet():
    graph = topologies.graph("nsfnet")
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (14, 21)
    assert list(graph) == list(range(14))
    assert lengths(graph)[frozenset((0, 7))] == 28
    assert sum(lengths(topologies.graph("nsfnet", scale=1)).values()) == 22700
    s = qnum_gym.scenario("nsfnet")
    assert s.coherence_time == 10
    assert [session.path for session in s.sessions] == [  # the default routes of model.md §9
        (0, 7, 8, 13),
        (1, 2, 5, 9),
        (2, 5, 12, 11),
        (3, 4, 6, 7, 8),
        (4, 6, 7, 8, 11, 12),
        (5, 12, 11, 10),
        (6, 4, 3, 1),
        (7, 6, 4, 3, 1, 2),
    ]


def test_surfnet():
    graph = topologies.graph("surfnet")
    assert (graph.number_of_nodes(), graph.number_of_edges()) == (17, 20)
    assert lengths(graph)[frozenset(("Zwolle", "Enschede"))] == 78.7
    assert sum(lengths(graph).values()) == pytest.approx(910.4)
    s = qnum_gym.scenario("surfnet")
    assert s.coherence_time == 100
    assert [(x.source, x.destination) for x in s.sessions] == [
        ("Delft", "Enschede"),
        ("Leiden", "Zwolle"),
        ("Rotterdam", "Arnhem"),
        ("Amsterdam", "Nijmegen"),
        ("Utrecht", "Lelystad"),
        ("Almere", "Deventer"),
    ]
    assert [len(route) for route in s.routes] == [6, 4, 5, 5, 3, 3]


def test_chain_star_and_grid():
    assert qnum_gym.scenario("chain").routes == ((0, 1, 2, 3),)
    assert qnum_gym.scenario("chain", nodes=3, length_km=7, sessions=2).routes == ((0, 1), (0, 1))
    star = qnum_gym.scenario("star", n=3, sessions=4)
    assert [x.path for x in star.sessions] == [(0, "hub", 1), (1, "hub", 2), (2, "hub", 0), (0, "hub", 2)]
    graph = topologies.graph("grid", rows=2, cols=3, length_km=5)
    assert set(lengths(graph)) == {frozenset(e) for e in [(0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)]}
    assert set(lengths(graph).values()) == {5}
    assert qnum_gym.scenario("grid", sessions=[(0, 15)]).sessions[0].path == (0, 1, 2, 3, 7, 11, 15)


@pytest.mark.parametrize("name", topologies.names())
def test_every_named_scenario_has_an_optimum(name):
    s = qnum_gym.scenario(name)
    assert s.name == name
    assert nx.is_connected(s.graph())
    assert np.isfinite(optimum.solve(s, decoherence=True).utility)


@pytest.mark.parametrize("name", ["grid", "waxman"])
def test_random_sessions_are_seeded_distinct_and_no_neighbours(name):
    def pairs(**options):
        return [(x.source, x.destination) for x in qnum_gym.scenario(name, **options).sessions]

    assert pairs() == pairs(seed=0) != pairs(seed=1)
    assert pairs(sessions=9)[:6] == pairs()
    assert len(set(pairs(sessions=9))) == 9
    assert all(len(route) > 1 for route in qnum_gym.scenario(name, sessions=9).routes)


def test_sessions_may_be_neighbours_where_all_nodes_are():
    s = qnum_gym.scenario("waxman", nodes=3, links=3, sessions=6)
    assert len({(x.source, x.destination) for x in s.sessions}) == 6


# --- Waxman -----------------------------------------------------------------------------------------------------------


@given(st.integers(2, 30), st.integers(0, 2**32), st.data())
def test_waxman_is_connected_and_as_large_as_said(nodes, seed, data):
    links = data.draw(st.none() | st.integers(nodes - 1, min(nodes * (nodes - 1) // 2, 3 * nodes)))
    graph = topologies.graph("waxman", nodes, links, area_km=20, seed=seed)
    assert nx.is_connected(graph)
    assert list(graph) == list(range(nodes))
    if links is not None:
        assert graph.number_of_edges() == links
    for a, b, km in graph.edges(data="length_km"):
        assert km == pytest.approx(np.hypot(*np.subtract(graph.nodes[a]["pos"], graph.nodes[b]["pos"])))
        assert 0 < km <= 20 * np.sqrt(2)
    again = topologies.graph("waxman", nodes, links, area_km=20, seed=seed)
    assert nx.utils.graphs_equal(graph, again)


def test_waxman_joins_by_the_nearest_nodes():
    """Without links of its own the network is the minimum spanning tree."""
    graph = topologies.graph("waxman", 60, 59, seed=3)
    places = nx.get_node_attributes(graph, "pos")
    complete = nx.Graph()
    for a, b in itertools.combinations(graph, 2):
        complete.add_edge(a, b, weight=np.hypot(*np.subtract(places[a], places[b])))
    tree = nx.minimum_spanning_tree(complete)
    assert {frozenset(edge) for edge in graph.edges} == {frozenset(edge) for edge in tree.edges}


def test_waxman_prefers_near_nodes():
    near, far = (
        np.mean([*lengths(topologies.graph("waxman", 200, 400, alpha=alpha)).values()]) for alpha in (0.05, 0.5)
    )
    assert near < far / 1.5


def test_a_large_network_is_built_and_resolved():
    s = qnum_gym.scenario("waxman", nodes=1000, links=2000, sessions=1000)
    assert (len(s.links), len(s.sessions)) == (2000, 1000)
    assert len(s.arrays().hop_link) == sum(map(len, s.routes))


# --- topologies of other people ---------------------------------------------------------------------------------------

RING = """
import networkx as nx
from qnum_gym.scenarios.topologies import TOPOLOGIES, Topology

@TOPOLOGIES.registers("ring")
class Ring(Topology):
    "Nodes in a circle; sessions across."

    count = 2

    def graph(self, nodes: int = 6, length_km: float = 5.0):
        graph = nx.cycle_graph(nodes)
        nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, length_km), "length_km")
        return graph

    def sessions(self, graph, step: int = 2):
        return [(v, (v + step) % len(graph)) for v in graph]
"""


@pytest.fixture
def ring():
    exec(RING, {"__name__": "ring"})
    qnum_gym.register()
    yield
    topologies.TOPOLOGIES.remove("ring")
    del gym.registry["qnum_gym/Ring-v0"]


@pytest.mark.usefixtures("ring")
def test_a_registered_topology_works_everywhere():
    s = qnum_gym.scenario("ring", length_km=7.0, sessions=3, step=1)
    assert s.name == "ring"
    assert [(x.source, x.destination) for x in s.sessions] == [(0, 1), (1, 2), (2, 3)]
    assert {link.length_km for link in s.links} == {7.0}
    ways: list[tuple[str, dict[str, Any]]] = [("Ring", {}), ("Scenario", {"scenario": "ring"})]
    for id, keywords in ways:
        env: Any = gym.make(f"qnum_gym/{id}-v0", nodes=8, **keywords).unwrapped
        assert env.scenario == qnum_gym.scenario("ring", nodes=8)
    envs = gym.make_vec("qnum_gym/Ring-v0", num_envs=2)
    assert envs.action_space.shape == (2, 8)
    assert qnum_gym.parallel_env("Ring-v0").central.scenario == qnum_gym.scenario("ring")
    assert positions(s).shape == (6, 2)
    assert "| `ring` | Ring | Nodes in a circle; sessions across | `nodes=6, length_km=5.0, step=2` | 2 |" in table()


@pytest.mark.usefixtures("ring")
def test_keywords_are_those_of_its_graph_and_sessions():
    assert topologies.keywords("ring")[:3] == ("nodes", "length_km", "step")
    with pytest.raises(ScenarioError, match="seed: unknown keyword for 'ring'"):
        qnum_gym.scenario("ring", seed=1)


@pytest.mark.parametrize("name", topologies.names())
def test_seed_is_a_keyword_where_something_is_drawn(name):
    drawn = "seed" in topologies.keywords(name)
    assert drawn == (name in ("grid", "waxman"))
    if drawn:
        assert qnum_gym.scenario(name, seed=1) != qnum_gym.scenario(name, seed=2)


def test_an_entry_point_is_enough(tmp_path):
    (tmp_path / "rings.py").write_text(RING)
    info = tmp_path / "rings-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rings\nVersion: 1.0\n")
    points = "[qnum_gym.topologies]\nring = rings:Ring\nbroken = rings:Rong\n"
    (info / "entry_points.txt").write_text(points)
    code = """
import warnings
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    import qnum_gym, gymnasium
print(gymnasium.make("qnum_gym/Ring-v0").unwrapped.scenario.name, *(w.message for w in found), sep="|")
"""
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env).stdout
    assert said.startswith("ring|topology 'broken': rings:Rong fails: AttributeError")


# --- documents --------------------------------------------------------------------------------------------------------


def table():
    """All topologies as rows of a table."""
    rows = ["| scenario | id | network and sessions | keywords | sessions |", "|---|---|---|---|---|"]
    for id, name in topologies.ids().items():
        topology = topologies.TOPOLOGIES[name]()
        about = inspect.cleandoc(topology.__doc__ or "").splitlines()[0].removesuffix(".")
        options = {**parameters(topology.graph), **parameters(topology.sessions)}
        words = ", ".join(f"{key}={value!r}" for key, value in options.items())
        count = len(qnum_gym.scenario(name).sessions)
        rows.append(f"| `{name}` | {id} | {about} | {words and f'`{words}`'} | {count} |")
    return "\n".join(rows)


def test_documents_have_what_the_registry_has():
    root = Path(__file__).parent.parent
    assert table() in (root / "docs/model.md").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert all(f"`{id}`" in readme for id in topologies.ids())


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dumbell", {}, "name = 'dumbell': did you mean 'dumbbell'? valid names: chain, dumbbell, grid, nsfnet"),
        (
            "dumbbell",
            {"acces_km": 3},
            "acces_km: unknown keyword for 'dumbbell'; did you mean 'access_km'?",
        ),
        ("dumbbell", {"seed": 3}, "seed: unknown keyword for 'dumbbell'"),
        ("dumbbell", {"n": 0}, "n = 0: must be a whole number, at least 1"),
        ("dumbbell", {"n": 2, "sessions": 3}, "sessions = 3: must be at most 2 here, or a list"),
        ("dumbbell", {"access_km": -1}, "links[0].length_km = -1: must be greater than or equal to 0"),
        ("dumbbell", {"memory": 0}, "memory = 0: must be greater than or equal to 1"),
        ("dumbbell", {"sessions": "3"}, "sessions = '3': must be a list"),
        ("chain", {"nodes": 1}, "nodes = 1: must be a whole number, at least 2"),
        ("chain", {"sessions": 0}, "sessions = 0: must be a whole number, at least 1"),
        ("star", {"n": True}, "n = True: must be a whole number"),
        ("grid", {"rows": 1, "cols": 1}, "nodes = 1: must be a whole number, at least 2"),
        ("nsfnet", {"scale": 0}, "scale = 0: must be a finite number greater than 0"),
        ("nsfnet", {"sessions": 9}, "sessions = 9: must be at most 8 here"),
        ("waxman", {"nodes": 5, "links": 3}, "links = 3: 5 nodes take 4 to 10 links"),
        ("waxman", {"area_km": float("inf")}, "area_km = inf: must be a finite number"),
        ("waxman", {"nodes": 20, "links": 19.5}, "links = 19.5: must be a whole number"),
    ],
)
def test_refused(name, options, said):
    with pytest.raises(ScenarioError) as refusal:
        qnum_gym.scenario(name, **options)
    assert said in str(refusal.value)

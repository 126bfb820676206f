"""Scenario: defaults, paths, YAML and graph round trips, identity. Refusals and arrays have files of their own."""

import copy
import math
import os
import pickle
import subprocess
import sys
from pathlib import Path

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import qnum_gym
from qnum_gym.physics.measures import MEASURES
from qnum_gym.scenarios import Link, LinkEvent, Node, NodeEvent, Scenario, ScenarioError, Session, model

CONFIGS = Path(__file__).parent.parent / "configs" / "scenarios"

LINKS = [Link(a="a", b="b", length_km=10), Link(a="b", b="c", length_km=20)]


def scenario(**fields):
    return Scenario(**{"links": LINKS, "sessions": [("a", "c")], **fields})


# --- any scenario at all ----------------------------------------------------------------------------------------------

names = st.recursive(
    st.integers(-5, 10**12) | st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    lambda inner: st.lists(inner, max_size=2).map(tuple),
    max_leaves=3,
)
numbers = st.floats(1e-3, 1e3)
probabilities = st.floats(0.01, 1.0)


def maybe(strategy):
    return st.none() | strategy


@st.composite
def scenarios(draw):
    """Connected networks with anything in any field."""
    nodes = draw(st.lists(names, min_size=2, max_size=6, unique=True))
    pairs = {(draw(st.integers(0, v - 1)), v) for v in range(1, len(nodes))}  # a tree
    links = [
        Link(
            a=nodes[a],
            b=nodes[b],
            length_km=draw(st.floats(0, 199)),
            cycle_time=draw(maybe(st.floats(1e-3, 1))),
            coupling=draw(maybe(probabilities)),
            attenuation=draw(maybe(st.floats(0, 2))),
            processing_delay=draw(maybe(st.floats(0, 1))),
            werner_range=draw(maybe(st.tuples(st.floats(0.35, 0.6), st.floats(0.97, 0.9999)))),
            memory=draw(maybe(st.integers(1, 10**6))),
            discipline=draw(maybe(st.sampled_from(["fifo", "lifo", "fair"]))),
            drop_policy=draw(maybe(st.sampled_from(["drop_tail", "push_out"]))),
        )
        for a, b in sorted(pairs)
    ]
    ends = st.lists(st.sampled_from(nodes), min_size=2, max_size=2, unique=True)
    sessions = [
        Session(
            source=source,
            destination=destination,
            weight=draw(numbers),
            measure=draw(maybe(st.sampled_from(MEASURES.names()))),
            min_fidelity=draw(maybe(st.floats(0.3, 0.99))),
            rate_range=draw(maybe(st.tuples(st.floats(1e-3, 0.9), st.floats(1.1, 1e6)))),
            cutoff=draw(maybe(numbers | st.just(math.inf))),
            window=draw(maybe(st.integers(1, 10**6))),
            pacing=draw(maybe(st.sampled_from(["poisson", "even"]))),
            start=draw(st.floats(0, 10)),
            stop=draw(maybe(st.floats(10.5, 100))),
        )
        for source, destination in draw(st.lists(ends, min_size=1, max_size=4))
    ]
    ends_of_a_link = st.sampled_from(links).map(lambda link: (link.b, link.a))
    link_events = st.builds(
        LinkEvent, time=st.floats(0, 100), link=ends_of_a_link, extra_loss_db=numbers, up=st.booleans()
    )
    node_events = st.builds(NodeEvent, time=st.floats(0, 100), node=st.sampled_from(nodes), coherence_time=numbers)
    return Scenario(
        name=draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=10)),
        nodes=[
            Node(name=v, coherence_time=draw(maybe(numbers)), swap_success=draw(maybe(probabilities))) for v in nodes
        ],
        links=links,
        sessions=sessions,
        events=draw(st.lists(link_events | node_events, max_size=4)),
        coherence_time=draw(numbers | st.just(math.inf)),
        message_loss=draw(st.floats(0, 0.5)),
        pacing=draw(st.sampled_from(["poisson", "even"])),
        cutoff=draw(maybe(numbers)),
    )


@given(scenarios())
def test_round_trips(tmp_path_factory, s):
    path = tmp_path_factory.mktemp("yaml") / "s.yaml"
    text = s.to_yaml(path)
    assert text == path.read_text(encoding="utf-8")
    copies = (pickle.loads(pickle.dumps(s)), copy.copy(s), copy.deepcopy(s), s.replace())
    for again in (Scenario.from_yaml(path), *copies):
        assert again == s
        assert hash(again) == hash(s)
        assert again.routes == s.routes
        assert again.changes() == s.changes()


@given(scenarios())
def test_a_graph_holds_nodes_and_links(s):
    graph = s.graph()
    again = Scenario.from_graph(graph, s.sessions, events=s.events)
    assert again.nodes == s.nodes
    assert {frozenset((link.a, link.b)) for link in again.links} == {frozenset((link.a, link.b)) for link in s.links}
    for v, node in enumerate(s.nodes):
        assert graph.nodes[node.name]["index"] == v
    for l, link in enumerate(s.links):
        assert graph.edges[link.a, link.b]["index"] == l
        assert graph.edges[link.b, link.a]["length_km"] == link.length_km


@given(scenarios(), st.floats(0, 200))
def test_arrays_at_any_time_are_the_first_ones_and_the_changes_since(s, time):
    arrays, start = s.arrays(time), s.arrays()
    for kind in ("capacity", "decay_rate", "active"):
        expected = getattr(start, kind).copy()
        for change in s.changes():
            if change.kind == kind and change.time <= time:
                expected[change.index] = change.value
        assert (getattr(arrays, kind) == expected).all()
    assert (arrays.active == ((arrays.start <= time) & (time < arrays.stop))).all()


# --- what is left out -------------------------------------------------------------------------------------------------


def test_nodes_are_those_of_the_links_in_order_of_appearance():
    assert [node.name for node in scenario().nodes] == ["a", "b", "c"]
    assert [node.name for node in scenario(nodes=["c", "b", "a", "d"]).nodes] == ["c", "b", "a", "d"]


def test_a_session_without_path_takes_the_shortest_route():
    s = scenario(sessions=[("c", "a"), Session(source="b", destination="c")])
    assert [session.path for session in s.sessions] == [("c", "b", "a"), ("b", "c")]
    assert s.routes == ((1, 0), (1,))


def test_a_given_path_is_kept_though_another_is_shorter():
    links = [*LINKS, Link(a="a", b="c", length_km=1)]
    detour = {"source": "a", "destination": "c", "path": ["a", "b", "c"]}
    s = scenario(links=links, sessions=[detour, ("a", "c")])
    assert s.routes == ((0, 1), (2,))


def test_names_keep_their_kind(tmp_path):
    links = [
        {"a": 1, "b": "1", "length_km": 1},
        {"a": "1", "b": [1, "x"], "length_km": 1},
        {"a": "1e3", "b": "no", "length_km": 1},
        {"a": "1", "b": "1e3", "length_km": 1},
    ]
    s = Scenario(links=links, sessions=[(1, "no"), ((1, "x"), 1)])
    s.to_yaml(tmp_path / "s.yaml")
    assert Scenario.from_yaml(tmp_path / "s.yaml") == s
    assert [node.name for node in s.nodes] == [1, "1", (1, "x"), "1e3", "no"]


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "Zürich", "a\nb", "\x85", "\u2028", "#", "a: b", "- a", "null", "~", "=", "<<", "1:30", "0x1f"],
)
def test_any_text_is_a_name(tmp_path, name):
    s = Scenario(links=[Link(a=name, b=0, length_km=1)], sessions=[(name, 0)])
    s.to_yaml(tmp_path / "s.yaml")
    assert Scenario.from_yaml(tmp_path / "s.yaml") == s


def test_letters_of_any_language_stay_readable():
    assert "Zürich" in scenario(name="Zürich").to_yaml()


def test_yaml_leaves_defaults_out_and_is_one_line_per_thing():
    text = scenario(coherence_time=math.inf, nodes=["a", {"name": "b", "swap_success": 0.5}, "c"]).to_yaml()
    assert text == (
        "nodes:\n"
        "  - a\n"
        "  - {name: b, swap_success: 0.5}\n"
        "  - c\n"
        "links:\n"
        "  - {a: a, b: b, length_km: 10.0}\n"
        "  - {a: b, b: c, length_km: 20.0}\n"
        "sessions:\n"
        "  - {source: a, destination: c, path: [a, b, c]}\n"
        "coherence_time: .inf\n"
    )


def test_numbers_are_read_as_in_yaml_1_2(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(scenario().to_yaml() + "cycle_time: 2e-3\ncoherence_time: 1E+2\nattenuation: .25\n")
    s = Scenario.from_yaml(path)
    assert (s.cycle_time, s.coherence_time, s.attenuation) == (2e-3, 100.0, 0.25)


def test_merge_keys_and_anchors_work(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text(
        "links:\n- &first {a: a, b: b, length_km: 10, memory: 7}\n- {<<: *first, a: b, b: c}\nsessions: [[a, c]]\n"
    )
    assert [(link.a, link.b, link.memory) for link in Scenario.from_yaml(path).links] == [("a", "b", 7), ("b", "c", 7)]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_are_the_named_ones(path):
    s = Scenario.from_yaml(path)
    assert s.name == path.stem
    if s.name in qnum_gym.topologies.names():
        assert s == qnum_gym.scenario(s.name)


def test_the_shipped_dumbbell_shows_every_field_with_its_default():
    text = (CONFIGS / "dumbbell.yaml").read_text(encoding="utf-8")
    missing = [name for name in Scenario.model_fields if f"\n{name}:" not in text]
    assert not missing


# --- graphs -----------------------------------------------------------------------------------------------------------


def test_from_graph_takes_orders_attributes_and_physics():
    graph = nx.Graph(name="triangle")
    graph.add_node("z", coherence_time=3.0, colour="red")
    graph.add_edge("z", "y", length_km=10, memory=5, weight=9)
    graph.add_edge("y", "x", length_km=10, capacity=100)
    graph.add_edge("z", "x", length_km=15)
    s = Scenario.from_graph(graph, [("z", "x"), ("z", "x")], routes=[None, ["z", "y", "x"]], measure="negativity")
    assert s.name == "triangle"
    assert [node.name for node in s.nodes] == list(graph.nodes)
    assert [(link.a, link.b) for link in s.links] == list(graph.edges)
    assert s.nodes[0].coherence_time == 3.0
    assert (s.links[0].memory, s.links[2].capacity, s.measure) == (5, 100.0, "negativity")
    assert [session.path for session in s.sessions] == [("z", "x"), ("z", "y", "x")]


def test_from_graph_takes_grid_nodes():
    graph = nx.grid_2d_graph(2, 2)
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, 5.0), "length_km")
    s = Scenario.from_graph(graph, [((0, 0), (1, 1))])
    assert s.sessions[0].path == ((0, 0), (0, 1), (1, 1))


@pytest.mark.parametrize(
    ("graph", "said"),
    [
        (nx.DiGraph([("a", "b", {"length_km": 1})]), "undirected"),
        (nx.MultiGraph([("a", "b", {"length_km": 1})]), "parallel edges"),
        (nx.Graph([("a", "b", {"length_km": 1}), ("b", "c")]), "graph edge ('b', 'c'): length_km is missing"),
        (nx.Graph([("a", 1.5, {"length_km": 1})]), "nodes[1].name = 1.5"),
        ({"a": ["b"]}, "graph = dict: must be an undirected networkx.Graph"),
    ],
)
def test_from_graph_refuses_graphs_that_are_no_networks(graph, said):
    with pytest.raises(ScenarioError) as refusal:
        Scenario.from_graph(graph, [("a", "b")])
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    ("sessions", "routes", "said"),
    [
        ("ab", None, "sessions = 'ab': must be a list"),
        (3, None, "sessions = 3: must be a list"),
        ([("a", "b", "c")], None, "sessions[0] = ('a', 'b', 'c'): must be a mapping"),
        ([("a", "b")], [], "routes = 0 of them: must be as many as sessions, 1"),
        ([("a", "b")], [["a", "c", "b"]], "sessions[0].path = ['a', 'c', 'b']: 'c': unknown node"),
    ],
)
def test_from_graph_refuses_sessions_and_routes_that_are_none(sessions, routes, said):
    with pytest.raises(ScenarioError) as refusal:
        Scenario.from_graph(nx.Graph([("a", "b", {"length_km": 1})]), sessions, routes)
    assert said in str(refusal.value)


# --- identity ---------------------------------------------------------------------------------------------------------


def test_immutable():
    s = scenario()
    with pytest.raises(ValueError, match="frozen"):
        s.memory = 3
    with pytest.raises(ValueError, match="frozen"):
        s.links[0].length_km = 3
    with pytest.raises(ValueError, match="read-only"):
        s.arrays().capacity[0] = 3


def test_arrays_stay_read_only_after_pickle():
    s = scenario()
    assert s.arrays() is s.arrays(5.0)
    again = pickle.loads(pickle.dumps(s))
    assert not again.arrays().capacity.flags.writeable
    assert not again.arrays().active.flags.writeable


def test_a_pickle_of_another_version_says_so(monkeypatch):
    """One with a field that there is no more; what is new has its default."""
    s = scenario()
    with monkeypatch.context() as past:
        past.setattr(model, "__version__", "0.0.9")
        fields = {**s.model_dump(), "colour": "red"}
        past.setattr(Scenario, "model_dump", lambda self: fields)
        whole = pickle.dumps(s)
    with pytest.raises(ScenarioError, match=r"^pickle of a scenario, by qnum_gym 0.0.9: colour: unknown key; .*valid"):
        pickle.loads(whole)


def test_equal_scenarios_are_one_key_and_others_are_not():
    s = scenario()
    assert {s: 1}[scenario(cycle_time=1e-3)] == 1
    assert s != scenario(cycle_time=2e-3)
    assert s != "scenario"


def test_the_fingerprint_is_the_same_in_every_process():
    code = "import qnum_gym; print(qnum_gym.scenario('nsfnet').fingerprint)"
    prints = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert prints == {qnum_gym.scenario("nsfnet").fingerprint}


def test_replace_validates_and_resolves_anew():
    s = scenario()
    s.arrays()
    assert s.routes
    assert s.fingerprint  # computed once, and not taken over below
    shorter = s.replace(links=[Link(a="a", b="b", length_km=1), Link(a="b", b="x", length_km=1), LINKS[1]])
    assert [node.name for node in shorter.nodes] == ["a", "b", "x", "c"]
    assert shorter.arrays().capacity[0] > s.arrays().capacity[0]
    assert s.model_copy(update={"cycle_time": 2e-3}).arrays().capacity[0] == s.arrays().capacity[0] / 2
    with pytest.raises(ScenarioError, match="cycle_time = -1"):
        s.replace(cycle_time=-1)

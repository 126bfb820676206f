"""Networks from files: each format, what is refused and what is left out, lengths and places against known ones."""

from __future__ import annotations

import itertools
import json
import random
import warnings
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest

import qnum_gym
from qnum_gym import Scenario, ScenarioError
from qnum_gym.scenarios.geography import between, great_circle_km, is_repeater, subdivide
from qnum_gym.scenarios.network_files import NetworkFileWarning
from qnum_gym.scenarios.network_readers import SHIPPED, shipped

PARIS, LONDON, NEW_YORK = (48.8566, 2.3522), (51.5074, -0.1278), (40.7128, -74.0060)
PLACES = {"a": (52.0, 4.0), "b": (52.0, 5.0), "c": (53.0, 5.0)}


def network() -> nx.Graph:
    graph = nx.Graph()
    for name, (north, east) in PLACES.items():
        graph.add_node(name, Latitude=north, Longitude=east)
    graph.add_edge("a", "b", km=70.0)
    graph.add_edge("b", "c", km=120.0)
    return graph


def written(graph: Any, path: Path) -> Path:
    """The graph in the format of the file's name."""
    if path.suffix == ".graphml":
        nx.write_graphml(graph, path)
    elif path.suffix == ".gml":
        nx.write_gml(graph, path)
    elif path.suffix == ".json":
        key = "edges" if path.stem != "links" else "links"
        edges = [{"source": a, "target": b, **data} for a, b, data in graph.edges(data=True)]
        nodes = [{"id": name, **data} for name, data in graph.nodes(data=True)]
        path.write_text(json.dumps({"nodes": nodes, key: edges}))
    else:
        path.write_text("a,b,km\n" + "".join(f"{a},{b},{data['km']}\n" for a, b, data in graph.edges(data=True)))
    return path


def refused(match: str, path: Path | str, sessions: object = (("a", "c"),), **options: Any) -> None:
    with pytest.raises(ScenarioError, match=match) as error:
        Scenario.from_file(path, sessions, **options)
    assert "\n" not in str(error.value)
    assert str(error.value).startswith((str(path), "scenario"))


def test_two_directions_are_one_link_if_they_have_one_length(tmp_path: Path) -> None:
    """Of a directed file; with two lengths they are parallel edges."""
    directed = nx.DiGraph(network())
    path = written(directed, tmp_path / "directed.gml")
    assert [link.length_km for link in Scenario.from_file(path, [("a", "c")], length="km").links] == [70.0, 120.0]
    directed.edges["b", "a"]["km"] = 60.0
    written(directed, path)
    refused("a – b: there are several; parallel = 'shortest'", path, length="km")
    shortest = Scenario.from_file(path, [("a", "c")], length="km", parallel="shortest")
    assert [link.length_km for link in shortest.links] == [60.0, 120.0]


# --- distances --------------------------------------------------------------------------------------------------------


def test_great_circles_are_as_long_as_others_say() -> None:
    """The WGS84 ellipsoid's 343.9 and 5837 km, to the 0.6 % that a sphere is off by."""
    assert great_circle_km(PARIS, LONDON) == pytest.approx(343.9, rel=6e-3)
    assert great_circle_km(PARIS, NEW_YORK) == pytest.approx(5837.4, rel=6e-3)
    assert great_circle_km((0.0, 179.5), (0.0, -179.5)) == pytest.approx(111.195, rel=1e-4)  # a degree
    assert great_circle_km((90.0, 0.0), (-90.0, 77.0)) == pytest.approx(np.pi * 6371.0088)
    assert great_circle_km(PARIS, PARIS) == 0.0


def test_a_place_between_lies_on_the_way() -> None:
    whole = great_circle_km(PARIS, NEW_YORK)
    for share in (0.0, 0.25, 0.5, 1.0):
        place = between(PARIS, NEW_YORK, share)
        assert great_circle_km(PARIS, place) == pytest.approx(share * whole, abs=1e-6)
        assert great_circle_km(place, NEW_YORK) == pytest.approx((1 - share) * whole, abs=1e-6)
    assert between((10.0, 20.0), (10.0, 20.0), 0.3) == (10.0, 20.0)
    assert between((0.0, 170.0), (0.0, -170.0), 0.5)[1] == pytest.approx(180.0)


# --- formats ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["net.graphml", "net.gml", "net.json", "links.json", "net.csv"])
def test_each_format_gives_the_same_network(name: str, tmp_path: Path) -> None:
    s = Scenario.from_file(written(network(), tmp_path / name), [("a", "c")], length="km", coherence_time=50.0)
    assert [(link.a, link.b, link.length_km) for link in s.links] == [("a", "b", 70.0), ("b", "c", 120.0)]
    assert s.sessions[0].path == ("a", "b", "c")
    assert (s.name, s.coherence_time) == (Path(name).stem, 50.0)
    if not name.endswith("csv"):
        assert [(node.latitude, node.longitude) for node in s.nodes] == [*PLACES.values()]


def test_a_csv_of_nodes_places_those_of_a_csv_of_edges(tmp_path: Path) -> None:
    edges = written(network(), tmp_path / "net.csv")
    nodes = tmp_path / "nodes.csv"
    nodes.write_text(
        "node,lat,lon,T_c,coherence_time\n" + "".join(f"{v},{x},{y},1,3\n" for v, (x, y) in PLACES.items())
    )
    with pytest.warns(NetworkFileWarning, match=r"not read: coherence_time; fields = \['coherence_time'\]"):
        s = Scenario.from_file(edges, 1, node_file=str(nodes))
    assert s.links[0].length_km == pytest.approx(great_circle_km(PLACES["a"], PLACES["b"]), abs=5e-4)
    assert s.nodes[0].coherence_time is None
    s = Scenario.from_file(edges, 1, node_file=str(nodes), fields=["coherence_time"])
    assert s.nodes[0].coherence_time == 3.0
    nodes.write_text("node,lat\nx,3\n")
    with pytest.raises(ScenarioError, match=r"nodes.csv: node 'x': must be a node of"):
        Scenario.from_file(edges, 1, node_file=str(nodes))


def test_lengths_come_from_places_where_an_edge_has_none(tmp_path: Path) -> None:
    graph = network()
    del graph.edges["b", "c"]["km"]
    s = Scenario.from_file(written(graph, tmp_path / "net.gml"), [("a", "c")], length="km", detour=1.5)
    assert s.links[0].length_km == 70.0
    assert s.links[1].length_km == pytest.approx(1.5 * 111.195, rel=1e-4)  # a degree to the north


def test_scenarios_keep_places_in_yaml_graph_and_back(tmp_path: Path) -> None:
    s = Scenario.from_file(written(network(), tmp_path / "net.gml"), 1)
    s.to_yaml(tmp_path / "s.yaml")
    assert Scenario.from_yaml(tmp_path / "s.yaml") == s
    assert Scenario.from_graph(s.graph(), s.sessions, name="net") == s
    with pytest.raises(
        ScenarioError, match=r"nodes\[0\].longitude = None: must be given where the other coordinate is"
    ):
        Scenario(
            nodes=[{"name": "a", "latitude": 1.0}, "b"],
            links=[{"a": "a", "b": "b", "length_km": 1}],
            sessions=[("a", "b")],
        )


def test_environments_and_overrides_take_a_network_file() -> None:
    import gymnasium as gym

    env = gym.make("qnum_gym/Scenario-v0", scenario="randstad.json", sessions=3, seed=1, coherence_time=7.0)
    scenario: Any = env.unwrapped
    assert scenario.scenario == Scenario.from_file("randstad.json", 3, seed=1, coherence_time=7.0)


# --- what is refused, and what is left out ----------------------------------------------------------------------------


def test_parallel_edges_are_refused_or_the_shortest_is_kept(tmp_path: Path) -> None:
    graph = nx.MultiGraph(network())
    graph.add_edge("a", "b", km=60.0)
    graph.add_edge("b", "a", km=90.0)
    path = written(graph, tmp_path / "net.gml")
    refused("edges a – b: there are several; parallel = 'shortest' keeps one", path, length="km")
    assert Scenario.from_file(path, 1, length="km", parallel="shortest").links[0].length_km == 60.0
    path.write_text(path.read_text().replace("multigraph 1", ""))  # as many files are
    assert Scenario.from_file(path, 1, length="km", parallel="shortest").links[0].length_km == 60.0
    both = nx.DiGraph(network())
    both.add_edges_from([(b, a, data) for a, b, data in both.edges(data=True)])
    assert len(Scenario.from_file(written(both, tmp_path / "both.gml"), 1, length="km").links) == 2


def test_loops_and_isolated_nodes_are_left_out_and_said(tmp_path: Path) -> None:
    graph = network()
    graph.add_edge("b", "b", km=1.0)
    graph.add_node("alone")
    with pytest.warns(NetworkFileWarning) as said:
        s = Scenario.from_file(written(graph, tmp_path / "net.graphml"), 1)
    assert [str(warning.message).partition("left out ")[2] for warning in said] == [
        "edges from a node to itself: b", "nodes without links: alone",
    ]  # fmt: skip
    assert [node.name for node in s.nodes] == ["a", "b", "c"]


def test_nodes_without_coordinates_are_refused_or_left_out(tmp_path: Path) -> None:
    refused("nodes UA, BY, MD: no latitude and longitude, and an edge there has no length_km", "geant.graphml", 3)
    with pytest.warns(NetworkFileWarning, match="left out nodes without coordinates: UA, BY, MD"):
        s = Scenario.from_file("geant.graphml", 3, unplaced="drop", max_km=100)
    assert sum(not is_repeater(node.name) for node in s.nodes) == 37
    path = written(nx.path_graph(3), tmp_path / "net.json")
    refused("nodes 0, 1, 2: no latitude", path)
    with pytest.warns(NetworkFileWarning):
        refused("no edges; valid: a network with links", path, unplaced="drop")


def test_wrong_values_and_options_are_refused_in_one_line(tmp_path: Path) -> None:
    path = written(network(), tmp_path / "net.json")
    refused("edge a – b: km = 'far': must be a number of km, at least 0", _with(path, 0, "km", "far"), length="km")
    refused("node a: Latitude = 91: must be a number between -90 and 90", _with(path, "a", "Latitude", 91))
    path = written(network(), tmp_path / "net.json")
    refused("detour = 0.5: must be greater than or equal to 1", path, detour=0.5)
    refused("max_km = -1: must be greater than 0", path, max_km=-1)
    refused("parallel = 'x': must be 'refuse' or 'shortest'", path, parallel="x")
    refused("seed = 1.5: must be a valid integer", path, seed=1.5)
    refused("latitude = 'y': no node has it; valid: id, Latitude, Longitude", path, latitude="y")
    refused("length = 'm': no edge has it; valid: km", path, length="m")
    refused("names = 'y': not all nodes have it; valid: id, ", path, names="y")
    refused("node Longitude = '5.0': must be another for each node; valid: names = 'id'", path, names="Longitude")
    refused("fields = 'couplin': did you mean 'coupling'", path, fields=["couplin"])
    refused("coherence_time = -1: must be", path, coherence_time=-1)
    refused(r"sessions\[0\].source = 'A': unknown node; .*valid nodes: 'a', 'b', 'c'", path, [("A", "b")])
    refused("sessions = None: must be a list of", path, None)
    refused("sessions = 9: must be at most 2 here", path, 9)
    with pytest.raises(
        qnum_gym.scenarios.sources.UnknownKeyword, match="detuor: unknown keyword; did you mean 'detour'"
    ):
        qnum_gym.scenarios.sources.resolve(path, {"detuor": 2}, ())


def _with(path: Path, which: int | str, key: str, value: object) -> Path:
    """The file, with that value in an edge or node."""
    data = json.loads(path.read_text())
    row = data["edges"][which] if isinstance(which, int) else next(v for v in data["nodes"] if v["id"] == which)
    row[key] = value
    path.write_text(json.dumps(data))
    return path


def _said_of(path: Path) -> str:
    """What is wrong with a network file; nothing if it is none."""
    try:
        Scenario.from_file(path, 1, unplaced="drop", length="km" if path.suffix == ".csv" else None)
    except ScenarioError as error:
        return str(error)
    return ""


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    """Or still make a network: nothing else may happen."""
    draw, said = random.Random(13), list[tuple[Path, str]]()
    for case in range(300):
        right = draw.choice([*(SHIPPED / name for name in shipped()), written(network(), tmp_path / "net.csv")])
        content = right.read_bytes()[:1500] if draw.random() < 0.5 else right.read_bytes()
        for _ in range(draw.randrange(1, 4)):
            place = draw.randrange(len(content))
            content = content[:place] + bytes([draw.randrange(256)]) + content[place + draw.randrange(3) :]
        path = tmp_path / f"{case}{right.suffix}"
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NetworkFileWarning)
            said.append((path, _said_of(path)))
    refusals = [(path, text) for path, text in said if text]
    assert all(str(path) in text and ("\n" not in text or "problems" in text) for path, text in refusals)
    assert len(refusals) > 150
    refused("No such file or directory; valid: the path of a network file, or one of geant", tmp_path / "none.gml")
    refused(r"valid: a network file that ends in \.graphml", tmp_path / "none.xml")


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_sessions_come_from_lists_files_all_pairs_or_a_seed(tmp_path: Path) -> None:
    path = written(network(), tmp_path / "net.json")
    listed = tmp_path / "sessions.csv"
    listed.write_text(
        "source, destination, weight, path\na,c,2,\nc,a,,'[c, b, a]'\n".replace("'[c, b, a]'", '"[c, b, a]"')
    )
    s = Scenario.from_file(path, str(listed))
    assert [(r.source, r.destination, r.weight) for r in s.sessions] == [("a", "c", 2.0), ("c", "a", 1.0)]
    (tmp_path / "sessions.json").write_text('[["a", "c"], {"source": "c", "destination": "a", "min_rate": 1}]')
    assert Scenario.from_file(path, tmp_path / "sessions.json").sessions[1].min_rate == 1.0
    assert len(Scenario.from_file("randstad.json", "all").sessions) == 11 * 10 / 2
    one, same, other = (Scenario.from_file("surfnet.gml", 6, seed=seed).sessions for seed in (0, 0, 1))
    assert one == same != other
    listed.write_text("source,destnation\na,c\n")
    with pytest.raises(ScenarioError, match=r"sessions.csv: column 'destnation': did you mean 'destination'"):
        Scenario.from_file(path, str(listed))
    listed.write_text("source,destination\na\n")
    with pytest.raises(ScenarioError, match=r"sessions.csv: row 2: must have as many values as there are columns, 2"):
        Scenario.from_file(path, str(listed))


def test_pairs_that_no_links_connect_are_not_drawn(tmp_path: Path) -> None:
    graph = nx.Graph([("a", "b"), ("b", "c"), ("x", "y"), ("y", "z")])
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, 5.0), "length_km")
    path = written(graph, tmp_path / "net.gml")
    assert {{str(r.source), str(r.destination)} <= {*"abc"} for r in Scenario.from_file(path, 4).sessions} == {
        True,
        False,
    }
    assert len(Scenario.from_file(path, "all").sessions) == 6


# --- long links -------------------------------------------------------------------------------------------------------


def test_long_links_are_divided_into_equal_parts_on_the_great_circle() -> None:
    graph = nx.Graph()
    graph.add_node("A", latitude=52.0, longitude=4.0)
    graph.add_node("B", latitude=53.0, longitude=6.0)
    graph.add_edge("A", "B", length_km=100.0, coupling=0.5)
    graph.add_edge("B", "C", length_km=40.0)
    divided = subdivide(graph, 40.0)
    assert [*divided] == ["A", "B", "C", "A–B 1", "A–B 2"]
    chain = ["A", "A–B 1", "A–B 2", "B"]
    assert [divided.edges[hop]["length_km"] for hop in itertools.pairwise(chain)] == [pytest.approx(100 / 3)] * 3
    assert divided.edges["A–B 1", "A–B 2"]["coupling"] == 0.5
    assert divided.edges["B", "C"]["length_km"] == 40.0
    places = [(divided.nodes[v]["latitude"], divided.nodes[v]["longitude"]) for v in chain]
    parts = [great_circle_km(a, b) for a, b in itertools.pairwise(places)]
    np.testing.assert_allclose(parts, sum(parts) / 3, rtol=1e-4)
    assert sum(parts) == pytest.approx(great_circle_km((52.0, 4.0), (53.0, 6.0)), rel=1e-6)
    assert [is_repeater(name) for name in divided] == [False] * 3 + [True] * 2
    assert "latitude" not in subdivide(graph, 20.0).nodes["B–C 1"]


def test_a_capacity_of_the_whole_link_is_not_that_of_its_parts(tmp_path: Path) -> None:
    graph = network()
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, 3.0), "capacity")
    path = written(graph, tmp_path / "net.gml")
    refused(r"capacity = 3.0: is that of all", path, fields=["capacity"], max_km=20)
    clash = nx.Graph()
    clash.add_edge("A", "B", length_km=10.0)
    clash.add_edge("A–B 1", "B", length_km=1.0)
    with pytest.raises(ScenarioError, match="node 'A–B 1': is the name of a repeater that max_km = 5 adds"):
        subdivide(clash, 5.0)
    with pytest.raises(ScenarioError, match="max_km = 0"):
        subdivide(clash, 0)


# --- those that come with the package ---------------------------------------------------------------------------------


def test_shipped_networks_are_as_their_sources_say() -> None:
    assert shipped() == ("geant.graphml", "randstad.json", "surfnet.gml")
    surfnet = Scenario.from_file("surfnet.gml", 3)
    assert (len(surfnet.nodes), len(surfnet.links)) == (50, 68)
    lengths = {frozenset((link.a, link.b)): link.length_km for link in surfnet.links}
    assert lengths[frozenset(("Amsterdam", "Dwingeloo"))] == pytest.approx(112.29, rel=1e-3)  # TopoHub's number
    assert nx.is_connected(surfnet.graph())
    ring = Scenario.from_file("randstad.json", 3)
    assert [degree for _, degree in ring.graph().degree] == [2] * 11
    assert nx.is_connected(ring.graph())
    assert all(lengths[frozenset((link.a, link.b))] == link.length_km for link in ring.links)

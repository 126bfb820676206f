"""Pictures: right size, showing what changed, whatever the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from matplotlib.text import Text

import qnum_gym
from qnum_gym import agents, evaluation
from qnum_gym.envs import AllocationEnv
from qnum_gym.envs.rendering.layout import positions
from qnum_gym.evaluation.plots import draw_comparison, draw_trace
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.style import curve, name_curves, new_figure, save
from qnum_gym.evaluation.trace import trace
from qnum_gym.labels import plain
from qnum_gym.scenarios import Link, LinkEvent, Scenario, Session
from qnum_gym.simulator import Controls


def picture(env: AllocationEnv) -> np.ndarray:
    image = env.render()
    assert isinstance(image, np.ndarray)
    assert image.shape == (720, 1280, 3)
    assert image.dtype == np.uint8
    return image


@pytest.mark.parametrize("name", ["dumbbell", "nsfnet", "surfnet", "chain", "star", "grid", "waxman"])
def test_every_named_network_can_be_drawn(name: str) -> None:
    env = AllocationEnv(name, render_mode="rgb_array")
    env.reset(seed=0)
    empty = picture(env)
    for _ in range(3):
        env.step(np.zeros(env.action_space.shape, np.float32))
    busy, again = picture(env), picture(env)
    assert len(np.unique(busy.reshape(-1, 3), axis=0)) > 100
    assert (empty != busy).any()
    assert (again == busy).all()
    assert not np.shares_memory(again, busy)
    env.close()
    assert (picture(env) == busy).all()


def test_a_picture_shows_utilisation_queues_rates_and_what_is_down() -> None:
    """The left part follows the links, the right part the sessions."""
    scenario = qnum_gym.scenario("dumbbell", sessions=2)
    calm = AllocationEnv(scenario, render_mode="rgb_array")
    event = LinkEvent(time=2.0, link=("right", "d1"), up=False)
    broken = AllocationEnv(scenario.replace(events=[event]), render_mode="rgb_array")
    for env in (calm, broken):
        env.reset(seed=0)
        for _ in range(5):
            env.step_controls(Controls(np.array([20.0, 3.0]), np.full(5, 0.98)))
    different = (picture(calm) != picture(broken)).any(axis=2)
    assert different[:, :800].any()
    assert different[:, 939:1088].any()
    vermillion = (picture(broken) == (0xD5, 0x5E, 0x00)).all(axis=2)[:597]
    assert vermillion.sum() > 50
    assert not (picture(calm) == (0xD5, 0x5E, 0x00)).all(axis=2)[:597].any()


def test_the_optimum_follows_events() -> None:
    scenario = qnum_gym.scenario("chain", sessions=2, episode_length=4)
    sessions = [scenario.sessions[0], scenario.sessions[1].model_copy(update={"start": 2.0, "stop": 3.0})]
    env = AllocationEnv(scenario.replace(sessions=sessions), render_mode="rgb_array")
    env.reset(seed=0)
    marks = []
    for _ in range(4):
        env.step(np.zeros(env.action_space.shape, np.float32))
        dark = (picture(env)[107:587, 942:1086] < 60).all(axis=2)
        marks.append(dark.sum())
    assert marks[1] > marks[0]  # at 2 s the second session joins
    assert marks[2] < marks[1]


NAMES = (
    "Ba$$in",
    "$$",
    "pop_$i_$j",
    "${A}_$",
    "US$ 5 or C$ 6",
    "R$ 10",
    "a_b^c",
    r"C:\alpha\$x$",
    "_hidden",
    "Zürich–Łódź",
    "x" * 90,
)


def odd_network() -> Scenario:
    """As in the Topology Zoo: names of all kinds, nodes without links, parts apart, links of 0 km."""
    graph = nx.path_graph(NAMES)
    nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, 10.0), "length_km")
    graph.edges[NAMES[0], NAMES[1]]["length_km"] = 0.0
    graph.add_edge("other", "part", length_km=1.0)
    graph.add_nodes_from(["alone", "lonely$"])
    sessions = [(NAMES[0], NAMES[2]), (NAMES[8], NAMES[9]), ("other", "part")]
    return Scenario.from_graph(graph, sessions, name="a $ and $", coherence_time=100.0, episode_length=4)


def test_whatever_the_names_and_wherever_the_nodes() -> None:
    env = AllocationEnv(odd_network(), render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, np.float32))
    picture(env)
    for nodes in (2, 3):  # long names: beside the nodes; short ones: within
        graph = nx.path_graph(nodes)
        nx.set_edge_attributes(graph, dict.fromkeys(graph.edges, 0.0), "length_km")
        graph.add_nodes_from(["Q", "R$"])
        lone = AllocationEnv(Scenario.from_graph(graph, [(0, 1)]), render_mode="rgb_array")
        lone.reset(seed=0)
        picture(lone)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_letter_by_letter(name: str) -> None:
    text = Text(text=plain(name))
    shown, formula = text._preprocess_math(text.get_text())  # type: ignore[attr-defined]
    assert not formula
    assert shown.strip() == name
    assert len(plain("$" * 90, 26).replace("\\", "")) == 26


def test_other_figures_take_any_name(tmp_path: Path) -> None:
    scenario = odd_network()
    policies = {"_mine$$": agents.make("equal_share"), "a$": agents.make("random")}
    draw_comparison(evaluation.evaluate(scenario, policies, [0, 1]), tmp_path / "comparison.png")
    draw_trace(trace(scenario, policies["a$"]), tmp_path / "trace.png", "a$ on $x")
    figure, axes = new_figure(1, 1, width=4.0, height=3.0)
    for label in policies:
        curve(axes[0, 0], [1.0], [Interval(0.5, 0.4, 0.6)], label, list(policies))
    name_curves(figure, axes.flat)
    save(figure, tmp_path / "curves.png", "$$ and $$")
    assert [text.get_text().strip() for text in figure.legends[0].get_texts()] == [r"_mine\$\$", r"a\$"]


def test_large_networks_are_drawn_without_labels() -> None:
    env = AllocationEnv("waxman", nodes=200, links=400, sessions=50, coherence_time=100.0, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(np.zeros(env.action_space.shape, np.float32))
    picture(env)


def test_layouts_fill_the_unit_square() -> None:
    for name in ("dumbbell", "nsfnet", "surfnet", "star", "grid", "waxman"):
        xy = positions(qnum_gym.scenario(name))
        np.testing.assert_allclose([xy.min(axis=0), xy.max(axis=0)], [[0, 0], [1, 1]], atol=1e-12)
        distances = np.linalg.norm(xy[:, None] - xy, axis=2)[np.triu_indices(len(xy), 1)]
        assert distances.min() > 0.02
    chain = positions(qnum_gym.scenario("chain"))
    np.testing.assert_allclose(chain, [[i / 4, 0.5] for i in range(5)])
    grid = positions(qnum_gym.scenario("grid", rows=2, cols=3))
    np.testing.assert_allclose(grid, [[0, 1], [0.5, 1], [1, 1], [0, 0], [0.5, 0], [1, 0]])
    dumbbell = positions(qnum_gym.scenario("dumbbell", sessions=4))
    assert (dumbbell[:4, 0] == 0.0).all()


def test_known_networks_are_drawn_as_they_are_known() -> None:
    west, east = 1, 13  # Palo Alto, Princeton
    assert positions(qnum_gym.scenario("nsfnet"))[[west, east], 0].tolist() == [0.0, 1.0]
    surfnet = qnum_gym.scenario("surfnet")
    assert positions(surfnet)[surfnet.node_index["Enschede"], 0] == 1.0
    ring = nx.cycle_graph(14)  # the names of NSFNET's nodes, other links
    nx.set_edge_attributes(ring, dict.fromkeys(ring.edges, 5.0), "length_km")
    x, y = (positions(Scenario.from_graph(ring, [(0, 7)])) - 0.5).T
    np.testing.assert_allclose(np.hypot(x, y), 0.5, atol=0.02)
    pair = Scenario(links=[Link(a=(0, 1), b="x", length_km=5)], sessions=[Session(source="x", destination=(0, 1))])
    assert positions(pair).shape == (2, 2)


def test_matplotlib_comes_with_the_first_picture_and_pyplot_never() -> None:
    code = """
import sys, numpy as np, qnum_gym, gymnasium as gym
env = gym.make("qnum_gym/Dumbbell-v0", render_mode="rgb_array")
env.reset(seed=0)
env.step(env.action_space.sample())
assert "matplotlib" not in sys.modules
env.render()
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)

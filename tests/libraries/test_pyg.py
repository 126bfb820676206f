"""Graph observations as PyTorch Geometric's data."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.transforms import ToUndirected

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.envs.observations import of_one
from qnum_gym.integrations.pyg import flat_action, hetero_data
from qnum_gym.scenarios import LinkEvent

SCENARIOS = [qnum_gym.scenario(name) for name in ("chain", "nsfnet", "dumbbell")]


def test_it_is_the_network_without_padding() -> None:
    seen, _ = AllocationVectorEnv(3, SCENARIOS, observation="graph").reset(seed=0)
    for i, scenario in enumerate(SCENARIOS):
        data = hetero_data(of_one(seen, i))
        data.validate()
        alone, _ = AllocationEnv(scenario, observation="graph").reset(seed=i)
        for name in ("session", "link", "node"):
            np.testing.assert_array_equal(data[name].x, alone[f"{name}s"])
        names = [node.name for node in scenario.nodes]
        crosses = [(r, l) for r, route in enumerate(scenario.routes) for l in route]
        assert data["session", "crosses", "link"].edge_index.T.tolist() == [list(hop) for hop in crosses]
        assert data["session", "crosses", "link"].edge_attr[:, 0].tolist() == [
            place for route in scenario.routes for place, _ in enumerate(route)
        ]
        for end, field in (("begins", "source"), ("ends", "destination")):
            index = [[r, names.index(getattr(s, field))] for r, s in enumerate(scenario.sessions)]
            assert data["session", end, "node"].edge_index.T.tolist() == index
        joins = [[l, names.index(node)] for l, link in enumerate(scenario.links) for node in (link.a, link.b)]
        assert data["link", "joins", "node"].edge_index.T.tolist() == joins


def test_a_session_that_is_off_and_a_link_that_is_down_are_told() -> None:
    a, *others = SCENARIOS[2].sessions
    cut = SCENARIOS[2].links[3]
    scenario = SCENARIOS[2].replace(
        sessions=[a.model_copy(update={"start": 5.0}), *others],
        events=[LinkEvent(time=0.5, link=(cut.a, cut.b), up=False)],
    )
    env = AllocationEnv(scenario, observation="graph")
    env.reset(seed=0)
    data = hetero_data(env.step(np.zeros(env.action_space.shape))[0])
    assert data["session"].mask.tolist() == [False, True, True]
    assert data["link"].mask.tolist() == [l != 3 for l in range(7)]


@pytest.mark.parametrize("signals", [False, True])
def test_a_graph_network_acts_on_networks_of_different_sizes(signals: bool) -> None:
    envs = AllocationVectorEnv(3, SCENARIOS, observation="graph", action="level", signals=signals)
    seen, _ = envs.reset(seed=0)
    parts = [of_one(seen, i) for i in range(3)]
    batch = Batch.from_data_list([ToUndirected()(hetero_data(part)) for part in parts])
    torch.manual_seed(0)
    heads = HeteroConv({kind: SAGEConv((-1, -1), 1 + signals) for kind in batch.edge_types})
    with torch.no_grad():
        links = torch.tanh(heads(batch.x_dict, batch.edge_index_dict)["link"])
    of_link = batch["link"].batch
    actions = [
        flat_action(part, np.full((len(scenario.sessions), 1 + signals), 0.5), links[of_link == i])
        for i, (part, scenario) in enumerate(zip(parts, SCENARIOS, strict=True))
    ]
    envs.step(np.array(actions))
    for i, scenario in enumerate(SCENARIOS):
        controls, (low, high) = envs.env_batch.simulators[i].controls, scenario.rate_range
        np.testing.assert_allclose(controls.rates, low * (high / low) ** 0.75, rtol=1e-9)
        wanted = links[of_link == i][:, 0].numpy()
        low, high = (-np.log(1 - w) for w in scenario.werner_range)
        np.testing.assert_allclose(-np.log(1 - controls.werner), low + (wanted + 1) / 2 * (high - low), rtol=1e-5)
        if signals:
            np.testing.assert_array_equal(controls.link_signals, links[of_link == i][:, 1].numpy())


def test_the_page_runs() -> None:
    page = (Path(__file__).parents[2] / "docs/graphs.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), {})

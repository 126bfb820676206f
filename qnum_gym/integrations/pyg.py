"""PyTorch Geometric: a graph observation as a `HeteroData`, and what a graph network says about it as an action.

```python
env = gym.make("qnum_gym/NSFNet-v0", observation="graph")
observation, _ = env.reset(seed=0)
data = hetero_data(observation)
action = flat_action(observation, torch.zeros(data["session"].num_nodes), torch.zeros(data["link"].num_nodes))
```
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

try:
    geometric: Any = importlib.import_module("torch_geometric.data")  # it need not be there for the types
except ModuleNotFoundError as error:
    raise ImportError(
        "PyTorch Geometric is not installed; hetero_data needs: pip install -e '.[graph]' in the clone's folder"
    ) from error

HeteroData: Any = geometric.HeteroData
tensor: Any = cast(Any, torch).from_numpy


def hetero_data(observation: Mapping[str, NDArray[Any]]) -> Any:
    """One network's graph observation as a `HeteroData`, without what is there for padding.

    Nodes: "session", "link" and "node", with features `x`; `mask` says whose actions matter, see `action_mask`.
    Edges: ("session", "crosses", "link") with `edge_attr` [hops, 1], the place on the route; ("session", "begins",
    "node"), ("session", "ends", "node"), and ("link", "joins", "node"), two for each link.

    Args:
        observation: of `observation="graph"`, of one environment.
    """
    own = {name: observation[f"{name}_mask"].astype(bool) for name in ("session", "link", "node", "hop")}
    sessions, links = own["session"], own["link"]
    matters = observation["action_mask"].astype(bool)
    data = HeteroData()
    for name, mask in (("session", matters), ("link", matters[len(sessions) :])):
        data[name].mask = tensor(mask[: len(own[name])][own[name]])
    for name in ("session", "link", "node"):
        data[name].x = tensor(observation[f"{name}s"][own[name]])
    hops, ends = observation["hops"][own["hop"]], observation["session_nodes"][sessions]
    joined, n, m = observation["link_nodes"][links], np.count_nonzero(sessions), np.count_nonzero(links)
    edges = {
        ("session", "crosses", "link"): hops[:, :2].T,
        ("session", "begins", "node"): np.stack((np.arange(n), ends[:, 0])),
        ("session", "ends", "node"): np.stack((np.arange(n), ends[:, 1])),
        ("link", "joins", "node"): np.stack((np.repeat(np.arange(m), 2), joined.ravel())),
    }
    for kind, index in edges.items():
        data[kind].edge_index = tensor(np.ascontiguousarray(index, np.int64))
    data["session", "crosses", "link"].edge_attr = tensor(hops[:, 2:].astype(np.float32))
    return data


def flat_action(observation: Mapping[str, NDArray[Any]], sessions: ArrayLike, links: ArrayLike) -> NDArray[np.float32]:
    """The action [as long as `action_mask`] of values for a network's own sessions and links; 0 where it has nothing.

    Args:
        observation: what `hetero_data` was made of.
        sessions: [R] in [−1, 1], as the rows of its "session"; with signals [R, 2], control and signal.
        links: [L] likewise, as the rows of its "link".
    """
    parts = (sessions, observation["session_mask"]), (links, observation["link_mask"])
    repeats = len(observation["action_mask"]) // sum(len(mask) for _, mask in parts)
    columns = [np.zeros((len(mask), repeats), np.float32) for _, mask in parts]
    for column, (values, mask) in zip(columns, parts, strict=True):
        column[mask.astype(bool)] = np.asarray(values, np.float32).reshape(-1, repeats)
    return np.concatenate(columns).T.ravel()

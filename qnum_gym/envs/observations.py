"""Observations by name, and what one has to be to stand beside them. [ours]

Write your own, and give it to any of the three environments as `observation=`: an object, the class, or
"file.py:Class" or "module:Class". `EnvBatch` says what it can look at.

```python
class Queues(ObservationKind):  # of each link alone: how full its memory is now
    def space(self, sizes: Sizes, actions: ActionMap) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (sizes.links,), np.float32)

    def __call__(self, batch: EnvBatch, actions: ActionMap) -> Any:
        return batch.link_rows[:, :, 5].copy()
```
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces

from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES
from qnum_gym.envs.topology import NODE_FEATURES
from qnum_gym.registry import Registry
from qnum_gym.scenarios.sizes import Sizes


class ObservationKind(ABC):
    """What the agents of n networks see.

    It keeps nothing from one call to the next: environments and their copies share it.

    Attributes:
        padded: whether it says which rows are a network's own, so that networks of different sizes can share it.
    """

    padded: bool = False

    @abstractmethod
    def space(self, sizes: Sizes, actions: ActionMap) -> spaces.Space[Any]:
        """Of one network with room for `sizes`, controlled through `actions`."""

    @abstractmethod
    def __call__(self, batch: EnvBatch, actions: ActionMap) -> Any:
        """What all networks show now: new arrays with a first axis of n, or a mapping of such."""


ObservationSource: TypeAlias = str | ObservationKind | type[ObservationKind]
OBSERVATIONS: Registry[type[ObservationKind]] = Registry("observation", "qnum_gym.observations")


@OBSERVATIONS.registers("flat")
class Flat(ObservationKind):
    """The sessions' rows and the links' rows as one vector [16 R + 13 L]."""

    def space(self, sizes: Sizes, actions: ActionMap) -> spaces.Box:
        """Box[−1, 1] float32."""
        size = sizes.sessions * len(SESSION_FEATURES) + sizes.links * len(LINK_FEATURES)
        return spaces.Box(-1.0, 1.0, (size,), np.float32)

    def __call__(self, batch: EnvBatch, actions: ActionMap) -> Any:
        """[n, 16 R + 13 L]."""
        return batch.observations.copy()


@OBSERVATIONS.registers("graph")
class Graph(ObservationKind):
    """Sessions, links and nodes with their features, and how they hang together; masks say which rows there are."""

    padded = True

    def space(self, sizes: Sizes, actions: ActionMap) -> spaces.Dict:
        """A Dict of float32 features, int8 masks and int64 indices."""
        n, m, v, h = sizes

        def features(rows: int, columns: int) -> spaces.Box:
            return spaces.Box(-1.0, 1.0, (rows, columns), np.float32)

        def places(rows: int, *counts: int) -> spaces.Box:
            highest = np.tile(np.array(counts) - 1, (rows, 1))
            return spaces.Box(np.zeros_like(highest), highest, dtype=np.int64)

        return spaces.Dict(
            {
                "sessions": features(n, len(SESSION_FEATURES)),
                "links": features(m, len(LINK_FEATURES)),
                "nodes": features(v, len(NODE_FEATURES)),
                "session_nodes": places(n, v, v),
                "link_nodes": places(m, v, v),
                "hops": places(h, n, m, h),
                "session_mask": spaces.MultiBinary(n),
                "link_mask": spaces.MultiBinary(m),
                "node_mask": spaces.MultiBinary(v),
                "hop_mask": spaces.MultiBinary(h),
                "action_mask": spaces.MultiBinary(actions.size),
            }
        )

    def __call__(self, batch: EnvBatch, actions: ActionMap) -> dict[str, Any]:
        """Arrays with a first axis of n."""
        topology = batch.topology
        return {
            "sessions": batch.session_rows.copy(),
            "links": batch.link_rows.copy(),
            "nodes": batch.node_rows().copy(),
            "session_nodes": topology.session_nodes.copy(),
            "link_nodes": topology.link_nodes.copy(),
            "hops": topology.hops.copy(),
            "session_mask": batch.session_mask.astype(np.int8),
            "link_mask": batch.link_mask.astype(np.int8),
            "node_mask": topology.node_mask.astype(np.int8),
            "hop_mask": topology.hop_mask.astype(np.int8),
            "action_mask": actions.mask(*batch.movable[:2]),
        }


def make_observation(observation: ObservationSource) -> ObservationKind:
    """A kind by name (another package's too), by "file.py:Class", by its class, or as it is.

    Raises:
        ValueError: no such name, code that fails, or something that is no `ObservationKind`.
    """
    return OBSERVATIONS.instance(observation, ObservationKind)


def of_one(observations: Any, i: int) -> Any:
    """Network i's part of what an `ObservationKind` gives; views."""
    if isinstance(observations, dict):
        return {key: of_one(part, i) for key, part in cast("dict[str, Any]", observations).items()}
    return observations[i]

"""How networks hang together, as arrays that a graph network reads: nodes, ends of links, routes. [ours]"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.envs.scores import neighbourhoods
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sizes import Sizes

Ints = NDArray[np.int64]

NODE_FEATURES = {
    "coherence": "log10 of the memories' coherence time in control intervals, a third of it; 1 if nothing decays",
    "swap_success": "probability that a swap succeeds",
    "gate_factor": "what a swap leaves of W",
    "degree": "1/number of the node's links",
    "sources": "part of the sessions that begin here",
    "destinations": "part of the sessions that end here",
    "repeaters": "part of the sessions that pass through",
}


class Topology:
    """n networks, each with room for what `sizes` says; what is behind a network's own rows is 0.

    Attributes:
        nodes: [n, V, 7] float32, of `NODE_FEATURES`; the coherence is that of the last call of `update`.
        link_nodes: [n, L, 2] the nodes at a link's ends. session_nodes: [n, R, 2] source and destination.
        hops: [n, H, 3] session, link, and place of the link on the session's route, from 0; route after route.
        node_mask, hop_mask: [n, V], [n, H] which rows are a network's own.
        neighbourhoods: [n, R + L, R] see the function; made when first asked for.
    """

    def __init__(self, scenarios: Sequence[Scenario], sizes: Sizes) -> None:
        n, self._sizes = len(scenarios), sizes
        self.nodes = np.zeros((n, sizes.nodes, len(NODE_FEATURES)), np.float32)
        self.link_nodes: Ints = np.zeros((n, sizes.links, 2), np.int64)
        self.session_nodes: Ints = np.zeros((n, sizes.sessions, 2), np.int64)
        self.hops: Ints = np.zeros((n, sizes.hops, 3), np.int64)
        self.node_mask, self.hop_mask = np.zeros((n, sizes.nodes), np.bool_), np.zeros((n, sizes.hops), np.bool_)
        self._counts, self._intervals = np.zeros(n, np.int64), np.zeros(n)
        self._scenarios, self._neighbourhoods = list(scenarios), np.zeros((0, 0, 0))
        for i, scenario in enumerate(scenarios):
            self.put(i, scenario)

    def put(self, i: int, scenario: Scenario) -> None:
        """In place i comes this scenario's network."""
        a = scenario.arrays(0.0)
        n = len(a.decay_rate)
        ends = np.concatenate((a.link_a, a.link_b))
        inside = a.hop_from[a.hop_index > 0]
        of_sessions = [np.bincount(nodes, minlength=n) / len(a.weight) for nodes in (a.source, a.destination, inside)]
        features = a.swap_success, a.gate_factor, 1.0 / np.maximum(np.bincount(ends, minlength=n), 1), *of_sessions
        rows: tuple[tuple[NDArray[Any], Any], ...] = (
            (self.nodes, np.column_stack((np.zeros(n), *features))),
            (self.link_nodes, np.column_stack((a.link_a, a.link_b))),
            (self.session_nodes, np.column_stack((a.source, a.destination))),
            (self.hops, np.column_stack((a.hop_session, a.hop_link, a.hop_index))),
            (self.node_mask, np.ones(n, np.bool_)),
            (self.hop_mask, np.ones(len(a.hop_link), np.bool_)),
        )
        for array, own in rows:
            array[i] = 0
            array[i, : len(own)] = own
        self._counts[i], self._intervals[i], self._scenarios[i] = n, scenario.control_interval, scenario
        if len(self._neighbourhoods):
            self._put_neighbourhoods(i)

    @property
    def neighbourhoods(self) -> NDArray[np.float64]:
        """Whose rewards are a controller's business."""
        if not len(self._neighbourhoods):
            n, sessions, links = len(self._scenarios), self._sizes.sessions, self._sizes.links
            self._neighbourhoods = np.zeros((n, sessions + links, sessions))
            for i in range(n):
                self._put_neighbourhoods(i)
        return self._neighbourhoods

    def _put_neighbourhoods(self, i: int) -> None:
        a, first_link = self._scenarios[i].arrays(0.0), self._sizes.sessions
        own, n = neighbourhoods(a), len(a.weight)
        self._neighbourhoods[i] = 0.0
        self._neighbourhoods[i, :n, :n] = own[:n]
        self._neighbourhoods[i, first_link : first_link + len(a.capacity), :n] = own[n:]

    def update(self, table: NDArray[np.int64]) -> None:
        """The coherence as it is now in the simulators of `table`, see `simulator.Batch`."""
        compiled.coherences(table, self._counts, self._intervals, self.nodes[:, :, 0])

"""What policies know of the networks that they act on: n networks side by side, as rows of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.arrays import side_by_side

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)


class Networks:
    """n networks of any sizes as one that falls apart into them: the first one's rows, then the next one's.

    Attributes:
        scenarios: [n].
        arrays: of all networks at time 0; they count nodes, links and sessions through all of them.
        of_session, of_link: [ΣR], [ΣL] the network of each row.
        interval: [ΣR] control interval of each session's network, s.
    """

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self.scenarios = tuple(scenarios)
        self._sizes = [(len(scenario.sessions), len(scenario.links)) for scenario in self.scenarios]
        self.arrays = side_by_side([scenario.arrays(0.0) for scenario in self.scenarios])
        self.of_session, self.of_link = (np.repeat(np.arange(len(self)), sizes) for sizes in np.array(self._sizes).T)
        self.interval = np.array([scenario.control_interval for scenario in self.scenarios])[self.of_session]
        self._changing = any(len(scenario.change_times()) > 1 for scenario in self.scenarios)

    def __len__(self) -> int:
        return len(self.scenarios)

    def rows(self, which: Bools) -> tuple[Bools, Bools]:
        """[ΣR] and [ΣL]: whether a row belongs to one of the networks `which` [n]."""
        return which[self.of_session], which[self.of_link]

    def decay_rate(self, times: Floats) -> Floats:
        """[ΣV] γ of all nodes, each network's at its own of `times` [n] (s), 1/s."""
        if not self._changing:
            return self.arrays.decay_rate
        now = zip(self.scenarios, times.tolist(), strict=True)
        return np.concatenate([scenario.arrays(time).decay_rate for scenario, time in now])

    def apart(self, sessions: NDArray[Number], links: NDArray[Number]) -> list[NDArray[Number]]:
        """Rows [ΣR, …] and [ΣL, …] as a vector for each network: its sessions' rows, then its links'."""
        ends = (pairwise(accumulate(sizes, initial=0)) for sizes in zip(*self._sizes, strict=True))
        return [
            np.concatenate((sessions[r:r_end].ravel(), links[l:l_end].ravel()))
            for (r, r_end), (l, l_end) in zip(*ends, strict=True)
        ]

    def joined(self, vectors: Sequence[NDArray[Number]]) -> NDArray[Number]:
        """A vector [k (R + L)] of each network as one: k times the values of all sessions, then those of all links."""
        tables = [v.reshape(-1, r + l) for v, (r, l) in zip(vectors, self._sizes, strict=True)]
        of_sessions = [table[:, :r] for table, (r, _) in zip(tables, self._sizes, strict=True)]
        of_links = [table[:, r:] for table, (r, _) in zip(tables, self._sizes, strict=True)]
        return np.concatenate((*of_sessions, *of_links), axis=1).ravel()

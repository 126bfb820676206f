"""`Crowd`: networks of any sizes stepped together, their controllers' rows one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs.fleet import Fleet
from qnum_gym.envs.observation import SHARED_SIZE
from qnum_gym.envs.worth import Worth
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Controls, JoinedTelemetry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Crowd:
    """n networks, those of equal size in one `Fleet`.

    Attributes:
        scenarios: [n], in the crowd's own order: the fleets' one after the other.
        of_session, of_link: [ΣR], [ΣL] the network of each row.
    """

    def __init__(self, scenarios: Sequence[Scenario], threads: int | None = None) -> None:
        groups: dict[tuple[int, int], list[Scenario]] = {}
        for scenario in scenarios:
            groups.setdefault((len(scenario.sessions), len(scenario.links)), []).append(scenario)
        self._fleets = [Fleet(group, threads) for group in groups.values()]
        self.scenarios = tuple(scenario for fleet in self._fleets for scenario in fleet.scenarios)
        n = len(self.scenarios)
        self.of_session: Ints = np.repeat(np.arange(n), [len(s.sessions) for s in self.scenarios])
        self.of_link: Ints = np.repeat(np.arange(n), [len(s.links) for s in self.scenarios])
        self._worth = Worth(np.concatenate([s.arrays(0.0).measure for s in self.scenarios]))
        self._weight = np.concatenate([s.arrays(0.0).weight for s in self.scenarios])

    def reset(self, seeds: Iterable[int]) -> None:
        """An episode begins in every network, each with its own of `seeds` [n]."""
        networks = ((fleet, i) for fleet in self._fleets for i in range(len(fleet.scenarios)))
        for (fleet, i), seed in zip(networks, seeds, strict=True):
            fleet.reset(i, seed)

    def step(self, rates: Floats, werner: Floats, session_signals: Floats, link_signals: Floats) -> None:
        """One control interval under rates and signals [ΣR], Werner parameters and signals [ΣL]."""
        r = l = 0
        for fleet in self._fleets:
            n, sessions, links = len(fleet.scenarios), fleet.rate.size, fleet.queue.size
            of_sessions, of_links = slice(r, r + sessions), slice(l, l + links)
            parts = rates[of_sessions], werner[of_links], session_signals[of_sessions], link_signals[of_links]
            fleet.step(Controls(*(part.reshape(n, -1) for part in parts)))
            r, l = r + sessions, l + links

    def telemetry(self) -> JoinedTelemetry:
        """What every network's controllers measured in the last interval."""
        return JoinedTelemetry([simulator.state for fleet in self._fleets for simulator in fleet.simulators])

    def shared_rows(self) -> NDArray[np.float32]:
        """[ΣR + ΣL, SHARED_SIZE], all sources first: see `ObservationEncoder.shared_rows`."""
        sources: list[NDArray[np.float32]] = []
        links: list[NDArray[np.float32]] = []
        for fleet in self._fleets:
            rows, split = fleet.encoders[0].shared_rows(fleet.observations), fleet.encoders[0].sessions
            sources.append(rows[:, :split].reshape(-1, SHARED_SIZE))
            links.append(rows[:, split:].reshape(-1, SHARED_SIZE))
        return np.concatenate((*sources, *links))

    @property
    def sums(self) -> Floats:
        """[3, ΣR] pairs delivered, the sum of their Werner parameters and seconds that counted in the last interval."""
        rows = [(fleet.rows, fleet.encoders[0].sessions) for fleet in self._fleets]
        return np.array([np.concatenate([x[:, k * n : (k + 1) * n].ravel() for x, n in rows]) for k in range(3)])

    def log_means(self, sums: Floats) -> Floats:
        """[n] log of the geometric mean over a network's sessions of R f(W), of `sums` [3, ΣR] added up.

        Weighted by weight and seconds counted, as `Outcome.geometric_mean`.
        """
        pairs, total, seconds = sums
        werner = np.divide(total, pairs, out=np.zeros_like(pairs), where=pairs > 0.0)
        rate = np.divide(pairs, seconds, out=np.zeros_like(pairs), where=seconds > 0.0)
        utility = np.log(np.maximum(rate * self._worth(werner)[0], RATE_FLOOR))
        weight = self._weight * seconds
        n = len(self.scenarios)
        shares = np.bincount(self.of_session, weight, n)
        return np.bincount(self.of_session, weight * utility, n) / np.maximum(shares, np.finfo(float).tiny)

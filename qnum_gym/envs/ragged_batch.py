"""`RaggedEnvBatch`: networks of any sizes stepped together, their controllers' rows one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.envs.observation import SHARED_SIZE
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, JoinedTelemetry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class RaggedEnvBatch:
    """n networks, those of equal size in one `EnvBatch`.

    Attributes:
        scenarios: [n], in this object's own order: those of one `EnvBatch` after the other.
        of_session, of_link: [ΣR], [ΣL] the network of each row.
    """

    def __init__(self, scenarios: Sequence[Scenario], threads: int | None = None) -> None:
        groups: dict[tuple[int, int], list[Scenario]] = {}
        for scenario in scenarios:
            groups.setdefault((len(scenario.sessions), len(scenario.links)), []).append(scenario)
        self._groups = [EnvBatch(group, threads) for group in groups.values()]
        self.scenarios = tuple(scenario for env_batch in self._groups for scenario in env_batch.scenarios)
        n = len(self.scenarios)
        self.of_session: Ints = np.repeat(np.arange(n), [len(s.sessions) for s in self.scenarios])
        self.of_link: Ints = np.repeat(np.arange(n), [len(s.links) for s in self.scenarios])
        self._worth = PairValue(np.concatenate([s.arrays(0.0).measure for s in self.scenarios]))
        self._weight = np.concatenate([s.arrays(0.0).weight for s in self.scenarios])

    def reset(self, seeds: Iterable[int]) -> None:
        """An episode begins in every network, each with its own of `seeds` [n]."""
        networks = ((env_batch, i) for env_batch in self._groups for i in range(len(env_batch.scenarios)))
        for (env_batch, i), seed in zip(networks, seeds, strict=True):
            env_batch.reset(i, seed)

    def step(self, rates: Floats, werner: Floats, session_signals: Floats, link_signals: Floats) -> None:
        """One control interval under rates and signals [ΣR], Werner parameters and signals [ΣL]."""
        r = l = 0
        for env_batch in self._groups:
            n, sessions, links = len(env_batch.scenarios), env_batch.latency.size, env_batch.queue.size
            of_sessions, of_links = slice(r, r + sessions), slice(l, l + links)
            parts = rates[of_sessions], werner[of_links], session_signals[of_sessions], link_signals[of_links]
            env_batch.step(Controls(*(part.reshape(n, -1) for part in parts)))
            r, l = r + sessions, l + links

    def telemetry(self) -> JoinedTelemetry:
        """What every network's controllers measured in the last interval."""
        return JoinedTelemetry([simulator.state for env_batch in self._groups for simulator in env_batch.simulators])

    def shared_rows(self) -> NDArray[np.float32]:
        """[ΣR + ΣL, SHARED_SIZE], all sources first: see `ObservationEncoder.shared_rows`."""
        sources: list[NDArray[np.float32]] = []
        links: list[NDArray[np.float32]] = []
        for env_batch in self._groups:
            rows, split = env_batch.encoders[0].shared_rows(env_batch.observations), env_batch.encoders[0].sessions
            sources.append(rows[:, :split].reshape(-1, SHARED_SIZE))
            links.append(rows[:, split:].reshape(-1, SHARED_SIZE))
        return np.concatenate((*sources, *links))

    @property
    def sums(self) -> Floats:
        """[3, ΣR] pairs delivered, the sum of their Werner parameters and seconds that counted in the last interval."""
        rows = [(env_batch.rows, env_batch.encoders[0].sessions) for env_batch in self._groups]
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

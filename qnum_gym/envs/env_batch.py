"""`EnvBatch`: n networks stepped together, with their observations and scores as arrays of n rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.envs.observation import HEADER_LIFETIME, ObservationEncoder
from qnum_gym.envs.reward import WINDOW, Score, row_size
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Batch, Controls, JoinedTelemetry, Simulator
from qnum_gym.simulator.sealing import digest, open_seal, seal
from qnum_gym.simulator.thread_pool import Shares

Floats = NDArray[np.float64]

KEPT = (
    *("_seconds", "_window", "_place", "observations", "judged", "judged_sessions", "rate", "werner"),
    *("times", "counts", "latency", "queue", "utilisation"),
)  # the arrays that a continuation needs


class EnvBatch:
    """What `AllocationEnv` does with a simulator, an `ObservationEncoder` and a `ScoreWindow`, for n of them at once.

    The arrays are overwritten by every step and reset; whoever hands them out copies them.

    Attributes:
        scenarios, simulators: n of each.
        observations: [n, size] float32.
        times: [n] simulated seconds. judged: [n, 4] score, reward, utility and geometric mean of the reward's window;
        judged_sessions: [n, 3, R] its sessions' rewards and shortfalls of fidelity and rate; rate, werner: [n, R] of
        it. counts: [3, n, R] injected, delivered and dropped, latency: [n, R] s, queue, utilisation: [n, L], of the
        last interval.
    """

    def __init__(self, scenarios: Sequence[Scenario], threads: int | None = None) -> None:
        self.scenarios = tuple(scenarios)
        encoders = {s: ObservationEncoder(s) for s in dict.fromkeys(self.scenarios)}
        scores = {s: Score(s) for s in encoders}
        self.encoders = [encoders[s] for s in self.scenarios]
        self._batch = Batch([Simulator(s) for s in self.scenarios], threads)
        arrays = [s.arrays(0.0) for s in self.scenarios]
        n, sessions, links = len(self.scenarios), self.encoders[0].sessions, self.encoders[0].links

        self._intervals = np.array([s.control_interval for s in self.scenarios])
        self._seconds = np.zeros(n)  # of the last interval: 0 just after a reset
        self._codes = np.array([a.measure for a in arrays])
        self._rules = np.array([scores[s].rules for s in self.scenarios])
        self._nothing = np.array([scores[s].nothing for s in self.scenarios])
        self._memory = np.zeros((n, sessions), compiled.SESSION_MEMORY), np.zeros((n, links), compiled.LINK_MEMORY)
        self._scales = tuple(np.array([encoder.scales[i] for encoder in self.encoders]) for i in (0, 1))
        self._times, self._per_second = _padded([scores[s] for s in self.scenarios])
        self._window = np.zeros((n, WINDOW, row_size(sessions)))
        self._place = np.zeros(n, np.int64)

        split = self.encoders[0].split
        self.observations = np.zeros((n, self.encoders[0].size), np.float32)
        self._session_rows = self.observations[:, :split].view(compiled.SESSION_ROW)
        self._link_rows = self.observations[:, split:].view(compiled.LINK_ROW)
        self.times, self.judged = np.zeros(n), np.zeros((n, 4))
        self.judged_sessions = np.zeros((n, 3, sessions))
        self.rate, self.werner = np.zeros((n, sessions)), np.zeros((n, sessions))
        self.counts = np.zeros((3, n, sessions), np.int64)
        self.latency = np.zeros((n, sessions))
        self.queue, self.utilisation = np.zeros((n, links)), np.zeros((n, links))
        self._controls = np.zeros((n, sessions)), np.zeros((n, links))

        # what the compiled functions read and fill; the arrays stay the same ones
        self._observing = (
            self._intervals,
            self._seconds,
            HEADER_LIFETIME,
            self._codes,
            (self._scales[0], self._memory[0]),
            (self._scales[1], self._memory[1]),
            (self._session_rows, self._link_rows),
            (self.times, self.counts, self.latency, self.queue, self.utilisation, *self._controls),
        )
        self._judging = (
            self._intervals,
            self._codes,
            self._rules,
            self._nothing,
            (self._times, self._per_second),
            (self._window, self._place),
            (self.rate, self.werner, self.judged_sessions, self.judged),
        )

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        return self._batch.simulators

    @property
    def rewards(self) -> Floats:
        """[n] rewards."""
        return self.judged[:, 1]

    @property
    def rows(self) -> Floats:
        """[n, 9R + 3] what the last interval adds to a score, as `Score.row` (a copy)."""
        return self._window[np.arange(len(self._place)), self._place - 1]

    @property
    def counted(self) -> Floats:
        """[n, R] seconds of the score's window that each session counted (a new array)."""
        sessions = self.rate.shape[1]
        return self._window[:, :, 2 * sessions : 3 * sessions].sum(axis=1)

    def telemetry(self) -> JoinedTelemetry:
        """What every network's controllers measured in the last interval."""
        return self._batch.telemetry()

    @property
    def controls(self) -> Controls:
        """In force: arrays [n, R] and [n, L], copies."""
        return Controls(*(array.copy() for array in self._controls))

    @property
    def in_force(self) -> Controls:
        """`controls` as the arrays themselves, to be read only until the next step."""
        return Controls(*self._controls)

    def reset(self, i: int, seed: int) -> None:
        """A new episode in network i."""
        self._batch.simulators[i].reset(seed)
        for memory in self._memory:
            memory[i] = 0
        self._window[i] = 0.0
        self._place[i] = 0
        self._seconds[i] = 0.0
        for array in (self.judged, self.judged_sessions, self.rate, self.werner):
            array[i] = 0.0
        self.judged[i, 0] = self._nothing[i]
        compiled.observe_all(self._batch.table, np.array([i]), self._observing)

    def step(self, controls: Controls) -> None:
        """One control interval under controls of [n, R] and [n, L].

        Raises:
            ValueError: a wrong shape, NaN, or a control outside its scenario's range; nothing is stepped then.
        """
        signals = controls.session_signals, controls.link_signals
        self._batch.set_controls(controls.rates, controls.werner, *signals)
        self._seconds[:] = self._intervals

        def work(shares: Shares, own: int) -> None:
            claimed = self._batch.run(shares, own, self._intervals)
            compiled.observe_and_judge_all(self._batch.table, claimed, self._observing, self._judging)

        self._batch.parallel(work)

    # --- state is data ------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies."""
        state = {
            "simulators": [simulator.get_state() for simulator in self._batch.simulators],
            "arrays": {name: getattr(self, name).copy() for name in KEPT},
            "memory": [memory.copy() for memory in self._memory],
            "controls": [array.copy() for array in self._controls],
        }
        return seal(state, self._owner)

    @property
    def _owner(self) -> str:
        return f"EnvBatch {digest([scenario.fingerprint for scenario in self.scenarios])[:16]}"

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from a env_batch of the same scenarios.

        Raises:
            StateError: the state is damaged, or of other scenarios; nothing is changed then.
        """
        state = open_seal(state, self._owner)
        for simulator, own in zip(self._batch.simulators, state["simulators"], strict=True):
            simulator.set_state(own)
        for name, array in state["arrays"].items():
            getattr(self, name)[...] = array
        for mine, theirs in zip((*self._memory, *self._controls), (*state["memory"], *state["controls"]), strict=True):
            mine[...] = theirs

    def __getstate__(self) -> dict[str, Any]:
        return {"scenarios": self.scenarios, "threads": self._batch.threads, "state": self.get_state()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["scenarios"], state["threads"])
        self.set_state(state["state"])


def _padded(scores: Sequence[Score]) -> tuple[Floats, Floats]:
    """Times [n, k] and what holds from then on [n, k, 4R + 3], filled up with moments that never come."""
    longest = max(len(score.times) for score in scores)
    times = np.full((len(scores), longest), np.inf)
    per_second = np.zeros((len(scores), longest, scores[0].per_second.shape[1]))
    for i, score in enumerate(scores):
        times[i, : len(score.times)] = score.times
        per_second[i, : len(score.times)] = score.per_second
    return times, per_second

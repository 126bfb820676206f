"""`EnvBatch`: n networks stepped together, with their observations and scores as arrays of n rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.envs.observation import (
    HEADER_LIFETIME,
    LINK_FEATURES,
    SESSION_FEATURES,
    ObservationEncoder,
    acting,
    shared_rows,
)
from qnum_gym.envs.rewards import DEFAULT, Reward, RewardSource, make_reward
from qnum_gym.envs.scores import WINDOW, Judge, Outcome, Outcomes, OverTime, Score, local_rewards, row_size
from qnum_gym.envs.topology import Topology
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.simulator import Batch, Controls, JoinedTelemetry, Simulator
from qnum_gym.simulator.sealing import check_version, digest, open_seal, seal
from qnum_gym.simulator.thread_pool import Shares

Floats = NDArray[np.float64]

KEPT = (
    *("_seconds", "_sums", "_place", "observations", "rewards", "session_rewards", "cost"),
    *("times", "counts", "latency", "queue", "utilisation"),
)  # the arrays that a continuation needs


class EnvBatch:
    """The engine of all environments: n networks with their observations, outcomes and rewards, stepped together.

    Networks may differ in size. R and L are those of the largest, or of `sizes`; of a smaller network the first rows
    are its own, with the same bits as alone, and the others are 0. The arrays are overwritten by every step and reset;
    whoever hands them out copies them.

    Args:
        scenarios: [n] of the networks.
        threads: how many step the networks; all cores if not given.
        reward: its name, the object, or where its class is (see `make_reward`).
        sizes: room for larger networks, which may come by `replace`.

    Attributes:
        scenarios, encoders, scores: n of each. reward: the object. sizes: for how many rows there is room.
        session_mask, link_mask: [n, R], [n, L] which rows are a network's own. full: whether all are.
        observations: [n, 16 R + 13 L] float32. session_rows, link_rows: the same as [n, R, 16] and [n, L, 13].
        rewards, cost: [n]. session_rewards: [n, R].
        outcomes: of the last 20 intervals pooled.
        times: [n] simulated seconds. counts: [3, n, R] injected, delivered and dropped, latency: [n, R] s, queue,
        utilisation: [n, L], of the last interval. signals: in force, of sources [n, R] and links [n, L].
        info: `AllocationEnv`'s information, arrays with a first axis of n. info_of: its entries of a "network", a
            "session" and a "link", arrays [n], [n, R] and [n, L].
    """

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        threads: int | None = None,
        reward: RewardSource = DEFAULT,
        sizes: Sizes | None = None,
    ) -> None:
        self.scenarios = tuple(scenarios)
        self.reward: Reward = make_reward(reward)
        encoders = {s: ObservationEncoder(s) for s in dict.fromkeys(self.scenarios)}
        scores = {s: Score(s) for s in encoders}
        self.encoders, self.scores = [encoders[s] for s in self.scenarios], [scores[s] for s in self.scenarios]
        self._batch = Batch([Simulator(s) for s in self.scenarios], threads, sizes)
        self.session_mask, self.link_mask = self._batch.session_mask, self._batch.link_mask
        self.sizes, self.full = self._batch.sizes, self._batch.full
        n, sessions, links = len(self.scenarios), self.sizes.sessions, self.sizes.links

        self._intervals = np.zeros(n)
        self._seconds = np.zeros(n)  # of the last interval: 0 just after a reset
        self._codes = np.zeros((n, sessions), np.int64)
        self._memory = np.zeros((n, sessions), compiled.SESSION_MEMORY), np.zeros((n, links), compiled.LINK_MEMORY)
        self._scales = np.zeros((n, sessions), compiled.SESSION_SCALE), np.zeros((n, links), compiled.LINK_SCALE)
        self._sums = np.zeros((n, WINDOW, row_size(sessions)))
        self._place = np.zeros(n, np.int64)
        self._judge = Judge(self._sums)
        self._last = np.zeros((n, 1, row_size(sessions)))  # for a reward of the last interval alone
        self._judge_last = Judge(self._last)
        self.outcomes: Outcomes = self._judge.outcomes
        self._seen: Outcomes = self.outcomes if self.reward.pooled else self._judge_last.outcomes  # by the reward

        split = sessions * len(SESSION_FEATURES)
        self.observations = np.zeros((n, split + links * len(LINK_FEATURES)), np.float32)
        of_sessions, of_links = self.observations[:, :split], self.observations[:, split:]
        self.session_rows, self.link_rows = of_sessions.reshape(n, sessions, -1), of_links.reshape(n, links, -1)
        self.rewards, self.session_rewards, self.cost = np.zeros(n), np.zeros((n, sessions)), np.zeros(n)
        self.times = np.zeros(n)
        self.counts = np.zeros((3, n, sessions), np.int64)
        self.latency, self.age = np.zeros((2, n, sessions))
        self.queue, self.utilisation = np.zeros((n, links)), np.zeros((n, links))
        self._controls, self.signals = ((np.zeros((n, sessions)), np.zeros((n, links))) for _ in range(2))

        # what the compiled functions read and fill; the arrays stay the same ones
        self._observing = (
            self._intervals,
            self._seconds,
            HEADER_LIFETIME,
            self._codes,
            (self._scales[0], self._memory[0]),
            (self._scales[1], self._memory[1]),
            (of_sessions.view(compiled.SESSION_ROW), of_links.view(compiled.LINK_ROW)),
            (
                self.times,
                self.counts,
                self.latency,
                self.age,
                self.queue,
                self.utilisation,
                *self._controls,
                *self.signals,
            ),
        )
        self._references = OverTime(n, sessions)
        self._topology: Topology | None = None
        for i in range(n):
            self._put(i)
        self._judge(np.arange(n))
        self.info_of = self._views()
        self.info = {key: array for part in self.info_of.values() for key, array in part.items()}

    def _put(self, i: int) -> None:
        """Everything that belongs to the scenario of network i."""
        scenario, encoder, score = self.scenarios[i], self.encoders[i], self.scores[i]
        self._intervals[i] = scenario.control_interval
        for array, own in zip((self._codes, *self._scales), (score.codes, *encoder.scales), strict=True):
            array[i] = 0
            array[i, : len(own)] = own
        self._judge.put(i, score)
        self._judge_last.put(i, score)
        self._references.put(i, score)
        measured = self.latency, self.age, self.queue, self.utilisation, *self._controls, *self.signals
        for rows in (self.observations, *self.counts, *measured):
            rows[i] = 0

    def _views(self) -> dict[str, dict[str, NDArray[Any]]]:
        """`info_of`: views of the arrays, made once."""
        rates, werner = self._controls
        injected, delivered, dropped = self.counts
        of_network = (
            *("score", "utility", "geometric_mean", "jain", "worst", "worst_session", "mean_age", "waste"),
            *("requests", "completed", "completion_time"),
        )
        of_window = ("rate", "werner", "fidelity", "fidelity_shortfall", "rate_shortfall", "age")
        return {
            "network": {
                "metrics/time": self.times,
                **{f"metrics/{name}": getattr(self.outcomes, name) for name in of_network},
                "cost": self.cost,
            },
            "session": {
                **{f"metrics/{name}": getattr(self.outcomes, name) for name in of_window},
                "metrics/injected": injected,
                "metrics/delivered": delivered,
                "metrics/dropped": dropped,
                "metrics/latency": self.latency,
                "metrics/age_now": self.age,
                "controls/rates": rates,
                "rewards/session": self.session_rewards,
            },
            "link": {"metrics/queue": self.queue, "metrics/utilisation": self.utilisation, "controls/werner": werner},
        }

    @property
    def simulators(self) -> tuple[Simulator, ...]:
        """The networks' simulators, in order."""
        return self._batch.simulators

    def outcome(self, i: int) -> Outcome:
        """What network i's last 20 intervals came to (a copy)."""
        return self._judge.outcome(i)

    @property
    def rows(self) -> Floats:
        """[n, 10R + 9] what the last interval adds to a score, see `Score` (a copy); 0 behind a smaller network's."""
        return self._sums[np.arange(len(self._place)), self._place - 1]

    @property
    def movable(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Controls]:
        """[n, R] which sessions are on, [n, L] which links are not down, and `in_force`."""
        active, up = acting(self.session_rows, self.link_rows)
        return active, up & self.link_mask, self.in_force

    @property
    def topology(self) -> Topology:
        """How the networks hang together; made when first asked for."""
        if self._topology is None:
            self._topology = Topology(self.scenarios, self.sizes)
        return self._topology

    def node_rows(self) -> NDArray[np.float32]:
        """[n, V, 7] of `topology.NODE_FEATURES`, as the nodes are now (the array itself)."""
        self.topology.update(self._batch.table)
        return self.topology.nodes

    def local_rewards(self) -> Floats:
        """[n, R + L] what the last interval was worth to each controller's neighbourhood: `scores.local_rewards`."""
        counts = self.topology.neighbourhoods, self.session_rewards, self._seen.counted
        local = local_rewards(*counts, self.rewards)
        return local if self.full else np.where(self.agent_mask, local, 0.0)

    def agent_rows(self) -> NDArray[np.float32]:
        """[n, R + L, 30] what every controller sees, its role 0 where there is none: see `observation.shared_rows`."""
        rows = shared_rows(self.session_rows, self.link_rows)
        if not self.full:
            rows[:, :, 0] *= self.agent_mask
        return rows

    @property
    def agent_mask(self) -> NDArray[np.bool_]:
        """[n, R + L] which controllers there are: sources, then links."""
        return np.concatenate((self.session_mask, self.link_mask), axis=1)

    def telemetry(self) -> JoinedTelemetry:
        """What every network's controllers measured in the last interval."""
        return self._batch.telemetry()

    def shared_rows(self) -> NDArray[np.float32]:
        """[ΣR + ΣL, 30] what every controller sees, all sources first: see `observation.shared_rows`."""
        return shared_rows(self.session_rows[self.session_mask], self.link_rows[self.link_mask])

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
        self._begin(i)

    def replace(self, i: int, scenario: Scenario, seed: int, score: Score | None = None) -> None:
        """A new episode of another network in place i; `score` is that of its scenario, if there is one already.

        Raises:
            ScenarioError: there is no room for it; nothing is changed then.
        """
        self.sizes.check(scenario)
        encoder, score, simulator = ObservationEncoder(scenario), score or Score(scenario), Simulator(scenario, seed)
        self._batch.replace(i, simulator)
        self.full = self._batch.full
        self.scenarios = (*self.scenarios[:i], scenario, *self.scenarios[i + 1 :])
        self.encoders[i], self.scores[i] = encoder, score
        self._put(i)
        if self._topology is not None:
            self._topology.put(i, scenario)
        self._begin(i)

    def _begin(self, i: int) -> None:
        for memory in self._memory:
            memory[i] = 0
        self._sums[i] = self.rewards[i] = self.session_rewards[i] = self.cost[i] = 0.0
        self._place[i] = 0
        self._seconds[i] = 0.0
        which = np.array([i])
        compiled.observe_all(self._batch.table, which, self._observing)
        self._judge(which)

    def step(self, controls: Controls) -> None:
        """One control interval under controls of [n, R] and [n, L], or of rows [ΣR] and [ΣL] as policies give them.

        Raises:
            ValueError: a wrong shape, NaN, or a control outside its scenario's range; nothing is stepped then.
        """
        if getattr(controls.rates, "ndim", 2) == 1:  # anything else may be no array at all, and is refused below
            controls = self.per_network(controls)
        signals = controls.session_signals, controls.link_signals
        self._batch.set_controls(controls.rates, controls.werner, *signals)
        self.advance()

    def per_network(self, controls: Controls) -> Controls:
        """A policy's rows [ΣR] and [ΣL], the first network's and then the next one's, as arrays [n, R] and [n, L].

        Raises:
            ValueError: another number of rows.
        """
        c, sessions, links = controls, self.session_mask, self.link_mask
        signals = (c.session_signals, sessions), (c.link_signals, links)
        return Controls(
            _apart(c.rates, sessions),
            _apart(c.werner, links),
            *(None if rows is None else _apart(rows, mask) for rows, mask in signals),
        )

    def advance(self) -> None:
        """One control interval under the controls in force."""
        self._seconds[:] = self._intervals
        self._batch.parallel(self._work)
        seen = self.seen_by(self.reward)
        self.rewards[:] = self._of_shape(self.rewards, self.reward(seen))
        of_sessions = self._of_shape(self.session_rewards, self.reward.per_session(seen))
        self.session_rewards[:] = of_sessions if self.full else np.where(self.session_mask, of_sessions, 0.0)
        self.cost[:] = seen.cost

    def seen_by(self, reward: Reward) -> Outcomes:
        """What the last interval shows a reward: the outcomes of the last 20 pooled, or its own (views)."""
        if reward.pooled:
            return self.outcomes
        self._last[:, 0] = self.rows
        self._judge_last(np.arange(len(self._last)))
        return self._judge_last.outcomes

    def _work(self, shares: Shares, own: int) -> None:
        """A thread's part of an interval."""
        claimed = self._batch.run(shares, own, self._intervals)
        recording = self._intervals, self._references.arguments, self._sums, self._place
        compiled.observe_and_judge_all(self._batch.table, claimed, self._observing, recording, self._judge.arguments)

    def _of_shape(self, like: Floats, values: Floats) -> Floats:
        """What the reward gave, if it has the shape of `like`."""
        if np.shape(values) != like.shape:
            raise ValueError(f"{type(self.reward).__name__} gives shape {np.shape(values)}; valid: {like.shape}")
        return values

    # --- state is data ------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies."""
        state = {
            "simulators": [simulator.get_state() for simulator in self._batch.simulators],
            "arrays": {name: getattr(self, name).copy() for name in KEPT},
            "memory": [memory.copy() for memory in self._memory],
            "controls": [array.copy() for array in (*self._controls, *self.signals)],
        }
        return seal(state, self._owner)

    @property
    def _owner(self) -> str:
        return f"EnvBatch {digest([*(scenario.fingerprint for scenario in self.scenarios), self.sizes])[:16]}"

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from one of the same scenarios.

        Raises:
            StateError: the state is damaged, or of other scenarios; nothing is changed then.
        """
        state = open_seal(state, self._owner)
        for simulator, own in zip(self._batch.simulators, state["simulators"], strict=True):
            simulator.set_state(own)
        for name, array in state["arrays"].items():
            getattr(self, name)[...] = array
        mine = *self._memory, *self._controls, *self.signals
        for array, theirs in zip(mine, (*state["memory"], *state["controls"]), strict=True):
            array[...] = theirs
        self._judge(np.arange(len(self._place)))

    def __getstate__(self) -> dict[str, Any]:
        return {
            "scenarios": self.scenarios,
            "threads": self._batch.threads,
            "reward": self.reward,
            "sizes": self.sizes,
            "state": self.get_state(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        check_version(state["state"])
        self.__init__(state["scenarios"], state["threads"], state["reward"], state["sizes"])
        self.set_state(state["state"])


def _apart(rows: Floats, mask: NDArray[np.bool_]) -> Floats:
    """Rows, one for each True of the mask [n, …], as an array of its shape."""
    if np.shape(rows) != (count := np.count_nonzero(mask),):
        raise ValueError(f"controls have rows of shape {np.shape(rows)}; valid: ({count},), those of all networks")
    array = np.zeros(mask.shape)
    array[mask] = rows
    return array

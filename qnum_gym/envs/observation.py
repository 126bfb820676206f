"""What controllers see: telemetry as rows of numbers in [−1, 1], one row per source and one per link. [ours]

A row is made of that controller's own row of `Telemetry` and its own memory, nothing else: a central agent sees all
rows side by side, a decentralised one its own. Features are relative to the controller's own scale (its range, its
capacity, its memory), so that a number means the same on another network. Counts, and means over pairs, are smoothed
over about ten intervals (a session may deliver once in two); what is a state (queue, window, controls) is the present
one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from qnum_gym.envs import compiled
from qnum_gym.envs.pair_value import PairValue
from qnum_gym.optimum.problem import RATE_FLOOR
from qnum_gym.physics import measures
from qnum_gym.physics.links import coordinate
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.arrays import side_by_side
from qnum_gym.scenarios.hardware import capacity
from qnum_gym.simulator import JoinedTelemetry, Telemetry, formulas
from qnum_gym.simulator.sealing import alike

Observation = NDArray[np.float32]

HEADER_LIFETIME = 30  # control intervals after which a link forgets a session's header (model.md §4)

SESSION_FEATURES = {
    "rate": "place of log R in its range: -1 lowest, 1 highest",
    "signal": "the source's own header signal",
    "active": "1 if the session is on, else -1",
    "paused": "1 if its window is full, else -1",
    "window": "part of the window in use: -1 empty, 1 full",
    "weight": "log10 of the session's weight, halved",
    "hops": "1/hops",
    "goodput": "delivered over injected, smoothed, less 1",
    "delivered": "place of log(delivered per second), smoothed, in the rate's range",
    "werner": "W, smoothed: 0 where the measure becomes positive, 1 for a perfect pair; -1 if nothing was delivered",
    "elasticity": "log10 a(W) of that W, less 1; 1 where f(W) <= 0",
    "utility": "utility of smoothed rate and W: -1 at its floor, 1 for perfect pairs at the highest rate",
    "storage": "part of W lost in memories and on the way, smoothed: 1 - exp(-mean decay)",
    "latency": "log10 of injection to delivery in control intervals, smoothed, halved; -1 if nothing was delivered",
    "lost": "lost over lost and delivered, smoothed",
    "price": "sum of the links' signals per hop, smoothed",
}
LINK_FEATURES = {
    "werner": "place of -log(1 - w) in its range: -1 lowest w, 1 highest w; 0 where w cannot be set",
    "signal": "the link's own header signal",
    "capacity": "d_l against the undamaged link: -1 down, 1 whole",
    "utilisation": "busy part of the interval: -1 idle, 1 always busy",
    "mean_queue": "log(1 + mean number at the link): -1 empty, 1 as many as the memory holds",
    "queue": "the same of the number now",
    "load": "arrivals over the pairs that the link could make, smoothed, less 1",
    "lost": "dropped over arrivals, smoothed",
    "sojourn": "log10 of the time at the link in mean service times, smoothed, halved; -1 if nobody left it",
    "announced": "sum of the rates in the last headers over the link's generation rate, less 1",
    "transit": "part of those rates that comes from another link, and so waits in memory",
    "sharing": "1 / number of sessions heard of; 0 for none",
    "header_signal": "mean of the sources' signals in the last headers",
}
SHARED_SIZE = 1 + len(SESSION_FEATURES) + len(LINK_FEATURES)  # of a row of `shared_rows`


def shared_rows(sessions: Observation, links: Observation) -> Observation:
    """Rows of sessions […, R, 16] and of links […, L, 13] as rows […, R + L, 30] of one meaning for all controllers.

    Column 0 is the role, 1 of a source and −1 of a link; then `SESSION_FEATURES`, 0 for a link; then `LINK_FEATURES`, 0
    for a source. No column means two things, so one network, and one running mean per column, serve both roles. New
    arrays.
    """
    *front, n, width = sessions.shape
    rows = np.zeros((*front, n + links.shape[-2], SHARED_SIZE), np.float32)
    rows[..., :n, 0], rows[..., n:, 0] = 1.0, -1.0
    rows[..., :n, 1 : 1 + width], rows[..., n:, 1 + width :] = sessions, links
    return rows


def acting(sessions: Observation, links: Observation) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """[…, R] which sessions are on and […, L] which links are not down, of their rows."""
    active, capacity = list(SESSION_FEATURES).index("active"), list(LINK_FEATURES).index("capacity")
    return sessions[..., active] > 0.0, links[..., capacity] > -1.0


class ObservationEncoder:
    """Telemetry to one flat observation: a row of `SESSION_FEATURES` per session, then one of `LINK_FEATURES` per link.

    It keeps the controllers' memory. Feed it every interval of an episode in order, beginning with the telemetry before
    the first one, and `reset` it before the next episode. The controls in force are part of the telemetry.

    Args:
        scenario: of a network; a list of n makes one encoder for n networks side by side, all sessions first.

    Attributes:
        size: 16 R + 13 L.
        sessions, links: how many of them. split: where the links' rows begin.
        scales: per session [R] and per link [L], what features are relative to.
    """

    def __init__(self, scenario: Scenario | Sequence[Scenario]) -> None:
        scenarios = (scenario,) if isinstance(scenario, Scenario) else tuple(scenario)
        networks = [s.arrays(0.0) for s in scenarios]
        a = side_by_side(networks)
        self.sessions, self.links = len(a.weight), len(a.capacity)
        self.split = self.sessions * len(SESSION_FEATURES)
        self.size = self.split + self.links * len(LINK_FEATURES)
        sizes = [(0, 0, 0), *((len(x.weight), len(x.capacity), len(x.hop_link)) for x in networks)]
        self._first = np.cumsum(sizes, axis=0)  # [n + 1, 3] where a network's sessions, links and hops begin
        self._first_link = np.repeat(self._first[:-1, 1], np.diff(self._first[:, 2]))  # [H]
        self._codes = a.measure
        self._intervals = np.array([s.control_interval for s in scenarios])
        self._of_sessions = np.zeros(self.sessions, compiled.SESSION_MEMORY)
        self._of_links = np.zeros(self.links, compiled.LINK_MEMORY)

        scale = np.zeros(self.sessions, compiled.SESSION_SCALE)
        scale["hops"] = np.diff(a.hop_start)
        scale["lowest"], scale["decades"] = np.log10(a.rate_min), np.log10(a.rate_max / a.rate_min)
        scale["worthless"] = measures.positive_from(a.measure)
        perfect, _ = PairValue(a.measure)(np.ones(self.sessions))
        scale["utility_span"] = np.log(np.maximum(a.rate_max * perfect / RATE_FLOOR, 1.0 + 1e-6))

        of_sessions, scale = scale, np.zeros(self.links, compiled.LINK_SCALE)
        scale["memory"] = np.log1p(a.memory)
        scale["lowest"] = coordinate(a.werner_min)
        scale["span"] = coordinate(a.werner_max) - coordinate(a.werner_min)
        scale["undamaged"] = [capacity(s, link) for s in scenarios for link in s.links]
        self.scales = of_sessions, scale

    def space(self) -> spaces.Box:
        """Box[−1, 1] float32 of `size`."""
        return spaces.Box(-1.0, 1.0, (self.size,), np.float32)

    def encode(self, telemetry: Telemetry | JoinedTelemetry) -> Observation:
        """The observation [size] after the interval that `telemetry` describes; a new array, always finite."""
        observation = np.empty(self.size, np.float32)
        headers = telemetry.headers.records
        if len(self._intervals) > 1:  # links as each network counts its own
            headers = headers.copy()
            headers["link"] -= self._first_link
        compiled.encode(
            formulas.TABLE,
            telemetry.sessions.records,
            telemetry.links.records,
            headers,
            self._first,
            (np.atleast_1d(telemetry.now), np.atleast_1d(telemetry.seconds)),
            self._intervals,
            HEADER_LIFETIME,
            self._codes,
            (self.scales[0], self._of_sessions),
            (self.scales[1], self._of_links),
            (observation[: self.split].view(compiled.SESSION_ROW), observation[self.split :].view(compiled.LINK_ROW)),
        )
        return observation

    def rows(self, observation: Observation) -> tuple[Observation, Observation]:
        """An observation [size] as the sessions' rows [R, 16] and the links' rows [L, 13]; views of it."""
        return observation[: self.split].reshape(self.sessions, -1), observation[self.split :].reshape(self.links, -1)

    def shared_rows(self, observation: Observation) -> Observation:
        """Observations […, size] as rows [..., R + L, 30] of one meaning for all controllers, sources first.

        See the function `shared_rows`.
        """
        front = observation.shape[:-1]
        sessions = observation[..., : self.split].reshape(*front, self.sessions, -1)
        return shared_rows(sessions, observation[..., self.split :].reshape(*front, self.links, -1))

    def reset(self) -> None:
        """Forget everything: a new episode."""
        self._of_sessions[:] = 0
        self._of_links[:] = 0

    def forget(self, sessions: NDArray[np.bool_], links: NDArray[np.bool_]) -> None:
        """Forget what controllers of `sessions` [R] and `links` [L] know: a new episode for them."""
        self._of_sessions[sessions] = 0
        self._of_links[links] = 0

    def get_state(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The controllers' memory, as copies."""
        return self._of_sessions.copy(), self._of_links.copy()

    def set_state(self, state: tuple[NDArray[Any], NDArray[Any]]) -> None:
        """Go on from a state of `get_state`, taken from an encoder of the same scenario."""
        of_sessions, of_links = state
        alike("the sources' memory", of_sessions, self._of_sessions)
        alike("the links' memory", of_links, self._of_links)
        self._of_sessions[:], self._of_links[:] = of_sessions, of_links

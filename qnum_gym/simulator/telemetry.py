"""What crosses between simulator and policy, once per control interval: `Telemetry` up, `Controls` down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qnum_gym.simulator.state import NEVER, REASONS, SECOND, State
from qnum_gym.simulator.traffic import STAMPS, ControlTraffic

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Controls:
    """What the controllers set for the next interval.

    rates: [R] injection rates R_r, 1/s. werner: [L] Werner parameters w_l of fresh pairs. session_signals: [R] stamped
    into headers at the first pair (QPrimalDual: ω_r a_r + μ_r). link_signals: [L] added up along the route
    (QPrimalDual: λ_l). None: as before.
    """

    rates: Floats
    werner: Floats
    session_signals: Floats | None = None
    link_signals: Floats | None = None


def _mean(total: Floats | Ints, count: Ints, scale: float = 1.0) -> Floats:
    """total / count, NaN where nothing was counted."""
    mean = np.full(len(count), np.nan)
    np.divide(total, count, out=mean, where=count > 0)
    return mean * scale


class _Block:
    """One kind of record as it stood at the end of the interval; `records` is the structured array itself."""

    __slots__ = ("_seconds", "records")

    def __init__(self, records: np.ndarray, seconds: float | Floats) -> None:
        self.records = records
        self._seconds = seconds

    def __len__(self) -> int:
        return len(self.records)


class SessionTelemetry(_Block):
    """Row r: what the source controller of session r knows. All arrays [R]; counts are of the last interval."""

    __slots__ = ("_now",)

    def __init__(self, records: np.ndarray, seconds: float | Floats, now: int | Ints) -> None:
        super().__init__(records, seconds)
        self._now = now

    @property
    def injected(self) -> Ints:
        """q-datagrams injected."""
        return self.records["injected"]

    @property
    def delivered(self) -> Ints:
        """Pairs whose ACK came in time."""
        return self.records["delivered"]

    @property
    def nacked(self) -> Ints:
        """q-datagrams of which a NACK told that they were dropped."""
        return self.records["nacked"]

    @property
    def timeouts(self) -> Ints:
        """q-datagrams given up for want of an ACK (only with message loss)."""
        return self.records["timeouts"]

    @property
    def dropped(self) -> Ints:
        """q-datagrams that the source learnt are lost: NACKs and time-outs."""
        return self.records["nacked"] + self.records["timeouts"]

    @property
    def unacked(self) -> Ints:
        """q-datagrams in the window now: injected, and nothing heard yet."""
        return self.records["unacked"]

    @property
    def rate(self) -> Floats:
        """R_r in force, 1/s: what was asked for, or the cap."""
        return self.records["rate"]

    @property
    def weight(self) -> Floats:
        """Weight of the session now."""
        return self.records["weight"]

    @property
    def log_werner_floor(self) -> Floats:
        """K now, log of the lowest W that the session admits; -inf without a floor."""
        return self.records["log_werner_floor"]

    @property
    def min_rate(self) -> Floats:
        """Pairs per second that the session demands now; 0 without a demand."""
        return self.records["min_rate"]

    @property
    def missing(self) -> Ints:
        """Pairs that the session still wants; -1 where it wants no number."""
        wanted = self.records["pairs"]
        return np.where(wanted > 0, np.maximum(wanted - self.records["served"], 0), -1)

    @property
    def duration(self) -> Floats:
        """Seconds from the session's begin to its end, if that was; NaN else. See `completed`."""
        began, ended = self.records["began"], self.records["ended"]
        return np.where(ended == NEVER, np.nan, (ended - began) / SECOND)

    @property
    def completed(self) -> NDArray[np.bool_]:
        """Whether the session wanted a number of pairs and has them all."""
        return self.missing == 0

    @property
    def rate_cap(self) -> Floats:
        """The rate that the source does not exceed now, 1/s; inf without a cap."""
        return self.records["rate_cap"]

    @property
    def signal(self) -> Floats:
        """The signal that the source stamps into headers."""
        return self.records["signal"]

    @property
    def active(self) -> NDArray[np.bool_]:
        """Whether the session is on now."""
        return self.records["active"] != 0

    @property
    def paused(self) -> NDArray[np.bool_]:
        """Whether the window is full now, which holds injection back."""
        return self.records["paused"] != 0

    @property
    def mean_werner(self) -> Floats:
        """Mean Werner parameter of the pairs delivered; NaN if none."""
        return _mean(self.records["werner"], self.records["delivered"])

    @property
    def sum_werner(self) -> Floats:
        """Sum of the Werner parameters of the pairs delivered (what pooling over intervals needs)."""
        return self.records["werner"]

    @property
    def sum_worth(self) -> Floats:
        """Sum of f⁺(W) of the pairs delivered, pair by pair: what they are worth to those who tell them apart."""
        return self.records["worth"]

    @property
    def age(self) -> Floats:
        """Seconds now since the last delivery, or since the session began; NaN where it is off."""
        return np.where(self.active, (self._now - self.records["fresh"]) / SECOND, np.nan)

    @property
    def sum_age(self) -> Floats:
        """Integral of `age` over the part of the interval in which the session was on, s²."""
        return self.records["age"] / SECOND**2

    @property
    def mean_latency(self) -> Floats:
        """Mean time from injection to delivery of the pairs delivered, s; NaN if none."""
        return _mean(self.records["latency"], self.records["delivered"], 1 / SECOND)

    @property
    def mean_rtt(self) -> Floats:
        """Mean time from first pair to ACK, s; NaN if none."""
        return _mean(self.records["round_trip"], self.records["delivered"], 1 / SECOND)

    @property
    def mean_log_werner(self) -> Floats:
        """Mean over ACKs of Σ log w_l (with the nodes' gate factors); NaN if none."""
        return _mean(self.records["log_werner"], self.records["delivered"])

    @property
    def mean_decay(self) -> Floats:
        """Mean over ACKs of Σ t·(γ_a + γ_b); NaN if none."""
        return _mean(self.records["decay"], self.records["delivered"])

    @property
    def mean_price(self) -> Floats:
        """Mean over ACKs of the sum of the links' signals; NaN if none."""
        return _mean(self.records["price"], self.records["delivered"])

    @property
    def mean_thinned_price(self) -> Floats:
        """Mean over ACKs of the sum of the links' signals, each times `HeaderTelemetry.thinning` there; NaN if none.

        So much the q-datagrams that are injected come across on average, those that get lost on the way included.
        """
        return _mean(self.records["thinned_price"], self.records["delivered"])

    @property
    def nack_thinned_price(self) -> Floats:
        """The same sum up to where the q-datagram was dropped, as a mean over NACKs; NaN if none."""
        return _mean(self.records["nack_thinned_price"], self.records["nacked"])

    @property
    def nack_price(self) -> Floats:
        """Mean over NACKs of the sum of the links' signals up to where the q-datagram was dropped; NaN if none."""
        return _mean(self.records["nack_price"], self.records["nacked"])


class LinkTelemetry(_Block):
    """Row l: what the controller of link l knows. All arrays [L]; counts and means are over the last interval."""

    @property
    def arrivals(self) -> Ints:
        """q-datagrams that came to the link, newcomers it dropped included."""
        return self.records["arrivals"]

    @property
    def generated(self) -> Ints:
        """Pairs made."""
        return self.records["generated"]

    @property
    def dropped(self) -> Ints:
        """q-datagrams dropped while waiting or coming to wait: overflow and cut-off."""
        return self.records["dropped"]

    @property
    def queue(self) -> Ints:
        """q-datagrams at the link now, the one in service included."""
        return self.records["number"]

    @property
    def mean_queue(self) -> Floats:
        """Time average of the number at the link, the one in service included."""
        return self._per_second("area")

    @property
    def utilisation(self) -> Floats:
        """Share of the time that the server was busy."""
        return self._per_second("busy")

    @property
    def attempts(self) -> Floats:
        """Attempts made (busy time over cycle time; a fraction where the interval cut one)."""
        return self.records["busy"] / self.records["cycle"]

    @property
    def mean_sojourn(self) -> Floats:
        """Mean time at the link, waiting and service, of those that left, s; NaN if none."""
        return _mean(self.records["sojourn"], self.records["departures"], 1 / SECOND)

    @property
    def departures(self) -> Ints:
        """q-datagrams that left the link, served or dropped after waiting."""
        return self.records["departures"]

    @property
    def werner(self) -> Floats:
        """w_l in force."""
        return self.records["werner"]

    @property
    def signal(self) -> Floats:
        """The signal that the link adds to passing headers."""
        return self.records["signal"]

    @property
    def capacity(self) -> Floats:
        """d_l now, pairs/s; 0 while the link is down."""
        return self.records["capacity"]

    def _per_second(self, name: str) -> Floats:
        return self.records[name] / np.maximum(self._seconds * SECOND, 1.0)


class HeaderTelemetry(_Block):
    """Row h: the last header that the link of hop h saw of that session. All arrays [H]; `link[h]` holds the row."""

    __slots__ = ("_now",)

    def __init__(self, records: np.ndarray, seconds: float | Floats, now: int | Ints) -> None:
        super().__init__(records, seconds)
        self._now = now

    @property
    def link(self) -> Ints:
        """The link whose controller holds this row."""
        return self.records["link"]

    @property
    def session(self) -> Ints:
        """The session of the header."""
        return self.records["session"]

    @property
    def hop(self) -> Ints:
        """Position of the link on the session's route, 0 for the first."""
        return self.records["index"]

    @property
    def hops(self) -> Ints:
        """Length of the session's route."""
        return self.records["hops"]

    @property
    def node(self) -> Ints:
        """The node from which the session enters the link, where its q-datagrams wait."""
        return self.records["node"]

    @property
    def arrivals(self) -> Ints:
        """q-datagrams of the session that came to the link in the last interval: its own count."""
        return self.records["arrivals"]

    @property
    def thinning(self) -> Floats:
        """Share of the session's q-datagrams that get as far as the link, 1 as long as none did. [ours]

        It is one over the mean step from one header's sequence number to the next one's, over the last 100 headers or
        so; exactly 1 where nothing is lost and nobody overtakes.
        """
        return 1.0 / np.maximum(self.records["gap"], 1.0)

    @property
    def age(self) -> Floats:
        """Seconds since the header was seen, infinite if none was yet."""
        seen = self.records["seen"]
        return np.where(seen == NEVER, np.inf, (self._now - seen) / SECOND)

    @property
    def rate(self) -> Floats:
        """R_r in force when the header's first pair was made (parallel swapping: when it was injected), 1/s."""
        return self.records["rate"]

    @property
    def signal(self) -> Floats:
        """The source's signal."""
        return self.records["header_signal"]

    @property
    def decay_rate(self) -> Floats:
        """γ of the source's node, 1/s; 0 where it stores no half of the pair."""
        return self.records["source_decay"]


@dataclass(frozen=True, slots=True)
class Truth:
    """What no controller knows: for rewards, plots and tests.

    in_flight: [R] q-datagrams neither delivered nor dropped now. drops: [R, reasons] by reason, when they happen.
    arrived: [R] pairs completed at the destination. traffic: what the policy's signals cost.
    """

    in_flight: Ints
    drops: Ints
    arrived: Ints
    traffic: ControlTraffic
    reasons: tuple[str, ...] = REASONS

    @property
    def dropped(self) -> Ints:
        """[R] q-datagrams lost, all reasons together."""
        return self.drops.sum(axis=1)


class Telemetry:
    """What was measured in the last `seconds` up to `time` (s), as copies: later advances do not change it.

    `now` is `time` in ns, a whole number, as the simulator counts it: `time` itself is a float and rounded.
    `sessions`, `links` and `headers` hold rows with only what their controller can know; `truth` is apart.
    """

    __slots__ = ("events", "headers", "links", "now", "seconds", "sessions", "time", "truth")

    def __init__(self, state: State, in_flight: Ints) -> None:
        clock = state.clock[0]
        self.now = now = int(clock["now"])
        seconds = float(clock["seconds"])
        self.time = now / SECOND
        self.seconds = seconds
        self.events = int(clock["events"])
        records = state.sessions.copy()
        self.sessions = SessionTelemetry(records, seconds, now)
        self.links = LinkTelemetry(state.links.copy(), seconds)
        hops = state.hops.copy()
        self.headers = HeaderTelemetry(hops, seconds, now)
        traffic = ControlTraffic(hops, records, [int(clock[name]) for name in STAMPS])
        self.truth = Truth(in_flight, state.drops.copy(), records["arrived"], traffic)

    @property
    def times(self) -> Floats:
        """[1] `time`, as `JoinedTelemetry` of n networks has n."""
        return np.array([self.time])


class JoinedTelemetry:
    """`Telemetry` of n simulators: side by side, their networks are one with all sessions, links and headers.

    A controller's row is the same as alone; links, sessions and nodes are counted through all networks.

    Attributes:
        times, now, seconds: [n], as in `Telemetry`.
        sessions, links, headers: as in `Telemetry`, the first network's rows first; copies.
        traffic: as in `Truth`; what no controller knows.
    """

    __slots__ = ("headers", "links", "now", "seconds", "sessions", "times", "traffic")

    def __init__(self, states: Sequence[State]) -> None:
        sizes = [(len(state.sessions), len(state.links), len(state.nodes), len(state.hops)) for state in states]
        of_sessions, of_links, of_nodes, of_hops = np.array(sizes).T
        now = np.array([state.clock["now"][0] for state in states])
        lengths = np.array([state.clock["seconds"][0] for state in states])
        self.now, self.seconds = now, lengths
        self.times: Floats = now / SECOND
        self.sessions = SessionTelemetry(
            _joined([s.sessions for s in states]), np.repeat(lengths, of_sessions), np.repeat(now, of_sessions)
        )
        self.links = LinkTelemetry(_joined([s.links for s in states]), np.repeat(lengths, of_links))
        hops = _joined([s.hops for s in states])
        for name, counts in (("session", of_sessions), ("link", of_links), ("node", of_nodes)):
            hops[name] += np.repeat(np.cumsum(counts) - counts, of_hops)
        self.headers = HeaderTelemetry(hops, np.repeat(lengths, of_hops), np.repeat(now, of_hops))
        stamps = [np.repeat([int(s.clock[name][0]) for s in states], of_sessions) for name in STAMPS]
        self.traffic = ControlTraffic(hops, self.sessions.records, stamps)


def _joined(records: list[np.ndarray]) -> np.ndarray:
    """Records one after the other, copied as bytes: NumPy would copy field by field."""
    return np.concatenate([array.view(np.uint8) for array in records]).view(records[0].dtype)

"""`Network`: the things of a scenario, a heap of events, and what is measured."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.arrays import WISHES
from qnum_gym.simulator import state as codes
from qnum_gym.simulator.reference.things import Datagram, Hop, Link, Session
from qnum_gym.simulator.state import SECOND, build
from qnum_gym.simulator.telemetry import Telemetry

MEASURED_LINK = ("arrivals", "generated", "dropped", "departures", "area", "busy", "sojourn")
MEASURED_SESSION = (
    *("injected", "delivered", "nacked", "timeouts", "arrived", "answer_hops", "latency", "round_trip"),
    *("werner", "worth", "log_werner", "decay", "price", "nack_price", "thinned_price", "nack_thinned_price", "age"),
)


def nanoseconds_in(seconds: float) -> Fraction:
    """Nanoseconds in `seconds`, exactly; a float that is the nearest one to a whole number stands for that number."""
    exact = Fraction(seconds) * 10**9
    nearest = round(exact)
    return Fraction(nearest) if nearest < 2**53 and nearest / 1e9 == seconds else exact


class Network(ABC):
    """Time, things and measurements; the subclasses know what happens at an event.

    Args:
        scenario: what to simulate.
        seed: of every random stream; the same draws as `Simulator`'s of that seed.
        trace: there to be called as `Simulator` is; every event is logged in any case.

    Raises:
        ValueError: the scenario's kind of swapping is another one's.
    """

    swapping: str

    def __init__(self, scenario: Scenario, seed: int = 0, *, trace: bool = True) -> None:
        if scenario.swapping != self.swapping:
            raise ValueError(f"swapping = {scenario.swapping!r}; valid for {type(self).__name__}: {self.swapping!r}")
        self.scenario = scenario
        self._records = records = build(scenario, seed)
        self.now = self.begun = 0  # ns; when the interval began
        self.events = 0
        self.log: list[tuple[int, int, int, int]] = []
        self.datagrams: list[Datagram] = []  # whose fate is open, or of which something is still stored
        self.history: list[Datagram] = []  # all of them
        self.heap: list[tuple[int, int, int, int, Callable[[], int | None]]] = []
        self.pushed = 0
        self._horizon, self._seconds = Fraction(0), 0.0
        self.loss = scenario.message_loss
        self.feedback_delay = int(records.clock[0]["feedback_delay"])
        self.decay_rate = [float(x) for x in records.nodes["decay_rate"]]
        self.drops = np.zeros_like(records.drops)
        memories = records.channels["memory"][::2]
        self.links = [Link.of(record, int(m)) for record, m in zip(records.links, memories, strict=True)]
        self.sessions = [Session.of(r, record) for r, record in enumerate(records.sessions)]
        for record in records.hops:
            self.sessions[int(record["session"])].route.append(Hop.of(record, self.links[int(record["link"])]))
        for i, record in enumerate(records.schedule):
            self.at(int(record["time"]), codes.CHANGE, 0, lambda i=i: self.change(i))
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Plan the first injections."""

    @abstractmethod
    def change(self, i: int) -> int:
        """The scenario's i-th change happens."""

    @property
    def hops(self) -> list[Hop]:
        """The hops of all routes, one route after the other."""
        return [hop for session in self.sessions for hop in session.route]

    # ---- time -------------------------------------------------------------------------------------------------------

    def at(self, time: int, kind: int, entity: int, act: Callable[[], int | None]) -> None:
        """Have `act` happen at `time`; it returns the sequence number concerned, or None if it has become stale."""
        self.pushed += 1
        heapq.heappush(self.heap, (time, kind, entity, self.pushed, act))

    def advance(self, seconds: float) -> Telemetry:
        """Simulate the next `seconds`, and return what was measured in them."""
        if (horizon := self._horizon + nanoseconds_in(seconds)) > codes.CLOCK_END:
            raise ValueError(f"seconds = {seconds}: past the end of the clock at {codes.CLOCK_END / SECOND:g} s")
        self._horizon, self._seconds = horizon, seconds
        self.begin_measurement()
        until = round(horizon)
        while self.heap and self.heap[0][0] < until:
            time, kind, entity, _, act = heapq.heappop(self.heap)
            self.now = time
            sequence = act()
            if sequence is not None:
                self.events += 1
                self.log.append((time, kind, entity, sequence))
        self.now = until
        for session in self.sessions:
            session.measure_age(self.begun, until)
        for link in self.links:
            link.measure(until)
        return self.telemetry()

    # ---- measurements -----------------------------------------------------------------------------------------------

    def begin_measurement(self) -> None:
        """Forget what was measured before."""
        self.begun = self.now
        self.events = 0
        self.drops[:] = 0
        for things, names in (
            (self.links, MEASURED_LINK),
            (self.sessions, MEASURED_SESSION),
            (self.hops, ["arrivals"]),
        ):
            for thing in things:
                for name in names:
                    setattr(thing, name, type(getattr(thing, name))(0))

    def in_flight(self) -> NDArray[np.int64]:
        """[R] q-datagrams neither delivered nor dropped now."""
        self.datagrams = [g for g in self.datagrams if g.outstanding or g.carried or not g.settled]
        return np.bincount([g.session.index for g in self.datagrams if not g.settled], minlength=len(self.sessions))

    def telemetry(self) -> Telemetry:
        """What was measured in the last advance, in the kernel's records."""
        records = self._records
        records.clock["now"], records.clock["events"], records.clock["seconds"] = self.now, self.events, self._seconds
        kept_link = (*MEASURED_LINK, "number", "werner", "signal", "capacity")
        now = ("unacked", "rate", "signal", "active", "paused", "fresh", "served", "began", "ended")
        kept_session = (*MEASURED_SESSION, *now, *WISHES)
        kept_hop = ("seen", "arrivals", "headers", "sequence", "gap", "rate", "header_signal", "source_decay")
        for table, things, names in (
            (records.links, self.links, kept_link),
            (records.sessions, self.sessions, kept_session),
            (records.hops, self.hops, kept_hop),
        ):
            for name in names:
                table[name] = [getattr(thing, name) for thing in things]
        records.drops[:] = self.drops
        return Telemetry(records, self.in_flight())

    def records(self) -> np.ndarray:
        """[n] `state.RECORD` of every q-datagram so far, as it is now."""

        def time(t: int | None) -> int:
            return codes.NEVER if t is None else t

        rows = codes.zeros(len(self.history), codes.RECORD)
        for i, g in enumerate(self.history):
            completed = g.completed if g.delivered else codes.NEVER
            times = g.injected, time(g.first), completed, time(g.acked)
            rows[i] = (g.sequence, *times, g.werner, g.session.index, g.lost_at, g.fate)
        return rows

    def events_log(self) -> NDArray[np.int64]:
        """[n, 4] time (ns), kind, entity and sequence number of every event so far."""
        return np.array(self.log, dtype=np.int64).reshape(-1, 4)

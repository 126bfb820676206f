"""The same network in plain Python: classes for its things (`reference_parts.py`), one heap of events, no tricks.

The oracle of the tests. It shares with the kernel the random numbers (same streams, same draws) and the records into
which measurements go, nothing else: queues are lists, memory is counted by looking, stale events are skipped. A test
holds both equal, event for event.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.physics.measures import value
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import state as codes
from qnum_gym.simulator.reference_parts import Datagram, Hop, Link, Session
from qnum_gym.simulator.state import NEVER, SECOND, build
from qnum_gym.simulator.telemetry import Telemetry

MEASURED_LINK = ("arrivals", "generated", "dropped", "departures", "area", "busy", "sojourn")
MEASURED_SESSION = (
    *("injected", "delivered", "nacked", "timeouts", "arrived", "answer_hops", "latency", "round_trip"),
    *("werner", "worth", "log_werner", "decay", "price", "nack_price", "thinned_price", "nack_thinned_price"),
)


def nanoseconds_in(seconds: float) -> Fraction:
    """Exactly; but a float that is the nearest one to a whole number of ns stands for that number."""
    exact = Fraction(seconds) * 10**9
    nearest = round(exact)
    return Fraction(nearest) if nearest < 2**53 and nearest / 1e9 == seconds else exact


class Reference:
    """Same interface as `Simulator` without its state functions, thousands of times slower, always traced.

    Of sequential swapping; `ParallelReference` has what the other kind does differently.
    """

    swapping = "sequential"

    def __init__(self, scenario: Scenario, seed: int = 0, *, trace: bool = True) -> None:
        if scenario.swapping != self.swapping:
            raise ValueError(f"swapping = {scenario.swapping!r}; valid for {type(self).__name__}: {self.swapping!r}")
        self.scenario = scenario
        self._records = records = build(scenario, seed, pool=1)
        self.now = 0
        self.events = 0
        self.log: list[tuple[int, int, int, int]] = []
        self.datagrams: list[Datagram] = []  # not settled or not forgotten
        self.heap: list[tuple[int, int, int, int, Callable[[], int | None]]] = []
        self.pushed = 0
        self._horizon, self._seconds = Fraction(0), 0.0
        self.loss = scenario.message_loss
        self.feedback_delay = int(records.clock[0]["feedback_delay"])
        self.decay_rate = [float(x) for x in records.nodes["decay_rate"]]
        self.drops = np.zeros_like(records.drops)
        self.links = [
            Link.of(record, int(m)) for record, m in zip(records.links, records.channels["memory"][::2], strict=True)
        ]
        self.sessions = [Session.of(r, record) for r, record in enumerate(records.sessions)]
        for x in records.hops:
            link, direction, node, next_node, index, hops, back = (
                int(x[k]) for k in ("link", "direction", "node", "next_node", "index", "hops", "back")
            )
            swapping = float(x["swap_success"]), float(x["log_gate"])
            hop = Hop(self.links[link], direction, node, next_node, index, index + 1 == hops, back, *swapping)
            self.sessions[int(x["session"])].route.append(hop)
        for session in self.sessions:
            session.draw()
            self.plan_injection(session)
        for i, x in enumerate(records.schedule):
            self.at(int(x["time"]), codes.CHANGE, 0, lambda i=i: self.change(i))

    # ---- the heap ---------------------------------------------------------------------------------------------------

    def at(self, time: int, kind: int, entity: int, act: Callable[[], int | None]) -> None:
        """Have `act` happen at `time`; it returns the sequence number concerned, or None if it has become stale."""
        self.pushed += 1
        heapq.heappush(self.heap, (time, kind, entity, self.pushed, act))

    def advance(self, seconds: float) -> Telemetry:
        if (horizon := self._horizon + nanoseconds_in(seconds)) > codes.CLOCK_END:
            raise ValueError(f"seconds = {seconds}: past the end of the clock at {codes.CLOCK_END / SECOND:g} s")
        self._horizon = horizon
        self._seconds = seconds
        self.events = 0
        for thing, names in [(x, MEASURED_LINK) for x in self.links] + [(x, MEASURED_SESSION) for x in self.sessions]:
            for name in names:
                setattr(thing, name, type(getattr(thing, name))(0))
        for hop in self.hops():
            hop.arrivals = 0
        self.drops[:] = 0
        until = round(horizon)
        while self.heap and self.heap[0][0] < until:
            time, kind, entity, _, act = heapq.heappop(self.heap)
            self.now = time
            sequence = act()
            if sequence is not None:
                self.events += 1
                self.log.append((time, kind, entity, sequence))
        self.now = until
        for link in self.links:
            link.measure(until)
        return self.telemetry()

    def hops(self) -> list[Hop]:
        return [hop for session in self.sessions for hop in session.route]

    # ---- sources ----------------------------------------------------------------------------------------------------

    def plan_injection(self, s: Session) -> None:
        s.base, s.next_injection = self.now, NEVER
        if s.active and not s.paused and s.rate > 0:
            wait = float(math.ceil(max(s.remaining, 0.0) / s.rate * SECOND))
            if wait < float(NEVER >> 1):
                time = s.next_injection = self.now + int(wait)
                self.at(time, codes.INJECTION, s.index, lambda: self.inject(s) if s.next_injection == time else None)

    def inject(self, s: Session) -> int:
        datagram = Datagram(s, s.sequence, self.now, node=s.source)
        self.datagrams.append(datagram)
        s.sequence += 1
        s.injected += 1
        s.unacked += 1
        s.paused = s.unacked >= s.window
        s.draw()
        self.plan_injection(s)
        datagram.here.link.arrivals += 1
        datagram.here.arrivals += 1
        self.begin(datagram)
        return datagram.sequence

    def begin(self, datagram: Datagram) -> None:
        self.join(datagram)

    def start_timer(self, datagram: Datagram) -> None:
        s = datagram.session
        patience = codes.INITIAL_TIMEOUT if s.rtt is None else s.rtt + 4.0 * s.rtt_deviation
        self.at(self.now + math.ceil(patience), codes.TIMEOUT, s.index, lambda: self.time_out(datagram))

    def time_out(self, datagram: Datagram) -> int | None:
        if not datagram.outstanding:
            return None
        datagram.session.timeouts += 1
        self.book_loss(datagram, codes.TIMED_OUT)
        self.free_slot(datagram)
        return datagram.sequence

    def free_slot(self, datagram: Datagram) -> None:
        s = datagram.session
        datagram.outstanding = False
        s.unacked -= 1
        if s.paused:
            s.paused = False
            self.plan_injection(s)

    def feedback(self, datagram: Datagram) -> int:
        s = datagram.session
        s.answer_hops += len(s.route) if datagram.delivered else datagram.hop
        if datagram.delivered:
            assert datagram.first is not None
            sample = float(self.now - datagram.first)
            if s.rtt is None:
                s.rtt, s.rtt_deviation = sample, 0.5 * sample
            else:
                s.rtt_deviation += 0.25 * (abs(sample - s.rtt) - s.rtt_deviation)
                s.rtt += 0.125 * (sample - s.rtt)
        if datagram.outstanding:
            if datagram.delivered:
                assert datagram.first is not None
                datagram.settled = True
                s.delivered += 1
                werner = math.exp(datagram.log_werner - datagram.decay)
                s.werner += werner
                s.worth += max(value(s.measure, werner), 0.0)
                s.latency += datagram.stored - datagram.injected
                s.round_trip += self.now - datagram.first
                s.log_werner += datagram.log_werner
                s.decay += datagram.decay
                s.price += datagram.price
                s.thinned_price += datagram.thinned_price
            else:
                s.nacked += 1
                s.nack_price += datagram.price
                s.nack_thinned_price += datagram.thinned_price
            self.free_slot(datagram)
        return datagram.sequence

    # ---- messages and losses ----------------------------------------------------------------------------------------

    def book_loss(self, datagram: Datagram, reason: int) -> None:
        if not datagram.settled:
            datagram.settled = True
            self.drops[datagram.session.index, reason] += 1

    def message_lost(self, s: Session, hops: int) -> bool:
        return self.loss > 0 and hops > 0 and s.messages.uniform() > (1.0 - self.loss) ** hops

    def send_back(self, datagram: Datagram, latency: int, hops: int) -> None:
        datagram.carried = False
        if self.message_lost(datagram.session, hops):
            self.book_loss(datagram, codes.ACK_LOST)
        else:
            due = self.now + latency + self.feedback_delay
            self.at(due, codes.FEEDBACK, datagram.session.index, lambda: self.feedback(datagram))

    def drop(self, datagram: Datagram, reason: int) -> None:
        self.book_loss(datagram, reason)
        self.send_back(datagram, datagram.here.back, datagram.here.index)

    # ---- links ------------------------------------------------------------------------------------------------------

    def join(self, datagram: Datagram) -> None:
        link = datagram.here.link
        link.measure(self.now)
        datagram.joined = self.now
        link.queue.append(datagram)
        if link.serving is None:
            self.serve(link)

    def leave(self, link: Link, datagram: Datagram) -> None:
        """Account for the departure; call while the link still holds the q-datagram."""
        link.measure(self.now)
        link.departures += 1
        link.sojourn += self.now - datagram.joined

    def choose(self, link: Link) -> Datagram:
        """Whose turn it is. With `fair` a service uses a turn up, a drop by cut-off does not: it takes no link time."""
        if link.discipline == codes.FIFO:
            return link.queue[0]
        if link.discipline == codes.LIFO:
            return link.queue[-1]
        if link.discipline == codes.FAIR:
            return min(link.queue, key=lambda g: (g.session.index - link.last_session - 1) % len(self.sessions))
        raise ValueError(f"discipline = {link.discipline}; valid: {codes.FIFO}, {codes.LIFO}, {codes.FAIR}")

    def serve(self, link: Link) -> None:
        while link.queue:
            datagram = self.choose(link)
            if datagram.first is not None and self.now - datagram.first >= datagram.session.cutoff:
                self.leave(link, datagram)
                link.queue.remove(datagram)
                link.dropped += 1
                self.drop(datagram, codes.CUTOFF)
                continue
            link.queue.remove(datagram)
            link.serving, link.last_session = datagram, datagram.session.index
            link.remaining = link.stream.exponential()
            link.base, link.serving_werner = self.now, link.werner
            self.plan_pair(link)
            return

    def plan_pair(self, link: Link) -> None:
        link.plan()
        if (time := link.done) != NEVER:
            datagram = link.serving
            entity = self.links.index(link)
            self.at(
                time,
                codes.PAIR,
                entity,
                lambda: self.pair(link) if (link.serving, link.done) == (datagram, time) else None,
            )

    def set_link(self, link: Link, capacity: float, werner: float) -> None:
        old = link.hazard
        link.capacity, link.werner = capacity, werner
        if link.serving is None:
            return
        begun = max(-((link.base - self.now) // link.cycle), 0)
        end = link.base + begun * link.cycle
        if begun and link.done == end:
            return  # the attempt under way is the one that succeeds
        if begun:
            link.remaining -= begun * old
            link.base = end
        link.serving_werner = werner
        previous = link.done
        link.plan()
        if link.done != previous:
            self.plan_pair(link)

    def pair(self, link: Link) -> int:
        datagram = link.serving
        assert datagram is not None
        hop, s = datagram.here, datagram.session
        link.generated += 1
        self.leave(link, datagram)
        link.serving, link.done = None, NEVER
        swapped = True
        if datagram.hop == 0:
            datagram.first, datagram.log_werner = self.now, math.log(link.serving_werner)
            datagram.rate, datagram.header_signal, datagram.source_decay = s.rate, s.signal, self.decay_rate[s.source]
            self.note_header(datagram)
            if self.loss > 0:
                self.start_timer(datagram)
        else:
            datagram.store(self.now)
            datagram.log_werner += math.log(link.serving_werner) + hop.log_gate
            if hop.swap_success < 1:
                swapped = s.swaps.uniform() <= hop.swap_success
        self.add_signal(datagram)
        if not swapped:
            self.drop(datagram, codes.SWAP_FAILED)
        else:
            datagram.carried, datagram.stored, datagram.node = True, self.now, hop.next_node
            datagram.decay_rate = self.decay_rate[s.source] + self.decay_rate[hop.next_node]
            if self.message_lost(s, 1):
                datagram.carried = False
                self.book_loss(datagram, codes.HEADER_LOST)
            else:
                entity = 2 * self.links.index(link) + hop.direction
                self.at(self.now + link.latency, codes.HEADER, entity, lambda: self.header(datagram))
        self.serve(link)
        return datagram.sequence

    def note_header(self, datagram: Datagram) -> None:
        hop = datagram.here
        hop.seen, hop.rate = self.now, datagram.rate
        hop.header_signal, hop.source_decay = datagram.header_signal, datagram.source_decay
        gap = float(max(datagram.sequence - hop.sequence, 0))
        hop.headers += 1
        hop.gap += max(codes.GAP_GAIN, 1.0 / hop.headers) * (gap - hop.gap)
        hop.sequence = max(hop.sequence, datagram.sequence)

    def add_signal(self, datagram: Datagram) -> None:
        signal = datagram.here.link.signal
        datagram.price += signal
        datagram.thinned_price += signal / max(datagram.here.gap, 1.0)

    def header(self, datagram: Datagram) -> int:
        hop = datagram.here
        if hop.last:
            datagram.store(self.now)
            datagram.delivered = True
            datagram.session.arrived += 1
            self.send_back(datagram, hop.back + hop.link.latency, hop.index + 1)
            return datagram.sequence
        datagram.hop += 1
        self.enter(datagram)
        return datagram.sequence

    def enter(self, datagram: Datagram) -> bool:
        """The header has come to a node on the way; whether there was room."""
        hop, link = datagram.here, datagram.here.link
        self.note_header(datagram)
        hop.arrivals += 1
        link.arrivals += 1
        if self.held(link, hop.direction) >= link.memory:
            link.dropped += 1
            waiting = [g for g in link.queue if g.hop > 0 and g.here.direction == hop.direction]
            if not (link.push_out and waiting):
                self.drop(datagram, codes.OVERFLOW)
                return False
            self.leave(link, waiting[0])
            link.queue.remove(waiting[0])
            self.drop(waiting[0], codes.OVERFLOW)
        self.join(datagram)
        return True

    def held(self, link: Link, direction: int) -> int:
        """How many q-datagrams on their way wait for (or are served by) the link at one of its nodes."""
        present = [*link.queue, *([link.serving] if link.serving else [])]
        return sum(g.hop > 0 and g.here.direction == direction for g in present)

    # ---- changes from outside ---------------------------------------------------------------------------------------

    def change(self, i: int) -> int:
        record = self._records.schedule[i]
        kind, index, value = int(record["kind"]), int(record["index"]), float(record["value"])
        if kind == codes.CAPACITY:
            self.set_link(self.links[index], value, self.links[index].werner)
        elif kind == codes.DECAY_RATE:
            self.decay_rate[index] = value
            self.change_decay()
        elif kind == codes.ACTIVE:
            self.set_source(self.sessions[index], self.sessions[index].rate, bool(value))
        return i

    def change_decay(self) -> None:
        """What is stored goes on decohering at the rates now in force."""
        for datagram in self.datagrams:
            if datagram.carried:
                datagram.store(self.now)
                datagram.decay_rate = self.decay_rate[datagram.session.source] + self.decay_rate[datagram.node]

    def set_source(self, s: Session, rate: float, active: bool) -> None:
        s.spend(self.now)
        s.rate, s.active = rate, active
        self.plan_injection(s)

    def set_controls(
        self,
        rates: ArrayLike | None = None,
        werner: ArrayLike | None = None,
        session_signals: ArrayLike | None = None,
        link_signals: ArrayLike | None = None,
    ) -> None:
        def each(values: ArrayLike | None) -> list[Any]:
            return [] if values is None else [float(x) for x in np.asarray(values)]

        self._records.clock["sources_stamp"] |= session_signals is not None
        self._records.clock["links_stamp"] |= link_signals is not None
        for s, rate in zip(self.sessions, each(rates), strict=False):
            if rate != s.rate:
                self.set_source(s, rate, s.active)
        for link, w in zip(self.links, each(werner), strict=False):
            if w != link.werner:
                self.set_link(link, link.capacity, w)
        for thing, signal in [
            *zip(self.sessions, each(session_signals), strict=False),
            *zip(self.links, each(link_signals), strict=False),
        ]:
            thing.signal = signal

    # ---- what was measured ------------------------------------------------------------------------------------------

    def in_flight(self) -> NDArray[np.int64]:
        self.datagrams = [g for g in self.datagrams if g.outstanding or g.carried or not g.settled]
        return np.bincount([g.session.index for g in self.datagrams if not g.settled], minlength=len(self.sessions))

    def telemetry(self) -> Telemetry:
        records = self._records
        records.clock["now"], records.clock["events"], records.clock["seconds"] = self.now, self.events, self._seconds
        kept_link = (*MEASURED_LINK, "number", "werner", "signal", "capacity")
        kept_session = (*MEASURED_SESSION, "unacked", "rate", "signal", "active", "paused")
        kept_hop = ("seen", "arrivals", "headers", "sequence", "gap", "rate", "header_signal", "source_decay")
        for table, things, names in (
            (records.links, self.links, kept_link),
            (records.sessions, self.sessions, kept_session),
            (records.hops, self.hops(), kept_hop),
        ):
            for name in names:
                table[name] = [getattr(x, name) for x in things]
        records.drops[:] = self.drops
        return Telemetry(records, self.in_flight())

    def events_log(self) -> NDArray[np.int64]:
        return np.array(self.log, dtype=np.int64).reshape(-1, 4)

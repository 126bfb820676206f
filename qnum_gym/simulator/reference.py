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

from qnum_gym.scenario import Scenario
from qnum_gym.simulator import state as codes
from qnum_gym.simulator.reference_parts import Gram, Hop, Link, Session
from qnum_gym.simulator.state import NEVER, SECOND, build
from qnum_gym.simulator.telemetry import Telemetry
from qnum_gym.werner import value

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
        self.grams: list[Gram] = []  # not settled or not forgotten
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
        gram = Gram(s, s.sequence, self.now, node=s.source)
        self.grams.append(gram)
        s.sequence += 1
        s.injected += 1
        s.unacked += 1
        s.paused = s.unacked >= s.window
        s.draw()
        self.plan_injection(s)
        gram.here.link.arrivals += 1
        gram.here.arrivals += 1
        self.begin(gram)
        return gram.sequence

    def begin(self, gram: Gram) -> None:
        self.join(gram)

    def start_timer(self, gram: Gram) -> None:
        s = gram.session
        patience = codes.INITIAL_TIMEOUT if s.rtt is None else s.rtt + 4.0 * s.rtt_deviation
        self.at(self.now + math.ceil(patience), codes.TIMEOUT, s.index, lambda: self.time_out(gram))

    def time_out(self, gram: Gram) -> int | None:
        if not gram.outstanding:
            return None
        gram.session.timeouts += 1
        self.settle(gram, codes.TIMED_OUT)
        self.free_slot(gram)
        return gram.sequence

    def free_slot(self, gram: Gram) -> None:
        s = gram.session
        gram.outstanding = False
        s.unacked -= 1
        if s.paused:
            s.paused = False
            self.plan_injection(s)

    def feedback(self, gram: Gram) -> int:
        s = gram.session
        s.answer_hops += len(s.route) if gram.delivered else gram.hop
        if gram.delivered:
            assert gram.first is not None
            sample = float(self.now - gram.first)
            if s.rtt is None:
                s.rtt, s.rtt_deviation = sample, 0.5 * sample
            else:
                s.rtt_deviation += 0.25 * (abs(sample - s.rtt) - s.rtt_deviation)
                s.rtt += 0.125 * (sample - s.rtt)
        if gram.outstanding:
            if gram.delivered:
                assert gram.first is not None
                gram.settled = True
                s.delivered += 1
                werner = math.exp(gram.log_werner - gram.decay)
                s.werner += werner
                s.worth += max(value(s.measure, werner), 0.0)
                s.latency += gram.stored - gram.injected
                s.round_trip += self.now - gram.first
                s.log_werner += gram.log_werner
                s.decay += gram.decay
                s.price += gram.price
                s.thinned_price += gram.thinned_price
            else:
                s.nacked += 1
                s.nack_price += gram.price
                s.nack_thinned_price += gram.thinned_price
            self.free_slot(gram)
        return gram.sequence

    # ---- messages and losses ----------------------------------------------------------------------------------------

    def settle(self, gram: Gram, reason: int) -> None:
        if not gram.settled:
            gram.settled = True
            self.drops[gram.session.index, reason] += 1

    def message_lost(self, s: Session, hops: int) -> bool:
        return self.loss > 0 and hops > 0 and s.messages.uniform() > (1.0 - self.loss) ** hops

    def send_back(self, gram: Gram, latency: int, hops: int) -> None:
        gram.carried = False
        if self.message_lost(gram.session, hops):
            self.settle(gram, codes.ACK_LOST)
        else:
            due = self.now + latency + self.feedback_delay
            self.at(due, codes.FEEDBACK, gram.session.index, lambda: self.feedback(gram))

    def drop(self, gram: Gram, reason: int) -> None:
        self.settle(gram, reason)
        self.send_back(gram, gram.here.back, gram.here.index)

    # ---- links ------------------------------------------------------------------------------------------------------

    def join(self, gram: Gram) -> None:
        link = gram.here.link
        link.measure(self.now)
        gram.joined = self.now
        link.queue.append(gram)
        if link.serving is None:
            self.serve(link)

    def leave(self, link: Link, gram: Gram) -> None:
        """Account for the departure; call while the link still holds the q-datagram."""
        link.measure(self.now)
        link.departures += 1
        link.sojourn += self.now - gram.joined

    def choose(self, link: Link) -> Gram:
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
            gram = self.choose(link)
            if gram.first is not None and self.now - gram.first >= gram.session.cutoff:
                self.leave(link, gram)
                link.queue.remove(gram)
                link.dropped += 1
                self.drop(gram, codes.CUTOFF)
                continue
            link.queue.remove(gram)
            link.serving, link.last_session = gram, gram.session.index
            link.remaining = link.stream.exponential()
            link.base, link.serving_werner = self.now, link.werner
            self.plan_pair(link)
            return

    def plan_pair(self, link: Link) -> None:
        link.plan()
        if (time := link.done) != NEVER:
            gram = link.serving
            entity = self.links.index(link)
            self.at(
                time, codes.PAIR, entity, lambda: self.pair(link) if (link.serving, link.done) == (gram, time) else None
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
        gram = link.serving
        assert gram is not None
        hop, s = gram.here, gram.session
        link.generated += 1
        self.leave(link, gram)
        link.serving, link.done = None, NEVER
        swapped = True
        if gram.hop == 0:
            gram.first, gram.log_werner = self.now, math.log(link.serving_werner)
            gram.rate, gram.header_signal, gram.source_decay = s.rate, s.signal, self.decay_rate[s.source]
            self.note_header(gram)
            if self.loss > 0:
                self.start_timer(gram)
        else:
            gram.store(self.now)
            gram.log_werner += math.log(link.serving_werner) + hop.log_gate
            if hop.swap_success < 1:
                swapped = s.swaps.uniform() <= hop.swap_success
        self.add_signal(gram)
        if not swapped:
            self.drop(gram, codes.SWAP_FAILED)
        else:
            gram.carried, gram.stored, gram.node = True, self.now, hop.next_node
            gram.decay_rate = self.decay_rate[s.source] + self.decay_rate[hop.next_node]
            if self.message_lost(s, 1):
                gram.carried = False
                self.settle(gram, codes.HEADER_LOST)
            else:
                entity = 2 * self.links.index(link) + hop.direction
                self.at(self.now + link.latency, codes.HEADER, entity, lambda: self.header(gram))
        self.serve(link)
        return gram.sequence

    def note_header(self, gram: Gram) -> None:
        hop = gram.here
        hop.seen, hop.rate = self.now, gram.rate
        hop.header_signal, hop.source_decay = gram.header_signal, gram.source_decay
        gap = float(max(gram.sequence - hop.sequence, 0))
        hop.headers += 1
        hop.gap += max(codes.GAP_GAIN, 1.0 / hop.headers) * (gap - hop.gap)
        hop.sequence = max(hop.sequence, gram.sequence)

    def add_signal(self, gram: Gram) -> None:
        signal = gram.here.link.signal
        gram.price += signal
        gram.thinned_price += signal / max(gram.here.gap, 1.0)

    def header(self, gram: Gram) -> int:
        hop = gram.here
        if hop.last:
            gram.store(self.now)
            gram.delivered = True
            gram.session.arrived += 1
            self.send_back(gram, hop.back + hop.link.latency, hop.index + 1)
            return gram.sequence
        gram.hop += 1
        self.enter(gram)
        return gram.sequence

    def enter(self, gram: Gram) -> bool:
        """The header has come to a node on the way; whether there was room."""
        hop, link = gram.here, gram.here.link
        self.note_header(gram)
        hop.arrivals += 1
        link.arrivals += 1
        if self.held(link, hop.direction) >= link.memory:
            link.dropped += 1
            waiting = [g for g in link.queue if g.hop > 0 and g.here.direction == hop.direction]
            if not (link.push_out and waiting):
                self.drop(gram, codes.OVERFLOW)
                return False
            self.leave(link, waiting[0])
            link.queue.remove(waiting[0])
            self.drop(waiting[0], codes.OVERFLOW)
        self.join(gram)
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
        for gram in self.grams:
            if gram.carried:
                gram.store(self.now)
                gram.decay_rate = self.decay_rate[gram.session.source] + self.decay_rate[gram.node]

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
        self.grams = [g for g in self.grams if g.outstanding or g.carried or not g.settled]
        return np.bincount([g.session.index for g in self.grams if not g.settled], minlength=len(self.sessions))

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

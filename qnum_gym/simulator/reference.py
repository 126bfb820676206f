"""The same network in plain Python: one class per thing, one heap of events, no tricks. The oracle of the tests.

It shares with the kernel the random numbers (same streams, same draws) and the records into which measurements go, nothing
else: queues are lists, memory is counted by looking, stale events are skipped. A test holds both equal, event for event.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.scenario import Scenario
from qnum_gym.simulator.state import (
    ACK_LOST,
    CHANGE,
    CUTOFF,
    FAIR,
    FEEDBACK,
    HEADER,
    HEADER_LOST,
    INITIAL_TIMEOUT,
    INJECTION,
    LIFO,
    NEVER,
    OVERFLOW,
    PAIR,
    SECOND,
    SWAP_FAILED,
    TIMED_OUT,
    TIMEOUT,
    build,
)
from qnum_gym.simulator.telemetry import Telemetry


class Stream:
    """SplitMix64 as a counter-based stream: the n-th draw is a hash of key + n."""

    def __init__(self, key: int) -> None:
        self.key, self.draws = int(key), 0

    def uniform(self) -> float:
        self.draws += 1
        mask = 2**64 - 1
        z = (self.key + self.draws * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        return ((z >> 11) + 1) * 2.0**-53

    def exponential(self) -> float:
        return -math.log(self.uniform())


@dataclass
class Hop:
    """One session's passage over one link, and what the link remembers of it."""

    link: Link
    direction: int
    node: int
    next_node: int
    index: int
    last: bool
    back: int  # ns for a message from `node` to the source
    seen: int = NEVER
    arrivals: int = 0
    rate: float = 0.0
    header_signal: float = 0.0
    source_decay: float = 0.0


@dataclass(eq=False)
class Gram:
    """A q-datagram: a header on its way, and from its first pair on two halves of an entangled pair."""

    session: Session
    sequence: int
    injected: int
    hop: int = 0
    first: int | None = None
    stored: int = 0
    joined: int = 0
    node: int = 0
    log_werner: float = 0.0
    decay: float = 0.0
    decay_rate: float = 0.0
    price: float = 0.0
    rate: float = 0.0
    header_signal: float = 0.0
    source_decay: float = 0.0
    carried: bool = False  # a pair of it is stored
    outstanding: bool = True  # the source waits for an answer
    settled: bool = False
    delivered: bool = False

    @property
    def here(self) -> Hop:
        return self.session.route[self.hop]

    def store(self, t: int) -> None:
        """Let both halves decohere up to t."""
        self.decay += self.decay_rate * ((t - self.stored) / SECOND)
        self.stored = t


@dataclass(eq=False)
class Link:
    """One server, one queue for both directions, attempts on demand."""

    cycle: int
    latency: int
    memory: int
    discipline: int
    push_out: bool
    capacity: float
    werner: float
    stream: Stream
    signal: float = 0.0
    queue: list[Gram] = field(default_factory=lambda: [])  # waiting, by arrival
    serving: Gram | None = None
    last_session: int = -1
    remaining: float = 0.0
    base: int = 0
    done: int = NEVER
    serving_werner: float = 0.0
    changed: int = 0
    arrivals: int = 0
    generated: int = 0
    dropped: int = 0
    departures: int = 0
    area: int = 0
    busy: int = 0
    sojourn: int = 0

    @property
    def hazard(self) -> float:
        return (
            -math.log1p(-p)
            if (p := min(self.capacity * (self.cycle / SECOND) * (1.0 - self.werner), 1.0)) < 1
            else math.inf
        )

    @property
    def number(self) -> int:
        return len(self.queue) + (self.serving is not None)

    def measure(self, t: int) -> None:
        self.area += self.number * (t - self.changed)
        self.busy += (t - self.changed) if self.number else 0
        self.changed = t

    def held(self, direction: int) -> int:
        """How many q-datagrams on their way wait for (or are served by) the link at one of its nodes."""
        present = [*self.queue, *([self.serving] if self.serving else [])]
        return sum(g.hop > 0 and g.here.direction == direction for g in present)

    def plan(self) -> None:
        """When the attempts from `base` on will have used up what remains of the draw."""
        self.done = NEVER
        if self.hazard > 0:
            attempts = max(math.ceil(self.remaining / self.hazard), 1)
            if float(attempts) * self.cycle < float(NEVER >> 1):
                self.done = self.base + attempts * self.cycle


@dataclass(eq=False)
class Session:
    """A source: its injection process, its window, its timers."""

    index: int
    source: int
    window: int
    cutoff: int
    poisson: bool
    rate: float
    active: bool
    injections: Stream
    swaps: Stream
    messages: Stream
    route: list[Hop] = field(default_factory=lambda: [])
    signal: float = 0.0
    paused: bool = False
    sequence: int = 0
    base: int = 0
    remaining: float = 0.0
    next_injection: int = NEVER
    rtt: float | None = None
    rtt_deviation: float = 0.0
    unacked: int = 0
    injected: int = 0
    delivered: int = 0
    nacked: int = 0
    timeouts: int = 0
    arrived: int = 0
    latency: int = 0
    round_trip: int = 0
    werner: float = 0.0
    log_werner: float = 0.0
    decay: float = 0.0
    price: float = 0.0
    nack_price: float = 0.0

    def draw(self) -> None:
        self.remaining = self.injections.exponential() if self.poisson else 1.0

    def spend(self, t: int) -> None:
        if self.active and not self.paused:
            self.remaining -= self.rate * ((t - self.base) / SECOND)


MEASURED_LINK = ("arrivals", "generated", "dropped", "departures", "area", "busy", "sojourn")
MEASURED_SESSION = (
    *("injected", "delivered", "nacked", "timeouts", "arrived", "latency", "round_trip"),
    *("werner", "log_werner", "decay", "price", "nack_price"),
)


class Reference:
    """Same interface as `Simulator` (set_controls, advance, telemetry, in_flight, events_log), thousands of times slower."""

    def __init__(self, scenario: Scenario, seed: int = 0, *, trace: bool = True) -> None:
        self.scenario = scenario
        self._records = records = build(scenario, seed, pool=1)
        self.now = 0
        self.events = 0
        self.log: list[tuple[int, int, int, int]] = []
        self.grams: list[Gram] = []  # not settled or not forgotten
        self.heap: list[tuple[int, int, int, int, Callable[[], int | None]]] = []
        self.pushed = 0
        self._horizon = self._seconds = 0.0
        self.loss = scenario.message_loss
        self.feedback_delay = int(records.clock[0]["feedback_delay"])
        self.decay_rate = [float(x) for x in records.nodes["decay_rate"]]
        self.swap_success = [float(x) for x in records.nodes["swap_success"]]
        self.log_gate = [float(x) for x in records.nodes["log_gate"]]
        self.drops = np.zeros_like(records.drops)
        self.links = [
            Link(
                *(int(x[k]) for k in ("cycle", "latency", "memory", "discipline")),
                bool(x["push_out"]),
                float(x["capacity"]),
                float(x["werner"]),
                Stream(x["key"]),
            )
            for x in records.links
        ]
        self.sessions = [
            Session(
                r,
                *(int(x[k]) for k in ("source", "window", "cutoff")),
                bool(x["poisson"]),
                float(x["rate"]),
                bool(x["active"]),
                *(Stream(x[k]) for k in ("key", "swap_key", "loss_key")),
            )
            for r, x in enumerate(records.sessions)
        ]
        for x in records.hops:
            link, direction, node, next_node, index, hops, back = (
                int(x[k]) for k in ("link", "direction", "node", "next_node", "index", "hops", "back")
            )
            hop = Hop(self.links[link], direction, node, next_node, index, index + 1 == hops, back)
            self.sessions[int(x["session"])].route.append(hop)
        for session in self.sessions:
            session.draw()
            self.plan_injection(session)
        for i, x in enumerate(records.schedule):
            self.at(int(x["time"]), CHANGE, 0, lambda i=i: self.change(i))

    # ---- the heap ---------------------------------------------------------------------------------------------------

    def at(self, time: int, kind: int, entity: int, act: Callable[[], int | None]) -> None:
        """Have `act` happen at `time`; it returns the sequence number concerned, or None if it has become stale."""
        self.pushed += 1
        heapq.heappush(self.heap, (time, kind, entity, self.pushed, act))

    def advance(self, seconds: float) -> Telemetry:
        self._horizon += seconds
        self._seconds = seconds
        self.events = 0
        for thing, names in [(x, MEASURED_LINK) for x in self.links] + [(x, MEASURED_SESSION) for x in self.sessions]:
            for name in names:
                setattr(thing, name, type(getattr(thing, name))(0))
        for hop in self.hops():
            hop.arrivals = 0
        self.drops[:] = 0
        until = round(self._horizon * SECOND)
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
                self.at(time, INJECTION, s.index, lambda: self.inject(s) if s.next_injection == time else None)

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
        self.join(gram)
        return gram.sequence

    def start_timer(self, gram: Gram) -> None:
        s = gram.session
        patience = INITIAL_TIMEOUT if s.rtt is None else s.rtt + 4.0 * s.rtt_deviation
        self.at(self.now + math.ceil(patience), TIMEOUT, s.index, lambda: self.time_out(gram))

    def time_out(self, gram: Gram) -> int | None:
        if not gram.outstanding:
            return None
        gram.session.timeouts += 1
        self.settle(gram, TIMED_OUT)
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
                s.werner += math.exp(gram.log_werner - gram.decay)
                s.latency += gram.stored - gram.injected
                s.round_trip += self.now - gram.first
                s.log_werner += gram.log_werner
                s.decay += gram.decay
                s.price += gram.price
            else:
                s.nacked += 1
                s.nack_price += gram.price
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
            self.settle(gram, ACK_LOST)
        else:
            due = self.now + latency + self.feedback_delay
            self.at(due, FEEDBACK, gram.session.index, lambda: self.feedback(gram))

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
        if link.discipline == LIFO:
            return link.queue[-1]
        if link.discipline == FAIR:
            return min(link.queue, key=lambda g: (g.session.index - link.last_session - 1) % len(self.sessions))
        return link.queue[0]

    def serve(self, link: Link) -> None:
        while link.queue:
            gram = self.choose(link)
            if gram.first is not None and self.now - gram.first >= gram.session.cutoff:
                self.leave(link, gram)
                link.queue.remove(gram)
                link.dropped += 1
                self.drop(gram, CUTOFF)
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
            self.at(time, PAIR, entity, lambda: self.pair(link) if (link.serving, link.done) == (gram, time) else None)

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
            gram.log_werner += math.log(link.serving_werner) + self.log_gate[hop.node]
            if self.swap_success[hop.node] < 1:
                swapped = s.swaps.uniform() <= self.swap_success[hop.node]
        gram.price += link.signal
        if not swapped:
            self.drop(gram, SWAP_FAILED)
        else:
            gram.carried, gram.stored, gram.node = True, self.now, hop.next_node
            gram.decay_rate = self.decay_rate[s.source] + self.decay_rate[hop.next_node]
            if self.message_lost(s, 1):
                gram.carried = False
                self.settle(gram, HEADER_LOST)
            else:
                entity = 2 * self.links.index(link) + hop.direction
                self.at(self.now + link.latency, HEADER, entity, lambda: self.header(gram))
        self.serve(link)
        return gram.sequence

    def note_header(self, gram: Gram) -> None:
        hop = gram.here
        hop.seen, hop.rate = self.now, gram.rate
        hop.header_signal, hop.source_decay = gram.header_signal, gram.source_decay

    def header(self, gram: Gram) -> int:
        hop = gram.here
        if hop.last:
            gram.store(self.now)
            gram.delivered = True
            gram.session.arrived += 1
            self.send_back(gram, hop.back + hop.link.latency, hop.index + 1)
            return gram.sequence
        gram.hop += 1
        hop, link = gram.here, gram.here.link
        self.note_header(gram)
        hop.arrivals += 1
        link.arrivals += 1
        if link.held(hop.direction) >= link.memory:
            link.dropped += 1
            waiting = [g for g in link.queue if g.hop > 0 and g.here.direction == hop.direction]
            if not (link.push_out and waiting):
                self.drop(gram, OVERFLOW)
                return gram.sequence
            self.leave(link, waiting[0])
            link.queue.remove(waiting[0])
            self.drop(waiting[0], OVERFLOW)
        self.join(gram)
        return gram.sequence

    # ---- changes from outside ---------------------------------------------------------------------------------------

    def change(self, i: int) -> int:
        record = self._records.schedule[i]
        kind, index, value = int(record["kind"]), int(record["index"]), float(record["value"])
        if kind == 0:
            self.set_link(self.links[index], value, self.links[index].werner)
        elif kind == 1:
            self.decay_rate[index] = value
            for gram in self.grams:
                if gram.carried:
                    gram.store(self.now)
                    gram.decay_rate = self.decay_rate[gram.session.source] + self.decay_rate[gram.node]
        else:
            self.set_source(self.sessions[index], self.sessions[index].rate, bool(value))
        return i

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
        records.clock["now"], records.clock["events"] = self.now, self.events
        kept_link = (*MEASURED_LINK, "number", "werner", "signal", "capacity")
        kept_session = (*MEASURED_SESSION, "unacked", "rate", "signal", "active", "paused")
        kept_hop = ("seen", "arrivals", "rate", "header_signal", "source_decay")
        for table, things, names in (
            (records.links, self.links, kept_link),
            (records.sessions, self.sessions, kept_session),
            (records.hops, self.hops(), kept_hop),
        ):
            for name in names:
                table[name] = [getattr(x, name) for x in things]
        records.drops[:] = self.drops
        return Telemetry(records, self._seconds, self.in_flight())

    def events_log(self) -> NDArray[np.int64]:
        return np.array(self.log, dtype=np.int64).reshape(-1, 4)

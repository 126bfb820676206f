"""The things of the reference simulator: a stream of random numbers, a hop, a q-datagram, a link, a session."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from qnum_gym.physics.measures import MEASURES
from qnum_gym.simulator.state import NEVER, SECOND


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
    swap_success: float
    log_gate: float
    seen: int = NEVER
    arrivals: int = 0
    headers: int = 0
    sequence: int = -1
    gap: float = 0.0
    rate: float = 0.0
    header_signal: float = 0.0
    source_decay: float = 0.0


@dataclass(eq=False)
class Datagram:
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
    thinned_price: float = 0.0
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
    queue: list[Datagram] = field(default_factory=lambda: [])  # waiting, by arrival
    serving: Datagram | None = None
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

    @classmethod
    def of(cls, record: Any, memory: int) -> Link:
        return cls(
            cycle=int(record["cycle"]),
            latency=int(record["latency"]),
            memory=memory,
            discipline=int(record["discipline"]),
            push_out=bool(record["push_out"]),
            capacity=float(record["capacity"]),
            werner=float(record["werner"]),
            stream=Stream(record["key"]),
        )

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
    measure: str
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
    answer_hops: int = 0
    latency: int = 0
    round_trip: int = 0
    werner: float = 0.0
    worth: float = 0.0
    log_werner: float = 0.0
    decay: float = 0.0
    price: float = 0.0
    nack_price: float = 0.0
    thinned_price: float = 0.0
    nack_thinned_price: float = 0.0

    @classmethod
    def of(cls, index: int, record: Any) -> Session:
        return cls(
            index=index,
            source=int(record["source"]),
            window=int(record["window"]),
            cutoff=int(record["cutoff"]),
            poisson=bool(record["poisson"]),
            measure=MEASURES.at(int(record["measure"])).name,
            rate=float(record["rate"]),
            active=bool(record["active"]),
            injections=Stream(record["key"]),
            swaps=Stream(record["swap_key"]),
            messages=Stream(record["loss_key"]),
        )

    def draw(self) -> None:
        self.remaining = self.injections.exponential() if self.poisson else 1.0

    def spend(self, t: int) -> None:
        if self.active and not self.paused:
            self.remaining -= self.rate * ((t - self.base) / SECOND)

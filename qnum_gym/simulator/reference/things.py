"""The things of the reference simulator: a stream of random numbers, a hop, a q-datagram, a link, a session."""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from qnum_gym.physics.links import LINK_MODELS, Hardware, LinkModel
from qnum_gym.physics.measures import MEASURES
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, NONE, PACINGS
from qnum_gym.rules.pacings import Pacing
from qnum_gym.simulator.state import IN_FLIGHT, INITIAL_TIMEOUT, NEVER, SECOND

Thing = TypeVar("Thing", "Hop", "Link", "Session")


class Stream:
    """SplitMix64 as a counter-based stream: the n-th draw is a hash of key + n."""

    def __init__(self, key: int) -> None:
        self.key, self.draws = int(key), 0

    def uniform(self) -> float:
        """The next number, in (0, 1]."""
        self.draws += 1
        mask = 2**64 - 1
        z = (self.key + self.draws * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        return ((z >> 11) + 1) * 2.0**-53

    def exponential(self) -> float:
        """The next number as a unit exponential."""
        return -math.log(self.uniform())


def made(kind: type[Thing], record: Any, **others: Any) -> Thing:
    """A thing of a record of `state.py`: fields without a default are the columns of the same name, or `others`."""
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    return kind(**{name: record[name].item() for name in needed if name not in others}, **others)


@dataclass
class Hop:
    """One session's passage over one link, and what the link remembers of it."""

    link: Link
    direction: int  # 0 from the link's node a to b, else 1
    node: int  # where the session enters the link
    next_node: int
    index: int  # on the route
    last: bool  # on the route
    back: int  # ns for a message from `node` to the source
    swap_success: float  # q at `node`
    log_gate: float  # log g at `node`
    seen: int = NEVER  # when the last header passed
    arrivals: int = 0
    headers: int = 0  # that passed so far
    sequence: int = -1  # the highest one among them
    gap: float = 0.0  # mean step of the sequence number from one header to the next
    rate: float = 0.0  # what the last header said: the source's rate, signal and γ
    header_signal: float = 0.0
    source_decay: float = 0.0

    @classmethod
    def of(cls, record: Any, link: Link) -> Hop:
        """The hop that a record describes."""
        return made(cls, record, link=link, last=bool(record["index"] + 1 == record["hops"]))


@dataclass(eq=False)
class Datagram:
    """A q-datagram: a header on its way, and from its first pair on two halves of an entangled pair."""

    session: Session
    sequence: int
    injected: int  # when, ns
    hop: int = 0  # the one at hand, on the route
    first: int | None = None  # when its first pair was made
    stored: int = 0  # since when `decay` has not been brought up to date
    completed: int = 0  # when the destination had its header
    joined: int = 0  # when it came to the queue where it is
    node: int = 0  # that holds the half which is not at the source
    log_werner: float = 0.0  # Σ log w_l, with the nodes' gate factors
    decay: float = 0.0  # Σ t (γ_a + γ_b)
    decay_rate: float = 0.0  # γ_a + γ_b now
    price: float = 0.0  # sum of the links' signals, and the same thinned out
    thinned_price: float = 0.0
    rate: float = 0.0  # of the source at the first pair, as its signal and its γ
    header_signal: float = 0.0
    source_decay: float = 0.0
    carried: bool = False  # a pair of it is stored
    outstanding: bool = True  # the source waits for an answer
    settled: bool = False  # delivered or lost, and counted
    fate: int = IN_FLIGHT  # of `state.FATES`
    lost_at: int = NONE  # the hop, once it is lost
    acked: int | None = None  # when its ACK came in time
    werner: float = math.nan  # then
    delivered: bool = False  # complete at the destination

    @property
    def here(self) -> Hop:
        """The hop at hand."""
        return self.session.route[self.hop]

    def store(self, t: int) -> None:
        """Let both halves decohere up to t."""
        self.decay += self.decay_rate * ((t - self.stored) / SECOND)
        self.stored = t


@dataclass(eq=False)
class Link:
    """One server, one queue for both directions, attempts on demand."""

    cycle: int  # ns per attempt
    latency: int  # ns for a header
    memory: int  # per direction of travel
    discipline: Any  # a rule of `rules.DISCIPLINES`
    drop_policy: Any  # a rule of `rules.DROP_POLICIES`
    capacity: float  # d_l, pairs/s
    werner: float  # w_l
    model: LinkModel
    modes: float
    dark_count: float
    clicks: float
    stream: Stream
    signal: float = 0.0
    queue: list[Datagram] = field(default_factory=lambda: [])  # waiting, by arrival
    serving: Datagram | None = None
    last_session: int = -1  # that was served
    remaining: float = 0.0  # of the unit exponential that says how many attempts it takes
    base: int = 0  # when the attempts began that are not yet accounted for
    done: int = NEVER  # when the pair is made
    serving_werner: float = 0.0  # of that pair
    changed: int = 0  # since when the time integrals have not been brought up to date
    arrivals: int = 0
    generated: int = 0
    dropped: int = 0
    departures: int = 0
    area: int = 0
    busy: int = 0
    sojourn: int = 0

    @classmethod
    def of(cls, record: Any, memory: int) -> Link:
        """The link that a record describes."""
        return made(
            cls,
            record,
            memory=memory,
            discipline=DISCIPLINES.at(int(record["discipline"])),
            drop_policy=DROP_POLICIES.at(int(record["drop_policy"])),
            model=LINK_MODELS.at(int(record["model"])),
            stream=Stream(record["key"]),
        )

    @property
    def hazard(self) -> float:
        """-log(1 - p_m), p_m = 1 - (1 - p)^m the success probability of one attempt in m modes."""
        if self.capacity == 0.0:
            return 0.0
        chance = self.capacity * (self.cycle / SECOND) / self.modes
        p = min(self.model.success(self.werner, Hardware(chance, self.dark_count, self.clicks)), 1.0)
        return -self.modes * math.log1p(-p) if p < 1.0 else math.inf

    @property
    def number(self) -> int:
        """q-datagrams at the link, the one in service included."""
        return len(self.queue) + (self.serving is not None)

    def measure(self, t: int) -> None:
        """Bring the time integrals up to t; call before the number changes."""
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
    source: int  # node
    window: int
    cutoff: int  # ns
    stored_at_ends: int  # of `rules.Hold`, 0 or 1
    until_ack: int
    pacing: Pacing
    measure: str
    rate: float  # R_r in force, 1/s
    asked: float  # by the controller
    rate_cap: float
    weight: float
    log_werner_floor: float
    min_rate: float
    pairs: int  # wanted, 0 for no number
    began: int  # when it came on last
    active: bool
    injections: Stream
    swaps: Stream
    messages: Stream
    route: list[Hop] = field(default_factory=lambda: [])
    signal: float = 0.0
    served: int = 0  # pairs delivered while it was on
    ended: int = NEVER  # when it went off
    paused: bool = False  # it is full
    sequence: int = 0  # of the next q-datagram
    base: int = 0  # since when `remaining` has not been brought up to date
    remaining: float = 0.0  # of the gap to the next injection, in units of 1/R_r
    next_injection: int = NEVER
    rtt: float | None = None  # mean round trip, ns
    rtt_deviation: float = 0.0
    unacked: int = 0  # q-datagrams without an answer
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
    fresh: int = 0  # when it last delivered, or became active
    age: float = 0.0  # ∫ of the time since then while it is active, ns²

    @classmethod
    def of(cls, index: int, record: Any) -> Session:
        """The session that a record describes."""
        return made(
            cls,
            record,
            index=index,
            pacing=PACINGS.at(int(record["pacing"])),
            measure=MEASURES.at(int(record["measure"])).name,
            injections=Stream(record["key"]),
            swaps=Stream(record["swap_key"]),
            messages=Stream(record["loss_key"]),
        )

    @property
    def destination(self) -> int:
        """The node at the end of the route."""
        return self.route[-1].next_node

    @property
    def full(self) -> bool:
        """Whether its window is full, or as many q-datagrams are under way as it still wants."""
        return self.unacked >= self.window or 0 < self.pairs <= self.unacked + self.served

    def draw(self) -> None:
        """A new gap between injections."""
        self.remaining = self.pacing.gap(self.injections.uniform())

    def spend(self, t: int) -> None:
        """Account for the part of the gap that has passed; call before rate, activity or pause changes."""
        if self.active and not self.paused:
            self.remaining -= self.rate * ((t - self.base) / SECOND)

    def measure_age(self, begin: int, t: int) -> None:
        """Add the age up to t, since the last delivery or the interval's `begin`, whichever is later."""
        if self.active:
            since = max(self.fresh, begin)
            self.age += 0.5 * float(t - since) * (float(t - self.fresh) + float(since - self.fresh))

    @property
    def timeout(self) -> float:
        """How long to wait for an answer, ns: mean + 4 deviations of the round trip, as TCP does."""
        return INITIAL_TIMEOUT if self.rtt is None else self.rtt + 4.0 * self.rtt_deviation

    def learn_round_trip(self, sample: float) -> None:
        """TCP's estimator of mean and deviation, with gains 1/8 and 1/4 (RFC 6298)."""
        if self.rtt is None:
            self.rtt, self.rtt_deviation = sample, 0.5 * sample
        else:
            self.rtt_deviation += 0.25 * (abs(sample - self.rtt) - self.rtt_deviation)
            self.rtt += 0.125 * (sample - self.rtt)

"""SimQN on the five-node chain: python simqn_chain.py SECONDS SEED MODE → delivered, mean fidelity, wall seconds.

SimQN brings an event kernel and models of entangled pairs. Its own entanglement distribution application has no links
that make pairs at a rate and no queues (simqn_app.py), so the link layer here is hand-written and lean: an event per
header and per ACK, no node, channel or memory objects in between, Python's generator in place of NumPy's. What is
SimQN's: Simulator, Event, Time, the faster of its event pools, WernerStateEntanglement with its swapping and storage
error. The model is qnum_gym's: Poisson source, a FIFO server per link, heralded attempts of 1 ms, depolarising
memories.

MODE `geometric`: as qnum_gym does it, one event for all attempts at a pair; little of SimQN is left to run, an upper
bound. MODE `attempts`: an event per attempt, about 25 per pair and link.
"""

from __future__ import annotations

import gc
import math
import random
import sys
import time
from collections import deque

import chain
from qns.models.epr import WernerStateEntanglement
from qns.simulator import Event, HashedBucketEventPool, Simulator, Time

CHAIN = chain.load()
LINKS, SUCCESS = CHAIN.links, CHAIN.success
CYCLE, LATENCY = round(CHAIN.cycle * 1e9), round(CHAIN.latency * 1e9)  # ns
HAZARD = -math.log1p(-SUCCESS)
DECAY = 2 / CHAIN.coherence_time  # both halves


class Gram:
    """A q-datagram: the pair between source and here, and since when it decays."""

    __slots__ = ("pair", "since")

    def __init__(self) -> None:
        self.pair: WernerStateEntanglement | None = None
        self.since = 0


class Chain:
    def __init__(self, simulator: Simulator, seed: int, each: bool) -> None:
        self.simulator = simulator
        self.each = each
        generator = random.Random(seed)
        self.draw, self.uniform = generator.expovariate, generator.random
        self.queues: list[deque[Gram]] = [deque() for _ in range(LINKS)]
        self.busy = [False] * LINKS
        self.injected = self.arrived = self.delivered = self.travelling = 0
        self.fidelity = 0.0

    def inject(self, now: int) -> None:
        if now:
            self.injected += 1
            self.join(0, Gram(), now)
        at = now + max(int(self.draw(CHAIN.rate) * 1e9), 1)
        self.simulator.add_event(Inject(self, at))

    def join(self, link: int, gram: Gram, now: int) -> None:
        self.queues[link].append(gram)
        if not self.busy[link]:
            self.serve(link, now)

    def serve(self, link: int, now: int) -> None:
        self.busy[link] = bool(self.queues[link])
        if self.busy[link] and self.each:
            self.simulator.add_event(Attempt(self, now + CYCLE, link, self.queues[link].popleft()))
        elif self.busy[link]:
            attempts = max(math.ceil(self.draw(1.0) / HAZARD), 1)
            self.simulator.add_event(Made(self, now + attempts * CYCLE, link, self.queues[link].popleft()))

    def attempt(self, link: int, gram: Gram, now: int) -> None:
        if self.uniform() < SUCCESS:
            self.made(link, gram, now)
        else:
            self.simulator.add_event(Attempt(self, now + CYCLE, link, gram))

    def made(self, link: int, gram: Gram, now: int) -> None:
        fresh = WernerStateEntanglement(CHAIN.fidelity)
        if gram.pair is not None:
            gram.pair.store_error_model((now - gram.since) * 1e-9, DECAY)
            fresh = gram.pair.swapping(fresh)
        gram.pair, gram.since = fresh, now
        self.travelling += 1
        self.simulator.add_event(Header(self, now + LATENCY, link, gram))
        self.serve(link, now)

    def header(self, link: int, gram: Gram, now: int) -> None:
        self.travelling -= 1
        if link + 1 < LINKS:
            self.join(link + 1, gram, now)
            return
        gram.pair.store_error_model((now - gram.since) * 1e-9, DECAY)
        self.arrived += 1
        self.simulator.add_event(Ack(self, now + LINKS * LATENCY, gram))

    def ack(self, gram: Gram) -> None:
        self.delivered += 1
        self.fidelity += gram.pair.fidelity

    def check(self) -> None:
        """Nothing lost: every q-datagram is delivered, queued, in service or on its way."""
        inside = sum(map(len, self.queues)) + sum(self.busy) + self.travelling
        unacknowledged = self.arrived - self.delivered
        assert self.injected == self.delivered + unacknowledged + inside, "SimQN lost a q-datagram"
        assert 0 <= unacknowledged < 10


class Inject(Event):
    def __init__(self, chain: Chain, at: int) -> None:
        self.t, self._is_canceled, self.chain = Time(time_slot=at), False, chain

    def invoke(self) -> None:
        self.chain.inject(self.t.time_slot)


class Made(Event):
    def __init__(self, chain: Chain, at: int, link: int, gram: Gram) -> None:
        self.t, self._is_canceled = Time(time_slot=at), False
        self.chain, self.link, self.gram = chain, link, gram

    def invoke(self) -> None:
        self.chain.made(self.link, self.gram, self.t.time_slot)


class Attempt(Made):
    def invoke(self) -> None:
        self.chain.attempt(self.link, self.gram, self.t.time_slot)


class Header(Made):
    def invoke(self) -> None:
        self.chain.header(self.link, self.gram, self.t.time_slot)


class Ack(Event):
    def __init__(self, chain: Chain, at: int, gram: Gram) -> None:
        self.t, self._is_canceled, self.chain, self.gram = Time(time_slot=at), False, chain, gram

    def invoke(self) -> None:
        self.chain.ack(self.gram)


def main(seconds: float, seed: int, mode: str) -> None:
    simulator = Simulator(0, seconds, accuracy=1_000_000_000, pool_cls=HashedBucketEventPool)
    chain = Chain(simulator, seed, each=mode == "attempts")
    chain.inject(0)
    gc.collect()
    begin = time.perf_counter()
    simulator.run()
    wall = time.perf_counter() - begin
    chain.check()
    print(chain.delivered, chain.fidelity / chain.delivered, wall)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

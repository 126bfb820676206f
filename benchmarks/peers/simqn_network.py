"""SimQN's own parts on a chain: python simqn_network.py SECONDS SEED [FILE] → pairs, fidelity, wall s, latency s.

The model of simqn_chain.py, as a user of SimQN would build it: QNode, Application, QuantumMemory (which lets pairs
decay), QuantumChannel, whose drop rate decides over each attempt of 1 ms, ClassicChannel for headers and ACKs. Added
by hand, since SimQN has nothing of the kind: the source, the FIFO queue in front of each link, one attempt after the
other until one succeeds.
"""

from __future__ import annotations

import gc
import itertools
import math
import random
import sys
import time
from collections import deque

import chain
from qns.entity.cchannel.cchannel import ClassicChannel, ClassicPacket, RecvClassicPacket
from qns.entity.memory.memory import QuantumMemory
from qns.entity.node.app import Application
from qns.entity.node.node import QNode
from qns.entity.qchannel.qchannel import QuantumChannel, RecvQubitPacket
from qns.models.epr import WernerStateEntanglement
from qns.simulator import Event, HashedBucketEventPool, Simulator
from qns.utils.rnd import set_seed

CHAIN = chain.load(*sys.argv[3:])


class Station(Application):
    """One node: serves the link to its right, swaps what the link to its left delivers, passes headers and ACKs on."""

    def __init__(self, index: int, stations: list[Station]) -> None:
        super().__init__()
        self.index, self.stations = index, stations
        self.node = QNode(f"n{index}", apps=[self])
        # a pair is in the memory of the node that it has reached, both its halves decay there
        self.memory = QuantumMemory(f"m{index}", decoherence_rate=2 / CHAIN.coherence_time)
        self.node.add_memory(self.memory)
        self.right: tuple[QuantumChannel, ClassicChannel] | None = None
        self.left: ClassicChannel | None = None
        self.queue: deque[str] = deque()
        self.serving: str | None = None
        self.injected = self.arrived = self.delivered = self.travelling = 0
        self.fidelity = self.latency = 0.0
        self.begun: dict[str, float] = {}
        self.pairs: dict[str, WernerStateEntanglement] = {}
        self.add_handler(self.on_pair, [RecvQubitPacket])
        self.add_handler(self.on_message, [RecvClassicPacket])

    def after(self, seconds: float, action: type[Event]) -> None:
        event = action(self._simulator.tc + seconds, by=self)
        self._simulator.add_event(event)

    def inject(self) -> None:
        self.injected += 1
        self.begun[f"q{self.injected}"] = self._simulator.tc.sec
        self.join(f"q{self.injected}")
        self.after(random.expovariate(CHAIN.rate), Inject)

    def join(self, name: str) -> None:
        self.queue.append(name)
        if self.serving is None:
            self.serve()

    def serve(self) -> None:
        if self.queue:
            self.serving = self.queue.popleft()
            self.attempt()

    def attempt(self) -> None:
        channel, _ = self.right
        channel.send(WernerStateEntanglement(CHAIN.fidelity, self.serving), self.stations[self.index + 1].node)
        self.after(CHAIN.cycle, Attempt)  # of equal times, the earlier added comes first: the pair, if there is one

    def on_pair(self, _node: QNode, event: Event) -> None:
        """A successful attempt's end, heralded to both nodes: swap, send the header after it, serve the next."""
        before, pair = self.stations[self.index - 1], event.qubit
        if before.index > 0:
            pair = before.memory.read(pair.name).swapping(pair, name=pair.name)
        self.memory.write(pair)
        self.travelling += 1
        before.right[1].send(ClassicPacket(pair.name, src=before.node, dest=self.node), self.node)
        before.serving = None

    def retry(self) -> None:
        if self.serving is None:
            self.serve()
        else:
            self.attempt()

    def on_message(self, _node: QNode, event: Event) -> None:
        message, last = event.packet.get(), self.index == len(self.stations) - 1
        if event.cchannel is not self.left:  # an ACK
            if self.index > 0:
                self.left.send(ClassicPacket(message, src=self.node), self.stations[self.index - 1].node)
            else:
                self.delivered += 1
                self.fidelity += self.pairs.pop(message).fidelity
            return
        self.travelling -= 1
        if last:
            self.arrived += 1
            source = self.stations[0]
            source.pairs[message] = self.memory.read(message)
            source.latency += self._simulator.tc.sec - source.begun.pop(message)
            self.left.send(ClassicPacket(message, src=self.node), self.stations[self.index - 1].node)
        else:
            self.join(message)


class Inject(Event):
    def invoke(self) -> None:
        self.by.inject()


class Attempt(Event):
    def invoke(self) -> None:
        self.by.retry()


def main(seconds: float, seed: int) -> None:
    random.seed(seed)
    set_seed(seed)
    simulator = Simulator(0, seconds, accuracy=1_000_000_000, pool_cls=HashedBucketEventPool)
    stations: list[Station] = []
    stations += [Station(i, stations) for i in range(CHAIN.links + 1)]
    for one, other in itertools.pairwise(stations):
        quantum = QuantumChannel(f"q{one.index}", bandwidth=0, delay=CHAIN.cycle, drop_rate=1 - CHAIN.success)
        classic = ClassicChannel(f"c{one.index}", delay=CHAIN.latency)
        for node in (one.node, other.node):
            node.add_qchannel(quantum)
            node.add_cchannel(classic)
        one.right, other.left = (quantum, classic), classic
    for station in stations:
        station.node.install(simulator)
    source, destination = stations[0], stations[-1]
    source.after(random.expovariate(CHAIN.rate), Inject)
    gc.collect()
    begin = time.perf_counter()
    simulator.run()
    wall = time.perf_counter() - begin
    inside = sum(len(s.queue) + (s.serving is not None) + s.travelling for s in stations)
    assert source.injected == destination.arrived + inside, "SimQN lost a q-datagram"
    assert destination.arrived == source.delivered + len(source.pairs)
    assert math.isfinite(source.fidelity)
    print(source.delivered, source.fidelity / source.delivered, wall, source.latency / destination.arrived)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))

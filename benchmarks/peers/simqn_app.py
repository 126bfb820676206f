"""SimQN's own application on the five-node chain: python simqn_app.py SECONDS SEED → delivered, mean fidelity, wall s.

EntanglementDistributionApp, as it comes: 30 requests/s evenly paced, hop after hop, a swap and a message back at each.
It has no links that make pairs at a rate: every send succeeds, nothing ever waits, so it does less than the others.
Channels without a limit (by default SimQN's quantum channels pass one qubit per second and the rest piles up), the
faster of its event pools, the default log level. The library has no randomness here; SEED changes nothing.
"""

from __future__ import annotations

import gc
import sys
import time

import chain
from qns.network import QuantumNetwork
from qns.network.protocol.entanglement_distribution import EntanglementDistributionApp
from qns.network.route.dijkstra import DijkstraRouteAlgorithm
from qns.network.topology import LineTopology
from qns.network.topology.topo import ClassicTopology
from qns.simulator import HashedBucketEventPool, Simulator

CHAIN = chain.load()
NODES = CHAIN.links + 1


def main(seconds: float) -> None:
    simulator = Simulator(0, seconds, accuracy=1_000_000_000, pool_cls=HashedBucketEventPool)
    line = LineTopology(
        nodes_number=NODES,
        nodes_apps=[EntanglementDistributionApp(init_fidelity=CHAIN.fidelity)],
        qchannel_args={"delay": CHAIN.latency, "bandwidth": 0},
        cchannel_args={"delay": CHAIN.latency},
        memory_args=[{"decoherence_rate": 1 / CHAIN.coherence_time}],
    )
    network = QuantumNetwork(topo=line, classic_topo=ClassicTopology.All, route=DijkstraRouteAlgorithm())
    network.build_route()
    source, destination = network.get_node("n1"), network.get_node(f"n{NODES}")
    network.add_request(src=source, dest=destination, attr={"send_rate": CHAIN.rate})
    network.install(simulator)
    gc.collect()
    begin = time.perf_counter()
    simulator.run()
    wall = time.perf_counter() - begin
    sender, receiver = source.apps[0], destination.apps[0]
    assert 0 <= sender.send_count - receiver.success_count <= 1, "SimQN lost a request"
    print(sender.success_count, sum(pair.fidelity for pair in receiver.success) / len(receiver.success), wall)


if __name__ == "__main__":
    main(float(sys.argv[1]))

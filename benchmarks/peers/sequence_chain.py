"""SeQUeNCe on a chain: python sequence_chain.py SECONDS SEED MODE [FILE] → delivered, mean fidelity, wall seconds.

SeQUeNCe's own network stack on a line of routers (RouterNetTopo): RSVP makes one reservation for the whole run,
the resource managers' rules make and swap pairs, RequestApp counts those that both ends hold. Generation is its
single-heralded protocol with Bell-diagonal states, its cheapest. Version 0.8.5 cannot swap such states (its manager's
`run_circuit` returns nothing), so `BellDiagonal` below adds the swap, decay included, and everything else is the
library's.

MODE `ours`: attempts of 1 ms that succeed with our p = 0.0393, two memories per link. MODE `single`: one.

MODE `fast`: attempts follow each other as fast as the protocol allows and succeed as often as 10 km of fibre with
perfect detectors and linear optics allow (0.32), so that few events are spent on attempts: an upper bound for
SeQUeNCe.

What differs from qnum_gym: links make pairs all the time, all in parallel, in place of on demand, one after the other;
swaps in a tree (nodes 2 and 4, then 3); both memories of a pair decohere from emission on; no Poisson source, the next
pair is wanted at once, so the rate is what the links give; every attempt is simulated, with photons, detectors and the
messages of pairing.
"""

from __future__ import annotations

import gc
import json
import sys
import tempfile
import time
from pathlib import Path

import chain
from sequence.app.request_app import RequestApp
from sequence.constants import BELL_DIAGONAL_STATE_FORMALISM, SINGLE_HERALDED
from sequence.entanglement_management.generation import EntanglementGenerationA, EntanglementGenerationB
from sequence.kernel.quantum_manager import QuantumManager, QuantumManagerBellDiagonal
from sequence.topology.router_net_topo import RouterNetTopo

CHAIN = chain.load(*sys.argv[4:])
NODES, LENGTH_M = CHAIN.links + 1, round(1000 * CHAIN.length_km)
FIBRE = 10 ** (-0.02 * CHAIN.length_km)  # both photons arrive
HOP = LENGTH_M * 5000  # ps
MEMORIES: dict[int, object] = {}  # by the key of their state


@QuantumManager.register(BELL_DIAGONAL_STATE_FORMALISM)
class BellDiagonal(QuantumManagerBellDiagonal):
    """SeQUeNCe's manager of Bell-diagonal states (I, Z, X, Y), and the swap that it lacks."""

    def run_circuit(self, circuit: object, keys: list[int], meas_samp: float | None = None) -> dict[int, int]:
        if len(keys) == 2:
            for key in keys:
                MEMORIES[key].bds_decohere()
            left, right = (self.states[key] for key in keys)
            a, b = left.state, right.state
            swapped = [sum(a[i] * b[i ^ j] for i in range(4)) for j in range(4)]
            ends = [key for pair in (left, right) for key in pair.keys if key not in keys]
            self.set(ends, swapped)
        return dict.fromkeys(keys, 0)  # no corrections: they are in the convention for the states


class Consumer(RequestApp):
    """Takes each end-to-end pair at once and frees its memories; the first end to have it reads its fidelity."""

    def __init__(self, node: object, halves: dict[frozenset[str], float]) -> None:
        super().__init__(node)
        self.halves = halves
        self.count = 0
        self.fidelity = 0.0
        self.peer = ""

    def get_memory(self, info: object) -> None:
        if info.state != "ENTANGLED" or info.remote_node != self.peer:
            return
        memory, remote = info.memory, self.node.timeline.get_entity_by_name(info.remote_memo)
        pair = frozenset((memory.name, remote.name))
        if pair in self.halves:
            self.fidelity += self.halves.pop(pair)
        else:
            remote.bds_decohere()
            self.halves[pair] = float(memory.get_bds_state()[0])
            self.fidelity += self.halves[pair]
        self.count += 1
        self.node.resource_manager.update(None, memory, "RAW")


def network(seconds: float, seed: int, mode: str) -> RouterNetTopo:
    names = [f"r{i}" for i in range(NODES)]
    memories = 2 if mode == "ours" else 1
    memory = {
        "fidelity": CHAIN.fidelity,
        "frequency": 8e7 if mode == "fast" else 1 / CHAIN.cycle,
        "efficiency": 1.0,
        "coherence_time": CHAIN.coherence_time * 4 / 3,  # in its convention W decays by exp(-4 t / 3 T) per memory
        "cutoff_flag": False,
    }
    heralding = {
        "success_rate": 0.5 if mode == "fast" else CHAIN.success / FIBRE,
        "detectors": [{"efficiency": 1.0}] * 2,
    }
    config = {
        "stop_time": int(seconds * 1e12),
        "formalism": BELL_DIAGONAL_STATE_FORMALISM,
        "templates": {
            "router": {"MemoryArray": memory},
            "station": {"encoding_type": "single_heralded", "SingleHeraldedBSM": heralding},
        },
        "nodes": [
            {
                "name": name,
                "type": "QuantumRouter",
                "seed": seed * 100 + i,
                "memo_size": memories * (1 if i in (0, NODES - 1) else 2),
                "template": "router",
            }
            for i, name in enumerate(names)
        ],
        "qconnections": [
            {
                "node1": names[i],
                "node2": names[i + 1],
                "attenuation": 0.0002,
                "distance": LENGTH_M,
                "type": "meet_in_the_middle",
                "seed": seed * 100 + 50 + i,
                "template": "station",
            }
            for i in range(NODES - 1)
        ],
        "cconnections": [
            {"node1": names[i], "node2": names[j], "distance": (j - i) * LENGTH_M, "delay": (j - i) * HOP}
            for i in range(NODES)
            for j in range(i + 1, NODES)
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.json"
        file.write_text(json.dumps(config))
        return RouterNetTopo(str(file))


def main(seconds: float, seed: int, mode: str) -> None:
    EntanglementGenerationA.set_global_type(SINGLE_HERALDED)
    EntanglementGenerationB.set_global_type(SINGLE_HERALDED)
    topology = network(seconds, seed, mode)
    timeline = topology.get_timeline()
    routers = topology.get_nodes_by_type(RouterNetTopo.QUANTUM_ROUTER)
    for router in routers:
        for memory in router.components[router.memo_arr_name]:
            MEMORIES[memory.qstate_key] = memory
    halves: dict[frozenset[str], float] = {}
    source, destination = Consumer(routers[0], halves), Consumer(routers[-1], halves)
    source.peer, destination.peer = routers[-1].name, routers[0].name
    timeline.init()
    size = len(routers[0].components[routers[0].memo_arr_name])
    source.start(routers[-1].name, 10 * NODES * HOP, int(seconds * 1e12) - 1, size, 0.5)
    gc.collect()
    begin = time.perf_counter()
    timeline.run()
    wall = time.perf_counter() - begin
    assert abs(source.count - destination.count) == len(halves) <= size, "SeQUeNCe lost half a pair"
    print(source.count, source.fidelity / source.count, wall)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

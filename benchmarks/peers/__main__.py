"""Other simulators on our five-node chain, in turns with ours: delivered end-to-end pairs per wall second on one core.

4 links of 10 km, one session, 30 q-datagrams/s, w = 0.967, T_c = 10 s. Wall time is taken without imports and set-up.

qnum_gym           the model of docs/model.md, the chain's scenario
SimQN, own app     its application for chains as it comes: no link rates, no queues, so less work (simqn_app.py)
SimQN, own parts   the same model from SimQN's nodes, channels, memories; queues and retries by hand (simqn_network.py)
SimQN, attempts    the same on SimQN's kernel and Werner pairs only, an event per attempt (simqn_chain.py)
SimQN, geometric   the same, one event for all attempts at a pair, as ours: an upper bound, little of SimQN is left
SeQUeNCe, ours     its network stack, our attempts; links make pairs all the time, in parallel (sequence_chain.py)
SeQUeNCe, fast     the same, most attempts spared (0.32 succeed, one right after the other): an upper bound
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import qnum_gym
from benchmarks import harness
from benchmarks.cases import LINKS, RATE, WERNER
from benchmarks.harness import ROUNDS, Figure, in_turns, ratio
from qnum_gym.simulator import Simulator

HERE = Path(__file__).parent
TARGET = 500.0  # over SimQN


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", required=True, help="the Python of the peers' environment")
    python = parser.parse_args().python
    pins = (HERE / "requirements.txt").read_text().splitlines()
    versions = dict(line.split("==") for line in pins if "==" in line)
    simqn, sequence = f"SimQN {versions['qns']}", f"SeQUeNCe {versions['sequence']}"
    fidelities: dict[str, list[float]] = {}
    simulator = Simulator(qnum_gym.scenario("chain"), 0)
    simulator.set_controls(rates=[RATE], werner=[WERNER] * LINKS)

    def ours() -> float:
        begin = time.perf_counter()
        sessions = simulator.advance(20_000.0).sessions
        wall = time.perf_counter() - begin
        fidelities.setdefault("qnum_gym", []).append((3 * float(sessions.mean_werner[0]) + 1) / 4)
        return float(sessions.delivered[0]) / wall

    def peer(name: str, script: str, seconds: float, *mode: str) -> Callable[[], float]:
        seeds = itertools.count()

        def run() -> float:
            arguments = [python, str(HERE / script), str(seconds), str(next(seeds)), *mode]
            words = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
            fidelities.setdefault(name, []).append(float(words[1]))
            return int(words[0]) / float(words[2])

        return run

    plan = [
        (f"{simqn}, own app (does less)", "simqn_app.py", 300.0, ()),
        (f"{simqn}, own parts", "simqn_network.py", 300.0, ()),
        (f"{simqn}, attempts (kernel only)", "simqn_chain.py", 600.0, ("attempts",)),
        (f"{simqn}, geometric (kernel only)", "simqn_chain.py", 3000.0, ("geometric",)),
        (f"{sequence}, ours", "sequence_chain.py", 6.0, ("ours",)),
        (f"{sequence}, fast", "sequence_chain.py", 1.0, ("fast",)),
    ]
    measures = {"qnum_gym": ours} | {row[0]: peer(row[0], row[1], row[2], *row[3]) for row in plan}
    speeds = in_turns("delivered pairs/s", measures)
    figures = list(speeds.values())
    ratios = [
        ratio(f"qnum_gym / {other.name}", figures[0], other, TARGET if "SimQN" in other.name else None)
        for other in figures[1:]
    ]
    figures += [Figure(f"fidelity: {name}", "mean", values[-ROUNDS:]) for name, values in fidelities.items()]
    path = harness.save("peers", figures, ratios)
    print(harness.table(figures, ratios))
    print(f"saved to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Whether other simulators find what ours finds: rate, fidelity and latency, from one file in chain.json's form.

    python -m benchmarks.peers.agreement --python .venv-peers/bin/python

SimQN      its nodes, channels and memories with our model built from them (simqn_network.py): the five-node chain
SeQUeNCe   its network stack with Bell-diagonal states (sequence_chain.py): two links, a memory at each end, which make
           pairs side by side as fast as they can; ours with parallel swapping and a window of 1

Seeds are independent and standard errors are over seeds; a difference is counted in those of both together (Welch).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import RESULTS, machine
from benchmarks.peers.chain import Chain, load
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator
from qnum_gym.validation.law import Finding

HERE = Path(__file__).parent
OURS = 50  # seeds of ours
LOADS = (0.3, 0.6, 0.85)
TWO_LINKS = Chain(links=2, length_km=1.0, cycle=1e-3, werner=0.967, coherence_time=0.5, rate=50_000.0)
QUANTITIES = ("pairs/s", "fidelity", "latency, s")

Samples = NDArray[np.float64]  # [seeds, quantities]


def ours(chain: Chain, seconds: float, seeds: int, swapping: str, window: int) -> Samples:
    """Of qnum_gym."""
    links = [{"a": i, "b": i + 1, "length_km": chain.length_km, "cycle_time": chain.cycle} for i in range(chain.links)]
    scenario = Scenario.model_validate(
        {
            "name": "chain",
            "links": links,
            "sessions": [[0, chain.links]],
            "coherence_time": chain.coherence_time,
            "swapping": swapping,
            "window": window,
            "memory": 10_000,
            "rate_range": (0.1, 1e5),
        }
    )
    rows: list[list[float]] = []
    for seed in range(seeds):
        simulator = Simulator(scenario, seed)
        simulator.set_controls(rates=[chain.rate], werner=[chain.werner] * chain.links)
        sessions = simulator.advance(seconds).sessions
        mean = float(fidelity(sessions.mean_werner[0]))
        rows.append([sessions.delivered[0] / seconds, mean, sessions.mean_latency[0]])
    return np.array(rows)


def peers(python: str, script: str, chain: Chain, seconds: float, seeds: int, mode: Sequence[str]) -> Samples:
    """Of a script that reads the chain from a file; what it does not tell is NaN."""
    rows: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chain.json"
        file.write_text(json.dumps(asdict(chain)))
        for seed in range(1, seeds + 1):
            print(f"  {script}, seed {seed} of {seeds} …", end="\r", file=sys.stderr, flush=True)
            command = [python, str(HERE / script), str(seconds), str(seed), *mode, str(file)]
            words = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
            rows.append([int(words[0]) / seconds, float(words[1]), float(words[3]) if len(words) > 3 else np.nan])
    return np.array(rows)


def compared(case: str, here: Samples, there: Samples) -> list[Finding]:
    """The other's mean beside ours, for each quantity that it tells."""
    findings: list[Finding] = []
    for quantity, a, b in zip(QUANTITIES, here.T, there.T, strict=True):
        if np.isfinite(b).all():
            squares = [float(values.var(ddof=1)) / len(values) for values in (a, b)]
            spread = sum(square**2 / (len(values) - 1) for square, values in zip(squares, (a, b), strict=True))
            freedom = int(sum(squares) ** 2 / spread)
            name = f"{case}: {quantity}"
            findings.append(Finding(name, float(a.mean()), float(b.mean()), sum(squares) ** 0.5, freedom, 0.0))
    return findings


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.agreement", description=__doc__.split("\n\n")[0])
    parser.add_argument("--python", required=True, help="the Python of the peers' environment")
    parser.add_argument("--seeds", type=int, default=8, help="of the others, for each load (default: 8)")
    arguments = parser.parse_args()
    findings: list[Finding] = []
    chain = load()
    for at in LOADS:
        loaded = replace(chain, rate=at * chain.success / chain.cycle)
        here = ours(loaded, 400.0, OURS, "sequential", 10_000)
        there = peers(arguments.python, "simqn_network.py", loaded, 400.0, arguments.seeds, ())
        findings += compared(f"SimQN, load {at}", here, there)
    here = ours(TWO_LINKS, 400.0, OURS, "parallel", 1)
    there = peers(arguments.python, "sequence_chain.py", TWO_LINKS, 20.0, arguments.seeds, ("single",))
    findings += compared("SeQUeNCe, two links", here, there)

    rows = [asdict(found) | {"deviation": found.deviation, "agrees": found.agrees(len(findings))} for found in findings]
    print("| case | qnum_gym | the other | standard error | deviation | |\n|---|---|---|---|---|---|")
    for row in rows:
        numbers = f"{row['expected']:.5g} | {row['measured']:.5g} | {row['error']:.1g} | {row['deviation']:+.1f}"
        print(f"| {row['case']} | {numbers} | {'agrees' if row['agrees'] else '**disagrees**'} |")
    content = {"machine": machine(), "seeds": arguments.seeds, "seeds of ours": OURS, "findings": rows}
    (RESULTS / "agreement.json").write_text(json.dumps(content, indent=1) + "\n")
    sys.exit(not all(row["agrees"] for row in rows))


if __name__ == "__main__":
    main()

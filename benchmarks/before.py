"""This checkout against another one, in two processes that take turns: what a change of the code costs or gains."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import Result, in_turns, ratio

BEFORE = "QNUM_GYM_BEFORE"  # names the other checkout: git worktree add FOLDER COMMIT
ROUNDS, STEPS = 30, 300
NETWORKS = ("dumbbell", "nsfnet")

# Reads how many steps to make, writes how many of them it made in a second of its own processor time.
WORKER = """
import sys, time
import gymnasium as gym, numpy as np
import qnum_gym
from qnum_gym.simulator import Controls

scenario = qnum_gym.scenario(sys.argv[1], episode_length=10**7)
best = qnum_gym.optimum.solve(scenario, decoherence=True, max_utilisation=0.95)
env = gym.make("qnum_gym/Scenario-v0", scenario=scenario).unwrapped
env.reset(seed=0)
still = np.zeros(env.action_space.shape, np.float32)
for _ in range(50):
    env.step_controls(Controls(best.rates, best.werner))
for line in sys.stdin:
    begin = time.process_time()
    for _ in range(int(line)):
        env.step(still)
    print(int(line) / (time.process_time() - begin), flush=True)
"""


def scalar() -> Result:
    """AllocationEnv at the oracle's controls, steps per second, against the checkout that QNUM_GYM_BEFORE names."""
    here = Path(__file__).parents[1]
    folders = {"now": here, "before": Path(os.environ[BEFORE]).resolve()}
    measures: dict[str, Callable[[], float]] = {}
    with ExitStack() as stack:
        for network in NETWORKS:
            for name, folder in folders.items():
                worker = subprocess.Popen(
                    [sys.executable, "-c", WORKER, network],
                    env=os.environ | {"PYTHONPATH": str(folder)},
                    cwd=folder,
                    text=True,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
                stack.callback(worker.communicate)  # the end of its input ends it

                def run(worker: subprocess.Popen[str] = worker) -> float:
                    assert worker.stdin is not None
                    assert worker.stdout is not None
                    print(STEPS, file=worker.stdin, flush=True)
                    return float(worker.stdout.readline())

                measures[f"scalar env, {network}: {name}"] = run
        figures = in_turns("steps/s", measures, ROUNDS)
    ratios = [
        ratio(f"{env}: now / before", figures[f"{env}: now"], figures[f"{env}: before"])
        for env in (f"scalar env, {network}" for network in NETWORKS)
    ]
    return list(figures.values()), ratios

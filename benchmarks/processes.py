"""What is measured in new processes: seconds to the first step, and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.harness import Figure, Result, in_turns, ratio

START = """
import time; begin = time.perf_counter()
import qnum_gym
imported = time.perf_counter() - begin
import gymnasium as gym
env = gym.make("qnum_gym/Dumbbell-v0"); env.reset(seed=0); env.step(env.action_space.sample())
print(imported, time.perf_counter() - begin)
"""


def start() -> Result:
    """Seconds from nothing to the first step in a new process, with an empty and with a filled compile cache."""

    def process(cache: str) -> list[float]:
        environment = os.environ | {"NUMBA_CACHE_DIR": cache}
        arguments = [sys.executable, "-c", START]
        out = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment).stdout
        return [float(x) for x in out.split()]

    def cold() -> float:
        with tempfile.TemporaryDirectory() as empty:
            return process(empty)[1]

    with tempfile.TemporaryDirectory() as filled:
        process(filled)
        measures: dict[str, Callable[[], float]] = {
            "start: import qnum_gym": lambda: process(filled)[0],
            "start: first step, compile cache filled": lambda: process(filled)[1],
            "start: first step, compile cache empty": cold,
        }
        figures = list(in_turns("s", measures).values())
    goals = (1.0, 2.0, 30.0)
    ratios = [
        ratio(f"{goal:g} s / {figure.name[7:]}", Figure("", "", [goal] * 5), figure, 1.0)
        for goal, figure in zip(goals, figures, strict=True)
    ]
    return figures, ratios


MEMORY = """
from pathlib import Path
from qnum_gym.envs import AllocationVectorEnv

def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))

def running(n):
    envs = AllocationVectorEnv(n, "dumbbell", threads=1)
    envs.reset(seed=0)
    for _ in range(3):
        envs.step(envs.action_space.sample())
    return envs

few = running(1)
before = resident()
many = running(4096)
print((resident() - before) / 4096)
"""


def memory() -> Result:
    """Resident memory that one more of 4 096 environments takes (read from Linux's /proc)."""

    def each() -> float:
        return float(subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout)

    return list(in_turns("kB", {"memory: one Dumbbell environment": each}).values()), []

"""What is measured. Every case returns its figures and the ratios that matter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

import qnum_gym
from benchmarks import bare, before, processes
from benchmarks.harness import Figure, Ratio, Result, in_turns, ratio
from qnum_gym import agents, evaluation
from qnum_gym.envs import AllocationEnv, AllocationParallelVectorEnv, AllocationVectorEnv
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, Simulator, batch

RATE, WERNER, LINKS, LENGTH = 30.0, 0.967, 4, 10.0  # the five-node chain


def chain() -> Result:
    """A five-node chain against bare loops of the same model: delivered pairs per wall second."""
    simulator = Simulator(qnum_gym.scenario("chain"), 0)
    simulator.set_controls(rates=[RATE], werner=[WERNER] * LINKS)

    def ours() -> float:
        begin = time.perf_counter()
        telemetry = simulator.advance(20_000.0)
        return float(telemetry.sessions.delivered[0]) / (time.perf_counter() - begin)

    def heapq() -> float:
        delivered, _, _, wall = bare.run(LINKS, RATE, WERNER, LENGTH, 500.0, 1)
        return delivered / wall

    measures: dict[str, Callable[[], float]] = {"chain: qnum_gym": ours, "chain: bare Python heapq loop": heapq}
    with tempfile.TemporaryDirectory() as folder:
        compiler = shutil.which("g++") or shutil.which("clang++")
        if compiler:
            binary = Path(folder) / "bare"
            source = Path(__file__).with_name("bare.cpp")
            subprocess.run([compiler, "-O2", "-o", str(binary), str(source)], check=True)

            def cpp() -> float:
                arguments = [str(x) for x in (binary, LINKS, RATE, WERNER, LENGTH, 20_000, 1)]
                words = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
                return int(words[0]) / float(words[3])

            measures["chain: bare C++ loop (-O2, std::priority_queue)"] = cpp
        figures = in_turns("delivered pairs/s", measures)
    mine, others = figures["chain: qnum_gym"], list(figures.values())[1:]
    targets = {"chain: bare C++ loop (-O2, std::priority_queue)": 1.0}
    ratios = [ratio(f"{mine.name} / {other.name[7:]}", mine, other, targets.get(other.name)) for other in others]
    return list(figures.values()), ratios


def loaded(scenario: Scenario, load: float = 0.7) -> Simulator:
    """A simulator whose busiest links run at `load`."""
    a = scenario.arrays()
    sharing = np.maximum(np.bincount(a.hop_link, minlength=len(a.capacity)), 1)
    share = load * a.link_rates.rate(np.full(len(a.capacity), WERNER), a.capacity) / sharing
    rates = np.clip([share[list(route)].min() for route in scenario.routes], a.rate_min, a.rate_max)
    simulator = Simulator(scenario, 0)
    simulator.set_controls(rates, np.full(len(a.capacity), WERNER))
    return simulator


def scaling() -> Result:
    """Events per second from NSFNET to Waxman networks of 10 to 10 000 links, a session per four links."""
    networks = {"NSFNET, 21 links": qnum_gym.scenario("nsfnet")}
    for links in (10, 100, 1000, 10_000):
        sessions = max(links // 4, 2)
        waxman = qnum_gym.scenario("waxman", nodes=max(links * 2 // 3, 6), links=links, sessions=sessions)
        hops = np.mean([len(route) for route in waxman.routes])
        networks[f"Waxman, {links} links, {sessions} sessions of {hops:.1f} hops"] = waxman
    measures: dict[str, Callable[[], float]] = {}
    for name, scenario in networks.items():
        simulator = loaded(scenario)
        seconds = 2_000_000 / simulator.advance(5.0).events * 5.0

        def run(simulator: Simulator = simulator, seconds: float = seconds) -> float:
            begin = time.perf_counter()
            return simulator.advance(seconds).events / (time.perf_counter() - begin)

        measures[name] = run
    figures = list(in_turns("events/s", measures).values())
    return figures, [ratio("events/s, 10 000 links / 10 links", figures[-1], figures[1], 0.4)]


def environments() -> Result:
    """Dumbbell-v0 at the oracle's controls, about 400 events a step: environment steps per second."""
    scenario = qnum_gym.scenario("dumbbell", episode_length=10**6)
    best = qnum_gym.optimum.solve(scenario, decoherence=True, max_utilisation=0.95)
    scalar: Any = gym.make("qnum_gym/Dumbbell-v0", episode_length=10**6).unwrapped
    scalar.reset(seed=0)
    still = np.zeros(scalar.action_space.shape, np.float32)

    def settle(step: Callable[[Controls], object], controls: Controls) -> None:
        for _ in range(30):
            step(controls)

    def alone() -> float:
        settle(scalar.step_controls, Controls(best.rates, best.werner))
        begin = time.perf_counter()
        for _ in range(2000):
            scalar.step(still)
        return 2000 / (time.perf_counter() - begin)

    measures: dict[str, Callable[[], float]] = {"env steps: scalar": alone}
    cores = batch.cores()
    for n, threads in [(1, 1), (8, 1), (64, 1), (512, 1), *([(64, 2), (512, 2)] if cores > 1 else [])]:
        envs = AllocationVectorEnv(n, scenario, threads=threads)
        envs.reset(seed=0)
        controls = Controls(np.tile(best.rates, (n, 1)), np.tile(best.werner, (n, 1)))
        stills = np.zeros(envs.action_space.shape or (), np.float32)

        def together(envs=envs, controls=controls, stills=stills, n=n) -> float:
            settle(envs.step_controls, controls)
            steps = max(6400 // n, 12)
            begin = time.perf_counter()
            for _ in range(steps):
                envs.step(stills)
            return steps * n / (time.perf_counter() - begin)

        measures[f"env steps: vector, n = {n}, {threads} thread{'s'[: threads - 1]}"] = together
    figures = in_turns("steps/s", measures)
    one, goal = figures["env steps: vector, n = 64, 1 thread"], Figure("20 000", "steps/s", [20_000.0] * 5)
    ratios = [
        ratio("vector n = 64, 1 thread / 20 000 steps/s", one, goal, 1.0),
        ratio("scalar / 8 000 steps/s", figures["env steps: scalar"], Figure("8 000", "", [8000.0] * 5), 1.0),
    ]
    if cores > 1:
        two = figures["env steps: vector, n = 64, 2 threads"]
        ratios.append(ratio("vector n = 64, 2 threads / 1 thread", two, one, 1.7))
    return list(figures.values()), ratios


def policies() -> Result:
    """QPrimalDual-DA on 64 episodes of Dumbbell-v0: all at once, and one after the other."""
    scenario, seeds = qnum_gym.scenario("dumbbell"), range(64)
    policy, steps = agents.make("qprimaldual-da"), len(seeds) * scenario.episode_length

    def one_by_one() -> float:
        env = AllocationEnv(scenario)
        begin = time.perf_counter()
        for seed in seeds:
            evaluation.run_episode(env, policy, seed)
        return steps / (time.perf_counter() - begin)

    def at_once(threads: int) -> float:
        envs = AllocationVectorEnv(len(seeds), scenario, autoreset_mode="Disabled", threads=threads)
        begin = time.perf_counter()
        evaluation.run_episodes(envs, policy, seeds)
        return steps / (time.perf_counter() - begin)

    measures: dict[str, Callable[[], float]] = {"policy: one episode after the other": one_by_one}
    for threads in (1, 2) if batch.cores() > 1 else (1,):
        measures[f"policy: 64 at once, {threads} thread{'s'[: threads - 1]}"] = partial(at_once, threads)
    figures = in_turns("steps/s", measures)
    alone, *together = figures.values()
    return [alone, *together], [ratio(f"{each.name} / one by one", each, alone) for each in together]


def ppo() -> Result:
    """SB3's PPO, 64 environments, the same hyperparameters: through the adapter, and DummyVecEnv over scalar ones."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.logger import Logger

    from qnum_gym.integrations.sb3 import SB3VecEnv

    torch.set_num_threads(1)
    settings = {"n_steps": 128, "batch_size": 1024, "n_epochs": 4, "device": "cpu", "seed": 0}
    adapter = SB3VecEnv.make("qnum_gym/Dumbbell-v0", num_envs=64)
    dummy = make_vec_env("qnum_gym/Dumbbell-v0", n_envs=64)

    def learning(envs: Any, steps: int) -> Callable[[], float]:
        def learn() -> float:
            model = PPO("MlpPolicy", envs, **settings)
            model.set_logger(Logger(None, []))  # the default one leaves a folder
            begin = time.perf_counter()
            model.learn(steps)
            return steps / (time.perf_counter() - begin)

        return learn

    names = "PPO: adapter over the vector env, n = 64", "PPO: DummyVecEnv over scalar envs, n = 64"
    figures = in_turns("steps/s", {names[0]: learning(adapter, 32_768), names[1]: learning(dummy, 16_384)})
    return list(figures.values()), [ratio("PPO, adapter / DummyVecEnv", figures[names[0]], figures[names[1]], 3.0)]


def streams() -> Result:
    """A scalar environment over the families of `train`: milliseconds of a reset, by where its network comes from."""
    size, names = 2, qnum_gym.families.names("train")
    networks = [(name, index) for index in range(size) for name in names]

    def resets(env: AllocationEnv, count: int) -> float:
        begin = time.perf_counter()
        for _ in range(count):
            env.reset()
        return (time.perf_counter() - begin) / count * 1e3

    with tempfile.TemporaryDirectory() as folder:
        os.environ["QNUM_GYM_CACHE"] = folder
        stream = qnum_gym.Stream("train", size=size)
        stream.prepare()
        moving = AllocationEnv(stream, observation="graph")
        still = AllocationEnv(qnum_gym.Stream([stream.sample(*networks[2])]), observation="graph")
        single = AllocationEnv(stream.sample(*networks[2]), observation="graph")

        def per_network(prepared: bool) -> float:
            """A process that has drawn nothing yet, with or without files."""
            with tempfile.TemporaryDirectory() as empty:
                where = os.environ | {"QNUM_GYM_CACHE": folder if prepared else empty}
                arguments = [sys.executable, "-c", NETWORKS, str(size)]
                out = subprocess.run(arguments, capture_output=True, text=True, check=True, env=where).stdout
            return float(out)

        measures: dict[str, Callable[[], float]] = {
            "reset: the same network": lambda: resets(single, 300),
            "reset: a stream of one network": lambda: resets(still, 300),
            "reset: another network, met before": lambda: resets(moving, 300),
            "a network from files, each": lambda: per_network(True),
            "a network drawn and solved, each": lambda: per_network(False),
        }
        figures = list(in_turns("ms", measures).values())
    more = Figure("", "", [a - b for a, b in zip(figures[2].values, figures[0].values, strict=True)])
    return figures, [ratio("3 ms / what another network adds to a reset", Figure("", "", [3.0] * 5), more, 1.0)]


NETWORKS = """
import sys, time
import qnum_gym
stream = qnum_gym.Stream("train", size=int(sys.argv[1]))
qnum_gym.optimum.yardstick(qnum_gym.scenario("dumbbell"))  # what is loaded and compiled once
begin = time.perf_counter()
stream.prepare()
print((time.perf_counter() - begin) / sum(entry.count for entry in stream.entries) * 1e3)
"""


def stepping(envs: AllocationVectorEnv, steps: int) -> Callable[[], float]:
    """Env steps per second from an episode's tenth interval on, at actions that change nothing."""
    still = np.zeros(envs.action_space.shape or (), np.float32)

    def run() -> float:
        envs.reset(seed=0)
        for _ in range(10):
            envs.step(still)
        begin = time.perf_counter()
        for _ in range(steps):
            envs.step(still)
        return steps * envs.num_envs / (time.perf_counter() - begin)

    return run


def loads(names: Sequence[str], **options: Any) -> list[Scenario]:
    """The scenarios with the oracle's controls from the beginning, and no end."""
    found: list[Scenario] = []
    for name in names:
        scenario = qnum_gym.scenario(name, episode_length=10**6, **options)
        best = qnum_gym.optimum.solve(scenario, decoherence=True, max_utilisation=0.95)
        sessions = [
            s.model_copy(update={"initial_rate": r}) for s, r in zip(scenario.sessions, best.rates, strict=True)
        ]
        links = [l.model_copy(update={"initial_werner": w}) for l, w in zip(scenario.links, best.werner, strict=True)]
        found.append(scenario.replace(sessions=sessions, links=links))
    return found


def mixed() -> Result:
    """Networks of different sizes in one padded batch, and the same networks in batches of equal sizes: env steps/s."""
    scenarios, n = loads(("chain", "dumbbell", "grid", "nsfnet")), 16

    def equal(observation: str) -> Callable[[], float]:
        runs = [stepping(AllocationVectorEnv(n, s, threads=1, observation=observation), 20) for s in scenarios]
        return lambda: len(runs) / sum(1.0 / run() for run in runs)

    padded = AllocationVectorEnv(len(scenarios) * n, scenarios * n, threads=1, observation="graph")
    names = "flat, 4 batches of 16 equal", "graph, 4 batches of 16 equal", "graph, a padded batch of 64"
    measures = dict(zip(names, (equal("flat"), equal("graph"), stepping(padded, 20)), strict=True))
    flat, graph, together = in_turns("steps/s", {f"networks: {name}": run for name, run in measures.items()}).values()
    return [flat, graph, together], [
        ratio("graph, a padded batch / equal sizes", together, graph, 0.7),
        ratio("graph, a padded batch / flat, equal sizes", together, flat, 0.7),
    ]


def many_agents() -> Result:
    """NSFNET, 64 networks: all controllers as agents in one call a step, and the central vector environment."""
    (scenario,) = loads(["nsfnet"])
    central = AllocationVectorEnv(64, scenario, threads=1)
    native = AllocationParallelVectorEnv(64, scenario, threads=1)
    alone = qnum_gym.parallel_env(scenario)

    def pettingzoo() -> float:
        alone.reset(seed=0)
        still = {agent: np.zeros(2, np.float32) for agent in alone.agents}
        for _ in range(10):
            alone.step(still)
        begin = time.perf_counter()
        for _ in range(200):
            alone.step(still)
        return 200 / (time.perf_counter() - begin)

    measures = {
        "agents: vector environment, one central agent": stepping(central, 20),
        "agents: native, all controllers of each network": stepping(native, 20),
        "agents: AllocationParallelEnv, one network": pettingzoo,
    }
    figures = list(in_turns("networks/s", measures).values())
    vector, parallel, one = figures
    return figures, [
        ratio("agents, native / vector", parallel, vector, 0.5),
        ratio("agents, native / AllocationParallelEnv", parallel, one),
    ]


def fluid() -> Result:
    """NSFNET, 64 networks at the oracle's controls: packets and their fluid, with the environment and without it."""
    figures: list[Figure] = []
    ratios: list[Ratio] = []
    for measure in ("secret_key", "negativity"):
        (packets,) = loads(["nsfnet"], measure=measure)
        kinds = {"packets": packets, "fluid": packets.replace(simulator="fluid")}
        measures = {
            f"{measure}, {name}: env steps": stepping(AllocationVectorEnv(64, kind, threads=1), 20)
            for name, kind in kinds.items()
        }
        measures |= {f"{measure}, {name}: the simulator alone": advancing(kind, 20) for name, kind in kinds.items()}
        packet, flow, packet_alone, flow_alone = in_turns("steps/s", measures).values()
        figures += [packet, flow, packet_alone, flow_alone]
        ratios += [
            ratio(f"{measure}, env steps/s: fluid / packets", flow, packet, 10.0),
            ratio(f"{measure}, the simulator alone: fluid / packets", flow_alone, packet_alone),
        ]
    return figures, ratios


def advancing(scenario: Scenario, steps: int) -> Callable[[], float]:
    """Control intervals per second of 64 simulators alone, from the tenth on."""
    simulators = batch.Batch([Simulator(scenario, seed) for seed in range(64)], 1)

    def run() -> float:
        for simulator in simulators.simulators:
            simulator.reset()
        for _ in range(10):
            simulators.advance(1.0)
        begin = time.perf_counter()
        for _ in range(steps):
            simulators.advance(1.0)
        return steps * len(simulators.simulators) / (time.perf_counter() - begin)

    return run


CASES: dict[str, Callable[[], Result]] = {
    "chain": chain,
    "scaling": scaling,
    "environments": environments,
    "scalar": before.scalar,
    "mixed": mixed,
    "agents": many_agents,
    "fluid": fluid,
    "policies": policies,
    "ppo": ppo,
    "streams": streams,
    "start": processes.start,
    "memory": processes.memory,
}

"""Ctrl-C in a step, exceptions half-way, and threads that share an environment: no crash, no hang, no wrong numbers."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.error import ResetNeeded

import qnum_gym
from qnum_gym.envs import AllocationEnv, AllocationVectorEnv
from qnum_gym.simulator import Batch, Simulator

SCENARIO = qnum_gym.scenario("nsfnet", control_interval=5.0, initial_rate=100.0)


def make(kind: str) -> Any:
    if kind == "scalar":
        return AllocationEnv(SCENARIO)
    if kind == "parallel":
        return qnum_gym.parallel_env(SCENARIO)
    return AllocationVectorEnv(6, SCENARIO, threads=2)


def idle(env: Any) -> Any:
    if hasattr(env, "possible_agents"):
        return {agent: np.zeros(2, np.float32) for agent in env.possible_agents}
    return np.zeros(env.action_space.shape, np.float32)


def rollout(env: Any) -> list[np.ndarray]:
    env.reset(seed=3)
    steps = [env.step(idle(env)) for _ in range(3)]
    return [np.array(list(x.values()) if isinstance(x, dict) else x) for step in steps for x in step[:2]]


KINDS = ["scalar", "vector", "parallel"]


def interrupted(kind: str) -> None:
    """In a process of its own, where Ctrl-C may come at any time: two of them in steps and resets, then a rollout."""
    env = make(kind)
    expected = rollout(env)
    for k in range(8):
        timers = [threading.Timer(0.004 * (1 + k) * j, os.kill, (os.getpid(), signal.SIGINT)) for j in (1, 1.02)]
        left = 2
        while left:
            try:
                for timer in timers:
                    if timer.ident is None:
                        timer.start()
                while True:
                    env.reset(seed=k)
                    for _ in range(20):
                        env.step(idle(env))
                    if not any(timer.is_alive() for timer in timers):  # both came as one
                        left = 0
                        break
            except (
                KeyboardInterrupt,
                SystemError,
            ):  # SystemError: numba's for one that comes while it converts a result
                left -= 1
        time.sleep(0.01)
        for mine, theirs in zip(rollout(env), expected, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_after_an_interrupt_all_is_as_without(kind: str) -> None:
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r}); import test_threads as t; t.interrupted({kind!r})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_step_cut_short_asks_for_a_reset(kind: str, error, monkeypatch: pytest.MonkeyPatch) -> None:
    env = make(kind)
    expected = rollout(env)

    def fail(*_: object, **__: object) -> None:
        raise error

    inner = env.central if kind == "parallel" else env
    with monkeypatch.context() as patch:  # when the network has been stepped, and nothing else
        patch.setattr(inner, "_info", fail)
        with pytest.raises(error):
            env.step(idle(env))
    with pytest.raises(ResetNeeded, match="interrupted"):
        env.step(idle(env))
    for mine, theirs in zip(rollout(env), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_refused_action_asks_for_nothing() -> None:
    for kind in ("scalar", "vector"):
        env = make(kind)
        env.reset(seed=0)
        with pytest.raises(ValueError, match="valid"):
            env.step(idle(env) * np.nan)
        env.step(idle(env))


def test_a_simulator_that_was_interrupted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = SCENARIO.replace(initial_rate=1000.0)
    simulators = [Simulator(scenario, seed) for seed in range(3)]
    batch = Batch(simulators, threads=2)
    alone = Simulator(scenario, 0)
    for simulator in (*simulators, alone):
        monkeypatch.setattr(simulator, "make_room", lambda _: (_ for _ in ()).throw(MemoryError))
    for step in (lambda: batch.advance(60.0), lambda: alone.advance(60.0)):
        with pytest.raises(MemoryError):
            step()
        with pytest.raises(RuntimeError, match=r"interrupted: call reset\(\)"):
            step()
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="interrupted"):
        alone.set_controls(rates=np.ones(len(scenario.sessions)))
    for seed, simulator in enumerate(simulators):
        simulator.reset(seed)
    batch.advance(60.0)
    alone.reset(0)
    alone.advance(60.0)
    np.testing.assert_array_equal(simulators[0].telemetry().sessions.delivered, alone.telemetry().sessions.delivered)


@pytest.mark.parametrize("kind", [*KINDS, "simulator", "batch"])
def test_threads_take_turns(kind: str) -> None:
    if kind == "simulator":
        shared = Simulator(SCENARIO)
        act, reset = lambda: shared.advance(5.0), shared.reset
    elif kind == "batch":
        batch = Batch([Simulator(SCENARIO, seed) for seed in range(4)], threads=2)
        act, reset = lambda: batch.advance(5.0), lambda seed: [s.reset(seed) for s in batch.simulators]
    else:
        env = make(kind)
        env.reset(seed=0)
        act, reset = lambda: env.step(idle(env)), lambda seed: env.reset(seed=seed)
    errors: list[BaseException] = []

    def use(i: int) -> None:
        try:
            for k in range(40):
                act() if (k + i) % 7 else reset(k)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(i,), daemon=True) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120.0)
        assert not thread.is_alive()
    assert not errors


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_waits_for_nobody(kind: str) -> None:
    env = make(kind)
    env.reset(seed=0)
    with env._turn.lock:
        copy = pickle.loads(pickle.dumps(env))
        thread = threading.Thread(target=copy.step, args=(idle(env),), daemon=True)
        thread.start()
        thread.join(60.0)
        assert not thread.is_alive()

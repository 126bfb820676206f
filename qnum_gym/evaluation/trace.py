"""One episode looked at closely: what every session and link did over time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Policy
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.scores import Outcome
from qnum_gym.evaluation.episode_files import EpisodeFiles
from qnum_gym.evaluation.episodes import run_episode
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Telemetry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OVER_TIME = ("time", "score", "rate", "fidelity", "queue", "utilisation", "link_werner")  # of a `Trace`


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """An episode of T intervals, R sessions and L links.

    outcome: of the second half, as everywhere. events: of the simulator.
    time: [T] s. score: [T], and rate: [T, R] 1/s, fidelity: [T, R]: the last 20 intervals pooled, as in the reward;
        NaN where a session is off or has all its pairs.
    queue: [T, L] mean number at the link. utilisation: [T, L]. link_werner: [T, L] in force.
    injected, delivered, dropped: [R] in the whole episode; in_flight: [R] at its end.
    latency: [R] mean from injection to delivery, s; NaN if nothing was delivered.
    missing: [R] pairs that a session with `pairs` still lacks, -1 of others. duration: [R] s from begin to end; NaN if
    it is not over.
    """

    scenario: Scenario
    outcome: Outcome
    events: int
    time: Floats
    score: Floats
    rate: Floats
    fidelity: Floats
    queue: Floats
    utilisation: Floats
    link_werner: Floats
    injected: Ints
    delivered: Ints
    dropped: Ints
    in_flight: Ints
    latency: Floats
    missing: Ints
    duration: Floats


def trace(scenario: Scenario, policy: Policy, seed: int = 0, episode_files: EpisodeFiles | None = None) -> Trace:
    """Run one episode and keep what happened; the same draws as in `evaluate` with this seed.

    `episode_files` get every q-datagram and every interval.
    """
    rows: dict[str, list[Any]] = {name: [] for name in OVER_TIME}
    totals = np.zeros((3, len(scenario.sessions)), np.int64)
    waited = np.zeros(len(scenario.sessions))
    events, in_flight = 0, totals[0]
    env = AllocationEnv(scenario, info="none")
    (simulator,) = env.env_batch.simulators
    simulator.recording = episode_files is not None

    def watch(telemetry: Telemetry, of_window: Outcome) -> None:
        nonlocal events, in_flight
        sessions, links = telemetry.sessions, telemetry.links
        rate, fidelity = (np.where(sessions.active, x, np.nan) for x in (of_window.rate, of_window.fidelity))
        seen = (
            *(telemetry.time, of_window.score, rate, fidelity),
            *(links.mean_queue, links.utilisation, links.werner),
        )
        for kept, value in zip(rows.values(), seen, strict=True):
            kept.append(np.array(value))
        totals[:] += sessions.injected, sessions.delivered, telemetry.truth.dropped
        waited[:] += np.nan_to_num(sessions.mean_latency * sessions.delivered)
        events, in_flight = events + telemetry.events, telemetry.truth.in_flight
        if episode_files is not None:
            over = len(rows["time"]) == scenario.episode_length
            episode_files.add(telemetry, simulator.take_records(unfinished=over))

    outcome = run_episode(env, policy, seed, watch)
    injected, delivered, dropped = totals
    last = simulator.telemetry().sessions
    return Trace(
        scenario=scenario,
        outcome=outcome,
        events=events,
        **{name: np.array(kept) for name, kept in rows.items()},
        injected=injected,
        delivered=delivered,
        dropped=dropped,
        in_flight=in_flight,
        latency=np.divide(waited, delivered, out=np.full(len(delivered), np.nan), where=delivered > 0),
        missing=last.missing,
        duration=last.duration,
    )

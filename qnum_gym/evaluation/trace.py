"""One episode looked at closely: what every session and link did over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Policy
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.scores import Outcome
from qnum_gym.evaluation.episodes import run_episode
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Telemetry

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """An episode of T intervals, R sessions and L links.

    outcome: of the second half, as everywhere. events: of the simulator.
    time: [T] s. score: [T], and rate: [T, R] 1/s, fidelity: [T, R]: the last 20 intervals pooled, as in the reward.
    queue: [T, L] mean number at the link. utilisation: [T, L]. link_werner: [T, L] in force.
    injected, delivered, dropped: [R] in the whole episode; in_flight: [R] at its end.
    latency: [R] mean from injection to delivery, s; NaN if nothing was delivered.
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


def trace(scenario: Scenario, policy: Policy, seed: int = 0) -> Trace:
    """Run one episode and keep what happened; the same draws as in `evaluate` with this seed."""
    telemetries: list[Telemetry] = []
    outcomes: list[Outcome] = []

    def watch(telemetry: Telemetry, of_window: Outcome) -> None:
        telemetries.append(telemetry)
        outcomes.append(of_window)

    outcome = run_episode(AllocationEnv(scenario, info="none"), policy, seed, watch)
    sessions = [telemetry.sessions for telemetry in telemetries]
    delivered = np.sum([seen.delivered for seen in sessions], axis=0)
    waited = np.nansum([seen.mean_latency * seen.delivered for seen in sessions], axis=0)
    return Trace(
        scenario=scenario,
        outcome=outcome,
        events=sum(telemetry.events for telemetry in telemetries),
        time=np.array([telemetry.time for telemetry in telemetries]),
        score=np.array([found.score for found in outcomes]),
        rate=np.array([found.rate for found in outcomes]),
        fidelity=np.array([found.fidelity for found in outcomes]),
        queue=np.array([telemetry.links.mean_queue for telemetry in telemetries]),
        utilisation=np.array([telemetry.links.utilisation for telemetry in telemetries]),
        link_werner=np.array([telemetry.links.werner for telemetry in telemetries]),
        injected=np.sum([seen.injected for seen in sessions], axis=0),
        delivered=delivered,
        dropped=np.sum([telemetry.truth.dropped for telemetry in telemetries], axis=0),
        in_flight=telemetries[-1].truth.in_flight,
        latency=np.divide(waited, delivered, out=np.full(len(delivered), np.nan), where=delivered > 0),
    )

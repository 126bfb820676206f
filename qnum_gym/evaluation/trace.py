"""One episode looked at closely: what every session and link did over time, as numbers and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym import optimum
from qnum_gym.agents.policy import Policy
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.reward import WINDOW, Outcome
from qnum_gym.evaluation.runs import run_episode
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Telemetry
from qnum_gym.werner import fidelity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHOWN_LINKS = 4  # those with the longest queues; more cannot be told apart


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
    metrics: list[dict[str, Any]] = []

    def watch(telemetry: Telemetry, of_window: dict[str, Any]) -> None:
        telemetries.append(telemetry)
        metrics.append(of_window)

    outcome = run_episode(AllocationEnv(scenario), policy, seed, watch)
    sessions = [each.sessions for each in telemetries]
    delivered = np.sum([each.delivered for each in sessions], axis=0)
    waited = np.nansum([each.mean_latency * each.delivered for each in sessions], axis=0)
    return Trace(
        scenario=scenario,
        outcome=outcome,
        events=sum(each.events for each in telemetries),
        time=np.array([each.time for each in telemetries]),
        score=np.array([each["score"] for each in metrics]),
        rate=np.array([each["rate"] for each in metrics]),
        fidelity=np.array([each["fidelity"] for each in metrics]),
        queue=np.array([each.links.mean_queue for each in telemetries]),
        utilisation=np.array([each.links.utilisation for each in telemetries]),
        link_werner=np.array([each.links.werner for each in telemetries]),
        injected=np.sum([each.injected for each in sessions], axis=0),
        delivered=delivered,
        dropped=np.sum([each.truth.dropped for each in telemetries], axis=0),
        in_flight=telemetries[-1].truth.in_flight,
        latency=np.divide(waited, delivered, out=np.full(len(delivered), np.nan), where=delivered > 0),
    )


def draw_trace(trace: Trace, path: Path, title: str) -> None:
    """Draw rates, fidelities, score and queues over time to `path`, in its suffix's format; dashed: the optimum."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from qnum_gym.evaluation.figure import COLOURS, INK, style

    best = optimum.solve(trace.scenario, decoherence=True)
    figure: Any = Figure(figsize=(11.0, 6.4), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    (rates, fidelities), (scores, queues) = figure.subplots(2, 2, sharex=True)
    sessions, links = trace.scenario.sessions, trace.scenario.links
    pooled = f"last {WINDOW} intervals pooled"
    for r, session in enumerate(sessions):
        colour = COLOURS[r % len(COLOURS)]
        rates.plot(
            trace.time, trace.rate[:, r], color=colour, lw=1.4, label=f"{session.source} → {session.destination}"
        )
        rates.axhline(best.rates[r], color=colour, lw=0.9, ls=(0, (4, 3)))
        worth = np.where(trace.rate[:, r] > 0.0, trace.fidelity[:, r], np.nan)
        fidelities.plot(trace.time, worth, color=colour, lw=1.4)
        fidelities.axhline(float(fidelity(best.expected_werner[r])), color=colour, lw=0.9, ls=(0, (4, 3)))
    scores.plot(trace.time, trace.score, color=INK, lw=1.4)
    scores.axhline(1.0, color=INK, lw=0.9, ls=(0, (4, 3)))
    scores.set_ylim(max(-2.0, float(trace.score.min()) - 0.1), max(1.1, float(trace.score.max()) + 0.1))
    busiest = np.argsort(-trace.queue.mean(axis=0))[:SHOWN_LINKS]
    for i, l in enumerate(map(int, busiest)):
        name = f"{links[l].a} – {links[l].b}"
        queues.plot(trace.time, trace.queue[:, l], color=COLOURS[i], lw=1.2, label=name)
    rates.set_ylabel(f"delivered pairs/s ({pooled})")
    fidelities.set_ylabel(f"fidelity ({pooled})")
    scores.set_ylabel(f"score ({pooled})")
    queues.set_ylabel("mean number at the busiest links")
    for axes in (rates, fidelities, scores, queues):
        style(axes, "y")
    for axes, what, shown in ((rates, "session", len(sessions)), (queues, "link", len(busiest))):
        if shown <= len(COLOURS):
            place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 4, "frameon": False}
            axes.legend(title=what, fontsize=8, title_fontsize=8, columnspacing=1.2, handlelength=1.4, **place)
    for axes in (scores, queues):
        axes.set_xlabel("time (s)")
    figure.suptitle(f"{title}   dashed: the optimum", fontsize=10, color=INK)
    figure.savefig(path)

"""From 2 sessions over 5 links to 1 000 over 2 000: share of the optimum, and how long it takes to get there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from qnum_gym.config import Config
from qnum_gym.evaluation.statistics import mean
from qnum_gym.evaluation.style import DASHED, INK, MUTED, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Count, Experiment, PolicySpecs, Positive, Row
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.scenarios.topologies import scenario

SETTLED = 0.95  # of its mean over the second half, from when on a policy counts as converged


class Size(Config):
    """Of a Waxman network."""

    sessions: Count
    nodes: Annotated[int, Field(ge=2)]
    links: Count


@EXPERIMENTS.registers("scaling")
class Scaling(Experiment):
    """Sizes × Waxman networks drawn × policies.

    graphs: networks drawn of each size, and sessions in them. coherence_time: s.
    """

    sizes: Annotated[tuple[Size, ...], Field(min_length=1)]
    graphs: Count
    coherence_time: Positive
    policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            run
            for size in self.sizes
            for graph in range(self.graphs)
            for run in sweep.runs(
                {"sessions": size.sessions, "links": size.links, "graph": graph},
                scenario(
                    "waxman",
                    nodes=size.nodes,
                    links=size.links,
                    sessions=size.sessions,
                    seed=graph,
                    coherence_time=self.coherence_time,
                    episode_length=self.intervals,
                ),
                self.policies,
                self.seeds,
            )
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the oracle's, and the time (s) after which it stays near its final value."""
        rows = sweep.table(done)
        return [row | {"convergence_time": convergence_time(seen)} for row, (_, seen) in zip(rows, done, strict=True)]

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """Ratio to the oracle's gm, and convergence time, over sessions; mean and interval over graphs."""
        figure, axes = new_figure(1, 2, width=10.5, height=4.4, sharex=True)
        ratios, times = axes[0]
        labels = [policy.label for policy in self.policies]
        sizes = [float(size.sessions) for size in self.sizes]
        for label in labels:
            points = sweep.curves(done, {}, "sessions")[label]
            found = {x: np.array([point.ratio.mean for point in points if point.x == x]) for x in sizes}
            curve(ratios, sizes, [mean(found[x]) for x in sizes], label, labels)
            if label == sweep.ORACLE:
                continue
            took = [np.array([convergence_time(seen) for run, seen in done if _of(run, label, x)]) for x in sizes]
            curve(times, sizes, [mean(times_taken) for times_taken in took], label, labels)
        ratios.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
        ratios.axhline(0.9, color=MUTED, lw=0.7, ls=DASHED)
        ratios.set_ylim(-0.03, 1.15)
        ratios.set_ylabel("gm / oracle's")
        times.set_ylabel("convergence time (s)")
        times.set_ylim(bottom=0.0)
        for panel in axes[0]:
            panel.set_xscale("log")
            panel.set_xlabel("sessions")
        name_curves(figure, axes.flat)
        save(
            figure,
            path,
            f"Waxman networks: mean over {self.graphs} of each size, {self.seeds} seeds, bars 95 % over graphs",
        )


def convergence_time(seen: Recording) -> float:
    """When (s) gm of the last 20 intervals, mean over seeds, first was 0.95 of its mean over the second half."""
    reached = seen.window.mean(axis=1)
    final = reached[len(reached) // 2 :].mean()
    return float(seen.time[int(np.argmax(reached >= SETTLED * final))])


def _of(run: Run, label: str, sessions: float) -> bool:
    return run.labels["policy"] == label and run.labels["sessions"] == sessions

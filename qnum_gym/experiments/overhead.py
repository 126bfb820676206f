"""What control costs, and what is lost by saving it: the policies' scalars in headers and ACKs, and their updates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qnum_gym.evaluation.style import DASHED, INK, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Positive, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain


@EXPERIMENTS.registers("overhead")
class Overhead(Experiment):
    """Networks × control intervals × policies.

    control_intervals: s; an episode is as many seconds for each, `intervals` of the shortest or a few more.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    control_intervals: Annotated[tuple[Annotated[Positive, Field(allow_inf_nan=False)], ...], Field(min_length=1)]
    policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            run
            for name in self.networks
            for interval in self.control_intervals
            for run in sweep.runs(
                {"network": name, "control_interval": interval},
                network(name, control_interval=interval, episode_length=self._length(interval)),
                self.policies,
                self.seeds,
            )
        ]

    def _length(self, interval: float) -> int:
        """Of an episode with that control interval: even."""
        return 2 * math.ceil(self.intervals * min(self.control_intervals) / interval / 2.0)

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the oracle's, and at the end of the row scalars and updates."""
        return sweep.table(done)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: gm over scalars per pair at the shortest interval, and over updates at all of them."""
        figure, axes = new_figure(len(self.networks), 2, width=9.5, height=1.2 + 3.1 * len(self.networks), sharey=True)
        labels = [policy.label for policy in self.policies]
        for row, name in zip(axes, self.networks, strict=True):
            for label, points in sweep.curves(done, {"network": name}, "control_interval").items():
                if label == sweep.ORACLE:
                    continue
                (first,) = [point for point in points if point.x == min(self.control_intervals)]
                curve(row[0], [first.scalars.mean], [first.ratio], label, labels)
                moving = [point for point in points if point.updates.mean > 0.0]
                curve(
                    row[1], [point.updates.mean for point in moving], [point.ratio for point in moving], label, labels
                )
            for panel in row:
                panel.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
                panel.set_ylim(-0.03, 1.15)
            row[0].set_ylabel(f"{plain(name)}: gm / oracle's")
            row[0].set_xlim(left=-1.0)
            row[1].set_xscale("log")
        axes[-1, 0].set_xlabel(
            f"scalars per delivered pair, once per hop; control interval {min(self.control_intervals):g} s"
        )
        axes[-1, 1].set_xlabel("controller updates per second (few: long control intervals)")
        name_curves(figure, axes.flat)
        save(figure, path, f"Control overhead: mean over {self.seeds} paired seeds, bars 95 %")

"""Utility against gain, from sluggish to oscillating, for several feedback delays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.style import DASHED, INK, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, NotNegative, Positive, Row, network
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.labels import plain

POLICY = "qprimaldual-da"


@EXPERIMENTS.registers("stability")
class Stability(Experiment):
    """Networks × feedback delays × gains k of the links of QPrimalDual-DA.

    feedback_delays: in control intervals. window: q-datagrams without an answer that a session may have.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    feedback_delays: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    gains: Annotated[tuple[Annotated[Positive, Field(allow_inf_nan=False)], ...], Field(min_length=1)]
    window: Annotated[int, Field(ge=1)]

    def runs(self) -> list[Run]:
        """One for each combination, and the oracle for each of them to be compared with."""
        return [
            run
            for name in self.networks
            for delay in self.feedback_delays
            for gain in self.gains
            for run in sweep.runs(
                {"network": name, "feedback_delay": delay, "gain": gain},
                network(name, feedback_delay=delay, window=self.window, episode_length=self.intervals),
                [PolicySpec.of(POLICY, gain=gain)],
                self.seeds,
                series=True,
            )
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the oracle's, and how far the rates swing in the second half."""
        rows = sweep.table(done)
        return [row | {"swing": swing(seen)} for row, (_, seen) in zip(rows, done, strict=True)]

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: gm, and swing."""
        figure, axes = new_figure(len(self.networks), 2, width=9.5, height=1.2 + 3.1 * len(self.networks), sharex=True)
        labels = [_label(delay) for delay in self.feedback_delays]
        for row, name in zip(axes, self.networks, strict=True):
            for delay, label in zip(self.feedback_delays, labels, strict=True):
                case = {"network": name, "feedback_delay": delay}
                points = sweep.curves(done, case, "gain")[POLICY]
                here = [
                    seen
                    for run, seen in done
                    if run.policy.label == POLICY and all(run.labels[key] == value for key, value in case.items())
                ]
                swings = [Interval(*(swing(seen),) * 3) for seen in here]
                curve(row[0], self.gains, [point.ratio for point in points], label, labels)
                curve(row[1], self.gains, swings, label, labels)
            row[0].axhline(1.0, color=INK, lw=0.9, ls=DASHED)
            row[0].set_ylabel(f"{plain(name)}: gm / oracle's")
            row[0].set_ylim(-0.03, 1.15)
            row[1].set_ylabel("swing of log R")
            row[1].set_yscale("log")
        for panel in axes[-1]:
            panel.set_xscale("log")
            panel.set_xlabel("gain k")
        name_curves(figure, axes.flat)
        save(figure, path, f"{POLICY}: mean over {self.seeds} paired seeds, bars 95 %; by feedback delay in intervals")


def swing(seen: Recording) -> float:
    """Standard deviation over the second half of log R, root mean square over sessions; of the first seed."""
    rates = np.log(seen.rates[len(seen.rates) // 2 :])
    return float(np.sqrt(rates.var(axis=0).mean()))


def _label(delay: float) -> str:
    return f"delay {delay:g}"

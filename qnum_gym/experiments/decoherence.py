"""What memories that decay ask for: gm, queues and storage times of the variants of QPrimalDual."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qnum_gym.experiments import sweep
from qnum_gym.experiments.drawing import INK, curve, name_curves, new_figure, save
from qnum_gym.experiments.experiment import Contenders, Experiment, Network, Positive, Row
from qnum_gym.experiments.runs import Done, Run
from qnum_gym.topologies import scenario


class Decoherence(Experiment):
    """Networks × coherence times × policies; times must allow an optimum, and be finite."""

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    coherence_times: Annotated[tuple[Annotated[Positive, Field(allow_inf_nan=False)], ...], Field(min_length=1)]  # s
    policies: Contenders

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            run
            for name in self.networks
            for memory in self.coherence_times
            for run in sweep.runs(
                {"network": name, "coherence_time": memory},
                scenario(name, coherence_time=memory, episode_length=self.intervals),
                self.policies,
                self.seeds,
            )
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the oracle's, the longest queue, mean storage time."""
        return sweep.table(done)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: gm, the longest queue, the mean storage time."""
        figure, axes = new_figure(len(self.networks), 3, width=11.5, height=1.2 + 3.1 * len(self.networks), sharex=True)
        labels = [each.label for each in self.policies]
        for row, name in zip(axes, self.networks, strict=True):
            for label, points in sweep.curves(done, {"network": name}, "coherence_time").items():
                x = [each.x for each in points]
                curve(row[0], x, [each.ratio for each in points], label, labels)
                curve(row[1], x, [each.queue for each in points], label, labels)
                curve(row[2], x, [each.storage for each in points], label, labels)
            row[0].set_ylabel(f"{name}: gm / oracle's")
            row[0].set_ylim(-0.03, 1.15)
            row[1].set_ylabel("mean number at the longest queue")
            row[2].set_ylabel("mean storage time of a pair (s)")
            for panel in row[1:]:
                panel.set_yscale("log")
        for panel in axes[-1]:
            panel.set_xscale("log")
            panel.set_xlabel("coherence time T_c (s)")
        low, high = (end(self.coherence_times) for end in (min, max))
        for panel in axes[:, 2]:
            panel.plot([low, high], [0.02 * low, 0.02 * high], color=INK, lw=0.9, ls=":", label="T_c / 50")
        name_curves(figure, axes.flat)
        save(figure, path, f"Memories that decay: mean over {self.seeds} paired seeds, bars 95 %")

"""What memories that decay ask for: gm, queues and storage times of the variants of QPrimalDual; parallel swapping."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import Field

from qnum_gym.evaluation.style import INK, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Positive, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain

PARALLEL = ", parallel"  # ends the label of a policy where swapping is parallel


@EXPERIMENTS.registers("decoherence")
class Decoherence(Experiment):
    """Networks × coherence times × policies; times must allow an optimum, and be finite.

    parallel: policies for the same networks with parallel swapping, for which their formula is approximate; the
    measure is the oracle of sequential swapping all the same.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    coherence_times: Annotated[tuple[Annotated[Positive, Field(allow_inf_nan=False)], ...], Field(min_length=1)]  # s
    policies: PolicySpecs
    parallel: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [run for name in self.networks for memory in self.coherence_times for run in self._at(name, memory)]

    def _at(self, name: str, memory: float) -> Iterator[Run]:
        case, base = {"network": name, "coherence_time": memory}, network(name, coherence_time=memory)
        sequential = base.replace(episode_length=self.intervals)
        yield from sweep.runs(case, sequential, self.policies, self.seeds)
        parallel = sequential.replace(swapping="parallel")
        for policy in self.parallel:
            yield Run({**case, "policy": policy.label + PARALLEL}, parallel, policy, self.seeds)

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the sequential oracle's, the longest queue, mean storage time."""
        return [
            row | {"swapping": run.scenario.swapping} for row, (run, _) in zip(sweep.table(done), done, strict=True)
        ]

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: gm, the longest queue, the mean storage time; gm with parallel swapping."""
        figure, axes = new_figure(len(self.networks), 4, width=14.5, height=1.2 + 3.1 * len(self.networks), sharex=True)
        labels = list(dict.fromkeys(policy.label for policy in (*self.policies, *self.parallel)))
        for row, name in zip(axes, self.networks, strict=True):
            for label, points in sweep.curves(done, {"network": name}, "coherence_time").items():
                x = [point.x for point in points]
                if label.endswith(PARALLEL):
                    curve(row[3], x, [point.ratio for point in points], label.removesuffix(PARALLEL), labels)
                    continue
                curve(row[0], x, [point.ratio for point in points], label, labels)
                curve(row[1], x, [point.queue for point in points], label, labels)
                curve(row[2], x, [point.storage for point in points], label, labels)
            row[0].set_ylabel(f"{plain(name)}: gm / oracle's")
            row[3].set_ylabel("parallel swapping: gm / sequential oracle's")
            row[0].set_ylim(-0.03, 1.15)
            row[3].set_ylim(-0.03, 1.3)
            row[1].set_ylabel("mean number at the longest queue")
            row[2].set_ylabel("mean storage time of a pair (s)")
            for panel in row[1:3]:
                panel.set_yscale("log")
        for panel in axes[-1]:
            panel.set_xscale("log")
            panel.set_xlabel("coherence time T_c (s)")
        low, high = (end(self.coherence_times) for end in (min, max))
        for panel in axes[:, 2]:
            panel.plot([low, high], [0.02 * low, 0.02 * high], color=INK, lw=0.9, ls=":", label="T_c / 50")
        name_curves(figure, axes.flat)
        save(figure, path, f"Memories that decay: mean over {self.seeds} paired seeds, bars 95 %")

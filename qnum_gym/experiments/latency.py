"""How well policies bear late news: feedback delay, slow headers, lost messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from qnum_gym.evaluation.style import DASHED, INK, MUTED, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, NotNegative, PolicySpecs, Row
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain
from qnum_gym.scenarios import LIGHT_SPEED, Scenario
from qnum_gym.scenarios.topologies import scenario

Probability: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]

SWEEPS = {
    "feedback_delay": "feedback delay (control intervals)",
    "latency_factor": "header latency (times that of light)",
    "message_loss": "share of messages lost per hop",
}


@EXPERIMENTS.registers("latency")
class Latency(Experiment):
    """Three sweeps on each network, one disturbance at a time; the oracle, which hears nothing, is the measure.

    feedback_delays: in control intervals. latency_factors: of every header's way. message_losses: per hop.
    window: unacknowledged q-datagrams a session may have; large, so that it is news which is late, not permission.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    feedback_delays: tuple[NotNegative, ...]
    latency_factors: tuple[Annotated[float, Field(ge=1.0, allow_inf_nan=False)], ...]
    message_losses: tuple[Probability, ...]
    window: Annotated[int, Field(ge=1)]
    policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            run
            for name in self.networks
            for what, value, case in self._cases(name)
            for run in sweep.runs({"network": name, "varied": what, "value": value}, case, self.policies, self.seeds)
        ]

    def _cases(self, name: str) -> Iterator[tuple[str, float, Scenario]]:
        base = scenario(name, episode_length=self.intervals, window=self.window)
        for delay in self.feedback_delays:
            yield "feedback_delay", delay, base.replace(feedback_delay=delay * base.control_interval)
        for factor in self.latency_factors:
            yield "latency_factor", factor, slowed(base, factor)
        for loss in self.message_losses:
            yield "message_loss", loss, base.replace(message_loss=loss)

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, and its ratio to the oracle's under the same disturbance."""
        return sweep.table(done)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network, a column per disturbance."""
        figure, axes = new_figure(len(self.networks), 3, width=11.5, height=1.2 + 3.1 * len(self.networks), sharey=True)
        labels = [*(policy.label for policy in self.policies), sweep.ORACLE]
        for row, name in zip(axes, self.networks, strict=True):
            for panel, (what, title) in zip(row, SWEEPS.items(), strict=True):
                for label, points in sweep.curves(done, {"network": name, "varied": what}, "value").items():
                    if label != sweep.ORACLE:
                        curve(panel, [point.x for point in points], [point.ratio for point in points], label, labels)
                panel.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
                panel.axhline(0.9, color=MUTED, lw=0.7, ls=DASHED)
                panel.set_ylim(-0.03, 1.15)
                panel.set_xlabel(title)
                if what == "latency_factor":
                    panel.set_xscale("log")
            row[0].set_ylabel(f"{plain(name)}: gm / oracle's")
        name_curves(figure, axes.flat)
        save(figure, path, f"Late and lost news: mean over {self.seeds} paired seeds, bars 95 %; dashed: 1 and 0.9")


def slowed(base: Scenario, factor: float) -> Scenario:
    """The same network with every header `factor` times as long on its way as light in the fibre."""
    links = [
        link.model_copy(update={"processing_delay": (factor - 1.0) * link.length_km / LIGHT_SPEED})
        for link in base.links
    ]
    return base.replace(links=links, sessions=base.sessions)

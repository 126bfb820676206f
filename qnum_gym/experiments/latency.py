"""How well policies bear late news, and pairs late use: feedback delay, slow headers, lost messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.style import DASHED, INK, MUTED, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, NotNegative, PolicySpecs, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain
from qnum_gym.scenarios import LIGHT_SPEED, Scenario
from qnum_gym.scenarios.fields import Hold

Probability: TypeAlias = Annotated[float, Field(ge=0.0, lt=1.0)]

SWEEPS = {
    "feedback_delay": "feedback delay (control intervals)",
    "latency_factor": "header latency (times that of light)",
    "message_loss": "share of messages lost per hop",
}
HELD = ("feedback_delay", "latency_factor")  # what a pair that is stored until the ACK is back suffers from


@EXPERIMENTS.registers("latency")
class Latency(Experiment):
    """Three sweeps on each network, one disturbance at a time; the oracle, which hears nothing, is the measure.

    feedback_delays: in control intervals. latency_factors: of every header's way. message_losses: per hop.
    window: unacknowledged q-datagrams a session may have; large, so that it is news which is late, not permission.
    holds: the first one with all `policies`, the others with `held_policies`. Left out is where the oracle cannot serve
    all sessions: a pair that waits for a late ACK is soon worth nothing.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    holds: Annotated[tuple[Hold, ...], Field(min_length=1)]
    feedback_delays: Annotated[tuple[NotNegative, ...], Field(min_length=1)]
    latency_factors: Annotated[tuple[Annotated[float, Field(ge=1.0, allow_inf_nan=False)], ...], Field(min_length=1)]
    message_losses: tuple[Probability, ...]
    window: Annotated[int, Field(ge=1)]
    policies: PolicySpecs
    held_policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            run
            for name in self.networks
            for hold in self.holds
            for what, value, case in self._cases(name, hold)
            for run in sweep.runs(
                {"network": name, "hold": hold, "varied": what, "value": value},
                case,
                self.policies if hold == self.holds[0] else self.held_policies,
                self.seeds,
            )
        ]

    def _cases(self, name: str, hold: str) -> Iterator[tuple[str, float, Scenario]]:
        base = network(name, hold=hold, episode_length=self.intervals, window=self.window)
        late = {delay: base.replace(feedback_delay=delay * base.control_interval) for delay in self.feedback_delays}
        slow = {factor: slowed(base, factor) for factor in self.latency_factors}
        lossy = {loss: base.replace(message_loss=loss) for loss in self.message_losses}
        for what, cases in zip(SWEEPS, (late, slow, lossy), strict=True):
            for value, case in cases.items():
                if sweep.all_are_served(case):
                    yield what, value, case

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, its ratio to the oracle's under the same disturbance, and what is kept of gm.

        `kept` is gm over that of the oracle at the first value of the same sweep, with the same hold.
        """
        rows = sweep.table(done)
        for row, (run, seen) in zip(rows, done, strict=True):
            kept = self._kept(done, run.labels, seen.geometric_mean)
            row |= {f"kept{suffix}": value for suffix, value in zip(("", "_low", "_high"), kept, strict=True)}
        return rows

    def _kept(self, done: Sequence[Done], labels: Mapping[str, str | float], gm: Any) -> Interval:
        """gm [S] over that of the oracle where the disturbance is least."""
        alike = {key: labels[key] for key in ("network", "hold", "varied")} | {"policy": sweep.ORACLE}
        least = next(seen for run, seen in done if alike.items() <= run.labels.items())
        return statistics.ratio(gm, least.geometric_mean)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: a column per disturbance; then what `-da` keeps of gm with each hold."""
        n = len(self.networks)
        figure, axes = new_figure(n, len(SWEEPS) + len(HELD), width=18.0, height=1.2 + 3.1 * n, sharey=True)
        labels = [*(policy.label for policy in self.policies), *map(_held, self.holds)]
        for row, name in zip(axes, self.networks, strict=True):
            for panel, (what, title) in zip(row, SWEEPS.items(), strict=False):
                case = {"network": name, "hold": self.holds[0], "varied": what}
                for label, points in sweep.curves(done, case, "value").items():
                    if label != sweep.ORACLE:
                        curve(panel, [point.x for point in points], [point.ratio for point in points], label, labels)
                panel.axhline(0.9, color=MUTED, lw=0.7, ls=DASHED)
                panel.set_xlabel(title)
            for panel, what in zip(row[len(SWEEPS) :], HELD, strict=True):
                self._draw_kept(done, {"network": name, "varied": what}, panel, labels)
                panel.set_xlabel(SWEEPS[what])
            for panel in row:
                panel.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
                panel.set_ylim(-0.03, 1.15)
            for panel in (row[1], row[4]):
                panel.set_xscale("log")
            row[3].set_xscale("symlog", linthresh=0.1)
            row[3].set_xlim(left=0.0)
            row[0].set_ylabel(f"{plain(name)}: gm / oracle's")
            row[3].set_ylabel(f"gm / undisturbed oracle's, {plain(self.held_policies[0].label)}")
        name_curves(figure, axes.flat, columns=6)
        save(figure, path, f"Late and lost news: mean over {self.seeds} paired seeds, bars 95 %; dashed: 1 and 0.9")

    def _draw_kept(
        self, done: Sequence[Done], case: Mapping[str, str | float], panel: Any, labels: Sequence[str]
    ) -> None:
        """What the first of `held_policies` keeps of gm, a curve for each hold; the oracle dotted."""
        for hold in self.holds:
            for policy in (self.held_policies[0].label, sweep.ORACLE):
                wanted = {**case, "hold": hold, "policy": policy}
                here = [(run, seen) for run, seen in done if wanted.items() <= run.labels.items()]
                x = [float(run.labels["value"]) for run, _ in here]
                kept = [self._kept(done, run.labels, seen.geometric_mean) for run, seen in here]
                if policy == sweep.ORACLE:
                    panel.plot(x, [interval.mean for interval in kept], color=INK, lw=0.9, ls=":")
                else:
                    curve(panel, x, kept, _held(hold), labels)


def _held(hold: str) -> str:
    return f"hold: {hold}"


def slowed(base: Scenario, factor: float) -> Scenario:
    """The same network with every header `factor` times as long on its way as light in the fibre."""
    links = [
        link.model_copy(update={"processing_delay": (factor - 1.0) * link.length_km / LIGHT_SPEED})
        for link in base.links
    ]
    return base.replace(links=links, sessions=base.sessions)

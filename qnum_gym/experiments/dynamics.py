"""When things change: sessions come and go, a link loses light, a link fails and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from pydantic import Field, model_validator

from qnum_gym.agents.static import oracle
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.style import DASHED, FAINT, INK, look, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Positive, Row, network
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.labels import plain
from qnum_gym.scenarios import Scenario

Case: TypeAlias = Literal["sessions", "loss", "failure"]

RECOVERED = 0.95  # of the oracle's gm, from when on a change counts as answered
LOSS = 6.0  # dB, over the whole fibre
TITLES = {
    "sessions": "every second session comes and goes",
    "loss": "the dearest link loses 6 dB",
    "failure": "a link fails and returns",
}


class Answer(NamedTuple):
    """How a policy answered a change: s until gm was 0.95 of the oracle's (NaN: never), and the integral over them."""

    recovery: float
    lost: Interval


@EXPERIMENTS.registers("dynamics")
class Dynamics(Experiment):
    """Networks × cases × policies. Something changes at `begin` and is undone at `end`, s.

    Cases: `sessions`: those with odd index are there from `begin` to `end` only; `loss`: the link with the highest
    price at the optimum loses 6 dB; `failure`: the first link of the first session is down.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]
    begin: Positive
    end: Positive
    policies: PolicySpecs

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.begin < self.end < self.intervals:
            raise ValueError(f"begin = {self.begin:g}, end = {self.end:g}: must be begin < end < intervals")
        return self

    def runs(self) -> list[Run]:
        """One for each combination, and the oracle, which knows of every change at once."""
        return [
            run
            for name in self.networks
            for case in self.cases
            for run in sweep.runs(
                {"network": name, "case": case}, self.changing(name, case), self.policies, self.seeds, series=True
            )
        ]

    def changing(self, name: str, case: Case) -> Scenario:
        """The named network with what happens to it."""
        base = network(name, episode_length=self.intervals, control_interval=1.0)
        if case == "sessions":
            passing = {"start": self.begin, "stop": self.end}
            sessions = [
                session.model_copy(update=passing) if r % 2 else session for r, session in enumerate(base.sessions)
            ]
            return base.replace(sessions=sessions)
        if case == "loss":
            link = base.links[int(np.argmax(oracle(base, 0.0).link_prices))]
            changes = {"extra_loss_db": LOSS}, {"extra_loss_db": 0.0}
        else:
            link = base.links[base.routes[0][0]]
            changes = {"up": False}, {"up": True}
        ends: dict[str, Any] = {"link": (link.a, link.b)}
        times = self.begin, self.end
        return base.replace(
            events=[{"time": time, **ends, **change} for time, change in zip(times, changes, strict=True)]
        )

    def table(self, done: Sequence[Done]) -> list[Row]:
        """Per run and change: time until gm is 0.95 of the oracle's again, utility lost until then."""
        best = {
            (run.labels["network"], run.labels["case"]): seen
            for run, seen in done
            if run.labels["policy"] == sweep.ORACLE
        }
        rows: list[Row] = []
        for run, seen in done:
            stretches = {"cold start": (0.0, self.begin), "change": (self.begin, self.end)}
            for what, stretch in {**stretches, "undone": (self.end, float(self.intervals))}.items():
                answer = answered(seen, best[run.labels["network"], run.labels["case"]], *stretch)
                row: Row = {**run.labels, "what": what, "time": stretch[0]}
                row["recovery"] = None if np.isnan(answer.recovery) else answer.recovery
                names = ("utility_lost", "utility_lost_low", "utility_lost_high")
                rows.append(row | dict(zip(names, answer.lost, strict=True)))
        return rows

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network, a column per case: gm as a share of the oracle's over time."""
        shape = len(self.networks), len(self.cases)
        figure, axes = new_figure(*shape, width=1.0 + 3.8 * shape[1], height=1.2 + 2.8 * shape[0], sharey=True)
        labels = [policy.label for policy in self.policies]
        for row, name in zip(axes, self.networks, strict=True):
            for panel, case in zip(row, self.cases, strict=True):
                here = {
                    str(run.labels["policy"]): seen
                    for run, seen in done
                    if (run.labels["network"], run.labels["case"]) == (name, case)
                }
                panel.axvspan(self.begin, self.end, color=FAINT, alpha=0.6, lw=0)
                self._draw_case(panel, here, labels)
                panel.set_title(f"{plain(name)}: {TITLES[case]}", fontsize=9, color=INK)
            row[0].set_ylabel("gm / oracle's")
        for panel in axes[-1]:
            panel.set_xlabel("time (s)")
        name_curves(figure, axes.flat)
        save(
            figure,
            path,
            f"Changes at {self.begin:g} s, undone at {self.end:g} s: mean of {self.seeds} seeds, last 20 s",
        )

    def _draw_case(self, panel: Any, here: Mapping[str, Recording], labels: Sequence[str]) -> None:
        best = here[sweep.ORACLE]
        for label, seen in here.items():
            if label != sweep.ORACLE:
                share = seen.window.mean(axis=1) / best.window.mean(axis=1)
                panel.plot(seen.time, share, color=look(label, labels)[0], lw=1.3, label=plain(label))
        panel.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
        panel.set_ylim(-0.03, 1.25)


def answered(seen: Recording, best: Recording, begin: float, end: float) -> Answer:
    """How the policy of `seen` answered the change at `begin` (s), before the one at `end`, beside the oracle's `best`.

    Recovered is it from the first moment on at which gm, pooled over 20 intervals, mean over seeds, is 0.95 of the
    oracle's. Utility lost until then: the integral of log(gm of the oracle / gm), s, with its interval over seeds.
    """
    there = (seen.time > begin) & (seen.time <= end)
    time, mine, theirs = seen.time[there], seen.window[there], best.window[there]
    well = mine.mean(axis=1) >= RECOVERED * theirs.mean(axis=1)
    fallen = np.flatnonzero(~well)
    if not len(fallen):
        return Answer(0.0, Interval(0.0, 0.0, 0.0))
    back = fallen[0] + np.flatnonzero(well[fallen[0] :])
    until = int(back[0]) if len(back) else len(time)
    floor = 1e-4  # 1/s, as in the measured utility
    lost = np.log(np.maximum(theirs, floor) / np.maximum(mine, floor))[:until]
    seconds = np.diff(time, prepend=begin)[:until]
    recovery = float(time[until] - begin) if until < len(time) else float("nan")
    return Answer(recovery, statistics.mean(seconds @ lost))

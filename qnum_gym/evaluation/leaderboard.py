"""The leaderboard: what each policy scores on the static and on the dynamic tasks, and against the baseline."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qnum_gym import __version__
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.provenance import identity
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.evaluation.suite import BASELINE, SEEDS, TASKS, Scores, trainings
from qnum_gym.evaluation.tables import aligned

KINDS = ("static", "dynamic")


@dataclass(frozen=True, slots=True)
class Row:
    """A policy's place. Intervals are 95 % (`statistics`).

    Attributes:
        label: whose it is. trainings: of that method, one if it is not trained. knows: see `Policy.knows`.
        overall: interquartile mean over all tasks; the order of rows.
        kinds: interquartile mean over the tasks of each kind there is, "static" and "dynamic".
        improvement: by kind, P(a run of it is better than one of `qprimaldual-da`).
        difference: by kind, mean difference of its score to that of `qprimaldual-da` on the same task and seed.
        families: interquartile mean over each family's tasks.
        worst: mean of the worst tenth of runs, over all tasks.
    """

    label: str
    trainings: Sequence[PolicySpec]
    knows: str
    overall: Interval
    kinds: Mapping[str, Interval]
    improvement: Mapping[str, Interval]
    difference: Mapping[str, Interval]
    families: Mapping[str, Interval]
    worst: Interval


class Leaderboard:
    """The leaderboard of a split.

    Attributes:
        split: its name. scores: what it is made of.
        kinds: the families of each kind that there is. rows: best first.
    """

    def __init__(self, split: str, scores: Scores, policies: Sequence[PolicySpec]) -> None:
        self.split, self.scores = split, scores
        dynamic = {task.family: task.dynamic for task in scores.tasks}
        kinds = {kind: [name for name, is_so in dynamic.items() if is_so == (kind == "dynamic")] for kind in KINDS}
        self.kinds = {kind: names for kind, names in kinds.items() if names}
        rows = [self._row(label, specs) for label, specs in trainings(policies).items()]
        self.rows = sorted(rows, key=lambda row: -row.overall.mean)

    @property
    def families(self) -> list[str]:
        """Static ones first."""
        return [name for names in self.kinds.values() for name in names]

    def _row(self, label: str, specs: Sequence[PolicySpec]) -> Row:
        scores = self.scores
        pairs = {kind: (scores.of(label, names), scores.of(BASELINE, names)) for kind, names in self.kinds.items()}
        return Row(
            label,
            specs,
            specs[0].make().knows,
            overall=statistics.interquartile_mean(scores.of(label)),
            kinds={kind: statistics.interquartile_mean(ours) for kind, (ours, _) in pairs.items()},
            improvement={kind: statistics.probability_of_improvement(*pair) for kind, pair in pairs.items()},
            difference={kind: statistics.paired_difference(*pair) for kind, pair in pairs.items()},
            families={name: statistics.interquartile_mean(scores.of(label, [name])) for name in self.families},
            worst=statistics.worst_decile(scores.of(label)),
        )

    @property
    def size(self) -> str:
        """How much was run."""
        families, tasks, seeds = len(self.families), len(self.scores.tasks), len(self.scores.seeds)
        return f"{families} families × {tasks // families} tasks × {seeds} paired seeds"

    @property
    def warning(self) -> str:
        """Where seeds or tasks are few, what that does, and how many would do; else empty."""
        seeds, tasks = len(self.scores.seeds), len(self.scores.tasks) // len(self.families)
        found = statistics.few(seeds, SEEDS)
        if tasks < TASKS:
            found.append(f"{tasks} tasks leave out kinds of network or change, {TASKS} of each family would do")
        return f"Warning: {'; '.join(found)}." if found else ""

    @property
    def caption(self) -> str:
        """What the numbers are."""
        several = "".join(
            f", {row.label} {len(row.trainings)} trainings" for row in self.rows if len(row.trainings) > 1
        )
        return (
            f"{self.split}: {self.size}{several}. "
            "Score: share of the optimum, gm / gm*, in the second half of the episode. IQM: interquartile "
            "mean of scores [95 % bootstrap interval]. Worst decile: mean of the worst tenth of scores. "
            f"P: probability that a run is better than one of {BASELINE} on the same task."
        )

    @property
    def _notes(self) -> str:
        return "\n\n".join(filter(None, (self.caption, self.warning)))

    def table(self) -> list[list[str]]:
        """The leaderboard as text, header first."""
        kinds = list(self.kinds)
        header = ["policy", "knows", *(f"IQM, {kind}" for kind in kinds), *(f"P, {kind}" for kind in kinds)]
        rows = [[*header, "worst decile", *self.families]]
        for row in self.rows:
            own = row.label == BASELINE
            cells = [f"{row.kinds[kind]:.3f}" for kind in kinds]
            cells += ["–" if own else f"{row.improvement[kind]:.2f}" for kind in kinds]
            cells.append(f"{row.worst:.3f}")
            cells += [f"{row.families[name].mean:.3f}" for name in self.families]
            rows.append([row.label, row.knows, *cells])
        return rows

    def text(self) -> str:
        """For a terminal: without the families."""
        narrow = [row[: 3 + 2 * len(self.kinds)] for row in self.table()]
        return f"{self._notes}\n\n{aligned(narrow)}"

    def markdown(self) -> str:
        """The leaderboard as a table in Markdown."""
        header, *rows = self.table()
        rows = [[f"`{label}`", *others] for label, *others in rows]
        lines = [header, ["---"] * len(header), *rows]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        return f"{table}\n\n{self._notes}\n"

    def csv(self) -> str:
        """A line per policy, training, task and seed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["policy", "member", "family", "task", "seed", "geometric_mean", "score"])
        for row in self.rows:
            means, scores = self.scores.geometric_means[row.label], self.scores.of(row.label)
            for k, training in enumerate(row.trainings):
                for t, task in enumerate(self.scores.tasks):
                    for s, seed in enumerate(self.scores.seeds):
                        where = [row.label, training.policy, task.family, task.scenario.name, seed]
                        writer.writerow([*where, repr(float(means[k, s, t])), repr(float(scores[k, s, t]))])
        return text.getvalue()

    def as_json(self) -> dict[str, Any]:
        """Everything that the leaderboard says, and what it is made of."""
        return {
            "suite": self.split,
            "version": __version__,
            "warning": self.warning,
            "seeds": list(self.scores.seeds),
            "families": self.kinds,
            "tasks": {task.scenario.name: task.scenario.fingerprint for task in self.scores.tasks},
            "policies": {row.label: _as_json(row) for row in self.rows},
        }


def _as_json(row: Row) -> dict[str, Any]:
    def listed(intervals: Mapping[str, Interval]) -> dict[str, Any]:
        return {name: {"mean": value.mean, "ci95": [value.low, value.high]} for name, value in intervals.items()}

    return {
        "knows": row.knows,
        "members": {training.policy: identity(training) for training in row.trainings},
        "iqm": listed({"all": row.overall, **row.kinds}),
        "worst_decile": listed({"all": row.worst}),
        "probability_of_improvement": listed(row.improvement),
        "difference": listed(row.difference),
        "families": listed(row.families),
    }

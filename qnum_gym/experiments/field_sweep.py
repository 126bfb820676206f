"""Any fields of any scenario × policies: what `qnum-gym sweep` runs. [ours]"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field

from qnum_gym.config import ConfigError
from qnum_gym.envs.rendering.table import unit
from qnum_gym.evaluation.style import DASHED, INK, curve, name_curves, new_figure, save
from qnum_gym.evaluation.tables import aligned
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import Experiment, PolicySpecs, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain
from qnum_gym.scenarios import Scenario

Values: TypeAlias = Annotated[tuple[Any, ...], Field(min_length=1)]
Label: TypeAlias = "str | float"

MOST_ROWS = 8  # of panels, in the figure
WIDE = 8.0  # the largest value over the smallest, from which on the axis is logarithmic
TOLD = {  # columns of the text, and their digits
    "score": 3, "gm": 4, "ratio": 3, "queue": 2, "latency": 4, "lost": 4, "updates": 2,
}  # fmt: skip
INTERVALS = ("score", "gm", "ratio", "queue")


class FieldSweep(Experiment):
    """All combinations of the values of some fields × policies; the oracle always runs, as the measure.

    scenario: a name, a YAML file or a network's file. fixed: fields that all points have. vary: values by field;
    `links.length_km` and `links[2].length_km` are fields too, and so are the keywords of a topology or network file.
    """

    scenario: str
    fixed: dict[str, Any]
    vary: Annotated[dict[str, Values], Field(min_length=1)]
    policies: PolicySpecs

    @cached_property
    def points(self) -> tuple[tuple[dict[str, Label], Scenario], ...]:
        """Each combination's values, and its scenario.

        Raises:
            ConfigError: a field that is unknown or given twice, a value that cannot be, two values that are the same.
        """
        if "episode_length" in (*self.fixed, *self.vary):
            raise ConfigError("episode_length: valid: `intervals`, for all points alike")
        if both := sorted(self.fixed.keys() & self.vary.keys()):
            raise ConfigError(f"{both[0]}: is fixed and varied; valid: one of them")
        for field, values in self.vary.items():
            if len({_label(value) for value in values}) < len(values):
                raise ConfigError(f"{field} = {list(values)}: valid: each value once")
        found: list[tuple[dict[str, Label], Scenario]] = []
        for values in itertools.product(*self.vary.values()):
            point = dict(zip(self.vary, values, strict=True))
            scenario = network(self.scenario, **{**self.fixed, **point}, episode_length=self.intervals)
            found.append(({field: _label(value) for field, value in point.items()}, scenario))
        return tuple(found)

    def runs(self) -> list[Run]:
        """The oracle and every policy at every point."""
        return [
            run for labels, scenario in self.points for run in sweep.runs(labels, scenario, self.policies, self.seeds)
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """See `sweep.table`."""
        return sweep.table(done)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """Over the first field: ratio to the oracle's gm, gm, the longest queue; a row for each case of the others."""
        first, *others = self.vary
        cases = [dict(zip(others, values, strict=True)) for values in itertools.product(*map(self._labels, others))]
        shown = cases[:MOST_ROWS]
        figure, axes = new_figure(len(shown), 3, width=12.0, height=1.2 + 2.9 * len(shown), sharex=True)
        labels = [policy.label for policy in self.policies]
        for row, case in zip(axes, shown, strict=True):
            for label, found in self._curves(done, case).items():
                x = [place for place, _ in found]
                for panel, name in zip(row, ("ratio", "gm", "queue"), strict=True):
                    curve(panel, x, [getattr(point, name) for _, point in found], label, labels)
            row[0].set_title(plain(_words(case)), fontsize=9, color=INK, loc="left")
            row[0].axhline(1.0, color=INK, lw=0.9, ls=DASHED)
            for panel, what in zip(
                row,
                ("gm / oracle's", f"gm ({unit(self.points[0][1])})", "mean number at the longest queue"),
                strict=True,
            ):
                panel.set_ylabel(what)
        for panel in axes[-1]:
            panel.set_xlabel(plain(first))
            self._set_scale(panel)
        name_curves(figure, axes.flat)
        more = f"; {len(cases) - len(shown)} more combinations in the table" * (len(cases) > len(shown))
        save(figure, path, f"{self.scenario}: mean over {self.seeds} paired seeds, bars 95 %{more}")

    def _labels(self, field: str) -> list[Label]:
        return [_label(value) for value in self.vary[field]]

    @property
    def _numbers(self) -> list[float] | None:
        """The values of the first field, if they are numbers: its axis."""
        values = self._labels(next(iter(self.vary)))
        numbers = [float(value) for value in values if not isinstance(value, str)]
        return numbers if len(numbers) == len(values) and max(numbers) < float("inf") else None

    def _curves(self, done: Sequence[Done], case: Mapping[str, Label]) -> dict[str, list[tuple[float, sweep.Point]]]:
        """Per policy its places on the first field's axis, in order, and what it came to there."""
        first = next(iter(self.vary))
        found: dict[str, list[tuple[float, sweep.Point]]] = {}
        for place, value in enumerate(self._labels(first)):
            x = float(place) if self._numbers is None else self._numbers[place]
            for label, (point,) in sweep.curves(done, {**case, first: value}).items():
                found.setdefault(label, []).append((x, point))
        return {label: sorted(points, key=lambda entry: entry[0]) for label, points in found.items()}

    def _set_scale(self, panel: Any) -> None:
        numbers = self._numbers
        if numbers is None:
            values = self._labels(next(iter(self.vary)))
            panel.set_xticks(range(len(values)), [plain(value, 20) for value in values])
        elif min(numbers) > 0.0 and max(numbers) > WIDE * min(numbers):
            panel.set_xscale("log")


def text(rows: Sequence[Row]) -> str:
    """The rows of a sweep's table as aligned text: what is varied, the policy, and the main columns."""
    varied = list(rows[0])[: list(rows[0]).index("seeds")]
    table: list[Sequence[str]] = [(*varied, *(("gm / oracle" if name == "ratio" else name) for name in TOLD))]
    for row in rows:
        cells = [value if isinstance(value := row[key], str) else f"{value:g}" for key in varied]
        table.append((*cells, *(_told(row, name, digits) for name, digits in TOLD.items())))
    return aligned(table)


def _told(row: Row, name: str, digits: int) -> str:
    value = row[name]
    if value is None:
        return "none"
    if name not in INTERVALS:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{row[name + '_low']:.{digits}f}, {row[name + '_high']:.{digits}f}]"


def _words(case: Mapping[str, Label]) -> str:
    return ", ".join(f"{field} = {value if isinstance(value, str) else f'{value:g}'}" for field, value in case.items())


def _label(value: object) -> Label:
    """As a column of the table has it: a number, or text."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    return "none" if value is None else str(value)

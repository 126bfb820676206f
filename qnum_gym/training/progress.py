"""Training as it is seen on the terminal: a bar with speed and time left, a line per evaluation."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from qnum_gym.training.callback import Row


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f} steps/s" if task.speed else "", style="cyan")


class Bar:
    """Progress on standard error; where that is no terminal, only the lines.

    Args:
        total: control intervals of the whole run.
    """

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True, highlight=False)
        columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=self._console, disable=not self._console.is_terminal)
        self._task = self._progress.add_task("steps", total=total)
        self._resting = True

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def steps(self, done: int) -> None:
        """`done` control intervals of the whole run are over."""
        if self._resting:  # where the run begins, or goes on: speed is measured from here
            self._progress.reset(self._task, completed=done)
            self._resting = False
        self._progress.update(self._task, completed=done)

    def evaluated(self, row: Row) -> None:
        """One line: score, geometric mean, and against the oracle where it ran."""
        line = (
            f"{row['steps']:>9,.0f} steps: score {row['score']:.3f} [{row['score_low']:.3f}, {row['score_high']:.3f}]"
        )
        line += f", gm {row['geometric_mean']:.3f}"
        if "geometric_mean_over_oracle" in row:
            line += f" = {row['geometric_mean_over_oracle']:.3f} of the oracle's"
        self._console.print(line, soft_wrap=True)

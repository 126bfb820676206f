"""An experiment from its runs to table and figure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from qnum_gym import __version__
from qnum_gym.evaluation import runner
from qnum_gym.evaluation.processes import Processes
from qnum_gym.evaluation.runner import Progress, untold
from qnum_gym.evaluation.store import Store
from qnum_gym.experiments.experiment import Experiment, Row
from qnum_gym.experiments.recording import Done, Recording
from qnum_gym.files import write

CACHE = "cache"  # folder within that of the results


@dataclass(frozen=True, slots=True)
class Report:
    """What an experiment came to: rows of its table, files written, runs, episodes in all and run now, seconds."""

    name: str
    rows: list[Row]
    files: tuple[Path, ...]
    runs: int
    episodes: int
    simulated: int
    seconds: float


def reproduce(
    name: str,
    experiment: Experiment,
    folder: Path,
    processes: Processes,
    progress: Progress = untold,
    formats: Sequence[str] = ("png",),
) -> Report:
    """Run what was not run before, then write NAME.csv, NAME.json and the figure, NAME.png.

    Args:
        name: of the experiment.
        experiment: its configuration.
        folder: of the results, made if it is not there; the store is in it.
        processes: that simulate.
        progress: told of the episodes.
        formats: of the figure: png, pdf, svg.

    Raises:
        optimum.InfeasibleError: a scenario of the configuration has no allocation that is worth anything.
        WorkerError: a process has died.
    """
    begun = perf_counter()
    counts: list[tuple[int, int]] = []

    def tell(done: int, total: int, what: str) -> None:
        counts.append((done, total))
        progress(done, total, what)

    runs = experiment.runs()
    found = runner.run([run.job for run in runs], store=Store(folder / CACHE), processes=processes, progress=tell)
    done = [Done(run, Recording.of(records)) for run, records in zip(runs, found, strict=True)]
    (kept, total), *_ = counts
    rows = experiment.table(done)
    files = tuple(folder / f"{name}.{suffix}" for suffix in ("csv", "json", *formats))
    write(files[0], _csv(rows))
    described = {"experiment": name, "version": __version__, "configuration": experiment.model_dump()}
    write(files[1], json.dumps(_of_json({**described, "rows": rows}), indent=1, allow_nan=False))
    for path in files[2:]:
        experiment.draw(done, path)
    return Report(name, rows, files, len(runs), total, total - kept, perf_counter() - begun)


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_json(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: "inf" and None."""
    if isinstance(value, dict):
        return {key: _of_json(content) for key, content in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_of_json(content) for content in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

"""An experiment from its runs to table and figure."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, cast

from qnum_gym import __version__
from qnum_gym.experiments.cache import Cache
from qnum_gym.experiments.experiment import Experiment, Row
from qnum_gym.experiments.runs import Done, record
from qnum_gym.files import write

CACHE = "cache"  # folder within that of the results

Progress = Callable[[int, int, str], None]  # (runs done, in all, what the last one was)


@dataclass(frozen=True, slots=True)
class Report:
    """What an experiment came to: rows of its table, files written, runs in all and those simulated now, seconds."""

    name: str
    rows: list[Row]
    files: tuple[Path, ...]
    runs: int
    simulated: int
    seconds: float


def reproduce(name: str, experiment: Experiment, folder: Path, progress: Progress) -> Report:
    """Run what is not in the cache, then write NAME.csv, NAME.json and NAME.png.

    Args:
        name: of the experiment.
        experiment: its configuration.
        folder: of the results, made if it is not there; the cache is in it.
        progress: told of each run.

    Raises:
        optimum.InfeasibleError: a scenario of the configuration has no allocation that is worth anything.
    """
    begun = perf_counter()
    cache, runs, simulated = Cache(folder / CACHE), experiment.runs(), 0
    done: list[Done] = []
    for run in runs:
        recording = cache.get(run)
        if recording is None:
            recording = record(run)
            cache.put(run, recording)
            simulated += 1
        done.append(Done(run, recording))
        progress(len(done), len(runs), ", ".join(str(label) for label in run.labels.values()))
    rows = experiment.table(done)
    files = tuple(folder / f"{name}.{suffix}" for suffix in ("csv", "json", "png"))
    write(files[0], _csv(rows))
    described = {"experiment": name, "version": __version__, "configuration": experiment.model_dump()}
    write(files[1], json.dumps(_of_json({**described, "rows": rows}), indent=1, allow_nan=False))
    experiment.draw(done, files[2])
    return Report(name, rows, files, len(runs), simulated, perf_counter() - begun)


def _csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _of_json(value: Any) -> Any:
    """JSON knows neither infinity nor NaN: "inf" and None."""
    if isinstance(value, dict):
        return {key: _of_json(each) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_of_json(each) for each in cast("list[Any]", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value

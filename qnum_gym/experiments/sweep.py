"""Policies against the oracle as something is varied: what most of the experiments are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from qnum_gym.agents.static import oracle
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.experiments.experiment import Row
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.optimum import InfeasibleError, Problem
from qnum_gym.scenarios import Scenario

ORACLE = "oracle"
UNKNOWN = Interval(float("nan"), float("nan"), float("nan"))


class Point(NamedTuple):
    """What one policy came to at one place, over seeds."""

    x: float
    gm: Interval
    ratio: Interval  # to the oracle's gm
    queue: Interval
    storage: Interval  # time, s
    scalars: Interval  # that the policy sends, per delivered pair
    updates: Interval  # of controllers, 1/s


def runs(
    case: Mapping[str, str | float],
    scenario: Scenario,
    policies: Sequence[PolicySpec],
    seeds: int,
    series: bool = False,
) -> Iterable[Run]:
    """The oracle and every other policy on one scenario."""
    yield Run({**case, "policy": ORACLE}, scenario, PolicySpec.of(ORACLE), seeds, series)
    for policy in policies:
        if policy.label != ORACLE:
            yield Run({**case, "policy": policy.label}, scenario, policy, seeds, series)


def all_are_served(s: Scenario) -> bool:
    """Whether the oracle serves every session with f > 0."""
    if Problem.from_scenario(s).hopeless.any():
        return False
    try:
        oracle(s, 0.0)
    except InfeasibleError:
        return False
    return True


def table(done: Sequence[Done]) -> list[Row]:
    """A row per run: labels; means over seeds with 95 % intervals; gm as a ratio to the oracle's on equal seeds."""
    oracles = _oracles(done)
    rows: list[Row] = []
    for run, seen in done:
        point = _point(0.0, seen, oracles[_case(run)])
        row: Row = {**run.labels, "seeds": run.seeds}
        columns = {"gm": point.gm, "ratio": point.ratio, "score": statistics.mean(seen.score), "queue": point.queue}
        for name, interval in columns.items():
            for suffix, value in zip(("", "_low", "_high"), interval, strict=True):
                row[name + suffix] = _known(value)
        names = ("latency", "storage", "lost", "scalars", "updates")
        singles = {name: getattr(seen, name) for name in names}
        rows.append(row | {name: _known(_mean(values).mean) for name, values in singles.items()})
    return rows


def curves(done: Sequence[Done], case: Mapping[str, str | float], x: str | None = None) -> dict[str, list[Point]]:
    """Per policy its points over label `x` (all at 0 if none), of the runs whose labels agree with `case`."""
    oracles = _oracles(done)
    found: dict[str, list[Point]] = {}
    for run, seen in done:
        if all(run.labels.get(key) == value for key, value in case.items()):
            point = _point(float(run.labels[x]) if x else 0.0, seen, oracles[_case(run)])
            found.setdefault(str(run.labels["policy"]), []).append(point)
    return found


def _oracles(done: Sequence[Done]) -> dict[frozenset[tuple[str, str | float]], Recording]:
    return {_case(run): seen for run, seen in done if run.labels["policy"] == ORACLE}


def _case(run: Run) -> frozenset[tuple[str, str | float]]:
    return frozenset((key, value) for key, value in run.labels.items() if key != "policy")


def _point(x: float, seen: Recording, oracle: Recording) -> Point:
    return Point(
        x,
        statistics.mean(seen.geometric_mean),
        statistics.ratio(seen.geometric_mean, oracle.geometric_mean),
        statistics.mean(seen.queue),
        _mean(seen.storage),
        _mean(seen.scalars),
        _mean(seen.updates),
    )


def _mean(values: np.ndarray) -> Interval:
    """Over the seeds that have a value."""
    there = values[~np.isnan(values)]
    return statistics.mean(there) if len(there) else UNKNOWN


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value

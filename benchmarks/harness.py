"""Measuring several things in turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
ROUNDS = 5


@dataclass(frozen=True)
class Figure:
    """One measured quantity: a value per round."""

    name: str
    unit: str
    values: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Ratio:
    """One figure over another, round by round, and what it ought to be at least."""

    name: str
    values: list[float]
    target: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.values)


Result = tuple[list[Figure], list[Ratio]]  # of a case


def in_turns(unit: str, measures: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, Figure]:
    """Each measure once per round, after one round that does not count."""
    values: dict[str, list[float]] = {name: [] for name in measures}
    for round in range(rounds + 1):
        for name, measure in measures.items():
            print(f"  {name} ({round}/{rounds}) …", end="\r", file=sys.stderr, flush=True)
            value = measure()
            if round > 0:
                values[name].append(value)
    print(" " * 100, end="\r", file=sys.stderr)
    return {name: Figure(name, unit, each) for name, each in values.items()}


def ratio(name: str, upper: Figure, lower: Figure, target: float | None = None) -> Ratio:
    return Ratio(name, [a / b for a, b in zip(upper.values, lower.values, strict=True)], target)


def machine() -> dict[str, object]:
    """Where and with what the figures were made."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass  # not Linux: platform's word will do
    packages = ("gymnasium", "numba", "numpy", "qnum-gym", "stable-baselines3", "torch")
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=RESULTS.parent)
    dirty = subprocess.run(["git", "status", "--porcelain"], capture_output=True, text=True, cwd=RESULTS.parent)
    return {
        "date": date.today().isoformat(),
        "commit": git.stdout.strip() + (" with changes" if dirty.stdout.strip() else ""),
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def number(value: float) -> str:
    """Three digits that count, thousands apart."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def table(figures: list[Figure], ratios: list[Ratio]) -> str:
    """All medians with their smallest and largest value."""
    lines = [f"{'':58}{'median':>14}{'smallest':>14}{'largest':>14}"]
    for f in figures:
        cells = (number(x) for x in (f.median, min(f.values), max(f.values)))
        lines.append(f"{f.name:58}" + "".join(f"{cell:>14}" for cell in cells) + f"  {f.unit}")
    lines.append("")
    for r in ratios:
        cells = (f"{x:.3g}×" for x in (r.median, min(r.values), max(r.values)))
        verdict = "" if r.target is None else f"  target {r.target:g}: {'met' if r.median >= r.target else 'MISSED'}"
        lines.append(f"{r.name:58}" + "".join(f"{cell:>14}" for cell in cells) + verdict)
    return "\n".join(lines)


def save(name: str, figures: list[Figure], ratios: list[Ratio]) -> Path:
    """benchmarks/results/NAME.json"""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {
        "machine": machine(),
        "figures": [asdict(f) | {"median": f.median} for f in figures],
        "ratios": [asdict(r) | {"median": r.median} for r in ratios],
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    return path

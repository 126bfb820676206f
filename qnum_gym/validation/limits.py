"""Where the formula of model.md §7.1 is off, and by how much: `python -m qnum_gym.validation.limits --out DIR`. [ours]

No law: the formula is an approximation, and this measures it. A network of one load and physics is simulated once; as
every q-datagram's log(W/Π w) is proportional to 1/T_c, its record gives W at every coherence time.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from qnum_gym import files
from qnum_gym.evaluation.style import INK, MUTED, new_figure, save
from qnum_gym.labels import plain
from qnum_gym.optimum import Problem
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Simulator
from qnum_gym.simulator.state import FATES
from qnum_gym.validation.running import LARGE, STRETCHES, line, loaded

Floats = NDArray[np.float64]
Network: TypeAlias = Callable[[float], tuple[Scenario, Floats, Floats]]  # load -> scenario, rates, Werner parameters

LOADS = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # of the busiest link
COHERENCE_TIMES = tuple(10.0 ** (k / 2) for k in range(9))  # in mean services of the busiest link
LEAST = 1 / 3  # where the formula has less of Π w left, nothing is measured: such a pair's negativity is 0
SHOWN = (0.5, 0.9)  # loads of the summary
PERCENT = (1.0, 3.0, 10.0)  # contours
UNSURE = 0.5  # standard error, %: half the smallest contour
CYCLE = 1e-3  # s
QUICK = 0.002  # of the simulated time


@dataclass(frozen=True, slots=True)
class Point:
    """The mean W of a session that the formula expects and that the simulator has, as shares of Π w.

    load: asked of the busiest link. coherence: T_c in mean services of that link. error: standard error of `measured`.
    """

    case: str
    load: float
    coherence: float
    expected: float
    measured: float
    error: float

    @property
    def off(self) -> float:
        """By how much the simulator's W is above the formula's, %."""
        return 100.0 * (self.measured / self.expected - 1.0)

    @property
    def off_error(self) -> float:
        """Standard error of `off`, %."""
        return 100.0 * self.error / self.expected


def chain(hops: int, p: float, **physics: Any) -> Network:
    """One session over equal links without length, whose attempts succeed with probability p."""
    options: dict[str, Any] = {"window": LARGE, "memory": LARGE, **physics}

    def network(load: float) -> tuple[Scenario, Floats, Floats]:
        scenario = line(*[2.0 * p / CYCLE] * hops, cycle_time=CYCLE, werner_range=(0.5, 0.999), **options)
        return scenario, np.array([load * p / CYCLE]), np.full(hops, 0.5)

    return network


def dumbbell(load: float) -> tuple[Scenario, Floats, Floats]:
    """As it is shipped, with equal rates."""
    scenario, rates, werner = loaded("dumbbell", load)
    return scenario.model_copy(update={"window": 100, "memory": 100}), rates, werner


CASES: dict[str, Network] = {
    **{f"p = {p:g}, {n} hops": chain(n, p) for p in (0.1, 0.5, 1.0) for n in (2, 4, 8)},
    "window 10, 4 hops": chain(4, 0.01, window=10),
    "memory 10, 4 hops": chain(4, 0.01, memory=10),
    "lifo, 4 hops": chain(4, 0.01, discipline="lifo"),
    "even pacing, 4 hops": chain(4, 0.01, pacing="even"),
    "parallel, 4 hops": chain(4, 0.01, swapping="parallel"),
    "dumbbell, w = 0.95": dumbbell,
}


def points(case: str, load: float, effort: float, seed: int = 1) -> Iterator[Point]:
    """A point for each coherence time that leaves enough of W, from one run in stretches."""
    scenario, rates, werner = CASES[case](load)
    a = scenario.arrays()
    arrivals = np.bincount(a.hop_link, rates[a.hop_session], len(werner))
    capacity = a.capacity * (1.0 - werner)
    service = 1.0 / float(capacity[np.argmax(arrivals / capacity)])
    fresh = np.add.reduceat(np.log(werner)[a.hop_link], a.hop_start[:-1])  # [R] log Π w
    networks = {c: scenario.model_copy(update={"coherence_time": c * service}) for c in COHERENCE_TIMES}
    formula = {c: Problem.from_scenario(s).expected_werner(rates, werner) for c, s in networks.items()}
    shares = {c: float(np.mean(w / np.exp(fresh))) for c, w in formula.items()}
    expected = {c: share for c, share in shares.items() if share >= LEAST}
    longest = COHERENCE_TIMES[-1]
    simulator = Simulator(networks[longest], seed, recording=True)
    simulator.set_controls(rates=rates, werner=werner)
    seconds = effort * float(np.clip(4e4 / (1.0 - load) ** 2, 3e6, 3e7)) / float(arrivals.sum())
    simulator.advance(0.1 * seconds)
    simulator.take_records()
    kept: list[Floats] = []
    for _ in range(STRETCHES):
        simulator.advance(seconds / STRETCHES)
        records = simulator.take_records()
        records = records[records["fate"] == FATES.index("delivered")]
        lost = np.log(records["werner"]) - fresh[records["session"]]
        kept.append(np.array([np.exp(lost * (longest / c)).mean() for c in expected]))
    errors = np.std(kept, axis=0, ddof=1) / np.sqrt(STRETCHES)
    for (c, share), mean, error in zip(expected.items(), np.mean(kept, axis=0), errors, strict=True):
        yield Point(case, load, c, share, float(mean), float(error))


def table(found: Sequence[Point]) -> str:
    """As CSV; `off` in %."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*(field.name for field in fields(Point)), "off"])
    writer.writerows([(*astuple(point), point.off) for point in found])
    return text.getvalue()


def summary(found: Sequence[Point]) -> str:
    """As a Markdown table: how much of W the formula has left where it begins to be off by each contour."""
    heads = ["case", *(f"at load {load:g}: {level:g} %" for load in SHOWN for level in PERCENT)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for case in dict.fromkeys(point.case for point in found):
        cells = [case]
        for load in SHOWN:
            here = sorted((abs(p.off), p.expected) for p in found if (p.case, p.load) == (case, load))
            off, left = np.array(here).T
            cells += [f"{np.interp(level, off, left):.2f}" if off[-1] > level else "–" for level in PERCENT]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(found: Sequence[Point], path: Path) -> None:
    """A map per case: filled between contours; a dot where it is not known well."""
    from matplotlib.colors import BoundaryNorm, ListedColormap  # slow to import

    levels = [-100.0, *(-level for level in reversed(PERCENT)), *PERCENT, 1e4]
    colours = ListedColormap(["#08519c", "#6baed6", "#c6dbef", "#e5e7eb", "#fdd0a2", "#fd8d3c", "#a63603"])
    fills: dict[str, Any] = {"cmap": colours, "norm": BoundaryNorm(levels, len(levels) - 1)}
    cases = list(dict.fromkeys(point.case for point in found))
    rows = -(-len(cases) // 3)
    figure, axes = new_figure(rows, 3, width=9.0, height=1.0 + 2.4 * rows, sharex=True, sharey=True)
    drawn: Any = None
    for panel, case in zip(axes.flat, cases, strict=False):
        off: Any = np.full((len(COHERENCE_TIMES), len(LOADS)), np.nan)
        for point in (p for p in found if p.case == case):
            x, y = LOADS.index(point.load), COHERENCE_TIMES.index(point.coherence)
            off[y, x] = point.off
            if point.off_error > max(UNSURE, abs(point.off) / 10.0):
                panel.plot(x, np.log10(point.coherence), ".", ms=3, color=MUTED)
        panel.grid(False)
        grid = np.arange(len(LOADS)), np.log10(COHERENCE_TIMES)
        drawn = panel.contourf(*grid, off, levels, **fills)
        lines = panel.contour(*grid, off, levels[1:-1], colors=INK, linewidths=0.7)
        panel.clabel(lines, fmt=lambda level: f"{level:+g}", fontsize=6.5)  # pyright: ignore[reportUnknownLambdaType]
        panel.set_title(plain(case), fontsize=8.5, color=INK)
        panel.set_xticks(grid[0], [f"{load:g}" for load in LOADS])
        panel.set_yticks(range(0, 5, 2), ["1", "100", "10⁴"])
    figure.supxlabel("utilisation", fontsize=9, color=INK)
    figure.supylabel("coherence time / mean service", fontsize=9, color=INK)
    bar = figure.colorbar(drawn, ax=axes, ticks=levels[1:-1], spacing="uniform", shrink=0.5, aspect=40)
    bar.set_label("simulated W above (+) or below (−) the formula's, %", fontsize=8.5, color=INK)
    save(
        figure,
        path,
        f"blank: less than {LEAST:.2f} of W left; dots: error above {UNSURE} % and a tenth of what is shown",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all cases; write limits.csv and limits.png."""
    parser = argparse.ArgumentParser(description="Maps of where the formula for W is off.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for limits.csv and limits.png")
    parser.add_argument("--quick", action="store_true", help="a 500th of the simulated time")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    effort = QUICK if given.quick else 1.0
    found = [point for case in CASES for load in LOADS for point in points(case, load, effort)]
    files.write(given.out / "limits.csv", table(found))
    draw(found, given.out / "limits.png")
    print(summary(found))


if __name__ == "__main__":
    main()

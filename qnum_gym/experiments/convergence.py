"""From a cold start: how fast the variants of QPrimalDual find the optimum, and how steadily they stay there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from qnum_gym.agents.static import oracle
from qnum_gym.evaluation import statistics
from qnum_gym.experiments.drawing import COLOURS, DASHED, INK, look, name_curves, new_figure, save
from qnum_gym.experiments.experiment import Experiment, Network, PolicySpecs, Positive, Row
from qnum_gym.experiments.runs import Done, Run
from qnum_gym.labels import plain
from qnum_gym.optimum import geometric_mean
from qnum_gym.scenarios.topologies import scenario


class Convergence(Experiment):
    """Networks × coherence times × variants, over time.

    shown: label of the policy whose rates, Werner parameters and prices the figure shows one by one.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    coherence_times: Annotated[tuple[Positive, ...], Field(min_length=1)]  # s
    policies: PolicySpecs
    shown: str

    def runs(self) -> list[Run]:
        """One for each combination."""
        return [
            Run(
                {"network": name, "coherence_time": memory, "policy": each.label},
                scenario(name, coherence_time=memory, episode_length=self.intervals),
                each.policy,
                self.seeds,
                each.options,
                series=True,
            )
            for name in self.networks
            for memory in self.coherence_times
            for each in self.policies
        ]

    def table(self, done: Sequence[Done]) -> list[Row]:
        """Over time: gm of the last 20 intervals, mean over seeds and as a share of the optimum's, distances to it.

        Distances are root mean squares, over sessions or links in use, of log(R/R*), log((1 − w)/(1 − w*)), log(λ/λ*).
        """
        rows: list[Row] = []
        for run, seen in done:
            best = oracle(run.scenario, 0.0)
            optimal = _optimal(run)
            used = best.link_prices > 0.0
            distances = (
                _distance(seen.rates, best.rates),
                _distance(1.0 - seen.werner[:, used], 1.0 - best.werner[used]),
                _distance(seen.prices[:, used], best.link_prices[used]),
            )
            for t, time in enumerate(seen.time.tolist()):
                reached = statistics.mean(seen.window[t])
                row: Row = {**run.labels, "time": time, "gm": reached.mean, "gm_low": reached.low}
                row |= {"gm_high": reached.high, "share_of_optimum": reached.mean / optimal}
                names = ("distance_rates", "distance_werner", "distance_prices")
                rows.append(row | {name: float(each[t]) for name, each in zip(names, distances, strict=True)})
        return rows

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A column per network and memory: gm of all variants; rates, w and prices of the one that is shown."""
        cases = [(name, memory) for name in self.networks for memory in self.coherence_times]
        figure, axes = new_figure(4, len(cases), width=1.0 + 3.4 * len(cases), height=9.6, sharex=True)
        for column, case in zip(axes.T, cases, strict=True):
            here = [each for each in done if (each.run.labels["network"], each.run.labels["coherence_time"]) == case]
            column[0].set_title(f"{plain(case[0])}, T_c = {_seconds(case[1])}", fontsize=9.5, color=INK)
            column[-1].set_xlabel("time (s)")
            self._draw_gm(column[0], here)
            for each in here:
                if each.run.labels["policy"] == self.shown:
                    _draw_controls(column[1:], each)
        for row, what in zip(
            axes, ("gm / optimum's", "rate R (1/s)", "1 − w of links", "price λ of links (s)"), strict=True
        ):
            row[0].set_ylabel(what)
        name_curves(figure, axes[0])
        save(
            figure,
            path,
            f"From a cold start: mean of {self.seeds} seeds (band: 95 %); below, {self.shown}, first seed. "
            "Dashed: the optimum at 0.95 utilisation",
        )

    def _draw_gm(self, axes: Any, here: Sequence[Done]) -> None:
        labels = [each.label for each in self.policies]
        for run, seen in here:
            label = str(run.labels["policy"])
            shares = seen.window / _optimal(run)
            bands = [statistics.mean(row) for row in shares]
            colour, _ = look(label, labels)
            axes.plot(seen.time, [each.mean for each in bands], color=colour, lw=1.4, label=plain(label))
            low, high = [each.low for each in bands], [each.high for each in bands]
            axes.fill_between(seen.time, low, high, color=colour, alpha=0.18, lw=0)
        axes.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
        axes.set_ylim(0.0, 1.3)


def _draw_controls(column: Any, done: Done) -> None:
    run, seen = done
    best = oracle(run.scenario, 0.0)
    used = np.flatnonzero(best.link_prices > 0.0)
    panels = (
        (seen.rates, best.rates),
        (1.0 - seen.werner[:, used], 1.0 - best.werner[used]),
        (seen.prices[:, used], best.link_prices[used]),
    )
    for axes, (values, optimal) in zip(column, panels, strict=True):
        for i, (each, level) in enumerate(zip(values.T, optimal, strict=True)):
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(seen.time, each, color=colour, lw=1.0)
            axes.axhline(level, color=colour, lw=0.8, ls=DASHED, alpha=0.8)
        axes.set_yscale("log")


def _optimal(run: Run) -> float:
    weights = run.scenario.arrays(0.0).weight
    return geometric_mean(oracle(run.scenario, 0.0).utility, weights)


def _distance(values: Any, optimal: Any) -> Any:
    """[T] root mean square over the second axis of log(values / optimal); NaN where a value is 0."""
    positive = np.where(values > 0.0, values, np.nan)
    return np.sqrt(np.mean(np.log(positive / optimal) ** 2, axis=1))


def _seconds(value: float) -> str:
    return "∞" if np.isinf(value) else f"{value:g} s"

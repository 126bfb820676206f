"""From a cold start: how fast the variants of QPrimalDual find the optimum, and how steadily they stay there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from qnum_gym.agents.static import ORACLE_UTILISATION, oracle
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.style import COLOURS, DASHED, INK, look, name_curves, new_figure, save
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Positive, Row, network
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.labels import plain
from qnum_gym.optimum import geometric_mean


@EXPERIMENTS.registers("convergence")
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
                {"network": name, "coherence_time": memory, "policy": policy.label},
                network(name, coherence_time=memory, episode_length=self.intervals),
                policy,
                self.seeds,
                series=True,
            )
            for name in self.networks
            for memory in self.coherence_times
            for policy in self.policies
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
                rows.append(row | {name: float(distance[t]) for name, distance in zip(names, distances, strict=True)})
        return rows

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A column per network and memory: gm of all variants; rates, w and prices of the one that is shown."""
        cases = [(name, memory) for name in self.networks for memory in self.coherence_times]
        figure, axes = new_figure(4, len(cases), width=1.0 + 3.4 * len(cases), height=9.6, sharex=True)
        for column, case in zip(axes.T, cases, strict=True):
            here = [(run, seen) for run, seen in done if (run.labels["network"], run.labels["coherence_time"]) == case]
            column[0].set_title(f"{plain(case[0])}, T_c = {_seconds(case[1])}", fontsize=9.5, color=INK)
            column[-1].set_xlabel("time (s)")
            self._draw_gm(column[0], here)
            for run, seen in here:
                if run.labels["policy"] == self.shown:
                    _draw_controls(column[1:], run, seen)
        for row, what in zip(
            axes, ("gm / optimum's", "rate R (1/s)", "1 − w of links", "price λ of links (s)"), strict=True
        ):
            row[0].set_ylabel(what)
        name_curves(figure, axes[0])
        save(
            figure,
            path,
            f"From a cold start: mean of {self.seeds} seeds (band: 95 %); below, {self.shown}, first seed. "
            f"Dashed: the optimum at {ORACLE_UTILISATION} utilisation",
        )

    def _draw_gm(self, axes: Any, here: Sequence[tuple[Run, Recording]]) -> None:
        labels = [policy.label for policy in self.policies]
        for run, seen in here:
            label = str(run.labels["policy"])
            shares = seen.window / _optimal(run)
            bands = [statistics.mean(row) for row in shares]
            colour, _ = look(label, labels)
            axes.plot(seen.time, [band.mean for band in bands], color=colour, lw=1.4, label=plain(label))
            low, high = [band.low for band in bands], [band.high for band in bands]
            axes.fill_between(seen.time, low, high, color=colour, alpha=0.18, lw=0)
        axes.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
        axes.set_ylim(0.0, 1.3)


def _draw_controls(column: Any, run: Run, seen: Recording) -> None:
    best = oracle(run.scenario, 0.0)
    used = np.flatnonzero(best.link_prices > 0.0)
    panels = (
        (seen.rates, best.rates),
        (1.0 - seen.werner[:, used], 1.0 - best.werner[used]),
        (seen.prices[:, used], best.link_prices[used]),
    )
    for axes, (values, optimal) in zip(column, panels, strict=True):
        for i, (curve, level) in enumerate(zip(values.T, optimal, strict=True)):
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(seen.time, curve, color=colour, lw=1.0)
            axes.axhline(level, color=colour, lw=0.8, ls=DASHED, alpha=0.8)
        axes.set_yscale("log")


def _optimal(run: Run) -> float:
    weights = run.scenario.arrays(0.0).weight
    return geometric_mean(oracle(run.scenario, 0.0).utility, weights, run.scenario.fairness)


def _distance(values: Any, optimal: Any) -> Any:
    """[T] root mean square over the second axis of log(values / optimal); NaN where a value is 0."""
    positive = np.where(values > 0.0, values, np.nan)
    return np.sqrt(np.mean(np.log(positive / optimal) ** 2, axis=1))


def _seconds(value: float) -> str:
    return "∞" if np.isinf(value) else f"{value:g} s"

"""All policies against each other: networks × measures × coherence times, down to the smallest that has an optimum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qnum_gym.evaluation.style import INK, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, PolicySpecs, Positive, Row, network
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.labels import plain
from qnum_gym.scenarios.fields import Measure

SHORTEST, LONGEST = 1e-3, 1e5  # s, between which the smallest coherence time is looked for
CLOSE = 1.02  # factor to which it is found
JUST_ABOVE = 1.5  # times the smallest coherence time, which is put in too
WORTH_A_RATIO = 0.01  # of the oracle's gm at the longest T_c; below, ratios are noise over nothing and not drawn


@EXPERIMENTS.registers("policies")
class Policies(Experiment):
    """Networks × measures × coherence times × policies; the oracle is always one of them.

    coherence_times: s; those below the smallest for which there is an optimum are left out, and it is put in,
    and 1.5 times it.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    measures: Annotated[tuple[Measure, ...], Field(min_length=1)]
    coherence_times: Annotated[tuple[Positive, ...], Field(min_length=1)]
    policies: PolicySpecs

    def runs(self) -> list[Run]:
        """One for each combination that has an optimum."""
        return [
            run
            for (name, measure), times in self._times.items()
            for memory in times
            for run in sweep.runs(
                {"network": name, "measure": measure, "coherence_time": memory},
                network(name, measure=measure, coherence_time=memory, episode_length=self.intervals),
                self.policies,
                self.seeds,
            )
        ]

    @cached_property
    def _times(self) -> dict[tuple[str, Measure], list[float]]:
        found: dict[tuple[str, Measure], list[float]] = {}
        for name in self.networks:
            for measure in self.measures:
                least = smallest_coherence_time(name, measure)
                edge = [float(f"{factor * least:.3g}") for factor in (1.0, JUST_ABOVE)]
                found[name, measure] = [*edge, *sorted(time for time in self.coherence_times if time > edge[-1])]
        return found

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm with intervals, and its ratio to the oracle's."""
        return sweep.table(done)

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """Two rows per network, gm and its ratio to the oracle's; a column per measure."""
        shape = 2 * len(self.networks), len(self.measures)
        figure, axes = new_figure(*shape, width=1.0 + 3.7 * shape[1], height=0.8 + 2.5 * shape[0])
        labels = [policy.label for policy in self.policies]
        for i, name in enumerate(self.networks):
            for j, measure in enumerate(self.measures):
                case = {"network": name, "measure": measure}
                values, ratios = axes[2 * i, j], axes[2 * i + 1, j]
                found = sweep.curves(done, case, "coherence_time")
                enough = WORTH_A_RATIO * found[sweep.ORACLE][-1].gm.mean
                told = [point.gm.mean >= enough for point in found[sweep.ORACLE]]
                for label, points in found.items():
                    x = [_place(point.x, self.coherence_times) for point in points]
                    gms = [point.gm if point.gm.low > 0.0 else point.gm._replace(low=1e-9) for point in points]
                    curve(values, x, gms, label, labels)
                    shown = list(compress(points, told))
                    curve(ratios, list(compress(x, told)), [point.ratio for point in shown], label, labels)
                _label(values, ratios, f"{name}, {measure}", self._times[name, measure], self.coherence_times)
        for i in range(len(self.networks)):
            axes[2 * i, 0].set_ylabel("gm of R·f(W) (1/s)")
            axes[2 * i + 1, 0].set_ylabel("gm / oracle's")
        for panel in axes[-1]:
            panel.set_xlabel("coherence time T_c (s)")
        name_curves(figure, axes.flat)
        save(figure, path, f"All policies: mean over {self.seeds} paired seeds, bars 95 %; leftmost the smallest T_c")


def smallest_coherence_time(name: str, measure: Measure) -> float:
    """The T_c (s) from which on the oracle serves every session with f > 0, to within 2 % from above."""
    low, high = SHORTEST, LONGEST
    while high / low > CLOSE:
        middle = math.sqrt(low * high)
        if sweep.all_are_served(network(name, measure=measure, coherence_time=middle)):
            high = middle
        else:
            low = middle
    return high


def _place(time: float, times: Sequence[float]) -> float:
    """Where it is drawn: infinity, too, has a place, to the right of the others."""
    return time if math.isfinite(time) else 4.0 * max(filter(math.isfinite, (1.0, *times)))


def _label(values: Any, ratios: Any, title: str, times: Sequence[float], all_times: Sequence[float]) -> None:
    values.set_title(plain(title), fontsize=9.5, color=INK)
    values.set_yscale("log")
    top = values.get_ylim()[1]
    values.set_ylim(1e-4 * top, top)
    ratios.set_ylim(-0.05, 1.25)
    for axes in (values, ratios):
        axes.set_xscale("log")
        axes.set_xlim(0.8 * times[0], 1.3 * _place(times[-1], all_times))
        if any(map(math.isinf, times)):
            end = _place(math.inf, all_times)
            decades = [10.0**k for k in range(-2, 6) if 0.6 * times[0] <= 10.0**k < 0.7 * end]
            axes.set_xticks([*decades, end], [*(f"{decade:g}" for decade in decades), "∞"])
            axes.minorticks_off()

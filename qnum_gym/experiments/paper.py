"""The paper's own steps on packets, beside the fluid with news as late as it was on packets, and beside our forms."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from qnum_gym.agents.paper import QPrimalDualPaper
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.evaluation.style import COLOURS, DASHED, INK, curve, name_curves, new_figure, save
from qnum_gym.experiments import sweep
from qnum_gym.experiments.experiment import EXPERIMENTS, Experiment, Network, Positive, Row, network
from qnum_gym.experiments.recording import Done, Recording, Run
from qnum_gym.experiments.stability import swing
from qnum_gym.labels import plain
from qnum_gym.optimum import Allocation, Problem, solve, stability
from qnum_gym.optimum.fluid import Fluid, Steps
from qnum_gym.scenarios import Scenario

POLICY = "qprimaldual-paper"
POINTS, FINE = 60, 40  # of a curve, each the largest of so many
LATE = 50  # updates: from here on steps are so small that only the product of steps and delay counts
Share = Annotated[float, Field(gt=0.0, le=1.0, strict=True)]


class Fluids(NamedTuple):
    """The fluid beside a run.

    delay: updates, the packets' mean round trip. largest: the largest factor of the paper's steps that is stable then,
    as the linearised update has it. time: [T] s and distance: [T] of the rates from the optimum, on the usual way, the
    largest since the time before.
    """

    delay: int
    largest: float
    time: NDArray[np.float64]
    distance: NDArray[np.float64]


@EXPERIMENTS.registers("paper")
class Paper(Experiment):
    """Networks × highest utilisations × factors of the paper's steps, with perfect memories; and policies beside them.

    factors: that k_λ, k_μ and k_w are times. policies: others, on the same networks.
    """

    networks: Annotated[tuple[Network, ...], Field(min_length=1)]
    utilisations: Annotated[tuple[Share, ...], Field(min_length=1)]
    factors: Annotated[tuple[Annotated[Positive, Field(allow_inf_nan=False)], ...], Field(min_length=1)]
    policies: tuple[str, ...]

    def runs(self) -> list[Run]:
        """One for each combination; of each network the oracle and the policies that stand beside it."""
        found: list[Run] = []
        for name in self.networks:
            s = network(name, coherence_time=float("inf"), episode_length=self.intervals)
            case: dict[str, str | float] = {"network": name}
            found += sweep.runs(case, s, [PolicySpec.of(policy) for policy in self.policies], self.seeds)
            for rho in self.utilisations:
                for factor in self.factors:
                    k = Steps().times(factor)
                    gains = {"price": k.price, "fidelity": k.fidelity, "werner": k.werner, "utilisation": rho}
                    label = f"{POLICY}, ρ = {rho:g}, × {factor:g}"
                    labels = {**case, "policy": label}
                    found.append(Run(labels, s, PolicySpec.of(POLICY, label, **gains), self.seeds, series=True))
        return found

    def table(self, done: Sequence[Done]) -> list[Row]:
        """gm and its ratio to the oracle's; of the paper's steps also swing, delay, and the fluid's largest factor."""
        rows = sweep.table(done)
        for row, (run, seen) in zip(rows, done, strict=True):
            row |= {"factor": None, "utilisation": None, "swing": None, "delay": None, "largest_factor": None}
            if run.policy.policy == POLICY:
                fluid = _fluid(run, seen)
                row |= {"factor": _factor(run), "utilisation": _steps(run).utilisation, "swing": swing(seen)}
                row |= {"delay": float(fluid.delay), "largest_factor": fluid.largest}
        return rows

    def draw(self, done: Sequence[Done], path: Path) -> None:
        """A row per network: distance to the optimum over time at each utilisation, and gm by factor."""
        columns = len(self.utilisations) + 1
        height = 1.2 + 3.2 * len(self.networks)
        figure, axes = new_figure(len(self.networks), columns, width=4.2 * columns, height=height)
        for row, name in zip(axes, self.networks, strict=True):
            for panel, rho in zip(row, self.utilisations, strict=False):
                here = [(run, seen) for run, seen in _of_paper(done, name) if _steps(run).utilisation == rho]
                self._draw_ways(panel, here)
                panel.set_title(f"{plain(name)}, ρ = {rho:g}", fontsize=9.5, color=INK)
            row[0].set_ylabel("|log R/R*|, root mean square")
            self._draw_shares(row[-1], name, done)
        for panel in axes[-1][:-1]:
            panel.set_xlabel("time (s)")
        axes[-1][-1].set_xlabel("factor of the paper's steps")
        name_curves(figure, axes.flat, columns=4)
        what = "Solid: packets, first seed; dashed: the fluid, news as late as on packets"
        save(figure, path, f"The paper's steps, swings by their crests. {what}")

    def _draw_ways(self, panel: Any, here: Sequence[tuple[Run, Recording]]) -> None:
        for colour, (run, seen) in zip(COLOURS, here, strict=False):
            packets, fluid = _crests(seen.time, _distance(seen.rates, _optimum(run).rates)), _fluid(run, seen)
            panel.plot(*packets, color=colour, lw=1.4, label=f"× {_factor(run):g}")
            panel.plot(fluid.time, fluid.distance, color=colour, lw=1.4, ls=DASHED)
        panel.set_yscale("log")
        panel.set_ylim(1e-3, 10.0)

    def _draw_shares(self, panel: Any, name: str, done: Sequence[Done]) -> None:
        best = next(seen for run, seen in done if run.labels == {"network": name, "policy": sweep.ORACLE})
        labels = [f"packets, ρ = {rho:g}" for rho in self.utilisations]
        for label, rho in zip(labels, self.utilisations, strict=True):
            here = [(run, seen) for run, seen in _of_paper(done, name) if _steps(run).utilisation == rho]
            shares = [sweep.statistics.ratio(seen.geometric_mean, best.geometric_mean) for _, seen in here]
            curve(panel, [_factor(run) for run, _ in here], shares, label, labels)
            fits = [_factor(run) for run, seen in here if _factor(run) <= _fluid(run, seen).largest]
            if fits:
                colour = panel.lines[-1].get_color()
                panel.axvline(
                    max(fits), color=colour, lw=1.2, ls=DASHED, label=f"fluid: stable up to here, ρ = {rho:g}"
                )
        panel.set_xscale("log")
        panel.set_ylim(-0.03, 1.1)
        panel.set_ylabel("gm / oracle's")


def _of_paper(done: Sequence[Done], name: str) -> list[Done]:
    return [pair for pair in done if pair.run.labels["network"] == name and pair.run.policy.policy == POLICY]


def _gains(run: Run) -> Any:
    return cast(QPrimalDualPaper, run.policy.make()).gains


def _steps(run: Run) -> Steps:
    gains = _gains(run)
    return Steps(gains.price, gains.fidelity, gains.werner, gains.utilisation)


def _factor(run: Run) -> float:
    return _steps(run).price / Steps().price


def _optimum(run: Run) -> Allocation:
    return solve(run.scenario, max_utilisation=_steps(run).utilisation)


def _fluid(run: Run, seen: Recording) -> Fluids:
    """With the mean round trip of the run's packets: from the first pair until its ACK is at the source."""
    interval, a = _gains(run).interval, run.scenario.arrays(0.0)
    back = np.mean([a.latency[list(route)].sum() for route in run.scenario.routes]) + run.scenario.feedback_delay
    there = seen.storage[~np.isnan(seen.storage)]
    late = there.mean() + back if len(there) else float(seen.time[-1])
    delay = round(float(late) / interval) + 1  # what came in an interval counts in the next
    return _beside(run.scenario, _steps(run), delay, interval, len(seen.time))


@cache
def _beside(scenario: Scenario, steps: Steps, delay: int, interval: float, updates: int) -> Fluids:
    problem, best = Problem.from_scenario(scenario), solve(scenario, max_utilisation=steps.utilisation)
    fluid, every = Fluid(problem, steps, delay=delay), max(1, updates // (POINTS * FINE))
    states = fluid.run(fluid.start(), updates, every)
    time = np.arange(len(states), dtype=np.float64) * every * interval
    largest = _largest(scenario, steps.utilisation, min(delay, LATE)) * min(delay, LATE) / delay
    return Fluids(delay, largest, *_crests(time, _distance(fluid.rates(states), best.rates)))


@cache
def _largest(scenario: Scenario, utilisation: float, delay: int) -> float:
    """The largest stable factor of the paper's steps."""
    problem, best = Problem.from_scenario(scenario), solve(scenario, max_utilisation=utilisation)
    one = Steps(utilisation=utilisation)
    return stability.predicted_gain(lambda factor: Fluid(problem, one.times(factor), delay=delay), best)


def _crests(time: Any, values: Any) -> tuple[Any, Any]:
    """Of as many stretches as a curve has points the end, and the largest value: what swings becomes one line."""
    parts = [np.array_split(column, min(POINTS, len(time))) for column in (time, values)]
    return np.array([part[-1] for part in parts[0]]), np.array([part.max() for part in parts[1]])


def _distance(rates: Any, best: Any) -> Any:
    """[T] root mean square over sessions of log(R / R*)."""
    return np.sqrt(np.mean(np.log(rates / best) ** 2, axis=1))

"""Figures: a comparison with a row per policy, and one episode over time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qnum_gym import files, optimum
from qnum_gym.envs.rendering.table import link_name, session_name
from qnum_gym.envs.scores import WINDOW
from qnum_gym.evaluation.report import summaries
from qnum_gym.evaluation.runs import Results
from qnum_gym.evaluation.trace import Trace
from qnum_gym.labels import plain
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario

Floats = NDArray[np.float64]
Axes: TypeAlias = Any  # matplotlib's own annotations are incomplete

INK, MUTED, FAINT = "#1f2937", "#6b7280", "#e5e7eb"
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#8c564b",
    "#4b5563",
)  # after Okabe and Ito
SPREAD = 0.5  # of a row's height, over which the sessions' markers are spread
DASHED = (0, (4, 3))
SHOWN_LINKS = 4  # in a trace, those with the longest queues; more cannot be told apart


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format that the file's name ends in."""
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix("."))
    files.write(path, picture.getvalue())


def draw_comparison(results: Results, path: Path) -> None:
    """Draw the comparison to `path`, in the format of its suffix (PNG, PDF, SVG)."""
    rate = results.mean_rate()
    worth = np.where(rate > 0.0, fidelity(results.mean_werner()), np.nan)
    n = len(results.policies)
    figure: Any = Figure(figsize=(11.0, 1.9 + 0.45 * n), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    scores, rates, fidelities = figure.subplots(1, 3, sharey=True, width_ratios=(1.6, 1.0, 1.0))
    _draw_scores(scores, results)
    handles = _draw_sessions(rates, rate)
    _draw_sessions(fidelities, worth)
    scores.set_xlabel("score (share of the optimum)")
    rates.set_xlabel("delivered pairs per second")
    fidelities.set_xlabel("mean fidelity of delivered pairs")
    for axes in (scores, rates, fidelities):
        style(axes)
        for y in range(1, n):
            axes.axhline(y - 0.5, color=FAINT, lw=0.6, zorder=0)
    scores.set_yticks(range(n), [plain(name) for name in results.policies])
    scores.set_ylim(n - 0.5, -0.5)
    _name_sessions(figure, handles, results.scenario)
    figure.suptitle(
        f"{plain(results.env)}: second half of {results.scenario.episode_length} intervals, "
        f"{len(results.seeds)} paired seeds (dots), mean and 95 % bootstrap interval",
        fontsize=9.5,
        color=INK,
    )
    save_figure(figure, path)


def _draw_scores(axes: Axes, results: Results) -> None:
    """Per policy a dot per seed, and the mean with its interval; nothing where there is no score."""
    for y, summary in enumerate(summaries(results).values()):
        interval = summary.score
        axes.plot(results.score[y], np.full(len(results.seeds), y + 0.22), "o", ms=3, mew=0, color=MUTED, alpha=0.45)
        axes.plot([interval.low, interval.high], [y, y], color=COLOURS[0], lw=3, solid_capstyle="butt")
        axes.plot(interval.mean, y, "o", ms=6, color=COLOURS[0])
    axes.axvline(1.0, color=MUTED, lw=0.8, ls=DASHED, zorder=0)
    axes.set_xlim(-0.03, max(axes.get_xlim()[1], 1.05))


def _draw_sessions(axes: Axes, values: Floats) -> list[Any]:
    """values [P, R]: a marker per policy (row) and session (colour); the handles of the sessions."""
    policies, sessions = values.shape
    named = sessions <= len(COLOURS)
    middle = (sessions - 1) / 2.0
    handles: list[Any] = []
    for r in range(sessions):
        rows: Floats = np.arange(float(policies)) + SPREAD * (r - middle) / max(sessions - 1, 1)
        colour = COLOURS[r] if named else COLOURS[0]
        handles += axes.plot(
            values[:, r], rows, "o", ms=5 if named else 3, mew=0, color=colour, alpha=0.9 if named else 0.6
        )
    return handles


def style(axes: Axes, grid: Literal["x", "y", "both"] = "x") -> None:
    """What all figures share: a quiet frame, small figures, the grid along one axis or both."""
    axes.grid(axis=grid, color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(size=9, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def _name_sessions(figure: Axes, handles: list[Any], scenario: Scenario) -> None:
    """A legend below the figure, unless there are more sessions than colours."""
    if len(handles) > len(COLOURS):
        return
    names = [plain(f"{r}: {session_name(each)}") for r, each in enumerate(scenario.sessions)]
    place = {"loc": "outside lower center", "ncols": 4, "frameon": False}
    figure.legend(handles, names, title="session", fontsize=8, title_fontsize=8, **place)


def draw_trace(trace: Trace, path: Path, title: str) -> None:
    """Draw rates, fidelities, score and queues over time to `path`, in its suffix's format; dashed: the optimum."""
    figure: Any = Figure(figsize=(11.0, 6.4), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    (rates, fidelities), (scores, queues) = figure.subplots(2, 2, sharex=True)
    links, colours = trace.scenario.links, [COLOURS[r % len(COLOURS)] for r in range(len(trace.scenario.sessions))]
    for r, colour in enumerate(colours):
        rates.plot(trace.time, trace.rate[:, r], color=colour, lw=1.4)
        worth = np.where(trace.rate[:, r] > 0.0, trace.fidelity[:, r], np.nan)
        fidelities.plot(trace.time, worth, color=colour, lw=1.4)
    for begin, end, best_rates, best_fidelities in _optima(trace):
        rates.hlines(best_rates, begin, end, colors=colours, lw=0.9, ls=DASHED)
        fidelities.hlines(best_fidelities, begin, end, colors=colours, lw=0.9, ls=DASHED)
    scores.plot(trace.time, trace.score, color=INK, lw=1.4)
    scores.axhline(1.0, color=INK, lw=0.9, ls=DASHED)
    scores.set_ylim(-0.03, max(1.1, float(np.max(trace.score, initial=0.0, where=np.isfinite(trace.score))) + 0.1))
    busiest = np.argsort(-trace.queue.mean(axis=0))[:SHOWN_LINKS]
    for i, l in enumerate(map(int, busiest)):
        queues.plot(trace.time, trace.queue[:, l], color=COLOURS[i], lw=1.2, label=plain(link_name(links[l])))
    for axes, what in (
        (rates, f"delivered pairs/s (last {WINDOW} intervals pooled)"),
        (fidelities, f"fidelity (last {WINDOW} intervals pooled)"),
        (scores, f"score (last {WINDOW} intervals pooled)"),
        (queues, "mean number at the busiest links"),
    ):
        axes.set_ylabel(what)
        style(axes, "y")
    for axes in (scores, queues):
        axes.set_xlabel("time (s)")
    queues.legend(title="link", fontsize=8, title_fontsize=8, loc="best", edgecolor="none", framealpha=0.7)
    _name_sessions(figure, rates.get_lines(), trace.scenario)
    figure.suptitle(f"{plain(title)}   (dashed: the optimum)", fontsize=10, color=INK)
    save_figure(figure, path)


def _optima(trace: Trace) -> Iterator[tuple[float, float, Floats, Floats]]:
    """Between changes of the scenario: begin, end (s), and the optimum: rates [R], fidelities [R], NaN if off."""
    last = float(trace.time[-1])
    times = [time for time in trace.scenario.change_times() if time < last]
    for begin, end in zip(times, [*times[1:], last], strict=True):
        best = optimum.yardstick(trace.scenario, begin)
        if best.counts.any():
            yield begin, end, best.best_rates, fidelity(best.best_werner)

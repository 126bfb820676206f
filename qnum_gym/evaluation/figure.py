"""One figure of a comparison: scores with intervals, and each session's rate and fidelity, a row per policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qnum_gym.evaluation.report import standings
from qnum_gym.evaluation.runs import Results
from qnum_gym.werner import fidelity

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
LOWEST = -1.0  # a score below is written at the edge, so that one poor policy does not flatten the others
SPREAD = 0.5  # of a row's height, over which the sessions' markers are spread


def draw(results: Results, path: Path) -> None:
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
    scores.set_xlabel("score (0 = equal_share, 1 = optimum)")
    rates.set_xlabel("delivered pairs per second")
    fidelities.set_xlabel("mean fidelity of delivered pairs")
    for axes in (scores, rates, fidelities):
        style(axes)
        for y in range(1, n):
            axes.axhline(y - 0.5, color=FAINT, lw=0.6, zorder=0)
    scores.set_yticks(range(n), results.policies)
    scores.set_ylim(n - 0.5, -0.5)
    if len(handles) <= len(COLOURS):
        names = [f"{r}: {each.source} → {each.destination}" for r, each in enumerate(results.scenario.sessions)]
        figure.legend(
            handles,
            names,
            title="session",
            loc="outside lower center",
            ncols=4,
            frameon=False,
            fontsize=8,
            title_fontsize=8,
        )
    figure.suptitle(
        f"{results.env}: second half of {results.scenario.episode_length} intervals, {len(results.seeds)} paired seeds "
        "(dots), mean and 95 % bootstrap interval",
        fontsize=9.5,
        color=INK,
    )
    figure.savefig(path)


def _draw_scores(axes: Axes, results: Results) -> None:
    """Per policy a dot per seed, and the mean with its interval; what lies too far below is written at the edge."""
    for y, standing in enumerate(standings(results).values()):
        interval = standing.score
        if interval.mean < LOWEST:
            edge = axes.get_yaxis_transform()
            axes.text(0.01, y, f"◀ {interval.mean:.1f}", transform=edge, color=MUTED, fontsize=8, va="center")
            continue
        seeds = results.score[y][results.score[y] >= LOWEST]
        axes.plot(seeds, np.full(len(seeds), y + 0.22), "o", ms=3, mew=0, color=MUTED, alpha=0.45)
        axes.plot([interval.low, interval.high], [y, y], color=COLOURS[0], lw=3, solid_capstyle="butt")
        axes.plot(interval.mean, y, "o", ms=6, color=COLOURS[0])
    for reference in (0.0, 1.0):
        axes.axvline(reference, color=MUTED, lw=0.8, ls=(0, (4, 3)), zorder=0)
    low, high = axes.get_xlim()
    if (results.score.mean(axis=1) < LOWEST).any():
        low -= 0.12 * (high - low)  # room for what is written at the edge
    axes.set_xlim(low, max(high, 1.05))


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

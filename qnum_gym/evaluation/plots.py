"""Figures: a comparison with a row per policy, one episode over time, and a leaderboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym import optimum
from qnum_gym.envs.rendering.table import link_name, session_name
from qnum_gym.envs.scores import WINDOW
from qnum_gym.evaluation import statistics
from qnum_gym.evaluation.comparison import Results, summaries
from qnum_gym.evaluation.leaderboard import Leaderboard
from qnum_gym.evaluation.style import (
    COLOURS,
    DASHED,
    FAINT,
    INK,
    MUTED,
    Axes,
    canvas,
    look,
    name_curves,
    new_figure,
    save,
    save_figure,
    style,
)
from qnum_gym.evaluation.trace import Trace
from qnum_gym.labels import plain
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario

Floats = NDArray[np.float64]

SPREAD = 0.5  # of a row's height, over which the sessions' markers are spread
SHOWN_LINKS = 4  # in a trace, those with the longest queues; more cannot be told apart
THRESHOLDS = np.linspace(0.0, 1.3, 131)
ROW_SHARE = 0.7  # of a family's row, over which the policies are spread
NEAR = 0.9  # where the second panel begins
MARKED = 10  # every so many thresholds


# --- a comparison -----------------------------------------------------------------------------------------------------


def draw_comparison(results: Results, path: Path) -> None:
    """Draw the comparison to `path`, in the format of its suffix (PNG, PDF, SVG)."""
    rate = results.mean_rate()
    worth = np.where(rate > 0.0, fidelity(results.mean_werner()), np.nan)
    n = len(results.policies)
    figure = canvas(11.0, 1.9 + 0.45 * n)
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


def _name_sessions(figure: Axes, handles: list[Any], scenario: Scenario) -> None:
    """A legend below the figure, unless there are more sessions than colours."""
    if len(handles) > len(COLOURS):
        return
    names = [plain(f"{r}: {session_name(session)}") for r, session in enumerate(scenario.sessions)]
    place = {"loc": "outside lower center", "ncols": 4, "frameon": False}
    figure.legend(handles, names, title="session", fontsize=8, title_fontsize=8, **place)


# --- an episode -------------------------------------------------------------------------------------------------------


def draw_trace(trace: Trace, path: Path, title: str) -> None:
    """Draw rates, fidelities, score and queues over time to `path`, in its suffix's format; dashed: the optimum."""
    figure = canvas(11.0, 6.4)
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
    for colour, l in zip(COLOURS[::-1], sorted(map(int, busiest)), strict=False):  # not the sessions' colours, if few
        queues.plot(trace.time, trace.queue[:, l], color=colour, lw=1.2, label=plain(link_name(links[l])))
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


# --- a leaderboard ----------------------------------------------------------------------------------------------------


def draw_profiles(leaderboard: Leaderboard, path: Path) -> None:
    """A panel per kind of task: share of runs whose score is above each threshold, with bands."""
    labels = [row.label for row in leaderboard.rows]
    figure, axes = new_figure(
        1, len(leaderboard.kinds), width=1.0 + 4.6 * len(leaderboard.kinds), height=4.0, sharey=True
    )
    for panel, (kind, names) in zip(axes[0], leaderboard.kinds.items(), strict=True):
        for i, label in enumerate(labels):
            colour, marker = look(label, labels)
            profile = statistics.performance_profile(leaderboard.scores.of(label, names), THRESHOLDS)
            panel.fill_between(THRESHOLDS, profile.low, profile.high, color=colour, alpha=0.15, lw=0)
            every = {"marker": marker, "ms": 4.5, "markevery": (3 * i % MARKED, MARKED)}
            panel.plot(THRESHOLDS, profile.share, color=colour, lw=1.4, label=plain(label), **every)
        panel.axvline(1.0, color=INK, lw=0.9, ls=DASHED)
        panel.set_xlim(THRESHOLDS[0], THRESHOLDS[-1])
        panel.set_ylim(-0.02, 1.02)
        panel.set_title(f"{kind}: {len(names)} families", fontsize=9.5, color=INK)
        panel.set_xlabel("score τ (1 = the optimum)")
    axes[0, 0].set_ylabel("share of runs with a score above τ")
    name_curves(figure, axes.flat)
    save(figure, path, f"Performance profiles, {leaderboard.split}: {leaderboard.size}, 95 % bands")


def draw_families(leaderboard: Leaderboard, path: Path) -> None:
    """A row per family, a marker per policy: interquartile mean with its interval; again, close to the oracle."""
    names, rows = leaderboard.families, leaderboard.rows
    labels = [row.label for row in rows]
    height = 1.5 + len(names) * (0.25 + 0.09 * len(rows))
    figure, axes = new_figure(1, 2, width=11.0, height=height, sharey=True, width_ratios=(1.4, 1.0))
    every, near = axes[0]
    for panel in (every, near):
        for i, row in enumerate(rows):
            colour, marker = look(row.label, labels)
            places = np.arange(len(names)) + ROW_SHARE * (i / max(len(rows) - 1, 1) - 0.5)
            found = [row.families[name] for name in names]
            means = [value.mean for value in found]
            errors = [value.mean - value.low for value in found], [value.high - value.mean for value in found]
            points = {"color": colour, "marker": marker, "ms": 5, "lw": 0, "elinewidth": 1.2, "capsize": 2}
            panel.errorbar(means, places, xerr=errors, label=plain(row.label), **points)
        for y in range(1, len(names)):
            between = y == len(leaderboard.kinds.get("static", ()))
            panel.axhline(y - 0.5, color=MUTED if between else FAINT, lw=0.9 if between else 0.6, zorder=0)
        panel.axvline(1.0, color=INK, lw=0.9, ls=DASHED)
        panel.grid(axis="y", visible=False)
    every.set_yticks(range(len(names)), [plain(name) for name in names])
    every.set_ylim(len(names) - 0.5, -0.5)
    every.set_xlim(left=min(0.0, every.get_xlim()[0]))
    every.set_xlabel("interquartile mean of scores (1 = the optimum)")
    near.set_xlim(NEAR, max(2.0 - NEAR, every.get_xlim()[1]))
    near.set_xlabel(f"the same, from {NEAR} on")
    name_curves(figure, axes.flat)
    save(figure, path, f"Family by family, {leaderboard.split}: {leaderboard.size}, 95 % intervals")

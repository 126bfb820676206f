"""Figures of a leaderboard: performance profiles, and scores family by family."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qnum_gym.evaluation import statistics
from qnum_gym.experiments.drawing import DASHED, FAINT, INK, MUTED, look, name_curves, new_figure, save
from qnum_gym.labels import plain
from qnum_gym.suite.leaderboard import Leaderboard

THRESHOLDS = np.linspace(0.0, 1.3, 131)
ROOM = 0.7  # of a family's row, over which the policies are spread
NEAR = 0.9  # where the second panel begins
MARKED = 10  # every so many thresholds


def draw_profiles(leaderboard: Leaderboard, path: Path) -> None:
    """A panel per kind of task: share of runs whose score is above each threshold, with bands."""
    labels = [row.policy.label for row in leaderboard.rows]
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
    labels = [row.policy.label for row in rows]
    height = 1.5 + len(names) * (0.25 + 0.09 * len(rows))
    figure, axes = new_figure(1, 2, width=11.0, height=height, sharey=True, width_ratios=(1.4, 1.0))
    every, near = axes[0]
    for panel in (every, near):
        for i, row in enumerate(rows):
            colour, marker = look(row.policy.label, labels)
            places = np.arange(len(names)) + ROOM * (i / max(len(rows) - 1, 1) - 0.5)
            found = [row.families[name] for name in names]
            means = [each.mean for each in found]
            errors = [each.mean - each.low for each in found], [each.high - each.mean for each in found]
            points = {"color": colour, "marker": marker, "ms": 5, "lw": 0, "elinewidth": 1.2, "capsize": 2}
            panel.errorbar(means, places, xerr=errors, label=plain(row.policy.label), **points)
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

"""A scenario's network as a map: where its nodes lie, how many sessions pass each link. [ours]"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs.rendering.layout import on_the_map, positions
from qnum_gym.envs.rendering.network import beside
from qnum_gym.evaluation.style import COLOURS, INK, MUTED, canvas, save
from qnum_gym.labels import plain
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.geography import is_repeater

Floats = NDArray[np.float64]

LONGER, SHORTER = 8.0, 4.0  # inches, of a map
UNUSED, SHADES = "#d9d9d9", ("#9ecae1", "#4292c6", "#08519c", "#08306b")  # by how many sessions pass
MOST_NAMES = 120
NEAR = 0.1  # of the map: nodes closer than this are kept free of a name


def draw_map(scenario: Scenario, path: Path, worth: Floats | None = None, what: str = "") -> None:
    """Draw the network to `path`, in its suffix's format: to scale if all nodes have coordinates.

    Args:
        scenario: the network.
        path: of the picture.
        worth: [L] by what to colour the links, at least 0, 0 for what has no part; else by how many sessions pass.
        what: what that is, for its scale.
    """
    globe = on_the_map(scenario)
    places = positions(scenario) if globe is None else globe
    width, height = _size(np.ptp(places, axis=0))
    figure = canvas(width, height)
    axes: Any = figure.subplots()
    axes.set_axis_off()
    if globe is not None:
        axes.set_aspect("equal")
        _draw_scale(axes, places)
    if worth is None:
        _draw_links(axes, scenario, places)
    else:
        _draw_worth(figure, axes, scenario, places, worth, what)
    _draw_nodes(axes, scenario, places)
    axes.margins(0.06)
    handles, labels = axes.get_legend_handles_labels()
    by_label = dict(sorted(zip(labels, handles, strict=True)))
    axes.legend(list(by_label.values()), list(by_label), loc="best", frameon=False, fontsize=8)
    repeaters = sum(is_repeater(node.name) for node in scenario.nodes)
    towns = f"{len(scenario.nodes) - repeaters} nodes" + (f" and {repeaters} repeaters" if repeaters else "")
    size = f"{towns}, {len(scenario.links)} links, {len(scenario.sessions)} sessions"
    save(figure, path, f"{scenario.name}: {size if worth is None else 'what capacity is worth'}")


def _size(span: Floats) -> tuple[float, float]:
    """Width and height in inches of a map that spans so much."""
    ratio = float((span[0] + 1e-9) / (span[1] + 1e-9))
    longer, shorter = LONGER, max(LONGER * min(ratio, 1.0 / ratio), SHORTER)
    return (longer, shorter) if ratio > 1.0 else (shorter, longer)


def _draw_links(axes: Any, scenario: Scenario, places: Floats) -> None:
    a = scenario.arrays(0.0)
    passing = np.bincount(a.hop_link, minlength=len(a.link_a))
    named: set[str] = set()
    for l, number in enumerate(passing.tolist()):
        most = number >= len(SHADES)
        what = f"{len(SHADES)} sessions or more" if most else "1 session" if number == 1 else f"{number} sessions"
        colour = SHADES[min(number, len(SHADES)) - 1] if number else UNUSED
        label = what if what not in named else None
        named.add(what)
        x, y = places[[a.link_a[l], a.link_b[l]]].T
        axes.plot(x, y, color=colour, lw=1.2 + 0.7 * min(number, len(SHADES)), zorder=1, label=label)


def _draw_worth(figure: Any, axes: Any, scenario: Scenario, places: Floats, worth: Floats, what: str) -> None:
    from matplotlib import cm, colors

    a, most = scenario.arrays(0.0), max(float(worth.max()), 1e-300)
    shades = cm.ScalarMappable(colors.Normalize(0.0, most), "YlOrRd")
    unused = np.flatnonzero(worth <= 0.0)
    for l, value in enumerate(worth.tolist()):
        x, y = places[[a.link_a[l], a.link_b[l]]].T
        colour = shades.to_rgba(value) if value > 0.0 else UNUSED
        label = "worth nothing" if l in unused[:1] else None
        axes.plot(x, y, color=MUTED, lw=2.4 + 4.0 * value / most, zorder=1, solid_capstyle="round")
        axes.plot(x, y, color=colour, lw=1.4 + 4.0 * value / most, zorder=1.5, solid_capstyle="round", label=label)
    scale = figure.colorbar(shades, ax=axes, shrink=0.7, pad=0.01, aspect=30)
    scale.set_label(what, size=8, color=INK)
    scale.ax.tick_params(length=0, labelsize=7.5, colors=INK)
    scale.outline.set_visible(False)


def _draw_nodes(axes: Any, scenario: Scenario, places: Floats) -> None:
    """Repeaters small; names beside all others."""
    from matplotlib.patheffects import withStroke

    ends = {name for session in scenario.sessions for name in (session.source, session.destination)}
    names = [node.name for node in scenario.nodes]
    small = np.array([is_repeater(name) for name in names])
    last = np.array([name in ends for name in names])
    if small.any():
        axes.plot(*places[small].T, "o", ms=2.5, color=MUTED, zorder=2, label="repeater")
    axes.plot(*places[~small & ~last].T, "o", ms=5, mfc="white", mec=INK, zorder=3)
    axes.plot(*places[last].T, "o", ms=6, color=COLOURS[1], mec=INK, mew=0.8, zorder=3, label="source or destination")
    if (~small).sum() > MOST_NAMES:
        return
    a, radius = scenario.arrays(0.0), NEAR * float(np.ptp(places, axis=0).max())
    style: dict[str, Any] = {"fontsize": 7, "color": INK, "zorder": 4, "textcoords": "offset points"}
    for v in np.flatnonzero(~small).tolist():
        near = np.flatnonzero((np.linalg.norm(places - places[v], axis=1) < radius) & ~small)
        others = np.concatenate((a.link_b[a.link_a == v], a.link_a[a.link_b == v], near[near != v]))
        x, y, ha, va = beside(np.angle((places[others] - places[v]) @ (1.0, 1.0j)))
        halo = [withStroke(linewidth=2.0, foreground="white")]
        axes.annotate(plain(names[v]), places[v], xytext=(x, y), ha=ha, va=va, path_effects=halo, **style)


def _draw_scale(axes: Any, places: Floats) -> None:
    """A bar of about a fifth of the width, of a round number of km."""
    span = max(float(np.ptp(places[:, 0])), 1.0)
    power = 10.0 ** math.floor(math.log10(span / 5.0))
    km = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= span / 5.0)
    x, y = places[:, 0].min(), places[:, 1].min() - 0.04 * float(np.ptp(places[:, 1]))
    axes.plot([x, x + km], [y, y], color=INK, lw=1.5)
    axes.annotate(f"{km:g} km", (x + km / 2.0, y), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8)

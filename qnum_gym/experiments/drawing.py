"""What the figures of the experiments share: one colour and one marker per policy, everywhere; quiet axes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qnum_gym.evaluation.figure import COLOURS, DASHED, FAINT, INK, MUTED, save_figure, style
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.labels import plain

Axes: TypeAlias = Any  # matplotlib's own annotations are incomplete

__all__ = ["COLOURS", "DASHED", "FAINT", "INK", "MUTED", "Axes", "curve", "name_curves", "new_figure", "save", "style"]

# After Okabe and Ito, told apart by marker too.
LOOKS = {
    "oracle": (INK, "D"),
    "qprimaldual-da": ("#0072b2", "o"),
    "qprimaldual-approx": ("#56b4e9", "s"),
    "qprimaldual-pi": ("#009e73", "^"),
    "qprimaldual": ("#d55e00", "v"),
    "aimd": ("#cc79a7", "P"),
    "best_static": ("#e69f00", "X"),
    "equal_share": ("#8c564b", "<"),
    "random": (MUTED, "."),
}
OTHERS = (("#a0522d", "h"), ("#6a3d9a", "p"), ("#00429d", "*"), ("#93003a", "d"))


def look(label: str, labels: Sequence[str]) -> tuple[str, str]:
    """Colour and marker of one out of the labels of a figure."""
    if label in LOOKS:
        return LOOKS[label]
    others = [each for each in labels if each not in LOOKS]
    return OTHERS[others.index(label) % len(OTHERS)]


def new_figure(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure (inches) and its axes [rows, columns]."""
    figure: Any = Figure(figsize=(width, height), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for each in axes.flat:
        style(each, "both")
        each.tick_params(which="minor", length=0, labelsize=6.5, colors=INK)
    return figure, axes


def curve(axes: Axes, x: Sequence[float], y: Sequence[Interval], label: str, labels: Sequence[str]) -> None:
    """Means as a line with a marker, their intervals as bars."""
    colour, marker = look(label, labels)
    errors = [each.mean - each.low for each in y], [each.high - each.mean for each in y]
    means = [each.mean for each in y]
    axes.errorbar(
        x, means, errors, color=colour, marker=marker, ms=4.5, lw=1.3, elinewidth=1.0, capsize=2, label=plain(label)
    )


def name_curves(figure: Any, axes: Iterable[Axes], columns: int = 5) -> None:
    """One legend below the figure for all that `axes` show."""
    found: dict[str, Any] = {}
    for each in axes:
        for handle, label in zip(*each.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    place = {"loc": "outside lower center", "ncols": min(columns, len(found)), "frameon": False, "fontsize": 8.5}
    figure.legend(list(found.values()), list(found), **place)


def save(figure: Any, path: Path, title: str) -> None:
    """Give the figure its title and write it."""
    figure.suptitle(plain(title), fontsize=10.5, color=INK)
    save_figure(figure, path)

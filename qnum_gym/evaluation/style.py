"""What all figures share: colours, one look per policy everywhere, quiet axes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from qnum_gym import files
from qnum_gym.evaluation.statistics import Interval
from qnum_gym.labels import plain

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
DASHED = (0, (4, 3))

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
    others = [other for other in labels if other not in LOOKS]
    return OTHERS[others.index(label) % len(OTHERS)]


def new_figure(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    """A figure (inches) and its axes [rows, columns]."""
    figure = canvas(width, height)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for panel in axes.flat:
        style(panel, "both")
        panel.tick_params(which="minor", length=0, labelsize=6.5, colors=INK)
    return figure, axes


def canvas(width: float, height: float) -> Any:
    """An empty figure (inches), which needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=160)
    FigureCanvasAgg(figure)
    return figure


def style(axes: Axes, grid: Literal["x", "y", "both"] = "x") -> None:
    """What all figures share: a quiet frame, small digits, the grid along one axis or both."""
    axes.grid(axis=grid, color=FAINT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, labelsize=8.5, colors=INK)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(size=9, color=INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)


def curve(axes: Axes, x: Sequence[float], y: Sequence[Interval], label: str, labels: Sequence[str]) -> None:
    """Means as a line with a marker, their intervals as bars."""
    colour, marker = look(label, labels)
    errors = [value.mean - value.low for value in y], [value.high - value.mean for value in y]
    means = [value.mean for value in y]
    axes.errorbar(
        x, means, errors, color=colour, marker=marker, ms=4.5, lw=1.3, elinewidth=1.0, capsize=2, label=plain(label)
    )


def name_curves(figure: Any, axes: Iterable[Axes], columns: int = 5) -> None:
    """One legend below the figure for all that `axes` show."""
    found: dict[str, Any] = {}
    for panel in axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    place = {"loc": "outside lower center", "ncols": min(columns, len(found)), "frameon": False, "fontsize": 8.5}
    figure.legend(list(found.values()), list(found), **place)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure in the format that the file's name ends in."""
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix.removeprefix("."))
    files.write(path, picture.getvalue())


def save(figure: Any, path: Path, title: str) -> None:
    """Give the figure its title and write it."""
    figure.suptitle(plain(title), fontsize=10.5, color=INK)
    save_figure(figure, path)

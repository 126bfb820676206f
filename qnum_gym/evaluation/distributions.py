"""How latency, fidelity and entanglement age are distributed over the pairs of a recorded episode. [ours]"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.envs.rendering.table import session_name
from qnum_gym.evaluation.style import COLOURS, MUTED, name_curves, new_figure, save
from qnum_gym.labels import plain
from qnum_gym.physics.werner import fidelity
from qnum_gym.scenarios import Scenario

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

Floats = NDArray[np.float64]

LATENCY, FIDELITY, AGE = "latency", "fidelity", "age"
AXES = {
    LATENCY: "time from injection to delivery (s)",
    FIDELITY: "fidelity of delivered pairs",
    AGE: "entanglement age: time since the last delivery (s)",
}
BINS = 60


def sample(pairs: DataFrame, of: str) -> Floats:
    """The sorted values [n] that a distribution is made of, of a table of `Simulator.pairs`, best of one session.

    Of `latency` (s) and `fidelity` one for each delivered pair. Of `age` the times between deliveries (s), as the
    source hears of them: an age grows from 0 to one of these, and starts again.

    Raises:
        ValueError: `of` is none of these.
    """
    if of not in AXES:
        raise ValueError(f"of = {of!r}; valid: {', '.join(AXES)}")
    rows: Any = pairs
    delivered = rows[rows["fate"] == "delivered"]
    if of == LATENCY:
        values = delivered["delivered"] - delivered["injected"]
    elif of == FIDELITY:
        values = fidelity(delivered["werner"])
    else:
        values = np.diff(np.sort(delivered["acked"]))
    return np.sort(np.asarray(values, dtype=np.float64))


def share(values: Floats, x: ArrayLike, of: str) -> Floats:
    """The distribution function at `x`: the share of pairs with at most that; of `age`, the share of the time.

    Args:
        values: [n], as `sample` gives them.
        x: any shape.
        of: `latency`, `fidelity` or `age`.
    """
    at = np.asarray(x, dtype=np.float64)
    below = np.searchsorted(values, at, side="right")
    if of != AGE:
        return below / len(values)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    return (sums[below] + (len(values) - below) * np.maximum(at, 0.0)) / sums[-1]


def histogram(values: Floats, of: str, bins: int = BINS) -> tuple[Floats, Floats]:
    """Edges [bins + 1] from the least to the greatest value, and the density [bins] between them."""
    least = 0.0 if of == AGE else float(values[0])
    edges = np.histogram_bin_edges([least, values[-1]], bins)
    shares = share(values, edges, of)
    shares[0] = 0.0  # who has the least value is in the first bin
    return edges, np.diff(shares) / np.diff(edges)


def draw_distributions(pairs: DataFrame, scenario: Scenario, path: Path, title: str) -> None:
    """Draw histograms and distribution functions of the sessions to `path`, in its suffix's format."""
    rows: Any = pairs
    figure, axes = new_figure(2, len(AXES), width=11.0, height=6.0, sharex="col")
    many = len(scenario.sessions) > len(COLOURS)
    for column, of in enumerate(AXES):
        for r, session in enumerate(scenario.sessions):
            values = sample(rows[rows["session"] == r], of)
            if len(values) == 0:
                continue
            name = "each session" if many else plain(f"{r}: {session_name(session)}")
            look: dict[str, Any] = {"color": MUTED if many else COLOURS[r], "lw": 0.7 if many else 1.2, "label": name}
            edges, density = histogram(values, of)
            axes[0, column].stairs(density, edges, **look)
            x = np.linspace(float(edges[0]), float(edges[-1]), 500)
            axes[1, column].plot(x, share(values, x, of), **look)
        axes[0, column].set_yticks([])
        axes[1, column].set_xlabel(AXES[of])
        axes[1, column].set_ylim(-0.02, 1.02)
    axes[0, 0].set_ylabel("density")
    axes[1, 0].set_ylabel("share of the pairs (age: of the time)")
    name_curves(figure, axes.flat)
    save(figure, path, title)

"""Networks drawn on one axes: nodes, links coloured by how busy they are, queues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, to_rgba
from numpy.typing import NDArray

from qnum_gym.scenarios import Scenario
from qnum_gym.simulator.telemetry import LinkTelemetry

Floats = NDArray[np.float64]

INK, PAPER = "#222222", "#ffffff"
MEASURED, OPTIMUM, QUEUE = "#56b4e9", "#222222", "#e69f00"  # Okabe and Ito's: safe for the colour-blind
OFF, WORTHLESS, UNUSED = "#c0c0c0", "#ececec", "#dddddd"
LOAD = LinearSegmentedColormap.from_list("load", ["#c6dbef", "#4292c6", "#08306b"])
DOWN, DASHED = "#d55e00", (0, (2, 1.5))
BESIDE = {  # where a name may stand: angle seen from the node -> offset in points and alignment
    np.pi / 2: (0, 7, "center", "bottom"),
    -np.pi / 2: (0, -7, "center", "top"),
    0.0: (7, 0, "left", "center"),
    np.pi: (-7, 0, "right", "center"),
    np.pi / 4: (5, 5, "left", "bottom"),
    -np.pi / 4: (5, -5, "left", "top"),
    3 * np.pi / 4: (-5, 5, "right", "bottom"),
    -3 * np.pi / 4: (-5, -5, "right", "top"),
}


class NetworkDrawing:
    """One network or several, which share an axes.

    Args:
        ax: a matplotlib axes.
        scenarios: [n] of the networks.
        places: [n] of [V, 2] where their nodes are, in the coordinates of `ax`.
        size: of lines and markers; 1 for one network on a whole page.
        node_area: points².

    Attributes:
        ends: [L, 2, 2] of all links. used: [L] whether a session's route has it.
    """

    def __init__(
        self, ax: Any, scenarios: Sequence[Scenario], places: Sequence[Floats], size: float, node_area: float
    ) -> None:
        arrays = [s.arrays(0.0) for s in scenarios]
        self._size = size
        self.ends: Floats = np.concatenate(
            [xy[np.stack((a.link_a, a.link_b), axis=1)] for xy, a in zip(places, arrays, strict=True)]
        )
        self.used = np.concatenate([np.isin(np.arange(len(a.link_a)), a.hop_link) for a in arrays])
        self._lines: Any = LineCollection(list(self.ends), capstyle="round", zorder=1)
        ax.add_collection(self._lines)
        edge = min(2.5 * size, 1.0)
        middle = self.ends.mean(axis=1)
        self._queues = ax.scatter(*middle.T, s=0.0, c=QUEUE, edgecolors=PAPER, linewidths=edge, zorder=2)
        nodes = np.concatenate(places)
        ax.scatter(*nodes.T, s=node_area, c=PAPER, edgecolors=INK, linewidths=1.2 * edge, zorder=3)

    def update(self, links: Sequence[LinkTelemetry]) -> Floats:
        """Show the networks' links as they are now; gives the areas of the queues' markers, points² [L]."""
        utilisation, capacity, queue = (
            np.concatenate([getattr(own, name) for own in links]) for name in ("utilisation", "capacity", "mean_queue")
        )
        down = capacity <= 0.0
        colours = LOAD(utilisation)
        colours[~self.used] = to_rgba(UNUSED)
        colours[down] = to_rgba(DOWN)
        self._lines.set_color(list(colours))
        self._lines.set_linewidth(list(self._size * np.where(self.used, 2.5 + 4.0 * utilisation, 1.5)))
        self._lines.set_linestyle([DASHED if broken else "solid" for broken in down])
        areas = queue_area(queue, self._size)
        self._queues.set_sizes(areas)
        return areas


def queue_area(number: float | Floats, size: float) -> Any:
    """Points² of a queue's marker: visible from a tenth of a q-datagram, still moderate at hundreds."""
    return np.where(np.less(number, 0.05), 0.0, 30.0 + 110.0 * np.log1p(number)) * size**2


def beside(towards: Floats) -> tuple[int, int, str, str]:
    """Where the name of a node stands: offset in points and alignment, by the angles at which its links leave."""
    room = [np.abs(np.angle(np.exp(1j * (towards - angle)))).min(initial=np.pi) for angle in BESIDE]
    return BESIDE[list(BESIDE)[int(np.argmax(room))]]

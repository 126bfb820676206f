"""Many networks in one picture, each in a tile of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from qnum_gym.envs.rendering.layout import positions
from qnum_gym.envs.rendering.network import INK, MEASURED, PAPER, UNUSED, NetworkDrawing
from qnum_gym.envs.scores import Outcome
from qnum_gym.labels import plain
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Telemetry

WIDTH, HEIGHT, DPI = 1280, 720, 100  # pixels at most, of all tiles together
READABLE = 150  # pixels: a narrower tile has no text
LEFT, BOTTOM, WIDE, HIGH = 0.07, 0.22, 0.86, 0.56  # of a tile: where its network is
BAR, TEXT = 0.1, 0.09  # of a tile: the score's bar above its lower edge, the text below its upper edge


class Tiles:
    """Draws n networks, each with its links and queues and, as a bar from 0 to 1, its score.

    Attributes:
        scenarios: [n] of the networks. columns, rows: of the tiles. width, height: of a tile, pixels.
    """

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self.scenarios = tuple(scenarios)
        n = len(self.scenarios)
        self.columns = math.ceil(math.sqrt(n))
        self.rows = math.ceil(n / self.columns)
        self.width, self.height = _even(WIDTH / self.columns), _even(HEIGHT / self.rows)
        inches = self.columns * self.width / DPI, self.rows * self.height / DPI
        figure: Any = Figure(inches, DPI, facecolor=PAPER)
        self._canvas: Any = FigureCanvasAgg(figure)
        ax: Any = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, self.columns), ylim=(self.rows, 0))
        ax.set_axis_off()
        corners = np.array([divmod(i, self.columns)[::-1] for i in range(n)], dtype=float)  # upper left ones
        aspect = WIDE * self.width / (HIGH * self.height)
        shapes = {s: (LEFT, 1.0 - BOTTOM) + positions(s, aspect) * (WIDE, -HIGH) for s in dict.fromkeys(self.scenarios)}
        places = [corner + shapes[s] for corner, s in zip(corners, self.scenarios, strict=True)]
        size = min(max(1.2 * self.height / HEIGHT, 0.3), 1.0)
        self._networks = NetworkDrawing(ax, self.scenarios, places, size, node_area=70.0 * size**2)
        self._bars = corners + np.array([LEFT, 1.0 - BAR])
        style: dict[str, Any] = {"linewidths": 14.0 * size, "capstyle": "butt"}
        ax.add_collection(LineCollection(self._segments(np.ones(n)), colors=UNUSED, **style))
        self._scores = LineCollection([], colors=MEASURED, **style)
        ax.add_collection(self._scores)
        font = {"fontsize": 4.0 + 6.0 * size, "color": INK, "va": "center", "ha": "left"}
        readable = self.width >= READABLE
        self._texts = [ax.text(x + LEFT, y + TEXT, "", **font) for x, y in corners] if readable else []

    def picture(self, telemetry: Sequence[Telemetry], outcomes: Sequence[Outcome]) -> NDArray[np.uint8]:
        """[rows · height, columns · width, 3] the n networks in their present interval, row by row."""
        self._networks.update([own.links for own in telemetry])
        scores = np.clip(np.nan_to_num([outcome.score for outcome in outcomes]), 0.0, 1.0)
        self._scores.set_segments(self._segments(scores))
        for text, scenario, own, outcome in zip(self._texts, self.scenarios, telemetry, outcomes, strict=False):
            text.set_text(f"{plain(scenario.name, 22)}   {own.time:g} s   score {outcome.score:.2f}")
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def cut(self, picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], ...]:
        """[n] of [height, width, 3]: the tiles of a picture."""
        shape = self.rows, self.height, self.columns, self.width, 3
        tiles = picture.reshape(shape).swapaxes(1, 2).reshape(-1, self.height, self.width, 3)
        return tuple(tiles[: len(self.scenarios)])

    def _segments(self, shares: Any) -> list[Any]:
        """[n, 2, 2] lines from the left end of each bar over that share of it."""
        ends = self._bars + np.stack((WIDE * shares, np.zeros(len(shares))), axis=1)
        return list(np.stack((self._bars, ends), axis=1))


def _even(pixels: float) -> int:
    """The even number below, which is what video players want, and at least 2."""
    return max(int(pixels) // 2 * 2, 2)

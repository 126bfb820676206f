"""One control interval as a picture: the network with its links on the left, what the sessions get on the right."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from qnum_gym.envs.rendering.layout import positions
from qnum_gym.envs.rendering.network import (
    DASHED,
    DOWN,
    INK,
    LOAD,
    MEASURED,
    OFF,
    OPTIMUM,
    PAPER,
    QUEUE,
    UNUSED,
    WORTHLESS,
    NetworkDrawing,
    beside,
    queue_area,
)
from qnum_gym.envs.rendering.table import mean_name, session_name, unit
from qnum_gym.envs.scores import Outcome
from qnum_gym.labels import plain
from qnum_gym.optimum import yardstick
from qnum_gym.physics import measures, werner
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Telemetry

Floats = NDArray[np.float64]

SIZE, DPI = (12.8, 7.2), 100  # inches; 1280 x 720 pixels: video players want even numbers
HALO = withStroke(linewidth=2.5, foreground=PAPER)
MOST_LETTERS = 26  # of a name
ASPECT = 1.6  # of the box with the network
MOST_LABELS = 40  # links or nodes; a larger network is drawn without labels


class Viewer:
    """Draws one scenario; the figure is built once, and each picture only changes what moves."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._labelled = len(scenario.links) <= MOST_LABELS
        self._size = 1.0 if self._labelled else 0.4  # of lines and markers
        self._optimum_of: float | None = None
        self._figure: Any = Figure(figsize=SIZE, dpi=DPI, facecolor=PAPER)
        self._canvas: Any = FigureCanvasAgg(self._figure)
        self._build_network()
        self._build_legend()
        self._build_sessions()
        self._build_text()

    def picture(self, telemetry: Telemetry, outcome: Outcome) -> NDArray[np.uint8]:
        """[720, 1280, 3] the interval that `telemetry` describes, and the score's window up to it."""
        self._update_optimum(telemetry)
        self._update_links(telemetry)
        self._update_sessions(outcome)
        self._update_text(telemetry, outcome)
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    # --- built once ---------------------------------------------------------------------------------------------------

    def _build_network(self) -> None:
        s = self._scenario
        ax = self._figure.add_axes((0.02, 0.17, 0.585, 0.70))
        ax.set_axis_off()
        xy = positions(s, ASPECT) * (ASPECT, 1.0)
        margin = 0.09 if self._short_names else 0.2
        ax.set_xlim(-margin, ASPECT + margin)
        ax.set_ylim(-0.09, 1.09)
        self._network = NetworkDrawing(ax, [s], [xy], self._size, self._node_area())
        ends = self._network.ends
        self._labels: list[tuple[int, Any, Floats]] = []  # link, label, unit vector from the link to its label
        if self._labelled:
            box = ax.get_position()
            scale = np.array(
                [SIZE[0] * box.width / np.ptp(ax.get_xlim()), SIZE[1] * box.height / np.ptp(ax.get_ylim())]
            )
            self._name_nodes(ax, xy, scale)
            for l in np.flatnonzero(self._network.used):
                self._labels.append((int(l), *self._link_label(ax, ends[l], scale)))

    def _name_nodes(self, ax: Any, xy: Floats, scale: Floats) -> None:
        """Short names within the nodes, long ones beside them, where the links leave most room."""
        a = self._scenario.arrays(0.0)
        for v, (node, place) in enumerate(zip(self._scenario.nodes, xy, strict=True)):
            name = plain(node.name, MOST_LETTERS)
            style = {"fontsize": 8, "color": INK, "zorder": 5, "path_effects": [HALO], "textcoords": "offset points"}
            if self._short_names:
                ax.annotate(name, place, xytext=(0, 0), ha="center", va="center", **style)
                continue
            others = np.concatenate((a.link_b[a.link_a == v], a.link_a[a.link_b == v]))
            towards = np.angle(((xy[others] - place) * scale) @ (1.0, 1.0j))
            x, y, ha, va = beside(towards)
            ax.annotate(name, place, xytext=(x, y), ha=ha, va=va, **style)

    def _link_label(self, ax: Any, ends: Floats, scale: Floats) -> tuple[Any, Floats]:
        """An empty label beside the middle of a link, along it, and the direction in which it stands off."""
        along = (ends[1] - ends[0]) * scale  # inches
        angle = (np.degrees(np.arctan2(along[1], along[0])) + 89.0) % 180.0 - 89.0
        normal = np.array([-np.sin(np.radians(angle)), np.cos(np.radians(angle))])
        label = ax.annotate(
            "", ends.mean(axis=0), xytext=(0, 0), textcoords="offset points", rotation=angle, rotation_mode="anchor",
            ha="center", va="center", fontsize=7.5, color=INK, zorder=4, path_effects=[HALO],
        )  # fmt: skip
        return label, normal

    @property
    def _short_names(self) -> bool:
        return max(len(str(node.name)) for node in self._scenario.nodes) <= 5

    def _node_area(self) -> float:
        """Points²: room for a short name, otherwise a dot."""
        if not self._labelled:
            return 12.0
        longest = max(len(str(node.name)) for node in self._scenario.nodes)
        return 70.0 if longest > 5 else 560.0 if longest > 2 else 260.0

    def _build_legend(self) -> None:
        figure = self._figure
        ax = figure.add_axes((0.04, 0.085, 0.2, 0.018))
        bar = figure.colorbar(ScalarMappable(Normalize(0.0, 100.0), LOAD), cax=ax, orientation="horizontal")
        bar.outline.set_visible(False)
        ax.tick_params(labelsize=8, length=2, colors=INK)
        ax.set_title("link utilisation (%)", fontsize=8.5, color=INK, loc="left", pad=3)
        ax = figure.add_axes((0.27, 0.03, 0.33, 0.10))
        ax.set_axis_off()
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)
        ax.text(0.0, 0.88, "q-datagrams at a link (mean)", fontsize=8.5, color=INK, va="center")
        for x, number in ((0.03, 1), (0.15, 10), (0.29, 100)):
            ax.scatter([x], [0.38], s=queue_area(float(number), self._size), c=QUEUE, edgecolors=PAPER, linewidths=1.0)
            ax.text(x + 0.05, 0.38, str(number), fontsize=8, color=INK, va="center")
        ax.text(0.55, 0.88, "number on a link: w of its fresh pairs", fontsize=8.5, color=INK, va="center")
        ax.plot([0.55, 0.61], [0.38, 0.38], color=DOWN, linewidth=2.0, linestyle=DASHED)
        ax.plot([0.55, 0.61], [0.02, 0.02], color=UNUSED, linewidth=1.5)
        ax.text(0.63, 0.02, "on no session's route", fontsize=8, color=INK, va="center")
        ax.text(0.63, 0.38, "link down", fontsize=8, color=INK, va="center")

    def _build_sessions(self) -> None:
        s = self._scenario
        n = len(s.sessions)
        rows = np.arange(n)
        height = min(0.64, 0.16 * n + 0.06)
        bottom = 0.84 - height
        self._rate_ax = self._figure.add_axes((0.735, bottom, 0.115, height))
        self._fidelity_ax = self._figure.add_axes((0.87, bottom, 0.115, height))
        thick = 0.55
        self._rates = self._rate_ax.barh(rows, np.zeros(n), thick, color=MEASURED)
        self._fidelities = self._fidelity_ax.barh(rows, np.zeros(n), thick, left=0.25, color=MEASURED)
        self._best: list[Any] = []  # marks of the optimum: rates, fidelities
        for ax, title in ((self._rate_ax, "pairs delivered (1/s)"), (self._fidelity_ax, "fidelity F")):
            ax.set_ylim(n - 0.4, -0.6)
            ax.set_title(title, fontsize=9.5, color=INK, loc="left")
            ax.tick_params(labelsize=8.5, colors=INK, length=2)
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_yticks(rows if n <= MOST_LABELS else [])
            (marks,) = ax.plot(
                [], [], linestyle="none", marker="|", markersize=min(20, 220 / n), color=OPTIMUM, markeredgewidth=2.0
            )
            self._best.append(marks)
        names = [plain(session_name(session), MOST_LETTERS) for session in s.sessions]
        if n <= MOST_LABELS:
            self._rate_ax.set_yticklabels(names, fontsize=8.5 if n <= 16 else 6)
            self._fidelity_ax.set_yticklabels([])
        a = s.arrays(0.0)
        worthless = werner.fidelity(measures.positive_from(a.measure))
        self._fidelity_ax.barh(rows, np.array(worthless) - 0.25, 1.0, left=0.25, color=WORTHLESS, zorder=0)
        self._fidelity_ax.set_xlim(0.25, 1.0)
        self._fidelity_ax.set_xticks([0.25, 0.5, 0.75, 1.0], ["0.25", "0.5", "0.75", "1"])
        mark = Line2D([], [], linestyle="none", marker="|", markersize=11, color=OPTIMUM, markeredgewidth=2.0)
        self._figure.legend(
            [self._rates[0], mark, Patch(color=WORTHLESS)],
            ["measured, last 20 intervals", "optimum", "worth nothing by the measure"],
            loc="lower left", bbox_to_anchor=(0.73, 0.02), frameon=False, fontsize=8.5, labelcolor=INK,
        )  # fmt: skip

    def _build_text(self) -> None:
        s = self._scenario
        put = self._figure.text
        put(0.025, 0.945, plain(s.name, 2 * MOST_LETTERS), fontsize=15, fontweight="bold", color=INK, va="center")
        parts = (("session", s.sessions), ("node", s.nodes), ("link", s.links))
        counts = [f"{len(things)} {what}{'s' if len(things) > 1 else ''}" for what, things in parts]
        about = ", ".join([*counts, f"coherence time {s.coherence_time:g} s"])
        put(0.025, 0.902, about, fontsize=9, color="#555555", va="center")
        self._clock = put(0.605, 0.945, "", fontsize=12, color=INK, va="center", ha="right")
        self._result = put(0.985, 0.945, "", fontsize=12, color=INK, va="center", ha="right")

    # --- changed by every picture -------------------------------------------------------------------------------------

    def _update_optimum(self, telemetry: Telemetry) -> None:
        """Rates and fidelities of the optimum that applies: §7's, or §5's where no memory decays."""
        moment = max(time for time in self._scenario.change_times() if time <= telemetry.time)
        if moment == self._optimum_of:
            return
        self._optimum_of = moment
        best = yardstick(self._scenario, moment)
        self._counts, self._best_rates = best.counts, best.best_rates
        rows = np.flatnonzero(best.counts)
        self._best[0].set_data(best.best_rates[rows], rows)
        self._best[1].set_data(werner.fidelity(best.best_werner[rows]), rows)
        self._best_mean = best.geometric_mean

    def _update_links(self, telemetry: Telemetry) -> None:
        links = telemetry.links
        areas = self._network.update([links])
        for l, label, direction in self._labels:
            label.set_text(f"{links.werner[l]:.3f}".lstrip("0"))
            label.xyann = tuple(direction * (max(float(np.sqrt(areas[l] / np.pi)), 4.0) + 6.0))

    def _update_sessions(self, outcome: Outcome) -> None:
        """The window's bars; grey for a session that is off now, or cut off."""
        fidelities = outcome.fidelity
        for r, (rate, fidelity) in enumerate(zip(self._rates, self._fidelities, strict=True)):
            rate.set_width(outcome.rate[r])
            fidelity.set_width(fidelities[r] - 0.25)
            for bar in (rate, fidelity):
                bar.set_color(MEASURED if self._counts[r] else OFF)
        highest = max(
            float(outcome.rate.max()), 1.35 * float(np.max(self._best_rates, initial=0.0, where=self._counts)), 1e-3
        )
        self._rate_ax.set_xlim(0.0, highest * 1.02)

    def _update_text(self, telemetry: Telemetry, outcome: Outcome) -> None:
        self._clock.set_text(f"time {telemetry.time:g} s")
        self._result.set_text(
            f"{mean_name(self._scenario)} {outcome.geometric_mean:.3g} of {self._best_mean:.3g} {unit(self._scenario)}"
            f"   score {outcome.score:.2f}"
        )

"""One control interval as text."""

from __future__ import annotations

from collections.abc import Sequence

from qnum_gym.envs.scores import Outcome
from qnum_gym.physics import measures, werner
from qnum_gym.scenarios import Link, Scenario, Session
from qnum_gym.simulator import Telemetry


def simulated_by(scenario: Scenario) -> str:
    """What stands behind a scenario's name where no packets are simulated: ", simulator NAME"; else nothing."""
    return "" if scenario.simulator == "packet" else f", simulator {scenario.simulator}"


def unit(scenario: Scenario) -> str:
    """Unit of the geometric mean of R·f(W): that of the measure, or just 1/s where they differ."""
    return measures.unit({session.measure or scenario.measure for session in scenario.sessions})


def mean_name(scenario: Scenario) -> str:
    """Which mean of the sessions' R·f(W) the scenario's `fairness` makes of them."""
    return "geometric mean" if scenario.fairness == 1.0 else f"certainty equivalent (α = {scenario.fairness:g})"


def session_name(session: Session) -> str:
    """Source and destination, as in s0→d0."""
    return f"{session.source}→{session.destination}"


def link_name(link: Link) -> str:
    """The two nodes, as in s0–left."""
    return f"{link.a}–{link.b}"


def table(scenario: Scenario, telemetry: Telemetry, outcome: Outcome) -> str:
    """A line on the whole, one per session (what it got: pooled over the score's window) and one per link."""
    t, s, l = telemetry, telemetry.sessions, telemetry.links
    head = (
        f"{scenario.name}  t = {t.time:g} s  score {outcome.score:.3f}  "
        f"{mean_name(scenario)} {outcome.geometric_mean:.4g} {unit(scenario)}"
    )
    sessions = [
        (
            session_name(session),
            f"{s.rate[r]:.3f}",
            f"{outcome.rate[r]:.3f}",
            f"{outcome.werner[r]:.4f}",
            f"{werner.fidelity(float(outcome.werner[r])):.4f}",
            f"{s.unacked[r]}",
            "" if s.active[r] else "off",
        )
        for r, session in enumerate(scenario.sessions)
    ]
    links = [
        (
            link_name(link),
            f"{l.werner[i]:.4f}",
            f"{100 * l.utilisation[i]:.0f} %",
            f"{l.mean_queue[i]:.2f}",
            f"{l.dropped[i]}",
            "" if l.capacity[i] > 0 else "down",
        )
        for i, link in enumerate(scenario.links)
    ]
    return "\n".join(
        [
            head,
            "",
            *_lines(("session", "R (1/s)", "delivered (1/s)", "W", "F", "unacknowledged", ""), sessions),
            "",
            *_lines(("link", "w", "utilisation", "mean queue", "dropped", ""), links),
        ]
    )


def _lines(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Aligned columns: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]

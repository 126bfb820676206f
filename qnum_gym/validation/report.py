"""A run of laws: its table, its files, its figure. [ours]"""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from qnum_gym import __version__, files
from qnum_gym.evaluation.style import COLOURS, FAINT, canvas, save, style
from qnum_gym.labels import plain
from qnum_gym.validation.law import FALSE_ALARM, Finding, Law, critical

BEGIN, END = "<!-- made by qnum-gym validate -->", "<!-- end -->"  # of the table in a page


@dataclass(frozen=True, slots=True)
class Run:
    """What laws came to: (law, finding) in order, and how long it took, s."""

    findings: tuple[tuple[Law, Finding], ...]
    effort: float
    seconds: float

    @property
    def failed(self) -> tuple[tuple[Law, Finding], ...]:
        """Those that disagree."""
        return tuple((law, found) for law, found in self.findings if not self.agrees(found))

    def agrees(self, finding: Finding) -> bool:
        """The verdict on a finding, among all of the run."""
        return finding.agrees(len(self.findings))

    def rows(self) -> list[dict[str, Any]]:
        """A row per finding, for files."""
        return [
            {
                "law": law.name,
                "case": found.case,
                "expected": found.expected,
                "measured": found.measured,
                "standard_error": found.error,
                "tolerance": found.tolerance,
                "deviation": found.deviation if np.isfinite(found.deviation) else None,
                "agrees": self.agrees(found),
                "source": law.source,
            }
            for law, found in self.findings
        ]


def run(laws: Sequence[Law], effort: float, tell: Any = None) -> Run:
    """All findings of `laws`; `tell(done, total, name)` hears of each law that is done."""
    begun = perf_counter()
    found: list[tuple[Law, Finding]] = []
    for done, law in enumerate(laws, 1):
        found += [(law, finding) for finding in law.findings(effort)]
        if tell is not None:
            tell(done, len(laws), law.name)
    return Run(tuple(found), effort, perf_counter() - begun)


def commit() -> str:
    """Of the clone that the code is in, or the package's version where there is none."""
    asked = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=7"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__


def markdown(run: Run, command: str) -> str:
    """The table of a page."""
    lines = [
        f"`{command}` at {commit()}: {len(run.findings)} findings, {len(run.failed)} disagree; {run.seconds:.0f} s.",
        "",
        "| law | case | independent value | measured | standard error | deviation | |",
        "|---|---|---|---|---|---|---|",
    ]
    previous = ""
    for law, found in run.findings:
        name = f"**{law.name}**: {law.says}. *{law.source}*" if law.name != previous else ""
        previous = law.name
        apart = abs(found.measured - found.expected)
        cells = (
            *(name, found.case, f"{found.expected:.6g}", f"{found.measured:.6g}"),
            f"{found.error:.1e}" if found.error else "none",
            f"{found.deviation:+.1f}" if found.error else f"{apart:.0e}",
            "agrees" if run.agrees(found) else "**disagrees**",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def put_into(page: str, table: str) -> str:
    """The page with another table between its marks.

    Raises:
        ValueError: it has none.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no marks; valid: a page with {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{table}{END}{tail}"


def write(run: Run, folder: Path, command: str) -> tuple[Path, ...]:
    """validation.csv, validation.json and validation.png in a folder that is there."""
    paths = tuple(folder / f"validation.{suffix}" for suffix in ("csv", "json", "png"))
    text, rows = io.StringIO(), run.rows()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write(paths[0], text.getvalue())
    head = {"command": command, "commit": commit(), "version": __version__, "seconds": round(run.seconds, 1)}
    files.write(paths[1], json.dumps({**head, "findings": rows}, indent=1, allow_nan=False) + "\n")
    draw(run, paths[2])
    return paths


def draw(run: Run, path: Path) -> None:
    """The deviations of all estimates, in standard errors, within what chance allows."""
    found = [(law, finding) for law, finding in run.findings if finding.error > 0.0]
    figure = canvas(7.5, 1.2 + 0.2 * len(found))
    axes = figure.subplots()
    for y, (_, finding) in enumerate(found):
        limit = critical(len(run.findings), finding.freedom)
        axes.plot([-limit, limit], [y, y], color=FAINT, lw=5, solid_capstyle="butt", zorder=0)
        colour = COLOURS[0] if run.agrees(finding) else COLOURS[1]
        axes.plot(np.clip(finding.deviation, -12.0, 12.0), y, "o", ms=5, color=colour)
    style(axes)
    axes.set_yticks(range(len(found)), [plain(f"{law.name}: {finding.case}") for law, finding in found], fontsize=7)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xlabel("measured − independent value, in standard errors")
    save(figure, path, f"grey: what chance exceeds anywhere in {FALSE_ALARM:.0%} of all runs")

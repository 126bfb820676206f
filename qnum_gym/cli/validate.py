"""`qnum-gym validate`: laws with independent values, measured now."""

from __future__ import annotations

import argparse
from pathlib import Path

from qnum_gym import files
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.registry import suggest

QUICK = 0.02  # of the simulated time
FAILED = 1  # exit code


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("names", nargs="*", metavar="LAW", help="laws (default: all), by the names in the table")
    parser.add_argument("--quick", action="store_true", help="a fiftieth of the simulated time: seconds, wider errors")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the table as CSV and JSON, and a figure")
    parser.add_argument("--page", type=Path, metavar="FILE", help="put the table between the marks of a Markdown page")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Measure, print, write; exit code 1 if anything disagrees."""
    from qnum_gym.evaluation.tables import aligned
    from qnum_gym.validation import report
    from qnum_gym.validation.law import registry

    known = registry()
    names: list[str] = arguments.names or list(known)
    for name in names:
        if name not in known:
            raise UsageError(f"LAW {name!r}: {suggest(name, known)}valid: {', '.join(known)}")
    page: Path | None = arguments.page
    try:
        before = page.read_text(encoding="utf-8") if page else ""
        if page:
            report.put_into(before, "")
    except (OSError, ValueError) as error:
        raise UsageError(f"--page {str(page)!r}: {error}") from None
    folder = common.folder_for("--out", arguments.out) if arguments.out else None
    with ProgressLine("validate", "laws") as progress:
        run = report.run([known[name] for name in names], QUICK if arguments.quick else 1.0, progress)
    said = " ".join(["qnum-gym validate", *arguments.names, *(["--quick"] if arguments.quick else [])])
    if folder:
        report.write(run, folder, said)
    if page:
        files.write(page, report.put_into(before, report.markdown(run, said)))
    if arguments.json:
        common.print_json(run.rows())
    else:
        rows = [("law", "case", "independent", "measured", "error", "")]
        rows += [
            (
                *(law.name, found.case, f"{found.expected:.6g}", f"{found.measured:.6g}"),
                f"{found.error:.1e}",
                f"{found.deviation:+.1f}" if run.agrees(found) else f"{found.deviation:+.1f} DISAGREES",
            )
            for law, found in run.findings
        ]
        print(aligned(rows))
        print(f"\n{len(run.findings)} findings, {len(run.failed)} disagree; {run.seconds:.0f} s")
    return FAILED if run.failed else 0

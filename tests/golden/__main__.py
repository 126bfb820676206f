"""Record what no golden file has yet: `python -m tests.golden`, from the repository's root.

What is there already stays, unless it is asked for: `--overwrite scenarios` for a file, `--overwrite "scenarios/fair"`
for a case. Whoever overwrites says in docs/errata.md what changed.
"""

from __future__ import annotations

import argparse

from . import cases
from .measure import KINDS, measured, names, store, stored


def main() -> None:
    """Record, and say which fields and values of a scenario no case has."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--overwrite", nargs="+", default=[], metavar="KIND[/CASE]")
    wanted: list[str] = parser.parse_args().overwrite
    valid = [*KINDS, *(f"{kind}/{name}" for kind in KINDS for name in names(kind))]
    for entry in wanted:
        if entry not in valid:
            parser.error(f"--overwrite {entry!r}: no such file or case")
    for kind in KINDS:
        found = {} if kind in wanted else stored(kind)
        for name in names(kind):
            if name not in found or f"{kind}/{name}" in wanted:
                print(f"{kind}/{name}")
                found[name] = measured(kind, name)
        store(kind, found)
    for line in cases.uncovered():
        print(f"in no scenario: {line}")


main()

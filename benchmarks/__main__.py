"""python -m benchmarks [CASE …] [--json]"""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec

from benchmarks import harness
from benchmarks.before import BEFORE
from benchmarks.cases import CASES


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure speed, side by side.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--json", action="store_true", help="print the file's content in place of the table")
    arguments = parser.parse_args()
    for case in arguments.cases:
        if case not in CASES:
            parser.error(f"CASE = {case!r}; valid: {', '.join(CASES)}")
    figures: list[harness.Figure] = []
    ratios: list[harness.Ratio] = []
    for case in arguments.cases or CASES:
        if case == "ppo" and not find_spec("stable_baselines3"):
            print("ppo: left out, stable-baselines3 is not installed", file=sys.stderr)
            continue
        if case == "scalar" and BEFORE not in os.environ:
            print(f"scalar: left out, {BEFORE} names no other checkout", file=sys.stderr)
            continue
        print(f"{case}: {CASES[case].__doc__}", file=sys.stderr)
        more, its = CASES[case]()
        figures += more
        ratios += its
    path = harness.save("-".join(arguments.cases) or "all", figures, ratios)
    print(path.read_text() if arguments.json else harness.table(figures, ratios))
    print(f"saved to {path}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""`qnum-gym list`: what can be asked for by name."""

from __future__ import annotations

import argparse

from qnum_gym.cli import common
from qnum_gym.scenarios import topologies


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Print environment ids, scenarios and policies."""
    from qnum_gym import agents

    found = {
        "environments": common.ids(),
        "scenarios": topologies.names(),
        "policies": (*agents.names(), *agents.zoo()),
    }
    if arguments.json:
        common.print_json(found)
    else:
        for what, names in found.items():
            print(f"{what}:", *names, sep="\n  ")
    return 0

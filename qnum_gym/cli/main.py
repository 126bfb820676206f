"""`qnum-gym`: what is there, what is best, what happens."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import cast

from qnum_gym import __version__
from qnum_gym.cli import common

# Name -> its module, which has `add(parser)` and `command(arguments)`, and what it does.
COMMANDS = {
    "list": ("listing", "environment ids, scenarios and policies"),
    "environments": (
        "environments",
        "what each environment is, in Markdown",
    ),
    "fields": ("fields", "all fields of a scenario, in Markdown"),
    "network": ("network", "a scenario's network: nodes, links, sessions, a map, and all of it as YAML"),
    "optimum": ("optimum", "the best rates and Werner parameters of a scenario, with prices"),
    "stability": ("stability", "whether QPrimalDual comes to rest: V, eigenvalues, largest stable gains by delay"),
    "simulate": ("simulate", "one episode of one policy, in numbers and as a picture"),
    "sweep": ("sweep", "fields × policies × seeds on any scenario, as tables and figure"),
    "reproduce": ("reproduce", "the experiments of the paper and beyond, as tables and figures"),
    "validate": ("validate", "the evidence that the simulator is right, law by law"),
    "corrections": ("corrections", "what a local policy does differently from QPrimalDual-DA, as a picture"),
    "tune": ("tune", "a policy's constants chosen by trials on a set of scenarios"),
}


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = common.Parser("qnum-gym", description="Resource allocation in quantum networks.")
    parser.add_argument("--version", action="version", version=f"qnum-gym {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        room = import_module(f"qnum_gym.cli.{module}")
        room.add(command)
        command.set_defaults(command=room.command)
    return parser


def _command(arguments: argparse.Namespace) -> int:
    return cast("Callable[[argparse.Namespace], int]", arguments.command)(arguments)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `qnum-gym`; returns the exit code."""
    return common.run(_command, parser(), argv)

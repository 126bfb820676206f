"""`evaluate.py --suite`: the leaderboard of a split of scenario families."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.evaluation.suite import SEEDS, TASKS
from qnum_gym.files import locked
from qnum_gym.registry import suggest

if TYPE_CHECKING:
    from qnum_gym.evaluation.policies import PolicySpec
    from qnum_gym.evaluation.suite import Task

QUICK_SEEDS, QUICK_TASKS = 2, 3
WITHOUT = ("random", "qprimaldual", "qprimaldual-approx", "qprimaldual-pi", "qprimaldual-paper")  # by default


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only `--suite` takes."""
    group = parser.add_argument_group("with --suite")
    group.add_argument("--family", action="append", metavar="NAME", help="only this family; as often as wanted")
    group.add_argument(
        "--tasks", type=common.at_least(1), metavar="N", help=f"scenarios of each family (default {TASKS})"
    )
    group.add_argument("--quick", action="store_true", help=f"{QUICK_TASKS} tasks of each family, {QUICK_SEEDS} seeds")


def command(arguments: argparse.Namespace) -> int:
    """Run what was not run before; print and save the leaderboard."""
    from qnum_gym.evaluation import Processes, Store, suite
    from qnum_gym.evaluation.leaderboard import Leaderboard
    from qnum_gym.evaluation.report import save_leaderboard
    from qnum_gym.simulator.batch import cores

    split: str = arguments.suite
    names = _families(split, arguments.family or ())
    for option in ("set", "steps"):
        if getattr(arguments, option):
            raise UsageError(f"--{option}: valid: with --env or --scenario; the suite's tasks are what they are")
    policies = _policies(arguments.policy or ())
    count = arguments.tasks or (QUICK_TASKS if arguments.quick else TASKS)
    seeds = range(arguments.seeds or (QUICK_SEEDS if arguments.quick else SEEDS))
    print(f"drawing {len(names)} families of {count} tasks", file=sys.stderr)
    tasks = suite.tasks(names, count)
    _check(policies, tasks)
    folder = common.folder_for("--out", arguments.out or Path("runs", "suite", split))
    try:
        with locked(folder), Processes(arguments.jobs or cores()) as processes, ProgressLine("suite") as line:
            store = Store(folder / "cache")
            scores = suite.run(policies, tasks, seeds, store=store, processes=processes, progress=line)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from there", file=sys.stderr)
        raise
    leaderboard = Leaderboard(split, scores, policies)
    paths = save_leaderboard(leaderboard, folder)
    if arguments.json:
        common.print_json(leaderboard.as_json())
    else:
        print(leaderboard.text(), flush=True)
    print(f"\n{folder}: {', '.join(path.name for path in paths)}", file=sys.stderr)
    return 0


def _families(split: str, wanted: Sequence[str]) -> tuple[str, ...]:
    """Those wanted of the split's families; all if none is named."""
    from qnum_gym import families

    if split not in families.SPLITS:
        raise UsageError(f"--suite {split!r}: {suggest(split, families.SPLITS)}valid: {', '.join(families.SPLITS)}")
    valid = families.names(split)
    for name in wanted:
        if name not in valid:
            raise UsageError(f"--family {name!r}: {suggest(name, valid)}valid in {split!r}: {', '.join(valid)}")
    return tuple(name for name in valid if not wanted or name in wanted)


def _policies(texts: Sequence[str]) -> list[PolicySpec]:
    """Those asked for, or all but those that are there to be compared with themselves; always the two references."""
    from qnum_gym import agents
    from qnum_gym.evaluation.suite import BASELINE, REFERENCE

    texts = texts or [name for name in (*agents.names(), *agents.zoo()) if name not in WITHOUT]
    found = common.specs(texts, several=True)
    labels = {spec.label for spec in found}
    return [*found, *(common.spec(name) for name in (BASELINE, REFERENCE) if name not in labels)]


def _check(policies: Sequence[PolicySpec], tasks: Sequence[Task]) -> None:
    """Whether everyone can do what is asked, before anything runs."""
    first = {task.family: task.scenario for task in reversed(tasks)}
    for policy in policies:
        for scenario in first.values():
            common.policy(policy, scenario)

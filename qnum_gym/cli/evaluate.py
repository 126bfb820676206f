"""`evaluate.py`: policies compared on paired seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from qnum_gym.cli import common, suite
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.scenarios import Scenario

SEEDS = 20  # by default

DESCRIPTION = """Run policies on the same episodes, with the same random draws, and compare them.

An episode is judged by its second half, pooled: each session's delivered pairs per second R and their mean Werner
parameter W. gm is the geometric mean over sessions of R f(W), averaged over the seeds; the score is the share of the
optimum, gm / gm*: 0 is worth nothing, 1 is the optimum of the formula. Fidelity floors and demands that are not kept
cost score; sessions that nobody can serve count in neither.

With --suite: on all tasks of a split of scenario families, and ranked by score. What was run before is
kept and not run again."""

EPILOG = """examples:
  python evaluate.py --env qnum_gym/Dumbbell-v0 --policy oracle --policy qprimaldual-da --seeds 20
  python evaluate.py --env NSFNet-v0 --set coherence_time=100 --policy qprimaldual-da --steps 1000
  python evaluate.py --env Dumbbell-v0 --policy my.py:Mine --policy oracle
  python evaluate.py --env Dumbbell-v0 --policy ppo=runs/ppo_dumbbell/model.zip --policy oracle --json
  python evaluate.py --suite test
  python evaluate.py --suite test --policy mine=runs/a/model.zip,runs/b/model.zip --seeds 5 --tasks 6"""


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = common.Parser("evaluate.py", description=DESCRIPTION, epilog=EPILOG)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--env", metavar="ID", help="a registered environment, e.g. qnum_gym/Dumbbell-v0")
    where.add_argument(
        "--scenario", metavar="FILE", help="a scenario's YAML file, a network's file (GraphML, …), or a scenario's name"
    )
    where.add_argument("--suite", metavar="SPLIT", help="all families of test, validation, …: the leaderboard")
    common.add_set_option(parser)
    parser.add_argument(
        "--policy",
        action="append",
        metavar="POLICY",
        help=f"{common.POLICY}, or LABEL=any of these; as often as wanted; with --suite also "
        "LABEL=PATH,PATH,…, several trainings of one method, and by default the hand-made ones",
    )
    parser.add_argument(
        "--seeds",
        type=common.at_least(1),
        metavar="N",
        help=f"episodes per policy (and task): seeds 0 to N − 1 (default {SEEDS}; with --suite {suite.SEEDS})",
    )
    parser.add_argument(
        "--steps", type=_even, metavar="K", help="control intervals per episode, even (default: the scenario's)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of table, CSV, figure (default: runs/evaluate/<env>-<time>; with --json: none; with --suite: "
        "runs/suite/<split>)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    common.add_jobs_option(parser, "1; with --suite as many as cores")
    suite.add_options(parser)
    common.add_model_options(parser)
    return parser


def _even(text: str) -> int:
    value = common.at_least(2)(text)
    if value % 2:
        raise argparse.ArgumentTypeError(f"{text!r}: valid: an even number, as the second half is what counts")
    return value


def command(arguments: argparse.Namespace) -> int:
    """Compare, print, save."""
    if arguments.suite is not None:
        if given := common.model_options(arguments):
            raise UsageError(f"--{min(given).replace('_', '-')}: valid: without --suite, which runs files as they are")
        return suite.command(arguments)
    for option in ("family", "tasks", "quick"):
        if getattr(arguments, option):
            raise UsageError(f"--{option}: valid: with --suite")
    if not arguments.policy:
        raise UsageError("--policy: valid: at least one, e.g. --policy qprimaldual-da")
    env, scenario = _scenario(arguments)
    policies = common.specs(arguments.policy, common.model_options(arguments))
    for policy in policies:
        common.policy(policy, scenario)
    folder = arguments.out
    if folder is None and not arguments.json:
        folder = Path("runs", "evaluate", f"{Path(env).stem}-{datetime.now():%Y%m%d-%H%M%S}")
    if folder is not None:
        common.folder_for("--out", folder)
    from qnum_gym import evaluation

    by_label, seeds = {policy.label: policy for policy in policies}, range(arguments.seeds or SEEDS)
    with evaluation.Processes(arguments.jobs or 1) as processes, ProgressLine("evaluate") as line:
        results = evaluation.evaluate(scenario, by_label, seeds, env=env, processes=processes, progress=line)
    paths: list[Path] = []
    if folder is not None:  # first: what is printed may be lost
        paths = evaluation.save(results, folder)
    if arguments.json:
        common.print_json(evaluation.as_json(results))
    else:
        print(evaluation.table(results), flush=True)
    if paths:
        print(f"\n{folder}: {', '.join(path.name for path in paths)}", file=sys.stderr)
    return 0


def _scenario(arguments: argparse.Namespace) -> tuple[str, Scenario]:
    """Name and scenario that the options ask for."""
    if arguments.env is not None:
        env, scenario = common.scenario_of_id(arguments.env, arguments.set)
    else:
        env, scenario = arguments.scenario, common.scenario_of_name(arguments.scenario, arguments.set)
    if arguments.steps is not None:
        scenario = scenario.replace(episode_length=arguments.steps)
    return env, scenario


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of evaluate.py; returns the exit code."""
    return common.run(command, parser(), argv)

"""`qnum-gym sweep`: fields × policies × seeds on any scenario, as tables and figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.files import locked, write

RESULTS = Path("runs", "sweep")
NAME = "sweep"  # of the files
FORMATS = ("png", "pdf", "svg")
SEEDS = 10

EPILOG = """examples:
  qnum-gym sweep dumbbell --vary coherence_time=[3,10,100] --policy qprimaldual-da --policy aimd
  qnum-gym sweep my.yaml --vary links.length_km=[10,20,40] --vary hold=[header,ack] --policy qprimaldual-da
  qnum-gym sweep surfnet.gml --set sessions=8 --vary max_km=[25,40,60] --vary 'links[3].coupling=[0.5,1]' \\
      --policy qprimaldual-da --seeds 20 --figure pdf"""


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = EPILOG
    parser.add_argument("scenario", metavar="SCENARIO", help="a scenario's name, or a YAML or network file")
    parser.add_argument(
        "--vary", action="append", default=[], metavar="FIELD=[V,…]", help="values of a field, of links.FIELD, "
        "links[2].FIELD, …; as often as wanted: all combinations are run",
    )  # fmt: skip
    common.add_set_option(parser)
    parser.add_argument("--policy", action="append", default=[], metavar="POLICY", help=common.POLICY)
    parser.add_argument("--seeds", type=common.at_least(1), default=SEEDS, metavar="N", help="(default %(default)s)")
    parser.add_argument("--steps", type=common.at_least(2), metavar="K", help="control intervals (the scenario's)")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="DIR", help="folder of the results (%(default)s/)")
    parser.add_argument("--figure", action="append", choices=FORMATS, help="as often as wanted (default: png)")
    common.add_jobs_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def command(arguments: argparse.Namespace) -> int:
    """Run what is not in the cache; print and write tables and figure."""
    from qnum_gym.config import ConfigError
    from qnum_gym.evaluation.processes import Processes
    from qnum_gym.experiments.field_sweep import FieldSweep, text
    from qnum_gym.experiments.reproduce import reproduce
    from qnum_gym.simulator.batch import cores

    try:
        experiment = FieldSweep.checked(_fields(arguments), "sweep")
        for _, scenario in experiment.points[:1]:
            for policy in experiment.policies:
                common.policy(policy, scenario)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    folder = common.folder_for("--out", arguments.out)
    try:
        with locked(folder), Processes(arguments.jobs or cores()) as processes, ProgressLine(NAME) as line:
            report = reproduce(NAME, experiment, folder, processes, line, formats=arguments.figure or FORMATS[:1])
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from there", file=sys.stderr)
        raise
    write(folder / f"{NAME}.txt", text(report.rows) + "\n")
    names = [f"{NAME}.txt", *(path.name for path in report.files)]
    if arguments.json:
        common.print_json([dict(row) for row in report.rows])
    else:
        print(text(report.rows), flush=True)
    print(f"\n{folder}: {', '.join(names)}; {report.simulated} of {report.episodes} episodes run now", file=sys.stderr)
    return 0


def _fields(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the options say, as an experiment's configuration."""
    from qnum_gym.experiments.experiment import network

    if not arguments.vary:
        raise UsageError("--vary: valid: at least one, e.g. --vary coherence_time=[3,10,100]")
    if not arguments.policy:
        raise UsageError("--policy: valid: at least one, e.g. --policy qprimaldual-da")
    vary = common.overrides(arguments.vary, option="--vary", example="coherence_time=[3,10,100]")
    fixed = common.overrides(arguments.set)
    for field, values in vary.items():
        if not isinstance(values, list) or not values:
            raise UsageError(f"--vary {field}={values!r}: valid: a list of values, e.g. {field}=[1,2]")
    intervals = arguments.steps
    if intervals is None:
        first = {**fixed, **{field: values[0] for field, values in vary.items()}}
        intervals = network(arguments.scenario, **first).episode_length
    fixed.pop("episode_length", None)  # is in `intervals`
    policies = common.specs(arguments.policy)
    return {
        "scenario": arguments.scenario,
        "fixed": fixed,
        "vary": vary,
        "policies": policies,
        "seeds": arguments.seeds,
        "intervals": intervals,
    }

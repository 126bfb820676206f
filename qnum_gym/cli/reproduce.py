"""`qnum-gym reproduce`: the experiments, as tables and figures."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from qnum_gym import experiments
from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.files import locked
from qnum_gym.registry import suggest

RESULTS = Path("runs", "reproduce")
NETWORKS = "networks"  # the field that --scenario sets


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    valid = ", ".join(experiments.names())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"experiments (default: all): {valid}")
    parser.add_argument("--quick", action="store_true", help="fewer seeds and cases, for a first look in minutes")
    parser.add_argument("--config", type=Path, metavar="FILE", help="another configuration, of the one NAME given")
    parser.add_argument(
        "--scenario", action="append", metavar="FILE", help="a scenario's YAML file, or its name, in place of the "
        "networks of the configuration; as often as wanted; the default is then all experiments that have networks",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=RESULTS, metavar="DIR", help=f"folder of the results (default {RESULTS}/)"
    )
    common.add_jobs_option(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Run what is not in the cache, write tables and figures, say where."""
    from qnum_gym.config import ConfigError
    from qnum_gym.evaluation.processes import Processes
    from qnum_gym.experiments.experiment import Experiment
    from qnum_gym.experiments.reproduce import reproduce
    from qnum_gym.optimum import InfeasibleError
    from qnum_gym.simulator.batch import cores

    names: list[str] = list(dict.fromkeys(arguments.names)) or _all(arguments.scenario)
    for name in names:
        if name not in experiments.names():
            valid = experiments.names()
            raise UsageError(f"NAME {name!r}: {suggest(name, valid)}valid: {', '.join(valid)}")
    if arguments.config is not None and len(names) != 1:
        raise UsageError(f"--config {str(arguments.config)!r}: valid: with exactly one NAME, of {len(names)} now")
    chosen: dict[str, Experiment] = {}
    results: list[dict[str, object]] = []
    try:
        for name in names:
            kind, given = experiments.registry()[name], arguments.config
            changes = {NETWORKS: arguments.scenario} if arguments.scenario else {}
            if changes and NETWORKS not in kind.model_fields:
                raise UsageError(f"--scenario: {name} makes its own networks; valid: {', '.join(sorted(_all(True)))}")
            read = partial(kind.from_yaml, given) if given else kind.shipped
            chosen[name] = read(arguments.quick, **changes)
        folder = common.folder_for("--out", arguments.out)
        with locked(folder), Processes(arguments.jobs or cores()) as processes:
            for name, experiment in chosen.items():
                with ProgressLine(name) as line:
                    report = reproduce(name, experiment, folder, processes, line)
                results.append(
                    {
                        "experiment": name,
                        "quick": arguments.quick,
                        "runs": report.runs,
                        "episodes": report.episodes,
                        "simulated": report.simulated,
                        "seconds": round(report.seconds, 1),
                        "files": [str(path) for path in report.files],
                    }
                )
                if not arguments.json:
                    print(
                        f"{name}: {len(report.rows)} rows of {report.runs} runs, {report.simulated} of "
                        f"{report.episodes} episodes simulated now, in {report.seconds:.0f} s: "
                        f"{', '.join(str(path) for path in report.files)}",
                        flush=True,
                    )
    except (ConfigError, InfeasibleError) as error:
        raise UsageError(str(error)) from None
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from there", file=sys.stderr)
        raise
    if arguments.json:
        common.print_json(results)
    return 0


def _all(own: object) -> list[str]:
    """The experiments there are; of those, if there are networks of one's own, the ones that take them."""
    if not own:
        return list(experiments.names())
    known = experiments.registry()
    return [name for name in known if NETWORKS in known[name].model_fields]

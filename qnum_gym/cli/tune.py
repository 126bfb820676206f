"""`qnum-gym tune`: a policy's constants chosen by trials on a set of scenarios."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine

RUNS = Path("runs", "tune")


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "--policy", required=True, help="whose constants are tuned: a name, file.py:Class or module:Class"
    )
    parser.add_argument(
        "--scenario",
        action="append",
        required=True,
        metavar="NAME",
        help="a scenario's name, an environment id, or a YAML file; as often as wanted",
    )
    parser.add_argument(
        "--trials", type=common.at_least(1), default=60, metavar="N", help="in all, those done before too (default 60)"
    )
    parser.add_argument(
        "--seeds", type=common.at_least(1), default=4, metavar="N", help="episodes per scenario and trial (default 4)"
    )
    parser.add_argument(
        "--steps", type=common.at_least(2), metavar="K", help="control intervals per episode (default: the scenario's)"
    )
    parser.add_argument("--search-seed", type=common.at_least(0), default=0, metavar="S", help="of the search")
    parser.add_argument("--out", type=Path, metavar="FILE", help="YAML file of the result")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help=f"of the study, which goes on if there is one (default {RUNS}/NAME)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(arguments: argparse.Namespace) -> int:
    """Tune, print, save."""
    common.needs("tune", "optuna")
    from qnum_gym.evaluation import tuning

    try:
        tuning.space(arguments.policy)
    except (ValueError, OSError, ImportError) as error:
        raise UsageError(f"--policy {arguments.policy!r}: {error}") from None
    scenarios = {name: common.scenario_of_name(name) for name in arguments.scenario}
    if arguments.steps is not None:
        scenarios = {name: scenario.replace(episode_length=arguments.steps) for name, scenario in scenarios.items()}
    lengths = tuple(scenario.episode_length for scenario in scenarios.values())
    task = tuning.Task(arguments.policy, tuple(scenarios), lengths, arguments.seeds, arguments.search_seed)
    folder = common.folder_for("--folder", arguments.folder or RUNS / Path(arguments.policy).name.replace(":", "-"))
    if arguments.out is not None:
        common.file_for("--out", arguments.out)
    try:
        with ProgressLine("tune", "trials") as line:

            def tell(done: int, value: float, best: float) -> None:
                line(done, arguments.trials, f"{value:.4f} of the oracle's, best {best:.4f}")

            tuned = tuning.tune(task, scenarios, arguments.trials, folder, tell)
    except tuning.StudyError as error:
        raise UsageError(f"--folder {str(folder)!r}: {error}") from None
    except KeyboardInterrupt:
        print(f"\nstopped; the same command goes on from {folder}", file=sys.stderr)
        raise
    if arguments.out is not None:
        tuned.to_yaml(arguments.out)
    result = {
        "policy": arguments.policy,
        "options": tuned.options,
        "ratio_to_oracle": tuned.value,
        "ratio_with_defaults": tuned.before,
        "trials": tuned.trials,
        "seconds": tuned.seconds,
    }
    if arguments.json:
        common.print_json(result)
    else:
        print(f"{arguments.policy}: {tuned.value:.4f} of the oracle's geometric mean, with defaults {tuned.before:.4f}")
        print(*(f"  {name}: {value:g}" for name, value in tuned.options.items()), sep="\n")
        print(f"{tuned.trials} trials in {tuned.seconds:.0f} s", file=sys.stderr)
    return 0

"""`train.py`: an algorithm of Stable-Baselines3 from a configuration, to the comparison with the references."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from qnum_gym.cli import common
from qnum_gym.cli.common import UsageError
from qnum_gym.cli.progress import ProgressLine
from qnum_gym.files import locked

if TYPE_CHECKING:
    from qnum_gym.training.callback import Row
    from qnum_gym.training.config import TrainConfig
    from qnum_gym.training.folder import RunFolder
    from qnum_gym.training.local import LocalConfig

DESCRIPTION = """Train a policy on a quantum network, beside the references, and compare them all at the end.

Every run has a folder of its own: configuration, versions, checkpoint, model.zip, best_model.zip, eval.csv, TensorBoard
logs, and at the end the comparison as table, CSV and figure. Ctrl-C stops after the present rollout with everything
saved; --resume goes on from there and ends with the same bits as an undisturbed run."""

EPILOG = """examples:
  python train.py --config configs/train/ppo_dumbbell.yaml
  python train.py --config configs/train/ppo_dumbbell.yaml --seed 1 --name second
  python train.py --resume runs/ppo_dumbbell"""

NEEDED = ("stable_baselines3", "sb3_contrib", "torch", "tensorboard")
RUNS = Path("runs")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = common.Parser("train.py", description=DESCRIPTION, epilog=EPILOG)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config", type=Path, metavar="FILE", help="a training configuration, see configs/train/")
    which.add_argument("--resume", type=Path, metavar="DIR", help="go on with the run of this folder")
    parser.add_argument(
        "--name", help="of the run's folder (default: the configuration's; a number is added if it exists)"
    )
    parser.add_argument("--seed", type=common.at_least(0), help="in place of the configuration's")
    parser.add_argument("--steps", type=common.at_least(1), help="in place of the configuration's")
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help=f"where new folders go (default {RUNS}/)"
    )
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Train or resume, compare, print."""
    common.needs("train", *NEEDED)
    from qnum_gym.config import ConfigError
    from qnum_gym.training.config import TrainConfig

    try:
        config, folder = _resumed(arguments) if arguments.resume else _new(arguments)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    if folder.finished:  # of a central policy
        print(f"{folder.path} is finished: nothing to resume\n")
        print((folder.path / "table.txt").read_text(encoding="utf-8"), end="")
        return 0
    for change in folder.drift():
        print(f"{change}: the run may not end as it would have", file=sys.stderr)
    try:
        with locked(folder.path):
            return _run(config, folder) if isinstance(config, TrainConfig) else _local(config, folder)
    except ConfigError as error:
        raise UsageError(str(error)) from None


def _new(arguments: argparse.Namespace) -> tuple[TrainConfig | LocalConfig, RunFolder]:
    from qnum_gym.config import ConfigError
    from qnum_gym.training import kinds
    from qnum_gym.training.config import TrainConfig
    from qnum_gym.training.folder import RunFolder
    from qnum_gym.training.run import check

    config = kinds.from_yaml(arguments.config)
    given = {key: getattr(arguments, key) for key in ("name", "seed", "steps")}
    given = {key: value for key, value in given.items() if value is not None}
    if not isinstance(config, TrainConfig) and "steps" in given:
        raise ConfigError(f"--steps {given['steps']}: the configuration counts rounds; valid: without --steps")
    config = config.replace(**given)
    if isinstance(config, TrainConfig):
        check(config, str(arguments.config))
    return config, RunFolder.create(config, arguments.runs)


def _resumed(arguments: argparse.Namespace) -> tuple[TrainConfig | LocalConfig, RunFolder]:
    from qnum_gym.config import ConfigError
    from qnum_gym.training import kinds
    from qnum_gym.training.folder import RunFolder

    for option in ("name", "seed", "steps"):
        if getattr(arguments, option) is not None:
            raise ConfigError(
                f"--{option} {getattr(arguments, option)}: a resumed run keeps its own; valid: only --resume DIR"
            )
    folder = RunFolder.existing(arguments.resume)
    return kinds.from_yaml(folder.config), folder


def _run(config: TrainConfig, folder: RunFolder) -> int:
    from qnum_gym import evaluation
    from qnum_gym.training.callback import Interrupted, StopRequest
    from qnum_gym.training.run import compare, train

    total = config.total_steps
    print(f"{folder.path}: {config.name} on {config.env}, {total} steps, seed {config.seed}", file=sys.stderr)
    begun = perf_counter()
    try:
        with StopRequest() as stop, ProgressLine("train", "steps") as line:
            train(config, folder, _Observer(line, total), stop)
        seconds = perf_counter() - begun
        with ProgressLine("compare") as line:
            results = compare(config, folder, line)
    except (Interrupted, KeyboardInterrupt):
        print(f"stopped; go on with: python train.py --resume {folder.path}", file=sys.stderr)
        return common.INTERRUPTED
    print(evaluation.table(results))
    print(f"\ntrained in {seconds:.0f} s; all is in {folder.path}", file=sys.stderr)
    return 0


class _Observer:
    """Shows how the run goes: its steps, and a line for an evaluation."""

    def __init__(self, line: ProgressLine, total: int) -> None:
        self._line, self._total = line, total

    def steps(self, done: int) -> None:
        """`done` control intervals of the whole run are over."""
        self._line(done, self._total)

    def evaluated(self, row: Row) -> None:
        """Score, geometric mean, and against the oracle where it ran."""
        text = (
            f"{row['steps']:>9,.0f} steps: score {row['score']:.3f} [{row['score_low']:.3f}, {row['score_high']:.3f}]"
        )
        text += f", gm {row['geometric_mean']:.3f}"
        if "geometric_mean_over_oracle" in row:
            text += f" = {row['geometric_mean_over_oracle']:.3f} of the oracle's"
        self._line.say(text)


def _local(config: LocalConfig, folder: RunFolder) -> int:
    from qnum_gym.training import local
    from qnum_gym.training.callback import StopRequest

    print(f"{folder.path}: {config.name}, {config.rounds} rounds, seed {config.seed}", file=sys.stderr)
    begun = perf_counter()
    with StopRequest() as stop:
        over = local.train(config, folder.path, lambda line: print(line, flush=True), lambda: stop.made)
    if not over:
        print(f"stopped; go on with: python train.py --resume {folder.path}", file=sys.stderr)
        return common.INTERRUPTED
    print(f"\ntrained in {perf_counter() - begun:.0f} s; the policy is {folder.path}/model.npz", file=sys.stderr)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of train.py; returns the exit code."""
    return common.run(command, parser(), argv)

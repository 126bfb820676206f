"""`train.py`: an algorithm of Stable-Baselines3 from a configuration, to the comparison with the references."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

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

Every run has a folder of its own: configuration, versions, checkpoint, model.zip, best_model.zip, eval.csv, curve.png,
TensorBoard logs, and at the end the comparison as table, CSV and figure. Ctrl-C stops after the present rollout with
everything saved; --resume goes on from there and ends with the same bits as an undisturbed run."""

EPILOG = """examples:
  python train.py --config configs/train/ppo_dumbbell.yaml
  python train.py --config configs/train/ppo_dumbbell.yaml --seed 1 --name second
  python train.py --config configs/train/ppo_dumbbell.yaml --seeds 3 --set overrides.reward=log
  python train.py --resume runs/ppo_dumbbell
  python train.py --resume runs/ppo_dumbbell --steps 1000000"""

NEEDED = ("stable_baselines3", "sb3_contrib", "torch", "tensorboard")
RUNS = Path("runs")
EXAMPLE = "ppo.learning_rate=1e-3"


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
    parser.add_argument(
        "--seeds", type=common.at_least(1), metavar="N", help="N runs, one after the other, with seeds from that one on"
    )
    parser.add_argument(
        "--steps", type=common.at_least(1), help="in place of the configuration's; more of them extend a resumed run"
    )
    parser.add_argument("--device", metavar="cpu|cuda|auto", help="in place of the configuration's")
    common.add_set_option(parser, f"override a field of the configuration, e.g. {EXAMPLE} or overrides.reward=log")
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help=f"where new folders go (default {RUNS}/)"
    )
    return parser


def command(arguments: argparse.Namespace) -> int:
    """Train or resume, compare, print."""
    common.needs("train", *NEEDED)
    from qnum_gym.config import ConfigError

    try:
        return _resumed(arguments) if arguments.resume else _new(arguments)
    except ConfigError as error:
        raise UsageError(str(error)) from None


def _new(arguments: argparse.Namespace) -> int:
    """One run, or several that differ in their seeds; all are checked before the first one begins."""
    from qnum_gym.config import ConfigError
    from qnum_gym.training import kinds
    from qnum_gym.training.config import TrainConfig, read
    from qnum_gym.training.folder import RunFolder
    from qnum_gym.training.run import check

    settings = common.overrides(arguments.set, parts=True, example=EXAMPLE)
    config = kinds.checked(_with(read(arguments.config), settings), str(arguments.config))
    given = {key: getattr(arguments, key) for key in ("name", "seed", "steps", "device")}
    given = {key: value for key, value in given.items() if value is not None}
    if not isinstance(config, TrainConfig):
        for key in {"steps", "device"} & given.keys():
            raise ConfigError(f"--{key} {given[key]}: the configuration has none, it counts rounds; valid: without it")
    config = config.replace(**given)
    name, configs = config.name, [config]
    if arguments.seeds is not None:
        seeds = range(config.seed, config.seed + arguments.seeds)
        configs = [config.replace(seed=seed, name=f"{config.name}-seed{seed}") for seed in seeds]
    central = [config for config in configs if isinstance(config, TrainConfig)]
    if central:
        check(central[0], str(arguments.config))  # of the others only seed and name differ
    folders: list[RunFolder] = []
    for config in configs:
        folders.append(RunFolder.create(config, arguments.runs))
        if code := _go_on(config, folders[-1]):
            return code
    return _together(name, central, folders, arguments.runs) if len(central) > 1 else 0


def _with(fields: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Fields with others in their place; PART.KEY leaves the other keys of its part as they are."""
    for key, value in settings.items():
        *parts, name = key.split(".")
        place: Any = fields
        for part in parts:
            if not isinstance(place.setdefault(part, {}), dict):
                raise UsageError(f"--set {key}: {part} = {place[part]!r} has no parts; valid: a field that has")
            place = place[part]
        place[name] = value
    return fields


def _resumed(arguments: argparse.Namespace) -> int:
    from qnum_gym.config import ConfigError
    from qnum_gym.training import kinds
    from qnum_gym.training.config import TrainConfig
    from qnum_gym.training.folder import RunFolder

    folder = RunFolder.existing(arguments.resume)
    config = kinds.from_yaml(folder.config)
    may = ("steps", "device") if isinstance(config, TrainConfig) else ()
    given = {key: getattr(arguments, key) for key in ("name", "seed", "seeds", "set", "steps", "device")}
    given = {key: value for key, value in given.items() if value not in (None, [])}
    for key in given.keys() - {*may}:
        raise ConfigError(
            f"--{key} {given[key]}: a resumed run keeps its own; valid: only --resume DIR"
            + "".join(f", --{name}" for name in may)
        )
    if isinstance(config, TrainConfig):
        if given.get("steps", config.steps) < config.steps:
            raise ConfigError(f"--steps {given['steps']}: the run is to have {config.steps}; valid: at least that")
        if folder.finished and given.get("steps", config.steps) == config.steps:
            print(f"{folder.path} is finished: nothing to resume; more than its {config.steps} --steps extend it\n")
            print((folder.path / "table.txt").read_text(encoding="utf-8"), end="")
            return 0
    for change in folder.drift():
        print(f"{change}: the run may not end as it would have", file=sys.stderr)
    return _go_on(config, folder, given)


def _go_on(config: TrainConfig | LocalConfig, folder: RunFolder, changes: Mapping[str, Any] | None = None) -> int:
    """A run from where it is to its end, with other values in some fields; 0, or what an interrupted one exits with."""
    from qnum_gym.training.config import TrainConfig

    with locked(folder.path):
        if changes:
            config = config.replace(**changes)
            folder.extend(config)
        return _run(config, folder) if isinstance(config, TrainConfig) else _local(config, folder)


def _together(name: str, configs: Sequence[TrainConfig], folders: Sequence[RunFolder], parent: Path) -> int:
    """Several trainings in one table, and what they come to together."""
    from qnum_gym import evaluation
    from qnum_gym.training.run import compare_trainings

    path = parent / f"{name}-seeds"
    runs = {config.name: folder for config, folder in zip(configs, folders, strict=True)}
    try:
        with ProgressLine("compare") as line:
            results = compare_trainings(runs, configs[0], path, line)
    except KeyboardInterrupt:
        print(f"stopped; the runs are whole: {', '.join(str(folder.path) for folder in folders)}", file=sys.stderr)
        return common.INTERRUPTED
    means = results.score.mean(axis=1)[: len(runs)]
    print(f"\n{evaluation.table(results)}")
    print(f"\n{len(runs)} trainings: score {means.mean():.3f}, from {means.min():.3f} to {means.max():.3f}")
    print(f"\nall together is in {path}", file=sys.stderr)
    return 0


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

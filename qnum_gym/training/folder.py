"""The folder of a run: where each file is, and what the run was made with."""

from __future__ import annotations

import csv
import json
import platform
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

from qnum_gym import files
from qnum_gym.config import ConfigError
from qnum_gym.evaluation.report import FILES
from qnum_gym.training.config import Configuration

PACKAGES = ("qnum-gym", "numpy", "numba", "scipy", "gymnasium", "stable-baselines3", "sb3-contrib", "torch")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run's files. The comparison's own are those of `evaluation.save`."""

    path: Path

    @property
    def config(self) -> Path:
        """The configuration in full, as run."""
        return self.path / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """What `--resume` goes on from."""
        return self.path / "checkpoint.pt"

    @property
    def model(self) -> Path:
        """The policy as of the last checkpoint; at the end, the one learned."""
        return self.path / "model.zip"

    @property
    def graph(self) -> Path:
        """Of a graph policy learned to the end, the weights that run on networks of any size."""
        return self.path / "model.npz"

    @property
    def best_model(self) -> Path:
        """The policy with the best score on the evaluation seeds."""
        return self.path / "best_model.zip"

    @property
    def evaluations(self) -> Path:
        """The learner's scores as it went, one row per evaluation."""
        return self.path / "eval.csv"

    def history(self) -> list[dict[str, float]]:
        """The rows of `evaluations`."""
        with self.evaluations.open(newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    @property
    def curve(self) -> Path:
        """The learner's scores as it went, as a picture."""
        return self.path / "curve.png"

    @property
    def comparison(self) -> Path:
        """The comparison at the end, the last file of a run."""
        return self.path / "results.json"

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do: all files of the comparison are there."""
        return all((self.path / name).is_file() for name in FILES)

    @classmethod
    def create(cls, config: Configuration, parent: Path) -> RunFolder:
        """A new folder `parent/name`, or name-2, name-3, … where there is one; configuration and versions in it."""
        try:
            parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:  # a file or a link to nowhere, too
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"--runs {str(parent)!r}: {reason}; valid: a folder, new or not") from None
        number = 1
        while True:
            path = parent / (config.name if number == 1 else f"{config.name}-{number}")
            try:
                path.mkdir()
                break
            except FileExistsError:
                number += 1
        folder = cls(path)
        config.to_yaml(folder.config)
        files.write(path / "versions.json", json.dumps(versions(), indent=2) + "\n")
        return folder

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """The folder of an earlier run.

        Raises:
            ConfigError: it is none.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise ConfigError(f"{path}: no run's folder, config.yaml is not there; valid: a folder that train.py made")
        return folder

    def extend(self, config: Configuration) -> None:
        """Let the run go on with another configuration; what was compared at its end is no longer its end."""
        self.comparison.unlink(missing_ok=True)  # first: without it the run goes on, with whichever configuration
        config.to_yaml(self.config)

    def drift(self) -> list[str]:
        """What has another version now than when the run began: the bits may then differ from an undisturbed run's."""
        path = self.path / "versions.json"
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = None
        if not isinstance(before, dict):
            return [f"{path} can't be read: whether the versions are those of then is unknown"]
        before = cast("dict[str, Any]", before)
        return [
            f"{name} {before.get(name)} then, {now} now" for name, now in versions().items() if before.get(name) != now
        ]


def versions() -> dict[str, str]:
    """Versions of all that decides the bits of a run, and the commit where the package lies in a git repository."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "machine": platform.machine()}
    for package in PACKAGES:
        found[package] = metadata.version(package)
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        run = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True)
        found["commit"] = run.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        pass  # installed without its repository, or no git
    return found

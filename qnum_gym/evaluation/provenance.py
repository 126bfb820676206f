"""What numbers depend on beside the scenario and the seeds: the policy with its files, code, versions of libraries."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from qnum_gym import agents, files
from qnum_gym.digests import LIBRARIES, is_own, of_file, of_text, versions
from qnum_gym.evaluation.policies import PolicySpec

# Code that uses numbers and makes none; all other code of the package counts, also what will be added.
ABOVE = (
    "cli", "experiments", "training", "evaluation/leaderboard.py", "evaluation/plots.py", "evaluation/report.py",
    "evaluation/statistics.py", "evaluation/style.py", "evaluation/tables.py", "evaluation/tuning.py",
)  # fmt: skip
OF_LEARNED = ("torch", "stable-baselines3", "sb3-contrib")


def identity(policy: PolicySpec) -> str:
    """SHA-256 of a policy's name, options, files and code, and of the code and the libraries that everything uses.

    Files are those that name and options are paths of, and the policy's own `files`. Of code outside this package it is
    the Python files beside that of the policy's class. What those import is not looked at.
    """
    made = policy.make()
    found, kind = [policy.text, code(), *map(of_file, (*_files(policy), *map(Path, made.files)))], type(made)
    outside = _outside(kind)
    learned = outside or kind.__module__.startswith(f"{agents.__name__}.learned")
    found += [*map(of_file, outside), versions((*LIBRARIES, *OF_LEARNED) if learned else LIBRARIES)]
    return of_text(*found)


@cache
def code() -> str:
    """SHA-256 of the package's code, except for `ABOVE`."""
    return of_text(*(f"{name} {of_file(path)}" for name, path in beneath().items()))


def beneath() -> dict[str, Path]:
    """The package's files that numbers can depend on, by their path in it."""
    roots = {"": Path(files.__file__).parent, "agents/": Path(agents.__file__).parent}
    found = {
        f"{prefix}{path.relative_to(root).as_posix()}": path
        for prefix, root in roots.items()
        for path in root.rglob("*.py")
    }
    return {name: found[name] for name in sorted(found) if not any(_within(name, above) for above in ABOVE)}


def _within(name: str, above: str) -> bool:
    return name == above or name.startswith(f"{above}/")


def _files(policy: PolicySpec) -> list[Path]:
    """The files that name and options are paths of, and those of a policy of the zoo."""
    named = [policy.policy, *(value for value in policy.options.values() if isinstance(value, str))]
    own = Path(agents.__file__).parent / policy.policy
    zoo = [path for path in own.parent.glob(f"{own.name}.*") if path.suffix != ".py"]
    return sorted({*zoo, *(path for text in named for path in _within_path(Path(text)))})


def _within_path(path: Path) -> list[Path]:
    """The file, or all within the folder."""
    return [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]


def _outside(kind: type) -> list[Path]:
    """The Python files beside those of a class and its bases, of those that do not belong to this package."""
    modules = {base.__module__ for base in kind.__mro__}
    places = [getattr(sys.modules[name], "__file__", None) for name in modules if not is_own(name)]
    return sorted({path for file in places if file for path in Path(file).parent.glob("*.py")})

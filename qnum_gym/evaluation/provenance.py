"""What numbers depend on beside the scenario and the seeds: the policy with its files, code, versions of libraries."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import fields
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from qnum_gym import agents, files
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.physics import links, measures
from qnum_gym.scenarios import Scenario

# Code that uses numbers and makes none; all other code of the package counts, also what will be added.
ABOVE = (
    "cli", "experiments", "training", "evaluation/leaderboard.py", "evaluation/plots.py", "evaluation/report.py",
    "evaluation/statistics.py", "evaluation/style.py", "evaluation/tables.py", "evaluation/tuning.py",
)  # fmt: skip
LIBRARIES = ("numpy", "numba", "scipy")
OF_LEARNED = ("torch", "stable-baselines3", "sb3-contrib")


def identity(policy: PolicySpec) -> str:
    """SHA-256 of a policy's name, options, files and code, and of the code and the libraries that everything uses.

    Of code outside this package it is the Python files beside that of the policy's class. What those import is not
    looked at.
    """
    found = [policy.text, code(), *map(_digest, _files(policy))]
    kind = type(policy.make())
    outside = _outside(kind)
    learned = outside or kind.__module__.startswith(f"{agents.__name__}.learned")
    found += [*map(_digest, outside), versions((*LIBRARIES, *OF_LEARNED) if learned else LIBRARIES)]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()


def foreign(scenario: Scenario) -> str:
    """SHA-256 of the formulas of other people that a scenario names: its measures and link models; "" if none."""
    found = [
        measures.find(name) for name in {scenario.measure, *(session.measure for session in scenario.sessions)} if name
    ]
    found += [links.find(name) for name in {scenario.link_model, *(link.link_model for link in scenario.links)} if name]
    functions = [value for kind in found for field in fields(kind) if callable(value := getattr(kind, field.name))]
    digests = {_of_function(function) for function in functions if not _own(function.__module__)}
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest() if digests else ""


@cache
def code() -> str:
    """SHA-256 of the package's code, except for `ABOVE`."""
    return hashlib.sha256("\n".join(f"{name} {_digest(path)}" for name, path in beneath().items()).encode()).hexdigest()


def beneath() -> dict[str, Path]:
    """The package's files that numbers can depend on, by their path in it."""
    roots = {"": Path(files.__file__).parent, "agents/": Path(agents.__file__).parent}
    found = {
        f"{prefix}{path.relative_to(root).as_posix()}": path
        for prefix, root in roots.items()
        for path in root.rglob("*.py")
    }
    return {name: found[name] for name in sorted(found) if not any(_within(name, above) for above in ABOVE)}


def versions(libraries: Iterable[str]) -> str:
    """The versions of the libraries that are installed, as text."""
    return ", ".join(f"{name} {version}" for name in libraries if (version := _version(name)))


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


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
    places = [getattr(sys.modules[name], "__file__", None) for name in modules if not _own(name)]
    return sorted({path for file in places if file for path in Path(file).parent.glob("*.py")})


def _of_function(function: Any) -> str:
    """Of the file that it is written in, or of itself where there is none."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    if file:
        return _digest(Path(file))
    compiled = getattr(function, "py_func", function).__code__  # what numba compiles has the function in `py_func`
    return f"{compiled.co_code.hex()} {compiled.co_consts} {compiled.co_names}"


def _own(module: str) -> bool:
    return module.partition(".")[0] == "qnum_gym"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""SHA-256 of what numbers depend on beside the scenario: code, versions of libraries, other people's formulas."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from dataclasses import fields
from importlib import metadata
from pathlib import Path
from typing import Any

from qnum_gym.physics import links, measures
from qnum_gym.scenarios import Scenario

LIBRARIES = ("numpy", "numba", "scipy")


def of_text(*parts: str) -> str:
    """Of lines of text."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def of_file(path: Path) -> str:
    """Of what a file holds."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def of_foreign(scenario: Scenario) -> str:
    """Of the formulas of other people that a scenario names: its measures and link models; "" if none."""
    found = [
        measures.find(name) for name in {scenario.measure, *(session.measure for session in scenario.sessions)} if name
    ]
    found += [links.find(name) for name in {scenario.link_model, *(link.link_model for link in scenario.links)} if name]
    functions = [value for kind in found for field in fields(kind) if callable(value := getattr(kind, field.name))]
    digests = {_of_function(function) for function in functions if not is_own(function.__module__)}
    return of_text(*sorted(digests)) if digests else ""


def versions(libraries: Iterable[str]) -> str:
    """The versions of the libraries that are installed, as text."""
    return ", ".join(f"{name} {version}" for name in libraries if (version := _version(name)))


def is_own(module: str) -> bool:
    """Whether a module is this package's."""
    return module.partition(".")[0] == "qnum_gym"


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _of_function(function: Any) -> str:
    """Of the file that it is written in, or of itself where there is none."""
    file = getattr(sys.modules.get(function.__module__), "__file__", None)
    if file:
        return of_file(Path(file))
    compiled = getattr(function, "py_func", function).__code__  # what numba compiles has the function in `py_func`
    return f"{compiled.co_code.hex()} {compiled.co_consts} {compiled.co_names}"

"""What results kept in files depend on beside the scenario and the seeds."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import qnum_gym
from qnum_gym import agents

BENEATH = ("simulator", "scenarios", "optimum", "envs", "physics")  # the code that all results depend on


@cache
def identity(policy: str) -> str:
    """SHA-256 of a policy's name, as `agents.make` knows it, its files, its code, and all code beneath."""
    package, own = Path(qnum_gym.__file__).parent, Path(agents.__file__).parent
    given = Path(policy) if Path(policy).exists() else own / policy
    files = _files(given) or [each for each in given.parent.glob(f"{given.name}.*") if each.suffix != ".py"]
    code = [each for name in BENEATH for each in _files(package / name)]
    code += own.rglob("*.py") if files else own.glob("*.py")  # what is made by hand does not use what is learned
    parts = hashlib.sha256(policy.encode())
    for path in (*sorted(files), *sorted(path for path in code if path.suffix == ".py")):
        parts.update(hashlib.sha256(path.read_bytes()).digest())
    return parts.hexdigest()


def _files(path: Path) -> list[Path]:
    """The file, or all within the folder."""
    return [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]

"""The recipes of docs/extending.md, run as they stand."""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from qnum_gym.registry import Registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
RECIPES = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}


@pytest.fixture
def _as_before() -> Iterator[None]:
    """What a recipe registers is gone after it."""
    registries = [
        thing for thing in gc.get_objects() if issubclass(type(thing), Registry)
    ]  # isinstance fails on a dead weak proxy
    kinds, ids = [registry.names() for registry in registries], set(gym.registry)
    yield
    for registry, names in zip(registries, kinds, strict=True):
        for name in reversed(registry.names()[len(names) :]):
            registry.remove(name)
    for id in set(gym.registry) - ids:
        del gym.registry[id]


def blocks(kind: str, text: str) -> str:
    """The blocks of code of one kind in a recipe, one after the other."""
    return "\n".join(re.findall(rf"^```{kind}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def changed(folder: Path, diff: str) -> set[str]:
    """Change the files in a folder; what goes and what stays around it has to be there once. Gives their names."""
    parts = re.split(r"^--- (.*)\n", diff, flags=re.MULTILINE)
    for name, hunks in zip(parts[1::2], parts[2::2], strict=True):
        path = folder / name
        for hunk in re.split(r"^@@.*\n", hunks, flags=re.MULTILINE)[1:]:
            lines = hunk.splitlines(keepends=True)
            before, after = ("".join(line[1:] for line in lines if line[0] != other) for other in "+-")
            text = path.read_text(encoding="utf-8")
            assert text.count(before) == 1, f"{name}: {before}"
            path.write_text(text.replace(before, after), encoding="utf-8")
    return set(parts[1::2])


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("name", [name for name, text in RECIPES.items() if not blocks("diff", text)])
def test_recipe(name: str) -> None:
    code = compile(blocks("python", RECIPES[name]), name, "exec", dont_inherit=True)  # without this file's __future__
    exec(code, {"__name__": "recipe"})


def test_recipe_of_a_scenario_field(tmp_path: Path) -> None:
    """In a copy of the package."""
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "qnum_gym", tmp_path / "qnum_gym", ignore=unwanted)
    shutil.copytree(ROOT / "agents", tmp_path / "qnum_gym/agents", ignore=unwanted)
    recipe = RECIPES["A scenario field"]
    assert len(changed(tmp_path, blocks("diff", recipe))) == 4
    code = f"import qnum_gym; assert qnum_gym.__file__.startswith({str(tmp_path)!r})\n" + blocks("python", recipe)
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    run = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr

"""The recipes of docs/extending.md, run as they stand."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from qnum_gym.registry import Registry

PAGE = (Path(__file__).parent.parent / "docs/extending.md").read_text(encoding="utf-8")
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


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("name", RECIPES)
def test_recipe(name: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", RECIPES[name], re.MULTILINE | re.DOTALL)
    assert blocks
    code = compile("\n".join(blocks), name, "exec", dont_inherit=True)  # without this file's __future__
    exec(code, {"__name__": "recipe"})

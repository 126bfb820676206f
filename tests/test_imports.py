"""A room knows only what stands below it, and no modules import each other in a circle: read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

ROOT = Path(__file__).parent.parent

# From the ground up. A room may import itself and what has a lower rank.
ROOMS = (
    ("caching", "files", "labels", "registry"),
    ("config",),
    ("physics", "rules"),
    ("scenarios",),
    ("simulator", "optimum", "digests"),
    ("families",),
    ("streams",),
    ("envs",),
    ("registration",),
    ("agents",),
    ("integrations", "evaluation"),
    ("training", "experiments", "validation"),
    ("watch", "cli"),
    ("__init__",),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}


def name_of(file: Path) -> str:
    """The module in a file: "envs.action", "optimum" for a package."""
    parts = list(file.with_suffix("").relative_to(ROOT / "qnum_gym" if "qnum_gym" in file.parts else ROOT).parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


FILES = [file for folder in ("qnum_gym", "agents") for file in sorted((ROOT / folder).rglob("*.py"))]
MODULES = {name_of(file): file for file in FILES}


def imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The modules of the package that a statement names."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    else:
        assert node.level == 0, "imports are absolute"
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
        if name != "qnum_gym.__version__" and (name == "qnum_gym" or name.startswith("qnum_gym.")):
            inner = name.removeprefix("qnum_gym").removeprefix(".")
            while inner and inner not in MODULES:  # a name within a module
                inner = inner.rpartition(".")[0]
            yield inner or "__init__"


def imports(tree: ast.AST, place: str = "module") -> Iterator[tuple[str, str]]:
    """(place, module) of every import: at the top of the "module", in a "function", or for "types" alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((place, name) for name in imported(node))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from imports(node, "function")
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(node, "types")
        else:
            yield from imports(node, place)


EDGES = {
    (place, module, other)
    for module, file in MODULES.items()
    for place, other in imports(ast.parse(file.read_text(encoding="utf-8")))
    if other != module
}


def room(module: str) -> str:
    """The room of a module: "envs" of "envs.action"."""
    return module.partition(".")[0]


def test_every_module_is_in_a_room() -> None:
    assert {room(module) for module in MODULES} <= set(RANK)


def test_no_room_knows_what_stands_above_or_beside_it() -> None:
    assert [
        (place, module, other)
        for place, module, other in EDGES
        if room(module) != room(other) and RANK[room(module)] <= RANK[room(other)]
    ] == []


def test_no_circles() -> None:
    """Not at the top of modules, in functions or for types."""
    graph = nx.DiGraph([(module, other) for _, module, other in EDGES])
    assert [circle for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_places_of_imports_are_told_apart() -> None:
    code = """
from typing import TYPE_CHECKING
from qnum_gym import config, __version__
import qnum_gym.envs.action
if TYPE_CHECKING:
    from qnum_gym.scenarios.model import Scenario
def function():
    try:
        from qnum_gym.agents import make
    except ImportError:
        pass
"""
    found = [("module", "config"), ("module", "envs.action"), ("types", "scenarios.model"), ("function", "agents")]
    assert list(imports(ast.parse(code))) == found

"""Graphs as files: GraphML, GML, node-link JSON, a CSV of edges; whatever is wrong with a file is said in one line."""

from __future__ import annotations

import csv
import inspect
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import networkx as nx

from qnum_gym.config import ScenarioError

_nx: Any = nx  # its readers have no types
SHIPPED = Path(__file__).parent / "networks"
ENDS = (("source", "target"), ("a", "b"), ("from", "to"))


def find(path: Path) -> Path:
    """The file; the one of that name which comes with the package, if there is no other."""
    name = path.name
    return SHIPPED / name if not path.exists() and str(path) == name in shipped() else path


def shipped() -> tuple[str, ...]:
    """The network files that come with the package."""
    return tuple(sorted(path.name for path in SHIPPED.iterdir() if path.suffix in READERS))


def _graphml(path: Path) -> Any:
    return _nx.read_graphml(path)


def _gml(path: Path) -> Any:
    """GML that does not say that it is a multigraph, and is one, is read as one."""
    text = path.read_text(encoding="utf-8")
    try:
        return _nx.parse_gml(text, label="id")
    except nx.NetworkXError as error:
        if "duplicated" not in str(error) or "edge" not in str(error):
            raise
        return _nx.parse_gml(text.replace("[", "[ multigraph 1", 1), label="id")


def _node_link(path: Path) -> Any:
    data = json_of(path)
    key = "edges" if "edges" in data else "links"
    option = "edges" if "edges" in inspect.signature(_nx.node_link_graph).parameters else "link"  # of networkx < 3.4
    return _nx.node_link_graph(data, **cast("dict[str, Any]", {option: key}))


def _edge_list(path: Path) -> Any:
    rows, graph = rows_of(path), _nx.MultiGraph()
    columns = list(rows[0]) if rows else []
    ends = next((pair for pair in ENDS if set(pair) <= set(columns)), None)
    if ends is None:
        pairs = " or ".join(",".join(pair) for pair in ENDS)
        raise ScenarioError(f"{path}: columns {', '.join(columns)}: must have {pairs}, and a row for each edge")
    for row in rows:
        a, b = (row.pop(key) for key in ends)
        graph.add_edge(a, b, **{key: value_of(text) for key, text in row.items() if text})
    return graph


READERS: dict[str, Callable[[Path], Any]] = {
    ".graphml": _graphml,
    ".gml": _gml,
    ".json": _node_link,
    ".csv": _edge_list,
}


def read(path: Path) -> Any:
    """The graph of a file, as networkx reads it."""
    if path.suffix not in READERS:
        raise ScenarioError(f"{path}: valid: a network file that ends in {', '.join(READERS)}")
    try:
        return READERS[path.suffix](path)
    except ScenarioError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or f"not a text file in UTF-8 ({error})"
        valid = f"the path of a network file, or one of {', '.join(shipped())}"
        raise ScenarioError(f"{path}: {reason}; valid: {valid}") from None
    except Exception as error:  # whatever networkx's readers raise
        said = " ".join(str(error).split())
        raise ScenarioError(f"{path}: not a network in {path.suffix[1:].upper()}: {said:.200}") from None


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by column, all of them complete."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ScenarioError(f"{path}: {getattr(error, 'strerror', None) or error}; give a CSV file") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        rows = [dict(row) for row in reader]
    except csv.Error as error:
        raise ScenarioError(f"{path}: line {reader.line_num}: not CSV: {error}") from None
    for i, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise ScenarioError(f"{path}: row {i}: must have as many values as there are columns, {len(row)}")
    return rows


def json_of(path: Path) -> Any:
    """What a JSON file holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ScenarioError(f"{path}: {getattr(error, 'strerror', None) or f'not JSON: {error}'}") from None


def value_of(text: str) -> float | str:
    """A number if it is one."""
    try:
        return float(text)
    except ValueError:
        return text

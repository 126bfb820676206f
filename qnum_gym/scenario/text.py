"""Scenarios as YAML text: numbers as in YAML 1.2 (1e-3 is one), no key twice, one line per node, link and session."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, cast

import yaml

from qnum_gym.scenario.errors import ScenarioError

LISTS = ("nodes", "links", "sessions", "events")
FLOAT = re.compile(r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$")


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node


class _Row(dict[str, Any]):
    """A mapping to be written on one line."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _row(dumper: yaml.SafeDumper, row: _Row) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", row, flow_style=True)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Quoted and escaped if there is anything unprintable in it: plain, PyYAML loses some line breaks of Unicode."""
    style = None if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)  # pyright: ignore[reportUnknownMemberType]


# In both, so that a string which looks like such a number is quoted when written.
for each in cast("tuple[Any, ...]", (_Loader, _Dumper)):
    each.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+0123456789."))
_Dumper.add_representer(_Row, _row)
_Dumper.add_representer(str, _text)


def load(path: str | os.PathLike[str], what: str = "a scenario") -> dict[str, Any]:
    """The fields in the YAML file of `what`; ScenarioError if it can't be read, is not YAML, or is not a mapping."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise ScenarioError(f"{path}: {reason}; give the path of {what}'s YAML file") from None
    except UnicodeDecodeError as error:
        raise ScenarioError(f"{path}: not a text file in UTF-8 ({error}); give {what}'s YAML file") from None
    fields = parse(text, str(path))
    if not isinstance(fields, dict):
        raise ScenarioError(f"{path}: {fields!r:.80}: must be a mapping, the keys of {what} and their values")
    return cast("dict[str, Any]", fields)


def parse(text: str, source: str) -> Any:
    """The value of a YAML text; ScenarioError, naming `source`, if it is not YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ScenarioError(f"{source}: {place}not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none, an integer too long
        raise ScenarioError(f"{source}: not valid YAML: {error}") from None


def dump(fields: dict[str, Any]) -> str:
    """YAML text of a scenario's fields; `load` reads the same back."""
    rows = {key: [_entry(each) for each in value] if key in LISTS else value for key, value in fields.items()}
    return yaml.dump(rows, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def _entry(row: dict[str, Any]) -> Any:
    """A bare name for a node that is nothing but that, a row for all else."""
    return row["name"] if list(row) == ["name"] else _Row(row)

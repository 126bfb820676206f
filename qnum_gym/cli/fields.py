"""`qnum-gym fields`: all fields of a scenario, as a page in Markdown made from the code that reads them."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import AfterValidator
from pydantic.fields import FieldInfo

from qnum_gym.cli.environments import table
from qnum_gym.registry import Registry
from qnum_gym.scenarios.fields import EVENTS, Link, Node, NodeId, Part, ScenarioFields, Session

HEAD = """# Fields of a scenario

Made by `qnum-gym fields > docs/scenario.md` from the code that reads them; do not edit it.

A scenario is a YAML file ([configs/scenarios](../configs/scenarios)), keywords of `qnum_gym.scenario("dumbbell", …)`
and `Scenario(…)`, or `--set FIELD=VALUE` of the commands, there also `links.FIELD`, `links[2].FIELD`, and likewise of
nodes and sessions. Where a node, link or session says nothing, "the scenario's" value holds. What is unknown or cannot
be is refused, with field, value and what would be valid. What the fields do: [model.md](model.md). Networks from files:
[networks.md](networks.md). Who wants pairs: [traffic.md](traffic.md).
"""
PARTS: dict[str, type[Part]] = {
    "Scenario": ScenarioFields,
    "Node": Node,
    "Link": Link,
    "Session": Session,
    **{f"Event of a {kind}": event for kind, event in EVENTS.items()},
}
LINE = re.compile(r"^ {4}(\w+): .+  # (.+)$", re.MULTILINE)  # a field with a comment
WORDS = {float: "number", int: "whole number", str: "text", bool: "true or false"}
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def add(parser: argparse.ArgumentParser) -> None:
    """The command has no options."""


def command(arguments: argparse.Namespace) -> int:
    """Print the page."""
    print(page(), end="")
    return 0


def page() -> str:
    """The whole page."""
    sections = [HEAD]
    for title, part in PARTS.items():
        rows = table(("field", "type", "unit", "default", "meaning"), list(_rows(part)))
        sections.append(f"## {title}\n\n{inspect.getdoc(part)}\n\n{rows}")
    return "\n".join(sections)


def _rows(part: type[Part]) -> Iterator[tuple[str, ...]]:
    meanings = {**_comments(Node), **_comments(Session), **_comments(ScenarioFields), **_comments(part)}
    for name, kind in get_type_hints(part, include_extras=True).items():
        if name not in part.model_fields:
            continue
        field = part.model_fields[name]
        inherits = part is not ScenarioFields and name in ScenarioFields.model_fields and field.default is None
        default = "needed" if field.is_required() else "the scenario's" if inherits else f"`{_yaml(field.default)}`"
        words, unit = _described(kind)
        yield f"`{name}`", words, unit, default, meanings.get(name, "")


def _comments(part: type[Part]) -> dict[str, str]:
    """What is said of each field, behind it."""
    return dict(LINE.findall(inspect.getsource(part)))


def _yaml(value: Any) -> str:
    """A default as YAML has it."""
    if isinstance(value, tuple):
        return str(list(cast("tuple[object, ...]", value)))
    return "null" if value is None else str(value)


def _described(kind: Any) -> tuple[str, str]:
    """What may stand there, and its unit."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind == NodeId:
        return "node's name", ""
    if origin is Annotated:
        return _annotated(*arguments)
    if origin in (Union, UnionType):
        parts = [_described(part) for part in arguments if part is not NoneType]
        return " or ".join(dict.fromkeys(words for words, _ in parts)), parts[0][1]
    if origin is Literal:
        return ", ".join(f"`{name}`" for name in arguments), ""
    if origin is tuple:
        parts = [_described(part) for part in arguments if part is not Ellipsis]
        words = f"list of {parts[0][0]}" if Ellipsis in arguments else f"[{', '.join(words for words, _ in parts)}]"
        return words, ", ".join(dict.fromkeys(unit for _, unit in parts if unit))
    return WORDS.get(kind, getattr(kind, "__name__", "any")), ""


def _annotated(base: Any, *rules: Any) -> tuple[str, str]:
    """Of a type with rules: bounds, the names of a registry, the unit as a description."""
    words, unit = _described(base)
    bounds = list[str]()
    for rule in rules:
        if isinstance(rule, FieldInfo):
            unit = rule.description or unit
            bounds += [
                f"{sign} {getattr(x, key):g}" for x in rule.metadata for key, sign in SIGNS.items() if hasattr(x, key)
            ]
        elif isinstance(rule, AfterValidator) and (names := _names(rule.func)):
            return ", ".join(f"`{name}`" for name in names), ""
    return " ".join([words, ", ".join(bounds)]).strip(), unit


def _names(check: Any) -> tuple[str, ...]:
    """Those of the registry in which a validator looks for a name."""
    for cell in getattr(check, "__closure__", None) or ():
        registry = getattr(cell.cell_contents, "__self__", None)
        if isinstance(registry, Registry):
            return registry.names()
    return ()

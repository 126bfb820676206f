"""Fields of a scenario's nodes, links and sessions by their place: "links.length_km", "links[2].length_km". [ours]"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from qnum_gym.config import ScenarioError
from qnum_gym.registry import suggest
from qnum_gym.scenarios.fields import Link, Node, Part, Session
from qnum_gym.scenarios.model import Scenario

PARTS: dict[str, type[Part]] = {"nodes": Node, "links": Link, "sessions": Session}
FIXED = {"name", "a", "b", "source", "destination", "path"}  # the network itself, which other fields do not change
PLACE = re.compile(rf"({'|'.join(PARTS)})(?:\[(\d+)\])?\.(\w+)")


def with_parts(scenario: Scenario, values: Mapping[str, Any]) -> Scenario:
    """The scenario with other values in some fields of all its nodes, links or sessions, or of one of them.

    Sessions keep their paths, also where other lengths make another one shorter. Of two values for a field the later
    one holds.

    Args:
        scenario: whose parts they are.
        values: by `links.length_km`, which is every link's, or `links[2].length_km`.

    Raises:
        ScenarioError: a field or index that is not there, or what results is impossible.
    """
    changed: dict[str, list[dict[str, Any]]] = {}
    for place, value in values.items():
        kind, index, field = _found(place)
        parts = getattr(scenario, kind)
        if index is not None and index >= len(parts):
            raise ScenarioError(f"{place}: index {index}: valid: 0 to {len(parts) - 1}")
        rows = changed.setdefault(kind, [part.model_dump(exclude_none=True) for part in parts])
        for row in rows if index is None else [rows[index]]:
            row[field] = value
    return scenario.replace(**changed) if changed else scenario


def is_place(text: str) -> bool:
    """Whether it is written as the place of a field in a part."""
    return PLACE.fullmatch(text) is not None


def _found(place: str) -> tuple[str, int | None, str]:
    """Kind, index if there is one, and field."""
    match = PLACE.fullmatch(place)
    if match is None:
        raise ScenarioError(f"{place}: valid: links.FIELD, links[INDEX].FIELD, and the same of {', '.join(PARTS)}")
    kind, index, field = match.groups()
    valid = [name for name in PARTS[kind].model_fields if name not in FIXED]
    if field not in valid:
        raise ScenarioError(f"{place}: unknown field; {suggest(field, valid)}valid: {', '.join(valid)}")
    return kind, None if index is None else int(index), field

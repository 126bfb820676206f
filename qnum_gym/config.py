"""Files and mappings of fields: one base for all of them, one error, and what is wrong in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from qnum_gym.registry import suggest

SHOWN = 20  # problems listed in one message


class ConfigError(ValueError):
    """Fields that cannot be. The message names file (or what they are of), field, value, and what would be valid."""


class ScenarioError(ConfigError):
    """A scenario that cannot be."""


class PolicyError(ValueError):
    """A policy gave what are no controls of its networks."""


class Config(BaseModel):
    """A frozen set of fields that knows its names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong: where (`("links", 2, "length_km")`), the value found there, and what would be valid."""

    field: tuple[str | int, ...]
    value: Any
    valid: str

    def details(self) -> InitErrorDetails:
        """The same in pydantic's form."""
        # A template without context is taken literally, so braces in `valid` are safe.
        return InitErrorDetails(type=PydanticCustomError("scenario", self.valid), loc=self.field, input=self.value)  # pyright: ignore[reportArgumentType]


def refuse(problems: Iterable[Violation]) -> None:
    """Raise all `problems`, the first of each field, as one ValidationError, to be called from within a validator."""
    by_field: dict[tuple[str | int, ...], Violation] = {}
    for problem in problems:
        by_field.setdefault(problem.field, problem)
    if by_field:
        raise ValidationError.from_exception_data("Scenario", [problem.details() for problem in by_field.values()])


def described(lines: Sequence[str], source: str) -> str:
    """One message for all that is wrong with `source`, a file name or "scenario"."""
    if len(lines) == 1:
        return f"{source}: {lines[0]}"
    shown = [f"  {line}" for line in lines[:SHOWN]]
    if len(lines) > SHOWN:
        shown.append(f"  and {len(lines) - SHOWN} more")
    return "\n".join([f"{source}: {len(lines)} problems", *shown])


def field_path(loc: Iterable[str | int]) -> str:
    """('links', 2, 'length_km') -> 'links[2].length_km'."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def explain(error: ValidationError, keys: Mapping[str, Sequence[str]]) -> list[str]:
    """One line per problem of a pydantic error.

    `keys` gives the valid keys by place: "" for those of the top level, "links" for those of one link, and so on.
    """
    errors = error.errors(include_url=False)
    refused = {entry["loc"][:-1] for entry in errors}  # a list without what is wrong in it may be too short: no news
    return [
        _explain_one(dict(entry), keys)
        for entry in errors
        if entry["type"] != "too_short" or entry["loc"] not in refused
    ]


def _explain_one(error: dict[str, Any], keys: Mapping[str, Sequence[str]]) -> str:
    loc: tuple[str | int, ...] = error["loc"]
    kind: str = error["type"]
    place = str(loc[0]) if len(loc) > 1 else ""
    if loc[:1] == ("events",) and kind != "scenario":  # pydantic's own have a tag that says which kind of event it is
        place, loc = ".".join(map(str, ("events", *loc[2:3]))), (*loc[:2], *loc[3:])
    if kind in ("extra_forbidden", "invalid_key"):
        valid = keys.get(place, ())
        return f"{field_path(loc)}: unknown key; {suggest([*loc][-1], valid)}valid keys: {', '.join(valid)}"
    if kind == "missing":
        return f"{field_path(loc)}: missing; give a value"
    if kind == "model_type":
        valid = f"must be a mapping with keys out of {', '.join(keys.get(place, ()))}"
    else:
        valid = _valid(kind, error["msg"], error.get("ctx", {}))
    if not loc:
        return valid  # of the whole: the words name the fields
    return f"{field_path(loc)} = {_shown(error['input'])}: {valid}"


def _valid(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """What would be valid, in the words of a validator or of pydantic."""
    if kind == "value_error":
        return str(context["error"])
    if kind == "tuple_type":
        return "must be a list"
    if kind == "union_tag_invalid":
        return f"must be of type {context['expected_tags']}"
    return message.replace("Input should be", "must be").replace("Input should", "must")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

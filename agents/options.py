"""Constants of policies: a frozen dataclass, given by name, refused where they cannot be, tuned over their ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple, TypeVar


class Range(NamedTuple):
    """Where the best value of a constant is looked for, even in its logarithm or, where `log` is off, in itself."""

    low: float
    high: float
    log: bool = True


def constant(default: float, search: Range | None = None, *, share: bool = False) -> Any:
    """A field of `Constants`. A sub-class that gives it another default with `name: float = …` leaves the rest.

    Args:
        default: the value if none is given.
        search: where `qnum-gym tune` looks for a better one; it stays as it is if not given.
        share: whether it is at most 1.
    """
    return field(default=default, metadata={"search": search, "share": share})


@dataclass(frozen=True, slots=True)
class Constants:
    """Constants of a policy, all of them positive and finite numbers.

    Raises:
        ValueError: a value that is not, or above 1 in a field with `share`.
    """

    def __post_init__(self) -> None:
        shares = declared(type(self), "share")
        for name in (known.name for known in fields(self)):
            value, limit = getattr(self, name), 1.0 if shares.get(name) else math.inf
            if not 0.0 < value <= limit or math.isinf(value):
                valid = "positive, at most 1" if limit == 1.0 else "positive and finite"
                raise ValueError(f"gains: {name} = {value!r}: must be {valid}")


C = TypeVar("C", bound=Constants)


def constants(kind: type[C], given: Mapping[str, float]) -> C:
    """Those of `kind`, with other values for the `given` ones.

    Raises:
        ValueError: an unknown name, or a value that cannot be.
    """
    valid = [known.name for known in fields(kind)]
    for name in given:
        if name not in valid:
            raise ValueError(f"gains: {name}: unknown; valid: {', '.join(valid)}")
    return kind(**given)


def declared(kind: type[Constants], key: str) -> dict[str, Any]:
    """What `constant` said as `key` of each field for which it said anything, in the fields' order."""
    return {
        known.name: known.metadata[key]
        for base in reversed(kind.__mro__)
        if issubclass(base, Constants)
        for known in fields(base)
        if known.metadata.get(key)
    }

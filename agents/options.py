"""Options of policies: constants in a frozen dataclass, given by name, refused where they cannot be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TypeVar

SHARE = {"share": True}  # metadata of a field that is at most 1


@dataclass(frozen=True, slots=True)
class Constants:
    """Constants of a policy, all of them positive and finite numbers.

    Raises:
        ValueError: a value that is not, or above 1 in a field marked `SHARE`.
    """

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            limit = 1.0 if field.metadata.get("share") else math.inf
            if not 0.0 < value <= limit or math.isinf(value):
                valid = "positive, at most 1" if limit == 1.0 else "positive and finite"
                raise ValueError(f"gains: {field.name} = {value!r}: must be {valid}")


C = TypeVar("C", bound=Constants)


def constants(kind: type[C], given: Mapping[str, float]) -> C:
    """Those of `kind`, with other values for the `given` ones.

    Raises:
        ValueError: an unknown name, or a value that cannot be.
    """
    valid = [field.name for field in fields(kind)]
    for name in given:
        if name not in valid:
            raise ValueError(f"gains: {name}: unknown; valid: {', '.join(valid)}")
    return kind(**given)

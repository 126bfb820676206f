"""A scenario from whatever a user has: its name, its YAML file, a network's file, its fields, or itself."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from qnum_gym.config import ScenarioError
from qnum_gym.registry import suggest
from qnum_gym.scenarios import network_files, topologies
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.parts import is_place, with_parts

# of a scenario: a name, a YAML or network file, itself, or its fields
Source = str | os.PathLike[str] | Scenario | Mapping[str, Any] | None


class UnknownKeyword(ScenarioError, TypeError):
    """A keyword that there is not: for Python's own word for it (TorchRL looks for that), a TypeError too."""


def resolve(scenario: Source, overrides: dict[str, Any], keywords: tuple[str, ...]) -> Scenario:
    """A scenario by name, by the path of a file, by its fields, or as it is, with some fields overridden.

    Of a network's file (GraphML, GML, …) the options of `Scenario.from_file` are overrides too, and `sessions` is one.
    Fields of parts are set last: `{"links.length_km": 10.0, "links[2].coupling": 0.5}`.

    `keywords` are those that the caller knows besides; an unknown one's error names them too.

    Raises:
        ScenarioError: there is no such scenario, a keyword is unknown (a TypeError too), or what results is impossible.
    """
    names = topologies.names()
    if scenario is None:
        raise ScenarioError(
            f"scenario: missing; give a Scenario, the path of a YAML or network file, or a name: {', '.join(names)}"
        )
    name = scenario if isinstance(scenario, str) and scenario in names else ""
    parts = {key: overrides[key] for key in overrides if is_place(key)}
    if parts:
        rest = {key: value for key, value in overrides.items() if key not in parts}
        return with_parts(resolve(scenario, rest, keywords), parts)
    network = isinstance(scenario, (str, os.PathLike)) and network_files.is_network(scenario)
    own = topologies.keywords(name) if name else (*Scenario.model_fields, *(network_files.OPTIONS if network else ()))
    check_overrides(overrides, (*keywords, *own))
    if name:
        return topologies.scenario(name, **overrides)
    if isinstance(scenario, Scenario):
        return scenario.replace(**overrides) if overrides else scenario
    if isinstance(scenario, Mapping):
        return Scenario(**{**{str(key): value for key, value in scenario.items()}, **overrides})
    if network:
        return Scenario.from_file(scenario, **overrides)
    if isinstance(scenario, os.PathLike) or str(scenario).endswith((".yaml", ".yml")):
        return resolve(Scenario.from_yaml(scenario), overrides, keywords)
    raise ScenarioError(
        f"scenario = {scenario!r}: {suggest(scenario, names)}valid: {', '.join(names)}, or a YAML or network file"
    )


def check_overrides(overrides: Iterable[str], valid: Iterable[str]) -> None:
    """Raise an UnknownKeyword if one of them is not valid."""
    valid = sorted(set(valid))
    for key in overrides:
        if key not in valid:
            raise UnknownKeyword(
                f"{key}: unknown keyword; {suggest(key, valid)}valid: {', '.join(valid)} "
                f"(unexpected keyword argument {key!r})"
            )

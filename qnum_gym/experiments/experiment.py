"""What an experiment is: fields that its YAML file gives, runs, a table of what they came to, and a figure."""

from __future__ import annotations

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias, cast

from pydantic import AfterValidator, Field, ValidationError

from qnum_gym.config import Config, ConfigError, described, explain
from qnum_gym.evaluation.policies import PolicySpec
from qnum_gym.experiments.recording import Done, Run
from qnum_gym.registry import Registry, suggest
from qnum_gym.scenarios import Scenario, topologies
from qnum_gym.scenarios.sources import resolve
from qnum_gym.scenarios.yaml_io import load

QUICK = "quick"  # the section of a configuration with other values for a quick look

Row: TypeAlias = dict[str, str | float | None]


def network(name: str, **fields: Any) -> Scenario:
    """The scenario of a name or a file with some fields overridden.

    Raises:
        ScenarioError: there is none, or what results is impossible.
    """
    return resolve(name, fields, ())


def _network(name: str) -> str:
    if Path(name).suffix in (".yaml", ".yml"):
        network(name)
    elif name not in topologies.names():
        valid = f"must be one of {', '.join(topologies.names())}, or a scenario's YAML file"
        raise ValueError(f"{suggest(name, topologies.names())}{valid}")
    return name


def _there_is(policy: PolicySpec) -> PolicySpec:
    policy.make()
    return policy


def _even(number: int) -> int:
    if number % 2:
        raise ValueError("must be even, as the second half of an episode is what counts")
    return number


Count: TypeAlias = Annotated[int, Field(ge=1, lt=2**31, strict=True)]
Intervals: TypeAlias = Annotated[int, Field(ge=2, lt=2**31, strict=True), AfterValidator(_even)]
Network: TypeAlias = Annotated[str, AfterValidator(_network)]
Positive: TypeAlias = Annotated[float, Field(gt=0.0, strict=True)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0.0, allow_inf_nan=False, strict=True)]


Policy: TypeAlias = Annotated[PolicySpec, AfterValidator(_there_is)]
PolicySpecs: TypeAlias = Annotated[tuple[Policy, ...], Field(min_length=1)]


class Experiment(Config, ABC):
    """One experiment. Fields are read from a YAML file; a sub-class adds its own.

    The package's configuration of a sub-class is the YAML file beside its module, with the module's name.
    """

    seeds: Count
    intervals: Intervals  # control intervals of an episode

    @abstractmethod
    def runs(self) -> list[Run]:
        """Everything that is to be simulated."""

    @abstractmethod
    def table(self, done: Sequence[Done]) -> list[Row]:
        """What it came to, a row for each line of the CSV file, with equal keys."""

    @abstractmethod
    def draw(self, done: Sequence[Done], path: Path) -> None:
        """The figure, in the format of the path's suffix: png, pdf, svg."""

    @classmethod
    def shipped(cls, quick: bool = False, **changes: Any) -> Self:
        """The experiment as the YAML file beside its module configures it; see `from_yaml`.

        Raises:
            ConfigError: see `from_yaml`.
        """
        return cls.from_yaml(Path(inspect.getfile(cls)).with_suffix(".yaml"), quick, **changes)

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str], quick: bool = False, **changes: Any) -> Self:
        """Read a configuration; `quick` lets the values of its section `quick` take the place of the others.

        `changes` take the place of both.

        Raises:
            ConfigError: no such file, no YAML, or a field that is unknown, missing or wrong, there or in `quick`.
        """
        fields = load(path, "an experiment")
        quickly: Any = fields.pop(QUICK, {})
        if not isinstance(quickly, dict):
            raise ConfigError(f"{path}: {QUICK} = {quickly!r}: must be a mapping of fields to other values")
        full = cls.checked(fields | changes, str(path))
        fast = cls.checked(fields | cast("dict[str, Any]", quickly) | changes, f"{path}, with its {QUICK} values")
        return fast if quick else full

    @classmethod
    def checked(cls, fields: Mapping[str, Any], source: str) -> Self:
        """The experiment with these fields; `source` is what errors name."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            keys = {"": tuple(cls.model_fields), "policies": tuple(PolicySpec.model_fields)}
            raise ConfigError(described(explain(error, keys), source)) from None


EXPERIMENTS: Registry[type[Experiment]] = Registry("experiment", group="qnum_gym.experiments")

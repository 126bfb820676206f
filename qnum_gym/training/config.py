"""What a training run is made of: `configs/train/*.yaml`, validated before anything runs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator

from qnum_gym import files
from qnum_gym.config import Config, ConfigError, described, explain
from qnum_gym.scenarios.yaml_io import dump, load
from qnum_gym.training.algorithms import Count, PPOSettings, RecurrentPPOSettings, SACSettings, Settings, Width

AlgorithmName = Literal["ppo", "recurrent_ppo", "sac"]


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of a YAML file, not checked yet.

    Raises:
        ConfigError: if there is no such file, or if it is not YAML.
    """
    return load(path, "a training run")


class EvaluationSettings(Config):
    """The policy on trial while it learns: the same few seeds each time, deterministic, beside the references."""

    every: Count = 20  # rollouts
    seeds: Count = 4
    references: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "equal_share",
        "best_static",
        "oracle",
        "qprimaldual-da",
    )


class ComparisonSettings(Config):
    """The table at the end: the policy learned and these, on the seeds 0, 1, … that evaluate.py takes too."""

    seeds: Count = 20
    policies: tuple[str, ...] = ("random", "equal_share", "best_static", "qprimaldual", "qprimaldual-da", "oracle")


class Configuration(Config):
    """What every kind of run has, and how it is read."""

    PARTS: ClassVar[Mapping[str, type[BaseModel]]] = {}  # sections by name, for errors
    MAY_CHANGE: ClassVar[tuple[str, ...]] = ("name",)  # between a checkpoint and the resumed run

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # of the run's folder
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration from a YAML file.

        Raises:
            ConfigError: if there is no such file, if it is not YAML, or if a field is unknown, missing or wrong.
        """
        return cls.checked(read(path), str(path))

    @classmethod
    def checked(cls, fields: Mapping[str, Any], source: str) -> Self:
        """The configuration with these fields; `source` is what errors name."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(described(explain(error, cls._valid_keys()), source)) from None

    def replace(self, **changes: Any) -> Self:
        """This configuration with other values in some fields, validated anew."""
        return self.checked({**self.model_dump(), **changes}, self.name)

    def to_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write every field, defaults included: `from_yaml` gives the same back whatever the defaults become."""
        fields = self.model_dump(mode="json", exclude=self._absent())
        files.write(path, dump(fields))

    def lasting(self) -> dict[str, Any]:
        """What a resumed run must have as it was, as JSON knows it: a checkpoint keeps it."""
        return self.model_dump(mode="json", exclude={*self.MAY_CHANGE, *self._absent()})

    def check_resumed(self, before: object, source: str) -> None:
        """See that nothing changed that decides how a run goes on.

        Args:
            before: `lasting()` of the run as it began.
            source: the configuration's file, for the error.

        Raises:
            ConfigError: naming each field, its value now and its value before.
        """
        then, now = (dict(_flat(fields)) for fields in (before, self.lasting()))
        changed = [name for name in {**then, **now} if then.get(name, "not there") != now.get(name, "not there")]
        if changed:
            what = "; ".join(f"{name} = {now.get(name)!r}, at the checkpoint {then.get(name)!r}" for name in changed)
            raise ConfigError(
                f"{source}: {what}; valid: as it was: of a resumed run only {', '.join(self.MAY_CHANGE)} may change"
            )

    def _absent(self) -> set[str]:
        """Sections that do not belong to this run."""
        return set()

    @classmethod
    def _valid_keys(cls) -> dict[str, tuple[str, ...]]:
        """The valid keys of the configuration and of its parts, by place."""
        return {"": tuple(cls.model_fields), **{name: tuple(part.model_fields) for name, part in cls.PARTS.items()}}


def _flat(value: object, name: str = "") -> Iterator[tuple[str, object]]:
    """The values in nested mappings by their names, parts joined by dots."""
    if isinstance(value, Mapping):
        for key, part in cast("Mapping[object, object]", value).items():
            yield from _flat(part, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


class TrainConfig(Configuration):
    """One training run of a central policy."""

    MAY_CHANGE = ("name", "steps", "device", "checkpoint_every", "comparison")

    PARTS = {  # noqa: RUF012
        "ppo": PPOSettings,
        "recurrent_ppo": RecurrentPPOSettings,
        "sac": SACSettings,
        "evaluation": EvaluationSettings,
        "comparison": ComparisonSettings,
    }

    env: str  # a registered id
    overrides: dict[str, Any] = Field(
        default_factory=dict[str, Any]
    )  # fields of the scenario, or keywords of the environment
    envs: Width = 8
    steps: Count = 300_000  # control intervals in all environments together, rounded up to whole rollouts
    threads: Count = 1  # of torch; more are slower with networks this small
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"  # a GPU where torch finds one
    init_from: str | None = None  # a model.zip of the same networks, whose weights the run begins with
    checkpoint_every: Count = 10  # rollouts
    algorithm: AlgorithmName = "ppo"
    ppo: PPOSettings | None = None  # of these sections the algorithm's own, and no other
    recurrent_ppo: RecurrentPPOSettings | None = None
    sac: SACSettings | None = None
    evaluation: EvaluationSettings = EvaluationSettings()
    comparison: ComparisonSettings = ComparisonSettings()

    @model_validator(mode="before")
    @classmethod
    def _own_section(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The section of the algorithm is there, all defaults where it was not given."""
        name = fields.get("algorithm", "ppo")
        if name not in get_args(AlgorithmName) or fields.get(name) is not None:
            return fields
        return {**fields, name: {}}

    @model_validator(mode="after")
    def _hangs_together(self) -> Self:
        for name in get_args(AlgorithmName):
            if name != self.algorithm and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: settings of an algorithm that is not trained; valid with algorithm = "
                    f"{self.algorithm!r}: {self.algorithm}"
                )
        if self.name in self.comparison.policies:
            raise ValueError(f"name = {self.name!r}: a policy of the comparison has it; valid: another name")
        if self.init_from is not None and self.ppo is not None and self.ppo.imitate is not None:
            raise ValueError("init_from, ppo.imitate: two ways to begin; valid: one of them")
        for problem in self.settings.problems(self.envs):
            raise ValueError(f"{self.algorithm}.{problem}")
        return self

    @property
    def settings(self) -> Settings:
        """The hyperparameters of the algorithm."""
        return getattr(self, self.algorithm)

    @property
    def rollout_steps(self) -> int:
        """Control intervals of one rollout, in all environments together."""
        return self.envs * self.settings.intervals

    @property
    def rollouts(self) -> int:
        """Rollouts in the whole run."""
        return -(-self.steps // self.rollout_steps)

    @property
    def total_steps(self) -> int:
        """Control intervals of the whole run: `steps`, rounded up to whole rollouts."""
        return self.rollouts * self.rollout_steps

    def _absent(self) -> set[str]:
        return {*get_args(AlgorithmName)} - {self.algorithm}

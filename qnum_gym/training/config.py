"""What a training run is made of: `configs/train/*.yaml`, validated before anything runs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qnum_gym.scenario import ScenarioError
from qnum_gym.scenario.errors import explain, scenario_error
from qnum_gym.scenario.text import load

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class ConfigError(ValueError):
    """A configuration that cannot be. The message names file, field, value, and what would be valid."""


class Part(BaseModel):
    """A frozen piece of configuration that knows its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PPOSettings(Part):
    """Hyperparameters of Proximal Policy Optimisation, named as in Stable-Baselines3."""

    learning_rate: Positive = 3e-4
    anneal: bool = True  # the learning rate falls linearly to 0 over the run
    n_steps: Count = 256  # control intervals per environment and rollout
    batch_size: Annotated[int, Field(ge=2)] = 256
    n_epochs: Count = 10
    gamma: Share = 0.95
    gae_lambda: Share = 0.95
    clip_range: Positive = 0.2
    ent_coef: NotNegative = 0.0
    vf_coef: NotNegative = 0.5
    max_grad_norm: Positive = 0.5
    target_kl: Positive | None = None
    net_arch: tuple[Count, ...] = (64, 64)  # hidden layers, of policy and value function alike
    activation: Literal["tanh", "relu"] = "tanh"
    log_std_init: Annotated[float, Field(ge=-5.0, le=2.0)] = -0.5
    normalise_reward: bool = True  # divide rewards by the running deviation of the return


class EvaluationSettings(Part):
    """The policy on trial while it learns: the same few seeds each time, deterministic, beside the references."""

    every: Count = 20  # rollouts
    seeds: Count = 4
    references: Annotated[tuple[str, ...], Field(min_length=1)] = (
        "equal_share",
        "best_static",
        "oracle",
        "qprimaldual-da",
    )


class ComparisonSettings(Part):
    """The table at the end: the policy learned and these, on the seeds 0, 1, … that evaluate.py takes too."""

    seeds: Count = 20
    policies: tuple[str, ...] = ("random", "equal_share", "best_static", "qprimaldual", "qprimaldual-da", "oracle")


class TrainConfig(Part):
    """One training run."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]  # of the run's folder
    env: str  # a registered id
    overrides: dict[str, Any] = {}  # fields of the scenario, or keywords of the environment
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    envs: Count = 8
    steps: Count = 300_000  # control intervals in all environments together, rounded up to whole rollouts
    threads: Count = 1  # of torch; more are slower with networks this small
    checkpoint_every: Count = 10  # rollouts
    ppo: PPOSettings = PPOSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    comparison: ComparisonSettings = ComparisonSettings()

    @model_validator(mode="after")
    def _batches_fit(self) -> Self:
        rollout = self.envs * self.ppo.n_steps
        if rollout % self.ppo.batch_size:
            raise ValueError(
                f"ppo.batch_size = {self.ppo.batch_size}: must divide envs * ppo.n_steps = {rollout}, "
                "so that no batch is cut short"
            )
        return self

    @property
    def rollouts(self) -> int:
        """Rollouts in the whole run."""
        return -(-self.steps // (self.envs * self.ppo.n_steps))

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a configuration from a YAML file.

        Raises:
            ConfigError: if there is no such file, if it is not YAML, or if a field is unknown, missing or wrong.
        """
        try:
            fields = load(path, "a training run")
        except ScenarioError as error:
            raise ConfigError(str(error)) from None
        return cls.checked(fields, str(path))

    @classmethod
    def checked(cls, fields: Mapping[str, Any], source: str) -> Self:
        """The configuration with these fields; `source` is what errors name."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ConfigError(str(scenario_error(explain(error, _valid_keys(cls)), source))) from None

    def replace(self, **changes: Any) -> Self:
        """This configuration with other values in some fields, validated anew."""
        return self.checked({**self.model_dump(), **changes}, self.name)

    def to_yaml(self, path: str | os.PathLike[str]) -> None:
        """Write every field, defaults included: `from_yaml` gives the same back whatever the defaults become."""
        fields = self.model_dump(mode="json")
        Path(path).write_text(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _valid_keys(model: type[BaseModel]) -> dict[str, tuple[str, ...]]:
    """The valid keys of the configuration and of its parts, by place."""
    parts = {"ppo": PPOSettings, "evaluation": EvaluationSettings, "comparison": ComparisonSettings}
    return {"": tuple(model.model_fields), **{name: tuple(part.model_fields) for name, part in parts.items()}}

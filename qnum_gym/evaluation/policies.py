"""Policies by name: what can be sent to another process, kept with results, and written in a configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

from pydantic import Field, model_validator

from qnum_gym import agents
from qnum_gym.agents.policy import Policy
from qnum_gym.config import Config

Option: TypeAlias = float | str | bool


class PolicySpec(Config):
    """A policy by its name, its options, and the label that results carry.

    In a configuration a name alone will do. The label is the name if none is given. Several of one label are trainings
    of one method.
    """

    policy: str
    label: str
    options: Mapping[str, Option] = Field(default_factory=dict[str, Option])

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: object) -> object:
        if isinstance(value, str):
            return {"policy": value, "label": value}
        if isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            return {"label": fields.get("policy"), **fields}
        return value

    @classmethod
    def of(cls, policy: str, label: str | None = None, **options: Option) -> PolicySpec:
        """The policy that `agents.make(policy, **options)` gives; whether it does, `make` finds out."""
        return cls(policy=policy, label=policy if label is None else label, options=options)

    def make(self) -> Policy:
        """A new one of it.

        Raises:
            ValueError, FileNotFoundError: see `agents.make`.
        """
        return agents.make(self.policy, **self.options)

    @property
    def text(self) -> str:
        """Name and options: what tells it from other policies."""
        return json.dumps([self.policy, dict(self.options)], sort_keys=True)

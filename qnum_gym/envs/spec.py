"""The specification that `gym.make` notes on an environment, as plain data, so that `spec.to_json()` gives it back."""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import copy
from enum import Enum
from typing import Any, cast

import numpy as np
from gymnasium.envs.registration import EnvSpec
from pydantic import BaseModel


class PlainSpec:
    """An environment whose `spec` holds keywords as JSON knows them: a `Scenario` as the mapping of its fields."""

    _spec: EnvSpec | None = None

    @property
    def spec(self) -> EnvSpec | None:
        """How to make this environment again: `gym.make(EnvSpec.from_json(env.spec.to_json()))`."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None:
            spec = copy(spec)
            spec.kwargs = plain(spec.kwargs)
        self._spec = spec


def plain(value: Any) -> Any:
    """The value in numbers, texts, lists and mappings; what has no such form stays as it is."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    if isinstance(value, (np.ndarray, np.generic)):
        return cast(Any, value).tolist()
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in cast("list[Any]", value)]
    return value

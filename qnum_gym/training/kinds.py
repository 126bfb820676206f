"""Which kind of configuration a file holds: its `algorithm` says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, get_args

from qnum_gym.config import ConfigError
from qnum_gym.registry import suggest
from qnum_gym.training.config import AlgorithmName, TrainConfig, read
from qnum_gym.training.evolution import EvolutionConfig
from qnum_gym.training.local import LocalConfig
from qnum_gym.training.shared_ppo import SharedPPOConfig

CENTRAL = get_args(AlgorithmName)  # the first one is the default
LOCAL: dict[str, type[LocalConfig]] = {"shared_ppo": SharedPPOConfig, "evolution": EvolutionConfig}


def from_yaml(path: str | os.PathLike[str]) -> TrainConfig | LocalConfig:
    """The configuration in a YAML file.

    Raises:
        ConfigError: if there is no such file, if it is not YAML, if there is no such algorithm, or if a field is
            unknown, missing or wrong.
    """
    return checked(read(path), str(path))


def checked(fields: Mapping[str, Any], path: str) -> TrainConfig | LocalConfig:
    """The configuration with these fields; `path` is what errors name.

    Raises:
        ConfigError: there is no such algorithm, or a field is unknown, missing or wrong.
    """
    algorithm = fields.get("algorithm", CENTRAL[0])
    if isinstance(algorithm, str) and algorithm in LOCAL:
        return LOCAL[algorithm].checked(fields, path)
    if algorithm not in CENTRAL:
        valid = (*CENTRAL, *LOCAL)
        raise ConfigError(
            f"{path}: algorithm = {algorithm!r}: {suggest(str(algorithm), valid)}valid: {', '.join(valid)}"
        )
    return TrainConfig.checked(fields, path)

"""Ids of the environments. Entry points are strings: registering imports neither numba nor matplotlib."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from qnum_gym.registry import suggest
from qnum_gym.scenarios import ScenarioError

if TYPE_CHECKING:
    from qnum_gym.envs.allocation import Source
    from qnum_gym.envs.parallel import AllocationParallelEnv

ENTRY_POINT = "qnum_gym.envs.allocation:AllocationEnv"
VECTOR_ENTRY_POINT = "qnum_gym.envs.vector:AllocationVectorEnv"
NAMES = {
    "Dumbbell": "dumbbell",
    "NSFNet": "nsfnet",
    "SURFnet": "surfnet",
    "Chain": "chain",
    "Star": "star",
    "Grid": "grid",
    "Waxman": "waxman",
    "Scenario": None,  # any: give `scenario=`
}


def register() -> None:
    """Make the ids known to Gymnasium; doing it again changes nothing."""
    for name, scenario in NAMES.items():
        id = f"qnum_gym/{name}-v0"
        if id not in gym.registry:
            gym.register(  # pyright: ignore[reportUnknownMemberType]
                id,
                ENTRY_POINT,
                vector_entry_point=VECTOR_ENTRY_POINT,
                kwargs={"scenario": scenario} if scenario else {},
            )


def parallel_env(id: Source, /, **keywords: Any) -> AllocationParallelEnv:
    """The PettingZoo environment in which every source and every link controller is an agent.

    Args:
        id: a registered id, with or without "qnum_gym/", or a scenario: its name, its YAML file, or itself.
        keywords: those of `AllocationParallelEnv`, any field of a scenario among them.

    Raises:
        ScenarioError: there is no such id or scenario, a keyword is unknown, or what results is impossible.
        ImportError: PettingZoo is not installed (extra `multi`).
    """
    from qnum_gym.envs.parallel import AllocationParallelEnv  # not before it is asked for: PettingZoo, numba

    if isinstance(id, str) and re.search(r"-v\d+$", id):
        ids = [f"qnum_gym/{name}-v0" for name in NAMES]
        full = id if id.startswith("qnum_gym/") else f"qnum_gym/{id}"
        if full not in ids:
            raise ScenarioError(f"id = {id!r}: {suggest(full, ids)}valid: {', '.join(ids)}")
        return AllocationParallelEnv(**{**gym.spec(full).kwargs, **keywords})
    return AllocationParallelEnv(id, **keywords)

"""Ids of the environments. Entry points are strings: registering imports neither numba nor matplotlib."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from qnum_gym.registry import suggest
from qnum_gym.scenarios import ScenarioError, topologies

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qnum_gym.envs.parallel import AllocationParallelEnv
    from qnum_gym.envs.parallel_vector import AllocationParallelVectorEnv
    from qnum_gym.scenarios.sources import Source
    from qnum_gym.streams import Stream

ENTRY_POINT = "qnum_gym.envs.allocation:AllocationEnv"
VECTOR_ENTRY_POINT = "qnum_gym.envs.vector:AllocationVectorEnv"


def ids() -> dict[str, dict[str, Any]]:
    """The ids and their keywords: one for each topology, and two besides.

    "Scenario" takes any: give it `scenario=`. "Families" draws another network for each episode: from all families of a
    split, "train" if not given, or from those that `families=` names, `size=` of each.
    """
    named: dict[str, dict[str, Any]] = {name: {"scenario": scenario} for name, scenario in topologies.ids().items()}
    named |= {"Scenario": {}, "Families": {"families": "train", "observation": "graph"}}
    return {f"qnum_gym/{name}-v0": keywords for name, keywords in named.items()}


def register() -> None:
    """Make the ids known to Gymnasium: of all topologies, those of other packages too; again, only new ones."""
    topologies.TOPOLOGIES.discover()
    for id, keywords in ids().items():
        if id not in gym.registry:
            gym.register(  # pyright: ignore[reportUnknownMemberType]
                id, ENTRY_POINT, vector_entry_point=VECTOR_ENTRY_POINT, kwargs=keywords
            )


def parallel_env(id: Source | Stream, /, **keywords: Any) -> AllocationParallelEnv:
    """The PettingZoo environment in which every source and every link controller is an agent.

    Args:
        id: a registered id, with or without "qnum_gym/", or a scenario: its name, its YAML file, or itself; or a
            stream of them.
        keywords: those of `AllocationParallelEnv`, any field of a scenario among them.

    Raises:
        ScenarioError: there is no such id or scenario, a keyword is unknown, or what results is impossible.
        ImportError: PettingZoo is not installed (extra `multi`).
    """
    from qnum_gym.envs.parallel import AllocationParallelEnv  # not before it is asked for: PettingZoo, numba

    return AllocationParallelEnv(**{**_of_id(id), **keywords})


def parallel_vector_env(
    id: Source | Stream | Sequence[Source], num_envs: int = 1, /, **keywords: Any
) -> AllocationParallelVectorEnv:
    """`num_envs` networks in which every source and every link controller is an agent, stepped together as arrays.

    Args:
        id: as of `parallel_env`, or a sequence of `num_envs` scenarios.
        num_envs: how many networks.
        keywords: those of `AllocationParallelVectorEnv`, any field of a scenario among them.

    Raises:
        ScenarioError: there is no such id or scenario, a keyword is unknown, or what results is impossible.
    """
    from qnum_gym.envs.parallel_vector import AllocationParallelVectorEnv

    return AllocationParallelVectorEnv(num_envs, **{**_of_id(id), **keywords})


def _of_id(id: Any) -> dict[str, Any]:
    """The keywords of a registered id, or `scenario` alone."""
    if not isinstance(id, str) or not re.search(r"-v\d+$", id):
        return {"scenario": id}
    known = ids()
    full = id if id.startswith("qnum_gym/") else f"qnum_gym/{id}"
    if full not in known:
        raise ScenarioError(f"id = {id!r}: {suggest(full, known)}valid: {', '.join(known)}")
    return known[full]

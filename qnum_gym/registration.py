"""Ids of the environments. Entry points are strings: registering imports neither numba nor matplotlib."""

from __future__ import annotations

import gymnasium as gym

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

"""Minari: episodes of any policy as a dataset for offline learning.

```python
from qnum_gym.integrations.minari import collect

dataset = collect("qnum-gym/dumbbell/da-v0", "qnum_gym/Dumbbell-v0", "qprimaldual-da", episodes=100, action="level")
env = dataset.recover_environment()
```
"""

from __future__ import annotations

import importlib
from typing import Any, cast

import gymnasium as gym
import numpy as np

from qnum_gym import agents
from qnum_gym.agents.learned.sb3 import action_map
from qnum_gym.agents.policy import Policy
from qnum_gym.envs import AllocationEnv
from qnum_gym.simulator import Controls

try:
    minari: Any = importlib.import_module("minari")  # it has no types
except ModuleNotFoundError as error:
    raise ImportError("Minari is not installed: pip install -e '.[libraries]' in the clone's folder") from error


def collect(
    dataset_id: str, id: str, policy: str | Policy, episodes: int, *, seed: int = 0, about: str = "", **keywords: Any
) -> Any:
    """Record episodes of a policy, and keep them among Minari's local datasets.

    What is recorded is what a central agent without signals would see and do: each action leads to the policy's rates
    and Werner parameters (with action="step" as near as one step gets, and the environment is there too). A policy
    that acts through header signals looks at a network of its own that carries them: the same draws under the same
    controls, as signals move no pair.

    Args:
        dataset_id: as Minari wants it, such as "qnum-gym/dumbbell/da-v0".
        id: of the environment.
        policy: an object, or what `agents.make` takes.
        episodes: how many.
        seed: of the first episode; the next one has the next.
        about: the dataset's description.
        keywords: of `gym.make`, without `signals`.

    Returns:
        The `minari.MinariDataset`.

    Raises:
        ValueError: `signals` among the keywords, no episode, or such a dataset is there already.
    """
    if "signals" in keywords or episodes < 1:
        what = "signals" if "signals" in keywords else f"episodes = {episodes}"
        raise ValueError(f"{what}: valid: at least 1 episode, and actions without signals")
    made = agents.make(policy) if isinstance(policy, str) else policy
    collector = minari.DataCollector(gym.make(id, info="none", **keywords))
    seen = cast(AllocationEnv, gym.make(id, info="none", **keywords).unwrapped)
    actions = action_map(seen.action_space, seen.scenario)
    for k in range(episodes):
        collector.reset(seed=seed + k)
        seen.reset(seed=seed + k)
        made.reset(seen.scenario, seed + k)
        over = False
        while not over:
            wanted, last = made.act(seen.telemetry), seen.controls
            action = actions.encode(Controls(wanted.rates, wanted.werner), last)
            done = actions.decode(action, last)
            *_, terminated, truncated, _ = collector.step(action)
            seen.step_controls(Controls(done.rates, done.werner, wanted.session_signals, wanted.link_signals))
            over = terminated or truncated
    return collector.create_dataset(
        dataset_id,
        algorithm_name=made.name,
        description=about or f"{episodes} episodes of {made.name} on {id}",
    )


def returns(dataset: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[episodes] sums of rewards."""
    return np.array([episode.rewards.sum() for episode in dataset.iterate_episodes()])

"""RLlib: ids that its remote environment runners know, and the controllers as agents.

```python
from qnum_gym.integrations import rllib

rllib.register()
PPOConfig().environment("qnum_gym/Dumbbell-v0", env_config={"info": "none"})
PPOConfig().environment(rllib.ControllersEnv, env_config={"id": "Dumbbell-v0", "reward": "local"})
```
"""

# pyright: basic, reportMissingImports=false
# Ray pins its own version of Gymnasium, so it is not in the environment that pyright sees.

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium as gym
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

from qnum_gym.registration import ids, parallel_env


def register() -> None:
    """Make the ids known to Ray, so that runners in other processes, which do not import qnum_gym, find them.

    `env_config` holds keywords of `gym.make`. With `gym_env_vectorize_mode="vector_entry_point"` a runner's
    environments are one `AllocationVectorEnv`.
    """
    for id in ids():
        register_env(id, partial(_make, id))


def _make(id: str, config: Mapping[str, Any]) -> gym.Env[Any, Any] | gym.vector.VectorEnv[Any, Any, Any]:
    """One environment, or `num_envs` of them where RLlib says how many."""
    keywords = dict(config)
    return gym.make_vec(id, **keywords) if "num_envs" in keywords else gym.make(id, **keywords)


class ControllersEnv(ParallelPettingZooEnv):
    """`parallel_env` as a `MultiAgentEnv`: "source_0" …, then "link_0" ….

    Args:
        config: `id`, and keywords of `parallel_env`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        keywords = dict(config)
        par = parallel_env(keywords.pop("id"), **keywords)
        self.possible_agents = par.possible_agents
        super().__init__(par)

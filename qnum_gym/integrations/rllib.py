"""RLlib: ids that its remote environment runners know, and the controllers as agents.

```python
from qnum_gym.integrations import rllib

rllib.register()
PPOConfig().environment("qnum_gym/Dumbbell-v0", env_config={"info": "none"})
PPOConfig().environment(rllib.ControllersEnv, env_config={"id": "Dumbbell-v0", "reward": "local"})


class Mine(rllib.TrainedPolicy):  # in mine.py, for evaluate.py --policy mine.py:Mine
    def __init__(self):
        super().__init__("runs/checkpoint")
```
"""

# pyright: basic, reportMissingImports=false
# Ray pins its own version of Gymnasium, so it is not in the environment that pyright sees.

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.multi_rl_module import MultiRLModule
from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
from ray.tune.registry import register_env

from qnum_gym.agents.learned.parallel import GROUPS, ParallelPolicy
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


class TrainedPolicy(ParallelPolicy):
    """What RLlib trained on `ControllersEnv`: its mean actions, or its best choices.

    Reading a checkpoint runs the code in it.

    Args:
        checkpoint: folder that `algorithm.save_to_path` wrote. Its modules are "source" and "link", or one for all.
        options: of `ParallelPolicy`: what the environment of the training was made with.

    Raises:
        FileNotFoundError: there is no such checkpoint.
        ValueError: it has other modules.
    """

    def __init__(self, checkpoint: str | Path, **options: Any) -> None:
        path = Path(checkpoint).absolute() / "learner_group" / "learner" / "rl_module"
        if not path.is_dir():
            raise FileNotFoundError(f"checkpoint = {str(checkpoint)!r}: no folder of an algorithm of RLlib")
        modules = dict(MultiRLModule.from_checkpoint(str(path)).items())
        if len(modules) == 1:
            super().__init__(_Acting(*modules.values()), **options)
        elif set(modules) == set(GROUPS):
            super().__init__({group: _Acting(modules[group]) for group in GROUPS}, **options)
        else:
            raise ValueError(f"checkpoint has {', '.join(modules)}; valid: one module, or {', '.join(GROUPS)}")


class _Acting:
    """An RLModule as a function of observations."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[Any]:
        with torch.no_grad():
            found = self._module.forward_inference({Columns.OBS: torch.as_tensor(rows)})
            if Columns.ACTIONS in found:
                return found[Columns.ACTIONS].numpy()
            distribution = self._module.get_inference_action_dist_cls()
            actions = distribution.from_logits(found[Columns.ACTION_DIST_INPUTS]).to_deterministic().sample()
        return np.clip(actions.numpy(), -1.0, 1.0) if actions.is_floating_point() else actions.numpy()  # as RLlib does

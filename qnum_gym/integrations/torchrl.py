"""TorchRL: policies of groups of agents as functions of their observations.

```python
class Mine(ParallelPolicy):  # in mine.py, for evaluate.py --policy mine.py:Mine
    def __init__(self):
        policy = build()  # the modules that were trained over PettingZooWrapper(parallel_env(...))
        policy.load_state_dict(torch.load("policy.pt"))
        super().__init__(actors(policy))
```
"""

# pyright: basic, reportMissingImports=false
# BenchMARL pins another version of TorchRL, so neither is in the environment that pyright sees.

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tensordict import TensorDict
from tensordict.nn import TensorDictModuleBase, TensorDictSequential
from torchrl.envs.utils import ExplorationType, set_exploration_type

from qnum_gym.agents.learned.parallel import GROUPS


def actors(policy: TensorDictModuleBase) -> dict[str, Actor]:
    """A policy of both groups, as `ParallelPolicy` takes it: mean actions, or best choices.

    Args:
        policy: reads ("source", "observation") and ("link", "observation"), and masks if it asks for them; writes
            ("source", "action") and ("link", "action"). It may be for a number of agents of its own, as BenchMARL's
            are; then it runs on networks of that size.
    """
    return {group: Actor(policy, group) for group in GROUPS}


class Actor:
    """One group's part of a policy."""

    def __init__(self, policy: TensorDictModuleBase, group: str) -> None:
        self._key = group, "action"
        if isinstance(policy, TensorDictSequential):
            policy = policy.select_subsequence(out_keys=[self._key])
        self._policy, self._group = policy.eval(), group
        self._masked = (group, "action_mask") in policy.in_keys

    def __call__(self, rows: NDArray[np.float32], action_mask: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """Actions of the group's agents, of one network."""
        seen = {"observation": torch.as_tensor(rows)}
        if self._masked:
            seen["action_mask"] = torch.as_tensor(action_mask)
        told = TensorDict({self._group: TensorDict(seen, [len(rows)])}, [])
        with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
            return self._policy(told)[self._key].numpy()

"""BenchMARL: `parallel_env` as a task, for algorithms of many agents with a central critic.

```python
from qnum_gym.integrations.benchmarl import AllocationTask

task = AllocationTask("Dumbbell-v0", {"reward": "local"})
Experiment(task, MappoConfig.get_from_yaml(), ...)
```
"""

# pyright: basic, reportMissingImports=false
# BenchMARL pins its own version of TorchRL, so it is not in the environment that pyright sees.

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarl.environments.pettingzoo.common import PettingZooClass
from torchrl.envs import EnvBase, PettingZooWrapper

from qnum_gym.registration import parallel_env


class AllocationTask(PettingZooClass):
    """The controllers of one network in two groups, "source" and "link", each with the weights of its own.

    Critics see `par.state()`, policies what their controller measured.

    Args:
        name: what `parallel_env` takes: an id, a scenario's name or its file. config: keywords of `parallel_env`.
    """

    def __init__(self, name: str, config: dict[str, Any] | None = None) -> None:
        super().__init__(name, {"info": "none", **(config or {})})  # TorchRL's wrapper has no place for information
        self._steps = self._parallel_env().scenario.episode_length

    def _parallel_env(self) -> Any:
        return parallel_env(self.name, **self.config)

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], EnvBase]:
        """What makes one environment; BenchMARL makes `num_envs` of them."""
        return lambda: PettingZooWrapper(self._parallel_env(), return_state=True, seed=seed, device=device)

    def supports_continuous_actions(self) -> bool:
        """Always."""
        return True

    def supports_discrete_actions(self) -> bool:
        """Never."""
        return False

    def has_state(self) -> bool:
        """Always."""
        return True

    def has_render(self, env: EnvBase) -> bool:
        """With a `render_mode`."""
        return self.config.get("render_mode") == "rgb_array"

    def max_steps(self, env: EnvBase) -> int:
        """An episode's control intervals."""
        return self._steps

    @staticmethod
    def env_name() -> str:
        """How BenchMARL calls it in its logs."""
        return "qnum_gym"

"""BenchMARL: `parallel_env` as a task, for algorithms of many agents with a central critic.

```python
from qnum_gym.integrations.benchmarl import AllocationTask

task = AllocationTask("Dumbbell-v0", {"reward": "local"})
Experiment(task, MappoConfig.get_from_yaml(), ...)


class Mine(TrainedPolicy):  # in mine.py, for evaluate.py --policy mine.py:Mine
    def __init__(self):
        super().__init__("runs/mappo_…/checkpoints/checkpoint_200000.pt")
```
"""

# pyright: basic, reportMissingImports=false
# BenchMARL pins its own version of TorchRL, so it is not in the environment that pyright sees.

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarl.environments.pettingzoo.common import PettingZooClass
from benchmarl.experiment import Experiment
from torchrl.envs import EnvBase, PettingZooWrapper

from qnum_gym.agents.learned.parallel import ParallelPolicy
from qnum_gym.envs.action_kinds import ACTIONS
from qnum_gym.integrations.torchrl import actors
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
        """Unless they are choices."""
        return not self.supports_discrete_actions()

    def supports_discrete_actions(self) -> bool:
        """With `action="discrete"`, with masks."""
        return ACTIONS.find(self.config.get("action", "step")).choices

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


class TrainedPolicy(ParallelPolicy):
    """What BenchMARL trained on an `AllocationTask`: its mean actions. It runs on networks of as many agents.

    Reading a checkpoint runs the code in it.

    Args:
        checkpoint: file of a run, as `checkpoint_at_end` leaves it in the folder `checkpoints`.

    Raises:
        FileNotFoundError: there is no such file.
    """

    def __init__(self, checkpoint: str | Path) -> None:
        if not Path(checkpoint).is_file():
            raise FileNotFoundError(f"checkpoint = {str(checkpoint)!r}: no such file")
        quiet = {"loggers": [], "create_json": False, "evaluation": False, "render": False}
        experiment = Experiment.reload_from_file(str(checkpoint), experiment_patch=quiet)
        meaning = ("action", "signals", "rate_step", "werner_step", "homogeneous")
        options = {name: value for name, value in experiment.task.config.items() if name in meaning}
        super().__init__(actors(experiment.policy), **options)

"""Stable-Baselines3 over the native vector environment: SB3 does not take a gymnasium VectorEnv by itself.

```python
from qnum_gym.integrations.sb3 import SB3VecEnv

envs = SB3VecEnv.make("qnum_gym/Dumbbell-v0", num_envs=64)
model = PPO("MlpPolicy", envs)
```
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from qnum_gym.envs.observations import of_one
from qnum_gym.envs.vector import AllocationVectorEnv


class OneVecEnv(VecEnv):
    """A VecEnv that is one object: its slots are no environments, and what SB3 asks of single ones is refused."""

    def close(self) -> None:
        """Nothing is open."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """An attribute of the whole, once per index."""
        return [getattr(self, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Refused: the environments are one."""
        raise AttributeError(f"{attr_name} cannot be set on single environments of a {type(self).__name__}")

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused: the environments are one."""
        raise AttributeError(f"{method_name}: single environments have no methods; the whole has")

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """Never."""
        return [False for _ in self._get_indices(indices)]

    def set_options(self, options: list[dict[str, Any]] | dict[str, Any] | None = None) -> None:
        """Refused, but for empty ones: a reset knows no options.

        Raises:
            ValueError: there is an option.
        """
        if any(options if isinstance(options, list) else [options]):
            raise ValueError(f"options = {options!r}; valid: none, a {type(self).__name__} is reset without")

    def get_images(self) -> Sequence[np.ndarray[Any, Any] | None]:
        """No pictures of many environments."""
        return [None] * self.num_envs


class SB3VecEnv(OneVecEnv):
    """An `AllocationVectorEnv`, as it is or in Gymnasium's vector wrappers, as SB3's VecEnv.

    What is given is stepped, wrappers and all, and the spaces are its own. SB3 wants an environment that is over to
    begin anew in the same step: `make` asks for `autoreset_mode` SAME_STEP; in another mode those that are over are
    reset by themselves, with Gymnasium's option `reset_mask`. (`NormalizeObservation` refuses that unless all episodes
    end together, as those of equal length do.)

    At the end of an episode `infos[i]` holds `terminal_observation`, `TimeLimit.truncated` and `episode` (return r,
    length l, wall seconds t: what SB3's Monitor records); otherwise it is empty. With `metrics=True` it always holds
    the environment's information of that step, `metrics/score` and the rest, which costs time.

    Raises:
        ValueError: beneath the wrappers there is no AllocationVectorEnv, or one of them makes information a list.
    """

    def __init__(self, envs: gym.vector.VectorEnv[Any, Any, Any], *, metrics: bool = False) -> None:
        native: Any = envs.unwrapped
        if not isinstance(native, AllocationVectorEnv):
            raise ValueError(f"envs = {envs}; valid: an AllocationVectorEnv, as gym.make_vec gives, or wrappers of it")
        given: Any = envs
        self.envs = given  # SB3 asks for an attribute of it at once
        self._native = native
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            native.num_envs, given.single_observation_space, given.single_action_space
        )
        self._metrics = metrics
        self._actions: np.ndarray[Any, Any] = np.zeros(given.action_space.shape, np.float32)
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        self._begin = time.time()

    @classmethod
    def make(cls, id: str, num_envs: int = 1, *, metrics: bool = False, **keywords: Any) -> SB3VecEnv:
        """`gym.make_vec(id, num_envs, …)` as SB3 wants it: SAME_STEP, and without information unless asked for.

        Args:
            id: as `gym.make_vec` takes it.
            num_envs: likewise.
            metrics: see the class.
            **keywords: of the environment.
        """
        wanted: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "info": "flat" if metrics else "none"}
        return cls(gym.make_vec(id, num_envs, **{**wanted, **keywords}), metrics=metrics)

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment, with the seeds given to `seed` if there are any."""
        seeds = self._seeds
        info: Any
        observations, info = self.envs.reset(seed=None if all(s is None for s in seeds) else seeds)
        if isinstance(info, list):
            raise ValueError(f"envs = {self.envs}: information is a list; valid: without DictInfoToList")
        self._reset_seeds()
        self._returns[:], self._lengths[:] = 0.0, 0
        self.reset_infos = self._infos(info)
        return observations

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: Any = None) -> list[bool]:
        """In SB3's Monitor, as far as SB3 asks for it: what that records is in `infos`. In nothing else."""
        return [issubclass(wrapper_class, Monitor) for _ in self._get_indices(indices)]

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Masks of choices, for which MaskablePPO asks; anything else is refused."""
        if method_name != "action_masks":
            return super().env_method(method_name, *method_args, indices=indices, **method_kwargs)
        masks = self._native.action_masks()
        return [masks[i] for i in self._get_indices(indices)]

    def step_async(self, actions: np.ndarray[Any, Any]) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> Any:
        """One control interval: observations, rewards, dones and infos."""
        observations, rewards, terminated, truncated, info = self.envs.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        infos, over = self._infos(info), terminated | truncated
        if over.any():
            observations, last = self._next_episodes(observations, over, info, infos)
            elapsed = round(time.time() - self._begin, 6)
            for i in np.flatnonzero(over).tolist():
                infos[i]["terminal_observation"] = of_one(last, i)
                infos[i]["TimeLimit.truncated"] = not terminated[i]
                infos[i]["episode"] = {"r": float(self._returns[i]), "l": int(self._lengths[i]), "t": elapsed}
            self._returns[over], self._lengths[over] = 0.0, 0
        return observations, rewards.astype(np.float32), over, infos

    def _next_episodes(
        self, observations: Any, over: NDArray[np.bool_], info: dict[str, Any], infos: list[dict[str, Any]]
    ) -> tuple[Any, Any]:
        """Begin anew where it is `over`: observations now, and the last ones of the episodes before."""
        if self._native.autoreset_mode == AutoresetMode.SAME_STEP:
            last, begun, ended = info["final_obs"], infos.copy(), self._infos(info["final_info"])
        else:
            last, ended = observations, infos.copy()
            observations, info = self.envs.reset(options={"reset_mask": over.copy()})
            begun = self._infos(info)
        for i in np.flatnonzero(over).tolist():
            infos[i], self.reset_infos[i] = ended[i], begun[i]
        return observations, last

    def _infos(self, info: dict[str, Any]) -> list[dict[str, Any]]:
        if not self._metrics:
            return [{} for _ in range(self.num_envs)]
        own = {key: info[key] for key in self._native.env_batch.info if key in info}
        return [{key: values[i] for key, values in own.items()} for i in range(self.num_envs)]

    def close(self) -> None:
        """Close the vector environment."""
        self.envs.close()

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """An attribute of what was given, or of the environment beneath its wrappers, once per index."""
        owner = self.envs if hasattr(self.envs, attr_name) else self._native
        return [getattr(owner, attr_name) for _ in self._get_indices(indices)]

    # --- state is data ------------------------------------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies.

        Raises:
            ValueError: there is a wrapper, whose state is its own.
        """
        self._check_bare()
        return {"envs": self._native.get_state(), "returns": self._returns.copy(), "lengths": self._lengths.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`.

        Raises:
            ValueError: there is a wrapper, whose state is its own.
        """
        self._check_bare()
        self._native.set_state(state["envs"])
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]

    def _check_bare(self) -> None:
        if self.envs is not self._native:
            raise ValueError(f"envs = {self.envs}: the state of a wrapper is unknown; valid: without any")

"""`AllocationParallelVectorEnv`: many networks, every source and link controller of each an agent, one call a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from qnum_gym.envs.action_kinds import valid
from qnum_gym.envs.decoding import TOLERANCE
from qnum_gym.envs.observation import SHARED_SIZE
from qnum_gym.envs.vector import AllocationVectorEnv
from qnum_gym.scenarios.sources import Source
from qnum_gym.simulator.simulator import real
from qnum_gym.simulator.turn import in_turn
from qnum_gym.streams import Stream


def agent_names(sessions: int, links: int) -> tuple[list[str], list[str]]:
    """The sources' names and the links'."""
    return [f"source_{r}" for r in range(sessions)], [f"link_{l}" for l in range(links)]


def wrong_of_agent(action: NDArray[np.float64], k: int) -> tuple[float, str]:
    """What is wrong in an agent's action, and in a message where: at k, or all of it."""
    return (action[k], f": [{k}]") if action.ndim else (action.item(), "")


class AllocationParallelVectorEnv(AllocationVectorEnv):
    """n `AllocationParallelEnv`s, each the same bit for bit as alone, as arrays: n networks, A = R + L agents in each.

    Arguments, seeds, autoreset and states are those of `AllocationVectorEnv`, and agents, their observations, actions
    and rewards those of `AllocationParallelEnv` (`signals=True` unless given). It needs no PettingZoo.

    - `step(actions)`: actions [n, A, 2], the control and the signal ([n, A, 1] with `signals=False`); with
      `action="discrete"` [n, A], one choice for each, of which `action_masks()` says which change something. It gives
      observations [n, A, 30], rewards [n, A] (each agent's own with a `local` reward, else that of all), terminated [n]
      (never) and truncated [n], for the agents of a network end together, and information.
    - `state()`: the global states, [n, 16 R + 13 L] or what `observation` names, such as "graph".
    - `agent_mask` [n, A]: which agents there are, where networks differ in size (which needs `observation="graph"`);
      the others' observations, their role among them, and rewards are 0. `action_mask` [n, A]: whose action matters
      now, all but those of sessions that are off and of links that are down.
    - Information: that of `AllocationVectorEnv`, and `rewards/team` [n], `rewards/local` [n, A], `controls/signal`
      [n, A].

    Attributes:
        possible_agents: their names, `source_0` …, then `link_0` …: the order of the second axis.
        groups: "source" and "link" -> the names in it. rows: the same as slices of the second axis.
        agent_observation_space, agent_action_space, state_space: of one agent, and of one network.

    ```python
    par = qnum_gym.parallel_vector_env("NSFNet-v0", 64, reward="local")
    observations, info = par.reset(seed=0)
    observations, rewards, terminated, truncated, info = par.step(par.action_space.sample())
    ```
    """

    def __init__(
        self,
        num_envs: int = 1,
        scenario: Source | Stream | Sequence[Source] = None,
        *,
        signals: bool = True,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **keywords: Any,
    ) -> None:
        super().__init__(num_envs, scenario, signals=signals, autoreset_mode=autoreset_mode, **keywords)
        sessions, links = self.env_batch.sizes[:2]
        sources, controllers = agent_names(sessions, links)
        self.possible_agents = sources + controllers
        self.groups = {"source": sources, "link": controllers}
        self.rows = {"source": slice(sessions), "link": slice(sessions, sessions + links)}
        agents = len(self.possible_agents)
        self.state_space = self.single_observation_space
        self.agent_observation_space = spaces.Box(-1.0, 1.0, (SHARED_SIZE,), np.float32)
        self.agent_action_space: Any = self._actions.agent_space()
        seen: Any = batch_space(self.agent_observation_space, agents)
        done: Any = batch_space(self.agent_action_space, agents)
        self.single_observation_space, self.single_action_space = seen, done
        self.observation_space, self.action_space = batch_space(seen, num_envs), batch_space(done, num_envs)
        self._shape: tuple[int, ...] = num_envs, agents, *self.agent_action_space.shape

    @in_turn
    def step(
        self, actions: ArrayLike
    ) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Decode every agent's action and live through one control interval.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside the action space. Nothing is changed then.
        """
        values = real("actions", actions, self._shape)
        entries = self._actions.kind.entries_of_agents(values, self._actions.of_agent)
        refused = (
            ~(np.abs(entries) <= 1.0 + TOLERANCE) & (self.agent_mask & ~self._over[:, np.newaxis])[:, :, np.newaxis]
        )
        if refused.any():
            i, agent, k = (int(index[0]) for index in np.nonzero(refused))
            name, (value, entry) = self.possible_agents[agent], wrong_of_agent(values[i, agent], k)
            raise ValueError(f"actions[{i}] of {name}{entry} = {value:.10g}; valid: {valid(self.agent_action_space)}")
        return super().step(self._actions.joint(entries))

    def observe(self) -> Any:
        """[n, A, 30] what the agents see, as the last reset or step gave it (a new array)."""
        return self.env_batch.agent_rows()

    def state(self) -> Any:
        """What a central agent of each network sees now (new arrays)."""
        return super().observe()

    @property
    def agent_mask(self) -> NDArray[np.bool_]:
        """[n, A] which agents there are."""
        return self.env_batch.agent_mask

    @property
    def action_mask(self) -> NDArray[np.bool_]:
        """[n, A] whose actions matter now."""
        return np.concatenate(self.env_batch.movable[:2], axis=1)

    def action_masks(self) -> NDArray[np.bool_]:
        """[n, A, choices] which choices of each agent may change something now.

        Raises:
            ValueError: actions are no choices.
        """
        return self._actions.masks_of_agents(*self.env_batch.movable)

    def _rewards(self) -> NDArray[np.float64]:
        batch = self.env_batch
        return batch.local_rewards() if batch.reward.local else batch.agent_mask * batch.rewards[:, np.newaxis]

    def _told(self) -> dict[str, NDArray[Any]]:
        batch = self.env_batch
        return {
            **batch.info,
            "rewards/team": batch.rewards,
            "rewards/local": batch.local_rewards(),
            "controls/signal": np.concatenate(batch.signals, axis=1),
        }

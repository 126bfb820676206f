"""`AllocationParallelEnv`: every source and every link controller an agent of its own (PettingZoo)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

try:
    from pettingzoo import ParallelEnv  # pyright: ignore[reportMissingTypeStubs]
except ModuleNotFoundError as error:
    raise ImportError(
        "PettingZoo is not installed; parallel_env needs: pip install -e '.[multi]' in the clone's folder"
    ) from error

from qnum_gym.envs.action import RATE_STEP, WERNER_STEP
from qnum_gym.envs.action_kinds import valid
from qnum_gym.envs.allocation import AllocationEnv
from qnum_gym.envs.decoding import TOLERANCE
from qnum_gym.envs.observation import LINK_FEATURES, SESSION_FEATURES, SHARED_SIZE
from qnum_gym.envs.observations import ObservationSource
from qnum_gym.envs.options import KEYWORDS, InfoKind, informs
from qnum_gym.envs.parallel_vector import agent_names, wrong_of_agent
from qnum_gym.envs.rendering.table import link_name, session_name
from qnum_gym.envs.rewards import DEFAULT, RewardSource
from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sources import Source
from qnum_gym.simulator import Controls
from qnum_gym.simulator.sealing import open_seal, seal
from qnum_gym.simulator.simulator import Floats, real
from qnum_gym.simulator.turn import Turn, in_turn
from qnum_gym.streams import Stream, resolve_network

Observation = NDArray[np.float32]
Observations = dict[str, Observation]
Infos = dict[str, dict[str, Any]]
Step = tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]


class AllocationParallelEnv(ParallelEnv[str, Observation, NDArray[np.float32]]):
    """`AllocationEnv` with its controllers as agents: QPrimalDual's decentralised setting as a learning problem.

    Network, seeds, reward, episode and keywords are those of `AllocationEnv`, which does the work inside (`central`):
    equal actions give equal episodes, bit for bit. What is different:

    ## Agents

    `source_0` … of the sessions, then `link_0` … of the links, in the scenario's order; `names` says who they are. An
    agent sees only its own controller's measurements and what headers and ACKs brought it. What one agent writes into
    headers (its signal) is all that it can tell another.

    ## Action Space

    Box(−1, 1, (2,), float32) for all: the control, a source's rate or a link's Werner parameter (as `action` says:
    "step" or "level"), then the header signal. With `signals=False` Box(−1, 1, (1,)): the control alone.

    With `action="discrete"` Discrete(9): c + 3 s, where c of 0, 1, 2 lowers, holds or raises the control by a step, and
    s of 0, 1, 2 is a signal of −1, 0 or 1; with `signals=False` Discrete(3): c. `infos[agent]["action_mask"]` (int8)
    then says which choices may change something, as for `AllocationEnv`, also with `info="none"`; so
    `par.action_space(agent).sample(infos[agent]["action_mask"])`.

    ## Observation Space

    Box(−1, 1, (30,), float32) for all: the role (1 source, −1 link), the 16 features of a session (0 for a link), the
    13 of a link (0 for a source): `observation.shared_rows`. So one network can serve all agents. With
    `homogeneous=False` the own features alone: (16,) for a source, (13,) for a link. `state()` is the observation of
    `AllocationEnv`: of shape (16 R + 13 L,), or what `observation` names, such as "graph".

    ## Rewards

    - `reward="share"` (default), "log", "relative", …: every agent gets the reward of `AllocationEnv`.
    - `reward="local"` [ours]: `relative` over the agent's neighbourhood alone, so that its part shows. A source's
      are the sessions that share a link with its own, itself included; a link's those that cross it. Where none of them
      counted in the reward's window (or no session crosses the link), the team's. So with every `Reward` whose `local`
      is true.

    ## Episode End

    With a `Stream`, each episode's `agents` are those of its network, and `possible_agents` those of the largest.

    All agents are truncated together after `episode_length` intervals, and `agents` is then empty until `reset`. None
    is ever terminated.

    ## Information

    Of each agent, from `reset` and `step` alike, its own entry of `AllocationEnv`'s information under the same key: of
    a source `metrics/rate` and whatever else is of sessions, of a link what is of links, and of the whole `cost` and
    all other `metrics/…`, such as `score`. Besides `controls/signal` in force, `rewards/team` and `rewards/local`,
    whichever is the reward. They are for watching, not for acting on: they hold what the agent does not know.
    `info="none"` leaves them empty, but for `action_mask`.

    ```python
    par = qnum_gym.parallel_env("NSFNet-v0", reward="local")
    observations, infos = par.reset(seed=0)
    while par.agents:
        actions = {agent: par.action_space(agent).sample() for agent in par.agents}
        observations, rewards, terminations, truncations, infos = par.step(actions)
    ```

    Pickle, `copy.deepcopy` and `get_state`/`set_state` give exact continuations.

    Raises:
        ScenarioError: as `AllocationEnv`. ValueError: an unknown `reward`, `action` or `render_mode`, or a step that is
            not positive.
    """

    metadata = {  # noqa: RUF012
        **AllocationEnv.metadata,
        "name": "qnum_gym_allocation_v0",
        "is_parallelizable": True,
    }

    def __init__(
        self,
        scenario: Source | Stream = None,
        *,
        homogeneous: bool = True,
        observation: ObservationSource = "flat",
        reward: RewardSource = DEFAULT,
        action: str = "step",
        signals: bool = True,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        info: InfoKind = "flat",
        render_mode: str | None = None,
        **overrides: Any,
    ) -> None:
        self.central = AllocationEnv(
            resolve_network(scenario, overrides, (*KEYWORDS, "homogeneous")),
            observation=observation,
            reward=reward,
            action=action,
            signals=signals,
            rate_step=rate_step,
            werner_step=werner_step,
            info="none",
            render_mode=render_mode,
        )
        self.render_mode = render_mode
        self._homogeneous, self._informs = homogeneous, informs(info)
        self._sources, self._links = agent_names(*self.central.env_batch.sizes[:2])
        self.possible_agents = self._sources + self._links
        self.agents = []
        self.state_space: Any = self.central.observation_space
        actions = self.central.actions
        self.action_spaces: dict[str, Any] = {agent: actions.agent_space() for agent in self.possible_agents}
        self.observation_spaces = {
            agent: spaces.Box(-1.0, 1.0, (self._row_size(agent),), np.float32) for agent in self.possible_agents
        }
        self._turn = Turn()

    def _row_size(self, agent: str) -> int:
        if self._homogeneous:
            return SHARED_SIZE
        return len(SESSION_FEATURES if agent.startswith("source") else LINK_FEATURES)

    # --- PettingZoo's interface ---------------------------------------------------------------------------------------

    def observation_space(self, agent: str) -> spaces.Space[Observation]:
        """The agent's own, the same object each time."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The agent's own, of the kind of action; the same object each time."""
        return self.action_spaces[agent]

    @in_turn
    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Start an episode, as `AllocationEnv.reset` does.

        PettingZoo's own tests pass an option "options"; it is ignored.

        Raises:
            ValueError: an unknown option, or a scenario with another number of sessions or links.
        """
        if isinstance(options, Mapping):  # anything else `central` refuses
            options = {key: value for key, value in options.items() if key != "options"}
        self.central.reset(seed=seed, options=options)
        self.agents = self._present()
        return self._observations(), self._infos(self._local())

    @in_turn
    def step(self, actions: Mapping[str, ArrayLike]) -> Step:
        """Decode every agent's action and live through one control interval.

        Raises:
            ValueError: an agent without an action, one that there is not, a wrong shape, NaN, or a value outside
                its action space.
        """
        self._check_ready()
        return self._shared(*self.central.step(self._joint(actions))[1:])

    @in_turn
    def step_controls(self, controls: Controls) -> Step:
        """`step` in physical units: what a policy's `Controls` go through.

        Raises:
            ValueError: a wrong shape, NaN, or a control outside the scenario's ranges.
        """
        self._check_ready()
        return self._shared(*self.central.step_controls(controls)[1:])

    def state(self) -> Any:
        """What the central agent of `AllocationEnv` sees, by default all controllers' rows [16 R + 13 L] (a copy)."""
        return self.central.observe()

    def render(self) -> str | NDArray[np.uint8] | None:
        """As `AllocationEnv.render`."""
        return self.central.render()

    def close(self) -> None:
        """Let go of the picture."""
        self.central.close()

    # --- who and what -------------------------------------------------------------------------------------------------

    @property
    def scenario(self) -> Scenario:
        """What is simulated."""
        return self.central.scenario

    @property
    def names(self) -> dict[str, str]:
        """Agent -> who that is: "source_0" -> "s0→d0", "link_0" -> "s0–left"."""
        s = self.scenario
        return dict(zip(self._present(), [*map(session_name, s.sessions), *map(link_name, s.links)], strict=True))

    def _present(self) -> list[str]:
        """The agents of this episode's network."""
        return self._sources[: len(self.scenario.sessions)] + self._links[: len(self.scenario.links)]

    # --- state is data ------------------------------------------------------------------------------------------------

    @in_turn
    def get_state(self) -> dict[str, Any]:
        """Everything that an exact continuation needs, as copies."""
        return seal({"central": self.central.get_state(), "agents": self.agents.copy()}, "ParallelAllocationEnv")

    @in_turn
    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state of `get_state`, taken from an environment with the same spaces.

        Raises:
            StateError: the state is damaged. ValueError: it is of a scenario with another number of sessions or links.
                Nothing is changed then.
        """
        state = open_seal(state, "ParallelAllocationEnv")
        self.central.set_state(state["central"])
        self.agents = state["agents"].copy()

    # --- helpers ------------------------------------------------------------------------------------------------------

    def _check_ready(self) -> None:
        if not self.agents:
            raise ResetNeeded("no agents: call reset() before the first step() and after the end of an episode")

    def _joint(self, actions: Mapping[str, ArrayLike]) -> Floats:
        """The central action: all controls, then all signals, each with the sources first."""
        if not isinstance(actions, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ValueError(f"actions = {actions!r:.80}; valid: a mapping with one for each of par.agents")
        if set(actions) != set(self.agents):
            missing = [agent for agent in self.agents if agent not in actions]
            unknown = [agent for agent in actions if agent not in self.agents]
            raise ValueError(f"actions: missing {missing}, unknown {unknown}; valid: one for each of par.agents")
        meant, space = self.central.actions, self.action_spaces[self.agents[0]]
        rows: list[Floats] = [real(f"action of {agent}", actions[agent], space.shape) for agent in self.agents]
        own = meant.kind.entries_of_agents(np.stack(rows), meant.of_agent)
        refused = ~(np.abs(own) <= 1.0 + TOLERANCE)  # NaN too
        if refused.any():
            i, k = map(int, np.argwhere(refused)[0])
            value, entry = wrong_of_agent(rows[i], k)
            raise ValueError(f"action of {self.agents[i]}{entry} = {value:.10g}; valid: {valid(space)}")
        entries = np.zeros((len(self.possible_agents), meant.of_agent))
        entries[self.central.env_batch.agent_mask[0]] = own
        return meant.joint(entries)

    def _shared(self, reward: float, _: bool, truncated: bool, __: dict[str, Any]) -> Step:
        """What a step of `AllocationEnv` brings, agent by agent; the last one of an episode empties `agents`."""
        agents, self.agents = self.agents, []  # until all is done
        local = self._local()
        rewards = local if self.central.env_batch.reward.local else [reward] * len(agents)
        result = (
            self._observations(),
            dict(zip(agents, rewards, strict=True)),
            dict.fromkeys(agents, False),
            dict.fromkeys(agents, truncated),
            self._infos(local),
        )
        if not truncated:
            self.agents = agents
        return result

    def _observations(self) -> Observations:
        batch = self.central.env_batch
        if self._homogeneous:
            rows = [*batch.agent_rows()[batch.agent_mask]]
        else:
            rows = [*batch.session_rows[batch.session_mask], *batch.link_rows[batch.link_mask]]
        return dict(zip(self._present(), rows, strict=True))

    def _local(self) -> list[float]:
        """[R + L] local rewards, if anybody is told of them."""
        batch = self.central.env_batch
        if not (self._informs or batch.reward.local):
            return []
        return batch.local_rewards()[batch.agent_mask].tolist()

    def _infos(self, local: list[float]) -> Infos:
        batch, actions = self.central.env_batch, self.central.actions
        infos: Infos = {agent: {} for agent in self._present()}
        if actions.kind.choices:
            open_to = actions.masks_of_agents(*batch.movable)[batch.agent_mask].astype(np.int8)
            for own, mask in zip(infos.values(), open_to, strict=True):
                own["action_mask"] = mask
        if not self._informs:
            return infos
        of_all = {key: array.item(0) for key, array in batch.info_of["network"].items()}
        of_all["rewards/team"] = batch.rewards.item(0)
        of_agents, masks = iter(local), (batch.session_mask, batch.link_mask)
        groups = zip((self._sources, self._links), ("session", "link"), masks, batch.signals, strict=True)
        for agents, kind, mask, signals in groups:
            arrays = batch.info_of[kind]
            rows = zip(*(array[mask].tolist() for array in arrays.values()), strict=True)
            for agent, row, signal in zip(agents, rows, signals[mask].tolist(), strict=False):
                told = {"controls/signal": signal, "rewards/local": next(of_agents)}
                infos[agent] |= of_all | dict(zip(arrays, row, strict=True)) | told
        return infos

"""A network that acts for every agent of the parallel environment, trained with whatever library, as a policy.

Three lines in a file of one's own make it a policy wherever one can be named (`my.py:Mine`):

```python
class Mine(ParallelPolicy):
    def __init__(self):
        super().__init__(torch.jit.load("actor.pt"))
```

`qnum_gym.integrations` has what reads the checkpoints of RLlib, TorchRL and BenchMARL; a `model.zip` of
Stable-Baselines3 that acted for single agents needs nothing (`learned.load`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import Bools, Policy, Seen
from qnum_gym.envs.action import RATE_STEP, WERNER_STEP, ActionMap
from qnum_gym.envs.action_kinds import ACTIONS
from qnum_gym.envs.observation import ObservationEncoder, acting, shared_rows
from qnum_gym.simulator import Controls
from qnum_gym.simulator.simulator import real

Actor: TypeAlias = Callable[..., Any]  # observations [agents, columns] -> actions [agents, …]; also a torch module
GROUPS = "source", "link"


class ParallelPolicy(Policy):
    """What acts for the agents of `qnum_gym.parallel_env`, from what that environment shows each of them.

    It is called once a network and interval, or once for each group, so that it does to a network's rows what it does
    to them alone, bit for bit. Mean actions, and no memory from one interval to the next.

    `local` holds for what computes each row of actions from the same row of observations, as a perceptron does. One
    that mixes rows, such as attention over agents, is to be made with `local=False`.

    Args:
        actor: rows of a network's agents, sources first, to their actions, as the environment takes them: float32
            [agents, 30] to [agents, 2] ([agents, 1] without signals, [agents] of choices). A torch module gets and
            gives tensors. Or a mapping of "source" and "link" to one for each group.
        homogeneous, action, signals, rate_step, werner_step: of the environment of the training.
        name: as tables show it; the class's if not given.

    With choices, an actor that takes `action_mask` gets it by this name: bool [agents, choices].

    Raises:
        ValueError: no actor for a group, one for both where their rows differ, or an unknown `action`.
    """

    local = True

    def __init__(
        self,
        actor: Actor | Mapping[str, Actor],
        *,
        homogeneous: bool = True,
        action: str = "step",
        signals: bool = True,
        rate_step: float = RATE_STEP,
        werner_step: float = WERNER_STEP,
        local: bool = True,
        name: str | None = None,
    ) -> None:
        self.name, self.local = name or type(self).__name__, local
        self.knows = "local" if local else "all"
        actors: dict[str, Actor] = (
            {**cast("Mapping[str, Actor]", actor)} if isinstance(actor, Mapping) else {"agents": actor}
        )
        if tuple(sorted(actors)) not in (("agents",), tuple(sorted(GROUPS))):
            raise ValueError(f"actor has {', '.join(actors)}; valid: one for each of {', '.join(GROUPS)}")
        if not homogeneous and len(actors) == 1:
            raise ValueError("homogeneous = False: rows of sources and links differ; valid: an actor for each group")
        self._actors = (
            [_Called(a) for a in actors.values()] if len(actors) == 1 else [_Called(actors[g]) for g in GROUPS]
        )
        self._homogeneous = homogeneous
        self._options: dict[str, Any] = {"signals": signals, "rate_step": rate_step, "werner_step": werner_step}
        self._kind, self._action = ACTIONS.find(action), action
        self._shape: tuple[int, ...] = self._kind.agent_space(1 + signals).shape or ()

    def prepare(self) -> None:
        """What is observed and what actions mean in `networks`."""
        self._encoder = ObservationEncoder(self.networks.scenarios)
        self._actions = ActionMap(self.networks.arrays, self._action, **self._options)
        self._bounds = [np.searchsorted(of, range(1, len(self.networks))) for of in self._of()]

    def _of(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.networks.of_session, self.networks.of_link

    def forget(self, which: Bools) -> None:
        """Nothing is drawn: `seeds` are unused."""
        self._encoder.forget(*self.networks.rows(which))

    def act(self, seen: Seen) -> Controls:
        """The controls that the agents' actions ask for, those of the last interval being in force."""
        own, last = self._encoder.rows(self._encoder.encode(seen)), Controls(seen.sessions.rate, seen.links.werner)
        rows: tuple[Any, Any] = own
        if self._homogeneous:
            both = shared_rows(*own)
            rows = both[: len(own[0])], both[len(own[0]) :]
        observed = self._per_network(*rows)
        masks: list[Any] = [None] * len(observed)
        if self._kind.choices:
            both = self._actions.masks_of_agents(*acting(*own), last)
            masks = self._per_network(both[: len(own[0])], both[len(own[0]) :])
        done = [self._of_network(*parts) for parts in zip(observed, masks, strict=True)]
        actions = np.concatenate([of_network[k] for k in range(2) for of_network in done])
        entries = self._kind.entries_of_agents(actions, self._actions.of_agent)
        return self._actions.decode(self._actions.joint(entries), last)

    def _per_network(self, sessions: Any, links: Any) -> list[tuple[Any, Any]]:
        """[n] each network's own rows of both."""
        cut = zip((sessions, links), self._bounds, strict=True)
        parts = [
            [part.copy() for part in np.split(rows, bounds)] for rows, bounds in cut
        ]  # BLAS minds where an array begins
        return list(zip(*parts, strict=True))

    def _of_network(self, rows: tuple[Any, Any], masks: tuple[Any, Any] | None) -> tuple[Any, Any]:
        """What the sources and the links of one network do."""
        n = len(rows[0])
        if len(self._actors) == 1:
            mask = None if masks is None else np.concatenate(masks)
            done = self._actors[0](np.concatenate(rows), mask, self._shape)
            return done[:n], done[n:]
        first, second = self._actors
        of_sources, of_links = masks or (None, None)
        return first(rows[0], of_sources, self._shape), second(rows[1], of_links, self._shape)


class _Called:
    """An actor, function or module, on arrays."""

    def __init__(self, actor: Actor) -> None:
        self.actor: Any = actor
        self.module = hasattr(actor, "state_dict")  # of torch, which is not imported for functions
        if self.module:
            self.actor.eval()
        asked = self.actor.forward if self.module else actor
        self.masked = "action_mask" in inspect.signature(asked).parameters

    def __call__(self, rows: NDArray[np.float32], mask: Bools | None, shape: tuple[int, ...]) -> NDArray[np.float64]:
        keywords: dict[str, Any] = {"action_mask": mask} if self.masked else {}
        if not self.module:
            found = self.actor(rows, **keywords)
        else:
            import torch

            tensors = {key: torch.as_tensor(value) for key, value in keywords.items()}
            with torch.inference_mode():
                found = self.actor(torch.as_tensor(rows), **tensors).numpy()
        return real("the network's actions", found, (len(rows), *shape))

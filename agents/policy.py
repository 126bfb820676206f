"""What a policy is: telemetry in, controls out, once per control interval; for one network, or for many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, Telemetry


@runtime_checkable
class Policy(Protocol):
    """Hand-made or learned, it lives on what the controllers of the network can know (model.md §4, [ours]).

    Attributes:
        name: as tables show it.
        local: whether each row of its controls is computed from that controller's own rows of telemetry and its own
            memory alone. A source's own row is that of `telemetry.sessions`; a link's are its row of `telemetry.links`
            and the rows of `telemetry.headers` that belong to it.
    """

    name: str
    local: bool

    def reset(self, scenario: Scenario, seed: int = 0) -> None:
        """Forget everything; an episode of `scenario` begins. `seed` is of the policy's own random stream."""
        ...

    def act(self, telemetry: Telemetry) -> Controls:
        """The controls of the next interval. The first call comes at time 0, when nothing is measured yet."""
        ...


@runtime_checkable
class BatchPolicy(Protocol):
    """A policy for the n networks of a `EnvBatch`, which does for each what `Policy` does for it alone.

    It is made for n scenarios and knows their networks from the beginning: see `qnum_gym.agents.batched`.

    Attributes:
        name, local: as of `Policy`.
    """

    name: str
    local: bool

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """Forget everything, or everything about the networks of `mask` [n]: there an episode begins.

        seeds: [n], of the policy's own random streams; those outside the mask are not looked at.
        """
        ...

    def act(self, env_batch: EnvBatch) -> Controls:
        """The controls of the next interval, [n, R] and [n, L]. It looks only at what was measured."""
        ...

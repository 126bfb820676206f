"""What a policy is: telemetry in, controls out, once per control interval."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from qnum_gym.scenario import Scenario
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

"""Any policy for n networks at once: by its own batch form, or by a copy of it for each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.agents.policy import BatchPolicy, Policy
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls

Floats = NDArray[np.float64]


def batch_form(policy: Policy) -> Callable[[Sequence[Scenario]], BatchPolicy] | None:
    """The method `batched` of the policy's own class, from the scenarios to the policy for all of them; None without.

    An inherited one does not count: it does not know what a subclass does otherwise.
    """
    if "batched" not in vars(type(policy)):
        return None
    return cast("Callable[[Sequence[Scenario]], BatchPolicy]", getattr(policy, "batched"))  # noqa: B009


class OneByOne:
    """n policies for one network each, as one `BatchPolicy`."""

    def __init__(self, policies: Sequence[Policy], scenarios: Sequence[Scenario]) -> None:
        self.name, self.local = policies[0].name, policies[0].local
        self._pairs = list(zip(policies, scenarios, strict=True))

    @classmethod
    def copies(cls, policy: Policy, scenarios: Sequence[Scenario]) -> OneByOne:
        """A deep copy of `policy` for each of n networks."""
        return cls([copy.deepcopy(policy) for _ in scenarios], scenarios)

    def reset(self, seeds: Sequence[int], mask: NDArray[np.bool_] | None = None) -> None:
        """An episode begins in every network, or in those of `mask` [n]."""
        for i in range(len(self._pairs)) if mask is None else np.flatnonzero(mask).tolist():
            policy, scenario = self._pairs[i]
            policy.reset(scenario, seeds[i])

    def act(self, env_batch: EnvBatch) -> Controls:
        """What each policy wants for its network."""
        simulators = zip(self._pairs, env_batch.simulators, strict=True)
        each = [policy.act(simulator.telemetry()) for (policy, _), simulator in simulators]
        in_force = [simulator.controls for simulator in env_batch.simulators]
        return Controls(
            np.array([controls.rates for controls in each]),
            np.array([controls.werner for controls in each]),
            _stacked([c.session_signals for c in each], [c.session_signals for c in in_force]),
            _stacked([c.link_signals for c in each], [c.link_signals for c in in_force]),
        )


def _stacked(signals: list[Floats | None], in_force: list[Floats | None]) -> Floats | None:
    """[n, …], where one is None as before; None if all are."""
    if all(signal is None for signal in signals):
        return None
    return np.array([last if new is None else new for new, last in zip(signals, in_force, strict=True)])

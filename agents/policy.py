"""What a policy is: telemetry in, controls out, once per control interval, for one network or many at once."""

from __future__ import annotations

import os
from abc import ABCMeta, abstractmethod
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.agents.networks import Networks
from qnum_gym.config import PolicyError
from qnum_gym.registry import Registry
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, JoinedTelemetry, Telemetry

Bools = NDArray[np.bool_]
Seen: TypeAlias = (
    Telemetry | JoinedTelemetry
)  # of one network, of n: rows of `sessions`, `links`, `headers`; `times` [n]


class Policy(metaclass=ABCMeta):
    """Hand-made or learned, it lives on what the controllers of the network can know (model.md §4, [ours]).

    It acts on n networks at once, of any sizes. All its arrays hold a row for each session, [ΣR], or for each link,
    [ΣL]: the first network's rows, then the next one's. One network is n = 1. Arithmetic on rows then does for each
    network what it does for it alone; only what mixes rows has to keep the networks apart (`networks.of_session`).

    A policy writes `act`. If it remembers anything, it also writes `prepare` and `forget`.

    Attributes:
        name: as tables show it; the class's if not given. `agents.make` gives a policy the name of its registration.
        local: whether each row of its controls is computed from that controller's own rows of telemetry and its own
            memory alone. A source's own row is that of `seen.sessions`; a link's are its row of `seen.links`
            and the rows of `seen.headers` that belong to it.
        knows: what it lives on, as tables show it; if not given "local" or "all", the rows of all controllers.
        interval: s, at most how long a control interval may be for it; `evaluation` cuts longer ones into equal parts.
        files: what it was made of that its name does not say, such as weights; kept results count with their content.
        networks: those of the last `reset`. seeds: [n] of the policy's own random streams.
    """

    name: str
    local: bool = False
    knows: str = "all"
    interval: float = np.inf
    files: Sequence[str | os.PathLike[str]] = ()
    networks: Networks
    seeds: list[int]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):
            cls.name = cls.__name__
        if "local" in vars(cls) and "knows" not in vars(cls):
            cls.knows = "local" if cls.local else "all"
        if cls.prepare is not Policy.prepare and cls.forget is Policy.forget:
            raise TypeError(f"policy {cls.__name__}: prepare without forget; valid: both, or none")
        if cls.reset is not Policy.reset:
            raise TypeError(f"policy {cls.__name__}: a reset of its own; valid: prepare and forget, which reset calls")

    def reset(
        self, scenario: Scenario | Sequence[Scenario], seed: int | Sequence[int] = 0, mask: ArrayLike | None = None
    ) -> None:
        """Forget everything: episodes begin.

        Args:
            scenario: of the networks, [n]; one alone is a batch of one.
            seed: [n] of the policy's own random streams, or s for s, s + 1, …
            mask: [n] where episodes begin, everywhere if not given; the other networks go on, of their seeds nothing
                is used.

        Raises:
            ValueError: unequal numbers, or with `mask` other scenarios than before.
        """
        scenarios = (scenario,) if isinstance(scenario, Scenario) else tuple(scenario)
        n = len(scenarios)
        seeds = [seed + i for i in range(n)] if isinstance(seed, (int, np.integer)) else [int(value) for value in seed]
        which = np.ones(n, np.bool_) if mask is None else np.asarray(mask, np.bool_)
        if n == 0 or len(seeds) != n or which.shape != (n,):
            raise ValueError(f"{n} scenarios, {len(seeds)} seeds, a mask of shape {which.shape}; valid: one of each")
        networks: Networks | None = getattr(self, "networks", None)
        if networks is None or networks.scenarios != scenarios:
            if not which.all():
                raise ValueError("mask leaves some networks as they are, and they are other ones; valid: reset all")
            self.networks = Networks(scenarios)
            self.prepare()
        self.seeds = seeds
        self.forget(which)

    @abstractmethod
    def act(self, seen: Seen) -> Controls:
        """The controls of the next interval, as rows [ΣR] and [ΣL].

        The first call comes at time 0, when nothing is measured yet.
        """

    def prepare(self) -> None:  # noqa: B027  most need none
        """Make what is needed for `networks`, which are new; `forget` of all of them comes next."""

    def forget(self, which: Bools) -> None:  # noqa: B027
        """Begin anew in the networks `which` [n], with `seeds` of them; `networks.rows` has the rows of these."""


@contextmanager
def judged(policy: Policy) -> Generator[None, None, None]:
    """Say whose controls are refused, where they are: within, they are put in force.

    Raises:
        PolicyError: a ValueError was raised within.
    """
    try:
        yield
    except ValueError as error:
        raise PolicyError(f"policy {policy.name}: {error}") from error


def controls_of(policy: Policy, seen: Seen) -> Controls:
    """What the policy gives.

    Raises:
        PolicyError: it is something else than `Controls`.
    """
    found = cast("object", policy.act(seen))  # anybody may have written it
    if not isinstance(found, Controls):
        raise PolicyError(f"policy {policy.name}: act gives {found!r:.80}; valid: Controls(rates, werner)")
    return found


POLICIES: Registry[type[Policy]] = Registry("policy", "qnum_gym.policies")


def checked(policy: object) -> Policy:
    """`policy` itself.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(policy, Policy):
        valid = "an object of a sub-class of qnum_gym.agents.Policy (docs/policies.md)"
        raise ValueError(f"policy = {policy!r:.80}: valid: {valid}")
    return policy

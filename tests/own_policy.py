"""A policy as somebody else would write it, in a file of their own; and what a file may hold that is none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qnum_gym.agents import Constants, Policy, QPrimalDual, Range, constant, constants
from qnum_gym.simulator import Controls


@dataclass(frozen=True, slots=True)
class Steps(Constants):
    werner: float = constant(0.97, Range(0.94, 0.99, log=False), share=True)
    step: float = constant(0.05, Range(0.01, 0.2))
    patience: float = 2.0


class Vegas(Policy):
    """Rates that keep latency near twice the shortest one so far; the same w everywhere."""

    local = True

    def __init__(self, **gains: float) -> None:
        self.gains = constants(Steps, gains)

    def prepare(self):
        a = self.networks.arrays
        self.range, self.werner = (a.rate_min, a.rate_max), np.clip(self.gains.werner, a.werner_min, a.werner_max)
        self.shortest = np.full(len(a.rate_min), np.inf)

    def forget(self, which):
        sessions, _ = self.networks.rows(which)
        self.shortest[sessions] = np.inf

    def act(self, seen):
        latency = seen.sessions.mean_latency  # NaN where nothing arrived
        self.shortest = np.fmin(self.shortest, latency)
        sign = np.where(latency > self.gains.patience * self.shortest, -1.0, 1.0)
        return Controls(np.clip(seen.sessions.rate * np.exp(self.gains.step * sign), *self.range), self.werner)


class Halved(QPrimalDual):
    """A sub-class that does something else than its class."""

    def act(self, seen):
        controls = super().act(seen)
        return Controls(np.maximum(controls.rates / 2.0, 0.01), controls.werner)


class Actless(Policy):
    """What no network can ask for its controls."""


class Needy(Vegas):
    """One that cannot be made without an argument."""

    def __init__(self, level):
        super().__init__()


class Alone:
    """For one network, and no `Policy`."""

    def reset(self, scenario, seed=0): ...
    def act(self, telemetry): ...


STEP = 0.05

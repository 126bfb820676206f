"""Simulations that laws measure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.scenarios import Link, Scenario, Session
from qnum_gym.scenarios.topologies import scenario as named
from qnum_gym.simulator import Simulator, Telemetry

Floats = NDArray[np.float64]

LARGE = 10**6  # a window or memory that is never full
STRETCHES = 20  # of a run; their means are as good as independent of each other


def line(*capacities: float, sessions: int = 1, length_km: float = 0.0, **physics: Any) -> Scenario:
    """Nodes 0, 1, … in a row; link i makes `capacities[i]`·(1 − w) pairs per second."""
    links = [Link(a=i, b=i + 1, length_km=length_km, capacity=d) for i, d in enumerate(capacities)]
    ends = [Session(source=0, destination=len(capacities)) for _ in range(sessions)]
    fields: dict[str, Any] = {"coherence_time": math.inf, "measure": "negativity", **physics}
    return Scenario(links=links, sessions=ends, **fields)


def loaded(name: str, load: float, **physics: Any) -> tuple[Scenario, Floats, Floats]:
    """A named network with equal rates that load its busiest link to `load`; w = 0.95 everywhere."""
    scenario = named(name, window=LARGE, memory=LARGE, **physics)
    a = scenario.arrays()
    w = np.full(len(a.capacity), 0.95)
    sharing = np.bincount(a.hop_link, minlength=len(a.capacity))
    rate = load * float(np.min((a.capacity * (1.0 - w))[sharing > 0] / sharing[sharing > 0]))
    return scenario, np.full(len(a.source), rate), w


def stretches(
    scenario: Scenario, rates: ArrayLike, werner: ArrayLike, seconds: float, warm_up: float, seed: int = 1
) -> list[Telemetry]:
    """A run of `seconds` in equal stretches after a warm-up: their spread is the standard error of their mean."""
    simulator = Simulator(scenario, seed)
    simulator.set_controls(rates=rates, werner=werner)
    simulator.advance(warm_up)
    return [simulator.advance(seconds / STRETCHES) for _ in range(STRETCHES)]

"""Policies that do not answer to what happens: the baselines of model.md §8, and `random`. They know everything."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qnum_gym import optimum
from qnum_gym.envs.action import ActionMap
from qnum_gym.envs.env_batch import EnvBatch
from qnum_gym.optimum import Allocation, Problem
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls, Telemetry
from qnum_gym.simulator.state import stream_keys

Bools = NDArray[np.bool_]

ORACLE_UTILISATION = 0.99  # y / (d (1 - w)) at most: at 1 a queue grows for ever. Measured: docs/policies.md [ours]


class Random:
    """In every interval new rates, even in log R, and new Werner parameters, even in log(1 - w), over their ranges."""

    name = "random"
    local = True

    def reset(self, scenario: Scenario, seed: int = 0) -> None:
        """Begin the policy's own random stream anew."""
        self._levels = ActionMap(scenario, "level")
        self._rng = _stream(seed)

    def act(self, telemetry: Telemetry) -> Controls:
        """Draw."""
        levels = _draws(self._rng, self._levels.size)
        return self._levels.decode(levels, Controls(telemetry.sessions.rate, telemetry.links.werner))

    def batched(self, scenarios: Sequence[Scenario]) -> RandomBatch:
        """The same for n networks at once."""
        return RandomBatch(scenarios)


class RandomBatch:
    """`Random` for n networks, each with a random stream of its own."""

    name = Random.name
    local = Random.local

    def __init__(self, scenarios: Sequence[Scenario]) -> None:
        self._levels = ActionMap(scenarios, "level")
        self._streams = [_stream(0) for _ in scenarios]

    def reset(self, seeds: Sequence[int], mask: Bools | None = None) -> None:
        """Begin the random streams anew, or those of the networks of `mask` [n]."""
        for i in range(len(self._streams)) if mask is None else np.flatnonzero(mask).tolist():
            self._streams[i] = _stream(seeds[i])

    def act(self, env_batch: EnvBatch) -> Controls:
        """Draw."""
        levels = np.array([_draws(stream, self._levels.size) for stream in self._streams])
        return self._levels.decode(levels, env_batch.controls)


def _stream(seed: int) -> np.random.Generator:
    """The policy's own random stream."""
    return np.random.default_rng(stream_keys(seed, "policy", 1)[0])


def _draws(stream: np.random.Generator, size: int) -> NDArray[np.float64]:
    return stream.uniform(-1.0, 1.0, size)


class Fixed:
    """An allocation computed from the scenario, held until the scenario changes, then computed again.

    A change within a control interval is answered at the interval's end. Sessions that are off keep their lowest rate.

    Args:
        name: of the policy.
        allocate: (scenario, time in s) -> what to hold.
    """

    local = False

    def __init__(self, name: str, allocate: Callable[[Scenario, float], Allocation]) -> None:
        self.name = name
        self._allocate = allocate

    def reset(self, scenario: Scenario, seed: int = 0) -> None:
        """Nothing is drawn: `seed` is unused."""
        self._scenario = scenario
        self._times = scenario.change_times()
        self._held: tuple[float, Controls] | None = None

    def act(self, telemetry: Telemetry) -> Controls:
        """The allocation for the scenario as it is now.

        Raises:
            optimum.InfeasibleError: the allocation does not exist; names the sessions that stand in the way.
        """
        time = self._times[bisect_right(self._times, telemetry.time) - 1]
        if self._held is None or self._held[0] != time:
            self._held = time, _within(self._allocate(self._scenario, time), self._scenario, time)
        return self._held[1]

    def batched(self, scenarios: Sequence[Scenario]) -> FixedBatch:
        """The same for n networks at once."""
        return FixedBatch(self.name, self._allocate, scenarios)


class FixedBatch:
    """`Fixed` for n networks: what equal scenarios hold is computed once."""

    local = Fixed.local

    def __init__(
        self, name: str, allocate: Callable[[Scenario, float], Allocation], scenarios: Sequence[Scenario]
    ) -> None:
        self.name = name
        self._allocate = allocate
        self._distinct = list(dict.fromkeys(scenarios))
        places = {scenario: k for k, scenario in enumerate(self._distinct)}
        self._places = [places[scenario] for scenario in scenarios]
        self._times = [scenario.change_times() for scenario in self._distinct]
        self._found: dict[tuple[int, float], Controls] = {}
        self._held: tuple[list[tuple[int, float]], Controls] | None = None

    def reset(self, seeds: Sequence[int], mask: Bools | None = None) -> None:
        """Nothing is drawn and nothing remembered that an episode could change."""

    def act(self, env_batch: EnvBatch) -> Controls:
        """The allocations for the scenarios as they are now.

        Raises:
            optimum.InfeasibleError: one does not exist; names the sessions that stand in the way.
        """
        now = list(map(self._last_change, self._places, env_batch.times.tolist()))
        if self._held is None or self._held[0] != now:
            each = [self._allocation(*key) for key in now]
            self._held = now, Controls(np.array([c.rates for c in each]), np.array([c.werner for c in each]))
        return self._held[1]

    def _last_change(self, place: int, time: float) -> tuple[int, float]:
        times = self._times[place]
        return place, times[bisect_right(times, time) - 1]

    def _allocation(self, place: int, time: float) -> Controls:
        if (place, time) not in self._found:
            scenario = self._distinct[place]
            self._found[place, time] = _within(self._allocate(scenario, time), scenario, time)
        return self._found[place, time]


def _within(found: Allocation, scenario: Scenario, time: float) -> Controls:
    """The allocation with the rates of sessions that are off at their lowest."""
    a = scenario.arrays(time)
    return Controls(np.clip(found.rates, a.rate_min, a.rate_max), found.werner)


def fixed_oracle(utilisation: float = ORACLE_UTILISATION, overload: float = 1.0) -> Fixed:
    """The policy that holds what `oracle` gives, with every rate times `overload`.

    Above 1 the queues are no longer those of the formula. Last in, first out with a cut-off makes that worth it: what
    waits too long is dropped, and what is served is fresh. [ours]

    Raises:
        ValueError: `utilisation` outside (0, 1], or `overload` not a positive number.
    """
    if not 0.0 < utilisation <= 1.0:
        raise ValueError(f"utilisation = {utilisation!r}: must be positive, at most 1")
    if not 0.0 < overload < np.inf:
        raise ValueError(f"overload = {overload!r}; valid: a positive number")

    def allocate(scenario: Scenario, time: float) -> Allocation:
        found = oracle(scenario, time, utilisation)
        return found if overload == 1.0 else replace(found, rates=found.rates * overload)

    return Fixed("oracle", allocate)


def oracle(scenario: Scenario, time: float, utilisation: float = ORACLE_UTILISATION) -> Allocation:
    """The optimum of model.md §7, or of §5 where no memory decays, with every link's utilisation at most `utilisation`.

    Hopeless sessions, such as those whose route has a link that is down, are left out (`Problem.hopeless`).

    Raises:
        optimum.InfeasibleError: no allocation serves all others together.
    """
    problem = Problem.from_scenario(scenario, time).servable()
    return optimum.solve_problem(problem, decoherence=problem.decays, max_utilisation=utilisation)

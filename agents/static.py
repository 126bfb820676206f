"""Policies that do not answer to what happens: the baselines of model.md §8, and `random`. They know everything."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from dataclasses import replace

import numpy as np

from qnum_gym import optimum
from qnum_gym.agents.policy import POLICIES, Bools, Policy, Seen
from qnum_gym.envs.action import ActionMap
from qnum_gym.optimum import Allocation, Problem
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import Controls
from qnum_gym.simulator.state import stream_keys

ORACLE_UTILISATION = 0.99  # y / (d (1 - w)) at most: at 1 a queue grows for ever. Measured: docs/policies.md [ours]


@POLICIES.registers("random")
class Random(Policy):
    """In every interval new rates, even in log R, and new w, even in log(1 - w), over their ranges."""

    local, knows = True, "nothing"

    def prepare(self) -> None:
        """Read the ranges."""
        self._levels = ActionMap(self.networks.arrays, "level")
        self._streams = [_stream(0) for _ in self.networks.scenarios]

    def forget(self, which: Bools) -> None:
        """Begin the random streams anew, one for each network."""
        for i in np.flatnonzero(which).tolist():
            self._streams[i] = _stream(self.seeds[i])

    def act(self, seen: Seen) -> Controls:
        """Draw."""
        draws = zip(self._streams, self.networks.scenarios, strict=True)
        levels = [stream.uniform(-1.0, 1.0, len(s.sessions) + len(s.links)) for stream, s in draws]
        return self._levels.decode(self.networks.joined(levels), Controls(seen.sessions.rate, seen.links.werner))


def _stream(seed: int) -> np.random.Generator:
    """The policy's own random stream."""
    return np.random.default_rng(stream_keys(seed, "policy", 1)[0])


class Fixed(Policy):
    """An allocation computed from the scenario, held until the scenario changes, then computed again.

    A change within a control interval is answered at the interval's end. Sessions that are off keep their lowest rate.
    What equal scenarios hold is computed once.
    """

    knows = "scenario"

    def __init__(self) -> None:
        self._found: dict[tuple[Scenario, float], Controls] = {}

    @abstractmethod
    def allocation(self, scenario: Scenario, time: float) -> Allocation:
        """What to hold from a time on, s."""

    def prepare(self) -> None:
        """Nothing is held yet."""
        self._held: tuple[list[float], Controls] | None = None

    def forget(self, which: Bools) -> None:
        """Nothing is drawn and nothing remembered that an episode could change."""

    def act(self, seen: Seen) -> Controls:
        """The allocations for the scenarios as they are now.

        Raises:
            optimum.InfeasibleError: one does not exist; names the sessions that stand in the way.
        """
        now = list(map(_last_change, self.networks.scenarios, seen.times.tolist()))
        if self._held is None or self._held[0] != now:
            held = [self._controls(*key) for key in zip(self.networks.scenarios, now, strict=True)]
            rates, werner = (np.concatenate([getattr(c, name) for c in held]) for name in ("rates", "werner"))
            self._held = now, Controls(rates, werner)
        return self._held[1]

    def _controls(self, scenario: Scenario, time: float) -> Controls:
        if (scenario, time) not in self._found:
            self._found[scenario, time] = _within(self.allocation(scenario, time), scenario, time)
        return self._found[scenario, time]


def _last_change(scenario: Scenario, time: float) -> float:
    times = scenario.change_times()
    return times[bisect_right(times, time) - 1]


def _within(found: Allocation, scenario: Scenario, time: float) -> Controls:
    """The allocation with the rates of sessions that are off at their lowest."""
    a = scenario.arrays(time)
    return Controls(np.clip(found.rates, a.rate_min, a.rate_max), found.werner)


@POLICIES.registers("equal_share")
class EqualShare(Fixed):
    """w = 0.967 everywhere, and equal shares of the links."""

    def allocation(self, scenario: Scenario, time: float) -> Allocation:
        """model.md §8."""
        return optimum.equal_share(scenario, time)


@POLICIES.registers("best_static")
class BestStatic(Fixed):
    """The best single w and utilisation for all links."""

    def allocation(self, scenario: Scenario, time: float) -> Allocation:
        """model.md §8."""
        return optimum.best_static(scenario, time)


@POLICIES.registers("oracle")
class Oracle(Fixed):
    """The central optimum with every link's utilisation at most 0.99.

    Args:
        utilisation: that, where it shall be another one.
        overload: every rate is multiplied by. Above 1 the queues are no longer those of the formula. Last in, first out
            with a cut-off makes that worth it: what waits too long is dropped, and what is served is fresh. [ours]

    Raises:
        ValueError: `utilisation` outside (0, 1], or `overload` not a positive number.
    """

    def __init__(self, utilisation: float = ORACLE_UTILISATION, overload: float = 1.0) -> None:
        super().__init__()
        if not 0.0 < utilisation <= 1.0:
            raise ValueError(f"utilisation = {utilisation!r}: must be positive, at most 1")
        if not 0.0 < overload < np.inf:
            raise ValueError(f"overload = {overload!r}; valid: a positive number")
        self._utilisation, self._overload = utilisation, overload

    def allocation(self, scenario: Scenario, time: float) -> Allocation:
        """What `oracle` gives, with every rate times `overload`."""
        found = oracle(scenario, time, self._utilisation)
        return found if self._overload == 1.0 else replace(found, rates=found.rates * self._overload)


def oracle(scenario: Scenario, time: float, utilisation: float = ORACLE_UTILISATION) -> Allocation:
    """The optimum of model.md §7, or of §5 where no memory decays, with every link's utilisation at most `utilisation`.

    Hopeless sessions, such as those whose route has a link that is down, are left out (`Problem.hopeless`).

    Raises:
        optimum.InfeasibleError: no allocation serves all others together.
    """
    problem = Problem.from_scenario(scenario, time).servable()
    return optimum.solve_problem(problem, decoherence=problem.decays, max_utilisation=utilisation)

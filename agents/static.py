"""Policies that do not answer to what happens: the baselines of model.md §8, and `random`. They know everything."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym import optimum
from qnum_gym.envs.action import ActionMap
from qnum_gym.optimum import Allocation, Problem
from qnum_gym.scenario import Scenario
from qnum_gym.simulator import Controls, Telemetry
from qnum_gym.simulator.state import stream_keys

ORACLE_UTILISATION = 0.95  # y / (d (1 - w)) at most: a queue in balance would grow for ever [ours]


class Random:
    """In every interval new rates, even in log R, and new Werner parameters, even in log(1 - w), over their ranges."""

    name = "random"
    local = True

    def reset(self, scenario: Scenario, seed: int = 0) -> None:
        """Begin the policy's own random stream anew."""
        self._levels = ActionMap(scenario, "level")
        self._rng = np.random.default_rng(stream_keys(seed, "policy", 1)[0])

    def act(self, telemetry: Telemetry) -> Controls:
        """Draw."""
        levels = cast("NDArray[np.float64]", self._rng.uniform(-1.0, 1.0, self._levels.size))
        return self._levels.decode(levels, Controls(telemetry.sessions.rate, telemetry.links.werner))


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
            found, a = self._allocate(self._scenario, time), self._scenario.arrays(time)
            self._held = time, Controls(np.clip(found.rates, a.rate_min, a.rate_max), found.werner)
        return self._held[1]


def oracle(scenario: Scenario, time: float) -> Allocation:
    """The optimum of model.md §7, or of §5 where no memory decays, with every link's utilisation at most 0.95.

    A session whose route has a link that is down is left out.

    Raises:
        optimum.InfeasibleError: there is no allocation with every f > 0.
    """
    problem = Problem.from_scenario(scenario, time).connected()
    return optimum.solve_problem(problem, decoherence=problem.decays, max_utilisation=ORACLE_UTILISATION)

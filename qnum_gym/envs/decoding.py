# pyright: basic
"""What actions mean, as one plain loop compiled by numba: the same bits for one environment as for many."""

from __future__ import annotations

import math

from qnum_gym import caching
from qnum_gym.physics import links
from qnum_gym.simulator import formulas
from qnum_gym.simulator.formulas import at_coordinate, coordinate

TOLERANCE = 1e-6  # an action may lie this far outside [-1, 1]: float32 rounding of whoever made it

entry = caching.entry(links, formulas, file=__file__)  # called from Python


@entry
def decode(level, actions, last, ranges, step, rates, werner):
    """Fill rates [n, R] and werner [n, L] with what actions [n, at least R + L] ask for, `last` (both) being in force.

    level: whether −1 to 1 stands for low to high of (log rate, −log(1 − w)), or for ± step [R + L] from where `last`
    is. ranges: [4, n, R + L] low, high, and lowest and highest, the same in rates and w, where exp and log round. Where
    highest is 0 there is nothing to control: what an action says there is ignored.

    Returns the flat index of the first action outside [−1, 1] (nothing is filled in then), or −1.
    """
    n, size = actions.shape
    low, high, lowest, highest = ranges[0], ranges[1], ranges[2], ranges[3]
    sessions, knobs = rates.shape[1], rates.shape[1] + werner.shape[1]
    for i in range(n):
        for k in range(size):
            there = highest[i, k if k < knobs else k - knobs] > 0.0
            if there and not abs(actions[i, k]) <= 1.0 + TOLERANCE:  # also refuses NaN
                return i * size + k
    for i in range(n):
        for k in range(knobs):
            if highest[i, k] == 0.0:
                if k < sessions:
                    rates[i, k] = 0.0
                else:
                    werner[i, k - sessions] = 0.0
                continue
            action = min(max(actions[i, k], -1.0), 1.0)
            if level:
                x = low[i, k] + (action + 1.0) * 0.5 * (high[i, k] - low[i, k])
            else:
                of_link = k >= sessions
                x = coordinate(last[1][i, k - sessions]) if of_link else math.log(last[0][i, k])
                x = min(max(x + action * step[k], low[i, k]), high[i, k])
            if k < sessions:
                rates[i, k] = min(max(math.exp(x), lowest[i, k]), highest[i, k])
            else:
                werner[i, k - sessions] = min(max(at_coordinate(x), lowest[i, k]), highest[i, k])
    return -1

"""Links' knobs as the solver moves them [ours].

Its variable is v of model.md §2, of which a link's rate is linear, d (1 - v), whatever its model: so all constraints on
rates are linear too, and what a model changes is log w as a function of v, concave. In `single_click` v is w itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qnum_gym.optimum.matrices import Floats
from qnum_gym.physics.links import LinkRates

HALVINGS = 60


class Fresh:
    """Fresh pairs of L links as functions of v [L].

    Args:
        rates: the links' models.
        capacity: [L] d, pairs/s.
    """

    def __init__(self, rates: LinkRates, capacity: Floats) -> None:
        self._rates, self._capacity = rates, capacity
        self._linear = rates.linear

    def __getitem__(self, places: Any) -> Fresh:
        """Those of some links, or of one link more than once."""
        return Fresh(self._rates[places], self._capacity[places])

    def of(self, werner: Floats) -> Floats:
        """v at w."""
        return werner if self._linear else self._rates.darkness(werner, self._capacity)[0]

    def werner(self, v: Floats) -> Floats:
        """w at v."""
        return v if self._linear else self._rates.werner(v, self._capacity)

    def slope(self, v: Floats) -> Floats:
        """d log w / dv."""
        if self._linear:
            return 1.0 / v
        w = self.werner(v)
        return 1.0 / (w * self._rates.darkness(w, self._capacity)[1])

    def bend(self, v: Floats) -> Floats:
        """-d² log w / dv², not negative."""
        if self._linear:
            return 1.0 / v**2
        w = self.werner(v)
        _, slope, bend = self._rates.darkness(w, self._capacity)
        return (1.0 + w * bend / slope) / (w * slope) ** 2

    def best(self, gamma: Floats, arrivals: Floats, low: Floats, high: Floats) -> Floats:
        """v within [low, high] of greatest log w + log(s/(s + Gamma)), with slack s = d (1 - v) - y.

        Without storage the highest v that fits. With it, where v = w, s² + 2 Gamma s = Gamma (d - y); else the
        derivative, which falls, is 0. Where d = 0 there is none.
        """
        d, y = self._capacity, arrivals
        with np.errstate(divide="ignore", invalid="ignore"):
            if self._linear:
                free = np.maximum(d - y, 0.0)
                stored = 1.0 - (free * gamma / (gamma + np.sqrt(gamma) * np.sqrt(gamma + free)) + y) / d  # exact
                return np.clip(np.where(gamma > 0.0, stored, 1.0 - y / d), low, high)
            below, above = low, np.clip(1.0 - y / d, low, high)
            for _ in range(np.where(gamma > 0.0, HALVINGS, 0).max(initial=0)):
                v = 0.5 * (below + above)
                s = d * (1.0 - v) - y
                rising = (gamma == 0.0) | (self.slope(v) > gamma * d / (s * (s + gamma)))
                below, above = np.where(rising, v, below), np.where(rising, above, v)
            return above

"""Links' knobs as the solver moves them [ours].

Its variable is v in the rate D (1 - v) of a link, whatever its model: so all constraints on rates are linear, and what
a model changes is log w as a function of v, concave. In `single_click` D is d, and v is w itself. With other models D
is twice what the link makes at most, so that v lies between 1/2 and 1; where w cannot be set, v is 1/2.
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
        lowest: [L] w at which links make most.

    Attributes:
        scale: [L] D, pairs/s.
    """

    def __init__(self, rates: LinkRates, capacity: Floats, lowest: Floats) -> None:
        self._rates, self._capacity, self._lowest = rates, capacity, lowest
        self._linear = rates.linear
        self.scale = capacity if self._linear else 2.0 * rates.rate(lowest, capacity)

    def __getitem__(self, places: Any) -> Fresh:
        """Those of some links, or of one link more than once."""
        return Fresh(self._rates[places], self._capacity[places], self._lowest[places])

    def of(self, werner: Floats) -> Floats:
        """v at w."""
        return werner if self._linear else 1.0 - self._rates.rate(werner, self._capacity) / self.scale

    def werner(self, v: Floats) -> Floats:
        """w at v."""
        if self._linear:
            return v
        b = self.scale * (1.0 - v) / self._capacity
        return np.where(self._rates.knobs, self._rates.werner(b, self._capacity), self._lowest)

    def slope(self, v: Floats) -> Floats:
        """d log w / dv; 0 where w cannot be set."""
        if self._linear:
            return 1.0 / v
        w, slope, _ = self._at(v)
        return self._rates.knobs / (w * slope)

    def bend(self, v: Floats) -> Floats:
        """-d² log w / dv², not negative."""
        if self._linear:
            return 1.0 / v**2
        w, slope, bend = self._at(v)
        return self._rates.knobs * (1.0 + w * bend / slope) / (w * slope) ** 2

    def _at(self, v: Floats) -> tuple[Floats, Floats, Floats]:
        """w, and dv/dw and d²v/dw² there; where w cannot be set, 1 and 0 stand for these."""
        w = self.werner(v)
        _, slope, bend = self._rates.brightness(w, self._capacity)
        share = -self._capacity / self.scale
        return w, np.where(self._rates.knobs, share * slope, 1.0), share * bend

    def best(self, gamma: Floats, arrivals: Floats, low: Floats, high: Floats) -> Floats:
        """v within [low, high] of greatest log w + log(s/(s + Gamma)), with slack s = D (1 - v) - y.

        Without storage the highest v that fits. With it, where v = w, s² + 2 Gamma s = Gamma (d - y); else the
        derivative, which falls, is 0. Where d = 0 there is none.
        """
        d, y = self.scale, arrivals
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

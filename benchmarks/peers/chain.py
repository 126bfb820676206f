"""The chain that all simulators read from one configuration file; imports nothing but the standard library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

DEFAULT = Path(__file__).with_name("chain.json")


@dataclass(frozen=True)
class Chain:
    """Equal links in a row, one session end to end; km, s, 1/s. rate: of q-datagrams, where anything is injected."""

    links: int
    length_km: float
    cycle: float
    werner: float
    coherence_time: float
    rate: float

    @property
    def success(self) -> float:
        """Probability of one attempt: p = 1.5 · 10^(-0.01 L) · (1 - w), docs/model.md §2."""
        return 1.5 * 10 ** (-0.01 * self.length_km) * (1 - self.werner)

    @property
    def fidelity(self) -> float:
        """Of fresh pairs."""
        return (3 * self.werner + 1) / 4

    @property
    def latency(self) -> float:
        """Light time of a link, s."""
        return self.length_km / 2e5


def load(path: str | Path = DEFAULT) -> Chain:
    """From a JSON file with all fields of `Chain`."""
    return Chain(**json.loads(Path(path).read_text()))

"""How many rows the arrays of several networks need, when each network is a row of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from qnum_gym.config import ScenarioError
from qnum_gym.scenarios.model import Scenario


class Sizes(NamedTuple):
    """Rows for sessions (R), links (L), nodes (V) and hops of all sessions together (H)."""

    sessions: int
    links: int
    nodes: int
    hops: int

    @classmethod
    def of(cls, scenarios: Iterable[Scenario]) -> Sizes:
        """The smallest that each of the scenarios fits into."""
        return cls(*map(max, zip(*map(_own, set(scenarios)), strict=True)))

    def check(self, scenario: Scenario) -> None:
        """Raise a ScenarioError if the scenario has more of anything."""
        for name, rows, valid in zip(self._fields, _own(scenario), self, strict=True):
            if rows > valid:
                raise ScenarioError(f"{scenario.name}: {rows} {name}; valid: at most {valid}, the room that there is")


def _own(s: Scenario) -> Sizes:
    return Sizes(len(s.sessions), len(s.links), len(s.nodes), sum(map(len, s.routes)))

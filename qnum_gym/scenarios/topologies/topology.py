"""What a topology is, and the registry of them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeAlias

from qnum_gym.config import ScenarioError
from qnum_gym.registry import Registry
from qnum_gym.scenarios.graph import Graph, Pair, random_pairs
from qnum_gym.scenarios.model import Scenario

Places: TypeAlias = Mapping[Any, tuple[float, float]]  # x to the east, y to the north, arbitrary units


class Topology:
    """A kind of network: its graph, who talks to whom in it, and where to draw the nodes.

    A subclass has `graph`; the rest has defaults. The first line of its docstring says what it is. The parameters of
    `graph` and `sessions` are keywords of `qnum_gym.scenario`, and no others are, besides the fields of a scenario.

    Attributes:
        id: as environment ids have it; the registered name with a capital if not given.
        count: number of sessions if nothing else is said; None: all that `sessions` gives.
        sized_by: the parameter of `graph` that follows the number of sessions, if there is one.
        physics: fields of a scenario that differ from its defaults.
    """

    id: ClassVar[str] = ""
    count: ClassVar[int | None] = 6
    sized_by: ClassVar[str | None] = None
    physics: ClassVar[Mapping[str, Any]] = {}

    def graph(self, *args: Any, **parameters: Any) -> Graph:
        """The network, every edge with `length_km`."""
        raise NotImplementedError

    def sessions(self, graph: Graph, *args: Any, **parameters: Any) -> Iterable[Pair]:
        """Sources and destinations, as many as there are: `count` of them are taken, or as many as the user wants."""
        raise NotImplementedError

    def positions(self, scenario: Scenario) -> Places | None:
        """Where to draw the nodes of a scenario over such a network; None: it is none, or there is no usual place."""
        return None


TOPOLOGIES: Registry[type[Topology]] = Registry("topology", "qnum_gym.topologies")


class RandomPairs(Topology):
    """A topology whose sessions join random nodes, drawn with `seed`."""

    def sessions(self, graph: Graph, seed: int = 0) -> Iterator[Pair]:
        """`random_pairs` of the graph."""
        return random_pairs(graph, seed)


def parameters(method: Any) -> dict[str, Any]:
    """The parameters that a user may set of `Topology.graph` or `Topology.sessions`, with their defaults."""
    named = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in named if p.name != "graph" and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


def at_least(least: int, **parameter: object) -> None:
    """Refuse a parameter that is not a whole number of at least `least`."""
    for name, value in parameter.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ScenarioError(f"scenario: {name} = {value!r}: must be a whole number, at least {least}")


def positive(**parameter: object) -> None:
    """Refuse a parameter that is not a finite number above 0."""
    for name, value in parameter.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
            raise ScenarioError(f"scenario: {name} = {value!r}: must be a finite number greater than 0")

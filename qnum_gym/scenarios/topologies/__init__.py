"""Networks by name, a file each: graphs whose edges have `length_km`, and scenarios over them (model.md §9).

A new topology is a file in this folder, or a class that another package registers in `TOPOLOGIES` itself or names as
an entry point of the group `qnum_gym.topologies`.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from itertools import islice
from pkgutil import iter_modules
from typing import Any

from qnum_gym.config import ScenarioError
from qnum_gym.registry import suggest
from qnum_gym.scenarios.graph import Graph
from qnum_gym.scenarios.model import Scenario
from qnum_gym.scenarios.topologies.topology import (
    TOPOLOGIES,
    Pair,
    Places,
    RandomPairs,
    Topology,
    at_least,
    parameters,
    random_pairs,
)

__all__ = [
    "TOPOLOGIES",
    "Places",
    "RandomPairs",
    "Topology",
    "graph",
    "ids",
    "keywords",
    "names",
    "random_pairs",
    "scenario",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")


def names() -> tuple[str, ...]:
    """The names that `scenario` knows."""
    return TOPOLOGIES.names()


def ids() -> dict[str, str]:
    """The topologies' names by the names that environment ids have for them: {"NSFNet": "nsfnet", …}."""
    return {TOPOLOGIES[name].id or name.capitalize(): name for name in TOPOLOGIES}


def graph(name: str, /, *args: Any, **options: Any) -> Graph:
    """The graph of a named topology: `graph("grid", rows=2, cols=3)`.

    Raises:
        ScenarioError: a name that is unknown, or a parameter that cannot be.
    """
    return _topology(name).graph(*args, **options)


def keywords(name: str) -> tuple[str, ...]:
    """What `scenario` takes for one of `names()`: the parameters of its graph and sessions, and a scenario's fields."""
    topology = _topology(name)
    return tuple({**parameters(topology.graph), **parameters(topology.sessions), **Scenario.model_fields})


def scenario(name: str, /, **overrides: Any) -> Scenario:
    """A named scenario: `scenario("dumbbell", sessions=3, coherence_time=100.0)`.

    Args:
        name: one of `names()`.
        **overrides: parameters of the topology's graph (`n`, `scale`, …) and of its sessions (`seed`, where they are
            drawn), and fields of Scenario (also `name`). `sessions` may be their number.

    Raises:
        ScenarioError: for an unknown name or override, and whatever Scenario refuses.
    """
    topology = _topology(name)
    valid = keywords(name)
    for key in overrides:
        if key not in valid:
            raise ScenarioError(
                f"scenario: {key}: unknown keyword for {name!r}; {suggest(key, valid)}valid: {', '.join(sorted(valid))}"
            )
    of_graph, of_sessions = (
        {key: overrides[key] for key in parameters(method) if key in overrides}
        for method in (topology.graph, topology.sessions)
    )
    fields = {key: value for key, value in overrides.items() if key not in of_graph and key not in of_sessions}
    sessions = fields.pop("sessions", topology.count)
    if isinstance(sessions, int) and topology.sized_by:
        of_graph.setdefault(topology.sized_by, sessions)
    network = topology.graph(**of_graph)
    if sessions is None or isinstance(sessions, int):
        sessions = _first(sessions, topology.sessions(network, **of_sessions))
    return Scenario.from_graph(network, sessions, **{"name": name, **topology.physics, **fields})


def _topology(name: str) -> Topology:
    if name not in TOPOLOGIES:
        raise ScenarioError(f"scenario: name = {name!r}: {suggest(name, names())}valid names: {', '.join(names())}")
    return TOPOLOGIES[name]()


def _first(number: int | None, pairs: Iterable[Pair]) -> list[Pair]:
    """So many of the pairs, all if None."""
    if number is not None:
        at_least(1, sessions=number)
    first = list(islice(pairs, number))
    if number is not None and len(first) < number:
        raise ScenarioError(f"scenario: sessions = {number}: must be at most {len(first)} here, or a list of sessions")
    return first

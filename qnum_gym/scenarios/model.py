"""Scenario: a network, its sessions, their physics and what befalls them; validated, immutable, hashable."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence, Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import ValidationError, ValidationInfo, field_validator, model_validator

from qnum_gym import __version__, files
from qnum_gym.config import ScenarioError, described, explain, refuse
from qnum_gym.scenarios import network, network_files
from qnum_gym.scenarios.arrays import Arrays, Change, Timeline
from qnum_gym.scenarios.fields import Event, Link, Node, NodeId, ScenarioFields, Session, valid_keys
from qnum_gym.scenarios.graph import Graph, from_graph, to_graph
from qnum_gym.scenarios.yaml_io import dump, load


def _nodes_of(links: Iterable[Link]) -> tuple[Node, ...]:
    """The links' nodes, in order of appearance."""
    return tuple(Node(name=name) for name in dict.fromkeys(end for link in links for end in (link.a, link.b)))


class Scenario(ScenarioFields):
    """What is simulated. The orders of `nodes`, `links` and `sessions` are the orders of all arrays.

    Defaults are model.md §9's; None in a node, link or session stands for the value given here. `nodes` may be left
    out: they are then those of the links, in order of appearance. A session without a path takes the shortest route.

    Raises:
        ScenarioError: naming every problem by file (or "scenario"), field and value, and what would be valid.
    """

    if TYPE_CHECKING:  # what the validators below take

        def __init__(
            self,
            *,
            links: Iterable[Link | Mapping[str, Any]],
            sessions: Iterable[Session | Mapping[str, Any] | Sequence[NodeId]],
            nodes: Iterable[Node | Mapping[str, Any] | NodeId] = (),
            events: Iterable[Event | Mapping[str, Any]] = (),
            **others: Any,
        ) -> None: ...

    @field_validator("nodes", "links", "sessions", "events", mode="before")
    @classmethod
    def _listed(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, (str, bytes, Mapping, Set)) or not isinstance(value, Iterable):  # their order counts
            raise ValueError("must be a list")
        entries = tuple(cast("Iterable[object]", value))
        if not entries and info.field_name in ("links", "sessions"):
            raise ValueError("must have at least one entry")
        return entries

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        fields = vars(self)  # frozen for everyone else
        if not self.nodes:
            fields["nodes"] = _nodes_of(self.links)
        refuse(network.network_problems(self.nodes, self.links))
        sessions, problems = network.filled_paths(self)
        problems += network.time_problems(self)
        problems += network.physics_problems(self)
        problems += network.simulator_problems(self)
        problems += network.session_problems(self)
        problems += network.event_problems(self)
        refuse(problems)
        fields["sessions"] = sessions
        return self

    # --- arrays ------------------------------------------------------------------------------------------------------

    @cached_property
    def _timeline(self) -> Timeline:
        return Timeline(self)

    def arrays(self, time: float = 0.0) -> Arrays:
        """Everything as flat read-only arrays, with all events, starts and stops up to and at `time` (s) applied."""
        return self._timeline.at(time)

    def changes(self) -> tuple[Change, ...]:
        """What happens after time 0, in order of time."""
        return self._timeline.changes

    def change_times(self) -> tuple[float, ...]:
        """0 and every later time (s) at which something changes."""
        return self._timeline.times

    # --- in and out ---------------------------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Self:
        """Read a scenario from a YAML file whose keys are the fields.

        Raises:
            ScenarioError: if there is no such file, if it is not YAML, or if it describes no possible scenario.
        """
        return cls._read(load(path), str(path))

    @classmethod
    def _read(cls, fields: dict[str, Any], source: str) -> Self:
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise ScenarioError(described(explain(error, valid_keys(cls)), source)) from None

    def to_yaml(self, path: str | os.PathLike[str] | None = None) -> str:
        """The scenario as YAML text, defaults left out; also written to `path` if given. `from_yaml` gives it back."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        if self.nodes == _nodes_of(self.links):
            fields.pop("nodes")
        text = dump(fields)
        if path is not None:
            files.write(path, text)
        return text

    @classmethod
    def from_graph(
        cls,
        graph: Graph,
        sessions: Iterable[Any],
        routes: Sequence[Sequence[NodeId] | None] | None = None,
        **physics: Any,
    ) -> Self:
        """A scenario over a networkx graph whose edges have `length_km`.

        Nodes and links keep the graph's orders. Edge and node attributes named like fields of Link and Node are taken
        over, others are ignored.

        Args:
            graph: undirected, without parallel edges.
            sessions: (source, destination) pairs, `Session`s, or dicts of their fields.
            routes: per session the nodes to pass, or None for the shortest route.
            **physics: any other field of Scenario.

        Raises:
            ScenarioError: if graph, sessions or physics describe no possible scenario.
        """
        return cls(**{**from_graph(graph, sessions, routes), **physics})

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], sessions: object = None, **options: Any) -> Self:
        """A scenario over the network in a file: GraphML, GML, node-link JSON, or a CSV of edges (docs/networks.md).

        Args:
            path: ends in .graphml, .gml, .json or .csv; also the name of one that is in the package, "surfnet.gml".
            sessions: (source, destination) pairs, `Session`s, or dicts of their fields; a CSV or JSON file of them;
                "all" pairs of nodes; or a number of pairs, drawn with `seed`.
            **options: `length`, `detour`, `max_km`, …, see `network_files.Reading`; and any other field of Scenario.

        Raises:
            ScenarioError: naming file, field and value, if what is read is no network, or no possible scenario.
        """
        reading = {key: options.pop(key) for key in network_files.OPTIONS if key in options}
        graph, chosen = network_files.from_file(path, sessions, reading)
        fields = {"name": Path(path).stem, **from_graph(graph, chosen, None), **options}
        return cls._read(fields, str(path))

    def graph(self) -> Graph:
        """The network with its nodes' and links' fields as attributes, and `index`, the place in `nodes` or `links`."""
        return to_graph(self.nodes, self.links)

    def replace(self, **overrides: Any) -> Self:
        """This scenario with other values in some fields, validated anew.

        Paths found for the sessions before stay: with other links, give other sessions too.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        if "links" in overrides and self.nodes == _nodes_of(self.links):
            del fields["nodes"]
        return type(self)(**{**fields, **overrides})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Like `replace`: pydantic's own would neither validate nor forget the arrays of the original."""
        return self.replace(**(update or {}))

    # --- identity -----------------------------------------------------------------------------------------------------

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the content: equal scenarios have equal fingerprints, in every process."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return self.fingerprint == other.fingerprint if isinstance(other, Scenario) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self  # immutable all the way down, arrays too

    def __reduce__(self) -> tuple[Any, ...]:
        """A pickle holds plain values, checked when they are read: one of another version is refused in words."""
        return self._read, (self.model_dump(), f"pickle of a scenario, by qnum_gym {__version__}")

"""What a scenario is made of: nodes, links, sessions, events, its own fields, and the kinds of number in them.

None in a field of a node, link or session stands for the scenario's own value. Source: model.md §2-§4; the fields that
make a network heterogeneous, and the events, are [ours].
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Callable, Mapping
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationError,
    model_validator,
)

from qnum_gym.config import Config, ScenarioError, described, explain
from qnum_gym.physics import links, measures
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, HOLDS, PACINGS, SIMULATORS, SWAPPINGS
from qnum_gym.scenarios import load_profiles

T = TypeVar("T")

LIGHT_SPEED = 200_000.0  # km/s, in fibre
LONGEST = 1e8  # s: the end of the simulator's clock, and so of an episode
LATEST = 1e9  # s: what comes after the end of the clock may still have a date
FARTHEST = 1e9  # km


def _number(value: object) -> float:
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        try:
            number = float(value)
        except OverflowError:
            raise ValueError(f"must be a number of at most {sys.float_info.max:g}") from None
        if not math.isnan(number):
            return number
    raise ValueError("must be a number")


def _integer(value: object) -> int:
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return int(value)
    raise ValueError("must be a whole number")


def _node_id(value: object) -> NodeId:
    if isinstance(value, str):
        return value
    if not isinstance(value, bool) and isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, (tuple, list)):
        return tuple(_node_id(part) for part in cast("tuple[object, ...]", value))
    raise ValueError(
        "a node's name must be a string (in YAML, quote on, off, yes, no and dates), an integer, or a list of these"
    )


def _same(value: NodeId) -> NodeId:
    return value


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1]:
        raise ValueError("must be [lower, upper] with lower < upper")
    if value[1] - value[0] < 1e-9 * value[1]:
        raise ValueError("must be [lower, upper] with upper - lower at least 1e-9 of upper")
    return value


def _none_or_some(value: float) -> float:
    if 0.0 < value < RAREST:
        raise ValueError(f"must be 0, or at least {RAREST:g}")
    return value


def _one_or_apart(value: float) -> float:
    if 0.0 < abs(value - 1.0) < 1e-3:
        raise ValueError("must be 1, or differ from it by at least 0.001: x^(1 - fairness) loses its digits")
    return value


def _found(find: Callable[[str], object]) -> AfterValidator:
    """A name that a registry has, or can find."""

    def checked(value: str) -> str:
        try:
            find(value)
        except ValueError as error:
            raise ValueError(str(error).partition(f" = {value!r}: ")[2] or str(error)) from None
        return value

    return AfterValidator(checked)


def _empty_for_none(value: object) -> object:
    return () if value is None else value


def _steps(value: object) -> object:
    """A number holds from the start on; a profile and a CSV file stand for their steps."""
    if isinstance(value, str):
        return load_profiles.from_csv(value)
    if isinstance(value, Mapping):
        return load_profiles.from_profile(cast("Mapping[str, object]", value))
    return ((0.0, value),) if isinstance(value, numbers.Real) else value


RAREST = 1e-12  # 1/s

NodeId: TypeAlias = int | str | tuple[Any, ...]
Name: TypeAlias = Annotated[NodeId, PlainValidator(_node_id), PlainSerializer(_same, return_type=Any)]
Route: TypeAlias = Annotated[tuple[Name, ...], BeforeValidator(_empty_for_none)]

Real: TypeAlias = Annotated[float, BeforeValidator(_number)]
Count: TypeAlias = Annotated[int, BeforeValidator(_integer), Field(ge=1, lt=2**31)]
Length: TypeAlias = Annotated[Real, Field(ge=0, le=FARTHEST, description="km")]
Positive: TypeAlias = Annotated[Real, Field(gt=0, allow_inf_nan=False)]
NotNegative: TypeAlias = Annotated[Real, Field(ge=0, allow_inf_nan=False)]
Weight: TypeAlias = Annotated[Real, Field(ge=1e-9, le=1e9)]
Rate: TypeAlias = Annotated[Real, Field(ge=RAREST, le=1e9, description="1/s")]  # at most one in each nanosecond
Demand: TypeAlias = Annotated[Real, Field(ge=0, le=1e9, description="pairs/s"), AfterValidator(_none_or_some)]
Cap: TypeAlias = Annotated[Real, Field(ge=RAREST, description="1/s")]  # may be infinite
Loss: TypeAlias = Annotated[Real, Field(ge=0, le=1000, description="dB")]
Probability: TypeAlias = Annotated[Real, Field(ge=1e-12, le=1)]
Moment: TypeAlias = Annotated[Real, Field(ge=0, le=LATEST, description="s")]  # since the start
Delay: TypeAlias = Annotated[Real, Field(ge=0, le=LONGEST, description="s")]
Span: TypeAlias = Annotated[
    Real, Field(ge=1e-9, le=LONGEST, description="s")
]  # at least one tick of the simulator's clock
Lifetime: TypeAlias = Annotated[
    Real, Field(ge=1e-9, description="s")
]  # at least a tick of the simulator's clock; may be infinite
Latitude: TypeAlias = Annotated[Real, Field(ge=-90, le=90, description="degrees")]
Longitude: TypeAlias = Annotated[Real, Field(ge=-180, le=180, description="degrees")]
Fidelity: TypeAlias = Annotated[Real, Field(gt=0.25, lt=1)]
FidelityOrNone: TypeAlias = Annotated[Real, Field(ge=0.25, lt=1)]  # 0.25: any pair will do
RateRange: TypeAlias = Annotated[tuple[Rate, Rate], AfterValidator(_rising)]
RateCap: TypeAlias = Annotated[tuple[tuple[Moment, Cap], ...], BeforeValidator(_steps)]
Werner: TypeAlias = Annotated[Real, Field(ge=1e-9, le=1 - 1e-9)]
WernerRange: TypeAlias = Annotated[tuple[Werner, Werner], AfterValidator(_rising)]
Measure: TypeAlias = Annotated[str, _found(measures.find)]
Model: TypeAlias = Annotated[str, _found(links.find)]
Detectors: TypeAlias = Annotated[str, _found(links.DETECTORS.find)]
Fairness: TypeAlias = Annotated[Real, Field(ge=0, le=4), AfterValidator(_one_or_apart)]
DarkCount: TypeAlias = Annotated[Real, Field(ge=0, lt=1)]

Discipline: TypeAlias = Annotated[str, _found(DISCIPLINES.find)]
DropPolicy: TypeAlias = Annotated[str, _found(DROP_POLICIES.find)]
Hold: TypeAlias = Annotated[str, _found(HOLDS.find)]
Pacing: TypeAlias = Annotated[str, _found(PACINGS.find)]
PairWorth: TypeAlias = Literal["pooled", "per_pair"]
Simulator: TypeAlias = Annotated[str, _found(SIMULATORS.find)]
Swapping: TypeAlias = Annotated[str, _found(SWAPPINGS.find)]


class Part(Config):
    """A frozen piece of a scenario that knows its fields; constructing one that cannot be raises ScenarioError."""

    model_config = ConfigDict(ser_json_inf_nan="constants")

    if not TYPE_CHECKING:  # type checkers see the signature made from the fields

        def __init__(self, **data: Any) -> None:
            try:
                super().__init__(**data)
            except ValidationError as error:
                name = type(self).__name__.lower()
                raise ScenarioError(described(explain(error, valid_keys(type(self))), name)) from None

        # Says to pydantic: a part within a whole need not pass through here, so that the whole can report all problems.
        __init__.__pydantic_base_init__ = True


class Node(Part):
    """A node and what is its own: memory, swapping, and where it lies, for pictures."""

    name: Name  # text, whole number, or a list of these
    coherence_time: Lifetime | None = None
    swap_success: Probability | None = None
    gate_factor: Probability | None = None
    latitude: Latitude | None = None  # where it is drawn
    longitude: Longitude | None = None  # likewise

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return cast("object", value) if isinstance(value, (Mapping, Node)) else {"name": value}


class Link(Part):
    """An undirected link between two nodes; `a` to `b` is its forward direction."""

    a: Name  # a node; from a to b is the forward direction
    b: Name  # another node
    length_km: Length  # L of the fibre
    cycle_time: Span | None = None
    coupling: Probability | None = None
    attenuation: NotNegative | None = None
    capacity: Positive | None = None  # d, pairs/s, in place of 3 c eta / (2 T)
    link_model: Model | None = None
    modes: Count | None = None
    detectors: Detectors | None = None
    dark_count: DarkCount | None = None
    attempt_success: Probability | None = None
    processing_delay: Delay | None = None
    werner_range: WernerRange | None = None
    initial_werner: Werner | None = None
    memory: Count | None = None
    discipline: Discipline | None = None
    drop_policy: DropPolicy | None = None


class Session(Part):
    """A source that wants pairs with a destination, over a fixed route. Within a scenario, a bare pair will do."""

    source: Name  # node where the rate is set
    destination: Name  # node that answers
    path: Route = ()  # the nodes passed, both ends included; in a scenario always there (shortest route if not given)
    weight: Weight = 1.0  # omega: how much its utility counts
    measure: Measure | None = None
    min_fidelity: Fidelity | None = None  # floor of the end-to-end fidelity
    min_rate: Demand = 0.0  # demand for delivered pairs; 0: none
    rate_range: RateRange | None = None
    rate_cap: RateCap = ()  # [time, rate] each, or a number, profile or CSV: the source injects no faster
    initial_rate: Rate | None = None
    cutoff: Lifetime | None = None
    window: Count | None = None
    pacing: Pacing | None = None
    hold: Hold | None = None
    start: Moment = 0.0  # when it comes
    stop: Moment | None = None  # when it goes; null: never
    pairs: Count | None = None  # that it wants: it is over when they are delivered; `stop` is its deadline then
    periods: tuple[tuple[Moment, Moment], ...] = ()  # [start, stop] each, where it is on more than once

    @model_validator(mode="before")
    @classmethod
    def _pair(cls, value: object) -> object:
        return session_fields(value)

    @property
    def on(self) -> tuple[tuple[float, float | None], ...]:
        """From when to when it is on, s; None = for ever."""
        return self.periods or ((self.start, self.stop),)


def session_fields(value: object) -> object:
    """(source, destination) as a mapping; anything else as it is."""
    if isinstance(value, (tuple, list)) and len(cast("tuple[object, ...]", value)) == 2:
        return dict(zip(("source", "destination"), cast("tuple[object, object]", value), strict=True))
    return cast("object", value)


class LinkEvent(Part):
    """From `time` on the link has `extra_loss_db` over its whole fibre (d falls by half of it in dB), or is up or down.

    Both are states: the last one set holds, and the loss is relative to the undamaged link.
    """

    type: Literal["link"] = "link"  # may be left out
    time: Moment  # from when on
    link: tuple[Name, Name]  # its two nodes, in either order
    extra_loss_db: Loss | None = None  # relative to the undamaged link
    up: bool | None = None  # false: it makes no pairs


class NodeEvent(Part):
    """From `time` on, the node's memory has another coherence time."""

    type: Literal["node"] = "node"  # may be left out
    time: Moment  # from when on
    node: Name  # whose memory it is
    coherence_time: Lifetime  # T_c


class SessionEvent(Part):
    """From `time` on, the session wants something else; what is not given stays as it was."""

    type: Literal["session"] = "session"  # may be left out
    time: Moment  # from when on
    session: Annotated[int, BeforeValidator(_integer), Field(ge=0)]  # its place among the scenario's sessions
    weight: Weight | None = None
    min_fidelity: FidelityOrNone | None = None  # 0.25: no floor
    min_rate: Demand | None = None  # 0: no demand
    rate_cap: Cap | None = None  # .inf: no cap

    @property
    def values(self) -> dict[str, float]:
        """The values given, by field."""
        fields = ("weight", "min_fidelity", "min_rate", "rate_cap")
        return {field: value for field in fields if (value := getattr(self, field)) is not None}


EVENTS: dict[str, type[Part]] = {"link": LinkEvent, "node": NodeEvent, "session": SessionEvent}  # by `type`


def _kind(value: Any) -> str:
    """As the event says, or by the field that has the name of its kind."""
    if isinstance(value, Mapping):
        event = cast("Mapping[str, Any]", value)
        return event.get("type", next((kind for kind in EVENTS if kind in event), "link"))
    return getattr(value, "type", "link")


Event: TypeAlias = Annotated[
    Annotated[LinkEvent, Tag("link")] | Annotated[NodeEvent, Tag("node")] | Annotated[SessionEvent, Tag("session")],
    Discriminator(_kind),
]


class ScenarioFields(Part):
    """What a scenario says, and the orders of its parts; `Scenario` is these fields, checked.

    A node, link or session in which a field is None has the value given here.
    """

    name: str = "scenario"  # in tables, titles and messages
    simulator: Simulator = "packet"  # every q-datagram, or their mean flows
    nodes: tuple[Node, ...] = ()  # if not given, those of the links in order of appearance
    links: tuple[Link, ...]  # undirected; their order is that of all arrays over links
    sessions: tuple[Session, ...]  # who wants pairs with whom
    events: tuple[Event, ...] = ()  # what changes, and when

    cycle_time: Span = 1e-3  # T of an attempt
    coupling: Probability = 1.0  # c: what is lost beside the fibre's loss, in collection and detection
    attenuation: NotNegative = 0.2  # beta of the fibre, dB/km
    link_model: Model = "single_click"  # how an attempt's success depends on w
    modes: Count = 1  # m: attempts side by side in each cycle
    detectors: Detectors = "resolving"  # whether they tell two photons from one
    dark_count: DarkCount = 0.0  # delta: probability per detector and attempt
    attempt_success: Probability | None = None  # p of an attempt, for link_model `fixed` alone
    coherence_time: Lifetime = 10.0  # T_c of a node's memory; .inf: perfect
    swapping: Swapping = "sequential"  # one link of a route after the other, or all at once
    swap_success: Probability = 1.0  # q: probability that a swap succeeds
    gate_factor: Probability = 1.0  # g: what a swap multiplies W by
    processing_delay: Delay = 0.0  # per link, on top of the light time
    feedback_delay: Delay = 0.0  # added to every ACK's and NACK's way
    message_loss: Annotated[Real, Field(ge=0, lt=1)] = 0.0  # probability per hop of a header, ACK or NACK
    memory: Count = 100  # q-datagrams that a node on the way holds for a link, per direction of travel
    window: Count = 100  # q-datagrams of a session without an answer, at most
    discipline: Discipline = "fifo"  # order of service at a link
    drop_policy: DropPolicy = "drop_tail"  # who goes where a memory is full: the newcomer, or the oldest
    pacing: Pacing = "poisson"  # of injections: at random, or even
    hold: Hold = "header"  # how long the two end nodes store a pair: until header or ACK, or not at all
    measure: Measure = "secret_key"  # f: what a pair is worth, by its W
    fairness: Fairness = 1.0  # alpha: 0 sum, 1 geometric mean of the sessions' R f(W), above more for the worst
    worth: PairWorth = "pooled"  # of pairs: f of their mean W, or the mean of f⁺ for who sorts them by W
    cutoff: Lifetime | None = None  # age of the first pair at which a q-datagram is dropped; null or .inf: never

    werner_range: WernerRange = (0.5, 0.999)  # in which a link's w can be set
    rate_range: RateRange = (0.01, 1000.0)  # in which a source's rate can be set
    initial_werner: Werner = 0.967  # w of a link at the start; for good where its link model has no knob
    initial_rate: Rate = 1.0  # R of a source at the start
    control_interval: Span = 1.0  # between two decisions of the controllers
    episode_length: Count = 200  # in control intervals; together at most 1e8 s, the end of the simulator's clock

    @cached_property
    def node_index(self) -> dict[NodeId, int]:
        """Node index by name."""
        return {node.name: v for v, node in enumerate(self.nodes)}

    @cached_property
    def link_index(self) -> dict[tuple[NodeId, NodeId], int]:
        """Link index by its two nodes, in either order."""
        forward = {(link.a, link.b): l for l, link in enumerate(self.links)}
        return forward | {(b, a): l for (a, b), l in forward.items()}

    @cached_property
    def routes(self) -> tuple[tuple[int, ...], ...]:
        """The link indices that each session passes, in order."""
        return tuple(tuple(self.link_index[hop] for hop in pairwise(session.path)) for session in self.sessions)

    def resolved(self, parts: Literal["nodes", "links", "sessions"], field: str) -> list[Any]:
        """A field of every node, link or session: its own value, or where it has none the scenario's."""
        common = getattr(self, field, None)
        return [either(getattr(part, field), common) for part in getattr(self, parts)]


def either(own: T | None, common: T) -> T:
    """The part's own value, or the scenario's."""
    return common if own is None else own


def valid_keys(model: type[BaseModel]) -> dict[str, tuple[str, ...]]:
    """The valid keys of a scenario or one of its parts, by place, as `explain` wants them."""
    return {
        "": tuple(model.model_fields),
        "nodes": tuple(Node.model_fields),
        "links": tuple(Link.model_fields),
        "sessions": tuple(Session.model_fields),
        **{f"events.{kind}": tuple(event.model_fields) for kind, event in EVENTS.items()},
    }

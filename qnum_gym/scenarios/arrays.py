"""A scenario as flat arrays, and how they change over time: what simulator, optimum and envs compute with."""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np
from numpy.typing import NDArray

from qnum_gym.config import ScenarioError
from qnum_gym.physics import measures
from qnum_gym.physics.links import DETECTORS, LINK_MODELS, LinkRates
from qnum_gym.physics.werner import werner
from qnum_gym.registry import Registry, suggest
from qnum_gym.rules import DISCIPLINES, DROP_POLICIES, HOLDS, PACINGS, SWAPPINGS
from qnum_gym.scenarios.fields import LIGHT_SPEED, LinkEvent, NodeEvent, ScenarioFields, either
from qnum_gym.scenarios.hardware import capacity, werner_range

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Kind = Literal["capacity", "decay_rate", "active", "weight", "log_werner_floor", "min_rate", "rate_cap"]
CHANGES: tuple[Kind, ...] = get_args(Kind)
WISHES: tuple[Kind, ...] = ("weight", "log_werner_floor", "min_rate", "rate_cap")  # of a session


class Change(NamedTuple):
    """At `time` (s) the array named by `kind` takes `value` at `index` (of a link, a node, or a session)."""

    time: float
    kind: Kind
    index: int  # pyright: ignore[reportIncompatibleMethodOverride]
    value: float


@dataclass(frozen=True, slots=True)
class Arrays:
    """Everything resolved, at one time. Read-only; L links, V nodes, R sessions, H hops of all sessions together."""

    capacity: Floats  # [L] d, pairs/s; 0 when down
    cycle_time: Floats  # [L] T, s
    link_model: Ints  # [L] code in physics.links.LINK_MODELS
    modes: Floats  # [L] m
    dark_count: Floats  # [L] delta
    clicks: Floats  # [L] of physics.links.DETECTORS
    latency: Floats  # [L] tau, s
    werner_min: Floats  # [L]
    werner_max: Floats  # [L]; the lowest where w cannot be set
    initial_werner: Floats  # [L]
    memory: Ints  # [L]
    discipline: Ints  # [L] code in rules.DISCIPLINES
    drop_policy: Ints  # [L] code in rules.DROP_POLICIES
    link_a: Ints  # [L] node
    link_b: Ints  # [L] node
    decay_rate: Floats  # [V] gamma = 1/T_c, 1/s
    swap_success: Floats  # [V] q
    gate_factor: Floats  # [V] g
    source: Ints  # [R] node
    destination: Ints  # [R] node
    weight: Floats  # [R] omega
    measure: Ints  # [R] code in measures.MEASURES
    fairness: Floats  # [R] alpha; the same for all sessions of a scenario
    log_werner_floor: Floats  # [R] K, log of the lowest admissible W; -inf if there is none
    min_rate: Floats  # [R] pairs/s
    rate_min: Floats  # [R] 1/s
    rate_max: Floats  # [R] 1/s
    rate_cap: Floats  # [R] 1/s, that the source's rate does not exceed; inf = none
    initial_rate: Floats  # [R] 1/s
    cutoff: Floats  # [R] s; inf = never
    window: Ints  # [R]
    pairs: Ints  # [R] that the session wants; 0 = no number
    pacing: Ints  # [R] code in rules.PACINGS
    hold: Ints  # [R] code in rules.HOLDS
    swapping: Ints  # [R] code in rules.SWAPPINGS; the same for all sessions of a scenario
    start: Floats  # [R] s, for the first time
    stop: Floats  # [R] s, for the last; inf = never
    active: Bools  # [R] on at this time
    hop_start: Ints  # [R+1] hops of session r are hop_start[r] to hop_start[r+1]
    hop_session: Ints  # [H]
    hop_link: Ints  # [H]
    hop_direction: Ints  # [H] 0 = a to b, 1 = b to a
    hop_from: Ints  # [H] node
    hop_to: Ints  # [H] node
    hop_index: Ints  # [H] counted from 0 within the session

    @property
    def link_rates(self) -> LinkRates:
        """What the links make at a w."""
        return LinkRates(self.link_model, self.cycle_time, self.modes, self.dark_count, self.clicks)

    @property
    def stored_at_ends(self) -> Bools:
        """[R] whether source and destination store their halves, else measure them at once."""
        return np.array([hold.stored_at_ends for hold in HOLDS.values()])[self.hold]

    @property
    def until_ack(self) -> Bools:
        """[R] whether they store them until the ACK has come to the source."""
        return np.array([hold.until_ack for hold in HOLDS.values()])[self.hold]

    @property
    def end_decay_rates(self) -> tuple[Floats, Floats]:
        """[R] and [R]: gamma of source and destination, 1/s; 0 where they store no half of the session's pairs."""
        source, destination = self.decay_rate[self.source], self.decay_rate[self.destination]
        return np.where(self.stored_at_ends, source, 0.0), np.where(self.stored_at_ends, destination, 0.0)

    def __post_init__(self) -> None:
        """Raise ScenarioError for a code that stands for nothing."""
        for name, valid in CODED.items():
            wrong = np.flatnonzero(~np.isin(getattr(self, name), np.arange(len(valid))))
            if len(wrong):
                i = int(wrong[0])
                meaning = ", ".join(f"{place} ({word})" for place, word in enumerate(valid))
                raise ScenarioError(f"arrays: {name}[{i}] = {getattr(self, name)[i]}: unknown code; valid: {meaning}")


CODED = {  # the arrays of codes, and what these stand for
    "discipline": DISCIPLINES,
    "drop_policy": DROP_POLICIES,
    "pacing": PACINGS,
    "hold": HOLDS,
    "swapping": SWAPPINGS,
    "measure": measures.MEASURES,
    "link_model": LINK_MODELS,
    "hop_direction": ("a to b", "b to a"),
}


def code(field: str, word: str, valid: Sequence[str]) -> int:
    """The place of `word` among the `valid` ones; ScenarioError, naming the field, if it is none of them."""
    if word not in valid:
        raise ScenarioError(f"scenario: {field} = {word!r}: {suggest(word, valid)}valid: {', '.join(valid)}")
    return valid.index(word)


class Timeline:
    """The arrays of a scenario from its start to its end."""

    def __init__(self, scenario: ScenarioFields) -> None:
        undamaged = _resolve(scenario)
        every = _changes(scenario, undamaged)
        self.start = _after(undamaged, [change for change in every if change.time <= 0.0])
        self.changes = tuple(change for change in every if change.time > 0.0)
        self._at: dict[int, Arrays] = {0: self.start}

    @cached_property
    def times(self) -> tuple[float, ...]:
        """0 and every later time at which something changes."""
        return (0.0, *sorted({change.time for change in self.changes}))

    def at(self, time: float) -> Arrays:
        """The arrays with all changes up to and at `time` (s) applied."""
        if not 0.0 <= time < math.inf:
            raise ValueError(f"time = {time!r}: must be a finite number of seconds, at least 0")
        done = bisect.bisect_right(self.changes, time, key=lambda change: change.time)
        if done not in self._at:
            self._at[done] = _after(self.start, self.changes[:done])
        return self._at[done]


def _resolve(scenario: ScenarioFields) -> Arrays:
    """The network undamaged and with all sessions as yet unborn."""
    s, index = scenario, scenario.node_index
    ranges = [werner_range(s, link) for link in s.links]
    nodes, links, sessions = (partial(s.resolved, parts) for parts in ("nodes", "links", "sessions"))
    return _frozen(
        capacity=_floats(capacity(s, link) for link in s.links),
        cycle_time=_floats(links("cycle_time")),
        link_model=_codes(LINK_MODELS, links("link_model")),
        latency=_floats(links("length_km")) / LIGHT_SPEED + _floats(links("processing_delay")),
        modes=_floats(links("modes")),
        dark_count=_floats(links("dark_count")),
        clicks=_floats(map(DETECTORS.__getitem__, links("detectors"))),
        werner_min=_floats(low for low, _ in ranges),
        werner_max=_floats(high for _, high in ranges),
        initial_werner=_floats(links("initial_werner")),
        memory=_ints(links("memory")),
        discipline=_codes(DISCIPLINES, links("discipline")),
        drop_policy=_codes(DROP_POLICIES, links("drop_policy")),
        link_a=_ints(index[a] for a in links("a")),
        link_b=_ints(index[b] for b in links("b")),
        decay_rate=1.0 / _floats(nodes("coherence_time")),
        swap_success=_floats(nodes("swap_success")),
        gate_factor=_floats(nodes("gate_factor")),
        source=_ints(index[source] for source in sessions("source")),
        destination=_ints(index[destination] for destination in sessions("destination")),
        weight=_floats(sessions("weight")),
        measure=_codes(measures.MEASURES, sessions("measure")),
        fairness=np.full(len(s.sessions), s.fairness),
        log_werner_floor=_floats(map(_log_floor, sessions("min_fidelity"))),
        min_rate=_floats(sessions("min_rate")),
        rate_min=_floats(low for low, _ in sessions("rate_range")),
        rate_max=_floats(high for _, high in sessions("rate_range")),
        rate_cap=np.full(len(s.sessions), math.inf),
        initial_rate=_floats(sessions("initial_rate")),
        cutoff=_floats(either(cutoff, math.inf) for cutoff in sessions("cutoff")),
        window=_ints(sessions("window")),
        pairs=_ints(either(pairs, 0) for pairs in sessions("pairs")),
        pacing=_codes(PACINGS, sessions("pacing")),
        hold=_codes(HOLDS, sessions("hold")),
        swapping=_codes(SWAPPINGS, [s.swapping] * len(s.sessions)),
        start=_floats(session.on[0][0] for session in s.sessions),
        stop=_floats(either(session.on[-1][1], math.inf) for session in s.sessions),
        active=np.zeros(len(s.sessions), dtype=np.bool_),
        **_hops(scenario),
    )


def _log_floor(fidelity: float | None) -> float:
    """K, log of the W that a fidelity stands for; -inf for none, or one that every pair has."""
    least = 0.0 if fidelity is None else werner(fidelity)
    return math.log(least) if least > 0.0 else -math.inf


def _hops(scenario: ScenarioFields) -> dict[str, Ints]:
    """The hops of all sessions, flattened in session order."""
    index = scenario.node_index
    rows: list[tuple[int, int, int, int, int, int]] = []
    starts = [0]
    for r, (session, route) in enumerate(zip(scenario.sessions, scenario.routes, strict=True)):
        for hop, link in enumerate(route):
            u, v = session.path[hop], session.path[hop + 1]
            rows.append((r, link, int(scenario.links[link].a != u), index[u], index[v], hop))
        starts.append(len(rows))
    names = ("hop_session", "hop_link", "hop_direction", "hop_from", "hop_to", "hop_index")
    columns = np.ascontiguousarray(np.array(rows, dtype=np.int64).T)
    return {"hop_start": _ints(starts), **dict(zip(names, columns, strict=True))}


def _changes(scenario: ScenarioFields, undamaged: Arrays) -> list[Change]:
    """All that happens, in order of time; at one time the last word on each thing counts."""
    link_index, node_index = scenario.link_index, scenario.node_index
    loss = np.zeros(len(scenario.links))
    up = np.ones(len(scenario.links), dtype=np.bool_)
    words: dict[tuple[float, Kind, int], float] = {
        (time, "rate_cap", r): cap for r, session in enumerate(scenario.sessions) for time, cap in session.rate_cap
    }
    for event in sorted(scenario.events, key=lambda event: event.time):
        if isinstance(event, LinkEvent):
            l = link_index[event.link]
            loss[l] = either(event.extra_loss_db, float(loss[l]))
            up[l] = either(event.up, bool(up[l]))
            d = LINK_MODELS.at(int(undamaged.link_model[l])).lossy(float(undamaged.capacity[l]), float(loss[l]))
            words[event.time, "capacity", l] = d if up[l] else 0.0
        elif isinstance(event, NodeEvent):
            words[event.time, "decay_rate", node_index[event.node]] = 1.0 / event.coherence_time
        else:
            for field, value in event.values.items():
                kind, told = ("log_werner_floor", _log_floor(value)) if field == "min_fidelity" else (field, value)
                words[event.time, cast("Kind", kind), event.session] = told
    for r, session in enumerate(scenario.sessions):
        for start, stop in session.on:
            words[start, "active", r] = 1.0
            if stop is not None:
                words[stop, "active", r] = 0.0
    return sorted(Change(time, kind, index, value) for (time, kind, index), value in words.items())


def _after(arrays: Arrays, changes: Iterable[Change]) -> Arrays:
    """The arrays with the changes applied."""
    changed: dict[str, Floats | Bools] = {kind: getattr(arrays, kind).copy() for kind in CHANGES}
    for change in changes:
        changed[change.kind][change.index] = change.value
    for array in changed.values():
        array.flags.writeable = False
    return dataclasses.replace(arrays, **changed)


COUNTED = {  # what an index counts: an array with one entry for each of them
    **dict.fromkeys(("link_a", "link_b", "source", "destination", "hop_from", "hop_to"), "decay_rate"),
    "hop_session": "weight",
    "hop_link": "capacity",
    "hop_start": "hop_link",
}


def side_by_side(networks: Sequence[Arrays]) -> Arrays:
    """Several networks as one that falls apart into them: nodes, links, sessions and hops in their order."""
    if len(networks) == 1:
        return networks[0]
    joined: dict[str, Any] = {}
    for name in (field.name for field in dataclasses.fields(Arrays)):
        parts = [getattr(arrays, name) for arrays in networks]
        if name in COUNTED:
            sizes = [len(getattr(arrays, COUNTED[name])) for arrays in networks]
            parts = [part + before for part, before in zip(parts, accumulate(sizes[:-1], initial=0), strict=True)]
        if name == "hop_start":  # where one network's hops end, the next one's begin
            parts = [*(part[:-1] for part in parts[:-1]), parts[-1]]
        joined[name] = np.concatenate(parts)
    return _frozen(**joined)


def _frozen(**arrays: Any) -> Arrays:
    for array in arrays.values():
        array.flags.writeable = False
    return Arrays(**arrays)


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)


def _ints(values: Iterable[int]) -> Ints:
    return np.array(list(values), dtype=np.int64)


def _codes(registry: Registry[Any], names: Iterable[str]) -> Ints:
    return _ints(registry.code(name) for name in names)

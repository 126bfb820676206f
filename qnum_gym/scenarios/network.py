"""Does it hang together? Checks between the parts of a scenario, and the routes its sessions take."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from qnum_gym.config import Violation
from qnum_gym.physics.links import LINK_MODELS
from qnum_gym.registry import suggest
from qnum_gym.rules import SIMULATORS
from qnum_gym.scenarios.fields import (
    LIGHT_SPEED,
    LONGEST,
    Link,
    Node,
    NodeEvent,
    NodeId,
    ScenarioFields,
    Session,
    SessionEvent,
    either,
)
from qnum_gym.scenarios.hardware import capacities, capacity, hardware, model_of, werner_range
from qnum_gym.scenarios.routes import neighbours, shortest_routes

Ends = tuple[NodeId, NodeId]

FEWEST = 1e-100  # pairs/s that a link must be able to make: hopeless is allowed, but not so that squares vanish


def network_problems(nodes: Sequence[Node], links: Sequence[Link]) -> Iterator[Violation]:
    """Nodes named twice or half placed; links to unknown nodes, to the same node, or between nodes already linked."""
    known: dict[NodeId, int] = {}
    for i, node in enumerate(nodes):
        if node.name in known:
            yield Violation(("nodes", i, "name"), node.name, f"named already by nodes[{known[node.name]}]")
        known.setdefault(node.name, i)
        if (node.latitude is None) != (node.longitude is None):
            field = "latitude" if node.latitude is None else "longitude"
            yield Violation(("nodes", i, field), None, "must be given where the other coordinate is")
    linked: dict[Ends, int] = {}
    for i, link in enumerate(links):
        for field, end in (("a", link.a), ("b", link.b)):
            if end not in known:
                yield Violation(("links", i, field), end, unknown_node(end, known))
        if link.a == link.b:
            yield Violation(("links", i, "b"), link.b, "must be another node than a")
        other = linked.setdefault((link.a, link.b), i)
        if other != i:
            yield Violation(("links", i), (link.a, link.b), f"links[{other}] joins these nodes already; give one link")
        linked.setdefault((link.b, link.a), i)


def unknown_node(name: NodeId, known: Mapping[NodeId, int]) -> str:
    """What to say of a node that is not there: which ones are."""
    listed = ", ".join(map(repr, itertools.islice(known, 20))) + (", ..." if len(known) > 20 else "")
    return f"unknown node; {suggest(name, known)}valid nodes: {listed}"


def filled_paths(scenario: ScenarioFields) -> tuple[tuple[Session, ...], list[Violation]]:
    """The sessions, each with its path, and what is wrong with their ends and paths."""
    problems: list[Violation] = []
    wanted: dict[NodeId, list[int]] = defaultdict(list)
    for r, session in enumerate(scenario.sessions):
        wrong = list(_end_problems(scenario, r, session)) or list(_path_problems(scenario, r, session))
        problems += wrong
        if not wrong and not session.path:
            wanted[session.destination].append(r)
    sessions = list(scenario.sessions)
    for r, path in _shortest(scenario, wanted):
        if path:
            sessions[r] = sessions[r].model_copy(update={"path": path})
        else:
            session = sessions[r]
            valid = f"no links connect it to the source {session.source!r}; a session needs a connected pair of nodes"
            problems.append(Violation(("sessions", r, "destination"), session.destination, valid))
    return tuple(sessions), problems


def _shortest(scenario: ScenarioFields, wanted: Mapping[NodeId, list[int]]) -> Iterator[tuple[int, tuple[NodeId, ...]]]:
    """(session, shortest route) for the sessions wanted, by destination; () where there is none."""
    if not wanted:
        return
    index, links = scenario.node_index, scenario.links
    ends = [(index[link.a], index[link.b]) for link in links]
    graph = neighbours(len(index), ends, [link.length_km for link in links])
    for destination, sessions in wanted.items():
        sources = {r: index[scenario.sessions[r].source] for r in sessions}
        routes = shortest_routes(graph, set(sources.values()), index[destination])
        for r, source in sources.items():
            yield r, tuple(scenario.nodes[v].name for v in routes.get(source, ()))


def _end_problems(scenario: ScenarioFields, r: int, session: Session) -> Iterator[Violation]:
    for field, end in (("source", session.source), ("destination", session.destination)):
        if end not in scenario.node_index:
            yield Violation(("sessions", r, field), end, unknown_node(end, scenario.node_index))
    if session.source == session.destination:
        yield Violation(("sessions", r, "destination"), session.destination, "must be another node than the source")


def _path_problems(scenario: ScenarioFields, r: int, session: Session) -> Iterator[Violation]:
    path = session.path
    if not path:
        return
    field = ("sessions", r, "path")
    if path[0] != session.source or path[-1] != session.destination:
        ends = f"{session.source!r} to {session.destination!r}"
        yield Violation(field, list(path), f"must lead from source to destination, {ends}")
    for node in path:
        if node not in scenario.node_index:
            yield Violation(field, list(path), f"{node!r}: {unknown_node(node, scenario.node_index)}")
            return
    if len(set(path)) < len(path):
        yield Violation(field, list(path), "must not pass a node twice")
    for u, v in itertools.pairwise(path):
        if u != v and (u, v) not in scenario.link_index:
            yield Violation(field, list(path), f"must follow links; none joins {u!r} and {v!r}")


def time_problems(scenario: ScenarioFields) -> Iterator[Violation]:
    """An episode, or a way there and back, that the simulator's clock can't count."""
    s = scenario
    if s.control_interval * s.episode_length > LONGEST:
        valid = (
            f"times episode_length, {s.episode_length}, this is {s.control_interval * s.episode_length:g} s; "
            f"valid: at most {LONGEST:g} s, the end of the simulator's clock"
        )
        yield Violation(("control_interval",), s.control_interval, valid)
    delays = [either(link.processing_delay, s.processing_delay) + link.length_km / LIGHT_SPEED for link in s.links]
    if s.feedback_delay + sum(delays) > LONGEST:
        valid = f"all delays together are {s.feedback_delay + sum(delays):g} s; valid: at most {LONGEST:g} s"
        i = delays.index(max(delays))
        if s.feedback_delay > delays[i]:
            yield Violation(("feedback_delay",), s.feedback_delay, valid)
        else:
            own = s.links[i].processing_delay
            field = ("processing_delay",) if own is None else ("links", i, "processing_delay")
            yield Violation(field, either(own, s.processing_delay), valid)


def physics_problems(scenario: ScenarioFields) -> Iterator[Violation]:
    """Attempts faster than light or more likely than certain (model.md §2); Werner parameters outside their range."""
    for i, link in enumerate(scenario.links):
        cycle, light = either(link.cycle_time, scenario.cycle_time), link.length_km / LIGHT_SPEED
        if light > cycle * (1 + 1e-12):
            valid = (
                f"light takes {light:.6g} s, longer than an attempt's cycle_time of {cycle:.6g} s; "
                f"valid: length_km <= {cycle * LIGHT_SPEED:.6g} or cycle_time >= {light:.6g}"
            )
            yield Violation(("links", i, "length_km"), link.length_km, valid)
        if capacity(scenario, link) < FEWEST:
            field = ("links", i, "length_km" if link.capacity is None else "capacity")
            valid = (
                f"capacity is {capacity(scenario, link):g} pairs/s; valid: at least {FEWEST:g} pairs/s (model.md §2)"
            )
            yield Violation(field, link.length_km if link.capacity is None else link.capacity, valid)
        yield from _werner_problems(scenario, i, link)
    yield from _unused_fields(scenario)


def _werner_problems(scenario: ScenarioFields, i: int, link: Link) -> Iterator[Violation]:
    """A model that holds for no w, or begins at none of these; attempts that succeed more often than always."""
    s, model, d = scenario, model_of(scenario, link), capacity(scenario, link)
    if "attempt_success" in model.uses and (either(link.attempt_success, s.attempt_success) is None or link.capacity):
        valid = f"link_model {model.name} takes the probability of a pair per attempt, and no capacity"
        yield Violation(("links", i, "attempt_success"), link.attempt_success, valid)
        return
    chosen = either(link.werner_range, s.werner_range)
    field = ("links", i, "werner_range") if link.werner_range else ("werner_range",)
    for light in capacities(s, link):
        x = hardware(s, link, light)
        least, most = model.span(x)
        if not (max(least, chosen[0]) < min(most, chosen[1]) if model.knob else least < most):
            holds = f"from {least:.6g} to {most:.6g}" if least < most else "nowhere"
            valid = f"link_model {model.name} holds {holds} on links[{i}] with eta = {x.chance / 1.5:.4g}"
            if x.dark_count > 0.0:
                valid += f" and dark_count = {x.dark_count:g}"
            yield Violation(field, list(chosen), valid)
            return
    low, high = werner_range(s, link)
    if model.knob and not low < high:
        yield Violation(field, list(chosen), f"no w will do on links[{i}] with all the light that events leave it")
        return
    if model.success(low, hardware(s, link, d)) > 1.0 + 1e-12:
        yield _more_than_certain(s, i, link, low)
    initial = either(link.initial_werner, s.initial_werner)
    if not low <= initial <= high:
        field = ("links", i, "initial_werner") if link.initial_werner else ("initial_werner",)
        yield Violation(field, initial, f"must lie in the werner_range of links[{i}], [{low:.9g}, {high:.9g}]")


def _more_than_certain(s: ScenarioFields, i: int, link: Link, low: float) -> Violation:
    """An attempt at the brightest w succeeds more often than always; named by what the user wrote."""
    model, d = model_of(s, link), capacity(s, link)
    x = hardware(s, link, d)
    success, brightest = model.success(low, x), float(model.werner(np.array(1.0 / x.chance), x))
    valid = (
        f"an attempt on links[{i}] would succeed with probability {success:.6g} > 1 at w = {low:g}; "
        f"valid: capacity d <= {d / success:.6g} or werner_range from {brightest:.6g}"
    )
    if link.capacity is not None:
        return Violation(("links", i, "capacity"), link.capacity, valid)
    field = ("links", i, "werner_range") if link.werner_range else ("werner_range",)
    return Violation(field, list(either(link.werner_range, s.werner_range)), valid)


def _unused_fields(scenario: ScenarioFields) -> Iterator[Violation]:
    """What no link model looks at."""
    users: dict[str, list[str]] = defaultdict(list)
    for model in LINK_MODELS.values():
        for field in model.uses:
            users[field].append(model.name)
    used = [model_of(scenario, link).uses for link in scenario.links]
    for field, models in users.items():
        valid = f"means nothing here; valid: with link_model {' or '.join(models)}"
        common = getattr(scenario, field)
        if common != type(scenario).model_fields[field].default and not any(field in fields for fields in used):
            yield Violation((field,), common, valid)
        for i, (link, fields) in enumerate(zip(scenario.links, used, strict=True)):
            if getattr(link, field) is not None and field not in fields:
                yield Violation(("links", i, field), getattr(link, field), valid)


def simulator_problems(scenario: ScenarioFields) -> Iterator[Violation]:
    """What the scenario's simulator does not know."""
    s = scenario
    for field, values in SIMULATORS[s.simulator].only.items():
        valid = f"simulator {s.simulator!r} knows {' or '.join(map(repr, values))} only; valid: simulator 'packet'"
        if getattr(s, field, values[0]) not in values:
            yield Violation((field,), getattr(s, field), valid)
        for parts in ("links", "sessions"):
            for i, part in enumerate(getattr(s, parts)):
                own = getattr(part, field, None)
                if own is not None and own not in values:
                    yield Violation((parts, i, field), own, valid)


def session_problems(scenario: ScenarioFields) -> Iterator[Violation]:
    """Starting points and demands outside their ranges; sessions that stop before they start."""
    s = scenario
    for r, session in enumerate(s.sessions):
        low, high = either(session.rate_range, s.rate_range)
        initial = either(session.initial_rate, s.initial_rate)
        if not low <= initial <= high:
            field = ("sessions", r, "initial_rate") if session.initial_rate else ("initial_rate",)
            yield Violation(field, initial, f"must lie in the rate_range of sessions[{r}], [{low}, {high}]")
        if session.min_rate > high:
            yield Violation(("sessions", r, "min_rate"), session.min_rate, f"must be at most the rate_range's {high}")
        else:
            yield from _cap_problems(s, r, (low, high))
        if session.stop is not None and session.stop <= session.start:
            yield Violation(("sessions", r, "stop"), session.stop, f"must be later than the start at {session.start} s")
        times = [time for period in session.periods for time in period]
        if any(after <= before for before, after in zip(times[::2], times[1::2], strict=True)) or times != sorted(
            times
        ):
            yield Violation(
                ("sessions", r, "periods"), session.periods, "must be [start, stop] each, one after the other"
            )
        if times and session.pairs is not None:
            valid = "must not stand beside periods; valid: a session for each request"
            yield Violation(("sessions", r, "pairs"), session.pairs, valid)
        if times and (session.start != 0.0 or session.stop is not None):
            yield Violation(("sessions", r, "periods"), session.periods, "must not stand beside start or stop")


def _cap_problems(s: ScenarioFields, r: int, rate_range: tuple[float, float]) -> Iterator[Violation]:
    """Caps out of order or below the range of rates, or below the demand that holds then."""
    low, high = rate_range
    session = s.sessions[r]
    times = [time for time, _ in session.rate_cap]
    if any(after <= before for before, after in itertools.pairwise(times)):
        yield Violation(("sessions", r, "rate_cap"), session.rate_cap, "must be [time, rate] each, in order of time")
    wishes = [(0.0, ("sessions", r), {"min_rate": session.min_rate})]
    wishes += [(time, ("sessions", r), {"rate_cap": cap}) for time, cap in session.rate_cap]
    events = [(i, event) for i, event in enumerate(s.events) if isinstance(event, SessionEvent) and event.session == r]
    wishes += [(event.time, ("events", i), event.values) for i, event in events]
    cap, min_rate = math.inf, 0.0
    for time, place, values in sorted(wishes, key=lambda wish: wish[0]):
        cap, min_rate = values.get("rate_cap", cap), values.get("min_rate", min_rate)
        if cap < low * (1.0 + 1e-9):
            yield Violation((*place, "rate_cap"), cap, f"must be above {low}, the lowest rate of sessions[{r}]")
        elif min_rate > min(cap, high):
            field = "rate_cap" if "rate_cap" in values else "min_rate"
            valid = f"sessions[{r}] wants {min_rate} pairs/s from {time:g} s on, and may inject {min(cap, high)}/s then"
            yield Violation((*place, field), values[field], valid)


def event_problems(scenario: ScenarioFields) -> Iterator[Violation]:
    """Events that befall nothing, or do nothing."""
    for i, event in enumerate(scenario.events):
        if isinstance(event, NodeEvent):
            if event.node not in scenario.node_index:
                yield Violation(("events", i, "node"), event.node, unknown_node(event.node, scenario.node_index))
            continue
        if isinstance(event, SessionEvent):
            if event.session >= len(scenario.sessions):
                valid = f"must be the place of a session, 0 to {len(scenario.sessions) - 1}"
                yield Violation(("events", i, "session"), event.session, valid)
            if not event.values:
                valid = "must say weight, min_fidelity, min_rate or rate_cap"
                yield Violation(("events", i), event.model_dump(exclude_none=True), valid)
            continue
        if event.link not in scenario.link_index:
            joined = [[link.a, link.b] for link in scenario.links[:20]]
            yield Violation(("events", i, "link"), list(event.link), f"unknown link; valid links: {joined}")
        if event.extra_loss_db is None and event.up is None:
            yield Violation(("events", i), event.model_dump(exclude_none=True), "must say extra_loss_db or up")

# pyright: basic
"""The event loop, and what Python calls: networks first to last - 1 of a table [n, columns] of addresses."""

from __future__ import annotations

import math
import os

from qnum_gym import caching
from qnum_gym.simulator import formulas, pointers, state
from qnum_gym.simulator.kernel.changes import on_change
from qnum_gym.simulator.kernel.clock import WHOLE, horizon, ticks
from qnum_gym.simulator.kernel.datagrams import record, take_header
from qnum_gym.simulator.kernel.fluid import flow_on
from qnum_gym.simulator.kernel.links import attempt_hazard, measure_link, set_link
from qnum_gym.simulator.kernel.sources import (
    draw_injection,
    measure_age,
    on_feedback,
    on_injection,
    on_timeout,
    plan_injection,
    set_source,
)
from qnum_gym.simulator.kernel.swapping import on_header, on_injected, on_pair
from qnum_gym.simulator.kernel.tree import reschedule_change, reschedule_link, reschedule_session
from qnum_gym.simulator.kernel.view import inner, view
from qnum_gym.simulator.state import CHANGE, CLOCK_END, FEEDBACK, FLUID, FREE, HEADER, INJECTION, PAIR, REASONS

DONE, POOL_EMPTY, LOG_FULL, CLOCK_FULL, RECORDS_FULL = range(5)  # why `advance` came back

entry = caching.entry(formulas, state, pointers, file=os.path.dirname(__file__))  # called from Python


@inner
def begin_measurement(s):
    """Forget what was measured: a new interval begins."""
    s.clock[0].events = 0
    for l in range(s.n_links):
        link = s.links[l]
        link.arrivals = link.generated = link.dropped = link.departures = 0
        link.busy = 0
        link.area = link.sojourn = 0.0
    for r in range(s.n_sessions):
        session = s.sessions[r]
        session.injected = session.delivered = session.nacked = session.timeouts = session.arrived = 0
        session.answer_hops = 0
        session.age = 0.0
        session.latency = session.round_trip = 0.0
        session.werner = session.worth = session.log_werner = session.decay = 0.0
        session.price = session.nack_price = session.thinned_price = session.nack_thinned_price = 0.0
        for reason in range(len(REASONS)):
            s.drops[r * len(REASONS) + reason] = 0
    for h in range(s.n_hops):
        s.hops[h].arrivals = 0


@inner
def run(s, until):
    """Handle all events before `until` (ns). Comes back early, between events, if pool, log or records need room.

    Until the next injection no more q-datagrams can come to be over than there are now.
    """
    clock = s.clock[0]
    n_links, swapping = s.n_links, clock.swapping
    events = 0
    while True:
        key = s.tree[1].key
        t, kind = key >> 3, key & 7
        if t >= until:
            break
        if kind == INJECTION:
            needed = clock.in_use + clock.records
            if s.n_datagrams < needed:
                clock.events += events
                return POOL_EMPTY
            if s.n_records > 0 and s.n_records - clock.recorded < needed:
                clock.events += events
                return RECORDS_FULL
        if s.n_log > 0 and clock.logged == s.n_log:
            clock.events += events
            return LOG_FULL
        leaf = s.tree[1].leaf
        events += 1
        entity = leaf
        if kind == PAIR:
            g = on_pair(swapping, s, leaf, t)
        elif kind == HEADER:
            entity = 2 * leaf if s.channels[2 * leaf].next == t else 2 * leaf + 1
            g = take_header(s, entity)
            on_header(swapping, s, g, t)
        elif kind == CHANGE:
            entity = 0
            g = on_change(s, t)
        else:
            entity = leaf - n_links
            if kind == INJECTION:
                g = on_injection(s, entity, t)
                on_injected(swapping, s, g, t)
            elif kind == FEEDBACK:
                g = on_feedback(s, entity, t)
            else:
                g = on_timeout(s, entity, t)
        if s.n_log > 0:
            n, sequence = 4 * clock.logged, g if kind == CHANGE else s.datagrams[g].sequence
            s.log[n], s.log[n + 1], s.log[n + 2], s.log[n + 3] = t, kind, entity, sequence
            clock.logged += 1
    for r in range(s.n_sessions):
        measure_age(s.sessions[r], clock.now, until)
    clock.now = until
    clock.events += events
    for l in range(n_links):
        measure_link(s.links[l], until)
    return DONE


@entry
def start(table, first, last):
    """First draws and first plans at time 0."""
    for i in range(first, last):
        s = view(table, i)
        for l in range(s.n_links):
            link = s.links[l]
            link.hazard = attempt_hazard(s.formulas, link)
            link.log_werner = math.log(link.werner)
            reschedule_link(s, l)
        for r in range(s.n_sessions):
            draw_injection(s, r)
            plan_injection(s, r, 0)
            reschedule_session(s, r)
        reschedule_change(s)


@entry
def set_rates(table, first, last, rates):
    """Put rates [n, R] in force now; those that stay the same disturb nothing."""
    for i in range(first, last):
        s = view(table, i)
        for r in range(s.n_sessions):
            if rates[i, r] != s.sessions[r].asked:
                set_source(s, r, rates[i, r], s.sessions[r].active, s.clock[0].now)


@entry
def set_werner(table, first, last, werner):
    """Put Werner parameters [n, L] in force now; those that stay the same disturb nothing."""
    for i in range(first, last):
        s = view(table, i)
        for l in range(s.n_links):
            if werner[i, l] != s.links[l].werner:
                set_link(s, l, s.links[l].capacity, werner[i, l], s.clock[0].now)


@entry
def set_session_signals(table, first, last, signals):
    """Have sources stamp other signals [n, R] into headers from now on."""
    for i in range(first, last):
        s = view(table, i)
        s.clock[0].sources_stamp = 1
        for r in range(s.n_sessions):
            s.sessions[r].signal = signals[i, r]


@entry
def set_link_signals(table, first, last, signals):
    """Have links add other signals [n, L] to passing headers from now on."""
    for i in range(first, last):
        s = view(table, i)
        s.clock[0].links_stamp = 1
        for l in range(s.n_links):
            s.links[l].signal = signals[i, l]


@entry
def advance(table, first, last, seconds, fresh, status):
    """Run networks on for seconds[i], measuring anew if `fresh`, else to where they stopped for want of room.

    status[i] says whether they have come there (DONE), need room to go on, or would pass the end of the clock
    (CLOCK_FULL: nothing was done). Fractions of a nanosecond are added up too, so that ten advances of 0.1 s, or three
    of 1/3 s, end where one of 1 s does.
    """
    for i in range(first, last):
        if status[i] != DONE or fresh:
            s = view(table, i)
            clock = s.clock[0]
            if fresh:
                whole, rest = ticks(seconds[i])
                if whole > CLOCK_END - clock.horizon:
                    status[i] = CLOCK_FULL
                    continue
                rest += clock.rest
                clock.horizon, clock.rest = clock.horizon + whole + (rest >> 62), rest & (WHOLE - 1)
                clock.seconds = seconds[i]
                begin_measurement(s)
            if clock.simulator == FLUID:
                flow_on(s, horizon(clock))
                status[i] = DONE
            else:
                status[i] = run(s, horizon(clock))


@entry
def record_unfinished(table, first, last):
    """Put the q-datagrams that are not over on record too, as they are now. There is room: see `run`."""
    for i in range(first, last):
        s = view(table, i)
        for g in range(s.n_datagrams):
            if s.datagrams[g].place != FREE and s.datagrams[g].lead == g:
                record(s, g)

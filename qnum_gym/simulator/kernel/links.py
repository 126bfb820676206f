# pyright: basic
"""Links: attempts, queues, memories, and what a link remembers of the headers that pass."""

from __future__ import annotations

import math

import numpy as np

from qnum_gym.simulator import formulas
from qnum_gym.simulator.kernel.datagrams import drop, vacate
from qnum_gym.simulator.kernel.lists import linked_list
from qnum_gym.simulator.kernel.random import exponential
from qnum_gym.simulator.kernel.rules import choose, choose_victim
from qnum_gym.simulator.kernel.tree import reschedule_link
from qnum_gym.simulator.kernel.view import inner, merged
from qnum_gym.simulator.state import CUTOFF, GAP_GAIN, HELD, NEVER, NONE, OVERFLOW

enqueue, dequeue = linked_list("head", "tail", "prev", "next", "joined")


@inner
def attempt_hazard(table, link):
    """-log(1 - p_m), p_m the success probability of one attempt in m modes (model.md §2); infinite for p = 1."""
    return -link.modes * math.log1p(-min(formulas.chance(link) * formulas.brightness(table, link), 1.0))


@inner
def success_time(base, remaining, hazard, cycle):
    """When the attempts that begin at `base` have used up what remains of the exponential (model.md §4)."""
    if hazard <= 0.0:
        return NEVER
    attempts = max(np.ceil(remaining / hazard), 1.0)
    if attempts * cycle >= float(NEVER >> 1):
        return NEVER
    return base + np.int64(attempts) * cycle


@inner
def measure_link(link, t):
    """Bring the time integrals of a link up to t; call before its number changes."""
    elapsed = t - link.changed
    link.area += np.float64(link.number) * np.float64(elapsed)  # floats: as integers, their sum may overflow
    if link.number > 0:
        link.busy += elapsed
    link.changed = t


@inner
def set_link(s, l, capacity, werner, t):
    """Change d_l or w_l now: attempts already begun keep what they began with, later ones go on with the same draw."""
    link = s.links[l]
    before, link.capacity, link.werner = link.hazard, capacity, werner
    hazard, log_werner = attempt_hazard(s.formulas, link), math.log(werner)
    if link.serving != NONE:
        begun = max((t - link.base + link.cycle - 1) // link.cycle, 0)
        end = link.base + begun * link.cycle
        if begun == 0 or link.done != end:  # else the attempt under way is the one that succeeds
            if begun > 0:
                link.remaining -= begun * before
                link.base = end
            link.serving_log_werner = log_werner
            link.done = success_time(link.base, link.remaining, hazard, link.cycle)
    link.hazard, link.log_werner = hazard, log_werner
    reschedule_link(s, l)


@merged
def depart(s, l, g, t):
    """Account for g leaving the queue or the server of link l."""
    link = s.links[l]
    measure_link(link, t)
    link.number -= 1
    link.departures += 1
    link.sojourn += t - s.datagrams[g].joined


@merged
def leave(s, l, g, t):
    """Account for g leaving link l, served or dropped, and its memory."""
    depart(s, l, g, t)
    vacate(s, g)


@merged
def next_in_line(s, l):
    """Whom the discipline serves next; it is asked where two or more wait. NONE if there is nobody."""
    link = s.links[l]
    if link.head == link.tail:
        return link.head
    return choose(s, link.discipline, l)


@merged
def serve(s, l, t):
    """Begin the next service on an idle link, dropping those past their cut-off."""
    link = s.links[l]
    link.serving, link.done = NONE, NEVER
    while True:
        g = next_in_line(s, l)
        if g == NONE:
            return
        datagram = s.datagrams[g]
        dequeue(s, link, g)
        if datagram.place == HELD and t - datagram.first >= s.sessions[datagram.session].cutoff:
            leave(s, l, g, t)
            link.dropped += 1
            drop(s, g, CUTOFF, t)
            continue
        link.serving, link.last_session = g, datagram.session
        link.remaining = exponential(link.key, link.draws)
        link.draws += np.uint64(1)
        link.base, link.serving_log_werner = t, link.log_werner
        link.done = success_time(t, link.remaining, link.hazard, link.cycle)
        return


@merged
def join(s, g, t):
    """g joins the queue of its next link; the caller has checked that there is room. The caller touches the link."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    l = np.int64(hop.link)
    link = s.links[l]
    measure_link(link, t)
    link.number += 1
    datagram.joined = t
    if hop.index > 0:
        s.channels[2 * l + hop.direction].transit += 1
    enqueue(s, link, g)
    if link.serving == NONE:
        serve(s, l, t)


@inner
def note_header(s, h, g, t):
    """The link of hop h remembers the header that passes (model.md §4, table)."""
    hop, datagram = s.hops[h], s.datagrams[g]
    hop.seen, hop.rate = t, datagram.rate
    hop.header_signal, hop.source_decay = datagram.header_signal, datagram.source_decay
    hop.headers += 1
    gap = float(max(datagram.sequence - hop.sequence, 0))
    hop.gap += max(GAP_GAIN, 1.0 / hop.headers) * (gap - hop.gap)
    hop.sequence = max(hop.sequence, datagram.sequence)


@merged
def add_signal(s, g):
    """The link of g's hop adds its signal to the header: plainly, and times the share of q-datagrams that come here."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    signal = s.links[hop.link].signal
    datagram.price += signal
    datagram.thinned_price += signal / max(hop.gap, 1.0)


@merged
def enter(s, g, t):
    """g's header has come to the node before its hop: g joins the queue, if there is room in the memory or is made."""
    h = s.datagrams[g].hop
    m = np.int64(s.hops[h].link)
    link = s.links[m]
    note_header(s, h, g, t)
    s.hops[h].arrivals += 1
    link.arrivals += 1
    side = s.channels[2 * m + s.hops[h].direction]
    if side.transit >= side.memory:
        victim = choose_victim(s, link.drop_policy, m, h)
        link.dropped += 1
        if victim == NONE:
            drop(s, g, OVERFLOW, t)
            return False
        dequeue(s, link, victim)
        leave(s, m, victim, t)
        drop(s, victim, OVERFLOW, t)
    join(s, g, t)
    reschedule_link(s, m)
    return True

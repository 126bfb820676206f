# pyright: basic
"""Parallel swapping: a q-datagram is one record, a part, per link of its route [ours; model.md §4.9]."""

from __future__ import annotations

import numpy as np

from qnum_gym.simulator.kernel.datagrams import (
    age,
    arrive,
    book_loss,
    drop,
    end_decay,
    message_lost,
    release_reference,
    send_header,
    vacate,
)
from qnum_gym.simulator.kernel.links import add_signal, depart, enter, note_header, serve
from qnum_gym.simulator.kernel.random import uniform
from qnum_gym.simulator.kernel.sources import start_timer
from qnum_gym.simulator.kernel.tree import reschedule_link
from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import (
    AT_SOURCE,
    FREE,
    HEADER_LOST,
    HELD,
    JOINED,
    MADE,
    NEVER,
    NONE,
    OPEN,
    SWAP_FAILED,
    VOID,
)


@inner
def on_injected(s, lead, t):
    """Make the other parts of a q-datagram just injected, and send its request along the route."""
    clock, whole = s.clock[0], s.datagrams[lead]
    session = s.sessions[whole.session]
    whole.rate, whole.header_signal = session.rate, session.signal
    whole.source_decay = end_decay(s, session, session.source)
    whole.pending, whole.fate, whole.told, whole.behind = session.hops, OPEN, 1, NONE
    whole.price = whole.thinned_price = 0.0
    behind = lead
    for hop in range(session.first_hop + 1, session.first_hop + session.hops):
        g = clock.free
        datagram = s.datagrams[g]
        clock.free = datagram.next
        clock.in_use += 1
        datagram.sequence, datagram.session, datagram.hop, datagram.lead = whole.sequence, whole.session, hop, lead
        datagram.place, datagram.outstanding, datagram.settled, datagram.delivered = (
            AT_SOURCE,
            0,
            1,
            0,
        )  # the lead speaks for all
        datagram.fate, datagram.told, datagram.first, datagram.deadline = OPEN, 0, NEVER, NEVER
        datagram.rate, datagram.header_signal, datagram.source_decay = (
            whole.rate,
            whole.header_signal,
            whole.source_decay,
        )
        s.datagrams[behind].ahead, datagram.behind = g, behind
        behind = g
    s.datagrams[behind].ahead = NONE
    note_header(s, whole.hop, lead, t)
    request_next(s, lead, t)


@inner
def request_next(s, g, t):
    """The request has joined the queue of part g's link, adds its signal, and goes on at once to the next node."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    l = np.int64(hop.link)
    add_signal(s, g)
    if datagram.ahead == NONE:
        return
    s.datagrams[datagram.ahead].price, s.datagrams[datagram.ahead].thinned_price = (
        datagram.price,
        datagram.thinned_price,
    )
    if message_lost(s, datagram.session, 1):
        book_loss(s, g, HEADER_LOST)
        forget(s, datagram.ahead)
    else:
        send_header(s, 2 * l + hop.direction, datagram.ahead, t + s.links[l].latency)
        reschedule_link(s, l)


@inner
def forget(s, g):
    """Part g and those ahead of it are never asked for."""
    while g != NONE:
        datagram = s.datagrams[g]
        datagram.fate = VOID
        release_reference(s, g)
        g = datagram.ahead


@inner
def storage_rate(s, g):
    """γ of the nodes that hold a half of part g, together: a half is stored until the pair beside it is there."""
    datagram = s.datagrams[g]
    hop, session = s.hops[datagram.hop], s.sessions[datagram.session]
    rate = 0.0
    if datagram.behind == NONE:
        rate += end_decay(s, session, hop.node)
    elif s.datagrams[datagram.behind].fate < MADE:
        rate += s.nodes[hop.node].decay_rate
    if datagram.ahead == NONE:
        rate += end_decay(s, session, hop.next_node)
    elif s.datagrams[datagram.ahead].fate < MADE:
        rate += s.nodes[hop.next_node].decay_rate
    return rate


@inner
def wait_for(s, g, t):
    """A pair beside part g is there; what waits is as old as the first half that does."""
    datagram = s.datagrams[g]
    if datagram.place != HELD:
        datagram.place, datagram.first = HELD, t


@inner
def swap(s, g, older, t):
    """The pairs of part g and of the one behind are there: the node between swaps; `older` of the two has waited."""
    datagram, waited = s.datagrams[g], s.datagrams[older]
    hop, session = s.hops[datagram.hop], s.sessions[datagram.session]
    age(waited, t)
    waited.decay_rate = storage_rate(s, older)
    vacate(s, g)
    swapped = True
    if hop.swap_success < 1.0:
        swapped = uniform(session.swap_key, session.swap_draws) <= hop.swap_success
        session.swap_draws += np.uint64(1)
    if swapped:
        datagram.fate = JOINED
        datagram.log_werner += hop.log_gate
    else:
        s.datagrams[datagram.lead].pending += 1
        drop(s, g, SWAP_FAILED, t)


@inner
def on_pair(s, l, t):
    """Link l heralds the pair of a part: the nodes at its ends swap it, discard their half of it, or store it."""
    link = s.links[l]
    g = link.serving
    datagram = s.datagrams[g]
    link.generated += 1
    depart(s, l, g, t)
    datagram.first, datagram.stored, datagram.log_werner, datagram.decay = t, t, link.serving_log_werner, 0.0
    datagram.decay_rate = storage_rate(s, g)
    datagram.fate = MADE
    behind, ahead = datagram.behind, datagram.ahead
    if behind == NONE:
        datagram.fate = JOINED
        if s.clock[0].message_loss > 0.0 and datagram.outstanding:
            start_timer(s, g, t)
    elif s.datagrams[behind].fate >= MADE:
        swap(s, g, behind, t)
    elif s.datagrams[behind].fate == VOID:
        vacate(s, g)
    else:
        wait_for(s, behind, t)
    if ahead != NONE:
        if s.datagrams[ahead].fate >= MADE:
            swap(s, ahead, ahead, t)
        elif s.datagrams[ahead].fate == OPEN:
            wait_for(s, ahead, t)
    if datagram.told and datagram.fate == JOINED:
        tell_next(s, g, t)
    release_reference(s, g)  # the pair no longer is to come
    serve(s, l, t)
    reschedule_link(s, l)
    return g


@inner
def tell_next(s, g, t):
    """The outcome up to part g goes on over its link, with what has been added up."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    l = np.int64(hop.link)
    if message_lost(s, datagram.session, 1):
        book_loss(s, g, HEADER_LOST)
    else:
        s.datagrams[datagram.lead].pending += 1
        send_header(s, 2 * l + hop.direction, g, t + s.links[l].latency)
        reschedule_link(s, l)


@inner
def on_header(s, g, t):
    """The request for part g comes to the node where it begins, or the outcome up to it to the node where it ends."""
    datagram = s.datagrams[g]
    if datagram.fate == OPEN:
        if enter(s, g, t):
            request_next(s, g, t)
        else:
            forget(s, datagram.ahead)
    elif datagram.ahead == NONE:
        complete(s, g, t)
    else:
        s.datagrams[datagram.ahead].told = 1
        if s.datagrams[datagram.ahead].fate == JOINED:
            tell_next(s, datagram.ahead, t)
        release_reference(s, g)


@inner
def complete(s, last, t):
    """The destination knows all outcomes: the pair is there, and the ACK goes back."""
    whole = s.datagrams[s.datagrams[last].lead]
    age(whole, t)
    log_werner, decay, g = whole.log_werner, whole.decay, whole.ahead
    while g != NONE:
        datagram = s.datagrams[g]
        age(datagram, t)
        log_werner += datagram.log_werner
        decay += datagram.decay
        g = datagram.ahead
    whole.log_werner, whole.decay = log_werner, decay
    whole.price, whole.thinned_price = s.datagrams[last].price, s.datagrams[last].thinned_price
    arrive(s, whole.lead, s.datagrams[last].hop, t)


@inner
def on_decay_change(s, node, t):
    """Stored halves have decayed up to t at the old rates and go on at those now in force."""
    for g in range(s.n_datagrams):
        datagram = s.datagrams[g]
        if datagram.place != FREE and datagram.fate >= MADE and not datagram.delivered:
            age(datagram, t)
            datagram.decay_rate = storage_rate(s, g)

# pyright: basic
"""Sequential swapping: the pair of a route grows link by link, and its header goes along."""

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
)
from qnum_gym.simulator.kernel.links import add_signal, enter, leave, note_header, serve
from qnum_gym.simulator.kernel.random import uniform
from qnum_gym.simulator.kernel.sources import start_timer
from qnum_gym.simulator.kernel.tree import reschedule_link
from qnum_gym.simulator.kernel.view import inner, merged
from qnum_gym.simulator.pointers import prefetch
from qnum_gym.simulator.state import CROSSING, HEADER_LOST, HELD, NONE, SWAP_FAILED


@merged
def on_injected(s, g, t):
    """Nothing more: the header waits for its first pair."""


@merged
def on_pair(s, l, t):
    """Link l heralds a pair for the q-datagram in service: the first pair of its route, or one to swap with."""
    link = s.links[l]
    g = link.serving
    datagram = s.datagrams[g]
    r, h = datagram.session, datagram.hop
    hop, session = s.hops[h], s.sessions[r]
    if link.head != NONE:
        prefetch(s.datagrams, link.head)  # served next
    link.generated += 1
    leave(s, l, g, t)
    swapped = True
    if hop.index == 0:
        datagram.first, datagram.log_werner, datagram.decay = t, link.serving_log_werner, 0.0
        datagram.price = datagram.thinned_price = 0.0
        datagram.rate, datagram.header_signal = session.rate, session.signal
        datagram.source_decay = end_decay(s, session, session.source)
        note_header(s, h, g, t)
        if s.clock[0].message_loss > 0.0:
            start_timer(s, g, t)
    else:
        age(datagram, t)
        datagram.log_werner += link.serving_log_werner + hop.log_gate
        if hop.swap_success < 1.0:
            swapped = uniform(session.swap_key, session.swap_draws) <= hop.swap_success
            session.swap_draws += np.uint64(1)
    add_signal(s, g)
    if not swapped:
        drop(s, g, SWAP_FAILED, t)
    else:
        datagram.place, datagram.stored, datagram.decay_rate = CROSSING, t, hop.decay_rate
        if message_lost(s, r, 1):
            book_loss(s, g, HEADER_LOST)
            release_reference(s, g)
        else:
            send_header(s, 2 * l + hop.direction, g, t + link.latency)
            if hop.next_link != NONE:  # where the header arrives a few events later; matters on large networks
                prefetch(s.links, hop.next_link)
                prefetch(s.hops, h + 1)
    serve(s, l, t)
    reschedule_link(s, l)
    return g


@merged
def on_header(s, g, t):
    """The header of g comes to the node after its hop: the destination, or a node on the way."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    if hop.index + 1 == hop.hops:
        arrive(s, g, datagram.hop, t)
    else:
        datagram.hop += 1
        datagram.place = HELD
        enter(s, g, t)


@inner
def on_decay_change(s, node, t):
    """What is stored has decayed up to t at the old rates and goes on at those now in force."""
    for g in range(s.n_datagrams):
        datagram = s.datagrams[g]
        if datagram.place == CROSSING or datagram.place == HELD:
            age(datagram, t)
            crossed = datagram.hop if datagram.place == CROSSING else datagram.hop - 1
            datagram.decay_rate = s.hops[crossed].decay_rate

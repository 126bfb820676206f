# pyright: basic
"""What befalls a network: a link's capacity, a memory's decay rate, a session that comes, goes or wants otherwise."""

from __future__ import annotations

import numpy as np

from qnum_gym.simulator.kernel.datagrams import age, end_decay, wait_for_ack
from qnum_gym.simulator.kernel.links import set_link
from qnum_gym.simulator.kernel.sources import set_source
from qnum_gym.simulator.kernel.swapping import on_decay_change
from qnum_gym.simulator.kernel.tree import reschedule_change
from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import (
    ACTIVE,
    CAPACITY,
    DECAY_RATE,
    LOG_WERNER_FLOOR,
    MIN_RATE,
    RATE_CAP,
    RETURNING,
    WEIGHT,
)


@inner
def set_decay_rate(s, node, decay_rate, t):
    """Change γ of a node now, for what is stored there too."""
    s.nodes[node].decay_rate = decay_rate
    for h in range(s.n_hops):
        hop = s.hops[h]
        session = s.sessions[hop.session]
        last = hop.index + 1 == hop.hops
        ahead = end_decay(s, session, hop.next_node) if last else s.nodes[hop.next_node].decay_rate
        hop.decay_rate = end_decay(s, session, session.source) + ahead
    on_decay_change(s.clock[0].swapping, s, node, t)
    for g in range(s.n_datagrams):
        datagram = s.datagrams[g]
        if datagram.place == RETURNING and datagram.delivered:
            age(datagram, t)
            wait_for_ack(s, g)


@inner
def on_change(s, t):
    """The next change of the scenario."""
    position = s.clock[0].next_change
    change = s.schedule[position]
    i = change.index
    if change.kind == CAPACITY:
        set_link(s, i, change.value, s.links[i].werner, t)
    elif change.kind == DECAY_RATE:
        set_decay_rate(s, i, change.value, t)
    elif change.kind == ACTIVE:
        set_source(s, i, s.sessions[i].asked, np.int64(change.value), t)
    elif change.kind == WEIGHT:
        s.sessions[i].weight = change.value
    elif change.kind == LOG_WERNER_FLOOR:
        s.sessions[i].log_werner_floor = change.value
    elif change.kind == MIN_RATE:
        s.sessions[i].min_rate = change.value
    elif change.kind == RATE_CAP:
        s.sessions[i].rate_cap = change.value
        set_source(s, i, s.sessions[i].asked, s.sessions[i].active, t)
    s.clock[0].next_change = position + 1
    reschedule_change(s)
    return position

# pyright: basic
"""q-datagrams: their records, the headers and answers on their way, and how they get lost."""

from __future__ import annotations

import math

import numpy as np

from qnum_gym.simulator.kernel.lists import linked_list
from qnum_gym.simulator.kernel.random import uniform
from qnum_gym.simulator.kernel.tree import reschedule_link, reschedule_session
from qnum_gym.simulator.kernel.view import inner, merged
from qnum_gym.simulator.state import (
    ACK_LOST,
    DELIVERED,
    DROPPED,
    FREE,
    IN_FLIGHT,
    LOST,
    MADE,
    NEVER,
    NONE,
    OPEN,
    REASONS,
    RETURNING,
    SECOND,
    VOID,
)

insert_answer, remove_answer = linked_list("feedback_head", "feedback_tail", "prev", "next", "due")


@inner
def record(s, g):
    """Put on record what has become of the q-datagram g; `run` sees to it that there is room."""
    clock, datagram = s.clock[0], s.datagrams[g]
    row = s.records[clock.recorded]
    clock.recorded += 1
    fate = datagram.settled
    row.session, row.sequence, row.fate = datagram.session, datagram.sequence, fate
    row.hop = datagram.lost_at if fate >= DROPPED else NONE
    row.injected = datagram.injected
    row.first = NEVER if datagram.fate == OPEN or datagram.fate == VOID else datagram.first
    row.completed = datagram.completed if datagram.delivered else NEVER
    row.acked = datagram.due if fate == DELIVERED else NEVER
    row.werner = math.exp(datagram.log_werner - datagram.decay) if fate == DELIVERED else np.nan


@inner
def release(s, g):
    """Give a record back once neither the network nor the source's timer needs it."""
    datagram = s.datagrams[g]
    if datagram.outstanding == 0 and datagram.place == LOST:
        if s.n_records > 0:
            record(s, g)
        while g != NONE:  # with parallel swapping, all parts
            datagram = s.datagrams[g]
            datagram.place = FREE
            datagram.next = s.clock[0].free
            s.clock[0].free = g
            s.clock[0].in_use -= 1
            g = datagram.ahead


@inner
def book_loss(s, g, reason):
    """Book why the q-datagram of g is not going to be a delivered pair, once."""
    datagram = s.datagrams[s.datagrams[g].lead]
    if datagram.settled == IN_FLIGHT:
        datagram.settled = DROPPED + reason
        datagram.lost_at = s.hops[s.datagrams[g].hop].index
        s.drops[datagram.session * len(REASONS) + reason] += 1


@inner
def release_reference(s, g):
    """g is gone without a trace; once nothing of it is under way, only the source's timer may still wait for it."""
    lead = s.datagrams[g].lead
    datagram = s.datagrams[lead]
    datagram.pending -= 1
    if datagram.pending == 0:
        datagram.place = LOST
        release(s, lead)


@inner
def message_lost(s, r, hops):
    """Whether a message of session r is lost on one of `hops` hops."""
    loss = s.clock[0].message_loss
    if loss <= 0.0 or hops == 0:
        return False
    session = s.sessions[r]
    u = uniform(session.loss_key, session.loss_draws)
    session.loss_draws += np.uint64(1)
    return u > (1.0 - loss) ** hops


@merged
def vacate(s, g):
    """g's place in the memory at the node before its hop is free; at its source it has none."""
    hop = s.hops[s.datagrams[g].hop]
    if hop.index > 0:
        s.channels[2 * hop.link + hop.direction].transit -= 1


@inner
def give_up(s, g):
    """No pair of part g will come (parallel swapping): the half that waits for it at the node ahead is discarded."""
    datagram = s.datagrams[g]
    datagram.fate = VOID
    if datagram.ahead != NONE and s.datagrams[datagram.ahead].fate >= MADE:
        vacate(s, datagram.ahead)


@inner
def drop(s, g, reason, t):
    """A node drops g and sends a NACK back from where g is. The caller touches no session."""
    book_loss(s, g, reason)
    datagram = s.datagrams[g]
    if datagram.fate == OPEN:
        give_up(s, g)
    hop = s.hops[datagram.hop]
    send_back(s, g, hop.back, hop.index, ACK_LOST, t)


@inner
def send_back(s, g, latency, hops, reason, t):
    """Send an ACK or NACK to the source; `reason` is booked should it get lost and nothing be booked yet."""
    datagram = s.datagrams[g]
    r = datagram.session
    if message_lost(s, r, hops):
        book_loss(s, g, reason)
        release_reference(s, g)
        return
    datagram.place = RETURNING
    datagram.due = t + latency + s.clock[0].feedback_delay
    session = s.sessions[r]
    insert_answer(s, session, g)  # a NACK from near may overtake
    session.next_feedback = s.datagrams[session.feedback_head].due
    reschedule_session(s, r)


@merged
def end_decay(s, session, node):
    """γ of an end node of the session; 0 if it stores no half of its pairs (model.md §4.4)."""
    return session.stored_at_ends * s.nodes[node].decay_rate


@merged
def age(datagram, t):
    """Let what is stored of a pair decohere up to t."""
    datagram.decay += datagram.decay_rate * ((t - datagram.stored) / SECOND)
    datagram.stored = t


@merged
def wait_for_ack(s, g):
    """From now on the halves of a complete pair decohere at the ends until the ACK has come to the source, or not."""
    datagram = s.datagrams[g]
    session = s.sessions[datagram.session]
    datagram.decay_rate = session.until_ack * s.hops[session.first_hop + session.hops - 1].decay_rate


@merged
def arrive(s, g, h, t):
    """By a header over h, the last hop, the destination knows that the pair of g is complete: the ACK goes back."""
    datagram, hop = s.datagrams[g], s.hops[h]
    age(datagram, t)
    wait_for_ack(s, g)
    datagram.completed, datagram.delivered = t, 1
    s.sessions[datagram.session].arrived += 1
    send_back(s, g, hop.back + s.links[hop.link].latency, hop.hops, ACK_LOST, t)


@merged
def send_header(s, c, g, due):
    """Headers over one link arrive in the order in which they left. The caller touches the link."""
    channel, datagram = s.channels[c], s.datagrams[g]
    datagram.due, datagram.next = due, NONE
    if channel.head == NONE:
        channel.head, channel.next = g, due
    else:
        s.datagrams[channel.tail].next = g
    channel.tail = g


@merged
def take_header(s, c):
    """The header that has come to the end of channel c."""
    channel = s.channels[c]
    g = np.int64(channel.head)
    datagram = s.datagrams[g]
    channel.head = datagram.next
    channel.next = NEVER if datagram.next == NONE else s.datagrams[datagram.next].due
    reschedule_link(s, c >> 1)
    return g

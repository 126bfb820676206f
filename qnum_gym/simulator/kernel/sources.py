# pyright: basic
"""Sources: injection, window, ACKs and NACKs, time-outs."""

from __future__ import annotations

import math

import numpy as np

from qnum_gym.simulator import formulas
from qnum_gym.simulator.kernel.datagrams import age, book_loss, release, release_reference, remove_answer
from qnum_gym.simulator.kernel.links import join
from qnum_gym.simulator.kernel.lists import linked_list
from qnum_gym.simulator.kernel.random import uniform
from qnum_gym.simulator.kernel.tree import reschedule_link, reschedule_session
from qnum_gym.simulator.kernel.view import inner, merged
from qnum_gym.simulator.state import AT_SOURCE, DELIVERED, IN_FLIGHT, INITIAL_TIMEOUT, NEVER, NONE, SECOND, TIMED_OUT

insert_timer, remove_timer = linked_list("timer_head", "timer_tail", "timer_prev", "timer_next", "deadline")


@merged
def plan_injection(s, r, t):
    """Set the time of the next injection from what remains of its draw; `base` becomes t. The caller touches."""
    session = s.sessions[r]
    session.base, session.next_injection = t, NEVER
    if session.active and not session.paused and session.rate > 0.0:
        wait = np.ceil(max(session.remaining, 0.0) / session.rate * SECOND)
        if wait < float(NEVER >> 1):
            session.next_injection = t + np.int64(wait)


@inner
def draw_injection(s, r):
    """A new gap, in units of 1/R, by the session's pacing."""
    session = s.sessions[r]
    session.remaining = formulas.gap(s.formulas, session.pacing, uniform(session.key, session.draws))
    session.draws += np.uint64(1)


@inner
def spend_injection(s, r, t):
    """Account for the part of the gap that has passed; call before rate, activity or pause changes."""
    session = s.sessions[r]
    if session.active and not session.paused:
        session.remaining -= session.rate * ((t - session.base) / SECOND)


@inner
def measure_age(session, begin, t):
    """Add what the age of an active session comes to until t, since its last delivery or the interval's `begin`."""
    if session.active:
        since = max(session.fresh, begin)
        session.age += 0.5 * float(t - since) * (float(t - session.fresh) + float(since - session.fresh))


@inner
def set_source(s, r, rate, active, t):
    """Change R_r, as far as the cap allows, or the session's activity now; the draw of the gap under way stays."""
    session = s.sessions[r]
    spend_injection(s, r, t)
    if active != session.active:
        measure_age(session, s.clock[0].now, t)
        session.fresh = t
        if active:
            session.began, session.ended = t, NEVER
        else:
            session.ended = t
    session.asked, session.rate, session.active = rate, min(rate, session.rate_cap), active
    plan_injection(s, r, t)
    reschedule_session(s, r)


@merged
def is_full(session):
    """Whether the window is full, or as many q-datagrams are under way as the session still wants."""
    return session.unacked >= session.window or (
        session.pairs > 0 and session.unacked + session.served >= session.pairs
    )


@merged
def free_slot(s, g, t):
    """The source forgets g: its window slot and its half are free. The caller touches the session."""
    datagram = s.datagrams[g]
    r = datagram.session
    session = s.sessions[r]
    datagram.outstanding = 0
    session.unacked -= 1
    if datagram.deadline != NEVER:
        stop_timer(s, g)
    if session.paused and not is_full(session):
        session.paused = 0
        plan_injection(s, r, t)


@inner
def start_timer(s, g, t):
    """Wait for the ACK of g from its first pair on: mean + 4 deviations of the round trip, as TCP does."""
    datagram = s.datagrams[g]
    session = s.sessions[datagram.session]
    patience = INITIAL_TIMEOUT if session.rtt < 0.0 else session.rtt + 4.0 * session.rtt_deviation
    datagram.deadline = t + np.int64(np.ceil(patience))
    insert_timer(s, session, g)
    session.next_timeout = s.datagrams[session.timer_head].deadline
    reschedule_session(s, datagram.session)


@inner
def stop_timer(s, g):
    """Wait for the ACK of g no longer. The caller touches the session."""
    datagram = s.datagrams[g]
    session = s.sessions[datagram.session]
    remove_timer(s, session, g)
    datagram.deadline = NEVER
    session.next_timeout = NEVER if session.timer_head == NONE else s.datagrams[session.timer_head].deadline


@inner
def learn_round_trip(session, sample):
    """TCP's estimator with gains 1/8 and 1/4."""
    if session.rtt < 0.0:
        session.rtt, session.rtt_deviation = sample, 0.5 * sample
    else:
        session.rtt_deviation += 0.25 * (abs(sample - session.rtt) - session.rtt_deviation)
        session.rtt += 0.125 * (sample - session.rtt)


@merged
def on_injection(s, r, t):
    """The source sends a header on its way; it holds no qubit before the first pair."""
    clock, session = s.clock[0], s.sessions[r]
    g = clock.free
    datagram = s.datagrams[g]
    clock.free = datagram.next
    clock.in_use += 1
    datagram.sequence, datagram.session, datagram.hop = session.sequence, r, session.first_hop
    datagram.injected, datagram.first, datagram.deadline = t, NEVER, NEVER
    datagram.place, datagram.outstanding, datagram.settled, datagram.delivered = AT_SOURCE, 1, IN_FLIGHT, 0
    datagram.lead, datagram.pending = g, 1
    session.sequence += 1
    session.injected += 1
    session.unacked += 1
    session.paused = is_full(session)
    draw_injection(s, r)
    plan_injection(s, r, t)
    reschedule_session(s, r)
    hop = s.hops[datagram.hop]
    l = np.int64(hop.link)
    s.links[l].arrivals += 1
    hop.arrivals += 1
    join(s, g, t)
    reschedule_link(s, l)
    return g


@merged
def on_feedback(s, r, t):
    """An ACK or NACK reaches the source. A late one, after the time-out, still teaches the round trip."""
    session = s.sessions[r]
    answer = s.datagrams[session.feedback_head]
    remove_answer(s, session, session.feedback_head)
    session.next_feedback = NEVER if session.feedback_head == NONE else s.datagrams[session.feedback_head].due
    g = answer.lead
    datagram = s.datagrams[g]
    session.answer_hops += session.hops if datagram.delivered else answer.hop - session.first_hop
    if datagram.delivered:
        learn_round_trip(session, float(t - datagram.first))
    if datagram.outstanding:
        if datagram.delivered:
            datagram.settled = DELIVERED
            session.delivered += 1
            session.served += session.active
            measure_age(session, s.clock[0].now, t)
            session.fresh = t
            age(datagram, t)
            werner = math.exp(datagram.log_werner - datagram.decay)
            session.werner += werner
            session.worth += formulas.worth(s.formulas, session.measure, werner)
            session.latency += datagram.completed - datagram.injected
            session.round_trip += t - datagram.first
            session.log_werner += datagram.log_werner
            session.decay += datagram.decay
            session.price += datagram.price
            session.thinned_price += datagram.thinned_price
        else:
            session.nacked += 1
            session.nack_price += answer.price
            session.nack_thinned_price += answer.thinned_price
        free_slot(s, g, t)
        if session.active and session.pairs > 0 and session.served >= session.pairs:
            set_source(s, r, session.asked, 0, t)
    release_reference(s, g)
    reschedule_session(s, r)
    return g


@inner
def on_timeout(s, r, t):
    """No ACK in time: the source gives up its half, whatever the network may still do."""
    g = s.sessions[r].timer_head
    s.sessions[r].timeouts += 1
    book_loss(s, g, TIMED_OUT)
    free_slot(s, g, t)
    release(s, g)
    reschedule_session(s, r)
    return g

# pyright: basic
"""The event loop of the packet-level network (model.md §4), compiled by numba over the arrays of `state.py`.

Read from the bottom: `advance` takes the next event from a winner tree and calls one of six handlers; parallel swapping
has two of its own. `reference.py` and `reference_parallel.py` tell the same rules in plain Python; a test holds them
equal, event for event, on the same random draws.

[paper: the sequential q-datagram network of arXiv:2410.08980 and arXiv:2510.09371; what model.md marks † is ours]
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np
from numba import njit

from qnum_gym.simulator import caching, formulas, pointers, state
from qnum_gym.simulator.pointers import at_address, prefetch
from qnum_gym.simulator.state import (
    ACK_LOST,
    ACTIVE,
    AT_SOURCE,
    CAPACITY,
    CHANGE,
    CHANNEL,
    CLOCK,
    CLOCK_END,
    CROSSING,
    CUTOFF,
    DATAGRAM,
    DECAY_RATE,
    FAIR,
    FEEDBACK,
    FREE,
    GAME,
    GAP_GAIN,
    HEADER,
    HEADER_LOST,
    HELD,
    HOP,
    INITIAL_TIMEOUT,
    INJECTION,
    JOINED,
    LIFO,
    LINK,
    LOST,
    MADE,
    NEVER,
    NODE,
    NONE,
    OPEN,
    OVERFLOW,
    PAIR,
    REASONS,
    RETURNING,
    SCHEDULE,
    SECOND,
    SESSION,
    SWAP_FAILED,
    TIMED_OUT,
    TIMEOUT,
    VOID,
)

DONE, POOL_EMPTY, LOG_FULL, CLOCK_FULL = range(4)  # why `advance` came back

inner = njit(nogil=True, error_model="numpy")
merged = njit(nogil=True, error_model="numpy", inline="always")  # for what every q-datagram passes: one body, no calls
entry = caching.entry(formulas, state, pointers, file=__file__)  # called from Python


View = namedtuple(
    "View",
    "clock links channels sessions hops nodes datagrams schedule drops tree log "
    "n_links n_sessions n_hops n_datagrams n_schedule n_leaves n_log formulas",
)
_clock, _links, _channels, _sessions, _hops, _nodes, _datagrams, _schedule, _tree = (
    at_address(dtype) for dtype in (CLOCK, LINK, CHANNEL, SESSION, HOP, NODE, DATAGRAM, SCHEDULE, GAME)
)
_integers = at_address(np.dtype(np.int64))


@inner
def view(table, i):
    """The arrays of network i, from row i of a table made by `state.address_row`."""
    row = table[i]
    return View(
        _clock(row[0]),
        _links(row[1]),
        _channels(row[2]),
        _sessions(row[3]),
        _hops(row[4]),
        _nodes(row[5]),
        _datagrams(row[6]),
        _schedule(row[7]),
        _integers(row[8]),
        _tree(row[9]),
        _integers(row[10]),
        row[11],
        row[12],
        row[13],
        row[14],
        row[15],
        row[16],
        row[17],
        _integers(row[18]),
    )


# ---- random numbers: stream = key, n-th draw = SplitMix64 at key + n ------------------------------------------------


@inner
def uniform(key, n):
    """The n-th number of stream `key`, in (0, 1]."""
    z = key + (n + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (np.int64(z >> np.uint64(11)) + 1) * (1.0 / 9007199254740992.0)


@inner
def exponential(key, n):
    """The n-th number of stream `key` as a unit exponential."""
    return -math.log(uniform(key, n))


# ---- the clock: whole nanoseconds, and what is left of one in units of 2^-62 ns --------------------------------------

WHOLE = 1 << 62


@inner
def ticks(seconds):
    """Nanoseconds in `seconds`: whole ones, and the rest in units of 2^-62 ns.

    The product is exact: a factor with 24 or 29 digits, times 1e9, which has 21, has no more than a float can hold. A
    float that is the nearest one to a whole number of nanoseconds, as that of 0.1 s is, stands for that number.
    """
    high = np.float64(np.float32(seconds))
    a, b = high * SECOND, (seconds - high) * SECOND
    whole, rest_a, rest_b = np.int64(np.trunc(a)) + np.int64(np.trunc(b)), a - np.trunc(a), b - np.trunc(b)
    nearest = np.float64(whole) + np.rint(rest_a + rest_b)
    if nearest < 2.0**53 and nearest / SECOND == seconds:
        return np.int64(nearest), 0
    units = np.int64(rest_a * WHOLE) + np.int64(rest_b * WHOLE)
    return whole + (units >> 62), units & (WHOLE - 1)


@inner
def horizon(clock):
    """The time (ns) up to which all advances together lead: their sum, rounded once, half to even."""
    half = WHOLE >> 1
    return clock.horizon + np.int64(clock.rest > half or (clock.rest == half and clock.horizon & 1 == 1))


# ---- the winner tree: which event comes next ------------------------------------------------------------------------


@inner
def set_leaf(s, leaf, key):
    """Put `key` at a leaf and play its games again, up to one whose outcome stays. Of equal keys the left one wins."""
    k = s.n_leaves + leaf
    if s.tree[k].key == key:
        return
    s.tree[k].key = key
    while k > 1:
        other = s.tree[k ^ 1]
        # masks, not a branch: who wins is as good as random, and a wrong guess costs more than the whole game
        lost = -(np.int64(other.key < key) | (np.int64(other.key == key) & k & 1))
        key ^= (key ^ other.key) & lost
        leaf ^= (leaf ^ other.leaf) & lost
        k >>= 1
        game = s.tree[k]
        if game.key == key and game.leaf == leaf:
            return
        game.key, game.leaf = key, leaf


@inner
def reschedule_link(s, l):
    """Tell the tree when link l acts next: a pair, or a header arriving at either end."""
    header = min(s.channels[2 * l].next, s.channels[2 * l + 1].next)
    set_leaf(s, l, min((s.links[l].done << 3) | PAIR, (header << 3) | HEADER))


@inner
def reschedule_session(s, r):
    """Tell the tree when source r acts next."""
    session = s.sessions[r]
    key = min((session.next_injection << 3) | INJECTION, (session.next_feedback << 3) | FEEDBACK)
    set_leaf(s, s.n_links + r, min(key, (session.next_timeout << 3) | TIMEOUT))


# ---- links: attempts, queues, measurements --------------------------------------------------------------------------


@inner
def attempt_hazard(capacity, werner, cycle):
    """-log(1 - p) for p = d T (1 - w), the success probability of one attempt; infinite for p = 1."""
    return -math.log1p(-min(capacity * (cycle / SECOND) * (1.0 - werner), 1.0))


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
    hazard, log_werner = attempt_hazard(capacity, werner, link.cycle), math.log(werner)
    if link.serving != NONE:
        begun = max((t - link.base + link.cycle - 1) // link.cycle, 0)
        end = link.base + begun * link.cycle
        if begun == 0 or link.done != end:  # else the attempt under way is the one that succeeds
            if begun > 0:
                link.remaining -= begun * link.hazard
                link.base = end
            link.serving_log_werner = log_werner
            link.done = success_time(link.base, link.remaining, hazard, link.cycle)
    link.capacity, link.werner, link.hazard, link.log_werner = capacity, werner, hazard, log_werner
    reschedule_link(s, l)


@inner
def append(s, l, g):
    """Put g at the end of the link's queue."""
    link = s.links[l]
    s.datagrams[g].next = NONE
    s.datagrams[g].prev = link.tail
    if link.tail == NONE:
        link.head = g
    else:
        s.datagrams[link.tail].next = g
    link.tail = g


@inner
def unlink(s, l, g):
    """Take g out of the link's queue."""
    link, datagram = s.links[l], s.datagrams[g]
    if datagram.prev == NONE:
        link.head = datagram.next
    else:
        s.datagrams[datagram.prev].next = datagram.next
    if datagram.next == NONE:
        link.tail = datagram.prev
    else:
        s.datagrams[datagram.next].prev = datagram.prev


@merged
def depart(s, l, g, t):
    """Account for g leaving the queue or the server of link l."""
    link = s.links[l]
    measure_link(link, t)
    link.number -= 1
    link.departures += 1
    link.sojourn += t - s.datagrams[g].joined


@merged
def vacate(s, g):
    """g's place in the memory at the node before its hop is free; at its source it has none."""
    hop = s.hops[s.datagrams[g].hop]
    if hop.index > 0:
        s.channels[2 * hop.link + hop.direction].transit -= 1


@merged
def leave(s, l, g, t):
    """Account for g leaving link l, served or dropped, and its memory."""
    depart(s, l, g, t)
    vacate(s, g)


@inner
def next_in_line(s, l):
    """Whom the discipline serves next, NONE if nobody waits."""
    link = s.links[l]
    if link.discipline == LIFO:
        return link.tail
    if link.discipline != FAIR or link.head == NONE:
        return link.head
    best, best_distance = NONE, s.n_sessions + 1  # fair: the first session after the last served, its oldest
    g = link.head
    while g != NONE:
        distance = (s.datagrams[g].session - link.last_session - 1) % s.n_sessions
        if distance < best_distance:
            best, best_distance = g, distance
        g = s.datagrams[g].next
    return best


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
        unlink(s, l, g)
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
    append(s, l, g)
    if link.serving == NONE:
        serve(s, l, t)


@inner
def oldest_waiting(s, l, h):
    """The oldest q-datagram that waits in the same memory as hop h's and is not in service; NONE if there is none."""
    g = s.links[l].head
    while g != NONE:
        hop = s.hops[s.datagrams[g].hop]
        if hop.index > 0 and hop.direction == s.hops[h].direction:
            return g
        g = s.datagrams[g].next
    return NONE


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
        victim = oldest_waiting(s, m, h) if link.push_out else NONE
        link.dropped += 1
        if victim == NONE:
            drop(s, g, OVERFLOW, t)
            return False
        unlink(s, m, victim)
        leave(s, m, victim, t)
        drop(s, victim, OVERFLOW, t)
    join(s, g, t)
    reschedule_link(s, m)
    return True


# ---- q-datagrams: records, losses, feedback -------------------------------------------------------------------------


@inner
def release(s, g):
    """Give a record back once neither the network nor the source's timer needs it."""
    datagram = s.datagrams[g]
    if datagram.outstanding == 0 and datagram.place == LOST:
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
    if datagram.settled == 0:
        datagram.settled = 1
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


@inner
def drop(s, g, reason, t):
    """A node drops g and sends a NACK back from where g is. The caller touches no session."""
    book_loss(s, g, reason)
    datagram = s.datagrams[g]
    if s.clock[0].parallel and datagram.fate == OPEN:
        give_up(s, g)
    hop = s.hops[datagram.hop]
    send_back(s, g, hop.back, hop.index, ACK_LOST, t)


@inner
def give_up(s, g):
    """No pair of part g will come (parallel swapping): the half that waits for it at the node ahead is discarded."""
    datagram = s.datagrams[g]
    datagram.fate = VOID
    if datagram.ahead != NONE and s.datagrams[datagram.ahead].fate >= MADE:
        vacate(s, datagram.ahead)


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
    after = session.feedback_tail  # ordered by arrival; a NACK from near may overtake
    while after != NONE and s.datagrams[after].due > datagram.due:
        after = s.datagrams[after].prev
    before = session.feedback_head if after == NONE else s.datagrams[after].next
    datagram.prev, datagram.next = after, before
    if after == NONE:
        session.feedback_head = g
    else:
        s.datagrams[after].next = g
    if before == NONE:
        session.feedback_tail = g
    else:
        s.datagrams[before].prev = g
    session.next_feedback = s.datagrams[session.feedback_head].due
    reschedule_session(s, r)


# ---- sources: injection, window, time-out ---------------------------------------------------------------------------


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
    """A new gap, in units of 1/R: exponential, or one for even pacing."""
    session = s.sessions[r]
    session.remaining = 1.0
    if session.poisson:
        session.remaining = exponential(session.key, session.draws)
        session.draws += np.uint64(1)


@inner
def spend_injection(s, r, t):
    """Account for the part of the gap that has passed; call before rate, activity or pause changes."""
    session = s.sessions[r]
    if session.active and not session.paused:
        session.remaining -= session.rate * ((t - session.base) / SECOND)


@inner
def set_source(s, r, rate, active, t):
    """Change R_r or the session's activity now; the draw of the gap under way stays."""
    session = s.sessions[r]
    spend_injection(s, r, t)
    session.rate, session.active = rate, active
    plan_injection(s, r, t)
    reschedule_session(s, r)


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
    if session.paused:
        session.paused = 0
        plan_injection(s, r, t)


@inner
def start_timer(s, g, t):
    """Wait for the ACK of g from its first pair on: mean + 4 deviations of the round trip, as TCP does."""
    datagram = s.datagrams[g]
    session = s.sessions[datagram.session]
    patience = INITIAL_TIMEOUT if session.rtt < 0.0 else session.rtt + 4.0 * session.rtt_deviation
    datagram.deadline = t + np.int64(np.ceil(patience))
    after = session.timer_tail
    while after != NONE and s.datagrams[after].deadline > datagram.deadline:
        after = s.datagrams[after].timer_prev
    before = session.timer_head if after == NONE else s.datagrams[after].timer_next
    datagram.timer_prev, datagram.timer_next = after, before
    if after == NONE:
        session.timer_head = g
    else:
        s.datagrams[after].timer_next = g
    if before == NONE:
        session.timer_tail = g
    else:
        s.datagrams[before].timer_prev = g
    session.next_timeout = s.datagrams[session.timer_head].deadline
    reschedule_session(s, datagram.session)


@inner
def stop_timer(s, g):
    datagram = s.datagrams[g]
    session = s.sessions[datagram.session]
    if datagram.timer_prev == NONE:
        session.timer_head = datagram.timer_next
    else:
        s.datagrams[datagram.timer_prev].timer_next = datagram.timer_next
    if datagram.timer_next == NONE:
        session.timer_tail = datagram.timer_prev
    else:
        s.datagrams[datagram.timer_next].timer_prev = datagram.timer_prev
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


# ---- parallel swapping: a q-datagram is one record, a part, per link of its route [ours; model.md] ------------------


@inner
def spread(s, lead, t):
    """Make the other parts of a q-datagram just injected, and send its request along the route."""
    clock, whole = s.clock[0], s.datagrams[lead]
    session = s.sessions[whole.session]
    whole.rate, whole.header_signal = session.rate, session.signal
    whole.source_decay = s.nodes[session.source].decay_rate
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
def age(datagram, t):
    """Let the halves of a part that are still stored decohere up to t."""
    datagram.decay += datagram.decay_rate * ((t - datagram.stored) / SECOND)
    datagram.stored = t


@inner
def storage_rate(s, g):
    """γ of the nodes that hold a half of part g, together: a half is stored until the pair beside it is there."""
    datagram = s.datagrams[g]
    hop = s.hops[datagram.hop]
    rate = 0.0
    if datagram.behind == NONE or s.datagrams[datagram.behind].fate < MADE:
        rate += s.nodes[hop.node].decay_rate
    if datagram.ahead == NONE or s.datagrams[datagram.ahead].fate < MADE:
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
def on_part(s, l, t):
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
def on_parallel_header(s, g, t):
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
    whole.stored, whole.delivered = t, 1
    s.sessions[whole.session].arrived += 1
    hop = s.hops[s.datagrams[last].hop]
    send_back(s, whole.lead, hop.back + s.links[hop.link].latency, hop.hops, ACK_LOST, t)


# ---- the six kinds of event -----------------------------------------------------------------------------------------


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
    datagram.place, datagram.outstanding, datagram.settled, datagram.delivered = AT_SOURCE, 1, 0, 0
    datagram.lead, datagram.pending = g, 1
    session.sequence += 1
    session.injected += 1
    session.unacked += 1
    session.paused = session.unacked >= session.window
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
        datagram.source_decay = s.nodes[session.source].decay_rate
        note_header(s, h, g, t)
        if s.clock[0].message_loss > 0.0:
            start_timer(s, g, t)
    else:
        datagram.decay += datagram.decay_rate * ((t - datagram.stored) / SECOND)
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
def on_header(s, c, t):
    """A header reaches the end of channel c: the destination, or a node on the way."""
    l = c >> 1
    channel = s.channels[c]
    g = np.int64(channel.head)
    datagram = s.datagrams[g]
    channel.head = datagram.next
    channel.next = NEVER if datagram.next == NONE else s.datagrams[datagram.next].due
    reschedule_link(s, l)
    if s.clock[0].parallel:
        on_parallel_header(s, g, t)
        return g
    hop = s.hops[datagram.hop]
    if hop.index + 1 == hop.hops:
        datagram.decay += datagram.decay_rate * ((t - datagram.stored) / SECOND)
        datagram.stored, datagram.delivered = t, 1
        s.sessions[datagram.session].arrived += 1
        send_back(s, g, hop.back + s.links[l].latency, hop.hops, ACK_LOST, t)
        return g
    datagram.hop += 1
    datagram.place = HELD
    enter(s, g, t)
    return g


@merged
def on_feedback(s, r, t):
    """An ACK or NACK reaches the source. A late one, after the time-out, still teaches the round trip."""
    session = s.sessions[r]
    answer = s.datagrams[session.feedback_head]
    session.feedback_head = answer.next
    if answer.next == NONE:
        session.feedback_tail, session.next_feedback = NONE, NEVER
    else:
        s.datagrams[answer.next].prev = NONE
        session.next_feedback = s.datagrams[answer.next].due
    g = answer.lead
    datagram = s.datagrams[g]
    session.answer_hops += session.hops if datagram.delivered else answer.hop - session.first_hop
    if datagram.delivered:
        learn_round_trip(session, float(t - datagram.first))
    if datagram.outstanding:
        if datagram.delivered:
            datagram.settled = 1
            session.delivered += 1
            werner = math.exp(datagram.log_werner - datagram.decay)
            session.werner += werner
            session.worth += formulas.worth(s.formulas, session.measure, werner)
            session.latency += datagram.stored - datagram.injected
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


@inner
def set_decay_rate(s, node, decay_rate, t):
    """Change γ of a node now: what is stored has decayed up to now at the old rate and goes on at the new one."""
    s.nodes[node].decay_rate = decay_rate
    for h in range(s.n_hops):
        hop = s.hops[h]
        source = s.sessions[hop.session].source
        hop.decay_rate = s.nodes[source].decay_rate + s.nodes[hop.next_node].decay_rate
    for g in range(s.n_datagrams):
        datagram = s.datagrams[g]
        if s.clock[0].parallel:
            if datagram.place != FREE and datagram.fate >= MADE and not datagram.delivered:
                age(datagram, t)
                datagram.decay_rate = storage_rate(s, g)
        elif datagram.place == CROSSING or datagram.place == HELD:
            datagram.decay += datagram.decay_rate * ((t - datagram.stored) / SECOND)
            datagram.stored = t
            crossed = datagram.hop if datagram.place == CROSSING else datagram.hop - 1
            datagram.decay_rate = s.hops[crossed].decay_rate


@inner
def on_change(s, t):
    """The next change of the scenario: a link's capacity, a memory's decay rate, a session that comes or goes."""
    position = s.clock[0].next_change
    change = s.schedule[position]
    i = change.index
    if change.kind == CAPACITY:
        set_link(s, i, change.value, s.links[i].werner, t)
    elif change.kind == DECAY_RATE:
        set_decay_rate(s, i, change.value, t)
    elif change.kind == ACTIVE:
        set_source(s, i, s.sessions[i].rate, np.int64(change.value), t)
    s.clock[0].next_change = position + 1
    reschedule_change(s)
    return position


@inner
def reschedule_change(s):
    position = s.clock[0].next_change
    time = s.schedule[position].time if position < s.n_schedule else NEVER
    set_leaf(s, s.n_links + s.n_sessions, (time << 3) | CHANGE)


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
        session.latency = session.round_trip = 0.0
        session.werner = session.worth = session.log_werner = session.decay = 0.0
        session.price = session.nack_price = session.thinned_price = session.nack_thinned_price = 0.0
        for reason in range(len(REASONS)):
            s.drops[r * len(REASONS) + reason] = 0
    for h in range(s.n_hops):
        s.hops[h].arrivals = 0


@inner
def run(s, until):
    """Handle all events before `until` (ns). Comes back early, between events, if the pool or the log needs room."""
    clock = s.clock[0]
    n_links, parallel = s.n_links, clock.parallel
    events = 0
    while True:
        key = s.tree[1].key
        t, kind = key >> 3, key & 7
        if t >= until:
            break
        if kind == INJECTION and s.n_datagrams - clock.in_use < clock.records:
            clock.events += events
            return POOL_EMPTY
        if s.n_log > 0 and clock.logged == s.n_log:
            clock.events += events
            return LOG_FULL
        leaf = s.tree[1].leaf
        events += 1
        entity = leaf
        if kind == PAIR:
            g = on_part(s, leaf, t) if parallel else on_pair(s, leaf, t)
        elif kind == HEADER:
            entity = 2 * leaf if s.channels[2 * leaf].next == t else 2 * leaf + 1
            g = on_header(s, entity, t)
        elif kind == CHANGE:
            entity = 0
            g = on_change(s, t)
        else:
            entity = leaf - n_links
            if kind == INJECTION:
                g = on_injection(s, entity, t)
                if parallel:
                    spread(s, g, t)
            elif kind == FEEDBACK:
                g = on_feedback(s, entity, t)
            else:
                g = on_timeout(s, entity, t)
        if s.n_log > 0:
            n, sequence = 4 * clock.logged, g if kind == CHANGE else s.datagrams[g].sequence
            s.log[n], s.log[n + 1], s.log[n + 2], s.log[n + 3] = t, kind, entity, sequence
            clock.logged += 1
    clock.now = until
    clock.events += events
    for l in range(n_links):
        measure_link(s.links[l], until)
    return DONE


# ---- what Python calls: networks first to last - 1 of a table [n, columns] of addresses -----------------------------


@entry
def start(table, first, last):
    """First draws and first plans at time 0."""
    for i in range(first, last):
        s = view(table, i)
        for l in range(s.n_links):
            link = s.links[l]
            link.hazard = attempt_hazard(link.capacity, link.werner, link.cycle)
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
            if rates[i, r] != s.sessions[r].rate:
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
            status[i] = run(s, horizon(clock))

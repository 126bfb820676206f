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

from qnum_gym import werner as werner_module
from qnum_gym.simulator import caching, formulas, pointers, state
from qnum_gym.simulator.formulas import worth
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
    DECAY_RATE,
    FAIR,
    FEEDBACK,
    FREE,
    GAME,
    GAP_GAIN,
    GRAM,
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
entry = caching.entry(werner_module, formulas, state, pointers, file=__file__)  # called from Python


View = namedtuple(
    "View",
    "clock links channels sessions hops nodes grams schedule drops tree log "
    "n_links n_sessions n_hops n_grams n_schedule n_leaves n_log",
)
_clock, _links, _channels, _sessions, _hops, _nodes, _grams, _schedule, _tree = (
    at_address(dtype) for dtype in (CLOCK, LINK, CHANNEL, SESSION, HOP, NODE, GRAM, SCHEDULE, GAME)
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
        _grams(row[6]),
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
def touch_link(s, l):
    """Tell the tree when link l acts next: a pair, or a header arriving at either end."""
    header = min(s.channels[2 * l].next, s.channels[2 * l + 1].next)
    set_leaf(s, l, min((s.links[l].done << 3) | PAIR, (header << 3) | HEADER))


@inner
def touch_session(s, r):
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
    touch_link(s, l)


@inner
def append(s, l, g):
    """Put g at the end of the link's queue."""
    link = s.links[l]
    s.grams[g].next = NONE
    s.grams[g].prev = link.tail
    if link.tail == NONE:
        link.head = g
    else:
        s.grams[link.tail].next = g
    link.tail = g


@inner
def unlink(s, l, g):
    """Take g out of the link's queue."""
    link, gram = s.links[l], s.grams[g]
    if gram.prev == NONE:
        link.head = gram.next
    else:
        s.grams[gram.prev].next = gram.next
    if gram.next == NONE:
        link.tail = gram.prev
    else:
        s.grams[gram.next].prev = gram.prev


@merged
def depart(s, l, g, t):
    """Account for g leaving the queue or the server of link l."""
    link = s.links[l]
    measure_link(link, t)
    link.number -= 1
    link.departures += 1
    link.sojourn += t - s.grams[g].joined


@merged
def vacate(s, g):
    """g's place in the memory at the node before its hop is free; at its source it has none."""
    hop = s.hops[s.grams[g].hop]
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
        distance = (s.grams[g].session - link.last_session - 1) % s.n_sessions
        if distance < best_distance:
            best, best_distance = g, distance
        g = s.grams[g].next
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
        gram = s.grams[g]
        unlink(s, l, g)
        if gram.place == HELD and t - gram.first >= s.sessions[gram.session].cutoff:
            leave(s, l, g, t)
            link.dropped += 1
            drop(s, g, CUTOFF, t)
            continue
        link.serving, link.last_session = g, gram.session
        link.remaining = exponential(link.key, link.draws)
        link.draws += np.uint64(1)
        link.base, link.serving_log_werner = t, link.log_werner
        link.done = success_time(t, link.remaining, link.hazard, link.cycle)
        return


@merged
def join(s, g, t):
    """g joins the queue of its next link; the caller has checked that there is room. The caller touches the link."""
    gram = s.grams[g]
    hop = s.hops[gram.hop]
    l = np.int64(hop.link)
    link = s.links[l]
    measure_link(link, t)
    link.number += 1
    gram.joined = t
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
        hop = s.hops[s.grams[g].hop]
        if hop.index > 0 and hop.direction == s.hops[h].direction:
            return g
        g = s.grams[g].next
    return NONE


@inner
def note_header(s, h, g, t):
    """The link of hop h remembers the header that passes (model.md §4, table)."""
    hop, gram = s.hops[h], s.grams[g]
    hop.seen, hop.rate = t, gram.rate
    hop.header_signal, hop.source_decay = gram.header_signal, gram.source_decay
    hop.headers += 1
    gap = float(max(gram.sequence - hop.sequence, 0))
    hop.gap += max(GAP_GAIN, 1.0 / hop.headers) * (gap - hop.gap)
    hop.sequence = max(hop.sequence, gram.sequence)


@merged
def add_signal(s, g):
    """The link of g's hop adds its signal to the header: plainly, and times the share of q-datagrams that come here."""
    gram = s.grams[g]
    hop = s.hops[gram.hop]
    signal = s.links[hop.link].signal
    gram.price += signal
    gram.thinned_price += signal / max(hop.gap, 1.0)


@merged
def enter(s, g, t):
    """g's header has come to the node before its hop: g joins the queue, if there is room in the memory or is made."""
    h = s.grams[g].hop
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
    touch_link(s, m)
    return True


# ---- q-datagrams: records, losses, feedback -------------------------------------------------------------------------


@inner
def release(s, g):
    """Give a record back once neither the network nor the source's timer needs it."""
    gram = s.grams[g]
    if gram.outstanding == 0 and gram.place == LOST:
        while g != NONE:  # with parallel swapping, all parts
            gram = s.grams[g]
            gram.place = FREE
            gram.next = s.clock[0].free
            s.clock[0].free = g
            s.clock[0].in_use -= 1
            g = gram.ahead


@inner
def settle(s, g, reason):
    """Book why the q-datagram of g is not going to be a delivered pair, once."""
    gram = s.grams[s.grams[g].lead]
    if gram.settled == 0:
        gram.settled = 1
        s.drops[gram.session * len(REASONS) + reason] += 1


@inner
def vanish(s, g):
    """g is gone without a trace; once nothing of it is under way, only the source's timer may still wait for it."""
    lead = s.grams[g].lead
    gram = s.grams[lead]
    gram.pending -= 1
    if gram.pending == 0:
        gram.place = LOST
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
    settle(s, g, reason)
    gram = s.grams[g]
    if s.clock[0].parallel and gram.fate == OPEN:
        give_up(s, g)
    hop = s.hops[gram.hop]
    send_back(s, g, hop.back, hop.index, ACK_LOST, t)


@inner
def give_up(s, g):
    """No pair of part g will come (parallel swapping): the half that waits for it at the node ahead is discarded."""
    gram = s.grams[g]
    gram.fate = VOID
    if gram.ahead != NONE and s.grams[gram.ahead].fate >= MADE:
        vacate(s, gram.ahead)


@inner
def send_back(s, g, latency, hops, reason, t):
    """Send an ACK or NACK to the source; `reason` is booked should it get lost and nothing be booked yet."""
    gram = s.grams[g]
    r = gram.session
    if message_lost(s, r, hops):
        settle(s, g, reason)
        vanish(s, g)
        return
    gram.place = RETURNING
    gram.due = t + latency + s.clock[0].feedback_delay
    session = s.sessions[r]
    after = session.feedback_tail  # ordered by arrival; a NACK from near may overtake
    while after != NONE and s.grams[after].due > gram.due:
        after = s.grams[after].prev
    before = session.feedback_head if after == NONE else s.grams[after].next
    gram.prev, gram.next = after, before
    if after == NONE:
        session.feedback_head = g
    else:
        s.grams[after].next = g
    if before == NONE:
        session.feedback_tail = g
    else:
        s.grams[before].prev = g
    session.next_feedback = s.grams[session.feedback_head].due
    touch_session(s, r)


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
    touch_session(s, r)


@merged
def free_slot(s, g, t):
    """The source forgets g: its window slot and its half are free. The caller touches the session."""
    gram = s.grams[g]
    r = gram.session
    session = s.sessions[r]
    gram.outstanding = 0
    session.unacked -= 1
    if gram.deadline != NEVER:
        stop_timer(s, g)
    if session.paused:
        session.paused = 0
        plan_injection(s, r, t)


@inner
def start_timer(s, g, t):
    """Wait for the ACK of g from its first pair on: mean + 4 deviations of the round trip, as TCP does."""
    gram = s.grams[g]
    session = s.sessions[gram.session]
    patience = INITIAL_TIMEOUT if session.rtt < 0.0 else session.rtt + 4.0 * session.rtt_deviation
    gram.deadline = t + np.int64(np.ceil(patience))
    after = session.timer_tail
    while after != NONE and s.grams[after].deadline > gram.deadline:
        after = s.grams[after].timer_prev
    before = session.timer_head if after == NONE else s.grams[after].timer_next
    gram.timer_prev, gram.timer_next = after, before
    if after == NONE:
        session.timer_head = g
    else:
        s.grams[after].timer_next = g
    if before == NONE:
        session.timer_tail = g
    else:
        s.grams[before].timer_prev = g
    session.next_timeout = s.grams[session.timer_head].deadline
    touch_session(s, gram.session)


@inner
def stop_timer(s, g):
    gram = s.grams[g]
    session = s.sessions[gram.session]
    if gram.timer_prev == NONE:
        session.timer_head = gram.timer_next
    else:
        s.grams[gram.timer_prev].timer_next = gram.timer_next
    if gram.timer_next == NONE:
        session.timer_tail = gram.timer_prev
    else:
        s.grams[gram.timer_next].timer_prev = gram.timer_prev
    gram.deadline = NEVER
    session.next_timeout = NEVER if session.timer_head == NONE else s.grams[session.timer_head].deadline


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
    clock, whole = s.clock[0], s.grams[lead]
    session = s.sessions[whole.session]
    whole.rate, whole.header_signal = session.rate, session.signal
    whole.source_decay = s.nodes[session.source].decay_rate
    whole.pending, whole.fate, whole.told, whole.behind = session.hops, OPEN, 1, NONE
    whole.price = whole.thinned_price = 0.0
    behind = lead
    for hop in range(session.first_hop + 1, session.first_hop + session.hops):
        g = clock.free
        gram = s.grams[g]
        clock.free = gram.next
        clock.in_use += 1
        gram.sequence, gram.session, gram.hop, gram.lead = whole.sequence, whole.session, hop, lead
        gram.place, gram.outstanding, gram.settled, gram.delivered = AT_SOURCE, 0, 1, 0  # the lead speaks for all
        gram.fate, gram.told, gram.first, gram.deadline = OPEN, 0, NEVER, NEVER
        gram.rate, gram.header_signal, gram.source_decay = whole.rate, whole.header_signal, whole.source_decay
        s.grams[behind].ahead, gram.behind = g, behind
        behind = g
    s.grams[behind].ahead = NONE
    note_header(s, whole.hop, lead, t)
    request_next(s, lead, t)


@inner
def request_next(s, g, t):
    """The request has joined the queue of part g's link, adds its signal, and goes on at once to the next node."""
    gram = s.grams[g]
    hop = s.hops[gram.hop]
    l = np.int64(hop.link)
    add_signal(s, g)
    if gram.ahead == NONE:
        return
    s.grams[gram.ahead].price, s.grams[gram.ahead].thinned_price = gram.price, gram.thinned_price
    if message_lost(s, gram.session, 1):
        settle(s, g, HEADER_LOST)
        forget(s, gram.ahead)
    else:
        send_header(s, 2 * l + hop.direction, gram.ahead, t + s.links[l].latency)
        touch_link(s, l)


@inner
def forget(s, g):
    """Part g and those ahead of it are never asked for."""
    while g != NONE:
        gram = s.grams[g]
        gram.fate = VOID
        vanish(s, g)
        g = gram.ahead


@inner
def age(gram, t):
    """Let the halves of a part that are still stored decohere up to t."""
    gram.decay += gram.decay_rate * ((t - gram.stored) / SECOND)
    gram.stored = t


@inner
def storage_rate(s, g):
    """γ of the nodes that hold a half of part g, together: a half is stored until the pair beside it is there."""
    gram = s.grams[g]
    hop = s.hops[gram.hop]
    rate = 0.0
    if gram.behind == NONE or s.grams[gram.behind].fate < MADE:
        rate += s.nodes[hop.node].decay_rate
    if gram.ahead == NONE or s.grams[gram.ahead].fate < MADE:
        rate += s.nodes[hop.next_node].decay_rate
    return rate


@inner
def wait_for(s, g, t):
    """A pair beside part g is there; what waits is as old as the first half that does."""
    gram = s.grams[g]
    if gram.place != HELD:
        gram.place, gram.first = HELD, t


@inner
def swap(s, g, older, t):
    """The pairs of part g and of the one behind are there: the node between swaps; `older` of the two has waited."""
    gram, waited = s.grams[g], s.grams[older]
    hop, session = s.hops[gram.hop], s.sessions[gram.session]
    age(waited, t)
    waited.decay_rate = storage_rate(s, older)
    vacate(s, g)
    swapped = True
    if hop.swap_success < 1.0:
        swapped = uniform(session.swap_key, session.swap_draws) <= hop.swap_success
        session.swap_draws += np.uint64(1)
    if swapped:
        gram.fate = JOINED
        gram.log_werner += hop.log_gate
    else:
        s.grams[gram.lead].pending += 1
        drop(s, g, SWAP_FAILED, t)


@inner
def on_part(s, l, t):
    """Link l heralds the pair of a part: the nodes at its ends swap it, discard their half of it, or store it."""
    link = s.links[l]
    g = link.serving
    gram = s.grams[g]
    link.generated += 1
    depart(s, l, g, t)
    gram.first, gram.stored, gram.log_werner, gram.decay = t, t, link.serving_log_werner, 0.0
    gram.decay_rate = storage_rate(s, g)
    gram.fate = MADE
    behind, ahead = gram.behind, gram.ahead
    if behind == NONE:
        gram.fate = JOINED
        if s.clock[0].message_loss > 0.0 and gram.outstanding:
            start_timer(s, g, t)
    elif s.grams[behind].fate >= MADE:
        swap(s, g, behind, t)
    elif s.grams[behind].fate == VOID:
        vacate(s, g)
    else:
        wait_for(s, behind, t)
    if ahead != NONE:
        if s.grams[ahead].fate >= MADE:
            swap(s, ahead, ahead, t)
        elif s.grams[ahead].fate == OPEN:
            wait_for(s, ahead, t)
    if gram.told and gram.fate == JOINED:
        tell_next(s, g, t)
    vanish(s, g)  # the pair no longer is to come
    serve(s, l, t)
    touch_link(s, l)
    return g


@inner
def tell_next(s, g, t):
    """The outcome up to part g goes on over its link, with what has been added up."""
    gram = s.grams[g]
    hop = s.hops[gram.hop]
    l = np.int64(hop.link)
    if message_lost(s, gram.session, 1):
        settle(s, g, HEADER_LOST)
    else:
        s.grams[gram.lead].pending += 1
        send_header(s, 2 * l + hop.direction, g, t + s.links[l].latency)
        touch_link(s, l)


@inner
def hear(s, g, t):
    """The request for part g comes to the node where it begins, or the outcome up to it to the node where it ends."""
    gram = s.grams[g]
    if gram.fate == OPEN:
        if enter(s, g, t):
            request_next(s, g, t)
        else:
            forget(s, gram.ahead)
    elif gram.ahead == NONE:
        complete(s, g, t)
    else:
        s.grams[gram.ahead].told = 1
        if s.grams[gram.ahead].fate == JOINED:
            tell_next(s, gram.ahead, t)
        vanish(s, g)


@inner
def complete(s, last, t):
    """The destination knows all outcomes: the pair is there, and the ACK goes back."""
    whole = s.grams[s.grams[last].lead]
    age(whole, t)
    log_werner, decay, g = whole.log_werner, whole.decay, whole.ahead
    while g != NONE:
        gram = s.grams[g]
        age(gram, t)
        log_werner += gram.log_werner
        decay += gram.decay
        g = gram.ahead
    whole.log_werner, whole.decay = log_werner, decay
    whole.price, whole.thinned_price = s.grams[last].price, s.grams[last].thinned_price
    whole.stored, whole.delivered = t, 1
    s.sessions[whole.session].arrived += 1
    hop = s.hops[s.grams[last].hop]
    send_back(s, whole.lead, hop.back + s.links[hop.link].latency, hop.hops, ACK_LOST, t)


# ---- the six kinds of event -----------------------------------------------------------------------------------------


@merged
def on_injection(s, r, t):
    """The source sends a header on its way; it holds no qubit before the first pair."""
    clock, session = s.clock[0], s.sessions[r]
    g = clock.free
    gram = s.grams[g]
    clock.free = gram.next
    clock.in_use += 1
    gram.sequence, gram.session, gram.hop = session.sequence, r, session.first_hop
    gram.injected, gram.first, gram.deadline = t, NEVER, NEVER
    gram.place, gram.outstanding, gram.settled, gram.delivered = AT_SOURCE, 1, 0, 0
    gram.lead, gram.pending = g, 1
    session.sequence += 1
    session.injected += 1
    session.unacked += 1
    session.paused = session.unacked >= session.window
    draw_injection(s, r)
    plan_injection(s, r, t)
    touch_session(s, r)
    hop = s.hops[gram.hop]
    l = np.int64(hop.link)
    s.links[l].arrivals += 1
    hop.arrivals += 1
    join(s, g, t)
    touch_link(s, l)
    return g


@merged
def on_pair(s, l, t):
    """Link l heralds a pair for the q-datagram in service: the first pair of its route, or one to swap with."""
    link = s.links[l]
    g = link.serving
    gram = s.grams[g]
    r, h = gram.session, gram.hop
    hop, session = s.hops[h], s.sessions[r]
    if link.head != NONE:
        prefetch(s.grams, link.head)  # served next
    link.generated += 1
    leave(s, l, g, t)
    swapped = True
    if hop.index == 0:
        gram.first, gram.log_werner, gram.decay = t, link.serving_log_werner, 0.0
        gram.price = gram.thinned_price = 0.0
        gram.rate, gram.header_signal = session.rate, session.signal
        gram.source_decay = s.nodes[session.source].decay_rate
        note_header(s, h, g, t)
        if s.clock[0].message_loss > 0.0:
            start_timer(s, g, t)
    else:
        gram.decay += gram.decay_rate * ((t - gram.stored) / SECOND)
        gram.log_werner += link.serving_log_werner + hop.log_gate
        if hop.swap_success < 1.0:
            swapped = uniform(session.swap_key, session.swap_draws) <= hop.swap_success
            session.swap_draws += np.uint64(1)
    add_signal(s, g)
    if not swapped:
        drop(s, g, SWAP_FAILED, t)
    else:
        gram.place, gram.stored, gram.decay_rate = CROSSING, t, hop.decay_rate
        if message_lost(s, r, 1):
            settle(s, g, HEADER_LOST)
            vanish(s, g)
        else:
            send_header(s, 2 * l + hop.direction, g, t + link.latency)
            if hop.next_link != NONE:  # where the header arrives a few events later; matters on large networks
                prefetch(s.links, hop.next_link)
                prefetch(s.hops, h + 1)
    serve(s, l, t)
    touch_link(s, l)
    return g


@merged
def send_header(s, c, g, due):
    """Headers over one link arrive in the order in which they left. The caller touches the link."""
    channel, gram = s.channels[c], s.grams[g]
    gram.due, gram.next = due, NONE
    if channel.head == NONE:
        channel.head, channel.next = g, due
    else:
        s.grams[channel.tail].next = g
    channel.tail = g


@merged
def on_header(s, c, t):
    """A header reaches the end of channel c: the destination, or a node on the way."""
    l = c >> 1
    channel = s.channels[c]
    g = np.int64(channel.head)
    gram = s.grams[g]
    channel.head = gram.next
    channel.next = NEVER if gram.next == NONE else s.grams[gram.next].due
    touch_link(s, l)
    if s.clock[0].parallel:
        hear(s, g, t)
        return g
    hop = s.hops[gram.hop]
    if hop.index + 1 == hop.hops:
        gram.decay += gram.decay_rate * ((t - gram.stored) / SECOND)
        gram.stored, gram.delivered = t, 1
        s.sessions[gram.session].arrived += 1
        send_back(s, g, hop.back + s.links[l].latency, hop.hops, ACK_LOST, t)
        return g
    gram.hop += 1
    gram.place = HELD
    enter(s, g, t)
    return g


@merged
def on_feedback(s, r, t):
    """An ACK or NACK reaches the source. A late one, after the time-out, still teaches the round trip."""
    session = s.sessions[r]
    answer = s.grams[session.feedback_head]
    session.feedback_head = answer.next
    if answer.next == NONE:
        session.feedback_tail, session.next_feedback = NONE, NEVER
    else:
        s.grams[answer.next].prev = NONE
        session.next_feedback = s.grams[answer.next].due
    g = answer.lead
    gram = s.grams[g]
    session.answer_hops += session.hops if gram.delivered else answer.hop - session.first_hop
    if gram.delivered:
        learn_round_trip(session, float(t - gram.first))
    if gram.outstanding:
        if gram.delivered:
            gram.settled = 1
            session.delivered += 1
            werner = math.exp(gram.log_werner - gram.decay)
            session.werner += werner
            session.worth += worth(session.measure, werner)
            session.latency += gram.stored - gram.injected
            session.round_trip += t - gram.first
            session.log_werner += gram.log_werner
            session.decay += gram.decay
            session.price += gram.price
            session.thinned_price += gram.thinned_price
        else:
            session.nacked += 1
            session.nack_price += answer.price
            session.nack_thinned_price += answer.thinned_price
        free_slot(s, g, t)
    vanish(s, g)
    touch_session(s, r)
    return g


@inner
def on_timeout(s, r, t):
    """No ACK in time: the source gives up its half, whatever the network may still do."""
    g = s.sessions[r].timer_head
    s.sessions[r].timeouts += 1
    settle(s, g, TIMED_OUT)
    free_slot(s, g, t)
    release(s, g)
    touch_session(s, r)
    return g


@inner
def set_decay_rate(s, node, decay_rate, t):
    """Change γ of a node now: what is stored has decayed up to now at the old rate and goes on at the new one."""
    s.nodes[node].decay_rate = decay_rate
    for h in range(s.n_hops):
        hop = s.hops[h]
        source = s.sessions[hop.session].source
        hop.decay_rate = s.nodes[source].decay_rate + s.nodes[hop.next_node].decay_rate
    for g in range(s.n_grams):
        gram = s.grams[g]
        if s.clock[0].parallel:
            if gram.place != FREE and gram.fate >= MADE and not gram.delivered:
                age(gram, t)
                gram.decay_rate = storage_rate(s, g)
        elif gram.place == CROSSING or gram.place == HELD:
            gram.decay += gram.decay_rate * ((t - gram.stored) / SECOND)
            gram.stored = t
            crossed = gram.hop if gram.place == CROSSING else gram.hop - 1
            gram.decay_rate = s.hops[crossed].decay_rate


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
    touch_change(s)
    return position


@inner
def touch_change(s):
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
        if kind == INJECTION and s.n_grams - clock.in_use < clock.records:
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
            n, sequence = 4 * clock.logged, g if kind == CHANGE else s.grams[g].sequence
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
            touch_link(s, l)
        for r in range(s.n_sessions):
            draw_injection(s, r)
            plan_injection(s, r, 0)
            touch_session(s, r)
        touch_change(s)


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

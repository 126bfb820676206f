# pyright: basic
"""The fluid form: what q-datagrams do on average, as flows through well-mixed tanks (model.md §13). [ours]

Each hop of a session is a tank: what the session has at that link. Its content leaves at the rate ν at which a
q-datagram leaves an M/M/1 queue, whatever it carries: amounts, and sums over them. Steps are implicit, so that they are
stable at any length and at rest where the formulas of §7 are.
"""

from __future__ import annotations

import math

import numpy as np

from qnum_gym.simulator import formulas
from qnum_gym.simulator.kernel.changes import on_change
from qnum_gym.simulator.kernel.datagrams import end_decay
from qnum_gym.simulator.kernel.view import inner
from qnum_gym.simulator.state import OVERFLOW, REASONS, SECOND, STEP, SWAP_FAILED

ACK, NACK = range(2)


@inner
def flow_on(s, until):
    """Let everything flow until then (ns), step by step; what happens to the network begins a new step."""
    clock = s.clock[0]
    steps = max((until - clock.now + STEP - 1) // STEP, 1)
    longest = (until - clock.now + steps - 1) // steps
    prepare(s)
    while clock.now < until:
        end = min(clock.now + longest, until)
        while clock.next_change < s.n_schedule and s.schedule[clock.next_change].time <= clock.now:
            on_change(s, clock.now)
            prepare(s)
        if clock.next_change < s.n_schedule:
            end = min(end, s.schedule[clock.next_change].time)
        step(s, end)
        clock.events += 1
    for r in range(s.n_sessions):
        account_for_session(s, r)
    for l in range(s.n_links):
        account_for_link(s, l)


@inner
def prepare(s):
    """What stays the same until controls or the network change."""
    for l in range(s.n_links):
        s.fluid_links[l].made = formulas.rate(s.formulas, s.links[l])
    for h in range(s.n_hops):
        hop, own = s.hops[h], s.fluid_hops[h]
        link = s.links[hop.link]
        own.stored = s.hops[h - 1].decay_rate if hop.index > 0 else 0.0
        own.log_werner = link.log_werner + (hop.log_gate if hop.index > 0 else 0.0)
        own.crossing = link.latency / SECOND
        own.kept = math.exp(own.log_werner - hop.decay_rate * own.crossing)
    for r in range(s.n_sessions):
        session, source = s.sessions[r], s.fluid_sessions[r]
        source.stored = session.until_ack * s.hops[session.first_hop + session.hops - 1].decay_rate * source.delay
        source.kept = math.exp(-source.stored)


@inner
def step(s, end):
    """One step: sources send, links make room, everything moves on along the routes, answers come back."""
    clock = s.clock[0]
    seconds = (end - clock.now) / SECOND
    clock.now = end
    for l in range(s.n_links):
        s.fluid_links[l].load = 0.0
    for r in range(s.n_sessions):
        send(s, r, seconds)
    for h in range(s.n_hops):
        s.fluid_links[s.hops[h].link].load += s.tanks[h].amount + s.fluid_hops[h].inflow * seconds
    for l in range(s.n_links):
        serve(s.fluid_links[l], seconds)
    for r in range(s.n_sessions):
        move(s, r, seconds)
    for l in range(s.n_links):
        content = s.fluid_links[l].content
        if content > 0.0:
            s.links[l].area += content * seconds * SECOND
            s.links[l].busy += np.int64(content / (1.0 + content) * seconds * SECOND + 0.5)
    overflow(s)
    hear(s, seconds)


@inner
def send(s, r, seconds):
    """What the source injects, no more than its window has room for. (53)"""
    session, source = s.sessions[r], s.fluid_sessions[r]
    wish, room = session.rate * seconds if session.active else 0.0, max(session.window - source.unacked, 0.0)
    sent = min(wish, room)
    session.paused = wish > room
    source.injected += sent
    source.unacked += sent
    s.fluid_hops[session.first_hop].inflow = sent / seconds


@inner
def serve(link, seconds):
    """The share of its content that leaves a link, from what is there and what the last step's flows bring. (54)"""
    made = link.made * seconds
    b = link.load - 1.0 - made
    root = math.sqrt(b * b + 4.0 * link.load)
    rest = 0.5 * (root + b) if b > 0.0 else 2.0 * link.load / (root - b)
    link.out = made / (1.0 + rest)
    link.kept = 1.0 / (1.0 + link.out)
    link.content = 0.0


@inner
def move(s, r, seconds):
    """A session's flow from tank to tank along its route. (55)"""
    session, source = s.sessions[r], s.fluid_sessions[r]
    h = session.first_hop
    hop, own, tank = s.hops[h], s.fluid_hops[h], s.tanks[h]
    link = s.fluid_links[hop.link]
    sent = own.inflow * seconds
    own.arriving += sent
    link.arrivals += sent
    tank.amount = (tank.amount + sent) * link.kept
    tank.latency = (tank.latency + tank.amount * seconds) * link.kept
    link.content += tank.amount
    amount = origin = link.out * tank.amount
    link.generated += amount
    signal = s.links[hop.link].signal
    price = thinned_price = amount * signal
    rate, header_signal = amount * session.rate, amount * session.signal
    note_headers(s, h, amount, origin, rate, header_signal)
    log_werner, werner = amount * own.log_werner, amount * own.kept
    decay, round_trip = amount * hop.decay_rate * own.crossing, amount * own.crossing
    latency, hops = link.out * tank.latency + round_trip, amount
    for h in range(session.first_hop + 1, session.first_hop + session.hops):
        hop, own, tank = s.hops[h], s.fluid_hops[h], s.tanks[h]
        link = s.fluid_links[hop.link]
        out, kept = link.out, link.kept
        own.inflow = amount / seconds
        own.arriving += amount
        link.arrivals += amount
        note_headers(s, h, amount, origin, rate, header_signal)
        tank.amount = (tank.amount + amount) * kept
        spent = tank.amount * seconds
        tank.origin = (tank.origin + origin) * kept
        tank.werner = (tank.werner + werner) / (1.0 + out + seconds * own.stored)
        tank.log_werner = (tank.log_werner + log_werner) * kept
        tank.decay = (tank.decay + decay + spent * own.stored) * kept
        tank.latency = (tank.latency + latency + spent) * kept
        tank.round_trip = (tank.round_trip + round_trip + spent) * kept
        tank.price = (tank.price + price) * kept
        tank.thinned_price = (tank.thinned_price + thinned_price) * kept
        tank.rate = (tank.rate + rate) * kept
        tank.signal = (tank.signal + header_signal) * kept
        tank.hops = (tank.hops + hops) * kept
        amount, origin = out * tank.amount, out * tank.origin
        link.content += tank.amount
        link.generated += amount
        signal = s.links[hop.link].signal
        price, thinned_price = out * tank.price + amount * signal, out * tank.thinned_price
        thinned_price += amount * signal / max(hop.gap, 1.0)
        hops, passing = out * tank.hops, out
        if hop.swap_success < 1.0:
            lost = 1.0 - hop.swap_success
            source.swap_failed += lost * amount
            nack(s, r, hop.back + s.clock[0].feedback_delay, lost, amount, price, thinned_price, hops)
            amount, price, thinned_price, hops = (
                hop.swap_success * amount,
                hop.swap_success * price,
                hop.swap_success * thinned_price,
                hop.swap_success * hops,
            )
            passing = out * hop.swap_success
        crossing = amount * own.crossing
        werner = passing * tank.werner * own.kept
        log_werner = passing * tank.log_werner + amount * own.log_werner
        decay = passing * tank.decay + crossing * hop.decay_rate
        latency, round_trip = passing * tank.latency + crossing, passing * tank.round_trip + crossing
        rate, header_signal, hops = passing * tank.rate, passing * tank.signal, hops + amount
    source.arrived += amount
    for part in range(2):
        at, share = due(s, r, ACK, source.delay, part)
        answer = s.answers[at]
        answer.amount += share * amount
        answer.werner += share * werner * source.kept
        answer.log_werner += share * log_werner
        answer.decay += share * (decay + amount * source.stored)
        answer.latency += share * latency
        answer.round_trip += share * (round_trip + amount * source.delay)
        answer.price += share * price
        answer.thinned_price += share * thinned_price


@inner
def note_headers(s, h, amount, origin, rate, signal):
    """The link of hop h sees a header with each whole q-datagram of this amount."""
    own = s.fluid_hops[h]
    own.passing += amount
    if own.passing >= 1.0:
        own.passing -= math.floor(own.passing)
        hop = s.hops[h]
        session = s.sessions[hop.session]
        hop.seen, hop.gap = s.clock[0].now, origin / amount
        hop.rate, hop.header_signal = rate / amount, signal / amount
        hop.source_decay = end_decay(s, session, session.source)


@inner
def due(s, r, kind, delay, part):
    """One of the two slots between which an answer comes that is sent now, and its share of it."""
    clock = s.clock[0]
    position = (clock.now / SECOND + delay) / clock.slot
    slot = np.int64(position)
    later = position - slot
    at = max(slot + part, clock.emptied + 1) % clock.slots
    return answers_at(s, r, at, kind), later if part == 1 else 1.0 - later


@inner
def answers_at(s, r, slot, kind):
    """Where a slot's answers to session r are; slot `slots` has what has come, but for less than a whole one."""
    return (r * (s.clock[0].slots + 1) + slot) * 2 + kind


@inner
def nack(s, r, delay, share, amount, price, thinned_price, hops):
    """Tell the source, `delay` ns later, that a share of this was lost."""
    for part in range(2):
        at, of_slot = due(s, r, NACK, delay / SECOND, part)
        answer = s.answers[at]
        answer.amount += of_slot * share * amount
        answer.price += of_slot * share * price
        answer.thinned_price += of_slot * share * thinned_price
        answer.hops += of_slot * share * hops


@inner
def overflow(s):
    """A node's memory for a link keeps what it has room for; of everything that waits there a share is dropped. (56)"""
    for h in range(s.n_hops):
        hop = s.hops[h]
        room = s.channels[2 * hop.link + hop.direction].memory
        if hop.index > 0 and s.fluid_links[hop.link].content > room:
            waiting = 0.0
            for other in range(s.n_hops):
                if beside(s.hops[other], hop):
                    waiting += s.tanks[other].amount
            if waiting > room * (1.0 + 1e-12):
                for other in range(s.n_hops):
                    if beside(s.hops[other], hop):
                        spill(s, other, 1.0 - room / waiting)


@inner
def beside(other, hop):
    """Whether two hops share a memory."""
    return other.link == hop.link and other.direction == hop.direction and other.index > 0


@inner
def spill(s, h, share):
    """A share of a tank is lost; the source hears of it."""
    hop, tank = s.hops[h], s.tanks[h]
    link, kept = s.fluid_links[hop.link], 1.0 - share
    delay = hop.back + s.clock[0].feedback_delay
    s.fluid_sessions[hop.session].overflow += share * tank.amount
    link.dropped += share * tank.amount
    link.content -= share * tank.amount
    nack(s, np.int64(hop.session), delay, share, tank.amount, tank.price, tank.thinned_price, tank.hops)
    tank.amount *= kept
    tank.werner *= kept
    tank.log_werner *= kept
    tank.decay *= kept
    tank.latency *= kept
    tank.round_trip *= kept
    tank.price *= kept
    tank.thinned_price *= kept
    tank.rate *= kept
    tank.signal *= kept
    tank.hops *= kept


@inner
def hear(s, seconds):
    """The answers that have come to the sources; ages as if deliveries were a Poisson process. (57)"""
    clock = s.clock[0]
    now = np.int64((clock.now / SECOND) / clock.slot + 1e-9)
    for r in range(s.n_sessions):
        session, source = s.sessions[r], s.fluid_sessions[r]
        come = 0.0
        for slot in range(clock.emptied + 1, now + 1):
            at = slot % clock.slots
            come += collect(s, r, at, ACK)
            source.unacked -= collect(s, r, at, NACK)
        source.unacked = max(source.unacked - come, 0.0)
        if session.active:
            age = ((clock.now - session.fresh) / SECOND) / (1.0 + come)
            session.age += age * seconds * SECOND**2
            session.fresh = clock.now - np.int64(age * SECOND + 0.5)
    clock.emptied = now


@inner
def collect(s, r, slot, kind):
    """Take the answers of a slot to those that have come; how many q-datagrams."""
    new, old = s.answers[answers_at(s, r, slot, kind)], s.answers[answers_at(s, r, s.clock[0].slots, kind)]
    amount = new.amount
    if amount > 0.0:
        old.amount += amount
        old.werner += new.werner
        old.log_werner += new.log_werner
        old.decay += new.decay
        old.latency += new.latency
        old.round_trip += new.round_trip
        old.price += new.price
        old.thinned_price += new.thinned_price
        old.hops += new.hops
        keep(new, 0.0)
    return amount


@inner
def keep(answer, share):
    """Keep a share of an answer's sums."""
    answer.amount *= share
    answer.werner *= share
    answer.log_werner *= share
    answer.decay *= share
    answer.latency *= share
    answer.round_trip *= share
    answer.price *= share
    answer.thinned_price *= share
    answer.hops *= share


@inner
def whole(amount):
    """The whole q-datagrams in it."""
    return np.int64(math.floor(amount))


@inner
def account_for_session(s, r):
    """What the source measured in the interval, in whole q-datagrams; what is less than one stays for the next. (58)"""
    clock, session, source = s.clock[0], s.sessions[r], s.fluid_sessions[r]
    session.injected, session.arrived = whole(source.injected), whole(source.arrived)
    source.injected -= session.injected
    source.arrived -= session.arrived
    answer = s.answers[answers_at(s, r, clock.slots, ACK)]
    session.delivered = whole(answer.amount)
    if session.delivered > 0:
        share = session.delivered / answer.amount
        session.werner, session.log_werner = share * answer.werner, share * answer.log_werner
        session.decay, session.latency = share * answer.decay, share * answer.latency * SECOND
        session.round_trip = share * answer.round_trip * SECOND
        session.price, session.thinned_price = share * answer.price, share * answer.thinned_price
        mean = session.werner / session.delivered
        session.worth = session.delivered * formulas.worth(s.formulas, session.measure, mean)
        keep(answer, 1.0 - share)
    answer = s.answers[answers_at(s, r, clock.slots, NACK)]
    session.nacked = whole(answer.amount)
    session.answer_hops = session.hops * session.delivered
    if session.nacked > 0:
        share = session.nacked / answer.amount
        session.nack_price, session.nack_thinned_price = share * answer.price, share * answer.thinned_price
        session.answer_hops += np.int64(np.rint(share * answer.hops))
        keep(answer, 1.0 - share)
    session.unacked += session.injected - session.delivered - session.nacked
    overflown, failed = whole(source.overflow), whole(source.swap_failed)
    source.overflow -= overflown
    source.swap_failed -= failed
    s.drops[r * len(REASONS) + OVERFLOW], s.drops[r * len(REASONS) + SWAP_FAILED] = overflown, failed
    source.in_flight += session.injected - session.delivered - overflown - failed
    for h in range(session.first_hop, session.first_hop + session.hops):
        s.hops[h].arrivals = whole(s.fluid_hops[h].arriving)
        s.fluid_hops[h].arriving -= s.hops[h].arrivals


@inner
def account_for_link(s, l):
    """What the link measured in the interval; the sojourn is the mean one at its end, 1/ν."""
    link, fluid = s.links[l], s.fluid_links[l]
    link.arrivals, link.generated, link.dropped = whole(fluid.arrivals), whole(fluid.generated), whole(fluid.dropped)
    link.departures, link.number = link.generated, np.int64(fluid.content + 0.5)
    if fluid.made > 0.0:
        link.sojourn = link.departures * SECOND * (1.0 + fluid.content) / fluid.made
    fluid.arrivals -= link.arrivals
    fluid.generated -= link.generated
    fluid.dropped -= link.dropped

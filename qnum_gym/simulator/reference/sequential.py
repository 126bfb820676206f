"""`Reference`: the network with sequential swapping, in the order in which the package's docstring tells it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from qnum_gym.physics.measures import value
from qnum_gym.scenarios.arrays import CHANGES
from qnum_gym.simulator import state as codes
from qnum_gym.simulator.reference.network import Network
from qnum_gym.simulator.reference.things import Datagram, Link, Session
from qnum_gym.simulator.state import NEVER, SECOND


class Reference(Network):
    """Same interface as `Simulator` without its state functions, thousands of times slower, always traced.

    Of sequential swapping; `ParallelReference` has what the other kind does differently.
    """

    swapping = "sequential"

    def start(self) -> None:
        """Draw and plan the first injection of every session."""
        for session in self.sessions:
            session.draw()
            self.plan_injection(session)

    # ---- 1. the source injects --------------------------------------------------------------------------------------

    def plan_injection(self, s: Session) -> None:
        """Plan the next injection from what remains of its draw, if the session is active and its window not full."""
        s.base, s.next_injection = self.now, NEVER
        if s.active and not s.paused and s.rate > 0:
            wait = float(math.ceil(max(s.remaining, 0.0) / s.rate * SECOND))
            if wait < float(NEVER >> 1):
                time = s.next_injection = self.now + int(wait)
                self.at(time, codes.INJECTION, s.index, lambda: self.inject(s) if s.next_injection == time else None)

    def inject(self, s: Session) -> int:
        """The source sends a header on its way; it holds no qubit before the first pair."""
        datagram = Datagram(s, s.sequence, self.now, node=s.source)
        self.datagrams.append(datagram)
        s.sequence += 1
        s.injected += 1
        s.unacked += 1
        s.paused = s.full
        s.draw()
        self.plan_injection(s)
        datagram.here.link.arrivals += 1
        datagram.here.arrivals += 1
        self.begin(datagram)
        self.history.append(self.datagrams[-1])
        return datagram.sequence

    def begin(self, datagram: Datagram) -> None:
        """A new q-datagram comes to its first link."""
        self.join(datagram)

    # ---- 2. the link serves one at a time ---------------------------------------------------------------------------

    def join(self, datagram: Datagram) -> None:
        """The q-datagram joins the queue of its next link; the caller has checked that there is room."""
        link = datagram.here.link
        link.measure(self.now)
        datagram.joined = self.now
        link.queue.append(datagram)
        if link.serving is None:
            self.serve(link)

    def leave(self, link: Link, datagram: Datagram) -> None:
        """Account for the departure; call while the link still holds the q-datagram."""
        link.measure(self.now)
        link.departures += 1
        link.sojourn += self.now - datagram.joined

    def serve(self, link: Link) -> None:
        """An idle link begins the next service; those past their cut-off are dropped when their turn comes."""
        while link.queue:
            datagram = link.queue[0] if len(link.queue) == 1 else link.discipline.plain(link)
            if datagram is None:
                return
            if datagram.first is not None and self.now - datagram.first >= datagram.session.cutoff:
                self.leave(link, datagram)
                link.queue.remove(datagram)
                link.dropped += 1
                self.drop(datagram, codes.CUTOFF)
                continue
            link.queue.remove(datagram)
            link.serving, link.last_session = datagram, datagram.session.index
            link.remaining = link.stream.exponential()
            link.base, link.serving_werner = self.now, link.werner
            self.plan_pair(link)
            return

    def plan_pair(self, link: Link) -> None:
        """Plan the success of the attempts for the q-datagram in service."""
        link.plan()
        if (time := link.done) != NEVER:
            planned = (link.serving, time)
            entity = self.links.index(link)
            self.at(time, codes.PAIR, entity, lambda: self.pair(link) if (link.serving, link.done) == planned else None)

    # ---- 3. and 5. a pair is heralded: the first one, or one to swap with -------------------------------------------

    def pair(self, link: Link) -> int:
        """The pair for the q-datagram in service is there: the first of its route, or the next one to swap."""
        datagram = link.serving
        assert datagram is not None
        hop, s = datagram.here, datagram.session
        link.generated += 1
        self.leave(link, datagram)
        link.serving, link.done = None, NEVER
        swapped = True
        if datagram.hop == 0:
            datagram.first, datagram.log_werner = self.now, math.log(link.serving_werner)
            datagram.rate, datagram.header_signal, datagram.source_decay = s.rate, s.signal, self.end_decay(s, s.source)
            self.note_header(datagram)
            if self.loss > 0:
                self.start_timer(datagram)
        else:
            datagram.store(self.now)
            datagram.log_werner += math.log(link.serving_werner) + hop.log_gate
            if hop.swap_success < 1:
                swapped = s.swaps.uniform() <= hop.swap_success
        self.add_signal(datagram)
        if not swapped:
            self.drop(datagram, codes.SWAP_FAILED)
        else:
            datagram.carried, datagram.stored, datagram.node = True, self.now, hop.next_node
            datagram.decay_rate = self.storage_rate(datagram)
            if self.message_lost(s, 1):
                datagram.carried = False
                self.book_loss(datagram, codes.HEADER_LOST)
            else:
                entity = 2 * self.links.index(link) + hop.direction
                self.at(self.now + link.latency, codes.HEADER, entity, lambda: self.header(datagram))
        self.serve(link)
        return datagram.sequence

    def end_decay(self, s: Session, node: int) -> float:
        """γ of an end node of the session; 0 if it stores no half of its pairs (model.md §4.4)."""
        return s.stored_at_ends * self.decay_rate[node]

    def storage_rate(self, datagram: Datagram) -> float:
        """γ of the nodes that hold its two halves, together."""
        s, node = datagram.session, datagram.node
        ahead = self.end_decay(s, node) if node == s.destination else self.decay_rate[node]
        return self.end_decay(s, s.source) + ahead

    def note_header(self, datagram: Datagram) -> None:
        """The link remembers the header that passes: when, what it said, and how far its sequence number stepped on."""
        hop = datagram.here
        hop.seen, hop.rate = self.now, datagram.rate
        hop.header_signal, hop.source_decay = datagram.header_signal, datagram.source_decay
        gap = float(max(datagram.sequence - hop.sequence, 0))
        hop.headers += 1
        hop.gap += max(codes.GAP_GAIN, 1.0 / hop.headers) * (gap - hop.gap)
        hop.sequence = max(hop.sequence, datagram.sequence)

    def add_signal(self, datagram: Datagram) -> None:
        """The link adds its signal to the header: plainly, and times the share of q-datagrams that come here."""
        signal = datagram.here.link.signal
        datagram.price += signal
        datagram.thinned_price += signal / max(datagram.here.gap, 1.0)

    # ---- 4. the header comes to a node ------------------------------------------------------------------------------

    def header(self, datagram: Datagram) -> int:
        """The header arrives: at the destination, which answers, or at a node on the way."""
        hop = datagram.here
        if hop.last:
            self.arrive(datagram)
            return datagram.sequence
        datagram.hop += 1
        self.enter(datagram)
        return datagram.sequence

    def enter(self, datagram: Datagram) -> bool:
        """At a node on the way the q-datagram needs a place in the memory; whether it got one."""
        hop, link = datagram.here, datagram.here.link
        self.note_header(datagram)
        hop.arrivals += 1
        link.arrivals += 1
        if self.held(link, hop.direction) >= link.memory:
            link.dropped += 1
            waiting = [g for g in link.queue if g.hop > 0 and g.here.direction == hop.direction]
            victim = link.drop_policy.plain(link, waiting)
            if victim is None:
                self.drop(datagram, codes.OVERFLOW)
                return False
            self.leave(link, victim)
            link.queue.remove(victim)
            self.drop(victim, codes.OVERFLOW)
        self.join(datagram)
        return True

    def held(self, link: Link, direction: int) -> int:
        """How many q-datagrams on their way wait for the link, or are served by it, at one of its nodes."""
        present = [*link.queue, *([link.serving] if link.serving else [])]
        return sum(g.hop > 0 and g.here.direction == direction for g in present)

    # ---- 6. answers go back -----------------------------------------------------------------------------------------

    def arrive(self, datagram: Datagram) -> None:
        """The destination knows that the pair is complete: the ACK goes back, and until then the ends may store it."""
        s, hop = datagram.session, datagram.session.route[-1]
        datagram.store(self.now)
        datagram.decay_rate = self.decay_until_ack(s)
        datagram.completed, datagram.delivered = self.now, True
        s.arrived += 1
        self.send_back(datagram, hop.back + hop.link.latency, hop.index + 1)

    def decay_until_ack(self, s: Session) -> float:
        """γ of the two ends together while the ACK is on its way; 0 if they do not store pairs so long."""
        return s.until_ack * (self.end_decay(s, s.source) + self.end_decay(s, s.destination))

    def drop(self, datagram: Datagram, reason: int) -> None:
        """A node drops the q-datagram and sends a NACK from where it is."""
        self.book_loss(datagram, reason)
        self.send_back(datagram, datagram.here.back, datagram.here.index)

    def book_loss(self, datagram: Datagram, reason: int) -> None:
        """Count why the q-datagram is not going to be a delivered pair, once."""
        if not datagram.settled:
            datagram.settled, datagram.fate = True, codes.DROPPED + reason
            datagram.lost_at = datagram.hop
            self.drops[datagram.session.index, reason] += 1

    def send_back(self, datagram: Datagram, latency: int, hops: int) -> None:
        """An ACK or NACK goes to the source, over `hops` hops, on each of which it may be lost."""
        datagram.carried = False
        if self.message_lost(datagram.session, hops):
            self.book_loss(datagram, codes.ACK_LOST)
        else:
            due = self.now + latency + self.feedback_delay
            self.at(due, codes.FEEDBACK, datagram.session.index, lambda: self.feedback(datagram))

    def feedback(self, datagram: Datagram) -> int:
        """The answer reaches the source. One that comes after the time-out still teaches the round trip."""
        s = datagram.session
        s.answer_hops += len(s.route) if datagram.delivered else datagram.hop
        if datagram.delivered:
            assert datagram.first is not None
            s.learn_round_trip(float(self.now - datagram.first))
        if datagram.outstanding:
            if datagram.delivered:
                assert datagram.first is not None
                datagram.settled, datagram.fate = True, codes.DELIVERED
                datagram.acked = self.now
                s.delivered += 1
                s.served += s.active
                s.measure_age(self.begun, self.now)
                s.fresh = self.now
                datagram.store(self.now)
                werner = datagram.werner = math.exp(datagram.log_werner - datagram.decay)
                s.werner += werner
                s.worth += max(value(s.measure, werner), 0.0)
                s.latency += datagram.completed - datagram.injected
                s.round_trip += self.now - datagram.first
                s.log_werner += datagram.log_werner
                s.decay += datagram.decay
                s.price += datagram.price
                s.thinned_price += datagram.thinned_price
            else:
                s.nacked += 1
                s.nack_price += datagram.price
                s.nack_thinned_price += datagram.thinned_price
            self.free_slot(datagram)
            if s.active and 0 < s.pairs <= s.served:
                self.set_source(s, s.asked, False)
        return datagram.sequence

    def free_slot(self, datagram: Datagram) -> None:
        """The source forgets the q-datagram: its slot in the window is free, and so is its half of the pair."""
        s = datagram.session
        datagram.outstanding = False
        s.unacked -= 1
        if s.paused and not s.full:
            s.paused = False
            self.plan_injection(s)

    # ---- 7. messages may get lost -----------------------------------------------------------------------------------

    def message_lost(self, s: Session, hops: int) -> bool:
        """Whether a message of the session is lost on one of `hops` hops."""
        return self.loss > 0 and hops > 0 and s.messages.uniform() > (1.0 - self.loss) ** hops

    def start_timer(self, datagram: Datagram) -> None:
        """The source waits for the answer."""
        s = datagram.session
        self.at(self.now + math.ceil(s.timeout), codes.TIMEOUT, s.index, lambda: self.time_out(datagram))

    def time_out(self, datagram: Datagram) -> int | None:
        """The source gives the q-datagram up, whatever the network may still do."""
        if not datagram.outstanding:
            return None
        datagram.session.timeouts += 1
        self.book_loss(datagram, codes.TIMED_OUT)
        self.free_slot(datagram)
        return datagram.sequence

    # ---- what changes from outside ----------------------------------------------------------------------------------

    def change(self, i: int) -> int:
        """A link's capacity, a memory's decay rate, a session's activity or what it wants changes."""
        record = self._records.schedule[i]
        kind, index, number = int(record["kind"]), int(record["index"]), float(record["value"])
        if kind == codes.CAPACITY:
            self.set_link(self.links[index], number, self.links[index].werner)
        elif kind == codes.DECAY_RATE:
            self.decay_rate[index] = number
            self.change_decay()
            for datagram in self.datagrams:
                if datagram.delivered:
                    datagram.store(self.now)
                    datagram.decay_rate = self.decay_until_ack(datagram.session)
        elif kind == codes.ACTIVE:
            self.set_source(self.sessions[index], self.sessions[index].asked, bool(number))
        else:
            session = self.sessions[index]
            setattr(session, CHANGES[kind], number)
            if kind == codes.RATE_CAP:
                self.set_source(session, session.asked, session.active)
        return i

    def change_decay(self) -> None:
        """What is stored goes on decohering at the rates now in force."""
        for datagram in self.datagrams:
            if datagram.carried:
                datagram.store(self.now)
                datagram.decay_rate = self.storage_rate(datagram)

    def set_link(self, link: Link, capacity: float, werner: float) -> None:
        """Change d_l or w_l: attempts already begun keep what they began with, later ones go on with the same draw."""
        old = link.hazard
        link.capacity, link.werner = capacity, werner
        if link.serving is None:
            return
        begun = max(-((link.base - self.now) // link.cycle), 0)
        end = link.base + begun * link.cycle
        if begun and link.done == end:
            return  # the attempt under way is the one that succeeds
        if begun:
            link.remaining -= begun * old
            link.base = end
        link.serving_werner = werner
        previous = link.done
        link.plan()
        if link.done != previous:
            self.plan_pair(link)

    def set_source(self, s: Session, rate: float, active: bool) -> None:
        """Change R_r, as far as the cap allows, or the session's activity: the draw of the gap under way stays."""
        s.spend(self.now)
        if active != s.active:
            s.measure_age(self.begun, self.now)
            s.fresh = self.now
            if active:
                s.began, s.ended = self.now, NEVER
            else:
                s.ended = self.now
        s.asked, s.rate, s.active = rate, min(rate, s.rate_cap), active
        self.plan_injection(s)

    def set_controls(
        self,
        rates: ArrayLike | None = None,
        werner: ArrayLike | None = None,
        session_signals: ArrayLike | None = None,
        link_signals: ArrayLike | None = None,
    ) -> None:
        """Put controls in force, as `Simulator.set_controls` does; those that stay the same disturb nothing."""

        def numbers(values: ArrayLike | None) -> list[Any]:
            return [] if values is None else [float(x) for x in np.asarray(values)]

        self._records.clock["sources_stamp"] |= session_signals is not None
        self._records.clock["links_stamp"] |= link_signals is not None
        for s, rate in zip(self.sessions, numbers(rates), strict=False):
            if rate != s.asked:
                self.set_source(s, rate, s.active)
        for link, w in zip(self.links, numbers(werner), strict=False):
            if w != link.werner:
                self.set_link(link, link.capacity, w)
        for things, signals in ((self.sessions, session_signals), (self.links, link_signals)):
            for thing, signal in zip(things, numbers(signals), strict=False):
                thing.signal = signal

"""Parallel swapping in plain Python: all links of a route make their pairs for a q-datagram at once [ours].

Sources, queues, services and answers are those of sequential swapping.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import state as codes
from qnum_gym.simulator.reference.sequential import Reference
from qnum_gym.simulator.reference.things import Datagram, Link
from qnum_gym.simulator.state import NEVER


@dataclass(eq=False)
class Part(Datagram):
    """What one link does for a q-datagram: a request, then a pair with a half at either end, or nothing."""

    whole: Whole = field(kw_only=True)
    asked: bool = False  # has come to the link's queue
    made: bool = False  # the pair was made
    void: bool = False  # no pair will come
    swapped: bool = False  # at the node where the part begins; the source need not
    told: bool = False  # the outcome of all before is known where the part begins

    @property
    def behind(self) -> Part | None:
        """The part of the link before."""
        return self.whole.parts[self.hop - 1] if self.hop > 0 else None

    @property
    def ahead(self) -> Part | None:
        """The part of the next link."""
        return self.whole.parts[self.hop + 1] if not self.here.last else None

    @property
    def keeps_place(self) -> bool:
        """Whether the node where the part begins keeps room for the half that waits there, or will."""
        decided = self.behind is None or self.behind.made or self.behind.void
        return self.asked and not self.void and not (self.made and decided)


@dataclass(eq=False)
class Whole(Datagram):
    """The q-datagram as its source knows it."""

    parts: list[Part] = field(default_factory=lambda: [])

    @property
    def over(self) -> bool:
        """Whether nothing that happens to the parts matters any more."""
        return self.settled and all(part.made or part.void for part in self.parts)


class ParallelReference(Reference):
    """`Reference` for scenarios with `swapping: parallel`."""

    swapping = "parallel"

    def __init__(self, scenario: Scenario, seed: int = 0, *, trace: bool = True) -> None:
        self.wholes: list[Whole] = []  # whose parts may still work, also for a q-datagram that was given up
        super().__init__(scenario, seed, trace=trace)

    # ---- the request goes ahead -------------------------------------------------------------------------------------

    def begin(self, datagram: Datagram) -> None:
        """A new q-datagram: a part for each link of its route, and a request that joins their queues one by one."""
        s = datagram.session
        self.datagrams[-1] = whole = Whole(s, datagram.sequence, datagram.injected, node=datagram.node)
        self.wholes = [*(whole for whole in self.wholes if not whole.over), whole]
        for hop in range(len(s.route)):
            part = Part(s, datagram.sequence, datagram.injected, hop, whole=whole, outstanding=False, settled=True)
            part.rate, part.header_signal, part.source_decay = s.rate, s.signal, self.end_decay(s, s.source)
            whole.parts.append(part)
        first = whole.parts[0]
        first.told = first.asked = True
        self.note_header(first)
        self.join(first)
        self.ask_next(first)

    def ask_next(self, part: Part) -> None:
        """On to the next node with the request, at once."""
        self.add_signal(part)
        if (ahead := part.ahead) is None:
            return
        ahead.price, ahead.thinned_price = part.price, part.thinned_price
        if self.message_lost(part.session, 1):
            self.book_loss(part, codes.HEADER_LOST)
            self.forget(ahead)
        else:
            self.send(part, lambda: self.ask(ahead))

    def send(self, part: Part, act: Callable[[], int]) -> None:
        """A message over the part's link."""
        hop = part.here
        entity = 2 * self.links.index(hop.link) + hop.direction
        self.at(self.now + hop.link.latency, codes.HEADER, entity, act)

    def ask(self, part: Part) -> int:
        """The request comes to the node where the part begins."""
        part.asked = True
        if self.enter(part):
            self.ask_next(part)
        elif part.ahead:
            self.forget(part.ahead)
        return part.sequence

    def forget(self, part: Part) -> None:
        """This part and those ahead are never asked for."""
        for ahead in part.whole.parts[part.hop :]:
            ahead.void = True

    def held(self, link: Link, direction: int) -> int:
        """How many places of the memory are taken, counted one by one; the part just coming has none yet."""
        parts = [part for whole in self.wholes for part in whole.parts[1:]]
        there = [p for p in parts if p.here.link is link and p.here.direction == direction]
        return sum(part.keeps_place for part in there) - 1

    # ---- pairs and swaps --------------------------------------------------------------------------------------------

    def pair(self, link: Link) -> int:
        """The pair of a part is there: the nodes at its ends swap it, or store their half of it."""
        part = link.serving
        assert isinstance(part, Part)
        link.generated += 1
        self.leave(link, part)
        link.serving, link.done = None, NEVER
        part.made, part.first, part.stored = True, self.now, self.now
        part.log_werner = math.log(link.serving_werner)
        if part.behind is None:
            part.swapped = True
            part.whole.first = self.now
            if self.loss > 0 and part.whole.outstanding:
                self.start_timer(part.whole)
        else:
            self.meet(part.behind, part)
        if part.ahead is not None:
            self.meet(part, part.ahead)
        part.decay_rate = self.storage_rate(part)
        if part.told and part.swapped:
            self.tell_next(part)
        self.serve(link)
        return part.sequence

    def meet(self, left: Part, right: Part) -> None:
        """One of two pairs that share a node has just been made."""
        if left.made and right.made:
            hop, s = right.here, right.session
            for part in (left, right):
                part.store(self.now)
                part.decay_rate = self.storage_rate(part)
            right.swapped = hop.swap_success >= 1 or s.swaps.uniform() <= hop.swap_success
            right.log_werner += hop.log_gate
            if not right.swapped:
                self.drop(right, codes.SWAP_FAILED)
        else:
            waiting = right if left.made else left
            if not waiting.void and waiting.first is None:
                waiting.first = self.now

    def storage_rate(self, datagram: Datagram) -> float:
        """Of a part: γ of the nodes where a half still waits, together."""
        assert isinstance(datagram, Part)
        s, here, behind, ahead, rate = datagram.session, datagram.here, datagram.behind, datagram.ahead, 0.0
        if behind is None:
            rate += self.end_decay(s, here.node)
        elif not behind.made:
            rate += self.decay_rate[here.node]
        if ahead is None:
            rate += self.end_decay(s, here.next_node)
        elif not ahead.made:
            rate += self.decay_rate[here.next_node]
        return rate

    def change_decay(self) -> None:
        """What is stored goes on decohering at the rates now in force."""
        for whole in self.wholes:
            for part in [] if whole.delivered else whole.parts:
                if part.made:
                    part.store(self.now)
                    part.decay_rate = self.storage_rate(part)

    # ---- outcomes follow --------------------------------------------------------------------------------------------

    def tell_next(self, part: Part) -> None:
        """The outcome up to this part goes on over its link."""
        if self.message_lost(part.session, 1):
            self.book_loss(part, codes.HEADER_LOST)
        else:
            self.send(part, lambda: self.on_outcome(part))

    def on_outcome(self, part: Part) -> int:
        """The outcome up to this part comes to the node where the part ends."""
        if part.ahead is None:
            self.complete(part.whole)
        else:
            part.ahead.told = True
            if part.ahead.swapped:
                self.tell_next(part.ahead)
        return part.sequence

    def complete(self, whole: Whole) -> None:
        """The destination knows all outcomes: the pair is there, and the ACK goes back."""
        for part in whole.parts:
            part.store(self.now)
            whole.log_werner += part.log_werner
            whole.decay += part.decay
        last = whole.parts[-1]
        whole.price, whole.thinned_price = last.price, last.thinned_price
        self.arrive(whole)

    def book_loss(self, datagram: Datagram, reason: int) -> None:
        """Of a part: count why its q-datagram is lost."""
        if not isinstance(datagram, Part):
            super().book_loss(datagram, reason)
        elif not datagram.whole.settled:
            super().book_loss(datagram.whole, reason)
            datagram.whole.lost_at = datagram.hop

    def drop(self, datagram: Datagram, reason: int) -> None:
        """Of a part without a pair: none will come."""
        if isinstance(datagram, Part) and not datagram.made:
            datagram.void = True
        super().drop(datagram, reason)

    def feedback(self, datagram: Datagram) -> int:
        """Of a part: a NACK, which tells how far it came. The first one counts."""
        if not isinstance(datagram, Part):
            return super().feedback(datagram)
        whole = datagram.whole
        whole.price, whole.thinned_price, whole.hop = datagram.price, datagram.thinned_price, datagram.hop
        return super().feedback(whole)

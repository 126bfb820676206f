"""The same network in plain Python, to be read first and to test the kernel against (model.md §4). [paper, ours]

One q-datagram from its source to its destination, with sequential swapping:

1. The *source* injects it as a header without qubits, at rate R_r, and never has more than `window` of them unanswered.
   (`inject`, `plan_injection`)
2. It joins the queue of the first *link* of its route. A link serves one q-datagram at a time and only then attempts to
   make a pair, once per cycle time; the number of attempts is drawn when service begins. The queue discipline says
   whose turn is next. (`join`, `serve`, `plan_pair`)
3. When the *first pair* is heralded, the source stamps its rate and signal into the header, and the link adds its own
   signal. One half stays at the source, the other at the next node. The header leaves over that link. (`pair`)
4. At each *node* on the way the q-datagram needs a place in the memory for its next link. If there is none, the drop
   policy says who is dropped. Else it joins that link's queue. (`header`, `enter`)
5. Each further pair is *swapped* into the one that is there, which succeeds with probability q: the Werner parameters
   multiply. What is stored decoheres meanwhile. A q-datagram that is older than its cut-off when its turn comes is
   dropped. (`pair`, `serve`)
6. At the *destination* the pair is complete, and an ACK goes back to the source; a node that drops a q-datagram sends a
   NACK. Either frees the slot in the window; the ACK delivers the pair. (`send_back`, `feedback`)
7. Messages may get lost. Then the source waits from the first pair on, as long as TCP would, and gives up the
   q-datagram at the *time-out*. (`start_timer`, `time_out`)

With parallel swapping (model.md §4.9) a request goes ahead of the pairs and joins the queues of all links of the route.
A node swaps as soon as it has a pair on either side, and outcomes follow the request to the destination.

    things       stream, hop, q-datagram, link, session
    network      the heap of events, and what is measured
    sequential   `Reference`: the protocol above
    parallel     `ParallelReference`: what is different with parallel swapping

It shares with the kernel the random numbers (same streams, same draws) and the records into which measurements go, and
nothing else: queues are lists, memory is counted by looking, and events that have become stale are skipped.
"""

from qnum_gym.simulator.reference.parallel import ParallelReference
from qnum_gym.simulator.reference.sequential import Reference

__all__ = ["REFERENCES", "ParallelReference", "Reference"]

REFERENCES = {kind.swapping: kind for kind in (Reference, ParallelReference)}  # by kind of swapping

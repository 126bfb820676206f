"""The event loop of the packet-level network (model.md §4), compiled by numba over the arrays of `state.py`.

`reference/` tells the same rules in plain Python, and is the first thing to read; a test holds both equal, event for
event, on the same random draws. The files, each of which knows only those before it:

    view        the arrays of one network, as compiled code sees them
    random      streams of random numbers
    clock       seconds as whole nanoseconds
    tree        which event comes next
    lists       queues, answers and timers in order
    rules       registered disciplines and drop policies
    datagrams   q-datagrams, headers, answers, losses
    links       attempts, queues, memories
    sources     injection, window, answers, time-outs
    sequential  swapping one link of a route after the other
    parallel    swapping all links at once
    swapping    what these two do differently, by the scenario's kind
    changes     what befalls the network from outside
    fluid       flows in place of events
    loop        takes the next event from the tree and calls its handler; what Python calls

[paper: the sequential q-datagram network of arXiv:2410.08980 and arXiv:2510.09371; what model.md marks † is ours]
"""

from qnum_gym.simulator.kernel.loop import (
    CLOCK_FULL,
    DONE,
    LOG_FULL,
    POOL_EMPTY,
    RECORDS_FULL,
    advance,
    record_unfinished,
    set_link_signals,
    set_rates,
    set_session_signals,
    set_werner,
    start,
)

__all__ = [
    "CLOCK_FULL",
    "DONE",
    "LOG_FULL",
    "POOL_EMPTY",
    "RECORDS_FULL",
    "advance",
    "record_unfinished",
    "set_link_signals",
    "set_rates",
    "set_session_signals",
    "set_werner",
    "start",
]

# pyright: basic
"""Networks shared out among threads inside compiled code: counters moved on by one instruction.

`shares` are integers [1 + threads, COLUMNS], a cache line per row: in the first how many networks are not done and the
address of a bell, in the others the next one of each thread's part, the end of the part, and how many the thread has
claimed anywhere. A bell [1] counts the rounds of work begun.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

from qnum_gym import caching
from qnum_gym.simulator import formulas, kernel, pointers, state
from qnum_gym.simulator.pointers import at_address

inner: Any = njit(nogil=True, error_model="numpy")
entry: Any = caching.entry(formulas, state, pointers, kernel, file=__file__)  # called from Python

UNDONE, BELL = 0, 1
NEXT, END, CLAIMED, COLUMNS = 0, 1, 2, 8
SPINS = 100_000  # about 0.5 ms
LINGER = 40_000  # spins

_integers: Any = at_address(np.dtype(np.int64))


def atomic_add(typing_context, numbers, index, value):
    """Add to an integer, with no other thread in between; gives what it was before."""

    def code(context, builder, sig, args):
        return builder.atomic_rmw("add", builder.gep(args[0], [args[1]]), args[2], "seq_cst")

    return types.int64(numbers, types.int64, types.int64), code


add: Any = intrinsic(atomic_add)


def shares(n: int, threads: int, bell: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Equal parts of 0 to n − 1."""
    ends = np.arange(threads + 1) * n // threads
    table = np.zeros((1 + threads, COLUMNS), np.int64)
    table[0, UNDONE], table[0, BELL], table[1:, NEXT], table[1:, END] = n, bell.ctypes.data, ends[:-1], ends[1:]
    return table


@inner
def claim(shares, own):
    """The next network of a thread's own part (own = 0 …), then of the others' parts; −1 if none is left anywhere."""
    threads = len(shares) - 1
    counters = _integers(shares.ctypes.data)
    for turn in range(threads):
        part = 1 + (own + turn) % threads
        if shares[part, NEXT] < shares[part, END]:
            i = add(counters, part * COLUMNS + NEXT, 1)
            if i < shares[part, END]:
                shares[1 + own, CLAIMED] += 1
                return i
    return -1


@entry
def advance(table, shares, own, seconds, status, claimed):
    """`kernel.advance` afresh for every network that can be claimed; gives how many `claimed` [n] they were.

    status [n] is of this thread alone and DONE for everyone else's networks.
    """
    if own == 0:  # not before, while the caller held the GIL, which those who hear the bell need first
        add(_integers(shares[0, BELL]), 0, 1)
    count = 0
    i = claim(shares, own)
    while i >= 0:
        kernel.advance(table, i, i + 1, seconds, True, status)
        claimed[count] = i
        count += 1
        i = claim(shares, own)
    return count


@entry
def finish(shares, own):
    """A thread is done with what it has claimed; what an exception left unclaimed nobody need begin any more."""
    _finish(shares, own)


@inner
def _finish(shares, own):
    while claim(shares, own) >= 0:
        pass
    add(_integers(shares.ctypes.data), UNDONE, -shares[1 + own, CLAIMED])
    shares[1 + own, CLAIMED] = 0


@entry
def finished(shares):
    """Whether all networks are done, after waiting for it for a moment."""
    counters = _integers(shares.ctypes.data)
    spins = SPINS
    while add(counters, UNDONE, 0) > 0 and spins > 0:
        spins -= 1
    return add(counters, UNDONE, 0) == 0


@entry
def wait(shares):
    """Finish for the calling thread, if an exception kept it from it, and wait until all the others have."""
    _finish(shares, 0)
    counters = _integers(shares.ctypes.data)
    while add(counters, UNDONE, 0) > 0:
        pass


@entry
def linger(bell, served):
    """Stay awake for a moment after round number `served`, to hear the bell: waking takes longer than a step may."""
    counter = _integers(bell.ctypes.data)
    spins = LINGER
    while add(counter, 0, 0) <= served and spins > 0:
        spins -= 1

"""`ThreadPool`: threads that share out work on n networks among themselves."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qnum_gym.simulator import work_queue as compiled

work_queue: Any = compiled  # numba has no types

Shares = NDArray[np.int64]  # see work_queue.py
Part = Callable[[int], None]


class ThreadPool:
    """The calling thread and others, which sleep when there was nothing to do for 0.2 ms, and end with the pool.

    Each begins with a part of its own, always the same one, so that a network stays in the cache of one core, and then
    takes what is left of the others' parts: nobody waits for longer than one network takes, nor for a thread that the
    system has not woken in time (it finds nothing left to claim).
    """

    def __init__(self, n: int, threads: int) -> None:
        self._threads = min(threads, n)
        self._bell = np.zeros(1, np.int64)
        self._shares: Shares = work_queue.shares(n, self._threads, self._bell)  # as they are before any work
        self._orders: list[SimpleQueue[Part | None]] = []
        work_queue.wait(work_queue.shares(0, 1, self._bell))  # compiles it: an interrupt must not find it uncompiled
        self._process = 0  # whose threads they are: none comes along through a fork

    def run(self, work: Callable[[Shares, int], object]) -> None:
        """Call `work(shares, own)` in each thread, own = 0 …, for the networks that `work_queue.claim` gives.

        Returns or raises when no thread is at work any more: arrays may go then. Raises what was raised in this thread,
        an interrupt (Ctrl-C) among it, or else in another one.
        """
        shares, errors = self._shares.copy(), list[BaseException]()
        if self._threads == 1:  # nobody to wait for
            work(shares, 0)
            return

        def part(own: int) -> None:
            try:
                work(shares, own)
            except BaseException as error:
                errors.append(error)
            finally:
                work_queue.finish(shares, own)

        try:
            self._call(part)
            work(shares, 0)
            work_queue.finish(shares, 0)
            while not work_queue.finished(shares):
                time.sleep(1e-4)
        except BaseException:
            self._process = 0  # new threads next time: these may have heard of different numbers of rounds
            for orders in self._orders:
                orders.put(None)
            raise
        finally:
            work_queue.wait(shares)  # compiled, so that no second interrupt can end the wait
        if errors:
            raise errors[0]

    def _call(self, part: Part) -> None:
        if self._process != os.getpid():
            self._orders, self._process = [SimpleQueue() for _ in range(1, self._threads)], os.getpid()
            self._bell[0] = 0
            for own, orders in enumerate(self._orders, 1):
                given = orders, own, self._bell
                threading.Thread(target=_serve, args=given, name=f"qnum_gym_{own}", daemon=True).start()
                weakref.finalize(self, orders.put, None)
        for orders in self._orders:
            orders.put(part)


def _serve(orders: SimpleQueue[Part | None], own: int, bell: NDArray[np.int64]) -> None:
    """A thread's life. It lets go of a part at once, which would keep the pool alive."""
    served = 0
    while (part := orders.get()) is not None:
        part(own)
        del part
        served += 1
        work_queue.linger(bell, served)

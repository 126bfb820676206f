"""`Batch`: many simulators stepped by one compiled call, on all cores, without holding the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.simulator import kernel as compiled
from qnum_gym.simulator import work_queue as compiled_work_queue
from qnum_gym.simulator.simulator import Bounds, Floats, Simulator, check_ready, past_the_end, positive, put_controls
from qnum_gym.simulator.state import CLOCK_END, COLUMNS, SECOND
from qnum_gym.simulator.telemetry import JoinedTelemetry
from qnum_gym.simulator.thread_pool import Shares, ThreadPool
from qnum_gym.simulator.turn import Turn, in_turn

kernel: Any = compiled  # numba has no types
work_queue: Any = compiled_work_queue


def _stacked(pairs: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    return np.array([low for low, _ in pairs]), np.array([high for _, high in pairs])


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):  # where there is none (macOS, Windows), all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Batch:
    """n simulators with equal numbers of sessions R and links L, of any scenarios, stepped together.

    The simulators stay what they are: each may also be reset, copied or asked for telemetry by itself, and does the
    same bit for bit alone or in a batch.

    Args:
        simulators: whom to step; a simulator belongs to one batch.
        threads: how many to use; all cores if not given.

    Raises:
        ValueError: no simulator, or unequal numbers of sessions or links, or fewer than one thread.
    """

    def __init__(self, simulators: Sequence[Simulator], threads: int | None = None) -> None:
        if not simulators:
            raise ValueError("simulators is empty; valid: at least one")
        if threads is not None and threads < 1:
            raise ValueError(f"threads = {threads}; valid: at least 1")
        sizes = {(len(s.scenario.sessions), len(s.scenario.links)) for s in simulators}
        if len(sizes) > 1:
            raise ValueError(f"simulators have (sessions, links) = {sorted(sizes)}; valid: all the same")
        self.simulators = tuple(simulators)
        self.threads = threads or cores()
        self._table = np.zeros((len(simulators), COLUMNS), np.int64)
        self._ready, self._turn = np.ones(len(simulators), np.bool_), Turn()
        for i in range(len(simulators)):
            self._take(i)
        self._read_bounds()
        self._threads = ThreadPool(len(simulators), self.threads)

    def _read_bounds(self) -> None:
        rates, werner = zip(*(simulator.bounds for simulator in self.simulators), strict=True)
        self._bounds: Bounds = (_stacked(rates), _stacked(werner))

    def _take(self, i: int) -> None:
        self.simulators[i].share(self._table[i : i + 1], self._ready[i : i + 1], self._turn)

    @property
    def table(self) -> NDArray[np.int64]:
        """[n, COLUMNS] addresses of the simulators' arrays, for compiled code (`kernel.view.view`)."""
        return self._table

    @in_turn
    def replace(self, i: int, simulator: Simulator) -> None:
        """Put another simulator, of as many sessions and links, in place i."""
        self.simulators = (*self.simulators[:i], simulator, *self.simulators[i + 1 :])
        self._take(i)
        self._read_bounds()

    @in_turn
    def set_controls(
        self,
        rates: ArrayLike | None = None,
        werner: ArrayLike | None = None,
        session_signals: ArrayLike | None = None,
        link_signals: ArrayLike | None = None,
    ) -> None:
        """`Simulator.set_controls` for all: arrays [n, R] and [n, L]; nothing is changed if anything is refused.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside its simulator's range.
        """
        put_controls(self._table, self._ready, self._bounds, rates, werner, session_signals, link_signals)

    @in_turn
    def advance(self, seconds: ArrayLike) -> None:
        """Simulate the next `seconds` (one number, or one per simulator); each simulator then has its telemetry.

        Raises:
            ValueError: `seconds` is not positive, or leads a simulator past the end of the clock, 1e8 s after its
                start; nothing is simulated then.
        """
        spans = positive(seconds, len(self.simulators))
        for simulator, span in zip(self.simulators, spans.tolist(), strict=True):
            if simulator.time + span > CLOCK_END / SECOND:
                raise past_the_end(simulator, span)
        self.parallel(lambda shares, own: self.run(shares, own, spans))

    def telemetry(self) -> JoinedTelemetry:
        """What was measured in each simulator's last advance."""
        return JoinedTelemetry([simulator.state for simulator in self.simulators])

    def run(self, shares: Shares, own: int, seconds: Floats) -> NDArray[np.int64]:
        """`advance`, in thread `own`, for the simulators it can get hold of, which it returns; `seconds` [n]."""
        n = len(self.simulators)
        status, claimed = np.zeros(n, np.int64), np.empty(n, np.int64)
        count = work_queue.advance(self._table, shares, own, seconds, status, claimed)
        while status.any():
            for i in np.flatnonzero(status):
                if status[i] == kernel.CLOCK_FULL:
                    raise past_the_end(self.simulators[i], float(seconds[i]))
                self.simulators[i].make_room(int(status[i]))
            kernel.advance(self._table, 0, n, seconds, False, status)
        return claimed[:count]

    @in_turn
    def parallel(self, work: Callable[[Shares, int], object]) -> None:
        """Call `work(shares, own)` in each thread, see `ThreadPool`; compiled code in it lets go of the GIL.

        Raises:
            RuntimeError: an earlier call was interrupted, and not all simulators were reset.
        """
        check_ready(self._ready)
        self._ready[:] = False
        self._threads.run(work)
        self._ready[:] = True

    def __getstate__(self) -> dict[str, Any]:
        return {"simulators": self.simulators, "threads": self.threads}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

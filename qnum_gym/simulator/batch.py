"""`Batch`: many simulators stepped by one compiled call, on all cores, without holding the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qnum_gym.scenarios.sizes import Sizes
from qnum_gym.simulator import kernel as compiled
from qnum_gym.simulator import work_queue as compiled_work_queue
from qnum_gym.simulator.simulator import (
    Bounds,
    Floats,
    Simulator,
    check_ready,
    past_the_end,
    positive,
    put_controls,
    real,
)
from qnum_gym.simulator.state import CLOCK_END, COLUMNS, SECOND
from qnum_gym.simulator.telemetry import JoinedTelemetry
from qnum_gym.simulator.thread_pool import Shares, ThreadPool
from qnum_gym.simulator.turn import Turn, in_turn

kernel: Any = compiled  # numba has no types
work_queue: Any = compiled_work_queue


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):  # where there is none (macOS, Windows), all
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Batch:
    """n simulators of any scenarios, stepped together.

    The simulators stay what they are: each may also be reset, copied or asked for telemetry by itself, and does the
    same bit for bit alone or in a batch. R and L are those of the largest network, or of `sizes`; of a smaller one the
    first rows are its own, and the others stand for nothing.

    Args:
        simulators: whom to step; a simulator belongs to one batch.
        threads: how many to use; all cores if not given.
        sizes: room for larger networks, which may come by `replace`.

    Attributes:
        session_mask, link_mask: [n, R], [n, L] which rows are a network's own. full: whether all are.

    Raises:
        ValueError: no simulator, or one without room, or fewer than one thread.
    """

    def __init__(self, simulators: Sequence[Simulator], threads: int | None = None, sizes: Sizes | None = None) -> None:
        if not simulators:
            raise ValueError("simulators is empty; valid: at least one")
        if threads is not None and threads < 1:
            raise ValueError(f"threads = {threads}; valid: at least 1")
        self.simulators = tuple(simulators)
        self.threads = threads or cores()
        self.sizes = sizes or Sizes.of(simulator.scenario for simulator in simulators)
        n = len(simulators)
        self._table = np.zeros((n, COLUMNS), np.int64)
        self._ready, self._turn = np.ones(n, np.bool_), Turn()
        shapes = (n, self.sizes.sessions), (n, self.sizes.links)
        self.session_mask, self.link_mask = (np.zeros(shape, np.bool_) for shape in shapes)
        of_sessions, of_links = ((np.zeros(shape), np.zeros(shape)) for shape in shapes)
        self._bounds: Bounds = of_sessions, of_links
        for i in range(n):
            self._take(i)
        self.full = bool(self.session_mask.all() and self.link_mask.all())
        self._threads = ThreadPool(n, self.threads)

    def _take(self, i: int) -> None:
        simulator = self.simulators[i]
        self.sizes.check(simulator.scenario)
        simulator.share(self._table[i : i + 1], self._ready[i : i + 1], self._turn)
        masks = self.session_mask, self.link_mask
        for mask, bounds, own in zip(masks, self._bounds, simulator.bounds, strict=True):
            mask[i] = np.arange(mask.shape[1]) < len(own[0])
            for array, values in zip(bounds, own, strict=True):
                array[i] = 0.0
                array[i, : len(values)] = values

    @property
    def table(self) -> NDArray[np.int64]:
        """[n, COLUMNS] addresses of the simulators' arrays, for compiled code (`kernel.view.view`)."""
        return self._table

    @in_turn
    def replace(self, i: int, simulator: Simulator) -> None:
        """Put another simulator in place i.

        Raises:
            ScenarioError: there is no room for it; nothing is changed then.
        """
        self.sizes.check(simulator.scenario)
        self.simulators = (*self.simulators[:i], simulator, *self.simulators[i + 1 :])
        self._take(i)
        self.full = bool(self.session_mask.all() and self.link_mask.all())

    @in_turn
    def set_controls(
        self,
        rates: ArrayLike | None = None,
        werner: ArrayLike | None = None,
        session_signals: ArrayLike | None = None,
        link_signals: ArrayLike | None = None,
    ) -> None:
        """`Simulator.set_controls` for all: arrays [n, R] and [n, L]; nothing is changed if anything is refused.

        What stands in rows that are no network's own is ignored.

        Raises:
            ValueError: a wrong shape, NaN, or a value outside its simulator's range.
        """
        given = rates, werner, session_signals, link_signals
        if not self.full:
            names = "rates", "werner", "session_signals", "link_signals"
            masks = (self.session_mask, self.link_mask) * 2
            given = [
                x if x is None else np.where(mask, real(name, x, mask.shape), 0.0)
                for name, x, mask in zip(names, given, masks, strict=True)
            ]
        put_controls(self._table, self._ready, self._bounds, *given)

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
        return {"simulators": self.simulators, "threads": self.threads, "sizes": self.sizes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

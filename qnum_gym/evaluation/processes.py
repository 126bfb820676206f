"""Work over several processes, which end with the one that began them, however that ends."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class WorkerError(ChildProcessError):
    """A process that did a part of the work has died."""


class Processes:
    """`count` new processes that work side by side; with a count of 1 this process does all itself.

    They begin with the first work that is enough for two, and end when the context is left; at once if by an exception.
    """

    def __init__(self, count: int = 1) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is None:
            return
        if kind is not None:  # what the processes are at would take minutes more
            for process in self._mine():
                process.terminate()
        self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def map(self, function: Callable[[T, int | None], R], work: Sequence[T]) -> Iterator[tuple[T, R]]:
        """Each piece of work and what `function(piece, threads)` makes of it, in the order in which they are done.

        Several processes have one thread each; alone, this one has all (None).

        Raises:
            WorkerError: a process has died.
            Exception: what the function raises.
        """
        if self.count == 1 or (len(work) < 2 and self._pool is None):
            for piece in work:
                yield piece, function(piece, None)
            return
        if self._pool is None:
            self._others = active_children()
            self._pool = ProcessPoolExecutor(self.count, get_context("spawn"), _begin)
        try:
            running = {self._pool.submit(_do, pickle.dumps((function, piece))): piece for piece in work}
            for future in as_completed(running):
                yield running.pop(future), future.result()
        except BrokenProcessPool:
            raise WorkerError(
                f"one of {self.count} processes has died, killed or without memory; what was done before is kept; "
                "valid: the same again, with fewer processes if memory was short"
            ) from None

    def _mine(self) -> list[Any]:
        return [process for process in active_children() if process not in self._others]


def _do(content: bytes) -> Any:
    """A piece of work, unpickled in its course: what cannot be here is then an error of the work, not of the pool."""
    function, piece = pickle.loads(content)
    return function(piece, 1)


def _begin() -> None:
    """A process of several: it ends with its parent, however that ends; libraries loaded from now on take one core."""
    os.environ["OMP_NUM_THREADS"] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all of them; the parent ends the others
    threading.Thread(target=_end_with, args=(parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)  # pyright: ignore[reportPrivateUsage]

"""How far long work is: one line on standard error, the same for all commands."""

from __future__ import annotations

import contextlib
import sys
from time import monotonic
from types import TracebackType
from typing import Self

EVERY = 30.0  # s between two lines in a file
AGAIN = 0.1  # s between two versions of the line on a terminal


class ProgressLine:
    """What is done, of how much, how fast, time left, and what it was: `suite: 64/128 episodes, 8.2/s, 8 s left: …`.

    On a terminal the line rewrites itself; in a file there is a new one every now and then, and a last one.

    Args:
        name: of the work.
        unit: what is counted.
    """

    def __init__(self, name: str, unit: str = "episodes") -> None:
        self._name, self._unit = name, unit
        self._start: tuple[int, float] | None = None  # what was done when it began, and when that was, s
        self._shown = 0.0  # s
        self._open = False  # whether the terminal's line waits for its end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open:
            _write("\n")
            self._open = False

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """`done` of `total` are done; `what` is what they were."""
        now, terminal = monotonic(), sys.stderr.isatty()
        if self._start is None:
            self._start = done, now
            self._shown = now - AGAIN if terminal else now
        if done < total and now < self._shown + (AGAIN if terminal else EVERY):
            return
        self._shown = now
        line = f"{self._name}: {done}/{total} {self._unit}{self._speed(done, total, now)}{what and f': {what}'}"
        if terminal:
            _write(f"\r\x1b[K{line}" + "\n" * (done >= total))
            self._open = done < total
        else:
            _write(f"{line}\n")

    def _speed(self, done: int, total: int, now: float) -> str:
        """Since the start, and the time left at that speed, or taken."""
        before, begin = self._start or (done, now)
        if done == before or now <= begin:
            return ""
        speed = (done - before) / (now - begin)
        time = f"{duration((total - done) / speed)} left" if done < total else duration(now - begin)
        return f", {speed:.3g}/s, {time}" if speed < 100 else f", {speed:.0f}/s, {time}"

    def say(self, text: str) -> None:
        """A line of its own, which stays."""
        _write(f"\r\x1b[K{text}\n" if self._open else f"{text}\n")
        self._open = False


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # nobody reads it: the work goes on
        sys.stderr.write(text)
        sys.stderr.flush()


def duration(seconds: float) -> str:
    """Some time in words.

    >>> duration(59), duration(150), duration(9000)
    ('59 s', '2 min 30 s', '2 h 30 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

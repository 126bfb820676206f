"""`Turn`: one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Turn:
    """A lock that its owner takes while it works; copies and pickles of the owner get a free one of their own.

    To be used as `with turn.lock:`. With an `__enter__` of our own Ctrl-C could leave the lock taken.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()

    def __reduce__(self) -> tuple[type[Turn], tuple[()]]:
        return type(self), ()


def in_turn(method: Callable[P, R]) -> Callable[P, R]:
    """A method that works while its object has the turn, `_turn`: threads that call such methods wait in line."""

    @wraps(method)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> R:
        owner: Any = args[0]
        with owner._turn.lock:
            return method(*args, **kwargs)

    return waiting

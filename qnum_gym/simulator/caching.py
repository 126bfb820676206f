# pyright: basic
"""numba's compile cache, told about every file that a compiled function is made of.

numba compiles a function anew when the file changes in which it stands, and only then. Ours also depend on record
layouts, pointers and functions of other files, and work with bare addresses: a stale one would write anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit


def entry(*files: str) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for functions called from Python: compiled once per machine and state of `files`, without the GIL."""
    stamp = hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).digest()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher = njit(nogil=True, error_model="numpy", cache=True)(function)
        dispatcher._cache._cache_file._source_stamp = stamp
        return dispatcher

    return compiled

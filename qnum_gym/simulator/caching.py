# pyright: basic
"""numba's compile cache, told about every file that a compiled function is made of.

numba compiles a function anew when the file changes in which it stands, and only then. Ours also depend on record
layouts, pointers and functions of other files, and work with bare addresses: a stale one would write anywhere.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from numba import njit


def entry(*modules: ModuleType, file: str) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for functions called from Python: run without the GIL, compiled once per machine.

    Args:
        modules: whose code or layouts the functions use. file: their own.
    """
    files = (*(str(module.__file__) for module in modules), file)
    stamp = hashlib.sha256(b"".join(Path(path).read_bytes() for path in files)).digest()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, error_model="numpy", cache=True)(function)
        dispatcher._cache._cache_file._source_stamp = stamp
        return dispatcher

    return compiled


def announce(dispatcher: Any) -> None:
    """Say that the next call of a compiled function is going to take a while, if it is the first on this machine."""
    if not dispatcher.signatures and not Path(dispatcher._cache._cache_file._index_path).exists():
        logging.getLogger("qnum_gym").warning("compiling the simulator, once per machine: about ten seconds")

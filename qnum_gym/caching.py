# pyright: basic
"""numba's compile cache, told about every file that a compiled function is made of.

numba compiles a function anew when the file changes in which it stands, and only then. Ours also depend on record
layouts, pointers and functions of other files, and work with bare addresses: a stale one would write anywhere. So where
numba's cache cannot be told, or written, there is none.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numba
from numba import njit
from numba.core import config
from numba.core.caching import FunctionCache

if config.DISABLE_JIT:  # pyright: ignore
    raise ImportError("NUMBA_DISABLE_JIT is set, and the simulator is code that numba compiles: unset it")

COMPILING = "compiling {}, once per machine: ten seconds to a minute"


class Cache(FunctionCache):
    """Goes by a stamp of our own; compiles anew whatever cannot be read, and goes on where nothing can be written."""

    def __init__(self, function: Callable[..., Any], stamp: bytes) -> None:
        super().__init__(function)
        if not {"_source_stamp", "_index_path"} <= vars(self._cache_file).keys():
            raise RuntimeError(f"numba {numba.__version__} keeps compiled functions in another way")
        self._cache_file._source_stamp = stamp

    @property
    def empty(self) -> bool:
        """Whether nothing was ever kept."""
        return not Path(self._cache_file._index_path).exists()

    def load_overload(self, *arguments: Any) -> Any:
        """As numba's; None, as if there were none, of a file that was emptied or cut."""
        try:
            return super().load_overload(*arguments)
        except Exception:  # whatever unpickling it raises
            return None

    def save_overload(self, *arguments: Any) -> None:
        """As numba's; begins anew where the index cannot be read."""
        try:
            try:
                super().save_overload(*arguments)
            except OSError:
                raise
            except Exception:
                self.flush()
                super().save_overload(*arguments)
        except OSError as error:
            say_uncached(str(error))


@cache
def say_uncached(why: str) -> None:
    """Say that compiled code is not kept, once for each reason."""
    logging.getLogger("qnum_gym").warning(
        f"compiled code is not kept ({why}): every process compiles anew, about a minute. "
        "NUMBA_CACHE_DIR=FOLDER names a folder that can be written"
    )


def entry(*modules: ModuleType, file: str) -> Callable[[Callable[..., Any]], Any]:
    """A decorator for functions called from Python: run without the GIL, compiled once per machine.

    Args:
        modules: whose code or layouts the functions use; of a package, all files count.
        file: their own, or the folder of their package.
    """
    paths = [*(module.__path__[0] if hasattr(module, "__path__") else str(module.__file__) for module in modules), file]
    files = [own for path in map(Path, paths) for own in (sorted(path.glob("*.py")) if path.is_dir() else [path])]
    stamp = hashlib.sha256(b"".join(path.read_bytes() for path in files)).digest()

    def compiled(function: Callable[..., Any]) -> Any:
        dispatcher: Any = njit(nogil=True, error_model="numpy")(function)
        try:
            dispatcher._cache = Cache(function, stamp)
        except (RuntimeError, AttributeError) as error:
            say_uncached("no folder" if "no locator" in str(error) else str(error))
        return dispatcher

    return compiled


def announce(dispatcher: Any, what: str = "the simulator") -> None:
    """Say that the next call of a compiled function is going to take a while, if it is the first on this machine."""
    kept = getattr(dispatcher, "_cache", None)
    if not dispatcher.signatures and isinstance(kept, Cache) and kept.empty:
        logging.getLogger("qnum_gym").warning(COMPILING.format(what))

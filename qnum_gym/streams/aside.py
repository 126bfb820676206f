"""A process of its own that draws and solves networks before they are wanted, seen from outside."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping
from typing import Any

from qnum_gym.streams.cache import NetworkCache

Task = dict[str, Any]  # {"family": …, "index": …}, or {"key": …} of a scenario that was kept


class Helper:
    """`python -m qnum_gym.streams`. Where it cannot be started, or died, nothing is prepared.

    Args:
        networks: where it leaves what it finds.
        counts: by family, how many it goes through while nothing is asked for.
        overrides: fields of every scenario that is drawn.
    """

    def __init__(self, networks: NetworkCache, counts: Mapping[str, int], overrides: Mapping[str, Any]) -> None:
        self._pipe: Any = None
        with contextlib.suppress(OSError, TypeError, AttributeError):  # cannot be started, or told
            told = {"folder": str(networks.folder), "counts": counts, "overrides": overrides}
            text = json.dumps(told, default=lambda part: part.model_dump(mode="json"))
            process = subprocess.Popen(
                [sys.executable, "-m", "qnum_gym.streams", text],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
            self.process, self._pipe = process, process.stdin
            if os.name == "posix":
                os.set_blocking(self._pipe.fileno(), False)  # nobody waits for it
            self.close = weakref.finalize(self, _end, process, os.getpid())

    def ask(self, task: Task) -> None:
        """Have this one prepared next; forgotten where it has too much to do already."""
        if self._pipe is not None:
            with contextlib.suppress(OSError, ValueError):
                self._pipe.write(f"{json.dumps(task)}\n".encode())


def _end(process: subprocess.Popen[bytes], owner: int) -> None:
    if os.getpid() != owner:  # a copy by fork
        return
    assert process.stdin is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    process.kill()  # its files are whole or not there
    process.wait()

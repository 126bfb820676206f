"""The process beside a stream: draws and solves networks before they are wanted, and leaves them in files.

It is told in JSON, by its argument and by lines of its standard input, and ends when that does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from qnum_gym.scenarios import Scenario
from qnum_gym.streams.aside import Task
from qnum_gym.streams.cache import NetworkCache

POLITE = 10  # added to its niceness: whoever trains goes first


def main() -> None:
    """Prepare what is asked for, and the rest of the stream while nothing is."""
    told = json.loads(sys.argv[1])
    networks, tasks = NetworkCache(Path(told["folder"])), SimpleQueue[Task]()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(POLITE)
    warnings.simplefilter("ignore")  # whoever reads it warns
    rest = _rest(told["counts"])
    while True:
        task = next(rest, None) if tasks.empty() else tasks.get()
        # what this process does not know, another package's measure say, is left to the one that asked
        with contextlib.suppress(Exception):
            _prepare(networks, tasks.get() if task is None else task, told["overrides"])


def _prepare(networks: NetworkCache, task: Task, overrides: Mapping[str, Any]) -> None:
    found: Scenario | None
    if "family" in task:
        found = networks.draw(task["family"], task["index"])
        found = found.replace(**overrides) if overrides else found
    else:
        found = networks.kept(task["key"])
    if found is not None:
        networks.refer(found)


def _rest(counts: Mapping[str, int]) -> Iterator[Task]:
    """All families' first networks, then their second ones, and so on."""
    for index in range(max(counts.values(), default=0)):
        for family, count in counts.items():
            if index < count:
                yield {"family": family, "index": index}


def _listen(tasks: SimpleQueue[Task]) -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()

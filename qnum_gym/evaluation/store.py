"""What episodes came to, kept on disk: an interrupted run goes on where it stopped, and nothing runs twice."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from qnum_gym import files

Record: TypeAlias = dict[str, NDArray[np.float64]]  # of one episode, by name


class Store:
    """Records of episodes, by a key of all that decides their numbers, and by seed.

    A file for each key, which is whole or not there. A file that is torn, or another one's, counts as none.

    Args:
        folder: of the files, made if it is not there, for one process at a time to write to; in memory if not given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, dict[int, Record]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> dict[int, Record]:
        """The records by seed; to be read only."""
        if self._folder is None:
            return self._known.get(key, {})
        try:
            return _unpacked(self._path(key).read_bytes(), key)
        except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zipfile.BadZipFile):
            return {}

    def add(self, key: str, records: dict[int, Record]) -> None:
        """Keep further records.

        Raises:
            OSError: the file cannot be written; the old one is still there.
        """
        records = self.get(key) | records
        if self._folder is None:
            self._known[key] = records
        else:
            files.write(self._path(key), _packed(records, key))

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.npz"


def _packed(records: dict[int, Record], key: str) -> bytes:
    """An npz file: all numbers as one array, and what they are as JSON."""
    shapes = {
        seed: {name: np.shape(values) for name, values in record.items()} for seed, record in sorted(records.items())
    }
    numbers = [np.ravel(records[seed][name]) for seed, named in shapes.items() for name in named]
    what = json.dumps({"key": key, "records": shapes}).encode()
    file = io.BytesIO()
    np.savez(file, what=np.frombuffer(what, np.uint8), numbers=np.concatenate([np.zeros(0), *numbers]))
    return file.getvalue()


def _unpacked(content: bytes, key: str) -> dict[int, Record]:
    """What `_packed` put together.

    Raises:
        Exception: of many kinds, as the content is no such file, or another key's.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        what, numbers = json.loads(bytes(file["what"])), file["numbers"]
    if what["key"] != key:
        raise ValueError("another key's file")
    found: dict[int, Record] = {}
    place = 0
    for seed, named in what["records"].items():
        found[int(seed)] = {}
        for name, shape in named.items():
            size = math.prod(shape)
            found[int(seed)][name] = numbers[place : place + size].reshape(shape)
            place += size
    return found

"""Weights as plain arrays (`*.npz`) beside one text of JSON that says what they are: nothing in a file is code."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np


def write(path: str | os.PathLike[str], about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` and what they are `about`."""
    buffer = io.BytesIO()
    content: dict[str, Any] = {**arrays, "about": np.array(json.dumps(about))}
    np.savez(buffer, **content)
    Path(path).write_bytes(buffer.getvalue())


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the arrays of a file are about, and the arrays. Safe to open: numbers and one text.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a file of `write`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"model = {str(path)!r}: no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(str(arrays.pop("about"))), arrays
    except (BadZipFile, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"model = {str(path)!r}: not a policy that this package saved ({error})") from None

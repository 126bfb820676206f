"""Weights as plain arrays (`*.npz`) beside one text of JSON that says what they are: nothing in a file is code."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np

from qnum_gym.files import write as write_file


def write(path: str | os.PathLike[str], about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write `arrays` and what they are `about`."""
    buffer = io.BytesIO()
    content: dict[str, Any] = {**arrays, "about": np.array(json.dumps(about))}
    np.savez(buffer, **content)
    write_file(path, buffer.getvalue())


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
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
    except (BadZipFile, ValueError, KeyError, EOFError, AttributeError, TypeError, zlib.error) as error:
        raise ValueError(f"model = {str(path)!r}: not a policy that this package saved ({error})") from None
    if not isinstance(about, dict):
        raise ValueError(f"model = {str(path)!r}: not a policy that this package saved (about is no mapping)")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
            raise ValueError(f"model = {str(path)!r}: {name} holds what is no finite number; valid: weights")
    return cast("dict[str, Any]", about), arrays

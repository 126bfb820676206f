"""Files written as a whole, and folders that one process at a time writes to."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

LOCK = ".lock"  # of a folder in use; who holds it is written in it


class FolderInUseError(ValueError):
    """Another process writes to the folder. The message names folder and process."""


def cache_folder() -> Path:
    """Where things are kept that can be made again: $QNUM_GYM_CACHE, or qnum_gym in the user's folder for caches."""
    own = os.environ.get("QNUM_GYM_CACHE")
    users = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".cache"
    return Path(own) if own else Path(users) / "qnum_gym"


def write(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file as a whole: at every moment the old one or the new one is there, also where the machine stops.

    Args:
        path: of the file; its folder is there.
        content: text, written as UTF-8 with line ends as they are, or bytes.

    Raises:
        OSError: the file cannot be written; the old one is still there.
    """
    content = content.encode() if isinstance(content, str) else content
    with draft(path) as there, there.open("wb") as file:
        file.write(content)


@contextlib.contextmanager
def draft(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Where to write what becomes the file `path`, as a whole, when it is left without an exception.

    Raises:
        OSError: the file cannot be written; the old one is still there.
    """
    path = Path(os.path.realpath(path))  # a link stays one
    if path.exists() and not path.is_file():  # a device or a pipe has no other version to be replaced with
        yield path
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(folder: Path) -> Generator[None, None, None]:
    """While entered, no other process gets past `locked` of the same folder; the lock ends with the process.

    Args:
        folder: made if it is not there.

    Raises:
        FolderInUseError: another process is there.
        OSError: the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("a+", encoding="utf-8") as file:
        if not _take(file):
            file.seek(0)
            raise FolderInUseError(
                f"{folder}: {file.read().strip() or 'another process'} writes there; valid: another folder, "
                "or the same when that process has ended"
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield  # closing the file gives the lock back


def _take(file: Any) -> bool:
    """Whether the file's lock was free; it is ours then."""
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        windows: Any = msvcrt
        file.seek(1 << 30)  # a byte far behind what is to be read
        try:
            windows.locking(file.fileno(), windows.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

"""Refuse files that would stay in the history for ever: a hook before every commit."""

from __future__ import annotations

import sys
from pathlib import Path

MOST = 300_000  # bytes


def large(paths: list[str]) -> list[str]:
    """What is wrong with these files, a line each."""
    sizes = {path: Path(path).stat().st_size for path in paths if Path(path).is_file()}
    return [f"{path}: {size} bytes; valid: at most {MOST}" for path, size in sizes.items() if size > MOST]


if __name__ == "__main__":
    found = large(sys.argv[1:])
    print("\n".join(found))
    sys.exit(bool(found))

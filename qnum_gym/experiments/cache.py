"""Recordings on disk, by what they depend on: an interrupted experiment goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path

from qnum_gym.experiments.runs import Recording, Run
from qnum_gym.files import write


class Cache:
    """A folder of recordings, a file for each run; files are complete or not there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, run: Run) -> Recording | None:
        """The run's recording, if it was made before; a file that cannot be read counts as none."""
        try:
            return Recording.from_json(json.loads(self._path(run).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError):
            return None

    def put(self, run: Run, recording: Recording) -> None:
        """Keep it."""
        write(self._path(run), json.dumps(recording.to_json(), allow_nan=False))

    def _path(self, run: Run) -> Path:
        return self._folder / f"{run.key}.json"

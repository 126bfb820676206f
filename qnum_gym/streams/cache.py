"""Networks of families, and the optima that they are held against, kept in files.

A draw of a family and its references are some optima each, 50 to 300 ms; reading them is 1.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from qnum_gym import digests, families, files
from qnum_gym.optimum import ScoreWarning, Yardstick, yardstick
from qnum_gym.optimum.yardstick import known, remember
from qnum_gym.scenarios import Scenario

# All that draws and optima depend on, of this package and of others.
CODE = (
    *("caching.py", "config.py", "files.py", "registry.py"),
    *("families", "optimum", "physics", "rules", "scenarios"),
)
LIBRARIES = (*digests.LIBRARIES, "networkx")

Content = dict[str, Any]  # of a file


class NetworkCache:
    """What was drawn and solved before, on this machine.

    A file for each network, and one for its references, which is whole or not there. One that is damaged, or of another
    version of anything that decides the numbers, counts as none. Files are JSON; nothing in them runs.

    Args:
        folder: of the files; nothing is kept where it cannot be written. Anybody may delete it at any time.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = files.cache_folder() / "networks" if folder is None else folder

    def draw(self, family: str, index: int) -> Scenario:
        """`families.sample`."""
        key = _key("draw", family, str(index))
        found = self._scenario(self._read(key))
        if found is None:
            found = families.sample(family, index)
            self._write(key, _content(found))
        return found

    def refer(self, scenario: Scenario) -> bool:
        """See to it that `yardstick` knows what the scenario is held against; whether that was read and not computed.

        Warns:
            ScoreWarning: as `yardstick`.
        """
        if known(scenario):
            return True
        key = _key("references", scenario.fingerprint, digests.of_foreign(scenario))
        found = _references(self._read(key), len(scenario.sessions), len(scenario.change_times()))
        if found is None:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                scales = [yardstick(scenario, time) for time in scenario.change_times()]
            told = [str(warning.message) for warning in caught]
            self._write(key, {"yardsticks": [asdict(scale) for scale in scales], "warnings": told})
        else:
            scales, told = found
            remember(scenario, scales)
        for text in told:
            warnings.warn(text, ScoreWarning, stacklevel=2)
        return found is not None

    def _scenario(self, content: Content) -> Scenario | None:
        try:
            found = Scenario(**content["scenario"])
        except (KeyError, TypeError, ValueError):
            return None
        return found if found.fingerprint == content.get("fingerprint") else None

    def _read(self, key: str) -> Content:
        try:
            return dict(json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError):
            return {}

    def _write(self, key: str, content: Content) -> None:
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            files.write(self.folder / f"{key}.json", json.dumps(content, default=np.ndarray.tolist))


def _content(scenario: Scenario) -> Content:
    return {"scenario": scenario.model_dump(mode="json"), "fingerprint": scenario.fingerprint}


def _references(content: Content, sessions: int, moments: int) -> tuple[list[Yardstick], list[str]] | None:
    """What a file says, if it is one of that many sessions and times."""
    try:
        scales = [_yardstick(values, sessions) for values in content["yardsticks"]]
        told = [str(text) for text in content["warnings"]]
    except (KeyError, TypeError, ValueError):
        return None
    return (scales, told) if len(scales) == moments else None


def _yardstick(values: Content, sessions: int) -> Yardstick:
    found: dict[str, Any] = {}
    for field in fields(Yardstick):
        number = field.type == "float"
        value = np.array(values[field.name], bool if field.type == "Bools" else float)
        if value.shape != (() if number else (sessions,)):
            raise ValueError(field.name)
        found[field.name] = value.item() if number else value
    return Yardstick(**found)


def _key(*parts: str) -> str:
    return digests.of_text(code(), *parts)


@cache
def code() -> str:
    """A digest of `CODE` and the versions of `LIBRARIES`."""
    root = Path(files.__file__).parent
    paths = sorted({path for name in CODE for path in ((root / name), *(root / name).rglob("*.py")) if path.is_file()})
    own = [f"{path.relative_to(root).as_posix()} {digests.of_file(path)}" for path in paths]
    return digests.of_text(*own, digests.versions(LIBRARIES))

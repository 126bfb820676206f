"""States that are trusted only whole: compiled code follows the indices in them, wherever they lead.

`seal` notes with a state whose it is, which version made it, and a digest of all that it holds; `open_seal` gives it
back only if all three are right. A damaged state is one error, before anything of it is used. [ours]
"""

from __future__ import annotations

import hashlib
import numbers
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym import __version__
from qnum_gym.physics.measures import MEASURES
from qnum_gym.scenarios import Scenario
from qnum_gym.simulator import state as records

SEAL = ("owner", "version", "digest")


class StateError(ValueError):
    """A state that can't be gone on from: damaged, or of something else."""


@cache
def version() -> str:
    """The package's version, and a digest of all record types, which may change between releases."""
    kinds = (records.CLOCK, records.LINK, records.CHANNEL, records.SESSION, records.HOP, records.NODE, records.DATAGRAM)
    kinds += (records.GAME, records.SCHEDULE, records.RECORD)
    kinds += (records.FLUID_LINK, records.FLUID_HOP, records.FLUID_SESSION, records.TANK, records.ANSWER)
    layout = digest([str(kind) for kind in kinds])
    return f"qnum_gym {__version__} with records {layout[:16]}"


@cache
def physics(scenario: Scenario) -> str:
    """A digest of all that the simulator begins with: two scenarios with the same one run alike.

    What measures say is not in it: only scores and controllers look at that.
    """
    a, start, names = scenario.arrays(0.0), records.unseeded(scenario)._asdict(), list[list[str]]()
    for (table, column), kinds in records.CODED.items():
        if kinds is not MEASURES:
            names.append([kinds.names()[code] for code in start[table][column]])
        start[table] = start[table][[other for other in start[table].dtype.names or () if other != column]]
    return digest([start, names, [a.rate_min, a.rate_max, a.werner_min, a.werner_max]])[:16]


def seal(state: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The state of `owner` with what `open_seal` asks for."""
    return {**state, "owner": owner, "version": version(), "digest": digest({**state, "owner": owner})}


def check_version(state: object) -> None:
    """Raise a StateError, naming both, if a sealed state was made by another version."""
    if isinstance(state, Mapping) and "digest" in state:
        found = str(cast("Mapping[str, Any]", state).get("version", "a version that does not say which"))
        if found != version():
            raise StateError(f"state: made by {found!r:.80}; valid: {version()!r}")


def open_seal(state: object, owner: str) -> dict[str, Any]:
    """The entries of a sealed state of `owner`.

    Raises:
        StateError: it is no sealed state, of another owner, of another version, or something in it was changed.
    """
    check_version(state)
    entries = dict(cast("Mapping[str, Any]", state)) if isinstance(state, Mapping) else {}
    found = {key: entries.pop(key, None) for key in SEAL}
    if not all(isinstance(value, str) for value in found.values()):
        raise StateError("state: no whole state; valid: what get_state() gives")
    if found["owner"] != owner:
        raise StateError(f"state is of {found['owner']!r:.200}; valid: of {owner!r}, a scenario that runs the same")
    try:
        whole = digest({**entries, "owner": owner})
    except TypeError as error:
        raise StateError(f"state: damaged: {error}; valid: what get_state() gives, unchanged") from None
    if found["digest"] != whole:
        raise StateError("state: damaged: its contents do not fit its digest; valid: what get_state() gives, unchanged")
    return entries


def alike(name: str, values: object, own: NDArray[Any]) -> NDArray[Any]:
    """`values`, if they are an array of the type and shape of `own`; StateError, naming them, if not."""
    if not isinstance(values, np.ndarray):
        raise StateError(f"state: {name} is of type {type(values).__name__}; valid: an array")
    array = cast("NDArray[Any]", values)
    if array.dtype != own.dtype or array.shape != own.shape:
        raise StateError(f"state: {name} is {array.dtype} {array.shape}; valid: {own.dtype} {own.shape}")
    return array


def digest(value: Any) -> str:
    """SHA-256 of arrays, numbers, texts, None, and lists and mappings of these; tuples are lists.

    Raises:
        TypeError: there is something else in it.
    """
    return _hash(value).hexdigest()


def _hash(value: Any) -> hashlib._Hash:  # pyright: ignore[reportPrivateUsage]
    """What is hashed says its kind and length first, so that no two values look the same."""
    result = hashlib.sha256()
    if isinstance(value, np.ndarray):
        array = cast("NDArray[Any]", value)
        if array.dtype.hasobject:
            raise TypeError("an array of objects")
        result.update(f"array {array.dtype.str} {array.shape}".encode())
        for name in array.dtype.names or ():  # not the bytes between the fields, which copies do not keep
            column = array[name]
            result.update(f"{name} {column.dtype.str}".encode())
            result.update(np.ascontiguousarray(column).tobytes())
        if array.dtype.names is None:
            result.update(np.ascontiguousarray(array).tobytes())
    elif value is None or isinstance(value, str):
        result.update(f"text {value!r}".encode("utf-8", "backslashreplace"))
    elif isinstance(value, numbers.Integral):  # bool too
        result.update(f"integer {int(value)}".encode())
    elif isinstance(value, numbers.Real):
        result.update(f"float {float(value).hex()}".encode())
    elif isinstance(value, Scenario):
        result.update(f"scenario {value.fingerprint}".encode())
    elif isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        if not all(isinstance(key, str) for key in entries):
            raise TypeError("a key that is no text")
        result.update(f"mapping {len(entries)}".encode())
        for key in sorted(entries):
            result.update(_hash(key).digest() + _hash(entries[key]).digest())
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        parts = cast("Sequence[Any]", value)
        result.update(f"list {len(parts)}".encode())
        for part in parts:
            result.update(_hash(part).digest())
    else:
        raise TypeError(f"a {type(value).__name__}")
    return result

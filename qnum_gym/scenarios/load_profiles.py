"""How the demand of a session goes over time: steps [(time in s, rate in 1/s), …], from a name or a file. [ours]

A step holds from its time until the next one. A named profile is a function of its own keywords that gives such steps;
what rises or falls evenly goes in `steps` pieces, each with the mean of its stretch, so that the total is kept.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from qnum_gym.registry import Registry
from qnum_gym.scenarios.network_readers import rows_of

Steps: TypeAlias = list[tuple[float, float]]

MOST = 10_000  # pieces of a profile

PROFILES: Registry[Callable[..., Steps]] = Registry("profile")


@PROFILES.registers("daily")
def daily(low: float, high: float, period: float, seconds: float, steps: int = 12, phase: float = 0.0) -> Steps:
    """A sine between `low` (at the start) and `high` (half a period later), 1/s.

    Args:
        low: least rate, 1/s.
        high: greatest rate, 1/s.
        period: length of a day, s.
        seconds: until when it goes on; the last rate stays.
        steps: pieces of a day.
        phase: part of a day by which the low has passed at the start.
    """
    piece = period / steps
    if seconds / piece > MOST:
        raise ValueError(f"profile daily: seconds = {seconds:g}: valid: at most {MOST} pieces of {piece:g} s each")
    half = math.sin(math.pi / steps) / (math.pi / steps)  # the mean of a cosine over a piece, over its middle value
    middles = [(k + 0.5) / steps + phase for k in range(max(math.ceil(seconds / piece), 1))]
    mean, swing = 0.5 * (low + high), 0.5 * (high - low)
    return [(k * piece, mean - swing * half * math.cos(2.0 * math.pi * x)) for k, x in enumerate(middles)]


@PROFILES.registers("flash_crowd")
def flash_crowd(
    base: float, peak: float, at: float, rise: float = 0.0, hold: float = 60.0, fall: float = 0.0, steps: int = 4
) -> Steps:
    """`base`, from `at` on up to `peak` within `rise`, there for `hold`, and back to `base` within `fall`.

    The three phases are those of Ari, Hong, Miller, Brandt and Long, Modeling, Analysis and Simulation of Flash Crowds
    on the Internet (2003), here with straight lines.

    Args:
        base: rate before and after, 1/s.
        peak: rate at its height, 1/s.
        at: when it begins, s.
        rise: how long the rate rises, s.
        hold: how long it stays, s.
        fall: how long it falls, s.
        steps: pieces of the rise and of the fall.
    """
    up, down = ([(k + 0.5) / steps for k in range(steps)] if length > 0.0 else [] for length in (rise, fall))
    found = [(0.0, base)]
    found += [(at + k * rise / steps, base + (peak - base) * share) for k, share in enumerate(up)]
    found += [(at + rise, peak)]
    found += [(at + rise + hold + k * fall / steps, peak + (base - peak) * share) for k, share in enumerate(down)]
    found += [(at + rise + hold + fall, base)]
    return list(dict(found).items())  # of two steps at one time the later one counts


def from_profile(fields: Mapping[str, Any]) -> Steps:
    """The steps of `{profile: NAME, KEYWORD: NUMBER, …}`.

    Raises:
        ValueError: an unknown name or keyword, a missing one, or a value that is no number or cannot be.
    """
    given = {**fields}
    name = given.pop("profile", None)
    make = PROFILES.find(str(name))
    parameters = inspect.signature(make).parameters
    needed = [key for key, parameter in parameters.items() if parameter.default is parameter.empty]
    if unknown := [key for key in given if key not in parameters] + [key for key in needed if key not in given]:
        raise ValueError(f"profile {name}: {unknown[0]}: valid: {', '.join(parameters)}; needed: {', '.join(needed)}")
    for key, value in given.items():
        whole = parameters[key].annotation == "int"
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 <= value < 1e9:
            raise ValueError(f"profile {name}: {key} = {value!r}: valid: a {'whole ' * whole}number from 0 to 1e9")
        if key in ("steps", "period") and not value:
            raise ValueError(f"profile {name}: {key} = 0: valid: above 0")
    try:
        return make(**given)
    except (ArithmeticError, TypeError) as error:  # of a profile from elsewhere
        raise ValueError(f"profile {name}: {error}") from None


def from_csv(text: str) -> Steps:
    """The steps in a CSV file, `PATH` or `PATH:COLUMN`: a column `time` (s), and one with rates (1/s).

    Raises:
        ValueError: no such file or column, or what is no number.
    """
    path, _, column = (text, "", "") if text.endswith(".csv") else text.rpartition(":")
    rows = rows_of(Path(path))
    columns = [key for key in (rows[0] if rows else {}) if key != "time"]
    if not rows or "time" not in rows[0] or not columns or (column or columns[0]) not in columns:
        found = ", ".join(rows[0] if rows else [])
        raise ValueError(f"{path}: must have a column time, and {column or 'one of rates'}; found: {found}")
    try:
        return [(float(row["time"]), float(row[column or columns[0]])) for row in rows]
    except ValueError as error:
        raise ValueError(f"{path}: {error}; valid: numbers") from None

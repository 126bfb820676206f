"""Keywords that all three environments have, and what they may be."""

from __future__ import annotations

from typing import Any, Literal, get_args

from qnum_gym.scenarios import Scenario
from qnum_gym.scenarios.sizes import Sizes

Info = dict[str, Any]
InfoKind = Literal["flat", "none"]

KEYWORDS = (
    *("scenario", "families", "size", "observation", "reward", "action", "signals", "rate_step", "werner_step"),
    *("info", "render_mode"),
)
RENDER_MODES = ("ansi", "rgb_array")


def checked_render_mode(mode: str | None) -> str | None:
    """The mode, if there is such a one.

    Raises:
        ValueError: there is none.
    """
    if mode is not None and mode not in RENDER_MODES:
        raise ValueError(f"render_mode = {mode!r}; valid: {', '.join(RENDER_MODES)} or None")
    return mode


def informs(info: InfoKind) -> bool:
    """Whether there is information.

    Raises:
        ValueError: `info` is no `InfoKind`.
    """
    if info not in get_args(InfoKind):
        raise ValueError(f"info = {info!r}; valid: {', '.join(get_args(InfoKind))}")
    return info != "none"


def check_spaces(name: str, scenario: Scenario, sizes: Sizes) -> None:
    """Raise a ValueError, about the keyword `name`, if the spaces are for other numbers of sessions and links."""
    for what, n, m in zip(sizes._fields, (len(scenario.sessions), len(scenario.links)), sizes, strict=False):
        if n != m:
            raise ValueError(
                f"{name} = {scenario.name!r} has {n} {what}; valid: {m}, the spaces are fixed, or observation='graph'"
            )

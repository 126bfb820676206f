"""Policies: hand-made and learned alike, behind one interface. Imported as `qnum_gym.agents`.

| name | what it does | knows |
|---|---|---|
| `random` | anything | nothing |
| `equal_share`, `best_static` | the static allocations of model.md §8 | everything |
| `qprimaldual` | arXiv:2510.09371's controllers | what headers carry |
| `qprimaldual-da` | the same, aware of decoherence [ours] | what headers carry |
| `oracle` | the central optimum at 0.95 utilisation | everything |
| a path, `*.zip` | a model that Stable-Baselines3 saved | the environment's observation |
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from qnum_gym import optimum
from qnum_gym.agents.policy import Policy
from qnum_gym.agents.qprimaldual import Gains, QPrimalDual
from qnum_gym.agents.static import Fixed, Random, oracle

__all__ = ["Gains", "Policy", "QPrimalDual", "make", "names"]

_POLICIES: dict[str, Callable[..., Policy]] = {
    "random": Random,
    "equal_share": lambda: Fixed("equal_share", optimum.equal_share),
    "best_static": lambda: Fixed("best_static", optimum.best_static),
    "qprimaldual": QPrimalDual,
    "qprimaldual-da": partial(QPrimalDual, decoherence_aware=True),
    "oracle": lambda: Fixed("oracle", oracle),
}


def names() -> tuple[str, ...]:
    """The policies that `make` knows by name."""
    return tuple(_POLICIES)


def make(name: str | os.PathLike[str], **options: Any) -> Policy:
    """A policy by name, or the learned one of a file.

    Args:
        name: one of `names()`, or the path of a model (`*.zip`).
        **options: for `qprimaldual` and `qprimaldual-da` fields of `Gains`; for a model `deterministic`.

    Raises:
        ValueError: an unknown name or option.
        FileNotFoundError: no such file.
    """
    name = os.fspath(name)
    if name.endswith(".zip"):
        from qnum_gym.agents.learned import load

        return load(name, **options)
    if name not in _POLICIES:
        near = difflib.get_close_matches(name, _POLICIES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"policy = {name!r}: {hint}valid: {', '.join(names())}, or the path of a model (*.zip)")
    try:
        return _POLICIES[name](**options)
    except TypeError:
        raise ValueError(f"policy {name!r} takes no option {', '.join(options)}") from None

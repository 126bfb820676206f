"""Policies: hand-made and learned alike, behind one interface. Imported as `qnum_gym.agents`.

`make` gives a `Policy`, which acts on one network or on many at once.

| name | what it does | knows |
|---|---|---|
| `random` | anything | nothing |
| `equal_share`, `best_static` | the static allocations of model.md §8 | everything |
| `aimd` | the Internet's congestion control, after arXiv:2410.08980 | what headers carry |
| `qprimaldual` | arXiv:2510.09371's controllers | what headers carry |
| `qprimaldual-da` | the same, aware of decoherence [ours] | what headers carry |
| `qprimaldual-approx` | -da without the sources' signals: links estimate them [ours] | what headers carry |
| `qprimaldual-pi` | prices that keep queues at a set point [ours] | what headers carry, queues |
| `oracle` | the central optimum at 0.95 utilisation | everything |
| a path, `*.yaml` | one of the above with the options that the file gives it | |
| a path, `*.zip` | a model that Stable-Baselines3 saved | the environment's observation |
| a path, `*.npz` | a graph network, for networks of any size | the environment's observation, the routes |
| `zoo/local` | the shared local policy: `-da` with learned corrections [ours] | what headers carry |
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

from qnum_gym import optimum
from qnum_gym.agents.aimd import AIMD
from qnum_gym.agents.networks import Networks
from qnum_gym.agents.policy import Policy, Seen
from qnum_gym.agents.qprimaldual import Gains, QPrimalDual
from qnum_gym.agents.static import Fixed, Random, fixed_oracle
from qnum_gym.agents.variants import QPrimalDualApprox, QPrimalDualPI
from qnum_gym.registry import suggest
from qnum_gym.scenarios.yaml_io import load as load_yaml

__all__ = ["Gains", "Networks", "Policy", "QPrimalDual", "Seen", "make", "names", "zoo"]

_POLICIES: dict[str, Callable[..., Policy]] = {
    "random": Random,
    "equal_share": lambda: Fixed("equal_share", optimum.equal_share),
    "best_static": lambda: Fixed("best_static", optimum.best_static),
    "aimd": AIMD,
    "qprimaldual": QPrimalDual,
    "qprimaldual-approx": QPrimalDualApprox,
    "qprimaldual-da": partial(QPrimalDual, decoherence_aware=True),
    "qprimaldual-pi": QPrimalDualPI,
    "oracle": fixed_oracle,
}


ZOO = "zoo/"  # trained policies that come with the package: agents/zoo/*.npz


def zoo() -> tuple[str, ...]:
    """The trained policies that come with the package, as `make` knows them."""
    return tuple(sorted(ZOO + path.stem for path in (Path(__file__).parent / ZOO).glob("*.npz")))


def _in_zoo(name: str) -> str:
    if name not in zoo():
        raise ValueError(f"policy = {name!r}: valid: {', '.join(zoo())}")
    return str((Path(__file__).parent / name).with_suffix(".npz"))


def names() -> tuple[str, ...]:
    """The policies that `make` knows by name."""
    return tuple(_POLICIES)


def make(name: str | os.PathLike[str], **options: Any) -> Policy:
    """A policy by name, or the learned one of a file.

    Args:
        name: one of `names()` or `zoo()`, the path of a model (`*.zip`, `*.npz`), or of a policy with options, as in
            configs/policies/*.yaml.
        **options: for `aimd` and the forms of `qprimaldual` their constants (docs/policies.md); for `oracle`
            `utilisation`, every link's at most, and `overload`; for a model `deterministic`.

    Raises:
        ValueError: an unknown name or option.
        FileNotFoundError: no such file.
    """
    name = os.fspath(name)
    if name.endswith(".zip"):
        from qnum_gym.agents.learned import load

        return load(name, **options)
    if name.startswith(ZOO):
        name = _in_zoo(name)
    if name.endswith(".npz"):
        from qnum_gym.agents.learned import load_arrays

        return load_arrays(name, **options)
    if name.endswith(".yaml"):
        name, options = _from_yaml(name, options)
    if name not in _POLICIES:
        near = difflib.get_close_matches(name, _POLICIES, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(
            f"policy = {name!r}: {hint}valid: {', '.join(names())}, or the path of a model (*.zip, *.npz) "
            "or of a policy with its options (*.yaml)"
        )
    try:
        return _POLICIES[name](**options)
    except TypeError:
        raise ValueError(f"policy {name!r} takes no option {', '.join(options)}") from None


def _from_yaml(path: str, options: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and options in a file that `qnum-gym tune` wrote, with other values for the given `options`."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path}: no such file")
    fields = load_yaml(path, "a policy")
    name, found = fields.get("policy"), fields.get("options", {})
    if not isinstance(name, str) or not isinstance(found, dict):
        raise ValueError(f"{path}: valid: a mapping with policy, a name, and options, a mapping")
    valid = ("policy", "options", "study")
    for key in fields:
        if key not in valid:
            raise ValueError(f"{path}: {key}: unknown key; {suggest(key, valid)}valid keys: {', '.join(valid)}")
    for option, value in cast("dict[str, Any]", found).items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{path}: options.{option} = {value!r:.80}: must be a number")
    return name, cast("dict[str, Any]", found) | options

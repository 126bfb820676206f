"""Policies: hand-made and learned alike, behind one interface. Imported as `qnum_gym.agents`.

`make` gives a `Policy`, which acts on one network or on many at once. A policy is a class in a module of this folder,
registered in `POLICIES` by the decorator above it; docs/policies.md has the table. Other people's are named
`file.py:Class` or `module:Class`, or are entry points of the group "qnum_gym.policies". `zoo` has the trained ones.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, cast

from qnum_gym.agents.networks import Networks
from qnum_gym.agents.options import Constants, Range, constant, constants
from qnum_gym.agents.policy import POLICIES, Policy, Seen
from qnum_gym.registry import from_source, suggest
from qnum_gym.scenarios.yaml_io import load as load_yaml

for _module in iter_modules(__path__):
    if not _module.ispkg:  # `learned` needs torch
        import_module(f"qnum_gym.agents.{_module.name}")  # by this name too where the folder is imported as `agents`

from qnum_gym.agents.qprimaldual import QPrimalDual, QPrimalDualDA  # noqa: E402  after the order above
from qnum_gym.agents.update_rules import Gains  # noqa: E402

__all__ = [
    "POLICIES",
    "Constants",
    "Gains",
    "Networks",
    "Policy",
    "QPrimalDual",
    "QPrimalDualDA",
    "Range",
    "Seen",
    "constant",
    "constants",
    "make",
    "names",
    "zoo",
]

ZOO = "zoo/"  # trained policies that come with the package: agents/zoo/*.npz


def zoo() -> tuple[str, ...]:
    """The trained policies that come with the package, as `make` knows them."""
    return tuple(sorted(ZOO + path.stem for path in (Path(__file__).parent / ZOO).glob("*.npz")))


def names() -> tuple[str, ...]:
    """The policies that `make` knows by name, those of other installed packages included."""
    POLICIES.discover()
    return POLICIES.names()


def make(name: str | os.PathLike[str], **options: Any) -> Policy:
    """A policy by name, of somebody else's class, or of a file.

    Args:
        name: one of `names()` or `zoo()`, `file.py:Class` or `module:Class`, the path of a model (`*.zip`, `*.npz`), or
            of a policy with options, as in configs/policies/*.yaml.
        **options: for `aimd` and the forms of `qprimaldual` their constants (docs/policies.md); for `oracle`
            `utilisation`, every link's at most, and `overload`; for a model `deterministic`; else those of the class.

    Raises:
        ValueError: an unknown name or option, or a class that is no `Policy`.
        FileNotFoundError: no such file.
    """
    name = os.fspath(name)
    if name.startswith(ZOO):
        name = _in_zoo(name)
    suffix = Path(name).suffix
    if suffix in FILES:
        return FILES[suffix](name, options)
    return _of_class(name, options)


def _in_zoo(name: str) -> str:
    if name not in zoo():
        raise ValueError(f"policy = {name!r}: valid: {', '.join(zoo())}")
    return str((Path(__file__).parent / name).with_suffix(".npz"))


def _of_class(name: str, options: dict[str, Any]) -> Policy:
    """A policy of a registered class, or of one that `name` says the place of."""
    foreign = ":" in name and name not in POLICIES
    kind: object = from_source(name, "policy") if foreign else POLICIES.find(name, ALSO)
    if not (isinstance(kind, type) and issubclass(kind, Policy)):
        raise ValueError(f"policy = {name!r}: valid: a sub-class of qnum_gym.agents.Policy")
    valid = inspect.signature(kind).parameters
    unknown = [option for option in options if option not in valid]
    if unknown and all(parameter.kind is not parameter.VAR_KEYWORD for parameter in valid.values()):
        takes = ", ".join(valid) or "none"
        raise ValueError(f"policy {name!r} takes no option {', '.join(unknown)}; valid: {takes}")
    try:
        policy = kind(**options)
    except (ValueError, OSError, ImportError):
        raise
    except Exception as error:  # whatever that code raises
        raise ValueError(f"policy = {name!r}: {kind.__name__} fails: {type(error).__name__}: {error}") from error
    if not foreign:
        policy.name = name
    return policy


# --- files ------------------------------------------------------------------------------------------------------------


def _of_model(path: str, options: dict[str, Any]) -> Policy:
    from qnum_gym.agents.learned import load

    return load(path, **options)


def _of_arrays(path: str, options: dict[str, Any]) -> Policy:
    from qnum_gym.agents.learned import load_arrays

    return load_arrays(path, **options)


def _of_yaml(path: str, options: dict[str, Any]) -> Policy:
    """The policy in a file that `qnum-gym tune` wrote, with other values for the given `options`."""
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
    return _of_class(name, cast("dict[str, Any]", found) | options)


FILES: Mapping[str, Callable[[str, dict[str, Any]], Policy]] = {
    ".npz": _of_arrays,
    ".yaml": _of_yaml,
    ".zip": _of_model,
}
ALSO = f", {', '.join(zoo())}, file.py:Class, module:Class, or a path *{', *'.join(FILES)}"  # valid beside the names

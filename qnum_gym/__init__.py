"""Quantum-network resource allocation: a packet-level simulator, its optimum, and Gymnasium environments."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"  # before the imports: states and pickles say it

from qnum_gym.registration import parallel_env, parallel_vector_env, register
from qnum_gym.scenarios import Scenario, ScenarioError, topologies
from qnum_gym.scenarios.topologies import scenario

if TYPE_CHECKING:
    from qnum_gym import optimum
    from qnum_gym.simulator import Simulator
    from qnum_gym.streams import Stream

__all__ = [
    "Scenario",
    "ScenarioError",
    "Simulator",
    "Stream",
    "__version__",
    "optimum",
    "parallel_env",
    "parallel_vector_env",
    "register",
    "scenario",
    "topologies",
]

# Name -> where it is. Imported when first asked for: numba and scipy take their time.
_LAZY = {
    "Simulator": "qnum_gym.simulator",
    "Stream": "qnum_gym.streams",
    "optimum": "qnum_gym.optimum",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LAZY[name])
    value = module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


register()

"""`Law` and `Finding`: an independent value, a measured one, and whether they agree. [ours]"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

from qnum_gym.registry import Registry

FALSE_ALARM = 0.01  # probability that anything is seen red in a run although all is right
MODULES = ("pairs", "queues", "waiting", "whole")  # that register laws


@dataclass(frozen=True, slots=True)
class Finding:
    """One comparison.

    case: of the law. expected: the independent value. measured: the simulator's, or that of the formula under test.
    error: standard error of `measured`, 0 where it is no estimate. freedom: degrees of freedom of `error`.
    tolerance: how far they may be apart beside chance: of floating-point numbers, or of a limit that is approached.
    """

    case: str
    expected: float
    measured: float
    error: float = 0.0
    freedom: int = 0
    tolerance: float = 1e-12

    @property
    def deviation(self) -> float:
        """In standard errors, after the tolerance; 0 without them if within the tolerance, else infinite."""
        beyond = max(abs(self.measured - self.expected) - self.tolerance, 0.0)
        if self.error == 0.0:
            return 0.0 if beyond == 0.0 else np.inf
        return float(np.sign(self.measured - self.expected)) * beyond / self.error

    def agrees(self, findings: int) -> bool:
        """Whether the deviation may be chance, in a run of that many findings (Bonferroni, two-sided, Student's t)."""
        return abs(self.deviation) <= critical(findings, self.freedom)


def critical(findings: int, freedom: int) -> float:
    """Deviation, in standard errors, that one of so many findings exceeds by chance with probability `FALSE_ALARM`."""
    quantile: Any = stdtrit  # of Student's t
    return float(quantile(freedom, 1.0 - FALSE_ALARM / (2 * findings))) if freedom > 0 else 0.0


def estimated(case: str, expected: float, samples: Sequence[float] | np.ndarray, tolerance: float = 0.0) -> Finding:
    """The mean of `samples` [n], which are independent of each other, beside `expected`."""
    values = np.asarray(samples, dtype=np.float64)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Finding(case, expected, float(values.mean()), error, len(values) - 1, tolerance)


@dataclass(frozen=True, slots=True)
class Law:
    """says: in a line. source: who says so. findings: of an effort, the simulated time in units of the full one."""

    name: str
    says: str
    source: str
    findings: Callable[[float], Iterable[Finding]]


LAWS: Registry[Law] = Registry("law", group="qnum_gym.validation")


def law(name: str, says: str, source: str) -> Callable[[Callable[[float], Iterable[Finding]]], Law]:
    """Register a function (effort) -> findings as a law."""

    def add(findings: Callable[[float], Iterable[Finding]]) -> Law:
        return LAWS.register(name, Law(name, says, source, findings))

    return add


def registry() -> Registry[Law]:
    """All laws by name, imported."""
    for name in MODULES:
        import_module(f"qnum_gym.validation.{name}")
    LAWS.discover()
    return LAWS

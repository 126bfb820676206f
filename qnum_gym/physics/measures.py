"""Entanglement measures: what one Werner pair is worth, f(W). All else about one derives from here.

A measure is a formula and its two derivatives. Solver, controllers, simulator, rewards and tables take it from the
registry `MEASURES`; its place there is its code in arrays. Other people's measures get in by `register`, as an entry
point of the group "qnum_gym.measures", or by a scenario that names one: `measure: file.py:Name` or `module:Name`.

Each is treated as a function of s = log W, the variable in which a route's pairs add up:

    log_value  log f(e^s),   elasticity  a = d log f / ds = W f'/f,   elasticity_slope  da/ds

Source: model.md §3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from qnum_gym.registry import Registry

Floats = NDArray[np.float64]
Codes = NDArray[np.integer[Any]]
Number = TypeVar("Number", float, Floats)
Terms: TypeAlias = Callable[[Any], tuple[Any, Any, Any]]

LN2 = float(np.log(2.0))
LEAST = 1e-9  # W: that of a scenario is not lower
GRID = np.linspace(0.0, 1.0, 1025)[1:]  # W, to look at a new measure
STEP = 1e-4  # in W, of the numerical derivatives that its own are compared with


@dataclass(frozen=True, slots=True)
class Measure:
    """Entanglement f(W) of one Werner pair.

    Attributes:
        name: how it is called in messages and tables.
        terms: f, W f' and W² f'' of W. One function for everything: Python calls it with numbers and with arrays, and
            numba compiles it. So it is made of arithmetic and NumPy's functions, without `if` (`np.where` is for both),
            or is a function of one number, which is slower where there are many. f must not fall, and is 0 or less
            where a pair is worth nothing.
        unit: of f per second: "bit/s".
        doc: one line, for tables and documentation.
        positive_from: the W above which f(W) > 0; found from the terms if not given.
        concave_until: the largest W up to which log f(e^s) is concave in s, and so QNUM convex (model.md §5); likewise.

    Raises:
        ValueError: terms that fall, are never positive or nowhere concave, or whose derivatives are not those of f.
    """

    name: str
    terms: Terms
    unit: str = "1/s"
    doc: str = ""
    positive_from: float = np.nan
    concave_until: float = np.nan

    def __post_init__(self) -> None:
        _check(self)
        if np.isnan(self.positive_from):
            object.__setattr__(self, "positive_from", _last(lambda w: self(w)[0] <= 0.0, LEAST))
        if np.isnan(self.concave_until):
            object.__setattr__(self, "concave_until", _last(lambda w: _bend(self, w) <= 0.0, self.positive_from))
        if not self.concave_until > self.positive_from:
            raise self.refused("log f(e^s) is convex in s; valid: concave in a range of W, where the optimum can lie")

    def __call__(self, w: float | Floats) -> tuple[Floats, Floats, Floats]:
        """f, W f' and W² f'' of W, each of the shape of `w`; slopes may be infinite at W = 1; NaN for impossible W."""
        w = np.asarray(w, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            try:
                terms = self.terms(w)
                if np.shape(terms[0]) == np.shape(terms[1]) == np.shape(terms[2]) == w.shape:
                    return terms
            except (TypeError, ValueError):  # a function of one number
                pass
            rows = np.array([self.terms(number) for number in w.ravel()], dtype=np.float64).reshape(*w.shape, 3)
            return rows[..., 0], rows[..., 1], rows[..., 2]

    def refused(self, why: str) -> ValueError:
        """The error for terms that cannot be."""
        return ValueError(f"measure = {self.name!r}: {why}")


def _made(name: str, found: Any) -> Measure:
    return found if isinstance(found, Measure) else Measure(name, found)


MEASURES: Registry[Measure] = Registry("measure", "qnum_gym.measures", _made)


def register(
    name: str,
    terms: Terms,
    *,
    unit: str = "1/s",
    doc: str = "",
    positive_from: float = np.nan,
    concave_until: float = np.nan,
) -> Measure:
    """Add a measure, before the first environment that uses it is made; the arguments are `Measure`'s.

    Raises:
        ValueError: the name is taken, or terms that cannot be.
    """
    return MEASURES.register(name, Measure(name, terms, unit, doc, positive_from, concave_until))


# --- by name ----------------------------------------------------------------------------------------------------------


find, code = MEASURES.find, MEASURES.code


def unit(names: set[str]) -> str:
    """Unit of the geometric mean of R f(W): that of the measure, or just 1/s where sessions differ."""
    units = {find(name).unit for name in names}
    return units.pop() if len(units) == 1 else "1/s"


def value(measure: str, w: Number) -> Number:
    """Entanglement f(W) of one pair, by the formula: negative where the pair is worth nothing. NaN for impossible W.

    Raises:
        ValueError: unknown measure.
    """
    return _like(w, find(measure)(w)[0])


def log_value(measure: str, w: Number) -> Number:
    """log f(W), natural; -inf where f <= 0."""
    return _like(w, _log(find(measure), w))


def elasticity(measure: str, w: Number) -> Number:
    """a(W) = W f'(W)/f(W) = d log f / d log W; +inf where f <= 0 (its limit from above)."""
    return _like(w, _pull(find(measure), w))


def elasticity_slope(measure: str, w: Number) -> Number:
    """da/d log W, the second derivative of log f(e^s): negative where log f(e^s) is concave; -inf where f <= 0."""
    return _like(w, _bend(find(measure), w))


# --- many sessions, each with its own measure -------------------------------------------------------------------------


def positive_from(codes: Codes) -> Floats:
    """The W [R] above which f_r(W) > 0, for codes[R] (places in `MEASURES`)."""
    return np.array([measure.positive_from for measure in MEASURES.values()])[codes]


def concave_until(codes: Codes) -> Floats:
    """The W [R] up to which log f_r(e^s) is concave, for codes[R]."""
    return np.array([measure.concave_until for measure in MEASURES.values()])[codes]


def values(codes: Codes, w: Floats) -> Floats:
    """f_r(W_r) for codes[R] and w[..., R]."""
    return _mixed(lambda measure, w: measure(w)[0], codes, w)


def log_values(codes: Codes, w: Floats) -> Floats:
    """log f_r(W_r) for codes[R] and w[..., R]; -inf where f <= 0."""
    return _mixed(_log, codes, w)


def elasticities(codes: Codes, w: Floats) -> Floats:
    """a_r(W_r) for codes[R] and w[..., R]; +inf where f <= 0."""
    return _mixed(_pull, codes, w)


def elasticity_slopes(codes: Codes, w: Floats) -> Floats:
    """da_r/d log W for codes[R] and w[..., R]; -inf where f <= 0."""
    return _mixed(_bend, codes, w)


def _mixed(function: Callable[[Measure, Floats], Floats], codes: Codes, w: Floats) -> Floats:
    result = np.full(np.shape(w), np.nan)
    codes = np.broadcast_to(codes, result.shape)
    for code, measure in enumerate(MEASURES.values()):
        chosen = codes == code
        if chosen.all():
            return function(measure, w)
        if chosen.any():
            result[chosen] = function(measure, w[chosen])
    return result


def _like(w: Number, result: Floats) -> Number:
    """`result` as a scalar if `w` was one."""
    return cast(Number, result[()])


def _log(measure: Measure, w: float | Floats) -> Floats:
    f = measure(w)[0]
    return np.log(f, out=np.where(np.isnan(f), np.nan, -np.inf), where=f > 0.0)


def _pull(measure: Measure, w: float | Floats) -> Floats:
    f, slope, _ = measure(w)
    return np.divide(slope, f, out=np.where(np.isnan(f), np.nan, np.inf), where=f > 0.0)


def _bend(measure: Measure, w: float | Floats) -> Floats:
    f, slope, curvature = measure(w)
    positive = f > 0.0
    safe = np.where(positive, f, 1.0)
    with np.errstate(invalid="ignore"):
        result = (curvature + slope * (1.0 - slope / safe)) / safe
    result = np.where(np.isinf(curvature), np.inf, result)  # W = 1: 1/(1 - W) outgrows log^2(1 - W)
    return np.where(positive, result, np.where(np.isnan(f), np.nan, -np.inf))


# --- a new measure ----------------------------------------------------------------------------------------------------


def _check(measure: Measure) -> None:
    """Raise a ValueError unless f does not fall, is positive at W = 1, and has the derivatives given."""
    try:
        f, slope, curvature = measure(GRID)
        inner = GRID[GRID < 0.99]
        (low, low_slope, _), (high, high_slope, _) = measure(inner - STEP), measure(inner + STEP)
    except Exception as error:  # whatever somebody else's code raises
        raise measure.refused(f"its terms fail: {type(error).__name__}: {error}") from error
    if not (np.isfinite(f).all() and f[-1] > 0.0):
        raise measure.refused(f"f(1) = {f[-1]:g}; valid: finite for 0 < W <= 1, and positive at W = 1")
    if not (slope[f > 0.0] >= 0.0).all():
        raise measure.refused("f falls with W; valid: never")
    for name, given, left, right in (
        ("W f'", slope, low, high),
        ("W f' + W² f''", slope + curvature, low_slope, high_slope),
    ):
        found = inner * (right - left) / (2.0 * STEP)
        wrong = np.flatnonzero((low > 0.0) & ~np.isclose(given[: len(inner)], found, rtol=2e-3, atol=1e-6))
        if len(wrong):
            i = wrong[0]
            raise measure.refused(f"{name} = {given[i]:.6g} at W = {GRID[i]:.6g}, but by differences {found[i]:.6g}")


def _last(holds: Callable[[Floats], NDArray[np.bool_]], low: float) -> float:
    """The end of the range of W, from `low` on, in which a condition holds, to the last bit; `low` if it never does."""
    w = np.concatenate([[low], GRID[low < GRID]])
    ends = np.flatnonzero(~holds(w[1:]))
    if not len(ends):
        return 1.0
    low, high = float(w[ends[0]]), float(w[ends[0] + 1])
    while low < (middle := 0.5 * (low + high)) < high:
        low, high = (middle, high) if holds(np.array(middle)) else (low, middle)
    return low


# --- those that there are: f, W f', W² f'', written in 1 - W, which is exact near 1, where the entropies vanish -------


def negativity(w: Any) -> tuple[Any, Any, Any]:
    """(3W - 1)/4."""
    return (3.0 * w - 1.0) / 4.0, 0.75 * w, 0.0 * w


def secret_key(w: Any) -> tuple[Any, Any, Any]:
    """1 - 2 h((1 - W)/2) with h the binary entropy in bits."""
    error, intact = (1.0 - w) / 2.0, (1.0 + w) / 2.0
    f = 1.0 + 2.0 * (error * np.log(np.where(error == 0.0, 1.0, error)) + intact * np.log1p(-error)) / LN2
    return f, w * np.log(intact / error) / LN2, w**2 / (2.0 * LN2 * error * intact)


def distillable(w: Any) -> tuple[Any, Any, Any]:
    """1 + F log2 F + (1 - F) log2((1 - F)/3)."""
    other, good = (1.0 - w) / 4.0, (1.0 + 3.0 * w) / 4.0  # weights of each wrong and of the right Bell state
    f = 1.0 + (good * np.log1p(-3.0 * other) + 3.0 * (other * np.log(np.where(other == 0.0, 1.0, other)))) / LN2
    return f, 0.75 * w * np.log(good / other) / LN2, 3.0 * w**2 / (16.0 * LN2 * other * good)


register("negativity", negativity, doc="(3W - 1)/4", positive_from=1.0 / 3.0, concave_until=1.0)
register(
    "secret_key",
    secret_key,
    unit="bit/s",
    doc="BB84's asymptotic key fraction, 1 - 2 h((1 - W)/2), h the binary entropy in bits",
    positive_from=0.77994427112328090,  # tests/physics/test_measures.py computes these again
    concave_until=0.96178438303145339,
)
register(
    "distillable",
    distillable,
    unit="ebit/s",
    doc="hashing bound, 1 + F log2 F + (1 - F) log2((1 - F)/3): a lower bound; equals the six-state key",
    positive_from=0.74761383344635765,
    concave_until=0.95863486497754259,
)

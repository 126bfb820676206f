"""Werner pairs: fidelity, swapping, storage, and the entanglement measures with their derivatives.

A Werner pair is W |Phi+><Phi+| + (1 - W) I/4, with Werner parameter W in [-1/3, 1]. Everything here takes a float or an
array of any shape and gives the same back. Source: model.md §3 (arXiv:2510.09371 for Werner states and homogeneous
depolarising memories; a decay rate per node is [ours]).

Each measure is treated as a function of s = log W, the variable in which a route's pairs add up:

    log_value  log f(e^s),   elasticity  a = d log f / ds = W f'/f,   elasticity_slope  da/ds
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Number = TypeVar("Number", float, Floats)

LN2 = float(np.log(2.0))


class Measure(StrEnum):
    """Entanglement of one Werner pair; its place in `MEASURES` is its code in arrays."""

    NEGATIVITY = "negativity"  # (3W - 1)/4
    SECRET_KEY = "secret_key"  # BB84's asymptotic key fraction, 1 - 2 h((1 - W)/2), bit per pair
    DISTILLABLE = "distillable"  # hashing bound, 1 + F log2 F + (1 - F) log2((1 - F)/3), ebit per pair


MEASURES: tuple[Measure, ...] = tuple(Measure)

# Smallest W with f > 0, and the W up to which log f(e^s) is concave (tests/test_werner.py computes both again).
_POSITIVE_FROM = {
    Measure.NEGATIVITY: 1.0 / 3.0,
    Measure.SECRET_KEY: 0.77994427112328090,
    Measure.DISTILLABLE: 0.74761383344635765,
}
_CONCAVE_UNTIL = {
    Measure.NEGATIVITY: 1.0,
    Measure.SECRET_KEY: 0.96178438303145339,
    Measure.DISTILLABLE: 0.95863486497754259,
}


# --- pair algebra -----------------------------------------------------------------------------------------------------


def fidelity(w: Number) -> Number:
    """Fidelity F = (3W + 1)/4 of a Werner pair."""
    return (3.0 * w + 1.0) / 4.0


def werner(f: Number) -> Number:
    """Werner parameter W = (4F - 1)/3 of a pair of fidelity F."""
    return (4.0 * f - 1.0) / 3.0


def swap(w1: Number, w2: Number, gate_factor: float | Number = 1.0) -> Number:
    """Werner parameter after a successful swap of two pairs; `gate_factor` (at most 1) is the swap's own damage."""
    return w1 * w2 * gate_factor


def decay(w: Number, seconds: float | Number, rate: float | Number) -> Number:
    """Werner parameter after storage for `seconds`; `rate` is gamma_a + gamma_b (1/s), summed over the two nodes."""
    return cast(Number, w * np.exp(-rate * seconds))


# --- measures ---------------------------------------------------------------------------------------------------------
# Per measure: f, W f', W^2 f''. Written in 1 - W, which is exact near 1, where the entropies vanish.


def _xlogx(x: Floats) -> Floats:
    return x * np.log(np.where(x == 0.0, 1.0, x))


def _negativity(w: Floats) -> tuple[Floats, Floats, Floats]:
    return (3.0 * w - 1.0) / 4.0, 0.75 * w, 0.0 * w


def _secret_key(w: Floats) -> tuple[Floats, Floats, Floats]:
    error, intact = (1.0 - w) / 2.0, (1.0 + w) / 2.0
    f = 1.0 + 2.0 * (_xlogx(error) + intact * np.log1p(-error)) / LN2
    return f, w * np.log(intact / error) / LN2, w**2 / (2.0 * LN2 * error * intact)


def _distillable(w: Floats) -> tuple[Floats, Floats, Floats]:
    other, good = (1.0 - w) / 4.0, (1.0 + 3.0 * w) / 4.0  # weights of each wrong and of the right Bell state
    f = 1.0 + (good * np.log1p(-3.0 * other) + 3.0 * _xlogx(other)) / LN2
    return f, 0.75 * w * np.log(good / other) / LN2, 3.0 * w**2 / (16.0 * LN2 * other * good)


_TERMS: dict[Measure, Callable[[Floats], tuple[Floats, Floats, Floats]]] = {
    Measure.NEGATIVITY: _negativity,
    Measure.SECRET_KEY: _secret_key,
    Measure.DISTILLABLE: _distillable,
}


def _terms(measure: Measure | str, w: float | Floats) -> tuple[Floats, Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):  # W = 1 gives an infinite slope, W outside [-1/3, 1] NaN
        return _TERMS[Measure(measure)](np.asarray(w, dtype=np.float64))


def _like(w: Number, result: Floats) -> Number:
    """`result` as a scalar if `w` was one."""
    return cast(Number, result[()])


def value(measure: Measure | str, w: Number) -> Number:
    """Entanglement f(W) of one pair, by the formula: negative where the pair is worth nothing. NaN for impossible W.

    Raises:
        ValueError: unknown measure.
    """
    return _like(w, _terms(measure, w)[0])


def log_value(measure: Measure | str, w: Number) -> Number:
    """log f(W), natural; -inf where f <= 0."""
    f = _terms(measure, w)[0]
    return _like(w, np.log(f, out=np.where(np.isnan(f), np.nan, -np.inf), where=f > 0.0))


def elasticity(measure: Measure | str, w: Number) -> Number:
    """a(W) = W f'(W)/f(W) = d log f / d log W; +inf where f <= 0 (its limit from above)."""
    f, slope, _ = _terms(measure, w)
    return _like(w, np.divide(slope, f, out=np.where(np.isnan(f), np.nan, np.inf), where=f > 0.0))


def elasticity_slope(measure: Measure | str, w: Number) -> Number:
    """da/d log W, the second derivative of log f(e^s): negative where log f(e^s) is concave; -inf where f <= 0."""
    f, slope, curvature = _terms(measure, w)
    positive = f > 0.0
    safe = np.where(positive, f, 1.0)
    with np.errstate(invalid="ignore"):
        result = (curvature + slope * (1.0 - slope / safe)) / safe
    result = np.where(np.isinf(curvature), np.inf, result)  # W = 1: 1/(1 - W) outgrows log^2(1 - W)
    return _like(w, np.where(positive, result, np.where(np.isnan(f), np.nan, -np.inf)))


def positive_from(measure: Measure | str) -> float:
    """The W above which f(W) > 0."""
    return _POSITIVE_FROM[Measure(measure)]


def concave_until(measure: Measure | str) -> float:
    """The largest W up to which log f(e^s) is concave in s, and so QNUM convex (model.md §5)."""
    return _CONCAVE_UNTIL[Measure(measure)]


# --- many sessions, each with its own measure -------------------------------------------------------------------------


def _mixed(function: Callable[[Measure, Floats], Floats], codes: NDArray[np.integer[Any]], w: Floats) -> Floats:
    result = np.full(np.shape(w), np.nan)
    codes = np.broadcast_to(codes, result.shape)
    for code, measure in enumerate(MEASURES):
        chosen = codes == code
        if chosen.any():
            result[chosen] = function(measure, w[chosen])
    return result


def values(codes: NDArray[np.integer[Any]], w: Floats) -> Floats:
    """f_r(W_r) for codes[R] (places in `MEASURES`) and w[..., R]."""
    return _mixed(value, codes, w)


def log_values(codes: NDArray[np.integer[Any]], w: Floats) -> Floats:
    """log f_r(W_r) for codes[R] and w[..., R]; -inf where f <= 0."""
    return _mixed(log_value, codes, w)


def elasticities(codes: NDArray[np.integer[Any]], w: Floats) -> Floats:
    """a_r(W_r) for codes[R] and w[..., R]; +inf where f <= 0."""
    return _mixed(elasticity, codes, w)


def elasticity_slopes(codes: NDArray[np.integer[Any]], w: Floats) -> Floats:
    """da_r/d log W for codes[R] and w[..., R]; -inf where f <= 0."""
    return _mixed(elasticity_slope, codes, w)

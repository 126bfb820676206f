# pyright: basic
"""Registered formulas as compiled code that calls them by their code: one table of addresses, which stays in its place.

So the compiled simulator knows no measure: who registers one more changes nothing in what numba keeps on the disk, and
may do so while simulators run.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit, types
from numba.extending import register_jitable

from qnum_gym import caching
from qnum_gym.physics import links, measures
from qnum_gym.physics.links import LINK_MODELS, Hardware, LinkModel
from qnum_gym.physics.measures import MEASURES, Measure
from qnum_gym.rules import PACINGS, pacings
from qnum_gym.rules.pacings import Pacing
from qnum_gym.simulator import pointers
from qnum_gym.simulator.state import SECOND

Formula: TypeAlias = Measure | LinkModel | Pacing

MOST = 256  # measures, link models, and pacings
VALUE, SLOPE, BRIGHTNESS, GAP = range(0, 4 * MOST, MOST)  # where addresses of f, W f', b and gaps begin, by code
TABLE = np.zeros(4 * MOST, np.int64)
_known: dict[int, Formula] = {}  # what TABLE has, by place
_call = pointers.caller(types.float64)

coordinate: Any = register_jitable(links.coordinate)
at_coordinate: Any = register_jitable(links.at_coordinate)
in_modes: Any = register_jitable(links.in_modes)
register_jitable(links.quadratics)


def prepare(codes: Any, models: Any = (), gaps: Any = ()) -> None:
    """Have the measures, link models and pacings of these codes (of any shape) compiled and in TABLE.

    Raises:
        ValueError: numba cannot compile the terms of one.
    """
    wanted = (
        (MEASURES, codes, {VALUE: 0, SLOPE: 1}),
        (LINK_MODELS, models, {BRIGHTNESS: 0}),
        (PACINGS, gaps, {GAP: 0}),
    )
    for registry, chosen, terms in wanted:
        for code in np.unique(chosen).astype(int).tolist():
            _put(registry.field, registry.at(code), code, terms)


def _put(field: str, kind: Formula, code: int, terms: dict[int, int]) -> None:
    """Compile terms of a formula, given by where their part of TABLE begins."""
    if code >= MOST:
        raise ValueError(f"{field} = {kind.name!r}: valid: no more than {MOST} in one process")
    for begin, term in terms.items():
        if _known.get(begin + code) is not kind:
            try:
                TABLE[begin + code] = _address(kind, term)
            except Exception as error:  # numba has many
                raise ValueError(f"{field} = {kind.name!r}: numba cannot compile its terms: {error}") from error
            _known[begin + code] = kind


def _address(kind: Formula, place: int) -> int:
    """Where the compiled function of one of the terms begins."""
    formula = kind.gap if isinstance(kind, Pacing) else kind.terms
    terms: Any = register_jitable(formula)
    home = {module.__name__: module for module in (links, measures, pacings)}.get(formula.__module__)

    def of_one(w):
        return float(terms(w)[place])

    def of_link(w, chance, dark_count, clicks):
        return float(terms(w, Hardware(chance, dark_count, clicks))[place])

    def alone(u):
        return float(terms(u))

    function: Any = {Measure: of_one, LinkModel: of_link, Pacing: alone}[type(kind)]
    signature = (types.float64,) * function.__code__.co_argcount
    if home is None:  # other people's code, which may be made of anything, is compiled every time
        compiled = njit(nogil=True, error_model="numpy")(function)
    else:  # with files of its own in the cache
        function.__qualname__ = f"{kind.name}_{place}"
        compiled = caching.entry(home, file=__file__)(function)
    return pointers.address(compiled, signature)


@njit(nogil=True, error_model="numpy")
def term(table, begin, code, w):
    """One term of a measure at w; NaN for a code that stands for nothing."""
    address = table[begin + code] if 0 <= code < MOST else 0
    return _call(address, (w,)) if address != 0 else np.nan


@njit(nogil=True, error_model="numpy")
def worth(table, code, w):
    """f⁺(W) = max(f(W), 0) of one pair; `table` is TABLE, or a pointer to it."""
    return max(term(table, VALUE, code, w), 0.0)


@njit(nogil=True, error_model="numpy")
def fill_worth(table, codes, w, value, slope):
    """f(W) and W f'(W) [R] of w [R], each by its own measure."""
    for r in range(len(codes)):
        value[r], slope[r] = term(table, VALUE, codes[r], w[r]), term(table, SLOPE, codes[r], w[r])


@njit(nogil=True, error_model="numpy")
def chance(link):
    """(3/2) eta of a link as it is now."""
    return link.capacity * (link.cycle / SECOND) / link.modes


@njit(nogil=True, error_model="numpy")
def brightness(table, link):
    """b of a link at its w, in one mode: an attempt's success over `chance`; NaN for a model that is none."""
    address = table[BRIGHTNESS + link.model] if 0 <= link.model < MOST else 0
    if address == 0:
        return np.nan
    if link.capacity <= 0.0:
        return 0.0
    return _call(address, (link.werner, chance(link), link.dark_count, link.clicks))


@njit(nogil=True, error_model="numpy")
def rate(table, link):
    """C of a link at its w, pairs/s."""
    b = brightness(table, link)
    return link.capacity * (b if link.modes == 1.0 or b == 0.0 else in_modes(b, chance(link), link.modes))


@njit(nogil=True, error_model="numpy")
def gap(table, code, u):
    """A source's next gap, in units of 1/R, of a number u from (0, 1]; NaN for a pacing that is none."""
    address = table[GAP + code] if 0 <= code < MOST else 0
    return _call(address, (u,)) if address != 0 else np.nan


@caching.entry(pointers, file=__file__)
def pair_values(table, codes, w):
    """The same, as new arrays."""
    value, slope = np.empty_like(w), np.empty_like(w)
    fill_worth(table, codes, w, value, slope)
    return value, slope

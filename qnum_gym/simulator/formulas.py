# pyright: basic
"""Registered formulas as compiled code that calls them by their code: one table of addresses, which stays in its place.

So the compiled simulator knows no measure: who registers one more changes nothing in what numba keeps on the disk, and
may do so while simulators run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, register_jitable

from qnum_gym import caching
from qnum_gym.physics import measures
from qnum_gym.physics.measures import MEASURES, Measure
from qnum_gym.simulator import pointers

MOST = 256  # measures
VALUE, SLOPE = 0, MOST  # where the addresses of f and of W f' begin, in order of the codes
TABLE = np.zeros(2 * MOST, np.int64)
_known: dict[int, Measure] = {}  # by code: what TABLE has
_kept: list[Any] = []  # the compiled functions: their addresses are good as long as they live


def prepare(codes: Any) -> None:
    """Have the measures of `codes` (any shape) compiled and in TABLE.

    Raises:
        ValueError: numba cannot compile the terms of one.
    """
    for code in np.unique(codes).tolist():
        measure = MEASURES.at(code)
        if _known.get(code) is not measure:
            if code >= MOST:
                raise ValueError(f"measure = {measure.name!r}: valid: no more than {MOST} measures in one process")
            for place, begin in enumerate((VALUE, SLOPE)):
                TABLE[begin + code] = _address(measure, place)
            _known[code] = measure


def _address(measure: Measure, place: int) -> int:
    """Where the compiled function from W to one of the terms begins."""
    terms: Any = register_jitable(measure.terms)

    def term(w):
        return float(terms(w)[place])

    own = measure.terms.__module__ == measures.__name__
    if own:  # with files of its own in the cache; other people's code, which may be anywhere, is compiled every time
        term.__qualname__ = f"{measure.name}_{place}"
    compiled = (caching.entry(measures, file=__file__) if own else njit(nogil=True, error_model="numpy"))(term)
    try:
        compiled.compile((types.float64,))
    except Exception as error:  # numba has many
        raise ValueError(f"measure = {measure.name!r}: numba cannot compile its terms: {error}") from error
    _kept.append(compiled)
    made = compiled.overloads[types.float64,]
    return made.library.get_pointer_to_function(made.fndesc.llvm_cfunc_wrapper_name)


def call_address(typing_context, address, number):
    """Call the function of one float at an address."""

    def code(context, builder, sig, args):
        double = ir.DoubleType()
        function = builder.inttoptr(args[0], ir.FunctionType(double, [double]).as_pointer())
        return builder.call(function, [args[1]])

    return types.float64(types.int64, types.float64), code


call: Any = intrinsic(call_address)


@njit(nogil=True, error_model="numpy")
def worth(table, code, w):
    """f⁺(W) = max(f(W), 0) of one pair; `table` is TABLE, or a pointer to it."""
    return max(call(table[VALUE + code], w), 0.0)


@njit(nogil=True, error_model="numpy")
def fill_worth(table, codes, w, value, slope):
    """f(W) and W f'(W) [R] of w [R], each by its own measure."""
    for r in range(len(codes)):
        value[r], slope[r] = call(table[VALUE + codes[r]], w[r]), call(table[SLOPE + codes[r]], w[r])


@caching.entry(pointers, file=__file__)
def pair_values(table, codes, w):
    """The same, as new arrays."""
    value, slope = np.empty_like(w), np.empty_like(w)
    fill_worth(table, codes, w, value, slope)
    return value, slope

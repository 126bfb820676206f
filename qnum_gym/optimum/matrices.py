"""The little linear algebra that the optimum needs, with types (scipy.sparse has none)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg as _linalg  # pyright: ignore[reportUnknownVariableType]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Sparse = Any

SOLVED = 1e-10  # backward error, row by row, up to which a solution is taken without exchanging rows
EXACT = 1e-15  # backward error that needs no refinement
REFINEMENTS = 4

_sparse, _solvers = cast(Any, sparse), cast(Any, _linalg)


def entries(rows: Ints, columns: Ints, values: Floats | Ints, shape: tuple[int, int]) -> Sparse:
    """A matrix in rows, from its entries; entries of one place add up."""
    return _sparse.csr_array((values, (rows, columns)), shape=shape)


def from_rows(values: Floats, columns: Ints, starts: Ints, shape: tuple[int, int]) -> Sparse:
    """A matrix in rows, from the three arrays of that format."""
    return _sparse.csr_array((values, columns, starts), shape=shape)


def diagonal(x: Floats) -> Sparse:
    """diag(x)."""
    return _sparse.diags_array(x)


class Symmetric:
    """Solves systems of one sparse symmetric matrix, which need not be definite.

    Pivots stay on the diagonal, so that the ordering chosen for the symmetric pattern holds: exchanging rows, SuperLU's
    habit, can make thirty times as many entries. Where that leaves an error which refinement does not remove, rows are
    exchanged after all.
    """

    def __init__(self, matrix: Sparse) -> None:
        self._matrix, self._size = matrix.tocsc(), abs(matrix)
        self._ways = [{"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}, {}]
        self._factors: Any = None

    def solve(self, right: Floats) -> Floats:
        """The best solution found of matrix @ x = right."""
        best, best_error = np.zeros_like(right), np.inf
        while True:
            if self._factors is not None:
                x, error = self._refined(right)
                if error < best_error:
                    best, best_error = x, error
                if error <= SOLVED or not self._ways:
                    return best
            if not self._ways:
                return best
            try:
                self._factors = _solvers.splu(self._matrix, permc_spec="MMD_AT_PLUS_A", **self._ways.pop(0))
            except RuntimeError:  # a pivot that is exactly 0
                self._factors = None

    def _refined(self, right: Floats) -> tuple[Floats, float]:
        """The solution, refined as long as that helps, and its backward error."""
        best, best_error = np.zeros_like(right), np.inf
        x = self._factors.solve(right)
        for _ in range(REFINEMENTS):
            rest = right - self._matrix @ x
            scale = self._size @ np.abs(x) + np.abs(right)
            error = float(np.max(np.abs(rest) / np.where(scale > 0.0, scale, 1.0), initial=0.0))
            if not error < best_error:
                break
            best, best_error = x, error
            if error <= EXACT:
                break
            x = x + self._factors.solve(rest)
        return best, best_error


def totals(index: Ints, x: Floats, size: int) -> Floats:
    """[size] sums of x over equal index."""
    return cast(Floats, np.bincount(index, x, size))

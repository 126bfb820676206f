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


def solve_symmetric(matrix: Sparse, right: Floats) -> Floats:
    """The solution of a sparse symmetric system, which need not be definite."""
    # the ordering meant for symmetric patterns: a third of the default's time on large networks
    return _solvers.splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A").solve(right)


def totals(index: Ints, x: Floats, size: int) -> Floats:
    """[size] sums of x over equal index."""
    return cast(Floats, np.bincount(index, x, size))

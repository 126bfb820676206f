"""The little linear algebra that the optimum needs, with types (scipy.sparse has none)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]
from scipy.sparse import linalg as _linalg  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Indices = NDArray[np.uint32]
Bools = NDArray[np.bool_]
Sparse = Any

_sparse, _solvers = cast(Any, sparse), cast(Any, _linalg)
_SYMMETRIC: Any = {"diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}


def entries(rows: Ints, columns: Ints, values: Floats | Ints, shape: tuple[int, int]) -> Sparse:
    """A matrix in rows, from its entries; entries of one place add up."""
    return _sparse.csr_array((values, (rows, columns)), shape=shape)


def from_rows(values: Floats, columns: Ints, starts: Ints, shape: tuple[int, int]) -> Sparse:
    """A matrix in rows, from the three arrays of that format."""
    return _sparse.csr_array((values, columns, starts), shape=shape)


def blocks(parts: list[list[Any]]) -> Sparse:
    """One matrix of blocks, row by row; None for zeros."""
    return _sparse.block_array(parts, format="csr")


def diagonal(x: Floats) -> Sparse:
    """diag(x)."""
    return _sparse.diags_array(x)


def least_fill(graph: Sparse) -> Ints:
    """Rank of each vertex in an order of elimination that fills little: multiple minimum degree (Liu 1985)."""
    # SuperLU tells its order only with a factor, so it gets numbers that need no exchange of rows
    heavy = (graph + diagonal(1.0 + graph.sum(axis=0))).tocsc()
    return cast(Ints, _solvers.splu(heavy, permc_spec="MMD_AT_PLUS_A", **_SYMMETRIC).perm_c.astype(np.int64))


def exchange(matrix: Sparse) -> Callable[[Floats], Floats] | None:
    """Solves systems of `matrix` by L U with exchange of rows, slow but safe; None if it is singular."""
    try:
        return cast(Callable[[Floats], Floats], _solvers.splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A").solve)
    except RuntimeError:  # a pivot that is exactly 0
        return None


def places(chosen: Ints, size: int) -> Ints:
    """Inverse of an index array: place in `chosen` of each of `size` items, -1 if not there."""
    found = np.full(size, -1, dtype=np.int64)
    found[chosen] = np.arange(len(chosen))
    return found


def distinct(x: Ints) -> Ints:
    """The different values of x, none below 0, in rising order; `np.unique` takes ten times as long."""
    return np.flatnonzero(np.bincount(x))


def totals(index: Ints, x: Floats, size: int) -> Floats:
    """[size] sums of x over equal index."""
    return cast(Floats, np.bincount(index, x, size))

"""A sparse L D L^T without exchange of rows, for quasi-definite systems that keep their pattern [ours].

Any order of the unknowns gives a factor (Vanderbei 1995, "Symmetric quasidefinite matrices"), so the order is chosen
once, for little fill, and every later factorisation only computes numbers. Columns of L with the same rows are kept
together as one dense panel (a supernode; Ng & Peyton 1993). No sum depends on BLAS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numba
import numpy as np

from qnum_gym import caching
from qnum_gym.optimum.matrices import Floats, Ints, entries, least_fill

WIDTH = 32  # columns of a panel of several groups, at most: what is used again and again stays in the fastest cache

_inner = cast(Callable[[Any], Any], cast(Any, numba).njit(nogil=True, error_model="numpy"))  # called by compiled code


class Factors:
    """L D L^T of [[diag(a), B^T], [B, diag(c)]], whose pattern is fixed: solves systems once `factorise` was called.

    Args:
        rows, columns: [K] of the entries of B [m, n].
        group: [n + m] which unknowns are eliminated together: numbers from 0, none left out.
    """

    def __init__(self, rows: Ints, columns: Ints, group: Ints) -> None:
        caching.announce(_factorise, "the solver's other method")
        n = len(group)
        low, high = columns, rows + (n - int(rows.max()) - 1)
        size = int(group.max()) + 1
        graph = entries(group[low], group[high], np.ones(len(low)), (size, size))
        graph = graph + graph.T
        rank = least_fill(graph)
        order = np.argsort(rank[group], kind="stable")
        self._place = np.argsort(order)
        first = np.concatenate([[0], np.cumsum(np.bincount(rank[group]))])
        graph = graph.tocoo()
        upper = rank[graph.row] < rank[graph.col]
        above = entries(rank[graph.col][upper], rank[graph.row][upper], np.ones(int(upper.sum())), (size, size))
        starts, ends, row_starts, panel_rows = _panels(above.indptr, above.indices, first)
        self._shape = starts, ends, row_starts, panel_rows
        sizes = np.diff(row_starts) * (ends - starts)
        self._panel = np.concatenate([[0], np.cumsum(sizes)])
        self._owner = np.repeat(np.arange(len(starts)), ends - starts)
        pairs = np.sort([self._place[low], self._place[high]], axis=0)
        self._entry = _positions(pairs[0], pairs[1], self._owner, self._panel, *self._shape)
        own = self._place
        self._diagonal = _positions(own, own, self._owner, self._panel, *self._shape)
        self._x = np.zeros(int(self._panel[-1]))

    def factorise(self, diagonal: Floats, values: Floats) -> bool:
        """L and D, from the diagonal [n + m] and the values [K] of B; False where a pivot is 0 or not finite."""
        self._x[:] = 0.0
        self._x[self._entry] = values
        self._x[self._diagonal] = diagonal
        return bool(_factorise(self._x, self._owner, self._panel, *self._shape))

    def solve(self, right: Floats) -> Floats:
        """The solution [n + m] for a right-hand side [n + m]."""
        x = np.empty_like(right)
        x[self._place] = right
        _solve(x, self._x, self._panel, *self._shape)
        return x[self._place]


@caching.entry(file=__file__)
def _panels(above: Ints, indices: Ints, first: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Panels of the factor of a graph: first and last column, and rows (own columns first), by unknown.

    Args:
        above: [vertices + 1] where the neighbours of each vertex begin in `indices`.
        indices: of each vertex the neighbours that come before it.
        first: [vertices + 1] first unknown of each vertex.
    """
    n = len(above) - 1
    parent, seen, count = np.full(n, -1), np.full(n, -1), np.zeros(n, np.int64)
    for k in range(n):  # the elimination tree, and the length of each column
        seen[k] = k
        for p in range(above[k], above[k + 1]):
            i = np.int64(indices[p])
            while seen[i] != k:
                if parent[i] < 0:
                    parent[i] = k
                count[i] += 1
                seen[i] = k
                i = parent[i]
    owner, begin = np.zeros(n, np.int64), np.zeros(n + 1, np.int64)
    m = 0
    for j in range(n):
        fits = j > 0 and first[j + 1] - first[begin[m - 1]] <= WIDTH
        if not (fits and parent[j - 1] == j and count[j - 1] == count[j] + 1):
            begin[m] = j
            m += 1
        owner[j] = m - 1
    begin[m] = n
    starts, ends, row_starts = np.zeros(m, np.int64), np.zeros(m, np.int64), np.zeros(m + 1, np.int64)
    seen[:] = -1
    below, last, rows = np.zeros(m, np.int64), np.full(m, -1), np.zeros(0, np.int64)
    for turn in range(2):  # count the rows, then write them
        if turn == 1:
            for s in range(m):
                starts[s], ends[s] = first[begin[s]], first[begin[s + 1]]
                row_starts[s + 1] = row_starts[s] + ends[s] - starts[s] + below[s]
            rows = np.zeros(row_starts[m], np.int64)
            for s in range(m):
                size = ends[s] - starts[s]
                rows[row_starts[s] : row_starts[s] + size] = np.arange(starts[s], ends[s])
                below[s] = row_starts[s] + size
            seen[:] = -1
            last[:] = -1
        for k in range(n):
            seen[k] = k
            for p in range(above[k], above[k + 1]):
                i = np.int64(indices[p])
                while seen[i] != k:
                    seen[i] = k
                    s = owner[i]
                    if s != owner[k] and last[s] != k:
                        last[s] = k
                        size = first[k + 1] - first[k]
                        if turn == 1:
                            rows[below[s] : below[s] + size] = np.arange(first[k], first[k + 1])
                        below[s] += size
                    i = parent[i]
    return starts, ends, row_starts, rows


@caching.entry(file=__file__)
def _positions(
    low: Ints, high: Ints, owner: Ints, panel: Ints, starts: Ints, ends: Ints, row_starts: Ints, rows: Ints
) -> Ints:
    """Where the panels keep the entries of row `high` and column `low`."""
    out = np.empty(len(low), np.int64)
    for e in range(len(low)):
        s = owner[low[e]]
        row = int(np.searchsorted(rows[row_starts[s] : row_starts[s + 1]], high[e]))  # pyright: ignore[reportUnknownArgumentType]
        out[e] = panel[s] + row * (ends[s] - starts[s]) + low[e] - starts[s]
    return out


@caching.entry(file=__file__)
def _factorise(x: Floats, owner: Ints, panel: Ints, starts: Ints, ends: Ints, row_starts: Ints, rows: Ints) -> bool:
    """Panels of the matrix to panels of L, with D on the diagonal: from left to right, each with all it depends on."""
    m = len(starts)
    local = np.zeros(len(owner), np.int64)  # place of a row in the panel at work
    head, after = np.full(m, -1), np.full(m, -1)  # for each panel: those to its left that change it next
    reached = np.zeros(m, np.int64)
    widest = np.max(ends - starts)
    work, total = np.zeros((widest, widest)), np.zeros(widest)
    for s in range(m):
        width, high = ends[s] - starts[s], row_starts[s + 1] - row_starts[s]
        own = x[panel[s] : panel[s + 1]].reshape(high, width)
        for i in range(high):
            local[rows[row_starts[s] + i]] = i
        d = head[s]
        while d >= 0:
            following = after[d]
            wide, begin, stop = ends[d] - starts[d], reached[d], row_starts[d + 1]
            end = begin
            while end < stop and rows[end] < ends[s]:
                end += 1
            left = x[panel[d] : panel[d + 1]].reshape(stop - row_starts[d], wide)
            _subtract(own, left, rows[row_starts[d] : stop], begin - row_starts[d], end - begin, local, work, total)
            reached[d] = end
            if end < stop:
                target = owner[rows[end]]
                after[d], head[target] = head[target], d
            d = following
        if not _dense(own, width, work):
            return False
        reached[s] = row_starts[s] + width
        if width < high:
            target = owner[rows[reached[s]]]
            after[s], head[target] = head[target], s
    return True


@_inner
def _subtract(
    own: Floats, left: Floats, rows: Ints, begin: int, size: int, local: Ints, work: Floats, total: Floats
) -> None:
    """own -= L D L^T of the panel `left`, for its rows from `begin`; the first `size` of them are columns of `own`."""
    wide = left.shape[1]
    for j in range(size):
        for k in range(wide):
            work[k, j] = left[begin + j, k] * left[k, k]
    shift = local[rows[begin]]
    together = rows[begin + size - 1] - rows[begin] == size - 1
    for i in range(begin, len(rows)):
        for j in range(size):
            total[j] = 0.0
        k = 0
        while k + 4 <= wide:
            a, b, c, d = left[i, k], left[i, k + 1], left[i, k + 2], left[i, k + 3]
            for j in range(size):
                total[j] += a * work[k, j] + b * work[k + 1, j] + c * work[k + 2, j] + d * work[k + 3, j]
            k += 4
        while k < wide:
            a = left[i, k]
            for j in range(size):
                total[j] += a * work[k, j]
            k += 1
        row = own[local[rows[i]]]
        if together:
            part = row[shift : shift + size]  # a slice, so that the loop needs no check for a negative index
            for j in range(size):
                part[j] -= total[j]
        else:
            for j in range(size):
                row[local[rows[begin + j]]] -= total[j]


@_inner
def _dense(own: Floats, width: int, work: Floats) -> bool:
    """L and D of one panel whose own columns are its first rows."""
    for i in range(len(own)):
        for k in range(min(i, width)):
            y = own[i, k]
            own[i, k] = y / own[k, k]
            if i < width:
                work[k, i] = own[i, k]
            for j in range(k + 1, min(i + 1, width)):
                own[i, j] -= y * work[k, j]
        if i < width and (own[i, i] == 0.0 or not np.isfinite(own[i, i])):
            return False
    return True


@caching.entry(file=__file__)
def _solve(x: Floats, panels: Floats, panel: Ints, starts: Ints, ends: Ints, row_starts: Ints, rows: Ints) -> None:
    for s in range(len(starts)):
        begin, width, high = starts[s], ends[s] - starts[s], row_starts[s + 1] - row_starts[s]
        own = panels[panel[s] : panel[s + 1]].reshape(high, width)
        for i in range(high):
            total = 0.0
            for k in range(min(i, width)):
                total += own[i, k] * x[begin + k]
            x[rows[row_starts[s] + i]] -= total
    for s in range(len(starts) - 1, -1, -1):
        begin, width, high = starts[s], ends[s] - starts[s], row_starts[s + 1] - row_starts[s]
        own = panels[panel[s] : panel[s + 1]].reshape(high, width)
        for i in range(width):
            x[begin + i] /= own[i, i]
        for i in range(high - 1, 0, -1):
            y = x[rows[row_starts[s] + i]]
            for k in range(min(i, width)):
                x[begin + k] -= own[i, k] * y

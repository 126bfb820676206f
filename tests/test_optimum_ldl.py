"""The factorisation behind the optimum, against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest

from qnum_gym.optimum.ldl import WIDTH, Factors


@pytest.mark.parametrize("groups", [1, 2, 20, 90, 400])
@pytest.mark.parametrize(("m", "n", "density"), [(1, 1, 1.0), (7, 4, 0.3), (40, 60, 0.05), (3 * WIDTH, 2 * WIDTH, 0.5)])
def test_solves_what_numpy_solves(m: int, n: int, density: float, groups: int) -> None:
    rng = np.random.default_rng(groups)
    pattern = rng.random((m, n)) < density
    pattern[np.arange(m), rng.integers(n, size=m)] = True
    rows, columns = np.nonzero(pattern)
    group = np.unique(rng.integers(groups, size=n + m), return_inverse=True)[1]
    factors = Factors(rows, columns, group)
    for scale in (1.0, 1e3):  # the second time only the numbers are new
        dense = np.where(pattern, scale * rng.normal(size=(m, n)), 0.0)
        diagonal = np.concatenate([rng.uniform(0.5, 2.0, n), -rng.uniform(0.5, 2.0, m)])
        whole = np.diag(diagonal)
        whole[n:, :n], whole[:n, n:] = dense, dense.T
        right = rng.normal(size=n + m)
        assert factors.factorise(diagonal, dense[rows, columns])
        x = factors.solve(right)
        error = np.abs(whole @ x - right).max() / (np.abs(whole) @ np.abs(x) + np.abs(right)).max()
        assert error < 1e-11
        np.testing.assert_allclose(x, np.linalg.solve(whole, right), rtol=1e-6, atol=1e-8)


def test_says_so_where_a_pivot_is_0_or_not_finite() -> None:
    one = np.zeros(1, np.int64)
    factors = Factors(one, one, np.array([0, 0]))
    assert not factors.factorise(np.array([1.0, 1.0]), np.ones(1))  # [[1, 1], [1, 1]]
    assert not factors.factorise(np.array([1.0, np.nan]), np.ones(1))
    assert factors.factorise(np.array([1.0, -1.0]), np.ones(1))
    np.testing.assert_allclose(factors.solve(np.array([3.0, 1.0])), [2.0, 1.0])

# pyright: basic
"""A layer of a small perceptron as one plain loop compiled by numba.

A matrix product of a BLAS rounds as its kernels for this processor, its threads and the number of rows would have it.
Here every row is added up by itself and in one order, so that its bits depend on nothing but the row and the weights.
"""

from __future__ import annotations

import math

import numpy as np

from qnum_gym import caching

entry = caching.entry(file=__file__)  # called from Python


@entry
def layer(x, of, matrices, biases, bent):
    """x [n, in] to x @ matrix + bias [n, out], float32; tanh(x) in place of x if `bent`.

    Row i is of network of[i], with `matrices` [m, in, out] and `biases` [m, out]. In double precision within: the C
    library's tanh may differ in the last place between machines, and a float32 rounded from it does not show that.
    """
    n, size = x.shape
    width = biases.shape[1]
    y, total = np.empty((n, width), np.float32), np.empty(width)
    for i in range(n):
        matrix, bias = matrices[of[i]], biases[of[i]]
        for k in range(width):
            total[k] = bias[k]
        for f in range(size):
            value = np.float64(x[i, f])
            if bent:
                value = math.tanh(value)
            for k in range(width):
                total[k] += value * matrix[f, k]
        for k in range(width):
            y[i, k] = total[k]
    return y

"""The multigrid cycle in single precision. `narrow` and `widen` convert from and to the solver's double precision."""

import numpy as np
from numba import cuda

from fem_cuda.jit import Float, Floats, Floats32, Int, Ints, kernel
from fem_cuda.kernels.common import LANES, WARP, items, row_product, shared_items, sum_lanes


@kernel
def multiply_f4(n: Int, indptr: Ints, indices: Ints, values: Floats32, x: Floats32, out: Floats32) -> None:
    """out = M x, M of n rows."""
    for i in shared_items(n, LANES):
        total = row_product(i, n, indptr, indices, values, x, np.float32(0))
        if i < n and cuda.threadIdx.x % LANES == 0:
            out[i] = total


@kernel
def subtract_product_f4(n: Int, indptr: Ints, indices: Ints, values: Floats32, x: Floats32, r: Floats32) -> None:
    """r -= M x, M of n rows."""
    for i in shared_items(n, LANES):
        total = row_product(i, n, indptr, indices, values, x, np.float32(0))
        if i < n and cuda.threadIdx.x % LANES == 0:
            r[i] -= total


@kernel
def chebyshev(n: Int, alpha: Float, beta: Float, z: Floats32, delta: Floats32, x: Floats32) -> None:
    """δ = β δ + α z, x += δ; if β is 0, δ isn't read: it may be undefined."""
    for i in items(n):
        step = np.float32(alpha) * z[i]
        if beta != 0:
            step += np.float32(beta) * delta[i]
        delta[i] = step
        x[i] += step


@kernel
def solve_lines(n: Int, line_start: Ints, nodes: Ints, d: Floats32, l: Floats32, r: Floats32, z: Floats32) -> None:
    """z = (L D Lᵀ)⁻¹ r at the nodes of each line, L with 1 on its diagonal and l[k] below node k's. n lines."""
    for line in items(n):
        first, stop = line_start[line], line_start[line + 1]
        before = np.float32(0)
        for k in range(first, stop):  # L y = r
            before = r[nodes[k]] - (l[k - 1] * before if k > first else np.float32(0))
            z[nodes[k]] = before
        for k in range(stop - 1, first - 1, -1):  # D Lᵀ z = y
            before = z[nodes[k]] / d[k] - (l[k] * before if k < stop - 1 else np.float32(0))
            z[nodes[k]] = before


@kernel
def add_f4(n: Int, e: Floats32, x: Floats32) -> None:
    """x += e."""
    for i in items(n):
        x[i] += e[i]


@kernel
def multiply_dense(n: Int, B: Floats32, x: Floats32, out: Floats32) -> None:
    """out = B x, B (n, n) by rows, a warp's each."""
    for i in shared_items(n, WARP):
        total = np.float32(0)
        if i < n:
            for j in range(cuda.threadIdx.x % WARP, n, WARP):
                total += B[np.int64(i) * n + j] * x[j]
        total = sum_lanes(total, WARP)
        if i < n and cuda.threadIdx.x % WARP == 0:
            out[i] = total


@kernel
def narrow(n: Int, d: Floats, r: Floats, factor: Float, s: Floats32) -> None:
    """s = d r factor, in single precision."""
    for i in items(n):
        s[i] = d[i] * r[i] * factor


@kernel
def widen(n: Int, d: Floats, x: Floats32, factor: Float, z: Floats) -> None:
    """z = d x factor."""
    for i in items(n):
        z[i] = d[i] * np.float64(x[i]) * factor


@kernel
def axpy(n: Int, alpha: Float, a: Floats, b: Floats) -> None:
    """b += α a."""
    for i in items(n):
        b[i] += alpha * a[i]


@kernel
def xpby(n: Int, z: Floats, beta: Float, p: Floats) -> None:
    """p = z + β p."""
    for i in items(n):
        p[i] = z[i] + beta * p[i]

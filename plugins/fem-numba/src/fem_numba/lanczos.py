"""The Lanczos process that estimates the smoother's largest eigenvalue, compiled."""

import numpy as np
from fem_core.solvers.multigrid import Lines
from fem_core.solvers.multigrid.smoother import start
from fem_core.types import Array, Floats
from numba import prange
from scipy import sparse

from fem_numba.cycle import LINES, ROWS, arrays, row, solve, tridiagonal
from fem_numba.jit import CSR, Out, added, compiled, f4, f8
from fem_numba.threads import parallel


@compiled(
    *CSR[f4], *LINES, Out[f4, 1], Out[f4, 1], Out[f4, 1], Out[f4, 1], Out[f4, 1], Out[f8, 1], Out[f8, 1], Out[f8, 1],
    parallel=True,
)  # fmt: skip
def coefficients(
    indptr: Array, indices: Array, data: Array, nodes: Array, d: Array, l: Array, cuts: Array,
    on_lines: Array, r: Array, z: Array, p: Array, q: Array, sums: Floats, α: Floats, β: Floats,
) -> int:  # fmt: skip
    """Fills α and, with one number less, β. Returns the length of α. p, q and `sums` (pieces of ROWS rows) are zero."""
    a, b, rz = 0.0, 0.0, 0.0
    for step in range(α.size):
        for chunk in prange(sums.size):
            total = 0.0
            for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
                r[i] -= np.float32(a) * q[i]
                z[i] = r[i]
                total += np.float64(r[i]) * r[i]
            sums[chunk] = total
        if nodes.size:
            for piece in prange(cuts.size - 1):
                first, last = cuts[piece], cuts[piece + 1]
                for k in range(first, last):
                    on_lines[k] = r[nodes[k]]
                solve(d, l, on_lines, first, last)
                for k in range(first, last):
                    z[nodes[k]] = on_lines[k]
            for chunk in prange(sums.size):
                total = 0.0
                for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
                    total += np.float64(r[i]) * z[i]
                sums[chunk] = total
        before, rz = rz, added(sums)
        if step:
            if rz <= 1e-10 * before:
                return step
            b = rz / before
            β[step - 1] = b
        for chunk in prange(sums.size):
            for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
                p[i] = z[i] + np.float32(b) * p[i]
        for chunk in prange(sums.size):
            total = 0.0
            for i in range(chunk * ROWS, min((chunk + 1) * ROWS, r.size)):
                q[i] = row(i, indptr, indices, data, p)
                total += np.float64(p[i]) * q[i]
            sums[chunk] = total
        a = rz / added(sums)
        α[step] = a
    return α.size


def lanczos(threads: int, A: "sparse.csr_array", lines: Lines | None, steps: int) -> tuple[list[float], list[float]]:
    """As `fem_core.solvers.multigrid.smoother.lanczos`, in single precision."""
    n = A.shape[0]
    T = tridiagonal(lines)
    p, q, sums = np.zeros(n, np.float32), np.zeros(n, np.float32), np.zeros(-(-n // ROWS))
    α, β = np.empty(steps), np.empty(steps)
    with parallel(threads):
        size = coefficients(
            *arrays(A), *T, np.empty(len(T[0]), np.float32), start(n), np.empty(n, np.float32), p, q, sums, α, β
        )
    return α[:size].tolist(), β[: size - 1].tolist()

"""Conjugate gradients on the equilibrated matrix A = D K D, D = diag(K)^-½: its diagonal is 1, Jacobi's preconditioner
the identity.

A step has three parts. They move, in bytes for each of N rows and nnz entries:
    cg_direction    24 N            r, p → p
    cg_product      12 nnz + 20 N   A, indices, indptr, p → q
    cg_step         48 N            p, q, x, r → x, r
"""

import math
from typing import Any

from numba import cuda, types

from fem_cuda.jit import Counters, Float, Floats, Int, Ints, device, kernel
from fem_cuda.kernels.common import (
    BLOCK,
    CHUNK,
    LANES,
    WARP,
    items,
    position,
    row_product,
    shared_items,
    sum_lanes,
    thread,
    threads,
)

# ---- the equilibrated system


@kernel
def inverse_root_diagonal(n: Int, indptr: Ints, indices: Ints, values: Floats, d: Floats, bad: Counters) -> None:
    """d_i = K_ii^-½; where K_ii isn't positive and finite, d_i = 0 and bad[0] += 1. n = N."""
    for i in items(n):
        diagonal = values[position(indptr, indices, i, i)]
        good = diagonal > 0 and math.isfinite(diagonal)
        d[i] = 1 / math.sqrt(diagonal) if good else 0.0
        if not good:
            cuda.atomic.add(bad, 0, 1)


@kernel
def scale_matrix(n: Int, indptr: Ints, indices: Ints, values: Floats, d: Floats, A: Floats) -> None:
    """A_ij = d_i K_ij d_j. n = N."""
    for i in shared_items(n, LANES):
        if i < n:
            for s in range(indptr[i] + cuda.threadIdx.x % LANES, indptr[i + 1], LANES):
                A[s] = d[i] * values[s] * d[indices[s]]


@kernel
def product(n: Int, a: Floats, b: Floats, out: Floats) -> None:
    """out_i = a_i b_i."""
    for i in items(n):
        out[i] = a[i] * b[i]


@kernel
def residual(n: Int, indptr: Ints, indices: Ints, A: Floats, x: Floats, b: Floats, out: Floats) -> None:
    """out = b - A x. n = N."""
    for i in shared_items(n, LANES):
        total = row_product(i, n, indptr, indices, A, x, 0.0)
        if i < n and cuda.threadIdx.x % LANES == 0:
            out[i] = b[i] - total


@kernel
def multiply(n: Int, indptr: Ints, indices: Ints, A: Floats, x: Floats, out: Floats) -> None:
    """out = A x. n = N."""
    for i in shared_items(n, LANES):
        total = row_product(i, n, indptr, indices, A, x, 0.0)
        if i < n and cuda.threadIdx.x % LANES == 0:
            out[i] = total


@kernel
def put_zero(n: Int, fixed: Ints, out: Floats) -> None:
    """out = 0 at fixed nodes. n = number of fixed nodes."""
    for t in items(n):
        out[fixed[t]] = 0


@kernel
def potential(n: Int, lift: Floats, d: Floats, x: Floats, u: Floats) -> None:
    """u = ĝ + D x. n = N."""
    for i in items(n):
        u[i] = lift[i] + d[i] * x[i]


@kernel
def dot_chunks(n: Int, length: Int, a: Floats, b: Floats, sums: Floats) -> None:
    """a·b of each CHUNK entries, a warp's each; the last chunk ends at `length`. n = ⌈length / CHUNK⌉."""
    for t in shared_items(n, WARP):
        total = 0.0
        if t < n:
            for s in range(t * CHUNK + cuda.threadIdx.x % WARP, min(length, (t + 1) * CHUNK), WARP):
                total += a[s] * b[s]
        total = sum_lanes(total, WARP)
        if t < n and cuda.threadIdx.x % WARP == 0:
            sums[t] = total


# ---- conjugate gradients: one grid takes many steps, and all its blocks run at the same time

# The entries of `state`, and the values of its status.
RR, BEFORE, PAP, TARGET, ITERATION, LIMIT, STATUS = range(7)
RUNNING, CONVERGED, NOT_FINITE, LIMIT_REACHED, INDEFINITE = range(5)


@device
def check(rr: Float, target: Float, iteration: Float, limit: Float) -> Int:
    """The status before each step: SciPy's stopping rule, then the other reasons to stop."""
    if math.sqrt(rr) < target:
        return CONVERGED
    if not math.isfinite(rr):
        return NOT_FINITE
    if iteration >= limit:
        return LIMIT_REACHED
    return RUNNING


@device
def sum_block(a: Float, sums: Any) -> Float:
    """Sum over the threads of a block, a power of two, in all of them; `sums` is shared memory."""
    sums[cuda.threadIdx.x] = a
    cuda.syncthreads()
    half = cuda.blockDim.x // 2
    while half > 0:
        if cuda.threadIdx.x < half:
            sums[cuda.threadIdx.x] += sums[cuda.threadIdx.x + half]
        cuda.syncthreads()
        half //= 2
    total = sums[0]
    cuda.syncthreads()  # before `sums` is written again
    return total


@device
def sum_grid(a: Float, shared: Any, sums: Floats, half: Int) -> Float:
    """Sum over all threads of the grid, in all of them. Consecutive sums use different halves of `sums`.

    Each block writes its sum. After all have, each block adds them up, always in the same order.
    """
    first = half * cuda.gridDim.x
    a = sum_block(a, shared)
    if cuda.threadIdx.x == 0:
        sums[first + cuda.blockIdx.x] = a
    cuda.cg.this_grid().sync()
    mine = 0.0
    for block in range(cuda.threadIdx.x, cuda.gridDim.x, cuda.blockDim.x):
        mine += sums[first + block]
    return sum_block(mine, shared)


@device
def cg_direction(n: Int, r: Floats, p: Floats, beta: Float) -> None:
    """p = r + (‖r‖² / ‖r‖² of the step before) p."""
    for i in range(thread(), n, threads()):
        p[i] = r[i] + beta * p[i]


@device
def cg_product(n: Int, indptr: Ints, indices: Ints, A: Floats, p: Floats, q: Floats) -> Float:
    """q = A p, and this thread's part of p·q."""
    pq = 0.0
    together = cuda.blockDim.x // LANES
    # All threads of a block loop equally often, because they meet in row_product.
    for first in range(cuda.blockIdx.x * together, n, cuda.gridDim.x * together):
        i = first + cuda.threadIdx.x // LANES
        total = row_product(i, n, indptr, indices, A, p, 0.0)
        if i < n and cuda.threadIdx.x % LANES == 0:
            q[i] = total
            pq += p[i] * total
    return pq


@device
def cg_step(n: Int, alpha: Float, p: Floats, q: Floats, x: Floats, r: Floats) -> Float:
    """x += α p, r -= α q with α = ‖r‖² / p·q, and this thread's part of ‖r‖²."""
    rr = 0.0
    for i in range(thread(), n, threads()):
        there, rest = x[i] + alpha * p[i], r[i] - alpha * q[i]  # all values are loaded before the first is written
        x[i], r[i] = there, rest
        rr += rest * rest
    return rr


@kernel
def conjugate_gradients(
    n: Int,
    steps: Int,
    indptr: Ints,
    indices: Ints,
    A: Floats,
    x: Floats,
    r: Floats,
    p: Floats,
    q: Floats,
    sums: Floats,
    state: Floats,
) -> None:
    """Up to `steps` steps, launched cooperatively; sums has two numbers a block. n = N.

    All threads have the state of the iteration. The first one writes it at the end.
    """
    grid = cuda.cg.this_grid()
    shared = cuda.shared.array(BLOCK, types.float64)
    rr, before, pq = state[RR], state[BEFORE], state[PAP]
    target, iteration, limit, status = state[TARGET], state[ITERATION], state[LIMIT], int(state[STATUS])
    grid.sync()  # all threads have read `state` before it is written
    if status == RUNNING:
        status = check(rr, target, iteration, limit)
    step = 0
    while step < steps and status == RUNNING:
        cg_direction(n, r, p, rr / before)
        grid.sync()
        pq = sum_grid(cg_product(n, indptr, indices, A, p, q), shared, sums, 0)
        if pq <= 0:
            status = INDEFINITE
        else:
            before = rr
            rr = sum_grid(cg_step(n, rr / pq, p, q, x, r), shared, sums, 1)
            iteration += 1
            status = check(rr, target, iteration, limit)
        step += 1
    if thread() == 0:
        state[RR], state[BEFORE], state[PAP] = rr, before, pq
        state[ITERATION], state[STATUS] = iteration, status

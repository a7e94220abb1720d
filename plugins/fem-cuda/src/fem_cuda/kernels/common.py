"""Functions for several stages: the items of a thread, sums over threads, the place of an entry.

Floating-point numbers are always added in a fixed order: every run gives the same bits.
"""

import numpy as np
from numba import cuda, types

from fem_cuda.jit import SIMULATED, Float, Floats, Int, Ints, device

BLOCK = 128  # threads in a block
LANES = 1 if SIMULATED else 4  # threads for one row of a matrix
WARP = 1 if SIMULATED else 32
CHUNK = 256  # values of an item of sum_chunks, scan_chunks and dot_chunks

ALL = 0xFFFFFFFF  # the lanes of a warp


if SIMULATED:
    # The simulator's threads are slow: a few loop over all items. It has no shuffles.

    @device
    def thread() -> Int:
        """Number of this thread in the grid."""
        return cuda.grid(1)

    @device
    def threads() -> Int:
        """Threads of the grid."""
        return cuda.gridsize(1)

    @device
    def items(n: Int) -> range:
        """The items of this thread."""
        return range(thread(), n, threads())

    @device
    def shared_items(n: Int, width: Int) -> range:
        """The items that `width` threads take together. All threads loop equally often, some beyond n."""
        together = threads() // width
        return range(thread() // width, (n + together - 1) // together * together, together)

    @device
    def sum_lanes(a: Float, width: Int) -> Float:
        """Sum over `width` neighbouring threads, in all of them. All threads of the block must call it."""
        if width == 1:
            return a
        sums = cuda.shared.array(BLOCK, types.float64)
        i = cuda.threadIdx.x
        step = width // 2
        while step > 0:
            sums[i] = a
            cuda.syncthreads()
            a += sums[i ^ step]
            cuda.syncthreads()
            step //= 2
        return a

    @device
    def once(values: Floats, s: Int) -> Float:
        """An entry that is read once."""
        return values[s]

else:

    @device
    def thread() -> Int:
        """Number of this thread in the grid."""
        return np.int32(cuda.grid(1))

    @device
    def threads() -> Int:
        """Threads of the grid."""
        return np.int32(cuda.gridsize(1))

    @device
    def items(n: Int) -> range:
        """The item of this thread, if there is one."""
        i = thread()
        return range(i, min(n, i + np.int32(1)))

    @device
    def shared_items(n: Int, width: Int) -> range:
        """The item that `width` threads take together; it may be beyond n, because all threads of a warp must meet."""
        i = thread() // np.int32(width)
        return range(i, i + np.int32(1))

    @device
    def sum_lanes(a: Float, width: Int) -> Float:
        """Sum over `width` neighbouring threads, in all of them. All threads of the warp must call it."""
        step = width // 2
        while step > 0:
            a += cuda.shfl_xor_sync(ALL, a, step)
            step //= 2
        return a

    @device
    def once(values: Floats, s: Int) -> Float:
        """An entry that is read once: its cache line may be evicted first."""
        return cuda.ldcs(values, s)


@device
def term(s: Int, end: Int, indices: Ints, values: Floats, x: Floats, zero: Float) -> Float:
    """Entry s of a row that ends before `end`, times its x; 0 beyond."""
    return once(values, s) * x[once(indices, s)] if s < end else zero


@device
def row_product(i: Int, n: Int, indptr: Ints, indices: Ints, values: Floats, x: Floats, zero: Float) -> Float:
    """Row i of a CSR matrix times x, in all of the LANES threads that take a row together; 0 beyond the n rows.

    A thread loads 6 entries before it uses the first: most rows have at most 6 LANES entries, so they wait for memory
    once. The matrix is read once: its cache lines may be evicted first and leave the L2 cache to x.
    """
    total = zero
    if i < n:
        end = indptr[i + 1]
        s = indptr[i] + cuda.threadIdx.x % LANES
        a = term(s, end, indices, values, x, zero)
        b = term(s + LANES, end, indices, values, x, zero)
        c = term(s + 2 * LANES, end, indices, values, x, zero)
        d = term(s + 3 * LANES, end, indices, values, x, zero)
        e = term(s + 4 * LANES, end, indices, values, x, zero)
        f = term(s + 5 * LANES, end, indices, values, x, zero)
        total = a + b + c + d + e + f
        for t in range(s + 6 * LANES, end, LANES):
            total += once(values, t) * x[once(indices, t)]
    return sum_lanes(total, LANES)


@device
def position(indptr: Ints, indices: Ints, row: Int, column: Int) -> Int:
    """Where entry (row, column) is in the CSR values, by bisection."""
    low, high = indptr[row], indptr[row + 1]
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low

"""PᵀAP with ascending columns, summed in SciPy's order. Explicit zeros are kept."""

import numpy as np
from fem_core.types import Array, Floats, Ints
from numba import prange
from scipy import sparse

from fem_numba.cycle import arrays
from fem_numba.jit import CSR, Out, compiled, f8, i4, i8, u4
from fem_numba.memory import empty
from fem_numba.threads import parallel


def csr(indptr: Ints, indices: Array, data: Floats, columns: int) -> "sparse.csr_array":
    """A matrix whose columns ascend."""
    matrix = sparse.csr_array((data, indices.view(np.int32), indptr), shape=(len(indptr) - 1, columns))
    matrix.has_canonical_format = True
    return matrix


@compiled(*CSR[f8], *CSR[f8], *CSR[f8], i8, i8, i8, Out[u4, 1], Out[f8, 1], Out[i4, 1], parallel=True)
def multiply(
    A_indptr: Ints, A_indices: Array, A_data: Floats, P_indptr: Ints, P_indices: Array, P_data: Floats,
    R_indptr: Ints, R_indices: Array, R_data: Floats, n: int, room: int, threads: int,
    indices: Array, data: Floats, indptr: Ints,
) -> bool:  # fmt: skip
    """(R A) P. Returns whether there was enough room.

    Parameters
    ----------
    n : int
        Columns of P.
    room : int
        Entries per row, on average over a thread's rows. A thread with the first row r writes from r `room` on; the
        gaps are closed at the end.
    """
    rows, middle = R_indptr.size - 1, A_indptr.size - 1
    for thread in prange(threads):
        first, last = thread * rows // threads, (thread + 1) * rows // threads
        k, end = first * room, last * room
        place_A, column_A, value_A = np.full(middle, -1, np.int32), np.empty(middle, np.uint32), np.empty(middle)
        place, column, value = np.full(n, -1, np.int32), np.empty(n, np.uint32), np.empty(n)
        for r in range(first, last):
            length_A = length = np.uint64(0)
            for q in range(np.uint64(R_indptr[r]), np.uint64(R_indptr[r + 1])):
                i, weight = R_indices[q], R_data[q]
                for s in range(np.uint64(A_indptr[i]), np.uint64(A_indptr[i + 1])):
                    j = A_indices[s]
                    if place_A[j] < 0:
                        place_A[j], column_A[length_A], value_A[length_A] = length_A, j, weight * A_data[s]
                        length_A += np.uint64(1)
                    else:
                        value_A[np.uint64(place_A[j])] += weight * A_data[s]
            for m in range(np.int64(length_A) - 1, -1, -1):  # SciPy's order
                j, a = column_A[np.uint64(m)], value_A[np.uint64(m)]
                place_A[j] = -1
                for t in range(np.uint64(P_indptr[j]), np.uint64(P_indptr[j + 1])):
                    c = P_indices[t]
                    if place[c] < 0:
                        place[c], column[length], value[length] = length, c, a * P_data[t]
                        length += np.uint64(1)
                    else:
                        value[np.uint64(place[c])] += a * P_data[t]
            if k + np.int64(length) > end:
                indptr[r + 1] = -1
                break
            for m in range(length):
                c, before = column[m], np.uint64(0)
                for s in range(length):
                    before += np.uint64(column[s] < c)
                place[c] = -1
                indices[np.uint64(k) + before], data[np.uint64(k) + before] = c, value[m]
            indptr[r + 1] = length
            k += np.int64(length)
    indptr[0] = 0
    for r in range(rows):
        if indptr[r + 1] < 0:
            return False
        indptr[r + 1] += indptr[r]
    for thread in range(1, threads):
        first, last = thread * rows // threads, (thread + 1) * rows // threads
        shift = first * room - indptr[first]
        for k in range(np.uint64(indptr[first]), np.uint64(indptr[last])):
            indices[k], data[k] = indices[k + np.uint64(shift)], data[k + np.uint64(shift)]
    return True


def galerkin(threads: int, A: "sparse.csr_array", P: "sparse.csr_array") -> "sparse.csr_array":
    """PᵀAP."""
    n, factors = P.shape[1], (*arrays(A), *arrays(P), *arrays(P.T.tocsr()))
    indptr, room = np.empty(n + 1, np.int32), 4 + 2 * A.nnz // A.shape[0]
    with parallel(threads):
        while True:
            indices, data = empty(n * room, np.uint32), empty(n * room)  # unused pages take no memory
            if multiply(*factors, n, room, threads, indices, data, indptr):
                return csr(indptr, indices[: indptr[-1]], data[: indptr[-1]], n)
            room *= 2

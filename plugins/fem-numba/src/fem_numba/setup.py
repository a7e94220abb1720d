"""The functions of `fem_core.solvers.multigrid.Kernels`, compiled: they build a multigrid hierarchy.

Products and sums are taken in the core's order, so the first levels are the core's bit for bit. On lower levels
multiply-adds are fused, and rounding differs.
"""

from functools import partial

import numpy as np
from fem_core import Mesh
from fem_core.solvers.multigrid import Kernels, Links
from fem_core.solvers.multigrid import lines as along
from fem_core.solvers.multigrid import mmatrix as core
from fem_core.types import Array, Bools, Floats, Ints
from numba import prange
from scipy import sparse

from fem_numba.coarsening import interpolation
from fem_numba.cycle import ROWS, arrays
from fem_numba.galerkin import csr, galerkin
from fem_numba.jit import CSR, In, Out, b1, compiled, f4, f8, i4, i8, u4
from fem_numba.lanczos import lanczos
from fem_numba.memory import empty
from fem_numba.threads import parallel

_LINKS = np.float32(-along.ACROSS), np.float32(-along.ALONG)


def kernels(threads: int) -> Kernels:
    """The functions on `threads` threads."""
    return Kernels(
        to_corners,
        partial(galerkin, threads),
        partial(m_matrix, threads),
        partial(scaled, threads),
        partial(strong_links, threads),
        partial(lanczos, threads),
        partial(interpolation, threads),
    )


@compiled(In[i4, 2], In[b1, 1], Out[i4, 1], Out[i4, 2], Out[i4, 1], Out[i4, 1], Out[f8, 1])
def number_corners(
    quad8: Ints, free: Bools, number: Ints, columns: Ints, indptr: Ints, indices: Ints, data: Floats
) -> int:  # fmt: skip
    """P in CSR, see `to_corners`. Returns the number of free corners. `number` is -1, `columns` (n, 2) workspace."""
    for e in range(quad8.shape[0]):
        for i in range(4):
            number[quad8[e, i]] = 0
    n = 0
    for node in range(number.size):
        corner = number[node] == 0
        number[node] = -1
        if corner and free[node]:
            number[node] = n
            n += 1
        columns[node, 0], columns[node, 1] = number[node], -1
    for e in range(quad8.shape[0]):
        for i in range(4):
            mid = quad8[e, 4 + i]
            columns[mid, 0], columns[mid, 1] = number[quad8[e, i]], number[quad8[e, (i + 1) % 4]]
    k = 0
    for node in range(number.size):
        weight = 1.0 if number[node] >= 0 else 0.5
        if number[node] < 0:
            number[node] = n
        indptr[node] = k
        for j in range(2):
            if free[node] and columns[node, j] >= 0:
                indices[k], data[k] = columns[node, j], weight
                k += 1
    indptr[number.size] = k
    return n


def to_corners(mesh: Mesh, free: Bools) -> tuple["sparse.csr_array", Ints]:
    """As `fem_core.solvers.multigrid.to_corners`."""
    n = mesh.n_nodes
    number, columns, indptr = np.full(n, -1, np.int32), empty((n, 2), np.int32), np.empty(n + 1, np.int32)
    indices, data = empty(2 * n, np.int32), empty(2 * n)
    corners = number_corners(mesh.quad8, free, number, columns, indptr, indices, data)
    nnz = indptr[-1]
    return sparse.csr_array((data[:nnz], indices[:nnz], indptr), shape=(n, corners)), number


@compiled(
    In[i4, 1], In[i4, 1], In[f8, 1], In[i4, 2], f8, i8, Out[f8, 1], Out[f8, 1], Out[f8, 1], Out[i4, 1], parallel=True
)  # fmt: skip
def stiffen(
    indptr: Ints, indices: Ints, data: Floats, corners: Ints, small: float, threads: int,
    c: Floats, d: Floats, M: Floats, lengths: Ints,
) -> None:  # fmt: skip
    """The values of M in the pattern of K, 0 where they are lumped, and the number of entries left in each row.

    Rows are short: a loop over a whole row without branches is faster than a search.

    Parameters
    ----------
    c, d : (n_elements,), (n,)
        To work in.
    M : (nnz,)
    """
    n = indptr.size - 1
    for e in prange(corners.shape[0]):
        largest = -np.inf
        for i in range(2):
            r, s = corners[e, i], corners[e, i + 2]
            value = 0.0
            if r < n and s < n:
                for k in range(np.uint64(indptr[r]), np.uint64(indptr[r + 1])):
                    value = data[k] if indices[k] == s else value
            largest = max(largest, value)
        c[e] = max(0.0, -largest)
    for thread in prange(threads):
        first, last = thread * n // threads, (thread + 1) * n // threads
        for k in range(np.uint64(indptr[first]), np.uint64(indptr[last])):
            M[k] = 0.0
        for e in range(corners.shape[0]):
            if c[e] > 0:
                p, q, r, s = corners[e, 0], corners[e, 1], corners[e, 2], corners[e, 3]
                for i in range(4):
                    row = corners[e, i]
                    if first <= row < last:
                        value = c[e] if i % 2 == 0 else -c[e]
                        for k in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
                            j = indices[k]
                            sign = np.int32((j == p) | (j == r)) - np.int32((j == q) | (j == s))
                            M[k] += value * sign
    for r in prange(n):
        for k in range(np.uint64(indptr[r]), np.uint64(indptr[r + 1])):
            if indices[k] == r:
                d[r] = np.sqrt(data[k] + M[k])
    for r in prange(n):
        lumped, at, length = 0.0, np.int64(indptr[r]), 1
        for k in range(np.uint64(indptr[r]), np.uint64(indptr[r + 1])):
            j = indices[k]
            value = data[k] + M[k]
            M[k] = value
            if j == r:
                at = np.int64(k)
            elif value > -small * d[r] * d[np.uint64(j)]:
                lumped += value
                M[k] = 0.0
            else:
                length += 1
        M[at] += lumped
        lengths[r] = length


@compiled(In[i4, 1], In[u4, 1], In[f8, 1], In[i4, 1], Out[u4, 1], Out[f8, 1], parallel=True)
def drop_zeros(
    indptr: Ints, indices: Array, data: Floats, new_indptr: Ints, new_indices: Array, new_data: Floats
) -> None:
    """Copy the entries that aren't zero."""
    for r in prange(indptr.size - 1):
        to = new_indptr[r]
        for k in range(indptr[r], indptr[r + 1]):
            if data[k] != 0:
                new_indices[to], new_data[to] = indices[k], data[k]
                to += 1


def m_matrix(threads: int, K: "sparse.csr_array", corners: Ints) -> "sparse.csr_array":
    """As the core's."""
    n, M, indptr = K.shape[0], empty(K.nnz), np.zeros(K.shape[0] + 1, np.int32)
    with parallel(threads):
        work = np.empty(len(corners)), np.empty(n)
        stiffen(K.indptr, K.indices, K.data, corners, core.SMALL, threads, *work, M, indptr[1:])
        np.cumsum(indptr, out=indptr)
        closed = empty(indptr[-1], np.uint32), empty(indptr[-1])
        drop_zeros(K.indptr, K.indices.view(np.uint32), M, indptr, *closed)
    return csr(indptr, *closed, n)


@compiled(*CSR[f8], In[f8, 1], In[f8, 1], Out[f4, 1], parallel=True)
def scale(indptr: Ints, indices: Array, data: Floats, left: Floats, right: Floats, values: Array) -> None:
    """left_i m_ij right_j in single precision."""
    for r in prange(indptr.size - 1):
        for k in range(np.uint64(indptr[r]), np.uint64(indptr[r + 1])):
            values[k] = right[indices[k]] * left[r] * data[k]


def scaled(threads: int, M: "sparse.csr_array", left: Floats, right: Floats) -> "sparse.csr_array":
    """left_i M_ij right_j in single precision, as the core's."""
    values = empty(M.nnz, np.float32)
    with parallel(threads):
        scale(*arrays(M), left, right, values)
    result = sparse.csr_array((values, M.indices, M.indptr), shape=M.shape)
    result.has_canonical_format = M.has_canonical_format
    return result


@compiled(
    *CSR[f4], In[i4, 2], f4, f4, Out[i4, 2], Out[i4, 1], Out[i4, 1], Out[i4, 1], Out[f8, 1], Out[i4, 2], i8,
    parallel=True,
)  # fmt: skip
def find_links(
    indptr: Ints, indices: Array, data: Array, quad8: Ints, across: np.float32, along_edge: np.float32,
    edge: Ints, bounds: Ints, i: Ints, j: Ints, link: Floats, ends: Ints, count: int,
) -> None:  # fmt: skip
    """Per piece of rows: with `count` the number of links, in bounds[piece + 1]; else its links, from bounds[piece].

    Parameters
    ----------
    edge : int32 (n, 2)
        Workspace: the ends of each mid-side's edge, the smaller one first; -1 at corners.
    """
    if count:
        for e in prange(quad8.shape[0]):
            for k in range(4):
                mid, p, q = quad8[e, 4 + k], quad8[e, k], quad8[e, (k + 1) % 4]
                edge[mid, 0], edge[mid, 1] = min(p, q), max(p, q)
    for piece in prange(bounds.size - 1):
        if not count and bounds[piece] == bounds[piece + 1]:
            continue
        m = 0 if count else bounds[piece]
        for r in range(piece * ROWS, min((piece + 1) * ROWS, edge.shape[0])):
            if edge[r, 0] < 0:
                continue
            for s in range(np.uint64(indptr[r]), np.uint64(indptr[r + 1])):
                if data[s] < across:
                    c = np.int32(indices[s])
                    if edge[c, 0] >= 0:
                        meets = edge[r, 0] == edge[c, 0] or edge[r, 0] == edge[c, 1]
                        meets = meets or edge[r, 1] == edge[c, 0] or edge[r, 1] == edge[c, 1]
                        strong = r < c and not meets
                    else:
                        strong = data[s] < along_edge and (edge[r, 0] == c or edge[r, 1] == c)
                    if strong:
                        if not count:
                            i[m], j[m], link[m] = r, c, data[s]
                            ends[m, 0], ends[m, 1] = edge[r, 0], edge[r, 1]
                        m += 1
        if count:
            bounds[piece + 1] = m


def strong_links(threads: int, A: "sparse.csr_array", quad8: Ints) -> Links:
    """As the core's."""
    n, matrix = A.shape[0], arrays(A)
    edge, bounds = empty((n, 2), np.int32), np.zeros(-(-n // ROWS) + 1, np.int32)
    edge[:] = -1

    def room(m: int) -> Links:
        return Links(np.empty(m, np.int32), np.empty(m, np.int32), np.empty(m), np.empty((m, 2), np.int32))

    with parallel(threads):
        i, j, link, ends = room(0)
        find_links(*matrix, quad8, *_LINKS, edge, bounds, i, j, link, ends, 1)
        np.cumsum(bounds, out=bounds)
        i, j, link, ends = links = room(int(bounds[-1]))
        find_links(*matrix, quad8, *_LINKS, edge, bounds, i, j, link, ends, 0)
    return links

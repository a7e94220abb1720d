"""Numeric assembly: element matrices are computed and added to the CSR values in one pass, part by part."""

import numpy as np
from fem_core import LinearSystem, Mesh, Problem
from fem_core.assembly import csr
from fem_core.plugins import Progress
from fem_core.types import Array, Floats, Ints
from numba import prange

from fem_numba.element import LANES, load, stiffness
from fem_numba.jit import In, Out, compiled, f8, i4, i8, u2, u4
from fem_numba.memory import Recycled, workspaces
from fem_numba.parts import FIRST, NONE
from fem_numba.prefetch import prefetch
from fem_numba.sparsity import Pattern
from fem_numba.threads import parallel

#: Parts per thread between two reports of progress: about 10 ms.
_CHUNK = 256

#: Elements between a prefetch and the use of its data.
_AHEAD = 8


def assemble(
    mesh: Mesh, problem: Problem, pattern: Pattern, threads: int, memory: Recycled, progress: Progress
) -> LinearSystem:
    """K and f of `problem` on `mesh`, before boundary conditions."""
    n, parts, k, s = mesh.n_elements, pattern.parts, problem.conductivity_on(mesh), problem.source_on(mesh)
    values, rhs = memory.empty(pattern.nnz), np.zeros(mesh.n_nodes)
    scratch = workspaces(threads, 96 * LANES)
    clear(pattern.indptr, mesh.orphan_nodes, values)
    with parallel(threads):
        for first in range(0, parts.n_parts, _CHUNK * threads):
            last = min(first + _CHUNK * threads, parts.n_parts)
            sum_stiffness(
                mesh.x, mesh.y, k, parts.ends, parts.elements, parts.nodes, parts.rows, parts.local,
                values, scratch, first, last,
            )  # fmt: skip
            if s is not None:
                sum_load(
                    mesh.x, mesh.y, s, parts.ends, parts.elements, parts.nodes, parts.rows, rhs, scratch, first, last
                )
            progress.assembly(n * last // parts.n_parts, n)
    return LinearSystem(csr(pattern.indptr, pattern.indices, values), rhs, disposable=True)


@compiled(In[i4, 1], In[i4, 1], Out[f8, 1])
def clear(indptr: Ints, orphans: Ints, values: Floats) -> None:
    """Zero the diagonal of orphan nodes, their only entry."""
    for r in orphans:
        values[indptr[r]] = 0.0


@compiled(
    In[f8, 1], In[f8, 1], In[f8, 1], In[i4, 1], In[i4, 1], In[u4, 2], In[u4, 2], In[u2, 3], Out[f8, 1],
    Out[f8, 2], i8, i8, parallel=True,
)  # fmt: skip
def sum_stiffness(
    x: Floats, y: Floats, k: Floats, ends: Ints, elements: Ints, nodes: Array, rows: Array, local: Array,
    values: Floats, scratch: Floats, first: int, last: int,
) -> None:  # fmt: skip
    """The CSR values of the rows of parts first … last - 1."""
    threads = scratch.shape[0]
    for thread in prange(threads):
        room = scratch[thread]
        X, Y, C = room[: 8 * LANES], room[8 * LANES : 16 * LANES], room[16 * LANES : 17 * LANES]
        K = room[32 * LANES :]
        a, b = thread * (last - first) // threads, (thread + 1) * (last - first) // threads
        for p in range(first + a, first + b):
            for block in range(ends[p], ends[p + 1], LANES):
                for lane in range(LANES):
                    q = min(block + lane, ends[p + 1] - 1)  # the last block is filled up with its last element
                    C[lane] = k[elements[q]]
                    for i in range(8):
                        X[i * LANES + lane] = x[nodes[q, i]]
                        Y[i * LANES + lane] = y[nodes[q, i]]
                stiffness(X, Y, C, K)
                for lane in range(LANES):
                    q = block + lane
                    if q >= ends[p + 1]:
                        break
                    ahead = min(q + _AHEAD, ends[p + 1] - 1)
                    for i in range(8):
                        if rows[ahead, i] != NONE:
                            for line in range(3):
                                prefetch(values, rows[ahead, i] + 8 * line)
                    for i in range(8):
                        row = rows[q, i]
                        if row != NONE:
                            for j in range(8):
                                place = local[q, i, j]
                                if place & FIRST:
                                    values[row + (place & (FIRST - 1))] = K[(8 * i + j) * LANES + lane]
                                else:
                                    values[row + place] += K[(8 * i + j) * LANES + lane]


@compiled(
    In[f8, 1], In[f8, 1], In[f8, 2], In[i4, 1], In[i4, 1], In[u4, 2], In[u4, 2], Out[f8, 1], Out[f8, 2], i8, i8,
    parallel=True,
)  # fmt: skip
def sum_load(
    x: Floats, y: Floats, s: Floats, ends: Ints, elements: Ints, nodes: Array, rows: Array, rhs: Floats,
    scratch: Floats, first: int, last: int,
) -> None:  # fmt: skip
    """The load vector at the nodes of parts first … last - 1, zero before."""
    threads = scratch.shape[0]
    for thread in prange(threads):
        room = scratch[thread]
        X, Y, S = room[: 8 * LANES], room[8 * LANES : 16 * LANES], room[16 * LANES : 24 * LANES]
        F = room[32 * LANES : 40 * LANES]
        a, b = thread * (last - first) // threads, (thread + 1) * (last - first) // threads
        for p in range(first + a, first + b):
            for block in range(ends[p], ends[p + 1], LANES):
                for lane in range(LANES):
                    q = min(block + lane, ends[p + 1] - 1)
                    for i in range(8):
                        X[i * LANES + lane] = x[nodes[q, i]]
                        Y[i * LANES + lane] = y[nodes[q, i]]
                        S[i * LANES + lane] = s[elements[q], i]
                load(X, Y, S, F)
                for lane in range(min(LANES, ends[p + 1] - block)):
                    q = block + lane
                    for i in range(8):
                        if rows[q, i] != NONE:
                            rhs[nodes[q, i]] += F[i * LANES + lane]

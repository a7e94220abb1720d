"""Boundary conditions: edge integrals, lifted values, fixed nodes."""

import numpy as np
from fem_core import LinearSystem, Mesh, Problem
from fem_core.assembly.system import PENALTY, csr, require_bare, robin_terms
from fem_core.mesh import quad8 as q8
from fem_core.types import Bools, Floats, Ints
from numba import prange

from fem_numba.jit import In, Out, b1, compiled, f8, i4, inlined
from fem_numba.memory import Recycled
from fem_numba.threads import parallel

_T, _W = tuple(q8.EDGE_DN[:, 1] / -2), tuple(q8.EDGE_WEIGHTS)  # points and weights; dN/dt of the mid-side node is -2t


def apply(system: LinearSystem, mesh: Mesh, problem: Problem, threads: int, memory: Recycled) -> LinearSystem:
    """As `fem_core.assembly.system.apply_conditions`: Robin terms added, Dirichlet values lifted, fixed nodes held."""
    require_bare(system, mesh)
    K, rhs = system.matrix, system.rhs.copy()
    values = K.data if system.overwritable else memory.empty(K.nnz)
    with parallel(threads):
        if values is not K.data:
            copy(K.data, values)
        for edges, p, γ in robin_terms(mesh, problem):
            add_robin(edges, mesh.x, mesh.y, p, γ, K.indptr, K.indices, values, rhs)
        fixed, lift = problem.fixed_on(mesh)
        if lift.any():
            subtract_product(K.indptr, K.indices, values, lift, rhs)
        held = np.zeros(mesh.n_nodes, dtype=bool)
        held[fixed] = True
        rhs[fixed] = 0
        if problem.dirichlet == "penalty":
            penalize(K.indptr, K.indices, values, fixed, PENALTY)
        else:
            eliminate(K.indptr, K.indices, values, held)
    return LinearSystem(csr(K.indptr, K.indices, values), rhs, fixed, lift)


@inlined
def position(indptr: Ints, indices: Ints, row: int, column: int) -> int:
    """Where entry (row, column) is in the CSR values, by bisection."""
    low, high = int(indptr[row]), int(indptr[row + 1])
    while low < high:
        middle = (low + high) // 2
        if indices[middle] < column:
            low = middle + 1
        else:
            high = middle
    return low


@compiled(In[f8, 1], Out[f8, 1], parallel=True)
def copy(a: Floats, b: Floats) -> None:
    """Fill b with a."""
    for s in prange(a.size):
        b[s] = a[s]


@compiled(In[i4, 2], In[f8, 1], In[f8, 1], In[f8, 2], In[f8, 2], In[i4, 1], In[i4, 1], Out[f8, 1], Out[f8, 1])
def add_robin(
    edges: Ints, x: Floats, y: Floats, p: Floats, γ: Floats, indptr: Ints, indices: Ints, values: Floats, rhs: Floats
) -> None:
    """∫ p N_i N_j ds added to the matrix and ∫ γ N_i ds to the right-hand side, by 3 Gauss points on each edge."""
    for n in range(edges.shape[0]):
        a, mid, b = edges[n]
        for t, w in zip(_T, _W):  # noqa: B905 (Numba's has no `strict`)
            N = 0.5 * t * (t - 1), 1 - t * t, 0.5 * t * (t + 1)
            dx = (t - 0.5) * x[a] - 2 * t * x[mid] + (t + 0.5) * x[b]
            dy = (t - 0.5) * y[a] - 2 * t * y[mid] + (t + 0.5) * y[b]
            ds = w * np.hypot(dx, dy)
            p_t = ds * (N[0] * p[n, 0] + N[1] * p[n, 1] + N[2] * p[n, 2])
            γ_t = ds * (N[0] * γ[n, 0] + N[1] * γ[n, 1] + N[2] * γ[n, 2])
            for i in range(3):
                rhs[edges[n, i]] += γ_t * N[i]
                if p_t != 0:
                    for j in range(3):
                        values[position(indptr, indices, edges[n, i], edges[n, j])] += p_t * N[i] * N[j]


@compiled(In[i4, 1], In[i4, 1], In[f8, 1], In[f8, 1], Out[f8, 1], parallel=True)
def subtract_product(indptr: Ints, indices: Ints, values: Floats, g: Floats, rhs: Floats) -> None:
    """rhs -= K g."""
    for r in prange(rhs.size):
        total = 0.0
        for s in range(indptr[r], indptr[r + 1]):
            total += values[s] * g[indices[s]]
        rhs[r] -= total


@compiled(In[i4, 1], In[i4, 1], Out[f8, 1], In[i4, 1], f8)
def penalize(indptr: Ints, indices: Ints, values: Floats, fixed: Ints, penalty: float) -> None:
    """Add the penalty to the diagonal of fixed nodes."""
    for r in fixed:
        values[position(indptr, indices, r, r)] += penalty


@compiled(In[i4, 1], In[i4, 1], Out[f8, 1], In[b1, 1], parallel=True)
def eliminate(indptr: Ints, indices: Ints, values: Floats, held: Bools) -> None:
    """Rows and columns of held nodes become those of the identity."""
    for r in prange(held.size):
        for s in range(indptr[r], indptr[r + 1]):
            column = indices[s]
            if held[r] or held[column]:
                values[s] = 1.0 if column == r else 0.0

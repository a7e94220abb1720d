"""Boundary conditions: edge integrals, lifted values, fixed nodes."""

import math

from numba import cuda

from fem_cuda.jit import Float, Floats, Int, Ints, kernel
from fem_cuda.kernels.common import LANES, items, position, row_product, shared_items

# The 3-point Gauss rule on [-1, 1].
POINTS = (-math.sqrt(3 / 5), 0.0, math.sqrt(3 / 5))
WEIGHTS = (5 / 9, 8 / 9, 5 / 9)


@kernel
def add_robin(
    n: Int,
    nodes: Ints,
    edge_start: Ints,
    edge_place: Ints,
    edges: Ints,
    x: Floats,
    y: Floats,
    p: Floats,
    gamma: Floats,
    indptr: Ints,
    indices: Ints,
    values: Floats,
    rhs: Floats,
) -> None:
    """For each place 3 edge + i of node v = nodes[t]: ∫ γ N_i ds added to rhs[v], ∫ p N_i N_j ds to row v.

    p and γ are given at the three nodes (a, mid, b) of each edge; edges in order. n = number of nodes.
    """
    for item in items(n):
        v = nodes[item]
        for s in range(edge_start[item], edge_start[item + 1]):
            a, i = edge_place[s] // 3 * 3, edge_place[s] % 3
            mid, b = a + 1, a + 2
            load, row0, row1, row2 = 0.0, 0.0, 0.0, 0.0
            for q in range(3):
                t = POINTS[q]
                N0, N1, N2 = t * (t - 1) / 2, 1 - t * t, t * (t + 1) / 2
                dN0, dN1, dN2 = t - 0.5, -2 * t, t + 0.5
                dx = dN0 * x[edges[a]] + dN1 * x[edges[mid]] + dN2 * x[edges[b]]
                dy = dN0 * y[edges[a]] + dN1 * y[edges[mid]] + dN2 * y[edges[b]]
                p_t = N0 * p[a] + N1 * p[mid] + N2 * p[b]
                gamma_t = N0 * gamma[a] + N1 * gamma[mid] + N2 * gamma[b]
                N_i = N0 if i == 0 else (N1 if i == 1 else N2)
                ds = WEIGHTS[q] * math.hypot(dx, dy)
                load += ds * gamma_t * N_i
                row0 += ds * p_t * N_i * N0
                row1 += ds * p_t * N_i * N1
                row2 += ds * p_t * N_i * N2
            rhs[v] += load
            values[position(indptr, indices, v, edges[a])] += row0
            values[position(indptr, indices, v, edges[mid])] += row1
            values[position(indptr, indices, v, edges[b])] += row2


@kernel
def subtract_product(n: Int, indptr: Ints, indices: Ints, values: Floats, g: Floats, rhs: Floats) -> None:
    """rhs -= K g. n = N."""
    for i in shared_items(n, LANES):
        total = row_product(i, n, indptr, indices, values, g, 0.0)
        if i < n and cuda.threadIdx.x % LANES == 0:
            rhs[i] -= total


@kernel
def penalize(n: Int, fixed: Ints, indptr: Ints, indices: Ints, values: Floats, rhs: Floats, penalty: Float) -> None:
    """The penalty added to the diagonal of fixed nodes, their rhs made 0. n = number of fixed nodes."""
    for t in items(n):
        i = fixed[t]
        values[position(indptr, indices, i, i)] += penalty
        rhs[i] = 0


@kernel
def eliminate(n: Int, held: Ints, indptr: Ints, indices: Ints, values: Floats, rhs: Floats) -> None:
    """Rows and columns of held nodes become the identity's, their rhs 0. n = N."""
    for i in items(n):
        for s in range(indptr[i], indptr[i + 1]):
            if held[i] != 0 or held[indices[s]] != 0:
                values[s] = 1 if indices[s] == i else 0
        if held[i] != 0:
            rhs[i] = 0

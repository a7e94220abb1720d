"""Ruge and Stüben's coarsening (1987) with the second pass, compiled, in place of pyamg.

Strength, splitting and interpolation are pyamg's, in its order, so that the levels are the core's up to rounding.
S_i are the strong neighbours of i, and S_i^T the nodes that have i as a strong neighbour.
"""

import numpy as np
from fem_core.solvers.multigrid import coarse as core
from fem_core.types import Array, Bools, Floats, Ints
from numba import prange
from scipy import sparse

from fem_numba.cycle import arrays
from fem_numba.galerkin import csr
from fem_numba.jit import CSR, In, Out, b1, compiled, f8, i4, i8, inlined, u4
from fem_numba.memory import empty
from fem_numba.threads import parallel

_TINY = np.finfo(np.float64).tiny

#: Marks in place of a node's number on the coarser level, or of its weight.
FINE, COARSE, _NEXT = -1, -2, -3


@compiled(*CSR[f8], f8, Out[i4, 1], Out[u4, 1], parallel=True)
def find_strong(indptr: Ints, indices: Array, data: Floats, θ: float, ends: Ints, S: Array) -> None:
    """S_i = {j ≠ i: |m_ij| ≥ θ max_{k ≠ i} |m_ik|}, stored from indptr[i] to ends[i]."""
    for i in prange(ends.size):
        largest = _TINY
        for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if indices[k] != np.uint32(i):
                largest = max(largest, abs(data[k]))
        end = np.uint64(indptr[i])
        for k in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
            if indices[k] != np.uint32(i) and abs(data[k]) >= θ * largest:
                S[end] = indices[k]
                end += np.uint64(1)
        ends[i] = end


@inlined
def swap(nodes: Ints, order: Array, k: int, at: int) -> None:
    """Swap node k with the node at `at`."""
    place, other = nodes[k, 1], order[at]
    order[place], nodes[other, 1] = other, place
    order[at], nodes[k, 1] = k, at


@compiled(In[i4, 1], In[i4, 1], In[u4, 1], Out[i4, 1], Out[u4, 1], Out[i4, 2], Out[u4, 1], Out[i4, 1])
def split(
    starts: Ints, ends: Ints, S: Array, T_indptr: Ints, T: Array, nodes: Ints, order: Array, number: Ints
) -> None:  # fmt: skip
    """The first pass. U are the undecided nodes, F the fine ones. Again and again, a node i of U with the largest
    weight |S_i^T ∩ U| + 2 |S_i^T ∩ F| becomes coarse, and the nodes of S_i^T in U become fine.

    Parameters
    ----------
    T_indptr, T : (n + 2,), as S
        Workspace: S^T in CSR. T_indptr is zero.
    nodes : int32 (n, 2)
        Workspace: weight or mark, and place in `order`.
    order : uint32 (n,)
        Workspace: nodes by weight.
    number : int32 (n,)
        COARSE or FINE.
    """
    n, largest = number.size, 0
    for i in range(n):
        for s in range(np.uint64(starts[i]), np.uint64(ends[i])):
            T_indptr[S[s] + np.uint32(2)] += 1
    for i in range(2, n + 2):
        T_indptr[i] += T_indptr[i - 1]
    for i in range(n):
        for s in range(np.uint64(starts[i]), np.uint64(ends[i])):
            j = S[s] + np.uint32(1)
            T[np.uint64(T_indptr[j])] = i
            T_indptr[j] += 1
    for i in range(n):
        nodes[i, 0] = T_indptr[i + 1] - T_indptr[i]
        largest = max(largest, nodes[i, 0])
    first = np.zeros(2 * largest + 3, np.int32)  # where in `order` the nodes of each weight begin
    for i in range(n):
        first[nodes[i, 0] + 1] += 1
    for weight in range(1, first.size):
        first[weight] += first[weight - 1]
    next_ = first.copy()
    for i in range(n):
        weight = nodes[i, 0]
        order[next_[weight]], nodes[i, 1] = i, next_[weight]
        next_[weight] += 1
        if not weight:
            nodes[i, 0] = FINE
    for top in range(n - 1, -1, -1):  # the nodes above are decided
        i = order[top]
        if nodes[i, 0] < 0:
            continue
        if nodes[i, 0] == 0:
            break
        nodes[i, 0] = COARSE
        for q in range(np.uint64(T_indptr[i]), np.uint64(T_indptr[i + 1])):
            if nodes[T[q], 0] >= 0:
                nodes[T[q], 0] = _NEXT
        for q in range(np.uint64(T_indptr[i]), np.uint64(T_indptr[i + 1])):
            j = T[q]
            if nodes[j, 0] == _NEXT:
                nodes[j, 0] = FINE
                for s in range(np.uint64(starts[j]), np.uint64(ends[j])):
                    weight = nodes[S[s], 0]
                    if weight >= 0:
                        last = min(first[weight + 1], top) - 1
                        swap(nodes, order, S[s], last)
                        first[weight + 1] = last
                        nodes[S[s], 0] = weight + 1
        for s in range(np.uint64(starts[i]), np.uint64(ends[i])):
            weight = nodes[S[s], 0]
            if weight > 0:
                swap(nodes, order, S[s], first[weight])
                first[weight] += 1
                nodes[S[s], 0] = weight - 1
    for i in range(n):
        number[i] = COARSE if nodes[i, 0] == COARSE else FINE


@inlined
def meet(i: int, j: int, starts: Ints, ends: Ints, S: Array, number: Ints) -> bool:
    """Whether S_i and S_j have a coarse node in common."""
    p, q = np.uint64(starts[i]), np.uint64(starts[j])
    while p < np.uint64(ends[i]) and q < np.uint64(ends[j]):
        a, b = S[p], S[q]
        if a == b and number[a] != FINE:
            return True
        p += np.uint64(a <= b)
        q += np.uint64(b <= a)
    return False


@compiled(
    *CSR[f8], In[i4, 1], In[u4, 1], i8, Out[i4, 1], Out[b1, 1], Out[i4, 1], Out[u4, 1], Out[f8, 1], parallel=True
)  # fmt: skip
def interpolate(
    indptr: Ints, indices: Array, data: Floats, ends: Ints, S: Array, threads: int, number: Ints, alone: Bools,
    P_indptr: Ints, P_indices: Array, P_data: Floats,
) -> int:  # fmt: skip
    """The second pass, and P. Returns the number of coarse nodes.

    Let C_i be the coarse nodes of S_i, F_i the fine ones that share a coarse neighbour with i, and a⁻ = min(a, 0). Then
    a fine node has the weights (Henson and Yang 2002; De Sterck et al. 2008, eq. 9)

        w_ij = - (a_ij + Σ_{k in F_i} a_ik a⁻_kj / Σ_{l in C_i} a⁻_kl) / (a_ii + Σ_{k not in C_i or F_i} a_ik) .

    Parameters
    ----------
    number : (n,)
        COARSE or FINE; then the column of each coarse node.
    alone : (n,)
        Workspace: fine nodes for the second pass.
    """
    n = number.size
    for i in prange(n):
        alone[i] = False
        if number[i] == FINE:
            for s in range(np.uint64(indptr[i]), np.uint64(ends[i])):
                j = S[s]
                if number[j] == FINE and not alone[i]:
                    alone[i] = not meet(i, j, indptr, ends, S, number)
    for i in range(n):  # a node that isn't alone stays so when others become coarse
        if alone[i] and number[i] == FINE:
            tried = np.int64(-1)
            for s in range(np.uint64(indptr[i]), np.uint64(ends[i])):
                j = S[s]
                if number[j] == FINE and not meet(i, j, indptr, ends, S, number):
                    if tried >= 0:
                        number[tried] = FINE
                    number[j], tried = COARSE, np.int64(j)
    coarse = 0
    for i in range(n):
        if number[i] != FINE:
            number[i] = coarse
            coarse += 1
    for i in prange(n):
        length = 0
        for s in range(np.uint64(indptr[i]), np.uint64(ends[i])):
            length += number[S[s]] != FINE
        P_indptr[i + 1] = length if number[i] == FINE else 1
    P_indptr[0] = 0
    for i in range(n):
        P_indptr[i + 1] += P_indptr[i]
    for thread in prange(threads):
        place = np.full(n, -1, np.int32)  # of coarse nodes in P; places from `start` on are those of C_i
        for i in range(thread * n // threads, (thread + 1) * n // threads):
            start = P_indptr[i]
            if number[i] != FINE:
                P_indices[start], P_data[start] = number[i], 1.0
                continue
            k, s, end, rest = start, indptr[i], ends[i], 0.0
            for q in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
                j = indices[q]
                if s < end and S[s] == j:
                    s += 1
                    if number[j] != FINE:
                        place[j], P_indices[k], P_data[k] = k, number[j], data[q]
                        k += 1
                else:
                    rest += data[q]
            s = indptr[i]
            for q in range(np.uint64(indptr[i]), np.uint64(indptr[i + 1])):
                if s == end:
                    break
                j = indices[q]
                if S[s] != j:
                    continue
                s += 1
                if number[j] != FINE:
                    continue
                meets = False
                for t in range(np.uint64(indptr[j]), np.uint64(ends[j])):
                    meets |= place[S[t]] >= start
                if not meets:
                    rest += data[q]
                    continue
                total = 0.0
                for t in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
                    if place[indices[t]] >= start:
                        total += min(data[t], 0.0)
                if total < 0:
                    for t in range(np.uint64(indptr[j]), np.uint64(indptr[j + 1])):
                        if place[indices[t]] >= start:
                            P_data[place[indices[t]]] += data[q] / total * min(data[t], 0.0)
            for t in range(start, k):
                P_data[t] /= -rest
    return coarse


def interpolation(threads: int, M: "sparse.csr_array") -> "sparse.csr_array | None":
    """As the core's."""
    n, A = M.shape[0], arrays(M)
    ends, S, number = np.empty(n, np.int32), empty(M.nnz, np.uint32), np.empty(n, np.int32)
    with parallel(threads):
        find_strong(*A, core.THETA, ends, S)
    T = np.zeros(n + 2, np.int32), empty(M.nnz, np.uint32)
    split(A[0][:-1], ends, S, *T, empty((n, 2), np.int32), empty(n, np.uint32), number)
    P_indptr, P_indices, P_data = np.empty(n + 1, np.int32), empty(M.nnz, np.uint32), empty(M.nnz)
    with parallel(threads):
        coarse = interpolate(*A, ends, S, threads, number, np.empty(n, np.bool_), P_indptr, P_indices, P_data)
    if coarse in (0, n):
        return None
    nnz = P_indptr[-1]
    return csr(P_indptr, P_indices[:nnz], P_data[:nnz], coarse)

"""How the work is divided: each part owns rows of the matrix and computes every element that touches them.

Elements lie along a Morton curve through their first nodes, and are cut into parts of equal size. A node belongs to the
first part that has it. Elements on the border of several parts are computed in each of them. So threads never write
to the same row, no contribution waits for another, and each row is summed in element order by any thread at any time.
Meanwhile the rows of a part stay in the cache of its core.
"""

from dataclasses import dataclass

import numpy as np
from fem_core import Mesh
from fem_core.types import Array, Bools, Floats, Ints
from numba import prange

from fem_numba.jit import In, Out, b1, compiled, f8, i4, i8, inlined, u2, u4
from fem_numba.memory import empty

#: Elements in a part, without those of other parts on its border.
PART = 1024

#: In place of the row of a node that another part owns.
NONE = 2**32 - 1

#: Added to a place if its contribution is the first one to the entry, in element order. The first one is stored
#: instead of added, so the values needn't be zero before.
FIRST = 2**15

_BITS = 10  # of each coordinate on the Morton curve


@dataclass(frozen=True, eq=False)
class Order:
    """The nodes of each part; depends on the mesh alone.

    Parameters
    ----------
    owner : int32 (n_nodes,)
        The part that owns each node, -1 for orphans.
    bounds, nodes : int32 (n_parts + 1,), (n_used,)
        The nodes of each part, ascending, part after part.
    """

    owner: Ints
    bounds: Ints
    nodes: Ints

    @property
    def n_parts(self) -> int:
        return len(self.bounds) - 1


@dataclass(frozen=True, eq=False)
class Parts:
    """The elements of the parts, with those on borders repeated, in the order in which assembly reads them.

    Parameters
    ----------
    ends : int32 (n_parts + 1,)
        The elements of part p are ends[p] … ends[p + 1] of the following.
    elements : int32 (m,)
    nodes : uint32 (m, 8)
    rows : uint32 (m, 8)
        Where the row of each node begins in the CSR values; NONE for those of other parts.
    local : uint16 (m, 8, 8)
        Place of entry (i, j) in the row of node i, plus FIRST for the first contribution to it.
    """

    ends: Ints
    elements: Ints
    nodes: Array
    rows: Array
    local: Array

    @property
    def n_parts(self) -> int:
        return len(self.ends) - 1


def order(mesh: Mesh, starts: Ints, incident: Ints) -> Order:
    """Cut the mesh; `starts` and `incident` are its `adjacency`."""
    part = np.empty(mesh.n_elements, dtype=np.int32)
    cut(mesh.quad8, mesh.x, mesh.y, part)
    owner = np.empty(mesh.n_nodes, dtype=np.int32)
    bounds = np.zeros(-(-mesh.n_elements // PART) + 2, dtype=np.int32)
    nodes = np.empty(len(mesh.used_nodes), dtype=np.int32)
    own(starts, incident, part, owner, bounds, nodes)
    return Order(owner, bounds[:-1], nodes)


def elements_of(mesh: Mesh, starts: Ints, incident: Ints, order: Order, threads: int) -> tuple[Ints, Ints]:
    """`ends` and `elements` of the parts."""
    ends = np.zeros(order.n_parts + 1, dtype=np.int32)
    found = starts, incident, order.bounds, order.nodes, mesh.n_elements
    list_elements(*found, ends, ends[:0], threads)
    np.cumsum(ends, out=ends)
    elements = np.empty(ends[-1], dtype=np.int32)
    list_elements(*found, ends, elements, threads)
    return ends, elements


def parts(mesh: Mesh, order: Order, ends: Ints, elements: Ints, indptr: Ints, local: Array) -> Parts:
    """The parts, from the places `local` of entries in their rows."""
    nodes, rows = (empty((len(elements), 8), np.uint32) for _ in range(2))
    locate(mesh.quad8, order.owner, indptr, ends, elements, nodes, rows)
    return Parts(ends, elements, nodes, rows, local)


@inlined
def spread(a: int) -> int:
    """The bits of a < 1024, with a zero between neighbouring bits."""
    a = (a | (a << 8)) & 0x00FF00FF
    a = (a | (a << 4)) & 0x0F0F0F0F
    a = (a | (a << 2)) & 0x33333333
    return (a | (a << 1)) & 0x55555555


@compiled(In[i4, 2], In[f8, 1], In[f8, 1], Out[i4, 1])
def cut(quad8: Ints, x: Floats, y: Floats, part: Ints) -> None:
    """The part of each element: PART of them along the curve, sorted digit by digit (Knuth, vol. 3, 5.2.5)."""
    n = quad8.shape[0]
    left, right, low, high = np.inf, -np.inf, np.inf, -np.inf
    for e in range(n):
        a, b = x[quad8[e, 0]], y[quad8[e, 0]]
        left, right, low, high = min(left, a), max(right, a), min(low, b), max(high, b)
    size, digit = max(right - left, high - low), (1 << _BITS) - 1
    scale = digit / size if size > 0 else 0.0
    key = np.empty(n, np.int32)
    count = np.zeros((2, (1 << _BITS) + 1), np.int32)
    for e in range(n):
        key[e] = spread(int((x[quad8[e, 0]] - left) * scale)) | spread(int((y[quad8[e, 0]] - low) * scale)) << 1
        count[0, (key[e] & digit) + 1] += 1
        count[1, (key[e] >> _BITS) + 1] += 1
    for k in range(1 << _BITS):
        count[0, k + 1] += count[0, k]
        count[1, k + 1] += count[1, k]
    sorted_ = np.empty(n, np.int32)
    for e in range(n):
        k = key[e] & digit
        sorted_[count[0, k]] = e
        count[0, k] += 1
    for q in range(n):
        k = key[sorted_[q]] >> _BITS
        part[sorted_[q]] = count[1, k] // PART
        count[1, k] += 1


@compiled(In[i4, 1], In[i4, 1], In[i4, 1], Out[i4, 1], Out[i4, 1], Out[i4, 1])
def own(starts: Ints, incident: Ints, part: Ints, owner: Ints, bounds: Ints, nodes: Ints) -> None:
    """Fills the arrays of `Order`; `bounds` is one longer and zero."""
    for r in range(owner.size):
        if starts[r] == starts[r + 1]:
            owner[r] = -1
            continue
        least = part[incident[starts[r]] >> 3]
        for m in range(starts[r] + 1, starts[r + 1]):
            least = min(least, part[incident[m] >> 3])
        owner[r] = least
        bounds[least + 2] += 1
    for p in range(2, bounds.size):
        bounds[p] += bounds[p - 1]
    for r in range(owner.size):
        p = owner[r]
        if p >= 0:
            nodes[bounds[p + 1]] = r
            bounds[p + 1] += 1


@compiled(In[i4, 1], In[i4, 1], In[i4, 1], In[i4, 1], i8, Out[i4, 1], Out[i4, 1], i8, parallel=True)
def list_elements(
    starts: Ints, incident: Ints, bounds: Ints, nodes: Ints, n: int, ends: Ints, elements: Ints, threads: int
) -> None:
    """Which of the n elements touch the rows of each part, ascending; if `elements` is empty, how many, in `ends`."""
    n_parts = bounds.size - 1
    for thread in prange(threads):
        seen = np.full(n, -1, np.int32)
        for p in range(thread * n_parts // threads, (thread + 1) * n_parts // threads):
            k = ends[p] if elements.size else np.int32(0)
            for q in range(bounds[p], bounds[p + 1]):
                for m in range(starts[nodes[q]], starts[nodes[q] + 1]):
                    e = incident[m] >> 3
                    if seen[e] != p:
                        if elements.size:
                            elements[k] = e
                        k += 1
                    seen[e] = p
            if elements.size:
                elements[ends[p] : k].sort()
            else:
                ends[p + 1] = k


@compiled(In[i4, 2], In[i4, 1], In[i4, 1], In[i4, 1], In[i4, 1], Out[u4, 2], Out[u4, 2], parallel=True)
def locate(quad8: Ints, owner: Ints, indptr: Ints, ends: Ints, elements: Ints, nodes: Array, rows: Array) -> None:
    """The nodes of the parts' elements, and where their rows begin."""
    for p in prange(ends.size - 1):
        for q in range(ends[p], ends[p + 1]):
            for i in range(8):
                node = quad8[elements[q], i]
                nodes[q, i] = node
                rows[q, i] = indptr[node] if owner[node] == p else NONE


@compiled(
    In[i4, 2], In[i4, 1], In[i4, 1], In[i4, 3], In[i4, 1], In[i4, 1], Out[u2, 3], Out[b1, 1], parallel=True
)  # fmt: skip
def place(
    quad8: Ints, owner: Ints, indptr: Ints, slots: Ints, ends: Ints, elements: Ints, local: Array, taken: Bools
) -> None:
    """The places of entries in their rows, from the slots; `taken` (nnz,) is false."""
    for p in prange(ends.size - 1):
        for q in range(ends[p], ends[p + 1]):
            e = elements[q]
            for i in range(8):
                node = quad8[e, i]
                if owner[node] == p:
                    for j in range(8):
                        slot = slots[e, i, j]
                        local[q, i, j] = slot - indptr[node] + (0 if taken[slot] else FIRST)
                        taken[slot] = True

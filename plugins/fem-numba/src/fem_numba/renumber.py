"""The solver's order of a mesh: elements along a curve, nodes in the order of their first element.

Many meshes are badly numbered, and a matrix-vector product with distant accesses waits for memory. Elements are taken
along Hilbert's curve through their centres and cut into chunks of `CHUNK`. A node belongs to the first chunk that has
it. Each chunk has a segment of every vector: first its own nodes, in the order of their first element, then copies of
the nodes of other chunks that it touches (its halo, about 5 % of the nodes). Threads that work on different
chunks write to different segments, and since the chunks don't depend on the threads, neither does any sum.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from fem_core import Mesh
from fem_core.types import Array, Floats, Ints
from numba import prange

from fem_numba.conditions import position
from fem_numba.jit import In, Out, compiled, f8, i4, i8, u2, u4

#: Elements in a block: the float64 numbers of the widest vector registers.
LANES = 8

#: Elements in a chunk: its vectors fit into the second-level cache, and small meshes still have work for all threads.
CHUNK = 1024

_BITS = 16  # of each coordinate on the curve


@compiled(In[i4, 2], In[f8, 1], In[f8, 1], Out[i8, 1])
def hilbert(quad8: Ints, x: Floats, y: Floats, key: Array) -> None:
    """Each element's place on Hilbert's curve (Hilbert 1891; bit by bit as in Warren, Hacker's Delight, 16-2)."""
    x0, x1, y0, y1 = np.inf, -np.inf, np.inf, -np.inf
    for e in range(key.size):
        for i in range(4):
            x0, x1 = min(x0, x[quad8[e, i]]), max(x1, x[quad8[e, i]])
            y0, y1 = min(y0, y[quad8[e, i]]), max(y1, y[quad8[e, i]])
    scale = (2**_BITS - 1) / max(x1 - x0, y1 - y0, 1e-300)
    for e in range(key.size):
        centre_x = (x[quad8[e, 0]] + x[quad8[e, 1]] + x[quad8[e, 2]] + x[quad8[e, 3]]) / 4
        centre_y = (y[quad8[e, 0]] + y[quad8[e, 1]] + y[quad8[e, 2]] + y[quad8[e, 3]]) / 4
        a, b = int((centre_x - x0) * scale), int((centre_y - y0) * scale)
        place = 0
        for bit in range(_BITS - 1, -1, -1):
            right, up = (a >> bit) & 1, (b >> bit) & 1
            place = (place << 2) | ((3 * right) ^ up)
            if up == 0:
                if right == 1:
                    a, b = ~a, ~b
                a, b = b, a
        key[e] = place


@compiled(In[i4, 2], In[i4, 1], Out[i4, 1], Out[i4, 1], Out[i4, 1], Out[u4, 1], Out[u2, 1])
def number(quad8: Ints, order: Ints, home: Ints, base: Ints, own: Ints, source: Array, local: Array) -> None:
    """Segments and positions; see `Layout`. `home` must hold -1, `local` zeros, `source` room for 8 per element."""
    seen = np.full(home.size, -1, np.int32)  # the last chunk that had the node
    where = np.empty(home.size, np.int32)  # its place in that chunk's segment
    start = 0
    for c in range(own.size):
        base[c] = start
        first, last = c * CHUNK, min((c + 1) * CHUNK, order.size)
        n = 0
        for q in range(first, last):
            for i in range(8):
                node = quad8[order[q], i]
                if home[node] < 0:
                    home[node], seen[node], where[node] = start + n, c, n
                    n += 1
        own[c] = n
        for q in range(first, last):
            for i in range(8):
                node = quad8[order[q], i]
                if seen[node] != c:
                    source[start + n] = home[node]
                    seen[node], where[node] = c, n
                    n += 1
                local[(q // LANES * 8 + i) * LANES + q % LANES] = where[node]
        start += n
    base[own.size] = start


@compiled(In[i4, 2], In[i4, 1], In[i4, 1], In[i4, 1], Out[i4, 1], parallel=True)
def locate(quad8: Ints, order: Ints, indptr: Ints, indices: Ints, entries: Ints) -> None:
    """The place in the CSR values of each coupling of two nodes of an element; -1 if the pattern doesn't have it."""
    for q in prange(order.size):
        k = 0
        for i in range(8):
            for j in range(i + 1, 8):
                row, column = quad8[order[q], i], quad8[order[q], j]
                row, column = min(row, column), max(row, column)
                at = position(indptr, indices, row, column)
                found = at < indptr[row + 1] and indices[at] == column
                entries[(q // LANES * 28 + k) * LANES + q % LANES] = at if found else -1
                k += 1


@compiled(i8, Out[i4, 1])
def claim(nnz: int, entries: Ints) -> int:
    """Keep each coupling in the first element that has it, with -1 in others. Returns their number."""
    taken = np.zeros(nnz, np.bool_)
    claimed = 0
    for k in range(entries.size):
        at = entries[k]
        if at >= 0:
            if taken[at]:
                entries[k] = -1
            else:
                taken[at] = True
                claimed += 1
    return claimed


@dataclass(frozen=True, eq=False)
class Layout:
    """The places of nodes and couplings, for one mesh topology and one pattern.

    Parameters
    ----------
    order : int32 (n_elements,)
        Elements along the curve.
    home : int32 (n_nodes,)
        Position of each node in the vectors; -1 for orphans, which have no place.
    base, own : int32 (n_chunks + 1,), (n_chunks,)
        Start of each segment, and the number of its own nodes.
    source : uint32 (size,)
        At positions in halos: the position of the node itself.
    local : uint16 (n_blocks * 8 * LANES,)
        Places in the segment of the nodes of each block of elements, node by node.
    entries : int32 (n_blocks * 28 * LANES,)
        Positions in the CSR values of the couplings that each element keeps, -1 for none: 01, 02, … 67.
    seam_starts, seam_to, seam_from : (n_chunks + 1,), uint32 (n_halo,)
        For each chunk, its positions to which values from other halos are added, and their positions there.
    complete : bool
        Whether the elements contain all couplings of the pattern.
    """

    order: Ints
    home: Ints
    base: Ints
    own: Ints
    source: Array
    local: Array
    entries: Ints
    seam_starts: Ints
    seam_to: Array
    seam_from: Array
    complete: bool

    @property
    def size(self) -> int:
        """Length of a vector, halos included."""
        return int(self.base[-1])

    @cached_property
    def used(self) -> Ints:
        """Nodes that have a place, ascending."""
        return np.flatnonzero(self.home >= 0).astype(np.int32)

    def scatter(self, values: Floats) -> Floats:
        """A vector in this order from one in the mesh's; the halo's places hold 0."""
        vector = np.zeros(self.size)
        vector[self.home[self.used]] = values[self.used]
        return vector

    def gather(self, vector: Floats) -> Floats:
        """A vector in the mesh's order from one in this; orphans get 0."""
        values = np.zeros(len(self.home))
        values[self.used] = vector[self.home[self.used]]
        return values

    @classmethod
    def of(cls, mesh: Mesh, indptr: Ints, indices: Ints) -> "Layout":
        """The layout of a mesh and a pattern with a full diagonal. Calls parallel functions."""
        n = mesh.n_elements
        n_chunks, n_blocks = -(-n // CHUNK), -(-n // LANES)
        key = np.empty(n, np.int64)
        hilbert(mesh.quad8, mesh.x, mesh.y, key)
        order = np.argsort(key, kind="stable").astype(np.int32)
        home = np.full(mesh.n_nodes, -1, np.int32)
        base, own = np.zeros(n_chunks + 1, np.int32), np.zeros(n_chunks, np.int32)
        source, local = np.zeros(8 * n, np.uint32), np.zeros(n_blocks * 8 * LANES, np.uint16)
        number(mesh.quad8, order, home, base, own, source, local)
        entries = np.full(n_blocks * 28 * LANES, -1, np.int32)
        locate(mesh.quad8, order, indptr, indices, entries)
        couplings = claim(len(indices), entries)
        halo = np.ones(base[-1], bool)
        for start, length in zip(base, own, strict=False):
            halo[start : start + length] = False
        seam_from = np.flatnonzero(halo).astype(np.uint32)
        seam_from = seam_from[np.argsort(source[seam_from], kind="stable")]
        seam_to = source[seam_from]
        return cls(
            order, home, base, own, source[: base[-1]].copy(), local, entries,
            np.searchsorted(seam_to, base).astype(np.int32), seam_to, seam_from,
            len(indices) == mesh.n_nodes + 2 * couplings,
        )  # fmt: skip

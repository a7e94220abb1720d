"""Symbolic assembly: the pattern of the matrix from node-to-element adjacency, without sorting its entries.

A row's columns are the nodes of the elements around its node. Each element's nodes are sorted once. A row is then
the merge of the few sorted lists of its elements. The merge also gives the place of each element's entries in the row.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from fem_core import BackendError, Mesh, Sparsity
from fem_core.assembly.sparsity import require_places
from fem_core.plugins import Progress
from fem_core.types import Array, Ints
from numba import prange

from fem_numba.jit import In, Out, compiled, i4, i8, inlined, u2, u4
from fem_numba.memory import empty
from fem_numba.parts import FIRST, NONE, Parts, elements_of, order, parts, place
from fem_numba.threads import parallel

_END = np.int32(2**31 - 1)


@dataclass(frozen=True, eq=False)
class Pattern:
    """The CSR pattern and the parts in which it is filled; `to_host()` is the core's `Sparsity`.

    Parameters
    ----------
    indptr, indices : int32
        As in `Sparsity`.
    parts : Parts
    n_elements : int
    threads : int
        Threads of `to_host`.
    """

    indptr: Ints
    indices: Ints
    parts: Parts
    n_elements: int
    threads: int

    @property
    def nnz(self) -> int:
        return len(self.indices)

    def to_host(self) -> Sparsity:
        return self._host

    @cached_property
    def _host(self) -> Sparsity:
        slots = empty((self.n_elements, 8, 8), np.int32)
        with parallel(self.threads):
            fill_slots(self.parts.elements, self.parts.rows, self.parts.local, slots)
        return Sparsity(self.indptr, self.indices, slots)


def compute_pattern(mesh: Mesh, threads: int, progress: Progress) -> Pattern:
    """The pattern of `mesh`'s matrix."""
    n, n_nodes = mesh.n_elements, mesh.n_nodes
    with parallel(threads):
        starts, incident = _adjacency(mesh, threads)
        cut = order(mesh, starts, incident)
        progress.check()
        ends, elements = elements_of(mesh, starts, incident, cut, threads)
        keys = empty((n, 9), np.uint32)
        sort_nodes(mesh.quad8, keys)
        local = empty((len(elements), 8, 8), np.uint16)
        indptr = np.ones(n_nodes + 1, dtype=np.int32)  # an orphan's row has its diagonal
        indptr[0] = 0
        merge(
            starts, incident.view(np.uint32), keys.reshape(-1), cut.bounds, cut.nodes.view(np.uint32), ends, elements,
            local.reshape(-1), indptr[1:], threads,
        )  # fmt: skip
        del incident, keys  # frees their memory for the following arrays
        _require_room(mesh, indptr[1:])
        progress.check()
        np.cumsum(indptr, out=indptr)
        indices = empty(indptr[-1], np.int32)
        indices[indptr[mesh.orphan_nodes]] = mesh.orphan_nodes
        found = parts(mesh, cut, ends, elements, indptr, local)
        fill(found.nodes, found.rows, local, indices)
        progress.check()
        return Pattern(indptr, indices, found, n, threads)


def pattern_of(sparsity: Sparsity, mesh: Mesh, threads: int) -> Pattern:
    """The parts of a pattern from another backend."""
    _require_room(mesh, np.diff(sparsity.indptr))
    with parallel(threads):
        starts, incident = _adjacency(mesh, threads)
        cut = order(mesh, starts, incident)
        ends, elements = elements_of(mesh, starts, incident, cut, threads)
        local = empty((len(elements), 8, 8), np.uint16)
        taken = np.zeros(sparsity.nnz, dtype=bool)
        place(mesh.quad8, cut.owner, sparsity.indptr, sparsity.slots, ends, elements, local, taken)
        found = parts(mesh, cut, ends, elements, sparsity.indptr, local)
        return Pattern(sparsity.indptr, sparsity.indices, found, mesh.n_elements, threads)


def _adjacency(mesh: Mesh, threads: int) -> tuple[Ints, Ints]:
    starts = np.zeros(mesh.n_nodes + 2, dtype=np.int32)
    incident = empty(8 * mesh.n_elements, np.int32)
    adjacency(mesh.quad8, starts, incident, threads)
    return starts, incident


def _require_room(mesh: Mesh, lengths: Ints) -> None:
    """Raises BackendError if places in a row or in the values don't fit their types."""
    if (longest := lengths.max()) > FIRST:
        raise BackendError(
            f"{mesh.source}: node {lengths.argmax()} shares elements with {longest:,} nodes; "
            f"the limit of numba is {FIRST:,}; use another backend"
        )
    require_places(int(lengths.sum(dtype=np.int64)), "entries of the matrix", mesh.source)


@compiled(In[i4, 2], Out[i4, 1], Out[i4, 1], i8, parallel=True)
def adjacency(quad8: Ints, starts: Ints, incident: Ints, threads: int) -> None:
    """The elements around each node, ascending: 8 e + i for node r at starts[r] … starts[r + 1].

    Every thread goes through all elements and stores the entries of its own nodes.

    Parameters
    ----------
    starts : (n_nodes + 2,)
        Zero at the start; the last entry is workspace.
    incident : (8 n_elements,)
    """
    n_nodes = starts.size - 2
    for thread in prange(threads):
        first, last = thread * n_nodes // threads, (thread + 1) * n_nodes // threads
        for e in range(quad8.shape[0]):
            for i in range(8):
                node = quad8[e, i]
                if first <= node < last:
                    starts[node + 2] += 1
    for node in range(2, n_nodes + 2):
        starts[node] += starts[node - 1]
    for thread in prange(threads):
        first, last = thread * n_nodes // threads, (thread + 1) * n_nodes // threads
        for e in range(quad8.shape[0]):
            for i in range(8):
                node = quad8[e, i]
                if first <= node < last:
                    incident[starts[node + 1]] = 8 * e + i
                    starts[node + 1] += 1


@inlined
def ordered(a: int, b: int) -> tuple[int, int]:
    """A comparator of a sorting network."""
    return min(a, b), max(a, b)


@compiled(In[i4, 2], Out[u4, 2], parallel=True)
def sort_nodes(quad8: Ints, keys: Array) -> None:
    """8 node + j for the nodes of each element, ascending, then _END: 19 comparisons (Knuth, vol. 3, 5.3.4)."""
    for e in prange(quad8.shape[0]):
        a, b, c, d = 8 * quad8[e, 0], 8 * quad8[e, 1] + 1, 8 * quad8[e, 2] + 2, 8 * quad8[e, 3] + 3
        f, g, h, i = 8 * quad8[e, 4] + 4, 8 * quad8[e, 5] + 5, 8 * quad8[e, 6] + 6, 8 * quad8[e, 7] + 7
        a, c = ordered(a, c)
        b, d = ordered(b, d)
        f, h = ordered(f, h)
        g, i = ordered(g, i)
        a, f = ordered(a, f)
        b, g = ordered(b, g)
        c, h = ordered(c, h)
        d, i = ordered(d, i)
        a, b = ordered(a, b)
        c, d = ordered(c, d)
        f, g = ordered(f, g)
        h, i = ordered(h, i)
        c, f = ordered(c, f)
        d, g = ordered(d, g)
        b, f = ordered(b, f)
        d, h = ordered(d, h)
        b, c = ordered(b, c)
        d, f = ordered(d, f)
        g, h = ordered(g, h)
        keys[e, 0], keys[e, 1], keys[e, 2], keys[e, 3] = a, b, c, d
        keys[e, 4], keys[e, 5], keys[e, 6], keys[e, 7] = f, g, h, i
        keys[e, 8] = _END


@compiled(
    In[i4, 1], In[u4, 1], In[u4, 1], In[i4, 1], In[u4, 1], In[i4, 1], In[i4, 1], Out[u2, 1], Out[i4, 1], i8,
    parallel=True,
)  # fmt: skip
def merge(
    starts: Ints, incident: Array, keys: Array, bounds: Ints, nodes: Array, ends: Ints, elements: Ints,
    local: Array, lengths: Ints, threads: int,
) -> None:  # fmt: skip
    """Place of each entry in its row, as in `Parts` but flat, and the rows' lengths, (n_nodes,).

    The rows are taken part by part, because neighbouring rows need the same elements.
    """
    most, n_parts = 0, bounds.size - 1
    for r in range(lengths.size):
        most = max(most, starts[r + 1] - starts[r])
    for thread in prange(threads):
        at = np.empty(most, np.uint32)  # of each list's head among the keys
        head = np.empty(most, np.uint32)
        place = np.empty(9 * most, np.uint16)  # of each node of each list, and of its end
        to = np.empty(most, np.uint32)  # where each list's next place is written
        where = np.empty(keys.size // 9, np.uint32)  # of each element among the part's
        for part in range(thread * n_parts // threads, (thread + 1) * n_parts // threads):
            for q in range(ends[part], ends[part + 1]):
                where[elements[q]] = q
            for q in range(bounds[part], bounds[part + 1]):
                r = nodes[q]
                s = starts[r]
                lists = starts[r + 1] - s
                for m in range(lists):
                    at[m] = 9 * (incident[s + m] >> 3)
                    head[m] = keys[at[m]] >> 3
                    to[m] = 9 * m
                length = 0
                while True:
                    node = head[0]
                    for m in range(1, lists):
                        node = min(node, head[m])
                    if node == _END >> 3:
                        break
                    first = np.uint32(FIRST)
                    for m in range(lists):  # without branches: a value written too early is overwritten
                        place[to[m]] = length | first
                        hit = np.uint32(head[m] == node)
                        first &= hit - 1  # 0 from the first hit on
                        to[m] += hit
                        at[m] += hit
                        head[m] = keys[at[m]] >> 3
                    length += 1
                for m in range(lists):
                    e = incident[s + m] >> 3
                    row = 64 * where[e] + 8 * (incident[s + m] & 7)
                    for k in range(8):
                        local[row + (keys[9 * e + k] & 7)] = place[9 * m + k]
                lengths[r] = length


@compiled(In[u4, 2], In[u4, 2], In[u2, 3], Out[i4, 1], parallel=True)
def fill(nodes: Array, rows: Array, local: Array, indices: Ints) -> None:
    """The columns of each row."""
    for q in prange(nodes.shape[0]):
        for i in range(8):
            if rows[q, i] != NONE:
                for j in range(8):
                    indices[rows[q, i] + (local[q, i, j] & (FIRST - 1))] = nodes[q, j]


@compiled(In[i4, 1], In[u4, 2], In[u2, 3], Out[i4, 3], parallel=True)
def fill_slots(elements: Ints, rows: Array, local: Array, slots: Ints) -> None:
    """The slots of each element's entries: the part that owns a row has those of the row."""
    for q in prange(elements.size):
        for i in range(8):
            if rows[q, i] != NONE:
                for j in range(8):
                    slots[elements[q], i, j] = rows[q, i] + (local[q, i, j] & (FIRST - 1))

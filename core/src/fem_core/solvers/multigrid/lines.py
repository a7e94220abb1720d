"""Lines of strongly coupled nodes, and the tridiagonal systems along them.

Where elements are stretched, nodes are coupled across the short way almost as strongly as to themselves:
mid-sides of long edges to those opposite, and corners to the mid-sides of short edges. Corners can't
represent an error that varies slowly along such a line and fast from line to line, and a pointwise
smoother needs as many steps for it as the aspect ratio squared. If the lines are solved exactly, the
rest is well conditioned for any aspect ratio.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse import csgraph

from fem_core.assembly.sparsity import csr_positions
from fem_core.mesh import quad8 as q8
from fem_core.types import Array, Bools, Floats, Ints

#: -a_ij from which opposite mid-sides are strongly coupled (0.30 at 3:1, tends to 0.50) …
ACROSS = 0.3
#: … and a mid-side and the end of its edge (0.36 on squares, 0.57 at 3:1, tends to 0.62).
ALONG = 0.55


@dataclass(frozen=True, eq=False)
class Lines:
    """T = L D Lᵀ: all lines one after the other, as one tridiagonal matrix.

    Parameters
    ----------
    nodes : int32 (m,)
        Nodes in the order of the lines; all others are outside.
    d : (m,)
        Diagonal of D.
    l : (m - 1,)
        Lower diagonal of L; 0 between lines.
    """

    nodes: Ints
    d: Array
    l: Array

    def solve(self, r: Array) -> Array:
        """T⁻¹ r on the lines, r elsewhere."""
        z = r.copy()
        solve = lapack.spttrs if r.dtype == np.float32 else lapack.dpttrs
        z[self.nodes] = solve(self.d, self.l, r[self.nodes])[0]
        return z


class Links(NamedTuple):
    """Strong couplings of nodes.

    Parameters
    ----------
    i, j : int32 (m,)
        A mid-side, and a greater one across its element or an end of its edge; ascending.
    link : float64 (m,)
        a_ij
    ends : int32 (m, 2)
        Of i's edge.
    """

    i: Ints
    j: Ints
    link: Floats
    ends: Ints


def strong_links(A: "sparse.csr_array", quad8: Ints) -> Links:
    """The links of a matrix with unit diagonal."""
    ends = np.full((A.shape[0], 2), -1, dtype=np.int32)
    edges = quad8[:, q8.EDGES].reshape(-1, 3)
    ends[edges[:, 1]] = np.sort(edges[:, ::2])
    a, b = ends.T
    large = A.data < -ACROSS
    i = np.repeat(np.arange(A.shape[0], dtype=np.int32), np.add.reduceat(large, A.indptr[:-1], dtype=np.int32))
    j, link = A.indices[large], A.data[large]
    candidate = (a[i] >= 0) & np.where(a[j] >= 0, i < j, link < -ALONG)
    i, j, link = i[candidate], j[candidate], link[candidate].astype(np.float64)
    ai, bi, aj, bj = a[i], b[i], a[j], b[j]
    along = (ai == j) | (bi == j)
    strong = along | ((aj >= 0) & (ai != aj) & (ai != bj) & (bi != aj) & (bi != bj))
    return Links(i[strong], j[strong], link[strong], ends[i[strong]])


def strong_lines(
    A: "sparse.csr_array", quad8: Ints, strong_links: Callable[["sparse.csr_array", Ints], Links] = strong_links
) -> Lines | None:
    """The lines of a matrix with unit diagonal; None where no element is stretched.

    Each node keeps at most two strong links. They form paths and cycles; each cycle is cut at one link. The
    corners of an edge are coupled positively. This coupling is lumped, because T would not be positive
    definite with it.
    """
    i, j, link, ends = strong_links(A, quad8)
    strong = np.flatnonzero(_two_each(i, j, link))
    if not len(strong):
        return None
    i, j, link, ends = i[strong], j[strong], link[strong], ends[strong]
    along = (ends == j[:, None]).any(axis=1)
    _, edge = np.unique(i[along], return_index=True)
    a, b = ends[along][edge].T
    lumped = np.maximum(A.data[csr_positions(A.indptr, A.indices, a, b)], 0)
    diagonal = 1 + np.bincount(a, lumped, A.shape[0]) + np.bincount(b, lumped, A.shape[0])

    used = np.zeros(A.shape[0], dtype=bool)
    used[i] = used[j] = True
    nodes = np.flatnonzero(used).astype(np.int32)
    name = np.empty(A.shape[0], dtype=np.int32)
    name[nodes] = np.arange(len(nodes), dtype=np.int32)
    i, j = name[i], name[j]
    kept = _without_cycles(i, j, len(nodes))
    i, j, link = i[kept], j[kept], link[kept]
    # From the end of a path, breadth first, Cuthill and McKee number it from end to end.
    order = csgraph.reverse_cuthill_mckee(_graph(i, j, len(nodes)), symmetric_mode=True)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    beside = np.zeros(len(order) - 1)
    beside[np.minimum(place[i], place[j])] = link
    nodes = nodes[order]
    d, l, failed = lapack.dpttrf(diagonal[nodes], beside)
    return None if failed else Lines(nodes, d.astype(A.dtype), l.astype(A.dtype))


def _two_each(i: Ints, j: Ints, link: Floats) -> Bools:
    """Which links are kept so that no node has more than two: those among the two strongest of both ends."""
    degree = np.bincount(np.concatenate([i, j]), minlength=1)
    kept = np.ones(len(i), dtype=bool)
    crowded = np.flatnonzero((degree[i] > 2) | (degree[j] > 2))
    n, ends = len(crowded), np.concatenate([i[crowded], j[crowded]])
    order = np.lexsort((np.tile(link[crowded], 2), ends))
    starts = np.flatnonzero(np.diff(ends[order], prepend=-1))
    rank = np.empty(2 * n, dtype=np.int64)
    rank[order] = np.arange(2 * n) - np.repeat(starts, np.diff(starts, append=2 * n))
    kept[crowded] = (rank[:n] < 2) & (rank[n:] < 2)
    return kept


def _without_cycles(i: Ints, j: Ints, n: int) -> Bools:
    """Which links are kept so that only paths are left: all but one of each cycle."""
    _, label = csgraph.connected_components(_graph(i, j, n), directed=False)
    kept = np.ones(len(i), dtype=bool)
    closed = np.bincount(label) == np.bincount(label[i], minlength=label.max() + 1)
    in_cycle = np.flatnonzero(closed[label[i]])
    kept[in_cycle[np.unique(label[i[in_cycle]], return_index=True)[1]]] = False
    return kept


def _graph(i: Ints, j: Ints, n: int) -> "sparse.csr_array":
    ones = np.ones(2 * len(i), dtype=np.int8)
    return sparse.coo_array((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n, n)).tocsr()

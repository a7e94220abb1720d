"""Lines of strongly coupled mid-sides, and the tridiagonal systems along them.

Where elements are stretched, the mid-sides of their long edges are coupled across the elements, from
one long edge to the opposite one and on through the mesh, almost as strongly as to themselves. The
corners know nothing of such functions, and a pointwise smoother needs as many steps as the aspect
ratio squared. Solved along these lines, the rest is well conditioned whatever the stretching.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse import csgraph

from fem_core.sparsity import csr_positions
from fem_core.types import Array, Floats, Ints

#: Opposite mid-sides of an element.
_OPPOSITE = ((4, 6), (5, 7))
#: |a_ij| / √(a_ii a_jj) from which a coupling is strong; it tends to ½ with the stretching, on squares it is 0.15.
STRONG = 0.3


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

    def astype(self, dtype: type) -> "Lines":
        return Lines(self.nodes, self.d.astype(dtype), self.l.astype(dtype))


def strong_lines(A: "sparse.csr_array", quad8: Ints, strong: float = STRONG) -> Lines | None:
    """The lines of a matrix with unit diagonal; None where no coupling across an element is strong.

    A mid-side lies opposite of one other in each of its two elements, so what is strong forms paths
    and cycles; a cycle is cut somewhere.
    """
    i, j = np.concatenate([quad8[:, pair] for pair in _OPPOSITE]).T
    a: Floats = A.data[csr_positions(A.indptr, A.indices, i, j)]
    kept = np.abs(a) > strong
    if not kept.any():
        return None
    nodes, pairs = np.unique(np.stack([i[kept], j[kept]]), return_inverse=True)
    (i, j), a, m = pairs.reshape(2, -1).astype(np.int32), a[kept], len(nodes)
    kept = _cut(i, j, m)
    i, j, a = i[kept], j[kept], a[kept]
    # From the end of a path, breadth first, Cuthill and McKee number it from end to end.
    order = csgraph.reverse_cuthill_mckee(_graph(i, j, m), symmetric_mode=True)
    place = np.empty(m, dtype=np.int32)
    place[order] = np.arange(m, dtype=np.int32)
    beside = np.zeros(m - 1)
    beside[np.minimum(place[i], place[j])] = a
    d, l, failed = lapack.dpttrf(np.ones(m), beside)
    return None if failed else Lines(nodes[order].astype(np.int32), d, l)


def _graph(i: Ints, j: Ints, m: int) -> "sparse.csr_array":
    ones = np.ones(2 * len(i), dtype=np.int8)
    return sparse.coo_array((ones, (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(m, m)).tocsr()


def _cut(i: Ints, j: Ints, m: int) -> Array:
    """Which links are kept so that no cycle is left: all but the first link of each cycle."""
    _, label = csgraph.connected_components(_graph(i, j, m), directed=False)
    nodes, links = np.bincount(label), np.bincount(label[i], minlength=label.max() + 1)
    kept = np.ones(len(i), dtype=bool)
    first = np.unique(label[i], return_index=True)[1]  # each label has a link
    kept[first[links >= nodes]] = False
    return kept

"""The transfer from quad4 to quad8: bilinear functions are quadratic ones, so it is exact."""

import numpy as np
from scipy import sparse

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.types import Bools, Ints


def to_corners(mesh: Mesh, free: Bools) -> tuple["sparse.csr_array", Ints]:
    """P: values at corners → values at all nodes, and the corner's number at each node.

    A corner keeps its value, a mid-side has the mean of its two ends. On any quadrilateral, also a
    curved one, this is the bilinear function of the element's reference coordinates.

    Parameters
    ----------
    free : bool (n_nodes,)
        Rows and columns of other nodes are left out: there the functions vanish.

    Returns
    -------
    P : csr_array (n_nodes, n_corners)
        Columns are the free corners in ascending order.
    number : int32 (n_nodes,)
        The column of each free corner, n_corners elsewhere.
    """
    n = mesh.n_nodes
    is_corner = np.zeros(n, dtype=bool)
    is_corner[mesh.quad8[:, :4].ravel()] = True
    corners = np.flatnonzero(is_corner & free)
    number = np.full(n, len(corners), dtype=np.int32)
    number[corners] = np.arange(len(corners), dtype=np.int32)

    a, mid, b = mesh.quad8[:, q8.EDGES].reshape(-1, 3).T
    columns = np.full((n, 2), len(corners), dtype=np.int32)
    columns[mid, 0], columns[mid, 1] = number[a], number[b]
    columns[corners, 0] = number[corners]
    stored = (columns < len(corners)) & free[:, None]
    indptr = np.zeros(n + 1, dtype=np.int32)
    np.cumsum(stored.sum(axis=1), out=indptr[1:])
    values = np.where(is_corner, 1.0, 0.5)
    data = np.repeat(values, np.diff(indptr))
    return sparse.csr_array((data, columns[stored], indptr), shape=(n, len(corners))), number

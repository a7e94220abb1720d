"""The quad4 matrix as an M-matrix, for algebraic multigrid to coarsen.

On a stretched rectangle the bilinear element couples the ends of its long edges positively, and its
diagonals as strongly as a quarter of the short edges. Measures of strength misjudge these couplings, so
coarsening goes in the wrong direction. The energy of the hourglass mode h = (1, -1, 1, -1), added to
the matrix, removes them; smooth functions have little of this mode. On rectangles only the couplings
along edges are left, the five-point stencil of finite differences. Their strengths are right for any
stretching and any contrast.
"""

import numpy as np
from scipy import sparse

from fem_core.types import Floats, Ints

#: Couplings below this part of √(m_ii m_jj) are rounding.
SMALL = 1e-10


def m_matrix(K: "sparse.csr_array", corners: Ints) -> "sparse.csr_array":
    """M = K + Σ_e c_e h_e h_eᵀ; couplings that are still positive are lumped.

    c_e = -max(K_02, K_13) of the element's corners 0-3, but at least 0: the smaller diagonal coupling
    vanishes. Each term is positive semi-definite and has no row sums. On rectangles K <= M <= 3 K.

    Parameters
    ----------
    K : csr_array (n, n)
        The quad4 matrix of the free corners.
    corners : int32 (n_elements, 4)
        Numbers of the elements' corners; n for those that aren't free.
    """
    n = K.shape[0]
    c = -np.maximum(_entries(K, corners[:, 0], corners[:, 2]), _entries(K, corners[:, 1], corners[:, 3]))
    np.maximum(c, 0, out=c)
    signs = np.tile([1.0, -1.0, 1.0, -1.0], len(corners))
    shape, indptr = (len(corners), n + 1), np.arange(0, corners.size + 1, 4, dtype=np.int32)
    h = sparse.csr_array((signs, corners.ravel(), indptr), shape=shape)
    ch = sparse.csr_array((signs * np.repeat(c, 4), corners.ravel(), indptr), shape=shape)
    hourglass = h.T.tocsr() @ ch
    M = (K + hourglass[:n, :n]).tocsr()
    return _lumped(M)


def _entries(K: "sparse.csr_array", i: Ints, j: Ints) -> Floats:
    """K_ij, 0 where it isn't stored or a node isn't free."""
    n = K.shape[0]
    rows = np.repeat(np.arange(n, dtype=np.int64), np.diff(K.indptr))
    keys, wanted = rows * n + K.indices, i.astype(np.int64) * n + j  # a 64-bit n alone is not enough before NumPy 2
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[place] == wanted) & (i < n) & (j < n), K.data[place], 0.0)


def _lumped(M: "sparse.csr_array") -> "sparse.csr_array":
    """M with positive and small couplings added to both diagonals instead: row sums stay as they are."""
    d = np.sqrt(M.diagonal())
    rows = np.repeat(np.arange(M.shape[0], dtype=np.int32), np.diff(M.indptr))
    lumped = (M.data > -SMALL * d[rows] * d[M.indices]) & (rows != M.indices)
    diagonal = np.bincount(rows[lumped], M.data[lumped], minlength=M.shape[0])
    M.data[lumped] = 0
    M.data[rows == M.indices] += diagonal
    M.eliminate_zeros()
    M.sort_indices()
    return M

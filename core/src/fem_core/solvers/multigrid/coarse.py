"""What stands below the quad4 level by algebraic multigrid."""

import importlib.util
from itertools import pairwise

import numpy as np
from scipy import sparse

from fem_core.types import Array

#: The coarsest level has at most about so many unknowns.
_COARSEST = 300


def amg_available() -> bool:
    """Whether pyamg is installed."""
    return importlib.util.find_spec("pyamg") is not None


def coarsen(M: "sparse.csr_array") -> list[tuple["sparse.csr_array", "sparse.csr_array"]]:
    """The levels below M by Ruge and Stüben's method (1987), from the finest down: P and PᵀMP of each.

    With the second pass, without which interpolation misses strong neighbours: where the contrast from
    element to element is 1e6, five times as many iterations were needed.
    """
    import pyamg

    matrix = sparse.csr_matrix((M.data, M.indices.astype(np.int32), M.indptr.astype(np.int32)), shape=M.shape)
    levels: Array = pyamg.ruge_stuben_solver(
        matrix,
        strength=("classical", {"theta": 0.25}),
        CF=("RS", {"second_pass": True}),
        interpolation="classical",
        max_coarse=_COARSEST,
    ).levels
    return [(sparse.csr_array(up.P), sparse.csr_array(down.A)) for up, down in pairwise(levels)]

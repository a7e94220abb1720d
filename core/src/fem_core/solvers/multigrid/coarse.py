"""What stands below the quad4 level by algebraic multigrid."""

import importlib.util
from collections.abc import Callable, Iterator
from typing import TypeAlias

from scipy import sparse

from fem_core.types import Array

#: A, P → PᵀAP.
Galerkin: TypeAlias = Callable[["sparse.csr_array", "sparse.csr_array"], "sparse.csr_array"]

#: M → P.
Interpolation: TypeAlias = Callable[["sparse.csr_array"], "sparse.csr_array | None"]

#: The coarsest level has at most about so many unknowns.
COARSEST = 300
#: Strong is what has at least this part of the largest entry beside the diagonal.
THETA = 0.25


def amg_available() -> bool:
    """Whether pyamg is installed."""
    return importlib.util.find_spec("pyamg") is not None


def galerkin(A: "sparse.csr_array", P: "sparse.csr_array") -> "sparse.csr_array":
    """PᵀAP, its columns ascending."""
    product = (P.T.tocsr() @ A @ P).tocsr()
    product.sort_indices()
    return product


def interpolation(M: "sparse.csr_array") -> "sparse.csr_array | None":
    """P from the next coarser level by Ruge and Stüben (1987), None where all nodes or none would be on it.

    With the second pass, without which interpolation misses strong neighbours: where the contrast from
    element to element is 1e6, five times as many iterations were needed.
    """
    import pyamg

    A = sparse.csr_matrix((M.data, M.indices, M.indptr), shape=M.shape)  # what older versions know
    strong = pyamg.strength.classical_strength_of_connection(A, theta=THETA)
    splitting: Array = pyamg.classical.split.RS(strong, second_pass=True)
    if splitting.all() or not splitting.any():
        return None
    return sparse.csr_array(pyamg.classical.interpolate.classical_interpolation(A, strong, splitting))


def coarsen(
    M: "sparse.csr_array", interpolation: Interpolation, galerkin: Galerkin
) -> Iterator[tuple["sparse.csr_array", "sparse.csr_array"]]:
    """The levels below M, from the finest down: P and PᵀMP of each."""
    while M.shape[0] > COARSEST:
        P = interpolation(M)
        if P is None:
            break
        M = galerkin(M, P)
        yield P, M

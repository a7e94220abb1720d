"""The levels below quad4, by algebraic multigrid."""

import importlib.util
from collections.abc import Callable, Iterator
from typing import TypeAlias

from scipy import sparse

from fem_core.types import Array

#: A, P → PᵀAP.
Galerkin: TypeAlias = Callable[["sparse.csr_array", "sparse.csr_array"], "sparse.csr_array"]

#: M → P.
Interpolation: TypeAlias = Callable[["sparse.csr_array"], "sparse.csr_array | None"]

#: About the largest number of unknowns of the coarsest level.
COARSEST = 300
#: A coupling is strong if it has at least this part of the row's largest off-diagonal entry.
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
    """P from the next coarser level by Ruge and Stüben (1987); None if all nodes or none would be on it.

    With the second pass: without it interpolation misses strong neighbours. With a contrast of 1e6 from
    element to element, five times as many iterations were needed.
    """
    import pyamg

    A = sparse.csr_matrix((M.data, M.indices, M.indptr), shape=M.shape)  # for older versions of pyamg
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

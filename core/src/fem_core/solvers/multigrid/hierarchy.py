"""The hierarchy: quad8, quad4 on the corners, and levels of algebraic multigrid below.

Each level is scaled to a unit diagonal, A = D K D, and its transfers to D⁻¹ P D' accordingly, so that
the cycle is the same on every level, in single precision too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse

from fem_core.assembly.sparsity import csr_positions
from fem_core.mesh.mesh import Mesh
from fem_core.solvers.base import scaled
from fem_core.solvers.factorisation import SUPERLU, Solve, best
from fem_core.solvers.multigrid.coarse import Galerkin, Interpolation, amg_available, coarsen, galerkin, interpolation
from fem_core.solvers.multigrid.lines import Lines, Links, strong_lines, strong_links
from fem_core.solvers.multigrid.mmatrix import m_matrix
from fem_core.solvers.multigrid.smoother import Smoother, lanczos, largest_eigenvalue
from fem_core.solvers.multigrid.transfer import to_corners
from fem_core.support.threads import Pool
from fem_core.types import Array, Bools, Floats, Ints

#: Up to this number of corners, factorising the quad4 level is as fast as coarsening it further.
DIRECT = 20_000

#: left_i M_ij right_j in single precision, which takes half the time; CG converges to the same.
_single = partial(scaled, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Level:
    """A level and the way to the next coarser one.

    Parameters
    ----------
    smoother : Smoother
        With the level's matrix A (n, n), of unit diagonal.
    P : csr_array (n, m)
        Interpolation from the coarser level; its transpose restricts to it.
    """

    smoother: Smoother
    P: "sparse.csr_array"


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """An approximate inverse of the equilibrated matrix: one symmetric V-cycle.

    Parameters
    ----------
    levels : tuple of Level
        From the finest down.
    coarsest : function
        Solves on the level below the last one, in double precision.
    note : str
        The sizes of the levels, for the report.
    warnings : tuple of str
        For the report, too.
    """

    levels: tuple[Level, ...]
    coarsest: Solve
    note: str = ""
    warnings: tuple[str, ...] = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the levels."""
        return self.levels[0].smoother.A.dtype  # type: ignore[no-any-return]

    def cycle(self, b: Array, k: int = 0) -> Array:
        """x ≈ A⁻¹ b on level k: smooth, correct by the coarser level, smooth; b is overwritten."""
        if k == len(self.levels):
            return self.coarsest(b.astype(np.float64)).astype(self.dtype)
        smoother, P = self.levels[k].smoother, self.levels[k].P
        x, r = smoother.smooth(b)
        e = P @ self.cycle(P.T @ r, k + 1)
        x += e
        r -= smoother.A @ e
        x += smoother.smooth(r, residual=False)[0]
        return x


@dataclass(frozen=True)
class Kernels:
    """The expensive functions that build a hierarchy. A backend may replace them by its own, with equal results.

    `scaled` returns single precision, as the cycle works in it.
    """

    to_corners: Callable[[Mesh, Bools], tuple["sparse.csr_array", Ints]] = to_corners
    galerkin: Galerkin = galerkin
    m_matrix: Callable[["sparse.csr_array", Ints], "sparse.csr_array"] = m_matrix
    scaled: Callable[["sparse.csr_array", Floats, Floats], "sparse.csr_array"] = _single
    strong_links: Callable[["sparse.csr_array", Ints], Links] = strong_links
    lanczos: Callable[["sparse.csr_array", Lines | None, int], tuple[list[float], list[float]]] = lanczos
    interpolation: Interpolation = interpolation

    @property
    def can_coarsen(self) -> bool:
        """Whether `interpolation` can be used: the core's needs pyamg."""
        return self.interpolation is not interpolation or amg_available()


_SCIPY = Kernels()

#: The smoother of a level, and the diagonal of the D that its matrix is scaled by.
_Scaled: TypeAlias = tuple[Smoother, Floats]


def build_hierarchy(
    K: "sparse.csr_array",
    mesh: Mesh,
    free: Bools,
    d: Floats | None = None,
    step: Callable[[], None] = lambda: None,
    threads: int = 1,
    direct: int | None = None,
    kernels: Kernels = _SCIPY,
) -> Hierarchy | None:
    """The hierarchy for K on the free nodes, with the identity on the others; None if no corner is free.

    Parameters
    ----------
    K : csr_array (n_nodes, n_nodes)
        With a positive diagonal, and a pattern that holds all pairs of nodes of an element.
    free : bool (n_nodes,)
    d : float64 (n_nodes,), optional
        diag(K)^-½, if it is known.
    step : function
        Called between the parts of the work; it may raise to stop it.
    threads : int
        With two or more, the smoothers are made in a second thread; the result is the same.
    direct : int, optional
        Up to this number of corners the quad4 level is factorised; DIRECT by default.
    kernels : Kernels
        By NumPy and SciPy, or a backend's.
    """
    direct = DIRECT if direct is None else direct
    with Pool("fem-mg") as beside:
        if threads > 1:
            beside.ensure(1)
        P, number = kernels.to_corners(mesh, free)
        if not P.shape[1]:
            return None
        smoothers = [beside.submit(_smoother, K, kernels, mesh, free, d)]
        step()
        coarse = kernels.galerkin(K, P)
        step()
        transfers, warnings = [P], []
        factoriser = SUPERLU
        if P.shape[1] > direct:
            if kernels.can_coarsen:
                M = kernels.m_matrix(coarse, number[mesh.quad8[:, :4]])
                for P, below in coarsen(M, kernels.interpolation, kernels.galerkin):
                    smoothers.append(beside.submit(_smoother, coarse, kernels))
                    transfers.append(P)
                    coarse = below
                    step()
            else:
                factoriser = best()
                warnings.append(
                    f"pyamg is not installed, so the quad4 matrix of {P.shape[1]:,} unknowns is factorised "
                    f"by {factoriser.library}; on large meshes, mg is faster with the extra fem-core[amg]"
                )
        made = [smoother.result() for smoother in smoothers]
    step()
    last = 1 / np.sqrt(coarse.diagonal())
    scales = pairwise([*(d for _, d in made), last])
    levels = tuple(
        Level(smoother, kernels.scaled(P, 1 / d, d_below))
        for (smoother, _), P, (d, d_below) in zip(made, transfers, scales, strict=True)
    )
    step()
    coarsest = factoriser.factorise(scaled(coarse, last, last))
    sizes = " → ".join(f"{level.P.shape[0]:,}" for level in levels)
    note = f"{sizes} → {len(last):,} unknowns" + (", mid-sides in lines" if levels[0].smoother.lines else "")
    return Hierarchy(levels, coarsest, note, tuple(warnings))


def _smoother(
    K: "sparse.csr_array", kernels: Kernels,
    mesh: Mesh | None = None, free: Bools | None = None, d: Floats | None = None,
) -> _Scaled:  # fmt: skip
    """The smoother of a level, and the diagonal of its D. The quad8 level has a mesh: lines are found on it."""
    A, d = _unit_diagonal(K, free, kernels, d)
    lines = None if mesh is None else strong_lines(A, mesh.quad8, kernels.strong_links)
    return Smoother(A, largest_eigenvalue(A, lines, kernels.lanczos), lines), d


def _unit_diagonal(
    K: "sparse.csr_array", free: Bools | None = None, kernels: Kernels = _SCIPY, d: Floats | None = None
) -> tuple["sparse.csr_array", Floats]:
    """A = D K D and the diagonal of D; where a node isn't free, A is the identity."""
    d = 1 / np.sqrt(K.diagonal()) if d is None else d
    if free is None:
        return kernels.scaled(K, d, d), d
    held, kept = np.flatnonzero(~free).astype(np.int32), np.where(free, d, 0.0)
    A = kernels.scaled(K, kept, kept)
    A.data[csr_positions(A.indptr, A.indices, held, held)] = 1
    return A, d

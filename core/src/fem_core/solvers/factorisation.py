"""Sparse factorisations of symmetric positive definite matrices: SciPy's, and faster ones where they are installed.

SuperLU: minimum degree on AᵀA+A with diagonal pivots keeps the fill several times below that of its
default ordering on these meshes (X. S. Li, SuperLU users' guide, section 2.5: symmetric mode). CHOLMOD
(Chen, Davis, Hager, Rajamanickam 2008) and PARDISO (Schenk & Gärtner 2004, in Intel's MKL) work on half
of the matrix, in dense blocks.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

import numpy as np
from scipy import sparse

from fem_core.errors import SolveError
from fem_core.support.memory import lacks_memory, not_enough
from fem_core.support.wording import pip_install
from fem_core.types import Floats

#: b → A⁻¹ b
Solve: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Factoriser:
    """A way to factorise.

    Parameters
    ----------
    name : str
        As in `--solver NAME`.
    library : str
        Its name for users.
    module : str
        The module that must be importable.
    factorise : function
        The solve of a matrix with unit diagonal. Raises SolveError if it isn't positive definite.
    time, memory : float
        Relative to SuperLU.
    package : str
        What pip installs for it; its extra of fem-core has the same name as the solver.
    """

    name: str
    library: str
    module: str
    factorise: Callable[["sparse.csr_array"], Solve]
    time: float = 1.0
    memory: float = 1.0
    package: str = "scipy"

    @property
    def available(self) -> bool:
        try:
            return importlib.util.find_spec(self.module) is not None
        except ModuleNotFoundError:  # the package of the module is missing
            return False


def _refuse(what: str, error: Exception) -> NoReturn:
    """Raise SolveError, or NotEnoughMemory, for a factorisation that failed."""
    if lacks_memory(error) or "error code -2." in str(error):  # of PARDISO
        raise not_enough(f"{what} failed", error, "try --solver cg, or allow more memory") from error
    raise SolveError(f"{what} failed ({error}); try --solver cg") from error


def superlu(A: "sparse.csr_array") -> Solve:
    """By SciPy."""
    from scipy.sparse.linalg import splu

    try:
        factors = splu(A.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    except (RuntimeError, MemoryError) as error:
        _refuse("direct (SuperLU)", error)
    solve: Solve = factors.solve
    return solve


def cholmod(A: "sparse.csr_array") -> Solve:
    """By scikit-sparse."""
    from sksparse.cholmod import CholmodError, cholesky

    try:
        factor = cholesky(sparse.csc_matrix((A.data, A.indices, A.indptr), shape=A.shape))  # A is symmetric
    except (CholmodError, MemoryError) as error:
        _refuse("cholmod", error)
    return lambda b: np.asarray(factor(b), dtype=np.float64)


class _Pardiso:
    """PARDISO's factors. Their memory is freed with this object."""

    def __init__(self, A: "sparse.csr_array") -> None:
        from pypardiso.pardiso_wrapper import PyPardisoError, PyPardisoSolver

        self._upper = sparse.triu(A, format="csr")
        self._solver: Any = PyPardisoSolver(mtype=2)
        self._solver.set_phase(12)
        try:
            self._solver._call_pardiso(self._upper, np.zeros((A.shape[0], 1)))
        except (PyPardisoError, MemoryError) as error:
            _refuse("pardiso", error)
        self._solver.set_phase(33)

    def __call__(self, b: Floats) -> Floats:
        x: Floats = self._solver._call_pardiso(self._upper, b)
        return x

    def __del__(self) -> None:
        if solver := getattr(self, "_solver", None):
            solver.free_memory(everything=True)


SUPERLU = Factoriser("direct", "SuperLU", "scipy.sparse.linalg", superlu)
CHOLMOD = Factoriser("cholmod", "CHOLMOD", "sksparse.cholmod", cholmod, 0.25, 0.6, "scikit-sparse<0.5")
PARDISO = Factoriser("pardiso", "PARDISO", "pypardiso", _Pardiso, 0.25, 0.6, "pypardiso")


def best() -> Factoriser:
    """The installed one that is fastest on large matrices."""
    return next(one for one in (PARDISO, CHOLMOD, SUPERLU) if one.available)


def how_to_install(name: str) -> str:
    """A hint to follow the name of a solver whose library isn't installed, or nothing."""
    for one in (PARDISO, CHOLMOD):
        if one.name == name and not one.available:
            return f" without {one.library}, the extra `{name}`: {pip_install(one.package)}"
    return ""

"""The stages that a backend may provide: the hook, the arguments, the result and the checks of each stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.results import DerivedFields, SolveResult
from fem_core.types import Array, Stage

R = TypeVar("R")


@dataclass(frozen=True)
class ComputeStage(Generic[R]):
    """A stage with a compute hook.

    Parameters
    ----------
    hook : str
    result : type
        The type of the result on the host; a backend may return a type of its own with a method `to_host`.
    check : function of a result on the host and the mesh
        Returns None, or the fault of the result.
    takes : (str, ComputeStage), optional
        The hook's argument that is the result of another stage, and this stage.
    kept : bool
        Whether the result depends only on the mesh's topology; later runs then use it again.
    """

    name: Stage
    hook: str
    result: type[R]
    check: Callable[[R, Mesh], str | None]
    takes: "tuple[str, ComputeStage[Any]] | None" = None
    kept: bool = False

    def fault_in(self, value: Any, mesh: Mesh) -> str | None:
        """What is wrong with a result; device values are checked later, on the host."""
        if isinstance(value, self.result):
            return self.check(value, mesh)
        if callable(getattr(value, "to_host", None)) and type(value) not in (one.result for one in STAGES.values()):
            return None
        return f"a {type(value).__name__} instead of a {self.result.__name__}"


def _check_sparsity(found: Sparsity, mesh: Mesh) -> str | None:
    if fault := (
        _fault("indptr", found.indptr, (mesh.n_nodes + 1,), np.int32)
        or _fault("indices", found.indices, np.shape(found.indices)[:1], np.int32)
        or _fault("slots", found.slots, (mesh.n_elements, 8, 8), np.int32)
    ):
        return fault
    nnz = len(found.indices)
    if found.indptr[-1] != nnz or found.slots.min() < 0 or found.slots.max() >= nnz:
        return f"indptr or slots don't fit the {nnz} indices"
    return None


def _check_system(found: LinearSystem, mesh: Mesh) -> str | None:
    K, n = found.matrix, mesh.n_nodes
    if getattr(K, "shape", None) != (n, n) or getattr(K, "format", None) != "csr":
        return f"matrix must be CSR of shape {(n, n)}"
    return _fault("matrix values", K.data, K.data.shape) or _fault("rhs", found.rhs, (n,))


def _check_conditioned(found: LinearSystem, mesh: Mesh) -> str | None:
    return _check_system(found, mesh) or _fault("lift", found.lift, (mesh.n_nodes,))


def _check_result(found: SolveResult, mesh: Mesh) -> str | None:
    return _fault("u", found.u, (mesh.n_nodes,))


def _check_derived(found: DerivedFields, mesh: Mesh) -> str | None:
    m = mesh.n_elements
    return (
        _fault("velocity", found.velocity, (m, 2))
        or _fault("speed", found.speed, (m,))
        or _fault("pressure", found.pressure, (m,))
    )


def _fault(name: str, array: Any, shape: tuple[int, ...], dtype: type = np.float64) -> str | None:
    """The fault of an array, or None: wrong shape or dtype, NaN or infinite values."""
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
        return f"{name} must be {np.dtype(dtype)} {shape}, not {found}"
    return None if _finite(array) else f"{name} holds NaN or infinite values"


def _finite(array: Array) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


COMPUTE_SPARSITY = ComputeStage("compute_sparsity", "fem_sparsity", Sparsity, _check_sparsity, kept=True)
ASSEMBLE_SYSTEM = ComputeStage(
    "assemble_system", "fem_assemble", LinearSystem, _check_system, takes=("sparsity", COMPUTE_SPARSITY)
)
APPLY_BC = ComputeStage("apply_bc", "fem_apply_bc", LinearSystem, _check_conditioned, takes=("system", ASSEMBLE_SYSTEM))
SOLVE_SYSTEM = ComputeStage("solve_system", "fem_solve", SolveResult, _check_result, takes=("system", APPLY_BC))
COMPUTE_DERIVED = ComputeStage(
    "compute_derived", "fem_compute_derived", DerivedFields, _check_derived, takes=("result", SOLVE_SYSTEM)
)

#: By name, in the order of a run.
STAGES: Mapping[Stage, ComputeStage[Any]] = {
    stage.name: stage for stage in (COMPUTE_SPARSITY, ASSEMBLE_SYSTEM, APPLY_BC, SOLVE_SYSTEM, COMPUTE_DERIVED)
}

"""What a stage may hand on: values of the right kind, shape and dtype, without NaN."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.results import DerivedFields, SolveResult
from fem_core.types import Array, Stage

#: The host's kind of each stage's result.
HOST: Mapping[Stage, type] = {
    "compute_sparsity": Sparsity,
    "assemble_system": LinearSystem,
    "apply_bc": LinearSystem,
    "solve_system": SolveResult,
    "compute_derived": DerivedFields,
}


def fault_in(value: Any, made_in: Stage, mesh: Mesh) -> str | None:
    """What is wrong with a stage's result; device values are looked at once they are on the host."""
    n, m = mesh.n_nodes, mesh.n_elements
    if not isinstance(value, HOST[made_in]):
        device = callable(getattr(value, "to_host", None)) and type(value) not in HOST.values()
        return None if device else f"a {type(value).__name__} instead of a {HOST[made_in].__name__}"
    wanted: list[tuple[str, Any, tuple[int, ...], type]] = []
    match value:
        case Sparsity():
            wanted += [("indptr", value.indptr, (n + 1,), np.int32)]
            wanted += [("indices", value.indices, np.shape(value.indices)[:1], np.int32)]
            wanted += [("slots", value.slots, (m, 8, 8), np.int32)]
        case LinearSystem():
            if getattr(value.matrix, "shape", None) != (n, n) or getattr(value.matrix, "format", None) != "csr":
                return f"matrix must be CSR of shape {(n, n)}"
            wanted += [("matrix values", value.matrix.data, value.matrix.data.shape, np.float64)]
            wanted += [("rhs", value.rhs, (n,), np.float64)]
            if made_in == "apply_bc":
                wanted += [("lift", value.lift, (n,), np.float64)]
        case SolveResult():
            wanted += [("u", value.u, (n,), np.float64)]
        case DerivedFields():
            wanted += [("velocity", value.velocity, (m, 2), np.float64)]
            wanted += [(name, getattr(value, name), (m,), np.float64) for name in ("speed", "pressure")]
    for name, array, shape, dtype in wanted:
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            return f"{name} must be {np.dtype(dtype)} {shape}, not {found}"
        if not _finite(array):
            return f"{name} holds NaN or infinite values"
    if isinstance(value, Sparsity):
        nnz = len(value.indices)
        if value.indptr[-1] != nnz or value.slots.min() < 0 or value.slots.max() >= nnz:
            return f"indptr or slots don't fit the {nnz} indices"
    return None


def _finite(array: Array) -> bool:
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())

"""From a mesh and a problem to K u = f: element matrices, the pattern, the system, and what all that costs."""

from fem_core.assembly.element import element_derived, element_load, element_stiffness
from fem_core.assembly.sparsity import Sparsity, compute_sparsity, csr_positions
from fem_core.assembly.system import LinearSystem, apply_conditions, csr, robin_terms

__all__ = [
    "LinearSystem",
    "Sparsity",
    "apply_conditions",
    "compute_sparsity",
    "csr",
    "csr_positions",
    "element_derived",
    "element_load",
    "element_stiffness",
    "robin_terms",
]

"""The tolerances between two correct implementations: multiples of ε times sums of absolute contributions.

For an entry that is a sum of terms t, floating point allows an error of order ε Σ|t|, whatever the sum
itself is. So each tolerance here is C ε times the same expression with every term taken positive,
and there is no absolute tolerance anywhere.

C was checked in 50-digit arithmetic (`tests/oracle.py`) on some 10,000 elements: curved, clockwise, thin to 1:10⁶, far
from the origin by 10⁶ sizes, of 10⁻¹² to 10¹² m. In units of ε Σ|t| the largest errors of `baseline`, `numpy` and
`numba` were 1.6 (element matrices), 0.95 (loads), 0.4 (velocities and speeds), 0.7 (edges) and 0.4 (systems with their
conditions). So two right implementations differ by less than 4, and C leaves four times that for other orders of
summation and for fused operations. Where det J at one Gauss point is a hundredth of that at others or less, the metric
by which `numpy` and `numba` compute loses digits that ∇N keeps: 9.7. The kit draws no such elements.
"""

import numpy as np

from fem_core.assembly.sparsity import Sparsity, accumulate
from fem_core.assembly.system import robin_terms
from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.testing import formula
from fem_core.types import Floats

#: ε of the arithmetic that every backend must use.
EPS = float(np.finfo(np.float64).eps)

#: Number of rounding errors per term that are allowed: see above.
C = 16.0


def element_stiffness(mesh: Mesh, k: Floats) -> Floats:
    """Allowed difference of each entry of the element matrices, (n_elements, 8, 8)."""
    terms = np.empty((mesh.n_elements, 8, 8))
    for part, gradient, det, loss in formula.parts(mesh, q8.DN_3X3):
        norm = np.linalg.norm(gradient, axis=2)
        weights = k[part, None] * q8.WEIGHTS_3X3 * np.abs(det) * loss
        terms[part] = (norm * weights[:, :, None]).transpose(0, 2, 1) @ norm
    return C * EPS * terms


def stiffness(mesh: Mesh, problem: Problem, sparsity: Sparsity) -> Floats:
    """Allowed difference of each CSR value of K, (nnz,)."""
    return sparsity.scatter(element_stiffness(mesh, problem.conductivity_on(mesh)))


def element_load(mesh: Mesh, s: Floats) -> Floats:
    """Allowed difference of each entry of the element loads for s (n_elements, 8): (n_elements, 8)."""
    terms, N = np.empty((mesh.n_elements, 8)), np.abs(q8.N_3X3)
    for part, _, det, loss in formula.parts(mesh, q8.DN_3X3):
        terms[part] = (q8.WEIGHTS_3X3 * np.abs(det) * loss * (np.abs(s[part]) @ N.T)) @ N
    return C * EPS * terms


def load(mesh: Mesh, problem: Problem) -> Floats:
    """Allowed difference of each entry of f before boundary conditions, (n_nodes,)."""
    s = problem.source_on(mesh)
    if s is None:
        return np.zeros(mesh.n_nodes)
    return accumulate(mesh.quad8, element_load(mesh, s), mesh.n_nodes)


def robin(mesh: Mesh, problem: Problem) -> tuple[Floats, float]:
    """Sum of absolute Robin loads at each node (n_nodes,), and the largest Robin term of the matrix."""
    total, largest = np.zeros(mesh.n_nodes), 0.0
    for edges, p, γ in robin_terms(mesh, problem):
        length = (np.abs(mesh.x[edges]) + np.abs(mesh.y[edges])).sum(axis=1, keepdims=True)
        terms = np.broadcast_to(length * np.abs(γ).sum(axis=1, keepdims=True), edges.shape)
        total += accumulate(edges, terms, len(total))
        largest = max(largest, float((length * np.abs(p)).max()))
    return total, largest


def derived(mesh: Mesh, u: Floats) -> Floats:
    """Allowed difference of each element's velocity components and speed, (n_elements,)."""
    allowed = np.empty(mesh.n_elements)
    for part, gradient, _, loss in formula.parts(mesh, q8.DN_2X2):
        terms = (np.abs(gradient) @ np.abs(u[mesh.quad8[part]])[:, None, :, None]).sum(axis=(2, 3)) * loss
        allowed[part] = C * EPS * terms.mean(axis=1)
    return allowed

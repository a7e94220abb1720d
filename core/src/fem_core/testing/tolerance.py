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
from fem_core.types import Floats

#: ε of the arithmetic that every backend must use.
EPS = float(np.finfo(np.float64).eps)

#: Number of rounding errors per term that are allowed: see above.
C = 16.0


def _jacobian(mesh: Mesh, dn: Floats) -> tuple[Floats, Floats, Floats]:
    """J⁻¹-gradients (n, q, 2, 8), det J (n, q), and the error of det J by cancellation (n, q)."""
    X = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=2)
    J = np.einsum("qdi,nic->nqdc", dn, X)
    det = np.linalg.det(J)
    gradient = np.linalg.solve(J, np.broadcast_to(dn, (len(X), *dn.shape)))
    # each entry of J is a sum of terms up to A, so that det J = J00 J11 - J01 J10 may be wrong by ε times this
    A, J = np.einsum("qdi,nic->nqdc", np.abs(dn), np.abs(X)), np.abs(J)
    terms = A[..., 0, 0] * J[..., 1, 1] + J[..., 0, 0] * A[..., 1, 1]
    terms += A[..., 0, 1] * J[..., 1, 0] + J[..., 0, 1] * A[..., 1, 0]
    return gradient, np.abs(det), terms / np.abs(det)


def element_stiffness(mesh: Mesh, k: Floats) -> Floats:
    """Allowed difference of each entry of the element matrices, (n_elements, 8, 8)."""
    gradient, det, loss = _jacobian(mesh, q8.DN_3X3)
    norm = np.linalg.norm(gradient, axis=2)
    terms = np.einsum("n,q,nq,nqi,nqj->nij", k, q8.WEIGHTS_3X3, det * loss, norm, norm, optimize=True)
    return C * EPS * np.ascontiguousarray(terms)


def stiffness(mesh: Mesh, problem: Problem, sparsity: Sparsity) -> Floats:
    """Allowed difference of each CSR value of K, (nnz,)."""
    return sparsity.scatter(element_stiffness(mesh, problem.conductivity_on(mesh)))


def element_load(mesh: Mesh, s: Floats) -> Floats:
    """Allowed difference of each entry of the element loads for s (n_elements, 8): (n_elements, 8)."""
    _, det, loss = _jacobian(mesh, q8.DN_3X3)
    N = np.abs(q8.N_3X3)
    terms: Floats = np.einsum("q,nq,nj,qj,qi->ni", q8.WEIGHTS_3X3, det * loss, np.abs(s), N, N, optimize=True)
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
    gradient, _, loss = _jacobian(mesh, q8.DN_2X2)
    terms = np.einsum("nqdi,ni->nqd", np.abs(gradient), np.abs(u[mesh.quad8])).sum(axis=2) * loss
    return np.asarray(C * EPS * terms.mean(axis=1))

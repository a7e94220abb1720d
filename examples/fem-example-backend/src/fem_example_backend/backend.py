"""The heavy half: the backend itself.

The stiffness matrix is assembled without any element matrix. Let G take nodal values to the gradient
at every Gauss point of the mesh (two rows a point) and W = diag(w k det J). Then

    uᵀ K v = ∫ k ∇u·∇v dΩ = (G u)ᵀ W (G v),   so   K = Gᵀ W G.
"""

import numpy as np
from fem_core import BackendError, LinearSystem, Mesh, Problem, Sparsity
from fem_core.assembly import csr, csr_positions, element_load
from fem_core.mesh import quad8 as q8
from fem_core.plugins import Backend, Progress, hookimpl
from scipy import sparse


class Product(Backend):
    """Provides one stage. A backend does no work when it is created; it may in `open`."""

    def __init__(self, check_symmetry: bool = False) -> None:
        self.check_symmetry = check_symmetry

    @hookimpl  # a hook without this mark is refused when the backend is created
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        G, det = gradient_operator(mesh)
        weights = q8.WEIGHTS_3X3 * problem.conductivity_on(mesh)[:, None] * det
        progress.check()  # raises if the run was cancelled
        K = (G.T @ sparse.diags_array(np.repeat(weights.ravel(), 2)) @ G).tocoo()
        if self.check_symmetry and abs(K - K.T).max() > 1e-12 * abs(K).max():
            raise BackendError("product: the matrix isn't symmetric")

        # Every provider returns the pattern that it was given; it contains the diagonal of orphan nodes.
        pattern = sparsity.to_host()
        values = np.zeros(pattern.nnz)
        values[csr_positions(pattern.indptr, pattern.indices, K.row, K.col)] = K.data

        f = np.zeros(mesh.n_nodes)
        if (s := problem.source_on(mesh)) is not None:
            fe = element_load(mesh.x[mesh.quad8], mesh.y[mesh.quad8], s)
            np.add.at(f, mesh.quad8, fe)
        progress.assembly(mesh.n_elements, mesh.n_elements)  # the last element is always reported
        return LinearSystem(csr(pattern.indptr, pattern.indices, values), f)


def gradient_operator(mesh: Mesh) -> "tuple[sparse.csr_array, np.ndarray]":
    """G, (18 n_elements, n_nodes), and det J at the Gauss points, (n_elements, 9)."""
    X = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=2)  # (n, 8, 2)
    J = q8.DN_3X3 @ X[:, None]  # (n, 9, 2, 2)
    B = np.linalg.solve(J, np.broadcast_to(q8.DN_3X3, (len(X), *q8.DN_3X3.shape)))  # ∇N, (n, 9, 2, 8)
    columns = np.repeat(mesh.quad8, 18, axis=0)
    rows = np.arange(0, columns.size + 1, 8)
    return sparse.csr_array((B.ravel(), columns.ravel(), rows), shape=(len(columns), mesh.n_nodes)), np.linalg.det(J)

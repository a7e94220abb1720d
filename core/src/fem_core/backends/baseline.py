"""`baseline`: the reference for every other backend, written for readability."""

import numpy as np
from scipy import sparse

from fem_core.assembly.kernels import derived_of_one, load_of_one, stiffness_of_one
from fem_core.assembly.sparsity import Sparsity, csr_positions
from fem_core.assembly.system import LinearSystem, csr
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend
from fem_core.plugins.hookspecs import hookimpl
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult
from fem_core.support.progress import Progress

_EVERY = 100  # elements between two reports of progress


class Baseline(Backend):
    """K = Σ_e Lₑᵀ Kₑ Lₑ, one element at a time."""

    @hookimpl
    def fem_assemble(self, mesh: Mesh, problem: Problem, sparsity: Sparsity, progress: Progress) -> LinearSystem:
        K = sparse.lil_array((mesh.n_nodes, mesh.n_nodes))
        f = np.zeros(mesh.n_nodes)
        k, s = problem.conductivity_on(mesh), problem.source_on(mesh)
        for e, nodes in enumerate(mesh.quad8):
            x, y = mesh.x[nodes], mesh.y[nodes]
            Ke = stiffness_of_one(x, y, k[e])
            for i in range(8):
                for j in range(8):
                    K[nodes[i], nodes[j]] += Ke[i, j]
            if s is not None:
                f[nodes] += load_of_one(x, y, s[e])
            if (e + 1) % _EVERY == 0 or e + 1 == mesh.n_elements:
                progress.assembly(e + 1, mesh.n_elements)
        return LinearSystem(_on_pattern(K, sparsity.to_host()), f)

    @hookimpl
    def fem_compute_derived(
        self, mesh: Mesh, problem: Problem, result: SolveResult, progress: Progress
    ) -> DerivedFields:
        u = result.to_host().u
        velocity, speed = np.empty((mesh.n_elements, 2)), np.empty(mesh.n_elements)
        for e, nodes in enumerate(mesh.quad8):
            velocity[e], speed[e] = derived_of_one(mesh.x[nodes], mesh.y[nodes], u[nodes])
            if (e + 1) % _EVERY == 0 or e + 1 == mesh.n_elements:
                progress.derived(e + 1, mesh.n_elements)
        return DerivedFields(velocity, speed, problem.fluid.pressure(speed))


def _on_pattern(K: "sparse.lil_array", sparsity: Sparsity) -> "sparse.csr_array":
    """K with every entry of the pattern stored, zeros included."""
    entries = K.tocoo()
    values = np.zeros(sparsity.nnz)
    values[csr_positions(sparsity.indptr, sparsity.indices, entries.row, entries.col)] = entries.data
    return csr(sparsity.indptr, sparsity.indices, values)

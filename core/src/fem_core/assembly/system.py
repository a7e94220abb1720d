"""The linear system before and after the boundary conditions are applied."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from fem_core.assembly.element import robin_edges
from fem_core.assembly.sparsity import accumulate, csr_positions
from fem_core.errors import ProblemError, SolveError
from fem_core.mesh.mesh import Mesh
from fem_core.problem import PENALTY as PENALTY
from fem_core.problem import Problem, nodal_values
from fem_core.types import Floats, Ints


@dataclass(frozen=True, eq=False)
class LinearSystem:
    """The system K w = f - K ĝ with u = ĝ + w; before `apply_bc`, it contains K and f without conditions.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array (n_nodes, n_nodes), float64
        int32 indices, columns ascending, every diagonal entry stored.
    rhs : float64 (n_nodes,)
    fixed : int32 (m,)
        The fixed nodes, including orphan nodes; w is 0 there.
    lift : float64 (n_nodes,) or None
        ĝ: the Dirichlet values at the fixed nodes, zero elsewhere; None before `apply_bc`.
    disposable : bool
        Whether the next stage may overwrite the values of the matrix: nothing else uses them.
    """

    matrix: "sparse.csr_array"
    rhs: Floats
    fixed: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    lift: Floats | None = None
    disposable: bool = False

    @property
    def n_nodes(self) -> int:
        return len(self.rhs)

    @property
    def overwritable(self) -> bool:
        """Whether the values of the matrix may, and can, be overwritten."""
        return self.disposable and bool(self.matrix.data.flags.writeable)

    def to_host(self) -> "LinearSystem":
        return self


def apply_conditions(system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
    """Add the Robin terms, lift the Dirichlet values and fix the fixed nodes; return the system to be solved.

    The right-hand side is f + ∫γv - K ĝ and zero at fixed nodes, with either treatment. The pattern
    of the matrix is kept.
    """
    require_bare(system, mesh)
    K = system.matrix
    values, rhs = K.data if system.overwritable else K.data.copy(), system.rhs.copy()
    for edges, p, γ in robin_terms(mesh, problem):
        matrix, load = robin_edges(mesh.x[edges], mesh.y[edges], p, γ)
        nodes, local = np.unique(edges, return_inverse=True)
        rhs[nodes] += accumulate(local, load, len(nodes))
        if p.any():
            rows, columns = np.repeat(edges, 3, axis=1).ravel(), np.tile(edges, 3).ravel()
            np.add.at(values, csr_positions(K.indptr, K.indices, rows, columns), matrix.ravel())
    fixed, lift = problem.fixed_on(mesh)
    if lift.any():
        rhs -= csr(K.indptr, K.indices, values) @ lift
    rhs[fixed] = 0
    diagonal = csr_positions(K.indptr, K.indices, fixed, fixed)
    if problem.dirichlet == "penalty":
        values[diagonal] += PENALTY
    else:
        held = np.zeros(len(rhs), dtype=bool)
        held[fixed] = True
        values[held[K.indices] | np.repeat(held, np.diff(K.indptr))] = 0
        values[diagonal] = 1
    return LinearSystem(csr(K.indptr, K.indices, values), rhs, fixed, lift)


def robin_terms(mesh: Mesh, problem: Problem) -> Iterator[tuple[Ints, Floats, Floats]]:
    """The edges of each Robin condition, int32 (m, 3), with p and γ at their nodes, float64 (m, 3) each.

    Raises ProblemError, with the name of the boundary, if coefficients don't fit the mesh.
    """
    for condition in problem.robin:
        edges = mesh.boundaries[condition.boundary].edges
        nodes = np.unique(edges)
        p = nodal_values(condition.p, mesh, nodes, f"p on {condition.boundary!r}")
        γ = nodal_values(condition.gamma, mesh, nodes, f"gamma on {condition.boundary!r}")
        yield edges, p[edges], γ[edges]


def require_bare(system: LinearSystem, mesh: Mesh) -> None:
    """Raises ProblemError if `system` has its boundary conditions already or isn't that of `mesh`.

    As `require_conditions`, this also accepts a system on a device.
    """
    if system.lift is not None:
        raise ProblemError(
            "the system already has its boundary conditions; pass the system that assemble_system returned"
        )
    if system.n_nodes != mesh.n_nodes:
        raise ProblemError(f"{mesh.source}: the system has {system.n_nodes} nodes, but the mesh has {mesh.n_nodes}")


def require_conditions(system: LinearSystem) -> Floats:
    """The lift ĝ. Raises SolveError if `system` has no boundary conditions yet."""
    if system.lift is None:
        raise SolveError("the system has no boundary conditions yet; call apply_bc first")
    return system.lift


def csr(indptr: Ints, indices: Ints, values: Floats) -> "sparse.csr_array":
    """The square matrix with this pattern, marked as sorted and without duplicates."""
    n = len(indptr) - 1
    matrix = sparse.csr_array((values, indices, indptr), shape=(n, n))
    matrix.has_canonical_format = True
    return matrix

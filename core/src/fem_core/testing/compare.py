"""What a backend returns from its stages, compared with the kit's own formulas, entry by entry."""

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from fem_core.assembly.sparsity import Sparsity, accumulate, compute_sparsity
from fem_core.assembly.system import LinearSystem, apply_conditions, csr
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import APPLY_BC, ASSEMBLE_SYSTEM, COMPUTE_DERIVED, COMPUTE_SPARSITY
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.run.runner import Run
from fem_core.run.session import Session
from fem_core.solvers import Equilibrated
from fem_core.testing import formula, tolerance
from fem_core.testing.strategies import Case
from fem_core.types import Array, Floats


def assert_close(actual: Array, expected: Array, allowed: Array | float, what: str) -> None:
    """Check |actual - expected| <= allowed in every entry; the error names the worst entry."""
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape} instead of {expected.shape}"
    excess = np.abs(actual - expected) - allowed
    if not (excess <= 0).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
        bound = float(np.broadcast_to(allowed, actual.shape)[worst])
        raise AssertionError(
            f"{what}: entry {', '.join(map(str, worst))} is {actual[worst]!r} instead of {expected[worst]!r}; "
            f"the difference of {abs(actual[worst] - expected[worst]):.1e} exceeds {bound:.1e}"
        )


# what is right


def bare_system(case: Case, pattern: Sparsity) -> LinearSystem:
    """K and f before the boundary conditions, by the kit's formulas."""
    mesh, problem = case.mesh, case.problem
    values = pattern.scatter(formula.element_stiffness(mesh, problem.conductivity_on(mesh)))
    s = problem.source_on(mesh)
    if s is None:
        return LinearSystem(csr(pattern.indptr, pattern.indices, values), np.zeros(mesh.n_nodes))
    rhs = accumulate(mesh.quad8, formula.element_load(mesh, s), mesh.n_nodes)
    return LinearSystem(csr(pattern.indptr, pattern.indices, values), rhs)


def full_system(case: Case) -> LinearSystem:
    """The system to be solved: the kit's K and f, and the core's boundary conditions."""
    return apply_conditions(bare_system(case, compute_sparsity(case.mesh)), case.mesh, case.problem)


# what a backend says


@dataclass(frozen=True, eq=False)
class Stages:
    """The results of all stages but the solve, on the host. The potential is given, so it needn't be solved for."""

    u: Floats
    sparsity: Sparsity
    bare: LinearSystem
    full: LinearSystem
    derived: DerivedFields

    def arrays(self) -> dict[str, Array]:
        """Every array of the results, by name."""
        found = {f"{name} of the pattern": getattr(self.sparsity, name) for name in ("indptr", "indices", "slots")}
        for name, system in (("K", self.bare), ("K with conditions", self.full)):
            found |= {name: system.matrix.data, f"right-hand side of {name}": system.rhs}
        found |= {"lift": np.asarray(self.full.lift), "fixed nodes": self.full.fixed}
        return found | {name: getattr(self.derived, name) for name in ("velocity", "speed", "pressure")}


def stages_of(session: Session, case: Case, u: Floats | None = None, run: Run | None = None) -> Stages:
    """Every stage but the solve, each with what the stage before returned, in the backend's own form."""
    run = run or session.stages()
    mesh, problem = case.mesh, case.problem
    u = np.random.default_rng(0).normal(size=mesh.n_nodes) if u is None else u
    pattern = run.perform(COMPUTE_SPARSITY, mesh)
    bare = run.perform(ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=pattern)
    host = run.to_host(bare, ASSEMBLE_SYSTEM, mesh)  # before the next stage, which must not change it
    full = run.perform(APPLY_BC, mesh, problem=problem, system=bare)
    given = SolveResult(u, "given", 0, StopReason.CONVERGED, 0.0, 0.0)
    fields = run.perform(COMPUTE_DERIVED, mesh, problem=problem, result=given)
    return Stages(
        u,
        run.to_host(pattern, COMPUTE_SPARSITY, mesh),
        host,
        run.to_host(full, APPLY_BC, mesh),
        run.to_host(fields, COMPUTE_DERIVED, mesh),
    )


# the comparison


def assert_stages(session: Session, case: Case, u: Floats | None = None, run: Run | None = None) -> Stages:
    """Check every stage but the solve. Returns the results."""
    found = stages_of(session, case, u, run)
    assert_right(found, case)
    return found


def assert_right(found: Stages, case: Case) -> None:
    """Check the results of all stages but the solve."""
    assert_pattern(found.sparsity, case.mesh)
    wanted = bare_system(case, found.sparsity)
    assert_matrix(found.bare, wanted, case, found.sparsity)
    assert_load(found.bare, wanted, case)
    assert_conditions(found.full, found.bare, case)
    assert_derived(found.derived, case, found.u)


#: Patterns that were checked, with the mesh's topology; their arrays are read-only.
_checked: WeakKeyDictionary[Sparsity, str] = WeakKeyDictionary()


def assert_pattern(found: Sparsity, mesh: Mesh) -> None:
    """Check that the pattern has the entries of all elements and the diagonal, in order, and nothing else."""
    if _checked.get(found) == mesh.fingerprint:
        return
    indptr, indices, slots = found.indptr, found.indices, found.slots
    for name, array in (("indptr", indptr), ("indices", indices), ("slots", slots)):
        assert array.dtype == np.int32, f"{name} is {array.dtype} instead of int32"
    assert indptr[0] == 0 and indptr[-1] == len(indices) and (np.diff(indptr) > 0).all(), "indptr doesn't rise"
    rows = np.repeat(np.arange(mesh.n_nodes), np.diff(indptr))
    assert (np.diff(rows * np.int64(mesh.n_nodes) + indices) > 0).all(), "the columns of a row don't ascend"
    used = np.zeros(len(indices), dtype=bool)
    for i in range(8):
        of_row = slots[:, i]
        right = (rows[of_row] == mesh.quad8[:, i, None]) & (indices[of_row] == mesh.quad8)
        if not right.all():
            e, j = np.argwhere(~right)[0]
            raise AssertionError(f"slots: entry ({i}, {j}) of element {e} leads to another row or column")
        used[of_row.ravel()] = True
    others = np.flatnonzero(~used)
    assert np.array_equal(rows[others], mesh.orphan_nodes) and np.array_equal(indices[others], mesh.orphan_nodes), (
        "the entries that no element has aren't the diagonal ones of the orphan nodes"
    )
    _checked[found] = mesh.fingerprint


def assert_same_pattern(mine: Any, theirs: Any) -> None:
    """Check that two matrices have the same pattern, with 32-bit indices."""
    for name in ("indptr", "indices"):
        found = getattr(mine, name)
        assert found.dtype == np.int32, f"{name} of the matrix is {found.dtype} instead of int32"
        assert np.array_equal(found, getattr(theirs, name)), "the pattern of the matrix isn't the one that was computed"


def assert_matrix(mine: LinearSystem, theirs: LinearSystem, case: Case, pattern: Sparsity) -> None:
    """Check K before the boundary conditions."""
    assert_same_pattern(mine.matrix, theirs.matrix)
    allowed = tolerance.stiffness(case.mesh, case.problem, pattern)
    assert_close(mine.matrix.data, theirs.matrix.data, allowed, "CSR values of K")


def assert_load(mine: LinearSystem, theirs: LinearSystem, case: Case) -> None:
    """Check f before the boundary conditions."""
    assert_close(mine.rhs, theirs.rhs, tolerance.load(case.mesh, case.problem), "load vector")


def assert_conditions(mine: LinearSystem, before: LinearSystem, case: Case) -> None:
    """Check the system with boundary conditions against the core's, for the same K and f."""
    mesh, problem = case.mesh, case.problem
    theirs = apply_conditions(before, mesh, problem)
    assert np.array_equal(mine.fixed, theirs.fixed), "the fixed nodes differ from the core's"
    assert mine.lift is not None and theirs.lift is not None, "the lift is missing"
    assert_close(mine.lift, theirs.lift, 0.0, "lift")
    assert_same_pattern(mine.matrix, theirs.matrix)
    loads, stiffest = tolerance.robin(mesh, problem)
    # a value that is added to the penalty loses digits
    magnitude = np.abs(theirs.matrix.data) + np.abs(before.matrix.data) + stiffest
    assert_close(mine.matrix.data, theirs.matrix.data, tolerance.C * tolerance.EPS * magnitude, "CSR values")
    K = before.matrix.copy()
    K.data = np.abs(K.data) + stiffest
    allowed = tolerance.C * tolerance.EPS * (np.abs(before.rhs) + loads + K @ np.abs(theirs.lift))
    assert_close(mine.rhs, theirs.rhs, allowed, "right-hand side")


def assert_derived(mine: DerivedFields, case: Case, u: Floats, theirs: DerivedFields | None = None) -> None:
    """Check velocity, speed and pressure for the potential u."""
    fluid = case.problem.fluid
    if theirs is None:
        velocity, speed = formula.velocity_and_speed(case.mesh, u)
        theirs = DerivedFields(velocity, speed, fluid.pressure(speed))
    allowed = tolerance.derived(case.mesh, u)
    assert_close(mine.velocity, theirs.velocity, allowed[:, None], "velocity")
    assert_close(mine.speed, theirs.speed, allowed, "speed")
    rounding = tolerance.C * tolerance.EPS * (abs(fluid.p0) + fluid.rho * theirs.speed**2)
    slack = fluid.rho * (2 * theirs.speed + allowed) * allowed
    assert_close(mine.pressure, theirs.pressure, rounding + slack, "pressure")


def assert_solves(
    system: LinearSystem,
    u: Floats,
    options: SolverOptions,
    magnitude: Floats | None = None,
    slack: Floats | None = None,
) -> None:
    """Check that u solves the system within the solver's tolerance, and on small meshes its distance from the solution.

    Parameters
    ----------
    magnitude : float64 (n_nodes,), optional
        That of the numbers from which u was computed; by default its own.
    slack : float64 (n_nodes,), optional
        The allowed difference between this K u - f and that of the system that was solved.
    """
    assert system.lift is not None
    scaled = Equilibrated.of(system)
    b, x = scaled.d * system.rhs, (u - system.lift) / scaled.d
    norm = float(np.linalg.norm(b))
    residual = float(np.linalg.norm(b - scaled.A @ x))
    # u = ĝ + w loses the last digits of w where ĝ is large
    magnitude = np.abs(system.lift) + (np.abs(u) if magnitude is None else magnitude)
    rounding = 8 * tolerance.EPS * float(np.linalg.norm(abs(scaled.A) @ (magnitude / scaled.d)))
    if slack is not None:
        rounding += float(np.linalg.norm(scaled.d * slack))
    assert residual <= 2 * max(options.rtol * norm, options.atol) + rounding, (
        f"u does not solve the system: relative residual {residual / (norm or 1):.1e}, claimed {options.rtol:.1e}"
    )
    if len(b) <= 400:
        λ_min = float(np.linalg.eigvalsh(scaled.A.toarray())[0])
        exact = np.linalg.solve(scaled.A.toarray(), b)
        error = float(np.linalg.norm(x - exact))
        assert error <= 1.01 * (residual + rounding) / λ_min + 1e3 * tolerance.EPS * np.linalg.norm(exact) / λ_min, (
            f"u is {error:.1e} away from the solution"
        )

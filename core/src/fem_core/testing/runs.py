"""The named checks of complete runs."""

from typing import Any

import numpy as np

from fem_core.assembly.sparsity import compute_sparsity
from fem_core.assembly.system import csr
from fem_core.problem import Problem
from fem_core.results import SolverOptions
from fem_core.run.level import level_of, relative_to
from fem_core.solution import Solution
from fem_core.testing import formula, tolerance
from fem_core.testing.checks import check, check_on_cases
from fem_core.testing.compare import assert_close, assert_solves, full_system
from fem_core.testing.strategies import Case
from fem_core.testing.target import Target


@check_on_cases("pipeline")
def check_pipeline(target: Target, case: Case) -> None:
    """In a complete run, u solves the system, and the fields belong to u."""
    solution = target.session.solve(case.mesh, case.problem, solver="cg", rtol=1e-10)
    if not solution.report.converged:  # with the most extreme coefficients the reference doesn't, either
        theirs = target.numpy.solve(case.mesh, case.problem, solver="cg", rtol=1e-10)
        assert not theirs.report.converged, f"not converged: {solution.report.solver['stop_reason']}"
        return
    assert_solution(solution, rtol=1.1e-10)


def assert_solution(solution: Solution, rtol: float) -> None:
    """Check that u solves the system of its mesh and problem, and that the fields belong to u."""
    mesh, problem, u = solution.mesh, solution.problem, solution.u
    level = level_of(mesh, problem)  # a run solves for the difference from it
    if level is None:
        level = np.zeros_like(u)
    else:
        problem = relative_to(level, mesh, problem)
    magnitude = np.abs(u) + np.abs(level)
    system = full_system(Case(mesh, problem))
    K = system.matrix
    allowed = tolerance.stiffness(mesh, problem, compute_sparsity(mesh))
    slack = csr(K.indptr, K.indices, allowed) @ magnitude + tolerance.load(mesh, problem)
    assert_solves(system, u - level, SolverOptions(rtol=rtol), magnitude, slack)
    velocity, speed = formula.velocity_and_speed(mesh, u)
    # a device computes the fields from its own u, which may differ from the u on the host in the last place
    allowed = 4 * tolerance.derived(mesh, magnitude)
    assert_close(solution.velocity, velocity, allowed[:, None], "velocity")
    assert_close(solution.speed, speed, allowed, "speed")


@check("orphan_nodes")
def check_orphan_nodes(target: Target) -> None:
    """At nodes that belong to no element, u is 0; they don't change the solution."""
    mesh = target.large_case().mesh
    solution = target.session.solve(mesh, solver="cg")
    assert len(mesh.orphan_nodes) == solution.report.mesh["orphan_nodes"]
    assert not solution.u[mesh.orphan_nodes].any(), "u isn't 0 at orphan nodes"


@check("input_unchanged")
def check_input_unchanged(target: Target) -> None:
    """The backend changes neither the mesh nor an array of the problem."""
    mesh = target.large_case().mesh
    rng = np.random.default_rng(0)
    given = {name: rng.uniform(1, 2, mesh.n_nodes) for name in ("gamma", "p", "outlet", "source")}
    given["conductivity"] = rng.uniform(1, 2, mesh.n_elements)
    arrays: dict[str, Any] = {**given, "x": mesh.x, "y": mesh.y, "quad8": mesh.quad8}
    for name, boundary in mesh.boundaries.items():
        arrays |= {f"the edges of {name}": boundary.edges, f"the nodes of {name}": boundary.nodes}
    before = {name: (array.copy(), array.flags.writeable) for name, array in arrays.items()}
    problem = Problem.potential_flow(mesh, **given)  # type: ignore[arg-type]
    names = list(mesh.boundaries)
    target.session.solve(mesh, problem, solver="cg")
    for name, array in arrays.items():
        assert np.array_equal(array, before[name][0]), f"{name} was changed"
        assert array.flags.writeable == before[name][1], (
            f"{name} was made {'' if array.flags.writeable else 'un'}writable"
        )
    assert list(mesh.boundaries) == names, "the boundaries of the mesh were changed"

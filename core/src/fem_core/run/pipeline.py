"""The pipeline: from a mesh to a solution, one stage after the other.

To see what happens in a run, read `solve` and `compute`. `Run.perform` runs one stage.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

from fem_core.assembly.system import PENALTY
from fem_core.errors import DeviceError, MeshError
from fem_core.io.files import ReadOptions, check_result, completed, read_problem, unvalidated
from fem_core.mesh.boundaries import corner_doubts, mesh_doubts, mesh_notes
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import APPLY_BC, ASSEMBLE_SYSTEM, COMPUTE_DERIVED, COMPUTE_SPARSITY, SOLVE_SYSTEM
from fem_core.problem import Problem, origin_notes
from fem_core.results import DerivedFields, Report, SolveResult, SolverOptions, StopReason, summarise
from fem_core.run.balance import balance_doubts
from fem_core.run.level import level_of, relative_to, shifts_on
from fem_core.run.runner import Opened, Run
from fem_core.solution import Solution
from fem_core.support.hardware import hardware, versions
from fem_core.support.kinds import shown
from fem_core.support.wording import count, verb
from fem_core.types import Floats


def solve(
    run: Run,
    opened: Opened,
    source: Mesh | str | Path | Future[Mesh],
    problem: Problem | None,
    options: SolverOptions,
    reading: ReadOptions,
    outputs: Iterable[str | Path],
) -> Solution:
    """Solve `problem` on a mesh. The default is the problem that is stored in the file, or the potential flow."""
    run.current = "write"
    for path in (outputs := [Path(path) for path in outputs]):
        check_result(path)  # now, not after the solve
    run.current, run.options = "load_mesh", options
    if options.method != "auto":
        run.chain.provider("solve_system", problem or Problem(), options)  # an unknown solver is refused at once
    mesh = load_mesh(run, source, reading)
    if problem is None and isinstance(source, str | Path):
        problem = read_problem(source)
    run.problem = problem.on(mesh) if problem else Problem.potential_flow(mesh)
    run.account.notes += origin_notes(run.problem)
    level = level_of(mesh, run.problem)
    solved = run.problem if level is None else relative_to(level, mesh, run.problem)
    while True:
        try:
            with run.attempt():
                result, derived = compute(run, mesh, solved, options)
            break
        except DeviceError as error:
            run.go_on_without(error)
    if result.converged:
        run.account.warnings += balance_doubts(mesh, solved, result.u)
    if level is not None:
        result = replace(result, u=result.u + level)

    def solution() -> Solution:
        found = report(run, opened, mesh, result, derived, level)
        return Solution(mesh, run.problem, result.u, derived.velocity, derived.speed, derived.pressure, found)

    if outputs:
        run.write(solution(), outputs)
    return solution()  # its report includes the time of writing


def load_mesh(run: Run, source: Mesh | str | Path | Future[Mesh], options: ReadOptions) -> Mesh:
    """The mesh, read from its file if necessary, validated, and with its boundaries."""
    with run.stage("load_mesh"):
        if isinstance(source, Future):
            run.remark("load_mesh ran in parallel with the opening of the backend")
            mesh = completed(source.result(), options)
        elif isinstance(source, Mesh | str | Path):
            mesh = completed(unvalidated(source, options), options)
        else:
            raise MeshError(f"mesh must be a fem_core.Mesh or the path of a file, not {shown(source)}")
    run.account.warnings += mesh.warnings
    run.account.notes += mesh_notes(mesh)
    run.observers.emit("fem_mesh_loaded", mesh=mesh)
    return mesh


def compute(run: Run, mesh: Mesh, problem: Problem, options: SolverOptions) -> tuple[SolveResult, DerivedFields]:
    """Compute the potential and the fields from the mesh; the results are on the host."""
    sparsity = run.perform(COMPUTE_SPARSITY, mesh)
    system = run.perform(ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=sparsity, disposable=True)
    del sparsity
    system = run.perform(APPLY_BC, mesh, problem=problem, system=system)
    run.account.warnings += doubts(mesh, problem)
    result = run.perform(SOLVE_SYSTEM, mesh, problem=problem, system=system, options=options)
    del system
    derived = run.perform(COMPUTE_DERIVED, mesh, problem=problem, result=result)
    derived = run.to_host(derived, COMPUTE_DERIVED, mesh)
    return run.to_host(result, SOLVE_SYSTEM, mesh), derived


def doubts(mesh: Mesh, problem: Problem) -> Iterator[str]:
    """Warnings: possible mistakes in the mesh and the problem, and reasons for inaccurate results."""
    yield from mesh_doubts(mesh, [condition.boundary for condition in problem.conditions])
    yield from corner_doubts(mesh)
    yield from problem.doubts_on(mesh)
    if n := len(mesh.orphan_nodes):
        yield f"{count(n, 'node', 'belong')} to no element and {verb(n, 'are')} fixed at 0"
    stiffest = 16 * float(problem.conductivity_on(mesh).max())
    if problem.dirichlet == "penalty" and stiffest > 1e-8 * PENALTY:
        yield (
            f"the penalty of {PENALTY:g} is small compared with a conductivity of {stiffest / 16:g}: "
            'fixed values are only approximate; use --dirichlet eliminate (dirichlet="eliminate")'
        )


def report(
    run: Run, opened: Opened, mesh: Mesh, result: SolveResult, derived: DerivedFields, level: Floats | None
) -> Report:
    """The report: what the run has done so far, and its results."""
    done = run.account
    return Report(
        backend=run.chain.name,
        providers=dict(done.providers),
        seconds={**opened.seconds, **done.seconds},
        mesh={"nodes": mesh.n_nodes, "elements": mesh.n_elements, "orphan_nodes": len(mesh.orphan_nodes)},
        solver={
            "method": result.method,
            "iterations": result.iterations,
            "converged": result.converged,
            "stop_reason": str(result.stop_reason),
            "relative_residual": result.relative_residual,
            "true_relative_residual": result.true_relative_residual,
        },
        conditions=run.problem.conditions_on(mesh),
        shifts=() if level is None else shifts_on(mesh, level),
        solution=summarise(result.u, mesh.used_nodes, derived),
        history=result.history,
        warnings=(*opened.warnings, *done.warnings, *_partial(result), *run.hooks.warnings),
        notes=(*opened.notes, *done.notes),
        host_copies=done.host_copies,
        versions=versions(opened.distributions),
        hardware=hardware(),
    )


_WAY_OUT = {
    StopReason.MAXITER: "increase maxiter or use another solver",
    StopReason.INDEFINITE: "check that every Robin p is >= 0",
    StopReason.NOT_FINITE: "check for extremely large coefficients or loads",
    StopReason.STAGNATION: "rounding errors prevent a smaller residual; increase rtol",
}


def _partial(result: SolveResult) -> list[str]:
    if result.converged:
        return []
    return [
        f"{result.method} did not converge: {result.stop_reason} after {count(result.iterations, 'iteration')}, "
        f"relative residual {result.relative_residual:.1e}; {_WAY_OUT[result.stop_reason]}"
    ]

"""The named checks of the solvers: the solution, and everything that a solver says of itself."""

import math
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from fem_core import generate
from fem_core.assembly.system import LinearSystem, csr
from fem_core.errors import FemError, SolveError
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.events import Event
from fem_core.plugins.stages import SOLVE_SYSTEM
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.run.session import Session
from fem_core.solution import Solution
from fem_core.solvers import Equilibrated
from fem_core.testing import tolerance
from fem_core.testing.checks import NotApplicable, check, check_on_cases
from fem_core.testing.compare import assert_close, assert_solves, full_system
from fem_core.testing.strategies import Case, many_elements
from fem_core.testing.target import Target, methods, performed

#: What a solver may hand over to, if a matrix isn't for it; the result then has this name.
_DIRECT = ("direct", "cholmod", "pardiso")


def solved(session: Session, case: Case, system: LinearSystem, options: SolverOptions) -> SolveResult:
    """The session's solution of a system, after it was checked that it is honest and that the system is as before."""
    before = system.matrix.data.copy(), system.rhs.copy(), np.copy(system.lift)  # type: ignore[arg-type]
    result = performed(session, SOLVE_SYSTEM, case.mesh, problem=case.problem, system=system, options=options)
    after = system.matrix.data, system.rhs, system.lift
    for name, old, new in zip(("matrix", "right-hand side", "lift"), before, after, strict=True):
        assert np.array_equal(old, np.asarray(new), equal_nan=True), f"{options.method} has changed the {name}"
    assert_honest(system, result, options)
    return result


def assert_honest(system: LinearSystem, result: SolveResult, options: SolverOptions) -> None:
    """Check what a result says of itself: types, limits, and the residuals, which are computed here from u."""
    what = options.method
    assert result.method in (what, *_DIRECT), f"{what} calls itself {result.method!r}"
    assert isinstance(result.stop_reason, StopReason), f"{what}: the stop reason is {result.stop_reason!r}"
    steps = result.iterations
    assert _is_whole(steps), f"{what}: iterations is {steps!r}"
    assert 0 <= steps <= options.maxiter, f"{what}: {steps} iterations with maxiter={options.maxiter}"
    numbers = [at for at, _ in result.history]
    rising = numbers == sorted(set(numbers))
    assert rising and all(0 < at <= steps for at in numbers), f"{what}: the history has the iterations {numbers}"
    assert all(math.isfinite(value) and value >= 0 for _, value in result.history), f"{what}: {result.history}"
    found = actual_residuals(system, result.u)
    for name, (actual, rounding) in found.items():
        said = getattr(result, name)
        assert _is_finite(said), f"{what}: {name} is {said!r}"
        assert abs(said - actual) <= 0.01 * actual + rounding, f"{what}: {name} {said:.2e} is {actual:.2e}"
    if result.converged:
        actual, rounding = found["relative_residual"]
        norm = float(np.linalg.norm(Equilibrated.of(system).d * system.rhs))
        goal = 2 * max(options.rtol, options.atol / norm if norm else 0.0)
        assert actual <= goal + rounding, f"{what} says that it converged, with a relative residual of {actual:.1e}"


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


def actual_residuals(system: LinearSystem, u: Any) -> dict[str, tuple[float, float]]:
    """The relative residuals of u and their rounding errors, by their names in a result."""
    assert system.lift is not None
    scaled = Equilibrated.of(system)
    w, magnitude = u - system.lift, np.abs(u) + np.abs(system.lift)
    free = np.ones(len(u), dtype=bool)
    free[system.fixed] = False
    residual, terms = system.rhs - system.matrix @ w, np.abs(system.rhs) + abs(system.matrix) @ magnitude
    found = {}
    for name, weight, norm in (
        ("relative_residual", scaled.d, np.linalg.norm(scaled.d * system.rhs)),
        ("true_relative_residual", free, np.linalg.norm(system.rhs)),
    ):
        size = float(norm) or 1.0
        rounding = 8 * tolerance.EPS * float(np.linalg.norm(weight * terms)) / size
        found[name] = float(np.linalg.norm(weight * residual)) / size, rounding
    return found


def iterative(target: Target) -> list[str]:
    """The backend's own methods that take iterations."""
    mesh = generate.duct(nx=12, ny=4)
    own = [options.method for options in methods(target.session)]
    found = [method for method in own if target.session.solve(mesh, solver=method, rtol=1e-10).report.iterations]
    if not found:
        raise NotApplicable("the backend has no iterative solver of its own")
    return found


@check_on_cases("solution", "solve_system")
def check_solution(target: Target, case: Case) -> None:
    """The residual of u, computed here, is within the solver's tolerance, and u is as accurate as possible."""
    system = full_system(case)
    for options in methods(target.session):
        result = solved(target.session, case, system, options)
        if not result.converged:  # with the most extreme coefficients the reference doesn't, either
            theirs = performed(
                target.baseline, SOLVE_SYSTEM, case.mesh, problem=case.problem, system=system,
                options=replace(options, method="cg"),
            )  # fmt: skip
            assert not theirs.converged, f"{options.method} did not converge: {result.stop_reason}"
            continue
        assert_solves(system, result.u, options)
        assert not result.u[case.mesh.orphan_nodes].any(), "u isn't 0 at orphan nodes"


@check("iterations", "solve_system")
def check_iterations(target: Target) -> None:
    """The solver `cg` takes as many iterations as the core's, within max(1, 0.5 %); others fewer on coarser meshes."""
    # Meshes on which rounding errors don't change the count: on a straight duct, a difference in the last digit changes
    # the reference's own count, and two backends that are each one off differ by two.
    n = 3 * target.most(500)
    for mesh in (generate.venturi(nodes=n), generate.annulus(nodes=n), generate.y_tube(nodes=2 * n)):
        theirs = target.baseline.solve(mesh, solver="cg").report
        for method in iterative(target):
            mine = target.session.solve(mesh, solver=method).report
            allowed = max(1, 0.005 * theirs.iterations) if method == "cg" else theirs.iterations
            assert abs(mine.iterations - theirs.iterations) <= allowed, (
                f"{method}: {mine.iterations} iterations on {mesh} where the reference takes {theirs.iterations}"
            )
            said = mine.solver["relative_residual"]
            assert said <= 2e-8, f"{method}: residual {said:.1e} reported"


@check("stop_reasons", "solve_system")
def check_stop_reasons(target: Target) -> None:
    """The solvers obey maxiter, atol and rtol, and report convergence only if they have converged."""
    mesh = generate.duct(nx=12, ny=4)
    case = Case(mesh, Problem.potential_flow(mesh))
    system = full_system(case)
    norm = float(np.linalg.norm(Equilibrated.of(system).d * system.rhs))
    for method in iterative(target):
        whole = solved(target.session, case, system, SolverOptions(method))
        assert whole.converged, f"{method} did not converge: {whole.stop_reason}"
        n = whole.iterations
        for most in sorted({0, 1, 3, n // 2, n - 3, n - 2, n - 1, n}):
            if 0 <= most <= n:
                _assert_stopped(target, case, system, SolverOptions(method, maxiter=most), whole)
        still, lift = replace(system, rhs=np.zeros_like(system.rhs)), np.asarray(system.lift)
        nothing = solved(target.session, case, still, SolverOptions(method))
        assert nothing.converged and nothing.iterations == 0 and np.array_equal(nothing.u, lift), (
            f"{method} iterates on b = 0"
        )
        for looser in (SolverOptions(method, rtol=1e-12, atol=1e-3 * norm), SolverOptions(method, rtol=1e-3)):
            mine = solved(target.session, case, system, looser)
            assert mine.converged and mine.iterations < n, (
                f"{method} takes {mine.iterations} iterations for rtol={looser.rtol:g}, atol={looser.atol:g} and {n} "
                "for rtol=1e-8"
            )
            if method == "cg":
                wanted = _theirs(target, case, system, looser).iterations
                assert abs(mine.iterations - wanted) <= 1, (
                    f"{mine.iterations} iterations for {looser} where the reference takes {wanted}"
                )
        hopeless = solved(target.session, case, system, SolverOptions(method, rtol=1e-30, maxiter=2000))
        assert not hopeless.converged, f"{method}: a relative residual of 1e-30 can't be reached, but is said to be"
        actual, _ = actual_residuals(system, hopeless.u)["relative_residual"]
        assert hopeless.relative_residual >= 0.01 * actual, (
            f"{method}: the residual of {hopeless.relative_residual:.1e} is the recurrence's; that of u is {actual:.1e}"
        )
        _check_bad_systems(target, case, system, method)


def _assert_stopped(
    target: Target, case: Case, system: LinearSystem, options: SolverOptions, whole: SolveResult
) -> None:
    """Check a solve that may be cut short by maxiter."""
    method, most = options.method, options.maxiter
    found = solved(target.session, case, system, options)
    if most == whole.iterations:
        assert found.converged, f"{method} with maxiter={most} did not converge, but needs no more iterations"
        return
    if found.converged:
        actual, _ = actual_residuals(system, found.u)["relative_residual"]
        assert method != "cg" and actual < options.rtol, f"{method} says that it converged with maxiter={most}"
        return
    assert found.stop_reason is StopReason.MAXITER, f"{method} with maxiter={most}: stop reason {found.stop_reason!r}"
    assert found.iterations == most or method != "cg", f"maxiter={most} was not obeyed: {found.iterations} iterations"
    if method == "cg" and most <= 3:
        theirs = _theirs(target, case, system, options)
        assert_close(found.u, theirs.u, 1e-9 * np.abs(theirs.u).max(), f"u after {most} iterations")


def _check_bad_systems(target: Target, case: Case, system: LinearSystem, method: str) -> None:
    """A system that can't be solved is refused, or the result says why it isn't one."""
    K = system.matrix
    rows = np.repeat(np.arange(K.shape[0]), np.diff(K.indptr))
    indefinite = csr(K.indptr, K.indices, np.where(rows == K.indices, K.data, 3 * K.data))
    options = SolverOptions(method, maxiter=200)
    try:
        found = solved(target.session, case, replace(system, matrix=indefinite), options)
        if method == "cg":  # others may have solved it, which `solved` has checked
            wanted = _theirs(target, case, replace(system, matrix=indefinite), options).stop_reason
            assert found.stop_reason is wanted, f"stop reason {found.stop_reason!r} where the reference has {wanted!r}"
    except FemError:
        assert method != "cg", "cg refuses a matrix that isn't positive definite instead of reporting it"
    free = int(np.setdiff1d(np.arange(len(system.rhs)), system.fixed)[len(system.rhs) // 3])
    infinite = system.rhs.copy()
    infinite[free] = np.inf
    values = {"problem": case.problem, "options": options}
    try:
        found = performed(target.session, SOLVE_SYSTEM, case.mesh, system=replace(system, rhs=infinite), **values)
        assert not found.converged, f"{method} says that it solved a system with an infinite right-hand side"
        assert method != "cg" or found.stop_reason is StopReason.NOT_FINITE, (
            f"infinite right-hand side: stop reason {found.stop_reason!r}"
        )
    except FemError:
        assert method != "cg", "cg refuses an infinite right-hand side instead of reporting it"
    negative = csr(K.indptr, K.indices, np.where((rows == K.indices) & (rows == free), -K.data, K.data))
    try:
        performed(target.session, SOLVE_SYSTEM, case.mesh, system=replace(system, matrix=negative), **values)
    except SolveError as error:
        assert str(free) in str(error), f"{method}: the error doesn't name node {free}, whose diagonal is bad: {error}"
    else:
        raise AssertionError(f"{method} takes a matrix with a negative entry on its diagonal")


def _theirs(target: Target, case: Case, system: LinearSystem, options: SolverOptions) -> SolveResult:
    values: dict[str, Any] = {"problem": case.problem, "system": system, "options": options}
    return performed(target.baseline, SOLVE_SYSTEM, case.mesh, **values)


@check("residuals", "solve_system")
def check_residuals(target: Target) -> None:
    """The residuals in the report belong to u; the history has the true residuals at the monitor's iterations."""
    mesh = generate.duct(nx=24, ny=8)
    problem = Problem.potential_flow(mesh)
    case = Case(mesh, problem)
    system = full_system(case)
    heard: list[Event] = []
    for method in [options.method for options in methods(target.session)]:
        solution = target.session.solve(mesh, problem, solver=method, monitor=7, on_event=heard.append)
        report = solution.report.solver
        assert report["method"] == method, f"{method} calls itself {report['method']!r}"
        for name, (actual, rounding) in actual_residuals(system, solution.u).items():
            assert abs(report[name] - actual) <= 0.01 * actual + rounding, f"{name} {report[name]:.2e} is {actual:.2e}"
        history = solution.report.history
        if method == "cg":
            steps = [iteration for iteration, _ in history]
            wanted = [*range(7, report["iterations"], 7), report["iterations"]]
            assert steps == wanted, f"the history has the iterations {steps} instead of {wanted}"
        whole = solved(target.session, case, system, SolverOptions(method, monitor=7)).history
        for at, said in whole[:: max(1, len(whole) // 3)]:
            stopped = solved(target.session, case, system, SolverOptions(method, maxiter=at, monitor=7))
            if stopped.iterations == at:
                actual, rounding = actual_residuals(system, stopped.u)["relative_residual"]
                assert abs(said - actual) <= 0.01 * actual + rounding, (
                    f"{method}: the history says {said:.3e} after {at} iterations; the residual of u is {actual:.3e}"
                )
    for event in heard:
        if event.name == "fem:solveProgress":
            residual, etr = event.data["residual"], event.data["etr"]
            assert 0 < residual < 1e3, f"a residual of {residual} was reported on the way"
            assert etr is None or etr >= 0, f"a remaining time of {etr} s was reported"


@check("many_unknowns", "solve_system")
def check_many_unknowns(target: Target) -> None:
    """On large meshes, u and its residuals after some iterations are right in every part of the vectors."""
    case = many_elements(target.most(23_000))
    system = full_system(case)
    for method in iterative(target):
        options = SolverOptions(method, maxiter=20, monitor=6)
        found = solved(target.session, case, system, options)
        if method == "cg":
            theirs = _theirs(target, case, system, options)
            assert found.iterations == theirs.iterations == 20
            assert_close(found.u, theirs.u, 1e-9 * np.abs(theirs.u).max(), "u after 20 iterations")
            for (at, mine), (_, reference) in zip(found.history, theirs.history, strict=True):
                assert abs(mine - reference) <= 1e-6 * reference, f"residual {mine:.3e} at iteration {at}"


@check("solver_options", "solve_system")
def check_solver_options(target: Target) -> None:
    """A solver refuses options that it doesn't have, and its own methods solve with the tolerance that is asked for."""
    mesh = generate.annulus(nodes=3 * target.most(300))
    for method in [options.method for options in methods(target.session)]:
        try:
            target.session.solve(mesh, solver=method, solver_options={"no_such_option": 1})
        except FemError as error:
            assert "no_such_option" in str(error), f"{method}: the error doesn't name the unknown option: {error}"
        else:
            raise AssertionError(f"{method} takes an option that it doesn't have")
        for rtol in (1e-4, 1e-11):
            _assert_solution_of(target, mesh, method, rtol)


def _assert_solution_of(target: Target, mesh: Mesh, method: str, rtol: float) -> None:
    problem = Problem.potential_flow(mesh, p=0.1)
    solution: Solution = target.session.solve(mesh, problem, solver=method, rtol=rtol)
    assert solution.report.converged, f"{method} did not converge to {rtol:g}: {solution.report.solver['stop_reason']}"
    assert_solves(full_system(Case(mesh, problem)), solution.u, SolverOptions(rtol=rtol))

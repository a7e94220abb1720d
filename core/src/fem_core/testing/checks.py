"""The named checks that a backend has to pass; each compares it with the baseline or checks a rule of the contract."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from fem_core import generate
from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem, apply_conditions
from fem_core.backends.baseline import Baseline
from fem_core.plugins.events import Event
from fem_core.plugins.stages import APPLY_BC, SOLVE_SYSTEM
from fem_core.problem import Problem
from fem_core.results import SolverOptions, StopReason
from fem_core.run.api import assemble_system
from fem_core.run.opening import open_backend
from fem_core.run.session import Session
from fem_core.solution import Solution
from fem_core.solvers import Equilibrated
from fem_core.testing import tolerance
from fem_core.testing.strategies import Case, cases, many_elements
from fem_core.testing.target import Target, derived, methods, performed, sparsity
from fem_core.tools.bench import assembled
from fem_core.types import Array, Floats, Stage

Run: TypeAlias = Callable[[Target], None]
RunOnCase: TypeAlias = Callable[[Target, Case], None]


class NotApplicable(Exception):
    """Raised by a check that doesn't apply to this backend; the text gives the reason."""


@dataclass(frozen=True)
class Check:
    """A named check.

    Parameters
    ----------
    name, summary : str
    run : function of a Target
        Raises AssertionError with the difference.
    stage : str or None
        The check is skipped for backends that don't provide this stage.
    deterministic : bool
        Whether the outcome is always the same; an expected failure must then fail.
    """

    name: str
    run: Run
    stage: Stage | None = None
    deterministic: bool = True

    @property
    def summary(self) -> str:
        return (self.run.__doc__ or "").strip().splitlines()[0]


CHECKS: dict[str, Check] = {}


def check(name: str, stage: Stage | None = None, deterministic: bool = True) -> Callable[[Run], Run]:
    """Add a function to the kit under `name`."""

    def add(run: Run) -> Run:
        CHECKS[name] = Check(name, run, stage, deterministic)
        return run

    return add


def check_on_cases(name: str, stage: Stage | None = None) -> Callable[[RunOnCase], Run]:
    """Add a function to the kit that is called with drawn cases, and with a large one."""

    def add(run: RunOnCase) -> Run:
        def run_all(target: Target) -> None:
            target.for_all(cases(), partial(run, target))
            run(target, target.large_case())

        run_all.__doc__ = run.__doc__
        return check(name, stage)(run_all)

    return add


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


# the results of each stage


@check_on_cases("sparsity", "compute_sparsity")
def check_sparsity(target: Target, case: Case) -> None:
    """The pattern and the slots equal the core's, also the diagonal entries of orphan nodes."""
    mine, theirs = sparsity(target.session, case.mesh), sparsity(target.baseline, case.mesh)
    for name in ("indptr", "indices", "slots"):
        found, wanted = getattr(mine, name), getattr(theirs, name)
        assert np.array_equal(found, wanted), f"{name} differs from the core's on {case.mesh}"


@check_on_cases("matrix", "assemble_system")
def check_matrix(target: Target, case: Case) -> None:
    """Each entry of K equals the baseline's; the tolerance is relative to the sum of absolute contributions."""
    mine = assembled(target.session, case.mesh, case.problem)
    theirs = assembled(target.baseline, case.mesh, case.problem)
    _assert_same_matrix(mine, theirs, case, sparsity(target.baseline, case.mesh))


@check_on_cases("load", "assemble_system")
def check_load(target: Target, case: Case) -> None:
    """f equals the baseline's, for sources of every kind."""
    mine = assembled(target.session, case.mesh, case.problem)
    theirs = assembled(target.baseline, case.mesh, case.problem)
    assert_close(mine.rhs, theirs.rhs, tolerance.load(case.mesh, case.problem), "load vector")


@check("geometry", "assemble_system")
def check_geometry(target: Target) -> None:
    """The backend applies the formula also for negative det J: no term is skipped, dropped or made positive."""
    mesh = generate.duct(nx=3, ny=2)
    x, y = mesh.x.copy(), mesh.y.copy()
    middle = mesh.quad8[2, 5]
    x[middle] -= 0.9 * (x[mesh.quad8[2, 1]] - x[mesh.quad8[2, 0]])  # folds element 2 at some Gauss points
    folded = replace(mesh, x=x, y=y)
    clockwise = replace(mesh, quad8=np.concatenate([mesh.quad8[:-1], mesh.quad8[-1:, [0, 3, 2, 1, 7, 6, 5, 4]]]))
    for bad in (folded.mark_valid(), clockwise.mark_valid()):  # so that the stages don't refuse them
        problem, pattern = Problem(), sparsity(target.baseline, bad)
        arguments: dict[str, Any] = {"mesh": bad, "problem": problem, "sparsity": pattern}
        stages = target.session.stages()
        provider, _ = target.session.chain.provider("assemble_system", problem, SolverOptions())
        system = stages.hooks.call("fem_assemble", provider, progress=stages.progress, **arguments).to_host()
        wanted = Baseline().fem_assemble(progress=stages.progress, **arguments)
        allowed = tolerance.stiffness(bad, problem, pattern)
        assert_close(system.matrix.data, wanted.matrix.data, allowed, "CSR values of K for det J < 0")


@check_on_cases("boundary_conditions", "apply_bc")
def check_boundary_conditions(target: Target, case: Case) -> None:
    """Robin terms, lifted Dirichlet values, penalty, elimination and orphan nodes: each entry equals the core's."""
    _compare_conditions(target, case)


@check("large_dirichlet_values", "apply_bc")
def check_large_dirichlet_values(target: Target) -> None:
    """Dirichlet values of 100 and more are lifted, not multiplied by the penalty."""
    mesh = generate.duct(nx=4, ny=2)
    for treatment in ("penalty", "eliminate"):
        for value in (100.0, -1e5):
            problem = Problem.potential_flow(mesh, outlet=value, dirichlet=treatment)
            _compare_conditions(target, Case(mesh, problem))


def _compare_conditions(target: Target, case: Case) -> None:
    mesh, problem = case.mesh, case.problem
    before = assembled(target.baseline, mesh, problem)
    mine = performed(target.session, APPLY_BC, mesh, problem=problem, system=before)
    theirs = apply_conditions(before, mesh, problem)
    assert np.array_equal(mine.fixed, theirs.fixed), "the fixed nodes differ from the core's"
    assert mine.lift is not None and theirs.lift is not None, "the lift is missing"
    assert_close(mine.lift, theirs.lift, 0.0, "lift")
    _assert_same_pattern(mine.matrix, theirs.matrix)
    loads, stiffest = tolerance.robin(mesh, problem)
    # a value that is added to the penalty loses digits
    magnitude = np.abs(theirs.matrix.data) + np.abs(before.matrix.data) + stiffest
    assert_close(mine.matrix.data, theirs.matrix.data, tolerance.C * tolerance.EPS * magnitude, "CSR values")
    K = before.matrix.copy()
    K.data = np.abs(K.data) + stiffest
    allowed = tolerance.C * tolerance.EPS * (np.abs(before.rhs) + loads + K @ np.abs(theirs.lift))
    assert_close(mine.rhs, theirs.rhs, allowed, "right-hand side")


@check_on_cases("solution", "solve_system")
def check_solution(target: Target, case: Case) -> None:
    """The residual of u, computed here, is within the solver's tolerance, and u is as accurate as possible."""
    system = _system(case)
    for options in methods(target.session):
        values = {"problem": case.problem, "system": system, "options": options}
        result = performed(target.session, SOLVE_SYSTEM, case.mesh, **values)
        assert result.converged, f"{options.method} did not converge: {result.stop_reason}"
        _assert_solves(system, result.u, options)


def _system(case: Case) -> LinearSystem:
    return apply_conditions(assemble_system(case.mesh, case.problem), case.mesh, case.problem)


def _assert_solves(system: LinearSystem, u: Floats, options: SolverOptions) -> None:
    assert system.lift is not None
    scaled = Equilibrated.of(system)
    b, x = scaled.d * system.rhs, (u - system.lift) / scaled.d
    norm = float(np.linalg.norm(b))
    residual = float(np.linalg.norm(b - scaled.A @ x))
    # u = ĝ + w loses the last digits of w where ĝ is large
    rounding = 8 * tolerance.EPS * float(np.linalg.norm(abs(scaled.A) @ ((np.abs(u) + np.abs(system.lift)) / scaled.d)))
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


@check("iterations", "solve_system")
def check_iterations(target: Target) -> None:
    """The solver `cg` takes as many iterations as the core's, within max(1, 0.5 %)."""
    _needs_cg(target)
    # Meshes on which rounding errors don't change the count: on a straight duct, a difference in the last digit changes
    # the reference's own count, and two backends that are each one off differ by two.
    n = 3 * target.most(500)
    for mesh in (generate.venturi(nodes=n), generate.annulus(nodes=n), generate.y_tube(nodes=2 * n)):
        mine = target.session.solve(mesh, solver="cg").report
        theirs = target.baseline.solve(mesh, solver="cg").report
        allowed = max(1, 0.005 * theirs.iterations)
        assert abs(mine.iterations - theirs.iterations) <= allowed, (
            f"{mine.iterations} iterations on {mesh} where the reference takes {theirs.iterations}"
        )
        assert mine.solver["relative_residual"] <= 2e-8, f"residual {mine.solver['relative_residual']:.1e} reported"


@check("stop_reasons", "solve_system")
def check_stop_reasons(target: Target) -> None:
    """The solver obeys maxiter, atol and rtol, and reports convergence only if it has converged."""
    _needs_cg(target)
    mesh = generate.duct(nx=12, ny=4)

    def solve(session: Session, **options: Any) -> Solution:
        return session.solve(mesh, solver="cg", **options)

    stopped, theirs = solve(target.session, maxiter=3), solve(target.baseline, maxiter=3)
    report = stopped.report
    assert not report.converged and report.iterations == 3, "maxiter=3 was not obeyed or not reported"
    assert report.solver["stop_reason"] == StopReason.MAXITER, f"stop reason {report.solver['stop_reason']!r}"
    assert_close(stopped.u, theirs.u, 1e-9 * np.abs(theirs.u).max(), "u after three iterations")

    still = target.session.solve(mesh, Problem.potential_flow(mesh, gamma=0.0), solver="cg")
    assert still.report.converged and still.report.iterations == 0 and not still.u.any(), "b = 0 was iterated on"

    system = _system(Case(mesh, Problem.potential_flow(mesh)))
    atol = 1e-3 * float(np.linalg.norm(Equilibrated.of(system).d * system.rhs))
    for tolerances in ({"rtol": 1e-12, "atol": atol}, {"rtol": 1e-3}):
        mine, wanted = solve(target.session, **tolerances).report, solve(target.baseline, **tolerances).report
        assert abs(mine.iterations - wanted.iterations) <= 1, (
            f"{mine.iterations} iterations for {tolerances} where the reference takes {wanted.iterations}"
        )
    hopeless = solve(target.session, rtol=1e-30, maxiter=2000).report
    assert not hopeless.converged, "a relative residual of 1e-30 can't be reached, but is said to be"


@check("residuals", "solve_system")
def check_residuals(target: Target) -> None:
    """The residuals in the report belong to u; the history has the true residuals at the monitor's iterations."""
    mesh = generate.duct(nx=24, ny=8)
    problem = Problem.potential_flow(mesh)
    system = _system(Case(mesh, problem))
    scaled = Equilibrated.of(system)
    b = scaled.d * system.rhs
    heard: list[Event] = []
    for method in [options.method for options in methods(target.session)]:
        solution = target.session.solve(mesh, problem, solver=method, monitor=7, on_event=heard.append)
        assert system.lift is not None
        w = solution.u - system.lift
        unscaled = system.rhs - system.matrix @ w
        unscaled[system.fixed] = 0
        report = solution.report.solver
        assert report["method"] == method, f"{method} calls itself {report['method']!r}"
        for name, found, norm in (
            ("relative_residual", b - scaled.A @ (w / scaled.d), np.linalg.norm(b)),
            ("true_relative_residual", unscaled, np.linalg.norm(system.rhs)),
        ):
            actual, rounding = float(np.linalg.norm(found) / norm), 1e4 * tolerance.EPS
            assert abs(report[name] - actual) <= 0.01 * actual + rounding, f"{name} {report[name]:.2e} is {actual:.2e}"
        if method == "cg":
            steps = [iteration for iteration, _ in solution.report.history]
            wanted = [*range(7, report["iterations"], 7), report["iterations"]]
            assert steps == wanted, f"the history has the iterations {steps} instead of {wanted}"
            theirs = target.baseline.solve(mesh, problem, solver="cg", monitor=7).report.history
            for (iteration, mine), (_, reference) in list(zip(solution.report.history, theirs, strict=False))[:5]:
                assert abs(mine - reference) <= 1e-3 * reference, f"residual {mine:.3e} at iteration {iteration}"
    for event in heard:
        if event.name == "fem:solveProgress":
            residual, etr = event.data["residual"], event.data["etr"]
            assert 0 < residual < 1e3, f"a residual of {residual} was reported on the way"
            assert etr is None or etr >= 0, f"a remaining time of {etr} s was reported"


def _needs_cg(target: Target) -> None:
    if not any("cg" in info.solver_methods for info, _ in target.session.backends):
        raise NotApplicable("the backend has no cg of its own")


@check_on_cases("derived", "compute_derived")
def check_derived(target: Target, case: Case) -> None:
    """Velocity, speed (the mean of the magnitudes) and pressure equal the baseline's, for any potential."""
    _compare_derived(target.session, target.baseline, case)


def _compare_derived(session: Session, reference: Session, case: Case) -> None:
    u = np.random.default_rng(0).normal(size=case.mesh.n_nodes)
    mine, theirs = (derived(one, case.mesh, case.problem, u) for one in (session, reference))
    allowed = tolerance.derived(case.mesh, u)
    assert_close(mine.velocity, theirs.velocity, allowed[:, None], "velocity")
    assert_close(mine.speed, theirs.speed, allowed, "speed")
    fluid = case.problem.fluid
    rounding = tolerance.C * tolerance.EPS * (abs(fluid.p0) + fluid.rho * theirs.speed**2)
    assert_close(mine.pressure, theirs.pressure, rounding + 2 * fluid.rho * theirs.speed * allowed, "pressure")


def _assert_same_pattern(mine: Any, theirs: Any) -> None:
    assert np.array_equal(mine.indptr, theirs.indptr) and np.array_equal(mine.indices, theirs.indices), (
        "the pattern of the matrix differs from the baseline's"
    )


def _assert_same_matrix(mine: LinearSystem, theirs: LinearSystem, case: Case, pattern: Sparsity) -> None:
    _assert_same_pattern(mine.matrix, theirs.matrix)
    allowed = tolerance.stiffness(case.mesh, case.problem, pattern)
    assert_close(mine.matrix.data, theirs.matrix.data, allowed, "CSR values of K")


# the complete run


@check_on_cases("pipeline")
def check_pipeline(target: Target, case: Case) -> None:
    """In a complete run, u solves the baseline's system, and the fields belong to u."""
    solution = target.session.solve(case.mesh, case.problem, solver="cg", rtol=1e-10)
    assert solution.report.converged, f"not converged: {solution.report.solver['stop_reason']}"
    _assert_solution(target, solution, rtol=1.1e-10)


def _assert_solution(target: Target, solution: Solution, rtol: float) -> None:
    """Check that u solves the baseline's system, and that the speed belongs to u."""
    mesh, problem, u = solution.mesh, solution.problem, solution.u
    system = apply_conditions(assembled(target.baseline, mesh, problem), mesh, problem)
    _assert_solves(system, u, SolverOptions(rtol=rtol))
    speed = derived(target.baseline, mesh, problem, u).speed
    # a device computes the speed from its own u, which may differ from the u on the host in the last place
    assert_close(solution.speed, speed, 4 * tolerance.derived(mesh, u), "speed")


@check("orphan_nodes")
def check_orphan_nodes(target: Target) -> None:
    """At nodes that belong to no element, u is 0; they don't change the solution."""
    mesh = target.large_case().mesh
    solution = target.session.solve(mesh, solver="cg")
    assert len(mesh.orphan_nodes) == solution.report.mesh["orphan_nodes"]
    assert not solution.u[mesh.orphan_nodes].any(), "u isn't 0 at orphan nodes"


@check("many_elements")
def check_many_elements(target: Target) -> None:
    """On 23,000 elements, matrix, load and fields equal those of `numpy`: no batch or block is lost or misplaced."""
    case = many_elements(target.most(23_000))
    with open_backend("numpy") as session:
        theirs = assembled(session, case.mesh, case.problem)
        mine = assembled(target.session, case.mesh, case.problem)
        _assert_same_matrix(mine, theirs, case, sparsity(session, case.mesh))
        assert_close(mine.rhs, theirs.rhs, tolerance.load(case.mesh, case.problem), "load vector")
        _compare_derived(target.session, session, case)


@check("reuse")
def check_reuse(target: Target) -> None:
    """Runs with other data, with another geometry and with the first again: no old data are used, no result changes."""
    first = generate.duct(nx=5, ny=3)
    wider = replace(first, x=2 * first.x)
    earlier: list[tuple[Solution, Floats, Floats]] = []
    for mesh, k, γ, s in (
        (first, 1.0, 2.5, 0.0),
        (first, 3.0, 2.5, 0.0),
        (first, 3.0, 2.5, 0.7),
        (first, 3.0, 1.0, 0.7),
        (wider, 3.0, 1.0, 0.7),
        (first, 1.0, 2.5, 0.0),
    ):
        problem = Problem.potential_flow(mesh, gamma=γ, conductivity=k, source=s)
        solution = target.session.solve(mesh, problem, solver="cg", rtol=1e-11)
        _assert_solution(target, solution, rtol=1.1e-11)
        earlier.append((solution, solution.u.copy(), solution.velocity.copy()))
    for solution, u, velocity in earlier:
        kept = np.array_equal(solution.u, u) and np.array_equal(solution.velocity, velocity)
        assert kept, "a solution was overwritten by a later run"


@check("determinism", "assemble_system", deterministic=False)
def check_determinism(target: Target) -> None:
    """Matrix and right-hand side are bitwise equal in a second run or session, for any batch size or workers."""
    case = target.large_case()
    accepted = {option.name for info, _ in target.session.backends for option in info.options}
    variants: list[dict[str, Any]] = [{}, {}]
    variants += [{"batch_size": size} for size in (1, 100, 10_000) if "batch_size" in accepted]
    variants += [{"workers": n} for n in (1, 2, 3) if "workers" in accepted]
    wanted = assembled(target.session, case.mesh, case.problem)
    for variant in variants:
        with target.open(**variant) as session:
            for _ in range(2):
                found = assembled(session, case.mesh, case.problem)
                by = variant or "time"
                assert np.array_equal(found.matrix.data, wanted.matrix.data), f"the matrix changes with {by}"
                assert np.array_equal(found.rhs, wanted.rhs), f"the right-hand side changes with {by}"

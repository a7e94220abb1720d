"""Solving in one call, and each stage by itself."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, Unpack

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.errors import OptionError, ProblemError
from fem_core.mesh.boundaries import with_boundaries
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import BackendInfo
from fem_core.plugins.stages import (
    APPLY_BC,
    ASSEMBLE_SYSTEM,
    COMPUTE_DERIVED,
    COMPUTE_SPARSITY,
    SOLVE_SYSTEM,
    ComputeStage,
)
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult
from fem_core.run.opening import open_backend
from fem_core.run.runner import Run, tell_failure
from fem_core.run.session import MethodOptions, RunOptions, Session, solver_options
from fem_core.solution import Solution
from fem_core.support.kinds import require

R = TypeVar("R")

#: A name, the information of a backend that isn't installed, or an open session.
AnyBackend: TypeAlias = str | BackendInfo | Session


@contextmanager
def _session(backend: AnyBackend) -> Iterator[Session]:
    """`backend` itself if it is a session; otherwise a session that is closed after the call."""
    if isinstance(backend, Session):
        with backend.exclusive():
            yield backend
    else:
        with open_backend(backend) as session:
            yield session


def _require_options(fallback: bool, options: Mapping[str, Any] | None) -> None:
    require(fallback, bool, "fallback must be True or False")
    require(options, Mapping | None, "backend_options must be a mapping of names to values")


def solve(
    mesh: Mesh | str | Path,
    problem: Problem | None = None,
    *,
    backend: AnyBackend = "auto",
    fallback: bool = False,
    backend_options: Mapping[str, Any] | None = None,
    **options: Unpack[RunOptions],
) -> Solution:
    """Solve a problem on a mesh.

    Parameters
    ----------
    mesh : Mesh or path
    problem : Problem, optional
        By default the problem that is stored in the file, if it is a result; otherwise `Problem.potential_flow`: γ =
        `INFLOW` at `inlet`, u = 0 at `outlet`.
    backend : str, BackendInfo or Session
        A name, a chain `"mp-shm,numba"`, `"auto"`, or what `open_backend` returned.
    fallback : bool
        If a backend declines a stage, continue without it and report a warning.
    backend_options : mapping
        Options of the backends.
    **options
        `solver`, `rtol`, `atol`, `maxiter`, `monitor`, `solver_options`, `observers`, `on_event`,
        `cancel`, `boundary_tolerance`, `by_position`, `scale`, `slits`, `outputs`: see `RunOptions`.

    Returns
    -------
    Solution
        Also if the solver did not converge; check `solution.report.converged`.

    Raises
    ------
    MeshError, ProblemError, BackendError, SolveError, Cancelled
        Each message is one line: what is wrong, where, and what to do.

    Examples
    --------
    >>> import fem_core as fem
    >>> mesh = fem.generate.duct(length=3, nx=6, ny=2)
    >>> solution = fem.solve(mesh, backend="numpy")
    >>> float(round(solution.u.max(), 6)), float(round(solution.speed.max(), 6))  # γ L and γ
    (7.5, 2.5)
    """
    _require_options(fallback, backend_options)
    if isinstance(backend, Session):
        if fallback or backend_options:
            raise OptionError(
                "fallback and backend_options can't be given with an open session; pass them to open_backend"
            )
        return backend.solve(mesh, problem, **options)
    try:
        opened = open_backend(backend, fallback=fallback, **(backend_options or {}))
    except BaseException as error:
        tell_failure(error, "open_backend", options.get("observers", ()), options.get("on_event"))
        raise
    with opened:
        return opened.solve(mesh, problem, **options)


def compute_sparsity(mesh: Mesh, *, backend: AnyBackend = "numpy") -> Sparsity:
    """The sparsity pattern of the matrix, and the positions of each element's entries in it.

    >>> import fem_core as fem
    >>> pattern = fem.compute_sparsity(fem.generate.duct(nx=2, ny=1))
    >>> pattern.n_nodes, pattern.nnz, pattern.slots.shape
    (13, 119, (2, 8, 8))
    """
    mesh = with_boundaries(mesh)
    with _session(backend) as session:
        return _perform(session.stages(), COMPUTE_SPARSITY, mesh, backend)


def assemble_system(
    mesh: Mesh,
    problem: Problem | None = None,
    sparsity: Sparsity | None = None,
    *,
    backend: AnyBackend = "numpy",
) -> LinearSystem:
    """K and f before the boundary conditions are applied; `sparsity` is computed if it isn't given.

    >>> import fem_core as fem
    >>> system = fem.assemble_system(fem.generate.duct(nx=2, ny=1))
    >>> bool(abs(system.matrix.sum(axis=1)).max() < 1e-12)  # constants are in the null space
    True
    """
    mesh, problem = _prepare(mesh, Problem() if problem is None else problem)
    with _session(backend) as session:
        run = session.stages()
        if sparsity is None:
            sparsity = run.perform(COMPUTE_SPARSITY, mesh)
        return _perform(run, ASSEMBLE_SYSTEM, mesh, backend, problem=problem, sparsity=sparsity)


def apply_bc(
    system: LinearSystem, mesh: Mesh, problem: Problem | None = None, *, backend: AnyBackend = "numpy"
) -> LinearSystem:
    """The system with the boundary conditions of `problem` (default: those of the potential flow)."""
    mesh, problem = _prepare(mesh, problem)
    with _session(backend) as session:
        return _perform(session.stages(), APPLY_BC, mesh, backend, problem=problem, system=system)


def solve_system(
    system: LinearSystem,
    mesh: Mesh,
    problem: Problem | None = None,
    *,
    backend: AnyBackend = "numpy",
    **options: Unpack[MethodOptions],
) -> SolveResult:
    """Solve for u; the system must have its boundary conditions. Solver options as in `solve`."""
    (mesh, problem), wanted = _prepare(mesh, problem), solver_options(options)
    with _session(backend) as session:
        run = session.stages()
        return _perform(run, SOLVE_SYSTEM, mesh, backend, problem=problem, system=system, options=wanted)


def compute_derived(
    mesh: Mesh, result: SolveResult, problem: Problem | None = None, *, backend: AnyBackend = "numpy"
) -> DerivedFields:
    """Velocity, speed and pressure of each element."""
    mesh, problem = _prepare(mesh, Problem() if problem is None else problem)
    with _session(backend) as session:
        run = session.stages()
        return _perform(run, COMPUTE_DERIVED, mesh, backend, problem=problem, result=result)


def _perform(run: Run, stage: ComputeStage[R], mesh: Mesh, backend: AnyBackend, **values: Any) -> R:
    """The result of a stage for the caller: on the host if the session is closed after the call."""
    made = run.perform(stage, mesh, **values)
    return made if isinstance(backend, Session) else run.to_host(made, stage, mesh)


def _prepare(mesh: Mesh, problem: Problem | None) -> tuple[Mesh, Problem]:
    """The complete mesh and the problem on it; a problem without conditions is enough for some stages."""
    mesh = with_boundaries(mesh)
    if problem is None:
        return mesh, Problem.potential_flow(mesh)
    require(problem, Problem, "problem must be a fem_core.Problem", ProblemError)
    return mesh, problem.on(mesh) if problem.conditions else problem

"""The way through: from a mesh to a solution, one stage after the other.

A reader who wants to know what happens in a run reads `run`; everything above it says who does a
stage, how it is timed and announced, and what is accepted from whoever did it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import PENALTY, LinearSystem
from fem_core.errors import BackendError, DeviceError, FemError, MeshError, WorkerLost
from fem_core.io.files import read_mesh, write_result
from fem_core.mesh.boundaries import with_boundaries
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.events import Event, Listener, Observers
from fem_core.plugins.handover import HOST, fault_in
from fem_core.problem import Problem
from fem_core.results import DerivedFields, Report, SolveResult, SolverOptions, StopReason, summarise
from fem_core.solution import Solution
from fem_core.support.hardware import hardware, versions
from fem_core.support.progress import CancelToken, Progress
from fem_core.support.wording import count, verb
from fem_core.types import Stage

if TYPE_CHECKING:
    from fem_core.run.session import Session


class _Hosted(Protocol):
    def to_host(self) -> Any: ...


V = TypeVar("V", bound=_Hosted)


class Run:
    """One run on a session: its observers, its clock, and the provider of each stage."""

    def __init__(
        self,
        session: "Session",
        observers: Iterable[object] = (),
        on_event: Callable[[Event], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self.session = session
        listeners = [Listener(on_event)] if on_event else []
        self.hooks = session.hooks([*observers, *listeners])
        self.observers = Observers(self.hooks)
        self.progress = Progress(self.observers.emit, cancel, self.remark)
        self.problem, self.options = Problem(), SolverOptions()
        self.current: Stage = "load_mesh"
        self.providers: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.host_copies = 0
        self.without: set[str] = set()
        self._hosted: tuple[Any, Any] = (None, None)

    @contextmanager
    def stage(self, name: Stage, provider: str = "core") -> Iterator[None]:
        """Announce and time a stage; an error of a backend is given its name."""
        self.current = name
        self.providers[name] = provider
        self.progress.check()
        self.observers.emit("fem_stage_start", stage=name, provider=provider)
        start = time.perf_counter()
        with named(provider, name):
            yield
        self.seconds[name] = time.perf_counter() - start
        self.observers.emit("fem_stage_complete", stage=name, provider=provider, duration=self.seconds[name])

    def remark(self, text: str, *, warning: bool = False) -> None:
        """What the provider of the current stage wants the user to read in the report."""
        text = f"{self.providers.get(self.current, 'core')}: {text}"
        remarks = self.warnings if warning else self.notes
        if text not in remarks:
            remarks.append(text)

    def announce(self, opening: Mapping[str, float]) -> None:
        """Tell the observers of the stages that the session's opening took."""
        for name, duration in opening.items():
            self.observers.emit("fem_stage_start", stage=name, provider=self.session.name)
            self.observers.emit("fem_stage_complete", stage=name, provider=self.session.name, duration=duration)

    def load_mesh(self, source: Mesh | str | Path | Future[Mesh], tolerance: float) -> Mesh:
        with self.stage("load_mesh"):
            if isinstance(source, Future):
                self.remark("load_mesh began before its stage, beside the opening of the backend")
                source = source.result()
            if isinstance(source, Mesh):
                mesh = with_boundaries(source, tolerance)
            elif isinstance(source, str | Path):
                mesh = read_mesh(source, boundary_tolerance=tolerance)
            else:
                raise MeshError(f"a mesh is a fem_core.Mesh or the path of a file, not {source!r}")
        self.warnings += mesh.warnings
        self.observers.emit("fem_mesh_loaded", mesh=mesh)
        return mesh

    def compute_sparsity(self, mesh: Mesh) -> Sparsity:
        provider = self._provider("compute_sparsity")
        with self.stage("compute_sparsity", provider):
            sparsity = self.session.known_sparsity(provider, mesh)
            if sparsity is None:
                sparsity = self.hooks.call(self.current, provider, mesh=mesh, progress=self.progress)
                sparsity = self._check(sparsity, self.current, mesh)
        self.session.keep_sparsity(provider, mesh, sparsity)
        return sparsity

    def assemble_system(
        self, mesh: Mesh, problem: Problem, sparsity: Sparsity, *, disposable: bool = False
    ) -> LinearSystem:
        """The bare system; only if the caller wants it no longer than for `apply_bc` it may be `disposable`."""
        provider = self._provider("assemble_system", problem)
        sparsity = self._hand_over(sparsity, "compute_sparsity", provider, mesh)
        with self.stage("assemble_system", provider):
            system: LinearSystem = self.hooks.call(
                self.current, provider, mesh=mesh, problem=problem, sparsity=sparsity, progress=self.progress
            )
            system = self._check(system, self.current, mesh)
        return system if disposable else _kept(system)

    def apply_bc(self, system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
        provider = self._provider("apply_bc", problem)
        system = self._hand_over(system, "assemble_system", provider, mesh)
        with self.stage("apply_bc", provider):
            system = self.hooks.call(
                self.current, provider, system=system, mesh=mesh, problem=problem, progress=self.progress
            )
            system = _kept(self._check(system, self.current, mesh))
        if n := len(mesh.orphan_nodes):
            self.warnings.append(f"{count(n, 'node', 'belong')} to no element and {verb(n, 'are')} fixed at 0")
        stiffest = 16 * float(problem.conductivity_on(mesh).max())
        if problem.dirichlet == "penalty" and stiffest > 1e-8 * PENALTY:
            self.warnings.append(
                f"the penalty of {PENALTY:g} is small beside a conductivity of {stiffest / 16:g}: "
                'fixed values are approximate; eliminate them instead (dirichlet="eliminate")'
            )
        return system

    def solve_system(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> SolveResult:
        options, notes = self.session.method(options, mesh.n_nodes, self.without)
        self.notes += notes
        provider = self._provider("solve_system", problem, options)
        system = self._hand_over(system, "apply_bc", provider, mesh)
        with self.stage("solve_system", provider):
            result: SolveResult = self.hooks.call(
                self.current,
                provider,
                system=system,
                mesh=mesh,
                problem=problem,
                options=options,
                progress=self.progress,
            )
            return self._check(result, self.current, mesh)

    def compute_derived(self, mesh: Mesh, problem: Problem, result: SolveResult) -> DerivedFields:
        provider = self._provider("compute_derived", problem)
        result = self._hand_over(result, "solve_system", provider, mesh)
        with self.stage("compute_derived", provider):
            derived: DerivedFields = self.hooks.call(
                self.current, provider, mesh=mesh, problem=problem, result=result, progress=self.progress
            )
            return self._check(derived, self.current, mesh)

    def to_host(self, value: V, made_in: Stage, mesh: Mesh) -> V:
        """`value` on the host and in the mesh's numbering."""
        if type(value) is HOST[made_in]:
            return value
        if self._hosted[0] is value:
            return self._hosted[1]  # type: ignore[no-any-return]
        self.host_copies += 1
        with named(self.providers.get(made_in, "core"), f"{made_in} (to_host)"):
            host: V = value.to_host()
        if type(host) is not HOST[made_in]:
            fault = f"its to_host() is a {type(host).__name__}"
            raise BackendError(f"{self._maker(made_in)} returned a wrong result from {made_in}: {fault}")
        self._check(host, made_in, mesh)
        if made_in == "solve_system":  # wanted twice: by post-processing and by the solution
            self._hosted = value, host
        return host

    def write(self, solution: Solution, outputs: Iterable[str | Path]) -> None:
        with self.stage("write"):
            for path in outputs:
                write_result(solution, Path(path))

    def go_on_without(self, error: DeviceError) -> None:
        """Leave out the backend of a device that failed; raises the error where no fallback is allowed."""
        if error.provider is None or not self.session.fallback:
            raise error
        self.without.add(error.provider)
        self.warnings.append(f"{error}; the run was done again without it")

    def _provider(self, stage: Stage, problem: Problem | None = None, options: SolverOptions | None = None) -> str:
        self.current = stage
        name, notes = self.session.provider(stage, problem or self.problem, options or self.options, self.without)
        self.warnings += notes
        return name

    def _hand_over(self, value: V, made_in: Stage, taker: str, mesh: Mesh) -> V:
        """`value` as `taker` accepts it: its own kind as it is, everything else on the host."""
        maker = self.providers.get(made_in)
        if maker == taker or (maker is None and taker != "core"):
            return value
        return self.to_host(value, made_in, mesh)

    def _check(self, value: V, made_in: Stage, mesh: Mesh) -> V:
        """Refuse what a provider must not return: nothing, another type, wrong shapes, NaN."""
        if value is None:
            raise BackendError(f"{self._maker(made_in)} returned nothing from {made_in}: is a `return` missing?")
        if fault := fault_in(value, made_in, mesh):
            raise BackendError(f"{self._maker(made_in)} returned a wrong result from {made_in}: {fault}")
        return value

    def _maker(self, stage: Stage) -> str:
        return f"backend {self.providers[stage]!r}" if stage in self.providers else "a backend"

    def report(self, mesh: Mesh, result: SolveResult, derived: DerivedFields) -> Report:
        return Report(
            backend=self.session.name,
            providers=dict(self.providers),
            seconds={**self.session.seconds, **self.seconds},
            mesh={"nodes": mesh.n_nodes, "elements": mesh.n_elements, "orphan_nodes": len(mesh.orphan_nodes)},
            solver={
                "method": result.method,
                "iterations": result.iterations,
                "converged": result.converged,
                "stop_reason": str(result.stop_reason),
                "relative_residual": result.relative_residual,
                "true_relative_residual": result.true_relative_residual,
            },
            solution=summarise(result.u, mesh.used_nodes, derived),
            history=result.history,
            warnings=(*self.session.warnings, *self.warnings, *_partial(result), *self.hooks.warnings),
            notes=(*self.session.notes, *self.notes),
            host_copies=self.host_copies,
            versions=versions(self.session.distributions),
            hardware=hardware(),
        )


@contextmanager
def named(provider: str, what: str) -> Iterator[None]:
    """Give an error of a backend its name; a backend can't end the process either."""
    try:
        yield
    except WorkerLost as error:
        if repr(provider) in str(error):
            raise
        raise WorkerLost(f"backend {provider!r} lost a worker in {what}: {error}") from error.__cause__
    except DeviceError as error:
        if error.provider:
            raise
        told = type(error)(f"backend {provider!r} failed in {what}: {error}")
        told.provider = provider
        raise told from error.__cause__
    except FemError:
        raise
    except (Exception, SystemExit) as error:
        if provider == "core":
            raise
        raise BackendError(f"backend {provider!r} failed in {what}: {type(error).__name__}: {error}") from error


_WAY_OUT = {
    StopReason.MAXITER: "allow more iterations or take another solver",
    StopReason.INDEFINITE: "is a p negative?",
    StopReason.NOT_FINITE: "are coefficients or loads extremely large?",
    StopReason.STAGNATION: "rounding allows no better; a larger rtol would be met",
}


def _kept(system: LinearSystem) -> LinearSystem:
    return replace(system, disposable=False) if getattr(system, "disposable", False) else system


def _partial(result: SolveResult) -> list[str]:
    if result.converged:
        return []
    return [
        f"{result.method} did not converge: {result.stop_reason} after {count(result.iterations, 'iteration')}, "
        f"relative residual {result.relative_residual:.1e}; {_WAY_OUT[result.stop_reason]}"
    ]


def compute(stages: Run, mesh: Mesh, problem: Problem, options: SolverOptions) -> tuple[SolveResult, DerivedFields]:
    """The way from the mesh to the potential and the fields, on the host."""
    sparsity = stages.compute_sparsity(mesh)
    system = stages.assemble_system(mesh, problem, sparsity, disposable=True)
    del sparsity
    system = stages.apply_bc(system, mesh, problem)
    result = stages.solve_system(system, mesh, problem, options)
    del system
    derived = stages.compute_derived(mesh, problem, result)
    derived = stages.to_host(derived, "compute_derived", mesh)
    return stages.to_host(result, "solve_system", mesh), derived


def run(
    session: "Session",
    source: Mesh | str | Path | Future[Mesh],
    problem: Problem | None,
    options: SolverOptions,
    boundary_tolerance: float,
    outputs: Iterable[str | Path] = (),
    **listening: Any,
) -> Solution:
    """Solve `problem` (by default the potential flow) on a mesh, and tell the observers how it ended."""
    stages = Run(session, **listening)
    stages.options = options
    try:
        stages.current = "open_backend"
        session.ensure_open()
        stages.announce(session.unannounced())
        stages.current = "load_mesh"
        if options.method != "auto":
            session.provider("solve_system", problem or Problem(), options)  # an unknown solver is refused at once
        mesh = stages.load_mesh(source, boundary_tolerance)
        problem = stages.problem = problem.on(mesh) if problem else Problem.potential_flow(mesh)
        while True:
            said = len(stages.warnings)
            try:
                result, derived = compute(stages, mesh, problem, options)
                break
            except DeviceError as error:
                del stages.warnings[said:]
                stages.go_on_without(error)
        report = stages.report(mesh, result, derived)
        solution = Solution(mesh, problem, result.u, derived.velocity, derived.speed, derived.pressure, report)
        if outputs := list(outputs):
            stages.write(solution, outputs)
            solution = replace(solution, report=stages.report(mesh, result, derived))
    except BaseException as error:
        stages.observers.emit("fem_error", stage=stages.current, error=error)
        raise
    stages.observers.emit("fem_solve_complete", report=solution.report)
    return solution

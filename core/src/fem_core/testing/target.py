"""The backend under test, and the baseline beside it."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fem_core.assembly.sparsity import Sparsity
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.stages import APPLY_BC, ASSEMBLE_SYSTEM, COMPUTE_DERIVED, COMPUTE_SPARSITY, SOLVE_SYSTEM
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.run.opening import create_backends, open_backend
from fem_core.run.session import Session
from fem_core.types import Stage

T = TypeVar("T")


class Target:
    """A backend to certify; a context manager that keeps one session of it and one of the baseline open.

    Parameters
    ----------
    backend : str or BackendInfo
        A name, a chain of names, or the information itself of a backend that isn't installed.
    options : mapping
        The backend's options.
    examples : int
        Meshes that each property tries.
    shrink : bool
        Whether a failing example is made as small as can be, which takes a while.
    elements : int, optional
        The most elements that a mesh may have, for backends that take long, such as a GPU's simulator.
    """

    def __init__(
        self,
        backend: str | BackendInfo,
        options: Mapping[str, Any] | None = None,
        examples: int = 25,
        shrink: bool = True,
        elements: int | None = None,
    ) -> None:
        self.backend, self.options, self.examples = backend, dict(options or {}), examples
        self._elements = elements
        self._phases = [Phase.explicit, Phase.generate] + [Phase.shrink] * shrink
        self._opened = ExitStack()

    def __enter__(self) -> "Target":
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def name(self) -> str:
        return self.backend if isinstance(self.backend, str) else self.backend.name

    def most(self, elements: int) -> int:
        """`elements`, or as many as a mesh may have here."""
        return min(elements, self._elements or elements)

    def open(self, **options: Any) -> Session:
        """Another session of the backend, for the caller to close."""
        return open_backend(self.backend, tuned=False, **{**self.options, **options})

    def unopened(self) -> list[tuple[BackendInfo, Backend]]:
        """The backends as they are made, before anything is opened."""
        return create_backends(self.backend, self.options)

    @cached_property
    def session(self) -> Session:
        """The session that most checks use."""
        return self._opened.enter_context(self.open())

    @cached_property
    def baseline(self) -> Session:
        return self._opened.enter_context(open_backend("baseline"))

    @property
    def stages(self) -> set[Stage]:
        """What the backend provides."""
        return {stage for info, _ in self.session.backends for stage in info.stages}

    def for_all(self, strategy: st.SearchStrategy[T], body: Callable[[T], None], examples: int | None = None) -> None:
        """Run `body` on examples of `strategy`, drawn without chance: the same in the same environment."""

        @settings(
            max_examples=examples or self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=False,
            phases=self._phases,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def property_holds(example: T) -> None:
            body(example)

        property_holds()


def sparsity(session: Session, mesh: Mesh) -> Sparsity:
    """The session's pattern of `mesh`, on the host."""
    stages = session.stages()
    return stages.to_host(stages.perform(COMPUTE_SPARSITY, mesh), COMPUTE_SPARSITY, mesh)


def assembled(session: Session, mesh: Mesh, problem: Problem) -> LinearSystem:
    """The session's system before boundary conditions, on the host."""
    stages = session.stages()
    pattern = stages.perform(COMPUTE_SPARSITY, mesh)
    system = stages.perform(ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=pattern)
    return stages.to_host(system, ASSEMBLE_SYSTEM, mesh)


def conditioned(session: Session, system: LinearSystem, mesh: Mesh, problem: Problem) -> LinearSystem:
    """The system after the session's boundary conditions, on the host."""
    stages = session.stages()
    return stages.to_host(stages.perform(APPLY_BC, mesh, problem=problem, system=system), APPLY_BC, mesh)


def derived(session: Session, mesh: Mesh, problem: Problem, u: Any) -> DerivedFields:
    """The session's post-processing of a potential given on the host, on the host."""
    stages = session.stages()
    result = SolveResult(u, "given", 0, StopReason.CONVERGED, 0.0, 0.0)
    fields = stages.perform(COMPUTE_DERIVED, mesh, problem=problem, result=result)
    return stages.to_host(fields, COMPUTE_DERIVED, mesh)


def solved(session: Session, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> SolveResult:
    """The session's solution of a system given on the host, on the host."""
    stages = session.stages()
    result = stages.perform(SOLVE_SYSTEM, mesh, problem=problem, system=system, options=options)
    return stages.to_host(result, SOLVE_SYSTEM, mesh)


def methods(session: Session) -> list[SolverOptions]:
    """The backend's own solvers, or the reference where it has none."""
    own = [method for info, _ in session.backends for method in info.solver_methods]
    return [SolverOptions(method=method) for method in own or ["cg"]]

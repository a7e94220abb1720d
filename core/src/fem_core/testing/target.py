"""The backend under test, and the baseline."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fem_core.assembly.sparsity import Sparsity
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.stages import COMPUTE_DERIVED, COMPUTE_SPARSITY, ComputeStage
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.run.opening import create_backends, open_backend
from fem_core.run.session import Session
from fem_core.testing.strategies import Case, large_case
from fem_core.types import Stage

T = TypeVar("T")


@dataclass(eq=False)
class Target:
    """A backend to certify; a context manager that keeps a session of it and a session of the baseline open.

    Parameters
    ----------
    backend : str or BackendInfo
        A name, a chain of names, or the `BackendInfo` of a backend that isn't installed.
    options : mapping
        The backend's options.
    examples : int
        Number of random meshes for each check.
    shrink : bool
        Whether to search for the smallest example that fails; this takes time.
    elements : int, optional
        The largest number of elements of a mesh, for slow backends such as a GPU's simulator.
    """

    backend: str | BackendInfo
    options: Mapping[str, Any] | None = None
    examples: int = 25
    shrink: bool = True
    elements: int | None = None
    _opened: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> "Target":
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def name(self) -> str:
        return self.backend if isinstance(self.backend, str) else self.backend.name

    def most(self, elements: int) -> int:
        """`elements`, or the largest number allowed here if that is smaller."""
        return min(elements, self.elements or elements)

    def large_case(self) -> Case:
        """The case of `strategies.large_case`, with fewer elements if the number is limited here."""
        return large_case(elements=self.most(61 * 33))

    def open(self, **options: Any) -> Session:
        """Another session of the backend, for the caller to close."""
        return open_backend(self.backend, tuned=False, **{**(self.options or {}), **options})

    def unopened(self) -> list[tuple[BackendInfo, Backend]]:
        """The backends, created but not opened."""
        return create_backends(self.backend, self.options or {})

    @cached_property
    def session(self) -> Session:
        """The session that most checks use."""
        return self._opened.enter_context(self.open())

    @cached_property
    def baseline(self) -> Session:
        return self._opened.enter_context(open_backend("baseline"))

    @property
    def stages(self) -> set[Stage]:
        """The stages that the backend provides."""
        return {stage for info, _ in self.session.backends for stage in info.stages}

    def for_all(self, strategy: st.SearchStrategy[T], body: Callable[[T], None], examples: int | None = None) -> None:
        """Run `body` on examples of `strategy`; the same environment gives the same examples."""

        @settings(
            max_examples=examples or self.examples,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=False,
            phases=[Phase.explicit, Phase.generate] + [Phase.shrink] * self.shrink,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        @given(strategy)
        def property_holds(example: T) -> None:
            body(example)

        property_holds()


def performed(session: Session, stage: ComputeStage[T], mesh: Mesh, **values: Any) -> T:
    """The session's result of a stage, on the host; the `values` that the stage takes are on the host too."""
    stages = session.stages()
    return stages.to_host(stages.perform(stage, mesh, **values), stage, mesh)


def sparsity(session: Session, mesh: Mesh) -> Sparsity:
    """The session's pattern of `mesh`, on the host."""
    return performed(session, COMPUTE_SPARSITY, mesh)


def derived(session: Session, mesh: Mesh, problem: Problem, u: Any) -> DerivedFields:
    """The session's post-processing of a potential given on the host, on the host."""
    result = SolveResult(u, "given", 0, StopReason.CONVERGED, 0.0, 0.0)
    return performed(session, COMPUTE_DERIVED, mesh, problem=problem, result=result)


def methods(session: Session) -> list[SolverOptions]:
    """The backend's own solvers, or the reference solver if it has none."""
    own = [method for info, _ in session.backends for method in info.solver_methods]
    return [SolverOptions(method=method) for method in own or ["cg"]]

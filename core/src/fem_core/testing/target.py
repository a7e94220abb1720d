"""The backend under test, and the baseline."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fem_core.assembly.sparsity import Sparsity
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo, Option
from fem_core.plugins.stages import COMPUTE_DERIVED, COMPUTE_SPARSITY, ComputeStage
from fem_core.problem import Problem
from fem_core.results import DerivedFields, SolveResult, SolverOptions, StopReason
from fem_core.run.opening import create_backends, open_backend
from fem_core.run.runner import Run
from fem_core.run.session import Session
from fem_core.support.progress import CancelToken, Progress
from fem_core.testing.strategies import Case, large_case
from fem_core.testing.surroundings import surroundings
from fem_core.tools.bench import assembled
from fem_core.types import Stage

#: Seconds for an element, above which a backend is slow.
_SLOW = 1e-4

#: The largest number of elements, by (fast, thorough): beyond 32,767, and beyond a chunk of 512 Ki.
_LARGEST = {(True, False): 39_000, (True, True): 600_000, (False, False): 2_100, (False, True): 20_000}

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
        The largest number of elements of a mesh. By default it depends on the measured speed.
    thorough : bool
        Whether to do what takes minutes: the largest meshes, and many runs.
    """

    backend: str | BackendInfo
    options: Mapping[str, Any] | None = None
    examples: int = 25
    shrink: bool = True
    elements: int | None = None
    thorough: bool = False
    left_out: list[str] = field(default_factory=list, init=False)
    before: dict[str, Any] = field(default_factory=dict, init=False)
    _opened: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> "Target":
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    @property
    def name(self) -> str:
        return self.backend if isinstance(self.backend, str) else self.backend.name

    def most(self, elements: int) -> int:
        """`elements`, or the largest number allowed here if that is smaller; the report then says so."""
        if elements > self.limit:
            self.leave_out(f"meshes of more than {self.limit:,} elements{self._why_limited}")
        return min(elements, self.limit)

    def leave_out(self, what: str) -> None:
        """Tell the user at the end what wasn't looked at."""
        if what not in self.left_out:
            self.left_out.append(what)

    @cached_property
    def fast(self) -> bool:
        """Whether assembly and post-processing are compiled or vectorised, as measured on a small mesh."""
        for elements in (256, 2013, 2013):  # the first one starts workers and compiles; others may meet a busy machine
            case = large_case(elements=min(elements, self.elements or elements))
            start = time.perf_counter()
            assembled(self.session, case.mesh, case.problem)
            derived(self.session, case.mesh, case.problem, np.zeros(case.mesh.n_nodes))
            if time.perf_counter() - start < _SLOW * elements:
                return True
        return False

    @cached_property
    def limit(self) -> int:
        """The largest number of elements of a mesh."""
        return self.elements or _LARGEST[self.fast, self.thorough]

    @property
    def _why_limited(self) -> str:
        if self.elements:
            return " (as asked)"
        if not self.fast:
            return " (this backend takes too long for larger ones)"
        return "" if self.thorough else f" (--thorough goes to {_LARGEST[True, True]:,})"

    def large_case(self) -> Case:
        """The case of `strategies.large_case`, with fewer elements if the number is limited here."""
        return large_case(elements=self.most(61 * 33))

    def open(self, **options: Any) -> Session:
        """Another session of the backend, for the caller to close. Its work reaches workers if it has any."""
        return open_backend(self.backend, tuned=False, **{**self.handing_out, **(self.options or {}), **options})

    def open_as_given(self, **options: Any) -> Session:
        """Another session with no options but the user's and these."""
        return open_backend(self.backend, tuned=False, **{**(self.options or {}), **options})

    @cached_property
    def accepted(self) -> dict[str, Option]:
        """The options of the backends, by name."""
        return {option.name: option for info, _ in self.unopened() for option in info.options}

    @cached_property
    def handing_out(self) -> dict[str, Any]:
        """Options by which small meshes are divided between workers, too, also on a machine with one core."""
        return {name: value for name, value in (("min_size", 0), ("workers", 2)) if name in self.accepted}

    def unopened(self) -> list[tuple[BackendInfo, Backend]]:
        """The backends, created but not opened."""
        return create_backends(self.backend, self.options or {})

    @cached_property
    def session(self) -> Session:
        """The session that most checks use."""
        self.before = surroundings()
        return self._opened.enter_context(self.open())

    @cached_property
    def baseline(self) -> Session:
        return self._opened.enter_context(open_backend("baseline"))

    @cached_property
    def numpy(self) -> Session:
        """The core's own stages, in one batch after the other."""
        return self._opened.enter_context(open_backend("numpy", tuned=False))

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


def watched(
    session: Session, hear: Callable[[str, dict[str, Any]], None] | None = None, cancel: CancelToken | None = None
) -> Run:
    """A run whose progress isn't throttled: `hear` gets the name and the data of each call."""

    def emit(hook: str, final: bool = True, **data: Any) -> None:
        if hear:
            hear(hook, data)

    run = session.stages()
    run.progress = Progress(emit, cancel, run.remark)
    return run


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

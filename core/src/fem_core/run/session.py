"""Backends opened for use: instances, patterns and prepared solvers kept from run to run."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypedDict, Unpack

from fem_core.assembly.sparsity import Sparsity
from fem_core.backends.default import DefaultBackend
from fem_core.errors import BackendError, BackendUnavailable, FemError, OptionError, ProblemError
from fem_core.mesh.boundaries import TOLERANCE
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.events import Event
from fem_core.plugins.registry import REGISTRY
from fem_core.plugins.run_hooks import Hooks
from fem_core.plugins.validation import check_backend
from fem_core.problem import Problem
from fem_core.results import SolverOptions
from fem_core.run.pipeline import Run, named, run
from fem_core.solution import Solution
from fem_core.solvers.auto import choose
from fem_core.support.progress import CancelToken
from fem_core.types import Stage

_log = logging.getLogger(__name__)

_KEPT = 4  # patterns a session keeps


class RunOptions(TypedDict, total=False):
    """Keyword arguments of a run.

    solver, rtol, atol, maxiter, monitor, solver_options: see `SolverOptions`.
    observers: objects with event hooks or wrappers; on_event: a callable that gets each `Event`.
    cancel: a token that stops the run. boundary_tolerance: see `with_boundaries`.
    outputs: files to write as the stage `write`.
    """

    solver: str
    rtol: float
    atol: float
    maxiter: int
    monitor: int
    solver_options: Mapping[str, Any]
    observers: Iterable[object]
    on_event: Callable[[Event], object] | None
    cancel: CancelToken | None
    boundary_tolerance: float
    outputs: Iterable[str | Path]


_SOLVER = ("solver", "rtol", "atol", "maxiter", "monitor", "solver_options")
_OTHERS = tuple(name for name in RunOptions.__annotations__ if name not in _SOLVER)


class Session:
    """An opened chain of backends; a context manager, and safe to share between threads (one run at a time).

    Made by `open_backend`; directly from backend instances only in tests and examples.

    Parameters
    ----------
    backends : sequence of (BackendInfo, Backend)
        Asked in this order for each stage; the core comes last.
    fallback : bool
        Whether a backend that declines a stage is passed over with a warning instead of an error.
    notes, warnings : sequence of str
        For every report: what `auto` chose, and what it passed over.
    distributions : sequence of str
        Whose versions reports name.
    """

    def __init__(
        self,
        backends: Sequence[tuple[BackendInfo, Backend]],
        *,
        fallback: bool = False,
        notes: Sequence[str] = (),
        warnings: Sequence[str] = (),
        distributions: Sequence[str] = (),
    ) -> None:
        for info, backend in backends:
            check_backend(info, backend)
            if sum(info.name == other.name for other, _ in backends) > 1:
                raise BackendError(f"backend {info.name!r} is named twice in one chain")
        self.backends = tuple(backends)
        self.name = ",".join(info.name for info, _ in backends) or "core"
        self.notes, self.warnings, self.distributions = tuple(notes), tuple(warnings), tuple(distributions)
        self.seconds: dict[str, float] = {}
        self._announced = False
        self.fallback = fallback
        self._core = DefaultBackend(REGISTRY.extensions("fem_linear_solvers"))
        self._sparsities: OrderedDict[tuple[str, str], Sparsity] = OrderedDict()
        self.lock = threading.RLock()
        self._open = self._closed = False

    def open(self) -> "Session":
        """Open every backend, in order. Raises BackendUnavailable if one can't be; the others are closed again."""
        with self.lock:
            if not self._open:
                self.seconds, self._announced = {}, False
                try:
                    self._each("open_backend", "open")
                    self._each("compile", "compile")
                except BaseException:
                    self._close_all()
                    raise
                self._open, self._closed = True, False
        return self

    def ensure_open(self) -> None:
        """Open if that hasn't happened yet. Raises BackendError if the session has been closed."""
        if self._closed:
            raise BackendError(f"the session of {self.name} is closed; open_backend gives a new one")
        self.open()

    def _each(self, stage: Stage, method: str) -> None:
        """Open or compile all backends: a stage where there is something to do."""
        if all(getattr(type(backend), method) is getattr(Backend, method) for _, backend in self.backends):
            return
        start = time.perf_counter()
        for info, backend in self.backends:
            try:
                getattr(backend, method)()
            except FemError:
                raise
            except (Exception, SystemExit) as error:
                what = "can't be opened" if stage == "open_backend" else "can't compile"
                raise BackendUnavailable(f"backend {info.name!r} {what}: {type(error).__name__}: {error}") from error
        self.seconds[stage] = time.perf_counter() - start

    def close(self) -> None:
        """Close every backend, the last one opened first; may be called again."""
        with self.lock:
            self._open, self._closed = False, True
            self._sparsities.clear()
            self._close_all()

    def _close_all(self) -> None:
        """Close every backend whatever the others do; a failure is logged, it takes no result away."""
        interrupted: BaseException | None = None
        for name, backend in (("core", self._core), *((info.name, backend) for info, backend in self.backends[::-1])):
            try:
                backend.close()
            except (Exception, SystemExit) as error:
                _log.warning("backend %r failed in close: %s: %s", name, type(error).__name__, error, exc_info=error)
            except BaseException as error:
                interrupted = error
        if interrupted:
            raise interrupted

    def forget(self) -> None:
        """Drop what is kept from earlier runs, by the session and by each backend: patterns, prepared solvers."""
        with self.lock:
            self._sparsities.clear()
            self._core.forget()
            for info, backend in self.backends:
                with named(info.name, "forget"):
                    backend.forget()

    def __enter__(self) -> "Session":
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def solve(
        self, mesh: Mesh | str | Path | Future[Mesh], problem: Problem | None = None, **options: Unpack[RunOptions]
    ) -> Solution:
        """Solve `problem` (by default `Problem.potential_flow`) on `mesh`; see `fem_core.solve`.

        The mesh may be one that is still being read: what is left to wait for is then the stage `load_mesh`.
        """
        listening = {name: options[name] for name in ("observers", "on_event", "cancel") if name in options}
        try:
            solver = solver_options(options, _OTHERS)
            if not isinstance(problem, Problem | None):
                raise ProblemError(f"a problem is a fem_core.Problem, not {problem!r}")
        except FemError as error:
            announce(error, "open_backend", options.get("observers", ()), options.get("on_event"))
            raise
        with self.lock:
            return run(
                self,
                mesh,
                problem,
                solver,
                options.get("boundary_tolerance", TOLERANCE),
                options.get("outputs", ()),
                **listening,
            )

    def stages(self) -> Run:
        """The stages one by one, without observers."""
        self.ensure_open()
        return Run(self)

    # what a run asks of its session

    def unannounced(self) -> dict[str, float]:
        """The stages of opening and their seconds, for the observers of the first run."""
        first, self._announced = not self._announced, True
        return self.seconds if first else {}

    def hooks(self, observers: Iterable[object]) -> Hooks:
        """A plugin manager of its own for one run."""
        return Hooks(self._core, self.backends, observers, REGISTRY.plugins())

    def method(
        self, options: SolverOptions, n_nodes: int, without: Container[str] = ()
    ) -> tuple[SolverOptions, list[str]]:
        """The options with a solver for `auto`, and a note about the choice."""
        if options.method != "auto":
            return options, []
        name, why = choose(n_nodes, (info for info, _ in self.backends if info.name not in without))
        return replace(options, method=name), [f"auto chose solver {name}, {why}"]

    def provider(
        self, stage: Stage, problem: Problem, options: SolverOptions, without: Container[str] = ()
    ) -> tuple[str, list[str]]:
        """Who does a stage, `without` some backends, and notes about who declined it.

        Raises BackendError if a backend declines without leave to fall back, OptionError for a solver
        that nobody has.
        """
        notes: list[str] = []
        for info, backend in self.backends:
            able = stage in info.stages and (stage != "solve_system" or options.method in info.solver_methods)
            if not able or info.name in without:
                continue
            with named(info.name, f"declines({stage!r})"):
                reason = backend.declines(stage, problem, options)
            if reason is None:
                return info.name, notes
            if not self.fallback:
                raise BackendError(
                    f"backend {info.name!r} declines {stage}: {reason}; allow a fallback to go on without it"
                )
            notes.append(f"backend {info.name!r} declined {stage}: {reason}")
        if reason := self._core.declines(stage, problem, options):
            methods = {method for info, _ in self.backends for method in info.solver_methods}
            others = sorted(methods - set(self._core.solvers))
            raise OptionError(reason + (f"; {self.name} adds {', '.join(others)}" if others else ""))
        return "core", notes

    def known_sparsity(self, provider: str, mesh: Mesh) -> Sparsity | None:
        """The pattern kept from an earlier run on the same topology."""
        key = provider, mesh.fingerprint
        if key in self._sparsities:
            self._sparsities.move_to_end(key)
        return self._sparsities.get(key)

    def keep_sparsity(self, provider: str, mesh: Mesh, sparsity: Sparsity) -> None:
        """Keep a pattern for later runs; the one not used for longest goes."""
        self._sparsities[provider, mesh.fingerprint] = sparsity
        while len(self._sparsities) > _KEPT:
            self._sparsities.popitem(last=False)


def solver_options(options: RunOptions, others: Iterable[str] = ()) -> SolverOptions:
    """The part of a run's options that is the solver's. Raises OptionError for one that nobody knows."""
    accepted = (*_SOLVER, *others)
    for name in options:
        if name not in accepted:
            raise OptionError(f"there is no option {name!r}; options: {', '.join(accepted)}")
    given: dict[str, Any] = {name: options[name] for name in ("rtol", "atol", "maxiter", "monitor") if name in options}
    return SolverOptions(method=options.get("solver", "cg"), extra=dict(options.get("solver_options", {})), **given)


def announce(
    error: BaseException,
    stage: Stage,
    observers: Iterable[object] = (),
    on_event: Callable[[Event], object] | None = None,
) -> None:
    """Tell observers of a run that failed before there was a session to run on."""
    Run(Session([]), observers, on_event).observers.emit("fem_error", stage=stage, error=error)

"""A session: backends that are opened, used for one run at a time, and always closed."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict, Unpack

from fem_core.backends.default import DefaultBackend
from fem_core.errors import BackendError, BackendUnavailable, FemError, OptionError, ProblemError
from fem_core.io.files import ReadOptions
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.events import Event
from fem_core.plugins.registry import REGISTRY
from fem_core.problem import Problem
from fem_core.results import SolverOptions
from fem_core.run import pipeline
from fem_core.run.chain import Chain
from fem_core.run.runner import Opened, Run
from fem_core.solution import Solution
from fem_core.support.blas import reserve_buffers
from fem_core.support.kinds import path_of, require, shown
from fem_core.support.memory import lacks_memory, not_enough
from fem_core.support.progress import CancelToken
from fem_core.types import Stage

_log = logging.getLogger(__name__)


class MethodOptions(TypedDict, total=False):
    """Keyword arguments of a solve: see `SolverOptions`. The default solver is `auto`."""

    solver: str
    rtol: float
    atol: float
    maxiter: int
    monitor: int
    solver_options: Mapping[str, Any]


class RunOptions(MethodOptions, ReadOptions, total=False):
    """Keyword arguments of a run: those of `MethodOptions` and `ReadOptions`, and these.

    observers: objects with event hooks or wrappers. on_event: a callable that gets each `Event`.
    cancel: a token that stops the run. outputs: files to write, in the stage `write`.
    """

    observers: Iterable[object]
    on_event: Callable[[Event], object] | None
    cancel: CancelToken | None
    outputs: Iterable[str | Path]


_SOLVER = tuple(MethodOptions.__annotations__)
_OTHERS = tuple(name for name in RunOptions.__annotations__ if name not in _SOLVER)


class Session:
    """An opened chain of backends; a context manager, and safe to share between threads (one run at a time).

    Use `open_backend` to make one; tests and examples make it directly from backend instances.

    Parameters
    ----------
    backends : sequence of (BackendInfo, Backend)
        The order of priority for each stage; the core comes last.
    fallback : bool
        If a backend declines a stage, continue without it and report a warning, instead of an error.
    notes, warnings : sequence of str
        For every report: what `auto` chose, and what it skipped.
    distributions : sequence of str
        The distributions whose versions the reports list.

    Attributes
    ----------
    name : str
        The names of the backends, separated by commas.
    seconds : dict
        The time of opening in seconds, by stage.
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
        self.chain = Chain(DefaultBackend(REGISTRY.extensions("fem_linear_solvers")), backends, fallback)
        self.name, self.backends = self.chain.name, self.chain.backends
        self.notes, self.warnings, self.seconds = tuple(notes), tuple(warnings), dict[str, float]()
        self.opened = Opened(self.notes, self.warnings, tuple(distributions), self.seconds)
        self._lock = threading.RLock()
        self._open = self._closed = self._busy = False
        self._process = 0

    def open(self) -> "Session":
        """Open every backend, in order. If one fails, close the others and raise BackendUnavailable."""
        self._refuse_fork()
        with self._lock:
            if not self._open:
                self.seconds.clear()
                self.opened.announced = False
                try:
                    reserve_buffers()
                    self._each("open_backend", "open")
                    self._each("compile", "compile")
                except BaseException:
                    self._close_all()
                    raise
                self._open, self._closed, self._process = True, False, os.getpid()
        return self

    def ensure_open(self) -> None:
        """Open the session unless it is open. Raises BackendError if the session has been closed."""
        if self._closed:
            raise BackendError(f"the session of {self.name} is closed; open a new one with open_backend")
        self.open()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Use the session for one run, and let other threads wait meanwhile.

        Raises BackendError in an observer of a run, and in a process that was forked after the session was opened.
        """
        self._refuse_fork()
        with self._lock:
            if self._busy:
                raise BackendError(
                    f"the session of {self.name} is busy with a run; an observer needs a session of its own"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _refuse_fork(self) -> None:
        """Raise BackendError in a forked process, which has neither the threads nor the workers of the backends."""
        if self._is_inherited():
            raise BackendError(
                f"the session of {self.name} belongs to process {self._process}, from which this one was forked; "
                "open a new one here with open_backend"
            )

    def _is_inherited(self) -> bool:
        return self._open and self._process != os.getpid()

    def _each(self, stage: Stage, method: str) -> None:
        """Open or compile all backends; this is a stage if a backend has something to do."""
        if all(getattr(type(backend), method) is getattr(Backend, method) for _, backend in self.backends):
            return
        start = time.perf_counter()
        for info, backend in self.backends:
            try:
                getattr(backend, method)()
            except (FemError, MemoryError):
                raise
            except (Exception, SystemExit) as error:
                what = "can't be opened" if stage == "open_backend" else "can't compile"
                if lacks_memory(error):
                    raise BackendUnavailable(str(not_enough(f"backend {info.name!r} {what}", error))) from error
                raise BackendUnavailable(f"backend {info.name!r} {what}: {type(error).__name__}: {error}") from error
        self.seconds[stage] = time.perf_counter() - start

    def close(self) -> None:
        """Close every backend, in reverse order; may be called more than once.

        In a process that was forked since, this does nothing: the backends belong to the process that opened them.
        """
        if self._is_inherited():
            return
        with self.exclusive():
            self._open, self._closed = False, True
            self.chain.patterns.clear()
            self._close_all()

    def _close_all(self) -> None:
        """Close every backend, even if another one fails. A failure is only logged: the results stay valid."""
        interrupted: BaseException | None = None
        for name, backend in (
            ("core", self.chain.core),
            *((info.name, backend) for info, backend in self.backends[::-1]),
        ):
            try:
                backend.close()
            except (Exception, SystemExit) as error:
                _log.warning("backend %r failed in close: %s: %s", name, type(error).__name__, error, exc_info=error)
            except BaseException as error:
                interrupted = error
        if interrupted:
            raise interrupted

    def forget(self) -> None:
        """Delete what the session and its backends keep from earlier runs: patterns, prepared solvers."""
        with self.exclusive():
            self.chain.forget()

    def __enter__(self) -> "Session":
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    def solve(
        self, mesh: Mesh | str | Path | Future[Mesh], problem: Problem | None = None, **options: Unpack[RunOptions]
    ) -> Solution:
        """Solve `problem` (default: `Problem.potential_flow`) on `mesh`; see `fem_core.solve`.

        The mesh may be a `Future` that is still reading it; the stage `load_mesh` then waits for the rest.
        """
        run = Run(self.chain, options.get("observers", ()), options.get("on_event"), options.get("cancel"))
        with run.told():
            solver = solver_options(options, _OTHERS)
            require(problem, Problem | None, "problem must be a fem_core.Problem", ProblemError)
            require(options.get("by_position", False), bool, "by_position must be True or False")
            outputs = _paths(options.get("outputs", ()))
        with self.exclusive():
            with run.told():
                self.ensure_open()
                run.announce(self.opened)
                solution = pipeline.solve(run, self.opened, mesh, problem, solver, options, outputs)
            run.observers.emit("fem_solve_complete", report=solution.report)
        return solution

    def stages(self) -> Run:
        """A run whose stages are called one by one, without observers."""
        self.ensure_open()
        return Run(self.chain)


def _paths(outputs: Iterable[str | Path]) -> list[Path]:
    """The files to write."""
    if isinstance(outputs, str | Path) or not isinstance(outputs, Iterable):
        raise OptionError(f"outputs must be a list of paths, not {shown(outputs)}")
    return [path_of(one, OptionError) for one in outputs]


def solver_options(options: MethodOptions, others: Iterable[str] = ()) -> SolverOptions:
    """The options of the solver, from those of a run. Raises OptionError for an unknown option."""
    accepted = (*_SOLVER, *others)
    for name in options:
        if name not in accepted:
            raise OptionError(f"there is no option {name!r}; options: {', '.join(accepted)}")
    require(options.get("solver_options", {}), Mapping, "solver_options must be a mapping of names to values")
    given: dict[str, Any] = {name: options[name] for name in ("rtol", "atol", "maxiter", "monitor") if name in options}
    return SolverOptions(method=options.get("solver", "auto"), extra=dict(options.get("solver_options", {})), **given)

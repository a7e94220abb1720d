"""The chain of providers: finds the provider of a stage and the solver, and keeps results for later runs."""

from collections import OrderedDict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

from fem_core.backends.default import DefaultBackend
from fem_core.errors import BackendError, DeviceError, FemError, OptionError, WorkerLost
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.backend import Backend, BackendInfo
from fem_core.plugins.stages import ComputeStage
from fem_core.plugins.validation import check_backend
from fem_core.problem import Problem
from fem_core.results import SolverOptions
from fem_core.solvers.auto import choose
from fem_core.support.memory import lacks_memory, not_enough
from fem_core.types import Stage

R = TypeVar("R")

#: The way out where memory is short for a stage.
_WAY = "use a smaller mesh or a solver that needs less memory"
_KEPT = 4  # patterns that are kept


class Chain:
    """The backends of a session, asked in their order, and the core, which comes last.

    Parameters
    ----------
    core : DefaultBackend
    backends : sequence of (BackendInfo, Backend)
    fallback : bool
        If a backend declines a stage, continue without it and report a warning, instead of an error.
    """

    def __init__(
        self, core: DefaultBackend, backends: Sequence[tuple[BackendInfo, Backend]], fallback: bool = False
    ) -> None:
        for info, backend in backends:
            check_backend(info, backend)
            if sum(info.name == other.name for other, _ in backends) > 1:
                raise BackendError(f"backend {info.name!r} is named twice in one chain")
        self.core, self.backends, self.fallback = core, tuple(backends), fallback
        self.name = ",".join(info.name for info, _ in backends) or "core"
        self.patterns: OrderedDict[tuple[Stage, str, str], Any] = OrderedDict()

    @property
    def providers(self) -> Mapping[str, Backend]:
        """The core and the backends, by name."""
        return {"core": self.core, **{info.name: backend for info, backend in self.backends}}

    def provider(
        self, stage: Stage, problem: Problem, options: SolverOptions, without: Container[str] = ()
    ) -> tuple[str, list[str]]:
        """The name of a stage's provider, which isn't one of `without`, and notes about backends that declined.

        Raises BackendError if a backend declines and fallback isn't allowed, OptionError if no provider has
        the solver.
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
                    f"backend {info.name!r} declines {stage}: {reason}; "
                    "pass fallback=True (--fallback) to continue without it"
                )
            notes.append(f"backend {info.name!r} declined {stage}: {reason}")
        if reason := self.core.declines(stage, problem, options):
            methods = {method for info, _ in self.backends for method in info.solver_methods}
            others = sorted(methods - set(self.core.solvers))
            raise OptionError(reason + (f"; {self.name} adds {', '.join(others)}" if others else ""))
        return "core", notes

    def method(
        self, options: SolverOptions, n_nodes: int, without: Container[str] = ()
    ) -> tuple[SolverOptions, list[str]]:
        """The options, with a solver in place of `auto`, and a note about the choice."""
        if options.method != "auto":
            return options, []
        name, why = choose(n_nodes, (info for info, _ in self.backends if info.name not in without))
        return replace(options, method=name), [f"auto chose solver {name}, {why}"]

    def kept(self, stage: ComputeStage[R], provider: str, mesh: Mesh) -> R | None:
        """The result of a stage from an earlier run on the same topology, if it was kept."""
        if not stage.kept:
            return None
        key = stage.name, provider, mesh.fingerprint
        if key in self.patterns:
            self.patterns.move_to_end(key)
        return self.patterns.get(key)

    def keep(self, stage: ComputeStage[R], provider: str, mesh: Mesh, value: R) -> None:
        """Keep a result for later runs; the least recently used one is dropped."""
        if stage.kept:
            self.patterns[stage.name, provider, mesh.fingerprint] = value
            while len(self.patterns) > _KEPT:
                self.patterns.popitem(last=False)

    def forget(self) -> None:
        """Drop what is kept from earlier runs, here and by each backend: patterns, prepared solvers."""
        self.patterns.clear()
        self.core.forget()
        for info, backend in self.backends:
            with named(info.name, "forget"):
                backend.forget()


@contextmanager
def named(provider: str, what: str) -> Iterator[None]:
    """Add the backend's name to its errors; its SystemExit becomes an error too."""
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
        if lacks_memory(error):
            raise not_enough(f"{what} by {provider} failed", error, _WAY) from error
        if provider == "core":
            raise
        raise BackendError(f"backend {provider!r} failed in {what}: {type(error).__name__}: {error}") from error

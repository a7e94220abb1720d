"""A run: calls the provider of each stage, announces and times the stage, and checks the result."""

import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fem_core.errors import BackendError, DeviceError, OptionError
from fem_core.io.files import write_result
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.events import Event, Listener, Observers
from fem_core.plugins.hook_calls import Hooks
from fem_core.plugins.registry import REGISTRY
from fem_core.plugins.stages import ComputeStage
from fem_core.problem import Problem
from fem_core.results import Fields, SolverOptions
from fem_core.run.chain import Chain, named
from fem_core.run.origin import remember_origin, require_origin
from fem_core.support.kinds import require, shown
from fem_core.support.progress import CancelToken, Progress
from fem_core.types import Stage

R = TypeVar("R")


@dataclass
class Opened:
    """The time and the notes of the opening of a session, for the reports of its runs.

    Parameters
    ----------
    notes, warnings : tuple of str
        What `auto` chose, and what it skipped.
    distributions : tuple of str
        The distributions whose versions the reports list.
    seconds : dict of stage to seconds
    announced : bool
        Whether the observers of a run have been notified.
    """

    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    distributions: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    announced: bool = False


@dataclass
class Account:
    """What a run has done so far, and its warnings and notes."""

    providers: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    host_copies: int = 0


class Run:
    """One run on a chain of backends: its observers, its clock, and the provider of each stage."""

    def __init__(
        self,
        chain: Chain,
        observers: Iterable[object] = (),
        on_event: Callable[[Event], object] | None = None,
        cancel: CancelToken | None = None,
    ) -> None:
        self.chain = chain
        self.hooks = Hooks(chain.providers, _listening(observers, on_event), REGISTRY.plugins())
        self.observers = Observers(self.hooks)
        require(cancel, CancelToken | None, "cancel must be a fem_core.CancelToken")
        self.progress = Progress(self.observers.emit, cancel, self.remark)
        self.problem, self.options = Problem(), SolverOptions()
        self.current: Stage = "open_backend"
        self.account = Account()
        self.without: set[str] = set()
        self._on_host: dict[Stage, weakref.ref[Any]] = {}

    @contextmanager
    def told(self) -> Iterator[None]:
        """Tell the observers if the block fails, with the stage."""
        try:
            yield
        except BaseException as error:
            self.observers.emit("fem_error", stage=self.current, error=error)
            raise

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Forget what was done and said in the block if it fails: its stages may be done again."""
        before = deepcopy(self.account)
        try:
            yield
        except BaseException:
            self.account = before
            raise

    @contextmanager
    def stage(self, name: Stage, provider: str = "core") -> Iterator[None]:
        """Report and time a stage; add the backend's name to its errors."""
        self.current = name
        self.account.providers[name] = provider
        self.progress.check()
        self.observers.emit("fem_stage_start", stage=name, provider=provider)
        start = time.perf_counter()
        with named(provider, name):
            yield
        seconds = self.account.seconds[name] = time.perf_counter() - start
        self.observers.emit("fem_stage_complete", stage=name, provider=provider, duration=seconds)

    def announce(self, opened: Opened) -> None:
        """Report the stages of the opening to the observers of the session's first run."""
        if not opened.announced:
            opened.announced = True
            for name, duration in opened.seconds.items():
                self.observers.emit("fem_stage_start", stage=name, provider=self.chain.name)
                self.observers.emit("fem_stage_complete", stage=name, provider=self.chain.name, duration=duration)

    def remark(self, text: str, *, warning: bool = False) -> None:
        """Add a note or a warning of the current stage's provider to the report."""
        text = f"{self.account.providers.get(self.current, 'core')}: {text}"
        remarks = self.account.warnings if warning else self.account.notes
        if text not in remarks:
            remarks.append(text)

    def perform(self, stage: ComputeStage[R], mesh: Mesh, *, disposable: bool = False, **values: Any) -> R:
        """Let the provider of a compute stage do it. The result has the host's type or one of the backend's own.

        Parameters
        ----------
        disposable : bool
            Whether the next stage may overwrite the result, because the caller doesn't need it afterwards.
        **values
            The hook's other arguments: `problem`, `options`, and what an earlier stage returned.
        """
        name = self.current = stage.name
        if "options" in values:
            values["options"], notes = self.chain.method(values["options"], mesh.n_nodes, self.without)
            self.account.notes += notes
        problem, options = values.get("problem", self.problem), values.get("options", self.options)
        provider, notes = self.chain.provider(name, problem, options, self.without)
        self.account.warnings += notes
        if stage.takes:
            argument, made_in = stage.takes
            require_origin(values[argument], made_in, mesh)
            values[argument] = self._hand_over(values[argument], made_in, provider, mesh)
        with self.stage(name, provider):
            result: Any = self.chain.kept(stage, provider, mesh)
            if result is None:
                result = self.hooks.call(stage.hook, provider, mesh=mesh, progress=self.progress, **values)
                self._check(result, stage, mesh)
            if not disposable and getattr(result, "disposable", False):
                result = replace(result, disposable=False)
        self.chain.keep(stage, provider, mesh, result)
        remember_origin(result, mesh)
        return result  # type: ignore[no-any-return]

    def to_host(self, value: R, made_in: ComputeStage[R], mesh: Mesh) -> R:
        """`value` on the host and in the mesh's numbering."""
        if type(value) is made_in.result:
            return value
        elsewhere: Any = value
        with named(self.account.providers.get(made_in.name, "core"), f"{made_in.name} (to_host)"):
            host: R = elsewhere.to_host()
        if type(host) is not made_in.result:
            raise self._wrong(made_in, f"its to_host() is a {type(host).__name__}")
        known = self._on_host.get(made_in.name)
        if known is None or known() is not host:  # a device value may keep its copy and return it again
            self._check(host, made_in, mesh)
            remember_origin(host, mesh)
            self._on_host[made_in.name] = weakref.ref(host)
            self.account.host_copies += 1
        return host

    def write(self, fields: Fields, outputs: Iterable[str | Path]) -> None:
        """Write files, as a stage."""
        with self.stage("write"):
            for path in outputs:
                write_result(fields, Path(path))

    def go_on_without(self, error: DeviceError) -> None:
        """Leave out the backend whose device failed. Raises the error if fallback isn't allowed."""
        if error.provider is None or not self.chain.fallback:
            raise error
        self.without.add(error.provider)
        self.account.warnings.append(f"{error}; the run was repeated without this backend")

    def _hand_over(self, value: Any, made_in: ComputeStage[Any], taker: str, mesh: Mesh) -> Any:
        """`value` as `taker` accepts it: unchanged if `taker` made it, else on the host."""
        maker = self.account.providers.get(made_in.name)
        if maker == taker or (maker is None and taker != "core"):
            return value
        return self.to_host(value, made_in, mesh)

    def _check(self, value: object, made_in: ComputeStage[Any], mesh: Mesh) -> None:
        """Refuse a wrong result of a provider: None, another type, wrong shapes, NaN."""
        if value is None:
            raise BackendError(
                f"{self._maker(made_in)} returned None from {made_in.name}; check for a missing `return`"
            )
        if fault := made_in.fault_in(value, mesh):
            raise self._wrong(made_in, fault)

    def _wrong(self, made_in: ComputeStage[Any], fault: str) -> BackendError:
        return BackendError(f"{self._maker(made_in)} returned a wrong result from {made_in.name}: {fault}")

    def _maker(self, stage: ComputeStage[Any]) -> str:
        providers = self.account.providers
        return f"backend {providers[stage.name]!r}" if stage.name in providers else "a backend"


def tell_failure(
    error: BaseException,
    stage: Stage,
    observers: Iterable[object] = (),
    on_event: Callable[[Event], object] | None = None,
) -> None:
    """Notify the observers of a run that failed before its session was open."""
    hooks = Hooks({}, _listening(observers, on_event), REGISTRY.plugins())
    Observers(hooks).emit("fem_error", stage=stage, error=error)


def _listening(observers: Iterable[object], on_event: Callable[[Event], object] | None) -> list[object]:
    require(observers, Iterable, "observers must be a list of objects with hooks")
    if on_event is not None and not callable(on_event):
        raise OptionError(f"on_event must be a function of an event, not {shown(on_event)}")
    return [*observers, *([Listener(on_event)] if on_event else ())]

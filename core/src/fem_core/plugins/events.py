"""Sends events to each observer separately, and limits the time that progress events take."""

import time
from collections.abc import Callable
from typing import IO, Any, NamedTuple

from fem_core.mesh.mesh import Mesh
from fem_core.plugins.hook_calls import Hooks
from fem_core.plugins.hookspecs import EventHooks, hookimpl, names
from fem_core.results import Report, to_json

#: The least time between two progress events of one kind to an observer, in seconds.
_INTERVAL = 0.05
#: The largest part of the run's time that a slow observer of progress may take.
_SHARE = 0.1

_PROGRESS = ("fem_assembly_progress", "fem_solve_progress", "fem_derived_progress")


class Event(NamedTuple):
    """An event as plain data: its name in the event lines, and its data."""

    name: str
    data: dict[str, Any]


class Observers:
    """The observers of one run."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks
        self._implementations = {name: getattr(hooks.manager.hook, name).get_hookimpls() for name in names(EventHooks)}
        self._due: dict[tuple[str, str], float] = {}

    def emit(self, hook: str, final: bool = True, **payload: Any) -> None:
        """Call the observers of `hook`; for progress that isn't `final`, only those whose waiting time is over."""
        throttled = hook in _PROGRESS
        for implementation in self._implementations[hook]:
            name = implementation.plugin_name
            key = name, hook
            now = time.perf_counter()
            if name in self._hooks.silenced or (throttled and not final and now < self._due.get(key, 0.0)):
                continue
            try:
                implementation.function(*(payload[argument] for argument in implementation.argnames))
            except (Exception, SystemExit) as error:
                self._hooks.switch_off(name, hook, error)
            if throttled:
                end = time.perf_counter()
                self._due[key] = end + max(_INTERVAL, (end - now) / _SHARE)


class Listener:
    """An observer that passes every event to a plain callable, as an `Event`."""

    def __init__(self, listen: Callable[[Event], object]) -> None:
        self._listen = listen

    @hookimpl
    def fem_stage_start(self, stage: str) -> None:
        self._listen(Event("fem:stageStart", {"stage": stage}))

    @hookimpl
    def fem_stage_complete(self, stage: str, duration: float) -> None:
        self._listen(Event("fem:stageComplete", {"stage": stage, "duration": duration}))

    @hookimpl
    def fem_mesh_loaded(self, mesh: Mesh) -> None:
        self._listen(Event("fem:meshLoaded", {"nodes": mesh.n_nodes, "elements": mesh.n_elements}))

    @hookimpl
    def fem_assembly_progress(self, current: int, total: int) -> None:
        self._listen(Event("fem:assemblyProgress", {"current": current, "total": total}))

    @hookimpl
    def fem_solve_progress(self, iteration: int, residual: float, etr: float | None) -> None:
        self._listen(Event("fem:solveProgress", {"iteration": iteration, "residual": residual, "etr": etr}))

    @hookimpl
    def fem_derived_progress(self, current: int, total: int) -> None:
        self._listen(Event("fem:derivedProgress", {"current": current, "total": total}))

    @hookimpl
    def fem_solve_complete(self, report: Report) -> None:
        data = {"converged": report.converged, "iterations": report.iterations, "timing": dict(report.seconds)}
        self._listen(Event("fem:solveComplete", data))

    @hookimpl
    def fem_error(self, stage: str, error: BaseException) -> None:
        self._listen(Event("fem:error", {"stage": stage, "error": str(error) or type(error).__name__}))


def json_lines(stream: IO[str]) -> Callable[[Event], None]:
    """A listener that writes each event as a line of JSON, `{"event": name, "data": {…}}`."""

    def write(event: Event) -> None:
        stream.write(to_json({"event": event.name, "data": event.data}) + "\n")
        stream.flush()

    return write

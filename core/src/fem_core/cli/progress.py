"""Progress of a run on stderr: bars on a terminal, log lines with -v, nothing otherwise."""

import logging
import math
import sys
from typing import TYPE_CHECKING, Any

from fem_core.cli.console import console, settings
from fem_core.plugins.hookspecs import hookimpl
from fem_core.support import wording
from fem_core.support.wording import visible

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from fem_core.mesh.mesh import Mesh

_log = logging.getLogger(__name__)


class Logged:
    """An observer for `-v`: it logs stages at level INFO, and progress inside a stage at level DEBUG."""

    @hookimpl
    def fem_stage_start(self, stage: str, provider: str) -> None:
        _log.info("%s by %s", stage, provider)

    @hookimpl
    def fem_stage_complete(self, stage: str, duration: float) -> None:
        _log.info("%s done in %.3f s", stage, duration)

    @hookimpl
    def fem_mesh_loaded(self, mesh: "Mesh") -> None:
        _log.info("mesh of %d nodes and %d elements", mesh.n_nodes, mesh.n_elements)

    @hookimpl
    def fem_solve_progress(self, iteration: int, residual: float, etr: float | None) -> None:
        _log.debug("iteration %d: relative residual %.3e%s", iteration, residual, _left(etr))


class Bars:
    """An observer that shows a bar for each stage while the block runs.

    It shows nothing if stderr is not a terminal, or with -v, which logs the same facts as lines.

    Parameters
    ----------
    rtol : float
        The tolerance of the solver. Its bar follows the logarithm of the residual.
    """

    def __init__(self, rtol: float = 1e-8) -> None:
        self._decades = math.log(rtol) if 0 < rtol < 1 else -math.inf
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Bars":
        if sys.stderr is not None and sys.stderr.isatty() and not settings().verbose:
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            self._progress = Progress(
                SpinnerColumn("line", finished_text="+"),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[detail]}", markup=False),
                console=console(err=True),
                transient=True,
            )
            try:
                self._progress.start()
            except RuntimeError:  # no thread can start; bars are not worth an error
                self.__exit__()
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def begin(self, stage: str, provider: str = "") -> None:
        """Begin the next stage; its number of steps is not known yet."""
        if self._progress is not None:
            self.end()
            self._task = self._progress.add_task(f"{visible(stage):<17}", total=None, detail=visible(provider))

    def end(self, detail: str | None = None) -> None:
        """End the bar of the stage."""
        self._update(total=1, completed=1, **({} if detail is None else {"detail": visible(detail)}))
        self._task = None

    def show(self, completed: float, total: float | None, detail: str) -> None:
        """Show the progress of the stage."""
        self._update(completed=completed, total=total, detail=visible(detail))

    def _update(self, **fields: Any) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, **fields)

    @hookimpl
    def fem_stage_start(self, stage: str, provider: str) -> None:
        self.begin(stage, provider)

    @hookimpl
    def fem_stage_complete(self, stage: str, provider: str, duration: float) -> None:
        self.end(f"{wording.duration(duration)} by {provider}")

    @hookimpl
    def fem_assembly_progress(self, current: int, total: int) -> None:
        self.show(current, total, f"{current:,} of {total:,} elements")

    fem_derived_progress = fem_assembly_progress

    @hookimpl
    def fem_solve_progress(self, iteration: int, residual: float, etr: float | None) -> None:
        done = math.log(residual) / self._decades if 0 < residual < math.inf else 0.0
        self.show(min(max(done, 0.0), 1.0), 1.0, f"iteration {iteration:,}, residual {residual:.1e}{_left(etr)}")


def _left(seconds: float | None) -> str:
    """`, about 12 s left`; empty if the time is not known."""
    if seconds is None or not math.isfinite(seconds):
        return ""
    return f", about {wording.duration(math.ceil(seconds))} left"

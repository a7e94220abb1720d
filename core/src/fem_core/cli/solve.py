"""`fem solve`."""

import os
import time
from collections.abc import Container, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Literal, Unpack

import click
from click.core import ParameterSource

from fem_core.cli.console import print_json, settings, stdout
from fem_core.cli.errors import Status
from fem_core.cli.options import (
    PATH,
    as_mapping,
    backend_options,
    check_distinct,
    check_format,
    check_other,
    check_target,
    everywhere,
    field_option,
    mesh_options,
    solver_option,
)
from fem_core.io.files import ReadOptions
from fem_core.plugins.events import Event, json_lines
from fem_core.problem import INFLOW, Dirichlet, Problem, Robin
from fem_core.results import SolverOptions
from fem_core.run.session import MethodOptions, solver_options
from fem_core.support.outputs import open_stream
from fem_core.support.progress import CancelToken
from fem_core.support.wording import duration

if TYPE_CHECKING:
    from fem_core.solution import Solution

_DEFAULT = SolverOptions()

#: Names of stdout. Those of the system would lead to stderr, see `own_stdout`.
_STDOUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")


@click.command(short_help="Solve the flow on a mesh.")
@click.argument("mesh", type=PATH)
@backend_options("auto")
@click.option(
    "--fallback",
    is_flag=True,
    help="If a backend can't do a stage, do this stage with the next backend or with the core.",
)
@solver_option
@click.option(
    "--rtol", type=float, default=_DEFAULT.rtol, show_default=True, help="Relative tolerance: stop when ‖r‖ < rtol·‖b‖."
)
@click.option(
    "--atol",
    type=float,
    default=_DEFAULT.atol,
    show_default=True,
    help="Absolute tolerance; the larger of rtol·‖b‖ and atol applies.",
)
@click.option("--maxiter", type=int, default=_DEFAULT.maxiter, show_default=True, help="Maximum number of iterations.")
@click.option(
    "--monitor", type=int, default=_DEFAULT.monitor, show_default=True, help="Iterations between two progress reports."
)
@click.option("--gamma", type=float, default=INFLOW, show_default=True, help="γ at the inlet: the speed of the inflow.")
@click.option("--p", type=float, default=0.0, show_default=True, help="p at the inlet, in k ∂u/∂n + p u = γ.")
@click.option("--outlet", type=float, default=0.0, show_default=True, help="u at the outlet.")
@click.option("--conductivity", type=float, default=1.0, show_default=True, help="k, the same in all elements.")
@click.option(
    "--dirichlet",
    type=click.Choice(["penalty", "eliminate"]),
    default="penalty",
    show_default=True,
    help="Method for Dirichlet conditions.",
)
@mesh_options
@click.option(
    "--output",
    "-o",
    "outputs",
    type=PATH,
    multiple=True,
    help="Write the result (.h5, .hdf5, .vtu, .npz, .csv, .nodes.csv); may be repeated.",
)
@click.option("--plot", "plots", type=PATH, multiple=True, help="Draw the flow (.png, .svg); may be repeated.")
@field_option
@click.option("--events", metavar="FILE|-", help="Write each event as a line of JSON; - means stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
@everywhere
@click.pass_context
def solve(
    context: click.Context,
    mesh: Path,
    backend: str,
    options: Sequence[tuple[str, str]],
    fallback: bool,
    solver: str,
    rtol: float,
    atol: float,
    maxiter: int,
    monitor: int,
    gamma: float,
    p: float,
    outlet: float,
    conductivity: float,
    dirichlet: str,
    outputs: Sequence[Path],
    plots: Sequence[Path],
    fields: Sequence[str],
    events: str | None,
    as_json: bool,
    **options_of_mesh: Unpack[ReadOptions],
) -> None:
    """Solve the potential flow on MESH and print a report.

    MESH is an HDF5, gmsh (.msh), VTU, Abaqus (.inp), NumPy (.npz) or Excel file.
    --gamma, --p and --outlet set the conditions at its boundaries inlet and outlet.
    All other boundaries are walls. If the file names no boundary at all, position
    decides: the inlet is at the smallest x, the outlet at the largest x. The report
    shows what was solved.

    Coordinates are in metres; in an Excel file they are in millimetres. Use --scale
    for a file in another unit.

    MESH can also be a result (.h5). The problem that is stored in it is then solved
    again. If you give --gamma, --p or --outlet, none of the stored conditions is used.

    \b
    Examples
      fem solve tube.h5
      fem solve tube.h5 --output result.h5 --plot tube.png
      fem solve tube.h5 --output result.vtu --plot tube.svg --field pressure
      fem solve tube.h5 --backend numpy --option batch_size=2048
      fem solve tube.h5 --rtol 1e-10 --gamma 1.0 --json
      fem solve tube.h5 --events - | grep solveProgress

    --solver auto selects the solver "direct" on small meshes and "mg" on large ones.
    "cg" is the reference for comparing backends; it is many times slower.

    With --events -, the events go to stdout and the printed report goes to stderr. If
    you also give --json, the report is the last line of stdout. Each run ends with
    exactly one event fem:solveComplete or fem:error.

    If the solver doesn't converge, the result is still written, and flagged. The exit
    status is then 4.
    """
    with EventLines(events, mesh, others=[*outputs, *plots]) as lines:
        given = {name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
        conditions = (Robin("inlet", gamma, p), Dirichlet("outlet", outlet))
        problem = problem_of(mesh, given, conditions, conductivity, dirichlet)
        method: MethodOptions = {"solver": solver, "rtol": rtol, "atol": atol, "maxiter": maxiter, "monitor": monitor}
        solver_options(method)  # refuses a wrong option before anything is opened
        check_outputs(outputs, plots, mesh, fields)
        backend_options = as_mapping(options)

        from fem_core.cli.progress import Bars, Logged
        from fem_core.io.files import reading
        from fem_core.run.opening import open_backend

        # No thread if workers are made by fork: fork is refused if there are other threads.
        source = mesh if "fork" in backend_options.values() else reading(mesh, options_of_mesh)
        with Bars(rtol) as bars:
            bars.begin("open_backend", backend)
            with open_backend(backend, fallback=fallback, **backend_options) as session:
                solution = session.solve(
                    source,
                    problem,
                    **method,
                    **options_of_mesh,
                    outputs=outputs,
                    observers=[bars, *([Logged()] if settings().verbose else [])],
                    on_event=lines if events else None,
                    cancel=lines.stop,
                )
            wrote, trouble = [str(path) for path in outputs], None
            for plot in plots:
                bars.begin("plot", "matplotlib")
                try:
                    wrote.append(draw(solution, plot, fields))
                except Exception as error:  # the report is printed before this error
                    trouble = error
        if as_json and lines.on_stdout:
            lines.report(solution)
        elif as_json:
            print_json(solution.report.to_dict())
        else:
            from fem_core.cli.report import print_report

            print_report(solution, wrote, err=lines.on_stdout)
        if trouble is not None:
            raise trouble
    if not solution.report.converged:
        context.exit(Status.NOT_CONVERGED)


def problem_of(
    mesh: Path, given: Container[str], conditions: tuple[Robin | Dirichlet, ...], conductivity: float, dirichlet: str
) -> Problem:
    """The problem that is stored in MESH, changed by the options that were `given`; if none is stored, the default."""
    from fem_core.io.files import read_problem

    method: Literal["penalty", "eliminate"] = "eliminate" if dirichlet == "eliminate" else "penalty"
    stored = read_problem(mesh)
    if stored is None:
        return Problem(conditions, conductivity=conductivity, dirichlet=method)
    new: dict[str, Any] = {}
    if "gamma" in given or "p" in given or "outlet" in given:
        new["conditions"] = conditions
    if "conductivity" in given:
        new["conductivity"] = conductivity
    if "dirichlet" in given:
        new["dirichlet"] = method
    changed = f", with the {' and '.join(new)} given here" if new else ""
    return replace(stored, **new).stored_in(stored.origin + changed)


def check_outputs(outputs: Sequence[Path], plots: Sequence[Path], mesh: Path, fields: Sequence[str]) -> None:
    """Raise FemError before any work is done, if an output file can't be written."""
    from fem_core.io.files import result_writers

    for path in outputs:
        check_target(path, keep=mesh)
        check_format(path, result_writers())
    from fem_core.plot import check_fields, check_plot

    check_fields(fields)
    for plot in plots:
        check_target(plot, keep=mesh)
        check_plot(plot)
    check_distinct([*outputs, *plots])


def draw(solution: "Solution", path: Path, fields: Sequence[str] = ()) -> str:
    """Draw the picture; return its file name and the time that it took."""
    from fem_core.plot import DEFAULT, plot_solution

    start = time.perf_counter()
    plot_solution(solution, path, fields or DEFAULT)
    return f"{path} ({duration(time.perf_counter() - start)})"


class EventLines:
    """`--events`: lines of JSON that end with exactly one `fem:solveComplete` or `fem:error`.

    The pipeline sends one of these two events for each run. If there is no run, for example because a backend can't be
    opened, an error in the block sends `fem:error`. If the events can't be written, the run continues only if it writes
    other files.
    """

    def __init__(self, target: str | None, mesh: Path, others: Sequence[Path] = ()) -> None:
        self._target, self._mesh, self._others = target, mesh, others
        self._stream: IO[str] | None = None
        self._ended = False
        self._trouble: OSError | None = None
        self.stop = CancelToken()

    @property
    def on_stdout(self) -> bool:
        return self._target in _STDOUT

    def __enter__(self) -> "EventLines":
        if self.on_stdout:
            self._stream = stdout()
        elif self._target:
            check_other(Path(self._target), self._mesh)
            check_distinct([*self._others, Path(self._target)])
            self._stream = open_stream(Path(self._target))  # closed by __exit__
        return self

    def __call__(self, event: Event) -> None:
        if self._stream is not None:
            self._ended |= event.name in ("fem:solveComplete", "fem:error")
            try:
                json_lines(self._stream)(event)
            except OSError as error:  # the reader has gone, or the disk is full
                self._trouble = self._trouble or error
                if not self._others:
                    self.stop.cancel()

    def report(self, solution: "Solution") -> None:
        """Print the report as the last line."""
        print_json(solution.report.to_dict(), indent=None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            if error is not None and not self._ended:
                self(Event("fem:error", {"stage": "open_backend", "error": str(error) or type(error).__name__}))
            if self._stream is not None and not self.on_stdout:
                self._stream.close()
        if self._trouble is not None:
            named = "the events" if self.on_stdout else self._target
            raise OSError(self._trouble.errno, os.strerror(self._trouble.errno or 0), named) from error

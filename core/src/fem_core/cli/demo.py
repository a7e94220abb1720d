"""`fem demo`."""

import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import click

from fem_core.cli.console import say, settings
from fem_core.cli.errors import Status
from fem_core.cli.options import PATH, as_mapping, backend_options, check_target, everywhere, solver_option
from fem_core.errors import FemError
from fem_core.support.wording import duration


@click.command(short_help="First steps: make a mesh, solve it, draw a picture.")
@click.option("--nodes", type=int, default=200_000, show_default=True, help="Approximate number of nodes.")
@backend_options("auto")
@solver_option
@click.option(
    "--folder",
    type=PATH,
    default=Path(),
    show_default="the current one",
    help="Folder for fem-demo.png and fem-demo.h5.",
)
@everywhere
@click.pass_context
def demo(
    context: click.Context,
    nodes: int,
    backend: str,
    options: Sequence[tuple[str, str]],
    solver: str,
    folder: Path,
) -> None:
    """Make a mesh of a y-tube with about 200,000 nodes and solve the flow in it. Then
    show the report, write a picture (fem-demo.png) and the result (fem-demo.h5), and
    suggest the next commands.

    \b
    Examples
      fem demo
      fem demo --nodes 20000 --backend numpy --solver cg
    """
    from fem_core import generate
    from fem_core.cli.progress import Bars, Logged
    from fem_core.cli.report import print_report
    from fem_core.cli.solve import draw
    from fem_core.plot import check_plot
    from fem_core.run.opening import open_backend

    result, picture = folder / "fem-demo.h5", folder / "fem-demo.png"
    for path in (result, picture):
        check_target(path)
    try:
        check_plot(picture)
        no_picture = ""
    except FemError as error:
        no_picture = str(error)

    with Bars() as bars:
        bars.begin("generate", "y-tube")
        start = time.perf_counter()
        mesh = generate.y_tube(nodes=nodes)
        generated = time.perf_counter() - start
        bars.end()
        bars.begin("open_backend")
        with open_backend(backend, **as_mapping(options)) as session:
            observers = [bars, *([Logged()] if settings().verbose else [])]
            solution = session.solve(mesh, solver=solver, outputs=[result], observers=observers)
        wrote = [str(result)]
        if not no_picture:
            bars.begin("plot", "matplotlib")
            wrote.append(draw(solution, picture))
    say(f"made a y-tube of {mesh.n_nodes:,} nodes in {duration(generated)}")
    print_report(solution, wrote)
    if no_picture:
        say(f"no picture: {no_picture}")
    _print_next(result, folder, solution.report.solver["method"])
    if not solution.report.converged:
        context.exit(Status.NOT_CONVERGED)


def _print_next(result: Path, folder: Path, method: str) -> None:
    fem, file = program(), shlex.quote(str(result))
    mesh, picture = (shlex.quote(str(folder / name)) for name in ("bend.h5", "bend.svg"))
    say()
    say("Next commands to try")
    for why, command in (
        ("solve it with cg, the solver for comparing backends (slower)", f"{fem} solve {file} --solver cg"),
        (
            "solve with twice the inflow, print JSON for a script",
            f"{fem} solve {file} --solver {method} --gamma 5 --json",
        ),
        ("make, solve and draw another shape", f"{fem} mesh annulus --nodes 5000 -o {mesh}"),
        ("", f"{fem} solve {mesh} --plot {picture}"),
        ("list the backends", f"{fem} backends"),
        ("show the manual", f"{fem} --help"),
    ):
        if why:
            say(f"  # {why}")
        say(f"  {command}")


def program() -> str:
    """The command that runs this same `fem`."""
    started = sys.argv[0]
    if Path(started).parts[-2:] == ("fem_core", "__main__.py"):
        return f"{shlex.quote(sys.executable)} -m fem_core"
    found = shutil.which("fem")
    if found and Path(started).exists() and Path(found).resolve() == Path(started).resolve():
        return "fem"
    return shlex.quote(started) if Path(started).name.startswith("fem") else "fem"

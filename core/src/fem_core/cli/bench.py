"""`fem bench`."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from fem_core.cli.console import cell, print_json, say, show, stdout
from fem_core.cli.options import PATH, everywhere, mesh_options
from fem_core.io.files import ReadOptions
from fem_core.plugins.registry import REGISTRY, State
from fem_core.support.launch import python
from fem_core.tools.bench import ONE_THREAD

if TYPE_CHECKING:
    from fem_core.tools.bench import Comparison


@click.command(short_help="Measure and compare the times of backends.")
@click.argument("mesh", type=PATH, required=False)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Backend to time; may be repeated. The others are compared with the first.",
)
@click.option(
    "--nodes", type=int, default=20_000, show_default=True, help="Number of nodes of the y-tube if no MESH is given."
)
@click.option(
    "--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Timed rounds, after one warm-up round."
)
@click.option(
    "--iterations", type=click.IntRange(min=1), default=100, show_default=True, help="Iterations of cg in each round."
)
@click.option("--one-thread", is_flag=True, help="Limit BLAS, OpenMP and Numba to one thread.")
@mesh_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
@click.pass_context
def bench(
    context: click.Context,
    mesh: Path | None,
    backends: Sequence[str],
    nodes: int,
    repeats: int,
    iterations: int,
    one_thread: bool,
    as_json: bool,
    **options: Unpack[ReadOptions],
) -> None:
    """Measure the times of the stages of several backends, on MESH or a y-tube.

    First the matrix of each backend is compared with the matrix of the first one; a
    backend whose matrix differs is refused. Then the backends take turns, round after
    round, in one process. The table shows the median times, and compares each backend
    with the first one: how many times faster it is. The time of cg is the time of one
    iteration.

    \b
    Examples
      fem bench
      fem bench tube.h5 --backend numpy --backend baseline --repeats 3
      fem bench --nodes 200000 --backend numpy --one-thread --json

    By default, all ready backends that can be opened are timed, numpy first.
    """
    if one_thread and any(os.environ.get(name) != "1" for name in ONE_THREAD):
        # NumPy reads these variables when it is imported, so a new process has to start with them
        again = python("-m", "fem_core", *sys.argv[1:])
        context.exit(subprocess.run(again, env={**os.environ, **ONE_THREAD}, check=False, stdout=stdout()).returncode)

    from fem_core.cli.progress import Bars
    from fem_core.generate import y_tube
    from fem_core.io.files import read_mesh
    from fem_core.tools.bench import compare_backends, machine

    ready = [one.name for one in REGISTRY.listings() if one.state is State.READY]
    chosen = list(backends) or sorted(ready, key=lambda name: name != "numpy")
    with Bars() as bars:
        bars.begin("mesh")
        geometry = read_mesh(mesh, **options) if mesh else y_tube(nodes=nodes)
        comparison = compare_backends(
            chosen,
            geometry,
            repeats=repeats,
            iterations=iterations,
            strict=bool(backends),
            on_round=lambda round_, name: bars.begin(f"round {round_} of {repeats}", name),
        )
    if as_json:
        print_json({**comparison.to_dict(), "machine": machine()})
    else:
        _print(comparison, repeats)


def _print(comparison: "Comparison", repeats: int) -> None:
    from rich.table import Table

    say(f"{comparison.mesh}; {repeats} round{'s' * (repeats > 1)}, medians in ms, speed-up over the first")
    say()
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="bold")
    table.add_column("stage")
    names = list(comparison.timings)
    for name in names:
        table.add_column(cell(name), justify="right")
    for stage, first in comparison.timings[names[0]].items():
        cells = []
        for name in names:
            median = comparison.timings[name][stage].median
            times = "" if name == names[0] else f"  {first.median / median:7.3g} x"
            if all(comparison.providers[one][stage] == "core" for one in (name, names[0])):
                times = "" if name == names[0] else "       core"  # the same code: a ratio would be noise
            cells.append(f"{1e3 * median:.3f}{times}")
        table.add_row(stage, *cells)
    show(table)
    say()
    say("matrices, largest difference from the first relative to the diagonal: "
        + ", ".join(f"{name} {difference:.0e}" for name, difference in comparison.equality.items()))  # fmt: skip
    for name, reason in comparison.left_out.items():
        say(f"left out {name}: {reason}")

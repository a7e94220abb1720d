"""`fem check`."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from fem_core.cli.console import MOST_LINES, cell, left_out, print_json, say, show
from fem_core.cli.errors import Status
from fem_core.cli.options import PATH, check_distinct, check_format, check_target, everywhere, mesh_options
from fem_core.io.files import ReadOptions
from fem_core.mesh.mesh import SAME_PLACE
from fem_core.problem import condition_text
from fem_core.support.wording import byte_size, count, duration, verb

if TYPE_CHECKING:
    from rich.table import Table

    from fem_core.tools.mesh_check import MeshCheck


@click.command(short_help="Check whether a mesh can be solved, and its quality.")
@click.argument("mesh", type=PATH)
@mesh_options
@click.option("--plot", type=PATH, help="Draw the mesh, its boundaries and its worst elements (.png, .svg).")
@click.option(
    "--fix", is_flag=True, help="Repair what can be repaired, and write the repaired mesh to the file given with -o."
)
@click.option("--output", "-o", type=PATH, help="File for the repaired mesh.")
@click.option(
    "--merge-tolerance",
    type=float,
    default=SAME_PLACE,
    show_default=True,
    help="--fix merges exterior nodes that are closer than this (relative to the extent).",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@everywhere
@click.pass_context
def check(
    context: click.Context,
    mesh: Path,
    plot: Path | None,
    fix: bool,
    output: Path | None,
    merge_tolerance: float,
    as_json: bool,
    **options: Unpack[ReadOptions],
) -> None:
    """Check MESH without solving it. The report shows its size, its boundaries, the
    quality of the elements, the estimated time and memory of a solve, and all
    faults. The last line says whether the mesh can be solved. If not, it gives the
    reason and says what to do, and the exit status is 2.

    \b
    Examples
      fem check tube.h5
      fem check tube.h5 --plot tube-mesh.png
      fem check tube.h5 --json
      fem check broken.h5 --fix -o repaired.h5

    \b
    Measures of quality
      jacobian  smallest / largest det J: 1 is best, under 0.033 is poor
      aspect    length / width: 1 is best, over 20 is poor
      skew      how far corners are from 90°: 0 is best, over 0.9 is poor

    --fix removes orphan nodes and duplicate elements, merges coincident nodes,
    reverses clockwise elements, and adds edges and mid-side nodes that a boundary
    lacks. If edges coincide, they are possibly a plate of no thickness; --fix then
    needs --slits keep or --slits merge. It keeps the boundaries, and reports each
    change. It doesn't move nodes: correct folded elements in the program that made
    the mesh. The repaired mesh passes fem check.

    Times are estimates. They come from the mesh and from a short measurement on this
    machine. They are correct within a factor of about two.
    """
    import numpy as np

    from fem_core.cli.progress import Bars
    from fem_core.tools.mesh_check import check_mesh

    context.with_resource(np.errstate(all="ignore"))  # figures of a broken mesh may be infinite

    if fix != (output is not None):
        raise click.UsageError(
            "--fix and -o FILE must be given together: the repaired mesh is written to a new file", context
        )
    if plot is not None:
        from fem_core.plot import check_plot

        check_target(plot, keep=mesh)
        check_plot(plot)
        check_distinct([plot, *([output] if output else [])])
    done: list[str] = []
    with Bars() as bars:
        if output is not None:
            bars.begin("repair")
            done, options = repair(mesh, output, merge_tolerance, options)
            options["scale"] = None  # the repaired file is in the unit of its format
        bars.begin("check")
        found = check_mesh(output or mesh, merge_tolerance=merge_tolerance, **options)
        if plot is not None:
            from fem_core.plot.mesh import plot_mesh

            bars.begin("plot", "matplotlib")
            plot_mesh(found, plot)
    if as_json:
        print_json({**found.to_dict(), "done": done})
    else:
        _print(found, [*([str(output)] if output else []), *([str(plot)] if plot else [])], done)
        say(verdict(found, output or mesh, merge_tolerance, options))
    if not found.solvable:
        context.exit(Status.USAGE)


def repair(mesh: Path, output: Path, merge_tolerance: float, options: ReadOptions) -> tuple[list[str], ReadOptions]:
    """Write the repaired mesh if it can be solved; return the changes, and the options for reading the new file."""
    from fem_core.errors import MeshError
    from fem_core.io.files import mesh_formats, read_problem, read_unvalidated, write_mesh
    from fem_core.mesh.repair import repair_mesh
    from fem_core.tools.mesh_check import repair_faults

    check_target(output, keep=mesh)
    check_format(output, [known for known in mesh_formats() if known.write])
    given = read_unvalidated(mesh, options["scale"])
    repaired, done = repair_mesh(given, merge_tolerance, options.get("slits"))
    options = {**options, "slits": "keep" if repaired.slits else None}  # not all formats store this
    problem = read_problem(mesh)
    for fault in repair_faults(repaired, problem, options):
        raise MeshError(f"{mesh}: not repaired, nothing written: {fault.text}")
    write_mesh(repaired, output)
    left = ["wrote the mesh only, without the solution and the problem of the result"] if problem else []
    return [*(done or ["nothing to repair"]), *left], options


def verdict(found: "MeshCheck", path: Path, merge_tolerance: float, options: ReadOptions) -> str:
    """The last line: how to solve the mesh, or why it can't be solved and what to do."""
    name = shlex.quote(str(path))
    if (tolerance := options["boundary_tolerance"]) != SAME_PLACE:
        name += f" --boundary-tolerance {tolerance!r}"
    if options["by_position"]:
        name += " --by-position"
    if (scale := options["scale"]) is not None:
        name += f" --scale {scale!r}"
    if slits := options["slits"]:
        name += f" --slits {slits}"
    if found.solvable:
        if found.solver is None:
            return f"{path} can be solved:  fem solve {name}"
        takes = _estimated(found.costs[found.solver].seconds)
        by = "" if found.solver == found.chosen else f" --solver {found.solver}"
        return f"{path} can be solved, in {takes}:  fem solve {name}{by}"
    first, *others = found.faults
    more = f" (and {len(others)} more)" if others else ""
    way = ""
    if found.mending:
        merge = "" if merge_tolerance == SAME_PLACE else f" --merge-tolerance {merge_tolerance!r}"
        repaired = shlex.quote(str(path.with_stem(path.stem + "-repaired")))
        way = f"; to repair it:  fem check {name} --fix{merge} -o {repaired}"
    return f"{path} can't be solved: {first.text}{more}{way}"


def _print(found: "MeshCheck", wrote: Iterable[str], done: Iterable[str]) -> None:
    for line in done:
        say(f"repaired: {line}")
    say(f"{found.source}: {count(found.nodes, 'node')}, {count(found.elements, 'element')}{_orphans(found)}")
    mesh = found.mesh
    if mesh.n_elements:
        x, y = mesh.x[mesh.used_nodes], mesh.y[mesh.used_nodes]
        say(f"x {x.min():.6g} to {x.max():.6g} m, y {y.min():.6g} to {y.max():.6g} m, area {found.areas.sum():.6g} m²")
        say(_components(found))
        say()
        _print_boundaries(found)
        for condition in found.conditions[:MOST_LINES]:
            say(f"condition: {condition_text(condition)}")
        for line in left_out(len(found.conditions), "condition"):
            say(line)
        say()
        _print_quality(found)
    if found.costs:
        say()
        _print_costs(found)
    if found.notes or found.warnings or found.faults or wrote:
        say()
    for note in found.notes:
        say(f"note: {note}")
    for warning in found.warnings[:MOST_LINES]:
        say(warning, label="warning", colour="yellow")
    for line in left_out(len(found.warnings), "warning"):
        say(line)
    for fault in found.faults[:MOST_LINES]:
        say(fault.text, label="fault", colour="red")
    for line in left_out(len(found.faults), "fault"):
        say(line)
    for path in wrote:
        say(f"wrote {path}")
    say()


def _orphans(found: "MeshCheck") -> str:
    if not (n := found.orphan_nodes):
        return ""
    return f"; {count(n, 'orphan node', 'belong')} to no element and {verb(n, 'are')} fixed at 0"


def _components(found: "MeshCheck") -> str:
    parts = found.components()
    if len(parts) == 1:
        return "all elements are connected"
    first = [f"{n:,} (from element {element})" for n, element in parts[:5]]
    more = f", … {len(parts) - 5:,} more" if len(parts) > 5 else ""
    return f"{len(parts):,} parts that aren't connected; elements in each: {', '.join(first)}{more}"


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for number, heading in enumerate(columns):
        right = number and not heading.startswith("at")
        table.add_column(heading, justify="right" if right else "left", no_wrap=bool(number), overflow="fold")
    return table


def _print_boundaries(found: "MeshCheck") -> None:
    table = _table("boundary", "edges", "nodes", "length/m", "x/m", "y/m", "named by")
    for one in found.boundaries[:MOST_LINES]:
        sides = (" to ".join(dict.fromkeys(f"{v:.4g}" for v in side or ())) for side in (one.x, one.y))
        table.add_row(cell(one.name), f"{one.edges:,}", f"{one.nodes:,}", f"{one.length:.5g}", *sides, one.named_by)
    show(table)
    for line in left_out(len(found.boundaries), "boundary"):
        say(line)


def _print_quality(found: "MeshCheck") -> None:
    table = _table("quality", "worst", "median", "poor", "at elements")
    for measure, one in found.to_dict()["quality"].items():
        elements = ", ".join(str(worst["element"]) for worst in one["elements"])
        table.add_row(measure, f"{one['worst']:.3g}", f"{one['median']:.3g}", f"{one['poor']:,}", elements)
    show(table)


def _print_costs(found: "MeshCheck") -> None:
    table = _table("solver", "time", "memory", "remarks")
    for name, cost in sorted(found.costs.items(), key=lambda item: item[1].seconds):
        steps = f"about {count(_rounded(cost.iterations), 'iteration')}" if cost.iterations else ""
        room = "" if found.fits(name) else "more than is available"
        note = ", ".join(part for part in (steps, room) if part)
        table.add_row(cell(name), _estimated(cost.seconds), byte_size(cost.memory), cell(note))
    show(table)
    if found.memory is not None:
        say(f"({byte_size(found.memory)} are available)")


def _rounded(number: int) -> int:
    """To two digits."""
    return int(float(f"{number:.1e}"))


def _estimated(seconds: float) -> str:
    return "a moment" if seconds < 0.1 else f"about {duration(seconds)}"

"""`fem convert`."""

import shlex
import time
from pathlib import Path
from typing import Literal

import click

from fem_core.cli.console import say
from fem_core.cli.options import PATH, check_format, check_target, everywhere, scale_option, slits_option
from fem_core.support.wording import count


@click.command(short_help="Convert any planar mesh to 8-node quadrilaterals; refine a mesh.")
@click.argument("mesh", type=PATH)
@click.option("--output", "-o", type=PATH, required=True, help="File for the new mesh; its ending gives the format.")
@click.option(
    "--refine", type=int, default=0, show_default=True, help="How many times to split each element into four."
)
@scale_option
@slits_option
@everywhere
def convert(mesh: Path, output: Path, refine: int, scale: float | None, slits: Literal["keep", "merge"] | None) -> None:
    """Write the planar mesh in MESH as a mesh of 8-node quadrilaterals, which fem solve
    needs. Boundaries and their names are kept.

    9-node quadrilaterals lose the node in the middle. 4-node quadrilaterals get nodes in
    the middle of their sides. If there are triangles, all elements are split: a
    triangle into three quadrilaterals, a quadrilateral into four. If a side is curved,
    the new nodes on it follow the curve.

    \b
    Examples
      fem convert triangles.msh -o quads.h5
      fem convert tube.h5 --refine 1 -o fine.h5
      fem convert part.inp --scale 0.001 -o part.h5
      fem convert plate.bdf -o plate.h5

    MESH is a gmsh (.msh), VTU, Abaqus (.inp), HDF5, NumPy (.npz) or Excel file. With
    the package meshio (the extra "convert"), it can also be a file of Nastran, MED,
    Exodus, VTK, SU2, XDMF and others. Polygons, 3D elements and elements of third order
    are refused.
    """
    from fem_core.cli.progress import Bars
    from fem_core.io.convert import converted
    from fem_core.io.files import mesh_formats, read_cells, write_mesh
    from fem_core.mesh.boundaries import mesh_notes

    check_target(output, keep=mesh)
    check_format(output, [known for known in mesh_formats() if known.write])
    start = time.perf_counter()
    with Bars() as bars:
        bars.begin("read", mesh.name)
        cells = read_cells(mesh, scale)
        read = time.perf_counter()
        bars.begin("convert")
        made = converted(cells, refine, slits)
        done = time.perf_counter()
        bars.begin("write", output.name)
        write_mesh(made, output)
    written = time.perf_counter()
    boundaries = ", ".join(f"{name} ({count(len(b.edges), 'edge')})" for name, b in made.boundaries.items()) or "none"
    say(f"{mesh}: {cells.counted()}")
    say(f"{output}: {count(made.n_nodes, 'node')}, {count(made.n_elements, 'element')}; boundaries: {boundaries}")
    for note in mesh_notes(made):
        say(f"note: {note}")
    for warning in made.warnings:
        say(warning, label="warning", colour="yellow")
    say(f"read in {read - start:.2f} s, converted in {done - read:.2f} s, written in {written - done:.2f} s")
    say(f"to solve it:  fem solve {shlex.quote(str(output))}")

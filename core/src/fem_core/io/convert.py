"""Any planar mesh as one of 8-node quadrilaterals."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError, OptionError
from fem_core.io.files import read_cells, unvalidated
from fem_core.mesh.cells import KINDS, Cells, as_mesh, uncollapsed
from fem_core.mesh.geometry import turn_clockwise, validate_mesh
from fem_core.mesh.mesh import MOST_NODES, Mesh
from fem_core.mesh.repair import Slits, compact, with_slits
from fem_core.mesh.splitting import split
from fem_core.support.wording import count, verb


def convert_mesh(
    source: Mesh | str | Path, *, refine: int = 0, scale: float | None = None, slits: Slits = None
) -> Mesh:
    """A valid mesh of 8-node quadrilaterals made of any planar mesh, with its boundaries and their names.

    9-node quadrilaterals lose the node in the middle; 4-node ones get nodes in the middle of their sides. A mesh with
    triangles is split as a whole: a triangle into three quadrilaterals, a quadrilateral into four. New nodes lie on
    the curves of the old elements. Elements that are clockwise are reversed.

    Parameters
    ----------
    source : Mesh or path
        A path of any mesh format of fem-core, or of any that meshio reads (the extra `convert`).
    refine : int
        How many times each element of the result is split into four.
    scale, slits
        As in `read_mesh`.

    Raises
    ------
    MeshError
        For what can't be converted, such as volumes, polygons and cubic elements, and for faults of the mesh.
    OptionError
        If `refine` isn't a whole number from 0 on.

    >>> import fem_core as fem
    >>> fine = fem.convert_mesh(fem.generate.duct(nx=4, ny=2), refine=1)
    >>> fine.n_elements, {name: len(one.edges) for name, one in fine.boundaries.items()}
    (32, {'inlet': 4, 'outlet': 4, 'walls': 16})
    """
    if isinstance(source, Mesh):
        cells = Cells.of(unvalidated(source, {"scale": scale}))
    else:
        cells = read_cells(Path(source), scale)
    return converted(cells, refine, slits)


def converted(cells: Cells, refine: int = 0, slits: Slits = None) -> Mesh:
    """The mesh that `convert_mesh` makes of cells."""
    if isinstance(refine, bool) or not isinstance(refine, int) or refine < 0:
        raise OptionError(f"refine must be a whole number from 0 on, not {refine!r:.40}")
    used = cells.used_nodes
    if not cells.others and used.size and not 0 <= used.min() <= used.max() < len(cells.x):
        validate_mesh(as_mesh(cells))  # which says where
    cells = uncollapsed(cells)
    elements = 4**refine * sum(
        len(nodes) * (KINDS[kind].corners if cells.has_triangles else 1) for kind, nodes in cells.blocks.items()
    )
    if 3 * elements > MOST_NODES:
        raise OptionError(f"refine={refine} would make {elements:,} elements; a mesh has at most {MOST_NODES:,} nodes")
    mesh = split(cells) if cells.has_triangles else compact(as_mesh(cells))
    mesh = _valid(with_slits(mesh, slits), cells)
    for _ in range(refine):
        mesh = validate_mesh(split(Cells.of(mesh)))
    return mesh


def _valid(mesh: Mesh, cells: Cells) -> Mesh:
    """The valid mesh that was made of cells; those that are clockwise are reversed only if there is a fault."""
    try:
        return validate_mesh(mesh)
    except MeshError as error:
        fault = error
    mesh, turned = turn_clockwise(mesh)
    if turned:
        note = f"{count(turned, 'clockwise element')} {verb(turned, 'were')} reversed"
        try:
            return validate_mesh(replace(mesh, notes=(*mesh.notes, note)))
        except MeshError as error:
            fault = error
    raise MeshError(_explained(cells, str(fault)))


def _explained(cells: Cells, fault: str) -> str:
    """A fault of what became of cells: where in the cells, as far as this can be told."""
    if not cells.others:
        return fault
    edges = cells.edges
    times = np.bincount(np.concatenate([of_kind.ravel() for of_kind in edges.of_cells.values()]))
    corners = np.concatenate([nodes[:, : KINDS[kind].corners].ravel() for kind, nodes in cells.blocks.items()])
    hangs = np.isin(edges.x + 1j * edges.y, cells.x[corners] + 1j * cells.y[corners])
    for found, what in (
        (edges.ends[edges.ends[:, 0] == edges.ends[:, 1]], "has no length; an element must not have a node twice"),
        (edges.ends[times > 2], "belongs to more than two elements; merge or remove the duplicates"),
        (edges.ends[edges.middle >= len(cells.x)][hangs], "has a corner in its middle; give both sides the same edges"),
    ):
        if len(found):
            a, b = (f"({cells.x[node]:g}, {cells.y[node]:g})" for node in found[0])
            number = f" ({len(found)} in all)" if len(found) > 1 else ""
            return f"{cells.source}: the side of an element from {a} to {b}{number} {what}"
    return f"{fault.removesuffix(': fem check lists all')} (numbers are those of the new mesh)"

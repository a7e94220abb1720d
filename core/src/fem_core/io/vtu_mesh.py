"""VTU, the XML format of VTK for unstructured grids, as a mesh format.

8-node quadrilaterals (type 23) are the elements. A boundary is a pair of arrays `boundary:NAME`, as in a result;
a mesh has lines as well, in which the array is 1 where they belong to the boundary: quadratic ones (type 21), or
those of 2 nodes (type 3) that are the ends of a side of an element. In a file without such arrays, the tags of
other programs make boundaries of the lines that have them: `1`, `2`, …, and `point 1`, … of vertices.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io import vtk
from fem_core.io.checks import (
    as_elements_have,
    check_names,
    check_plane,
    check_tags,
    is_end,
    left_aside,
    result_warning,
    sides_between,
    solvable,
    unknown_tags,
    with_valid_names,
)
from fem_core.io.vtu import BOUNDARY, SLITS, edges_of_sides, nodes_of_boundaries, slits, write_grid
from fem_core.io.vtu_grid import Grid, kind_of
from fem_core.mesh.cells import KINDS, Cells
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support.wording import count, verb
from fem_core.types import Array

_VERTEX, _LINE, _EDGE, _QUAD = 1, 3, 21, 23
#: Points and lines of any number of nodes, which can't be sides of elements.
_OTHER_POINTS, _OTHER_LINES = (2,), (4, 35, 68)
#: Types of cells with an area, by the kinds of `fem_core.mesh.cells`; their nodes have the same order.
_AREAS = {_QUAD: "quad8", 9: "quad4", 28: "quad9", 5: "triangle3", 22: "triangle6"}
_REFUSED = {
    7: "polygons",
    70: "Lagrange quadrilaterals",
    **dict.fromkeys((10, 11, 12, 13, 14, 24, 25, 26, 27, 29, 71, 72, 73), "volumes"),
}
#: Arrays of cells that hold the tags of boundaries, as meshio, gmsh and others name them. The first one that has a
#: tag on a line or vertex counts: the numbers of curves come last.
TAGS = (
    *("gmsh:physical", "medit:ref", "cell_tags", "facet_tags", "su2:tag", "netgen:index", "ugrid:ref"),
    *("nastran:ref", "avsucd:material", "PhysicalIds", "GeometryIds", "CellEntityIds", "gmsh:geometrical"),
)
#: Arrays whose bits say that a cell is a neighbour's, refined or hidden.
_GHOSTS = {"vtkGhostType": 1 | 8 | 32, "vtkGhostLevels": 255}

_Found = tuple[dict[str, Boundary], dict[str, str]]


def read(path: Path) -> Mesh:
    """The mesh in a VTU file: text, base64, or appended; zlib and lzma. Raises MeshError naming the file."""
    return solvable(path, read_cells(path))


def read_cells(path: Path) -> Cells:
    """The cells in a VTU file, of any kind that can be converted. Raises MeshError as `read`."""
    grid = Grid(path, _wanted)
    n = grid.count("NumberOfPoints")
    points = grid.array("Points", "", 3 * n).reshape(n, 3)
    cells = _Cells(grid, points)
    notes = check_plane(path, points, np.arange(n), cells.areas.used_nodes)
    _refuse_ghosts(grid, cells)
    is_marked = any(name.startswith(BOUNDARY) for _, name in grid.arrays)
    boundaries, lost = (_marked if is_marked else _tagged)(grid, cells)
    boundaries, nameless = with_valid_names(boundaries)
    lost = _unread(grid) | lost | nameless
    points_aside, lines_aside = (np.count_nonzero(~cells.used[at]) for at in (cells.points_at, cells.lines_at))
    notes += left_aside(int(points_aside), int(lines_aside), "in no boundary")
    is_result = {("PointData", "u"), ("CellData", "velocity")} <= set(grid.arrays)
    warnings = (result_warning(path),) if is_result else ()
    slits = ("FieldData", SLITS) in grid.arrays
    return cells.areas.having(boundaries=boundaries, warnings=warnings, notes=notes, lost=lost, slits=slits)


def _wanted(section: str, name: str, attributes: dict[str, str]) -> bool:
    return name.startswith(BOUNDARY) or (section == "CellData" and (name in TAGS or kind_of(attributes) != ""))


def _unread(grid: Grid) -> dict[str, str]:
    """Arrays that speak of an inlet or outlet, under names that aren't those of boundaries."""
    names = [name for section, name in grid.arrays if section in ("PointData", "CellData")]
    reason = f"an array of this name isn't read; call the arrays of boundaries {BOUNDARY}NAME"
    return {name: reason for name in names if is_end(name) and not name.startswith(BOUNDARY)}


class _Cells:
    """The cells of a grid, sorted by their use in a mesh.

    Attributes
    ----------
    total : number of all cells
    areas : the cells with an area; outline is that of them (n, 8), areas_at where they stand among all cells (n,)
    edges : lines as sides of elements (n, 3); is_side is False for those that are none (n,); lines_at
    points : nodes of vertices (n,), -1 for those of several nodes; points_at
    used : whether a boundary has the cell (total,)
    """

    def __init__(self, grid: Grid, points: Array) -> None:
        n = len(points)
        m = self.total = grid.count("NumberOfCells")
        types = grid.array("Cells", "types", m)
        ends = np.concatenate([[0], grid.array("Cells", "offsets", m).astype(np.int64)])
        widths = np.diff(ends)
        if (widths < 0).any():
            raise MeshError(f"{grid.path}: the offsets of the cells must increase")
        nodes = grid.array("Cells", "connectivity", int(ends[-1]))
        if len(nodes) and not 0 <= nodes.min() <= nodes.max() < n:
            raise MeshError(f"{grid.path}: cells refer to points outside 0…{n - 1} (found {nodes.min()}…{nodes.max()})")
        known = {_VERTEX, _LINE, _EDGE, *_AREAS, *_OTHER_POINTS, *_OTHER_LINES}
        if unknown := set(np.unique(types).tolist()) - known:
            what = _REFUSED.get(min(unknown), "cells")
            raise MeshError(
                f"{grid.path}: {what} (VTK type {min(unknown)}), but only triangles and quadrilaterals can be "
                f"converted, and only 8-node quadrilaterals (type {_QUAD}) are solved"
            )

        def cells(kind: int, width: int) -> tuple[Array, Array]:
            chosen = np.flatnonzero(types == kind)
            if (widths[chosen] != width).any():
                raise MeshError(
                    f"{grid.path}: a cell of type {kind} must have {width} nodes, but one has another number"
                )
            return chosen, nodes[ends[chosen][:, None] + np.arange(width)].astype(np.int64)

        areas = {name: cells(kind, KINDS[name].nodes) for kind, name in _AREAS.items()}
        there = {name: (at, found) for name, (at, found) in areas.items() if len(at) or name == "quad8"}
        self.areas_at = np.concatenate([at for at, _ in there.values()])
        blocks = {name: found for name, (_, found) in there.items()}
        self.areas = Cells(points[:, 0], points[:, 1], blocks, source=grid.path.name)
        self.outline = self.areas.outline
        edges_at, edges = cells(_EDGE, 3)
        edges = as_elements_have(edges[:, [0, 2, 1]], self.outline)
        straight_at, straight = cells(_LINE, 2)
        sides, fits = sides_between(straight, self.outline)
        others_at = np.flatnonzero(np.isin(types, _OTHER_LINES))
        self.lines_at = np.concatenate([edges_at, straight_at, others_at])
        self.edges = np.concatenate([edges, sides, np.zeros((len(others_at), 3), dtype=np.int64)])
        self.is_side = np.repeat([True, False], [len(edges_at), len(straight_at) + len(others_at)])
        self.is_side[len(edges_at) : len(edges_at) + len(fits)] = fits
        vertices_at, vertices = cells(_VERTEX, 1)
        others_at = np.flatnonzero(np.isin(types, _OTHER_POINTS))
        self.points_at = np.concatenate([vertices_at, others_at])
        self.points = np.concatenate([vertices[:, 0], np.full(len(others_at), -1)])
        self.used = np.zeros(m, dtype=bool)

    def lack(self, chosen: Array) -> str:
        """Why these lines can't be a boundary; empty if they can."""
        loose = int(np.count_nonzero(~self.is_side[chosen]))
        what = f"{loose} of its {count(len(chosen), 'line')} {verb(loose, 'are')} no side of an element"
        return f"{what}; write lines of 3 nodes (VTK type {_EDGE})" if loose else ""


def _refuse_ghosts(grid: Grid, cells: _Cells) -> None:
    for name in set(_GHOSTS).intersection(grid.numbers("CellData")):
        marks = grid.array("CellData", name, cells.total)[cells.areas_at]
        if ghosts := int(np.count_nonzero(marks.astype(np.int64) & _GHOSTS[name])):
            raise MeshError(
                f"{grid.path}: {count(ghosts, 'cell')} {verb(ghosts, 'are')} hidden, or a copy of another piece's "
                f"({name}); merge the pieces, and write the mesh without such cells"
            )


def _marked(grid: Grid, cells: _Cells) -> _Found:
    """The boundaries from the arrays `boundary:NAME`."""
    boundaries, lost = {}, {}
    for array in dict.fromkeys(name for _, name in grid.arrays if name.startswith(BOUNDARY)):
        name = array.removeprefix(BOUNDARY)
        own, further = cells.edges[:0], np.empty(0, dtype=np.int64)
        if ("CellData", array) in grid.arrays:
            marks = grid.array("CellData", array, cells.total)
            chosen = np.flatnonzero(marks[cells.lines_at])
            cells.used[cells.lines_at[chosen]] = True
            if why := cells.lack(chosen):
                lost[name] = why
                continue
            sides = edges_of_sides(grid.path, array, marks[cells.areas_at], cells.outline)
            own = np.concatenate([cells.edges[chosen], sides])
        if ("PointData", array) in grid.arrays:
            further = np.flatnonzero(grid.array("PointData", array, grid.count("NumberOfPoints")))
            if cells.areas.others and not len(own):
                own = cells.areas.exterior_among(further)
        boundaries[name] = Boundary(own, np.union1d(own, further).astype(np.int64))
    return boundaries, lost


def _tagged(grid: Grid, cells: _Cells) -> _Found:
    """The boundaries from the tags that other programs write; arrays that may be tags become lost names."""
    both = np.concatenate([cells.lines_at, cells.points_at])
    arrays = grid.numbers("CellData") if len(both) else {}
    for name in [name for name in TAGS if name in arrays]:
        tags = np.abs(check_tags(grid.path, name, grid.array("CellData", name, cells.total)))
        if tags[both].any():
            cells.used |= tags != 0
            return _boundaries_of(tags, cells)
    return {}, unknown_tags(
        (name, grid.array("CellData", name, cells.total)[cells.lines_at])
        for name, kind in arrays.items()
        if kind and not name.startswith("vtk")
    )


def _boundaries_of(tags: Array, cells: _Cells) -> _Found:
    """A boundary for each tag of lines or vertices."""
    boundaries, lost = {}, {}
    for tag, chosen in _by_value(tags[cells.lines_at]):
        if why := cells.lack(chosen):
            lost[str(tag)] = why
        else:
            boundaries[str(tag)] = Boundary.from_edges(cells.edges[chosen])
    for tag, chosen in _by_value(tags[cells.points_at]):
        nodes = cells.points[chosen]
        if (nodes < 0).any():
            lost[f"point {tag}"] = "it has cells of several points; write one vertex for each point"
        else:
            boundaries[f"point {tag}"] = Boundary(cells.edges[:0], nodes)
    return boundaries, lost


def _by_value(values: Array) -> Iterator[tuple[int, Array]]:
    """Each value except 0, and its positions."""
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    for value, chosen in zip(found.tolist(), np.split(order, first[1:]), strict=False):
        if value:
            yield value, chosen


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh`, its boundaries as quadratic edges and arrays."""
    check_names(mesh)
    edges = np.concatenate([np.empty((0, 3), np.int32), *(boundary.edges for boundary in mesh.boundaries.values())])
    n, m = mesh.n_elements, len(edges)
    types = np.repeat(np.array([_QUAD, _EDGE], dtype=np.uint8), [n, m])
    connectivity = np.concatenate([mesh.quad8.ravel(), edges[:, [0, 2, 1]].ravel()]).astype(np.int64)
    in_cells: dict[str, Array] = {}
    begin = n
    for name, boundary in mesh.boundaries.items():
        in_cells[BOUNDARY + name] = np.zeros(n + m, dtype=np.uint8)
        in_cells[BOUNDARY + name][begin : begin + len(boundary.edges)] = 1
        begin += len(boundary.edges)
    cells = {"connectivity": connectivity, "offsets": np.cumsum(np.repeat([8, 3], [n, m])), "types": types}
    write_grid(path, vtk.points(mesh), cells, nodes_of_boundaries(mesh), in_cells, of_all=slits(mesh))

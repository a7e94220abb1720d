"""VTU, the XML format of VTK for unstructured grids: how a file is written, and results as one.

ParaView, VisIt, PyVista and meshio read it. The arrays follow the XML as they are in memory (`AppendedData`,
raw), each after its number of bytes. https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html

VTK has no names for parts of a grid, so a boundary is a pair of arrays `boundary:NAME`. At points, the value is 1 if
the node belongs to the boundary, else 0. In 8-node quadrilaterals, the value is the sum of 1, 2, 4 and 8 for the sides
that belong to it. A result can thus be read as a mesh, and needs no additional cells for the boundaries. The field data
`slits` say that coincident edges are intended (`Mesh.slits`).
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io import vtk
from fem_core.mesh.geometry import find_edges
from fem_core.mesh.mesh import Mesh
from fem_core.mesh.quad8 import EDGES
from fem_core.results import RESULT_VERSION, UNITS, Fields
from fem_core.support.wording import byte_size, count
from fem_core.types import Array

#: The prefix of the names of the arrays of boundaries.
BOUNDARY = "boundary:"
#: The field data of a mesh with slits.
SLITS = "slits"

#: The most bytes of the arrays of boundaries: those of 100,000 boundaries of one edge each are 10 GB.
_LARGEST = 1 << 31

#: Attributes of sections: the arrays that a viewer shows first.
_SHOWN = {"u": ' Scalars="u"', "velocity": ' Vectors="velocity"', "speed": ' Scalars="speed"'}

Arrays = Mapping[str, Array]


def write_result(solution: Fields, path: Path) -> None:
    """Write the grid, its boundaries, and the fields with their units; version and `converged` are field data."""
    mesh = solution.mesh
    for name in mesh.boundaries:
        if not name.isprintable():
            raise MeshError(f"the boundary name {name!r} has characters that XML files can't store")
    connectivity, offsets, types = vtk.cells(mesh)
    write_grid(
        path,
        points=vtk.points(mesh),
        cells={"connectivity": connectivity, "offsets": offsets[1:], "types": types},
        at_points={"u": solution.u, **nodes_of_boundaries(mesh)},
        in_cells={
            "velocity": vtk.vectors(solution.velocity),
            "speed": solution.speed,
            "pressure": solution.pressure,
            **_sides_of_boundaries(mesh),
        },
        of_all={
            "version": np.array([RESULT_VERSION], dtype=np.int32),
            "converged": np.array([solution.report.converged], dtype=np.int32),
            **slits(mesh),
        },
    )


def slits(mesh: Mesh) -> dict[str, Array]:
    """The field data of a mesh with slits."""
    return {SLITS: np.array([1], dtype=np.int32)} if mesh.slits else {}


def nodes_of_boundaries(mesh: Mesh) -> dict[str, Array]:
    """The arrays of boundaries at points: uint8 (n_nodes,) each."""
    lines = sum(len(boundary.edges) for boundary in mesh.boundaries.values())
    if (size := len(mesh.boundaries) * (mesh.n_nodes + mesh.n_elements + lines)) > _LARGEST:
        raise MeshError(
            f"{count(len(mesh.boundaries), 'boundary')} would take {byte_size(size)}, because VTU has arrays of all "
            "nodes and cells for each; write .h5"
        )
    arrays = {BOUNDARY + name: np.zeros(mesh.n_nodes, dtype=np.uint8) for name in mesh.boundaries}
    for name, boundary in mesh.boundaries.items():
        arrays[BOUNDARY + name][boundary.nodes] = 1
    return arrays


def _sides_of_boundaries(mesh: Mesh) -> dict[str, Array]:
    """The arrays of boundaries in quadrilaterals: uint8 (n_elements,) each."""
    known = mesh.quad8[:, EDGES].reshape(-1, 3)
    arrays: dict[str, Array] = {}
    for name, boundary in mesh.boundaries.items():
        is_side = np.zeros(4 * mesh.n_elements, dtype=np.uint8)
        is_side[find_edges(boundary.edges, known)] = 1
        arrays[BOUNDARY + name] = np.packbits(is_side.reshape(-1, 4), axis=1, bitorder="little")[:, 0]
    return arrays


def edges_of_sides(path: Path, name: str, sides: Array, quad8: Array) -> Array:
    """The edges of a boundary from its array `sides`, (n_elements,): (n, 3). Raises MeshError with the file's name."""
    if not ((sides >= 0) & (sides < 16)).all():
        raise MeshError(f"{path}: CellData/{name} must be from 0 to 15, a sum of 1, 2, 4 and 8 for four sides")
    element, side = np.nonzero(np.unpackbits(sides.astype(np.uint8)[:, None], axis=1, count=4, bitorder="little"))
    edges: Array = quad8[element[:, None], EDGES[side]]
    return edges


def write_grid(path: Path, points: Array, cells: Arrays, at_points: Arrays, in_cells: Arrays, of_all: Arrays) -> None:
    """Write a grid: points (n, 3), cells as connectivity, offsets and types, and arrays that belong to each."""
    appended: dict[int, Array] = {}
    field = _section("FieldData", of_all, appended)
    piece = "".join(
        _section(name, arrays, appended)
        for name, arrays in (
            ("PointData", at_points),
            ("CellData", in_cells),
            ("Points", {"Points": points}),
            ("Cells", cells),
        )
    )
    head = f"""<?xml version="1.0"?>
<VTKFile type="UnstructuredGrid" version="1.0" byte_order="{sys.byteorder.title()}Endian" header_type="UInt64">
<UnstructuredGrid>
{field}<Piece NumberOfPoints="{len(points)}" NumberOfCells="{len(cells["types"])}">
{piece}</Piece>
</UnstructuredGrid>
<AppendedData encoding="raw">
_"""
    with path.open("wb") as file:
        file.write(head.encode())
        for array in appended.values():
            file.write(np.uint64(array.nbytes).tobytes())
            file.write(array.data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def _section(section: str, arrays: Arrays, appended: dict[int, Array]) -> str:
    """A section; its arrays are added to `appended`, by their offset."""
    shown = "".join(_SHOWN.get(name, "") for name in arrays)
    lines = [_array(name, values, appended, tuples=section == "FieldData") for name, values in arrays.items()]
    return f"<{section}{shown}>\n{''.join(lines)}</{section}>\n"


def _array(name: str, values: Array, appended: dict[int, Array], tuples: bool) -> str:
    from xml.sax.saxutils import quoteattr  # it imports many other modules

    values = np.ascontiguousarray(values)
    last = next(reversed(appended), None)
    offset = 0 if last is None else last + 8 + appended[last].nbytes
    appended[offset] = values
    kind = {"f": "Float", "i": "Int", "u": "UInt"}[values.dtype.kind] + str(8 * values.dtype.itemsize)
    attributes = f'type="{kind}" Name={quoteattr(name)} format="appended" offset="{offset}"'
    if values.ndim == 2:
        attributes += f' NumberOfComponents="{values.shape[1]}"'
    if tuples:
        attributes += f' NumberOfTuples="{len(values)}"'
    if name not in UNITS:
        return f"<DataArray {attributes}/>\n"
    key = f'<InformationKey name="UNITS_LABEL" location="vtkDataArray">{UNITS[name]}</InformationKey>'
    return f"<DataArray {attributes}>{key}</DataArray>\n"

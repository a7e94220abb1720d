"""VTU, the XML format of VTK for unstructured grids: how a file is written, and results as one.

ParaView, VisIt, PyVista and meshio read it. The arrays follow the XML as they are in memory (`AppendedData`,
raw), each after its number of bytes. https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from fem_core.formats import UNITS, vtk
from fem_core.types import Array

if TYPE_CHECKING:
    from fem_core.solution import Solution

#: Attributes of sections: the arrays that are shown first.
_SHOWN = {"u": ' Scalars="u"', "velocity": ' Vectors="velocity"', "speed": ' Scalars="speed"'}

Arrays = Mapping[str, Array]


def write_result(solution: "Solution", path: Path) -> None:
    """Write the grid and the fields with their units; `converged` is field data."""
    mesh = solution.mesh
    connectivity, offsets, types = vtk.cells(mesh)
    write_grid(
        path,
        points=vtk.points(mesh),
        cells={"connectivity": connectivity, "offsets": offsets[1:], "types": types},
        at_points={"u": solution.u},
        in_cells={
            "velocity": vtk.vectors(solution.velocity),
            "speed": solution.speed,
            "pressure": solution.pressure,
        },
        of_all={"converged": np.array([solution.report.converged], dtype=np.int32)},
    )


def write_grid(path: Path, points: Array, cells: Arrays, at_points: Arrays, in_cells: Arrays, of_all: Arrays) -> None:
    """Write a grid: points (n, 3), cells as connectivity, offsets and types, and arrays that belong to each."""
    appended: list[Array] = []
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
        for array in appended:
            file.write(np.uint64(array.nbytes).tobytes())
            file.write(array.data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def _section(section: str, arrays: Arrays, appended: list[Array]) -> str:
    """A section whose arrays are added to those to append."""
    shown = "".join(_SHOWN.get(name, "") for name in arrays)
    lines = [_array(name, values, appended, tuples=section == "FieldData") for name, values in arrays.items()]
    return f"<{section}{shown}>\n{''.join(lines)}</{section}>\n"


def _array(name: str, values: Array, appended: list[Array], tuples: bool) -> str:
    values = np.ascontiguousarray(values)
    offset = sum(8 + array.nbytes for array in appended)
    appended.append(values)
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

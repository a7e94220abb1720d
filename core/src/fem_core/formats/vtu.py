"""VTU, the XML format of VTK for unstructured grids: results for ParaView, VisIt, PyVista and meshio.

The arrays follow the XML as they are in memory (`AppendedData`, raw), each after its number of bytes.
https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fem_core.formats import UNITS, vtk
from fem_core.types import Array

if TYPE_CHECKING:
    from fem_core.solution import Solution


def write_result(solution: "Solution", path: Path) -> None:
    """Write the grid and the fields with their units; `converged` is field data."""
    mesh = solution.mesh
    arrays: list[Array] = []
    connectivity, offsets, types = vtk.cells(mesh)
    at_points = _array(arrays, "u", solution.u)
    in_cells = "".join(
        _array(arrays, name, values)
        for name, values in (
            ("velocity", vtk.vectors(solution.velocity)),
            ("speed", solution.speed),
            ("pressure", solution.pressure),
        )
    )
    converged = _array(arrays, "converged", np.array([solution.report.converged], dtype=np.int32), tuples=True)
    points = _array(arrays, "Points", vtk.points(mesh))
    cells = "".join(
        _array(arrays, name, values)
        for name, values in (("connectivity", connectivity), ("offsets", offsets[1:]), ("types", types))
    )
    head = f"""<?xml version="1.0"?>
<VTKFile type="UnstructuredGrid" version="1.0" byte_order="{sys.byteorder.title()}Endian" header_type="UInt64">
<UnstructuredGrid>
<FieldData>
{converged}</FieldData>
<Piece NumberOfPoints="{mesh.n_nodes}" NumberOfCells="{mesh.n_elements}">
<PointData Scalars="u">
{at_points}</PointData>
<CellData Scalars="speed" Vectors="velocity">
{in_cells}</CellData>
<Points>
{points}</Points>
<Cells>
{cells}</Cells>
</Piece>
</UnstructuredGrid>
<AppendedData encoding="raw">
_"""
    with path.open("wb") as file:
        file.write(head.encode())
        for array in arrays:
            file.write(np.uint64(array.nbytes).tobytes())
            file.write(array.data)
        file.write(b"\n</AppendedData>\n</VTKFile>\n")


def _array(arrays: list[Array], name: str, values: Array, tuples: bool = False) -> str:
    """The element that describes `values`, which are added to the `arrays` to append."""
    values = np.ascontiguousarray(values)
    offset = sum(8 + array.nbytes for array in arrays)
    arrays.append(values)
    kind = {"f": "Float", "i": "Int", "u": "UInt"}[values.dtype.kind] + str(8 * values.dtype.itemsize)
    attributes = f'type="{kind}" Name="{name}" format="appended" offset="{offset}"'
    if values.ndim == 2:
        attributes += f' NumberOfComponents="{values.shape[1]}"'
    if tuples:
        attributes += f' NumberOfTuples="{len(values)}"'
    if name not in UNITS:
        return f"<DataArray {attributes}/>\n"
    key = f'<InformationKey name="UNITS_LABEL" location="vtkDataArray">{UNITS[name]}</InformationKey>'
    return f"<DataArray {attributes}>{key}</DataArray>\n"

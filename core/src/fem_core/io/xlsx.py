"""Excel workbooks (.xlsx): sheet `coord` with columns X and Y in millimetres, sheet `conec` with 8 nodes a row.

- `coord`: X and Y; Z, which must be 0; Node, the numbers that `conec` uses. Without Node, the first row is node 1.
- `conec`: N1 to N8, corners counter-clockwise, then mid-sides; Elem, whose numbers must differ.
- `boundaries`, if it is there: name, a, mid, b. A row is an edge. A row with only a is a node that is on no edge.

Columns are found by the headings in the first row. A first row of numbers is data; the columns then have a fixed order:
see `headings`. Other columns and other sheets are left aside with a note.
"""

import html
import io
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import check_names, check_plane, is_end, lacking, positions, with_valid_names
from fem_core.io.headings import EDGE, NODES, boundary_columns, conec_columns, coord_columns
from fem_core.io.table import NUMBERS, Rows, Table
from fem_core.io.workbook import MOST_ROWS, Sheet, Workbook, column_name, is_error, one_line, opened
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support.wording import count
from fem_core.types import Array, Ints

#: The unit of the coordinates, in metres.
UNIT = 1e-3

_NEEDS = (".xlsx", "xlsx", ("openpyxl", "defusedxml"))
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_MOST_ROWS = MOST_ROWS


def read(path: Path) -> Mesh:
    """The mesh in a workbook, in millimetres. Raises MeshError with the file, the cell and the cause."""
    if problem := lacking(*_NEEDS):
        raise MeshError(f"{path}: {problem}")
    with opened(path) as book:
        coord = Table(book.needed("coord", "the coordinates of the nodes"), coord_columns)
        conec = Table(book.needed("conec", "the nodes of the elements"), conec_columns)
        nodes = _Nodes(coord)
        wanted = np.stack([conec.whole(name, "a node number") for name in NODES], axis=1)
        quad8 = nodes.find(wanted, lambda i: conec.place(i // len(NODES), NODES[i % len(NODES)]))
        conec.distinct("Elem", "an element number")
        boundaries, warnings, notes = _boundaries(book, nodes)
        boundaries, nameless = with_valid_names(boundaries)
        others = book.left_aside
    warnings = (*coord.warnings, *conec.warnings, *warnings)
    notes = (*coord.notes, *conec.notes, *nodes.notes, *notes)
    if others:
        notes += (f"sheets left aside: {', '.join(map(one_line, others))}",)
    lost = {
        name.strip(): "it is a sheet, but the edges must be in the sheet boundaries" for name in others if is_end(name)
    }
    for text in (
        text for table in (coord, conec) for text in table.aside if is_end(text) or "boundar" in text.casefold()
    ):
        lost[text] = "it is a column, but the edges must be in the sheet boundaries"
    lost |= nameless
    x, y = coord.values["X"], coord.values["Y"]
    return Mesh(x, y, quad8, boundaries, path.name, warnings, notes, lost)


class _Nodes:
    """The node numbers: from the column Node; without it, the row numbers from 1."""

    def __init__(self, coord: Table) -> None:
        self._path = coord.sheet.book.path
        given = coord.distinct("Node", "a node number")
        self._given, n = given is not None, len(coord.values["X"])
        self._numbers = np.arange(1, n + 1) if given is None else given
        self.notes: tuple[str, ...] = ()
        if "Z" in coord.values:
            points = np.stack([coord.values[axis] for axis in "XYZ"], axis=1)
            try:
                self.notes = check_plane(self._path, points, self._numbers)
            except MeshError as error:
                hint = "" if coord.headed or self._given else "; if the columns are Node, X and Y, give them headings"
                raise MeshError(f"{error}{hint}") from None

    def find(self, wanted: Array, place: Callable[[int], str]) -> Ints:
        """The positions of the nodes `wanted`; `place` names the cell of each for an error."""
        unknown = np.flatnonzero(~np.isin(wanted, self._numbers))
        if not len(unknown):
            return positions(self._path, self._numbers, wanted)
        if not self._given and 0 in wanted:
            first = int(np.flatnonzero(wanted == 0)[0])
            text = "node numbers start at 1, the first row of coord; add 1 to all, or give coord a column Node"
            raise MeshError(f"{self._path}: {place(first)}: the node is 0, but {text}")
        where = "the column Node doesn't have it" if self._given else f"coord has {count(len(self._numbers), 'node')}"
        first = int(unknown[0])
        more = f" ({count(len(unknown) - 1, 'more cell')} like this)" if len(unknown) > 1 else ""
        raise MeshError(f"{self._path}: {place(first)}: there is no node {wanted.flat[first]}: {where}{more}")


def _boundaries(book: Workbook, nodes: _Nodes) -> tuple[dict[str, Boundary], tuple[str, ...], tuple[str, ...]]:
    """The boundaries in the sheet of this name, and the warnings and notes on it."""
    sheet = book.sheet("boundaries")
    if sheet is None:
        if near := book.nearest("boundaries"):
            text = "rename it to boundaries, or to another name to leave it aside"
            raise MeshError(f"{book.path}: the sheet {near!r} is not read, because its name is not boundaries; {text}")
        return {}, (), ()
    rows = Rows(sheet, boundary_columns)
    names: list[str] = []
    cells: list[list[tuple[int, int, int]]] = []
    for number, name, own in _boundary_cells(rows):
        names.append(name)
        cells.append([(number, column, node) for column, node in own])
    flat = [cell for row in cells for cell in row]
    wanted = np.array([node for _, _, node in flat], dtype=np.int64)
    found = nodes.find(wanted, lambda i: sheet.place(*flat[i][:2]))
    own_nodes = np.split(found, np.cumsum([len(row) for row in cells]))
    edges: dict[str, list[Ints]] = {name: [] for name in names}
    all_nodes: dict[str, list[Ints]] = {name: [] for name in names}
    for name, row in zip(names, own_nodes, strict=False):
        all_nodes[name].append(row)
        if len(row) == 3:
            edges[name].append(row)
    boundaries = {name: Boundary(np.array(edges[name]), np.concatenate(all_nodes[name])) for name in edges}
    return boundaries, rows.warnings, rows.notes


def _boundary_cells(rows: Rows) -> Iterator[tuple[int, str, list[tuple[int, int]]]]:
    """The number of each row, the name, and its nodes with their columns: three, one or none."""
    sheet = rows.sheet
    columns = [rows.columns[name] for name in EDGE if name in rows.columns]
    short: list[int] = []
    for number, (name, *row) in rows.cells(columns):
        own = [(column, node) for column, node in zip(columns[1:], row, strict=True) if node is not None]
        for column, node in own:
            if type(node) not in NUMBERS or node != node // 1 or abs(node) >= 2**53:
                sheet.refuse_value(number, column, node, "a node number")
        if len(own) == 2 or (len(own) == 1 and row[0] is None):
            sheet.refuse_value(number, columns[1 + row.index(None)], None, "a node (a row has a, mid, b, or a alone)")
        if len(own) < 3:
            short.append(number)
        yield number, _name(sheet, number, columns[0], name), [(column, int(node)) for column, node in own]
    if short:
        sheet.check_formulas(short[0], short[-1], columns)  # cells that only seem blank


def _name(sheet: Sheet, number: int, column: int, cell: object) -> str:
    """The name of a boundary; a number is accepted, too."""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    name = str(cell).strip()
    if type(cell) not in (str, int, float) or not name or is_error(name):
        sheet.refuse_value(number, column, cell if name else None, "a name")
    return name


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh`, in millimetres, with its named boundaries."""
    if mesh.n_nodes >= _MOST_ROWS:  # a mesh has more nodes than elements
        raise MeshError(f"a sheet holds {_MOST_ROWS - 1:,} rows, but the mesh has {mesh.n_nodes:,} nodes; write .h5")
    check_names(mesh)
    coordinates = np.stack([mesh.x, mesh.y], axis=1).tolist()
    sheets = {
        "coord": (["X", "Y"], coordinates),
        "conec": (NODES, (mesh.quad8 + 1).tolist()),
        "boundaries": (EDGE, _boundary_rows(mesh)),
    }
    parts = {
        "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Default Extension="xml" ContentType="{_TYPE}.worksheet+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/></Types>',
        "_rels/.rels": _relations({"officeDocument": ["xl/workbook.xml"]}),
        "xl/_rels/workbook.xml.rels": _relations(
            {"worksheet": [f"worksheets/sheet{i + 1}.xml" for i in range(len(sheets))]}
        ),
        "xl/workbook.xml": f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(sheets, start=1))
        + "</sheets></workbook>",
    }
    for i, (heads, rows) in enumerate(sheets.values(), start=1):
        lines = [f"<row>{''.join(map(_cell, row))}</row>\n" for row in chain([heads], rows)]
        size = f'<dimension ref="A1:{column_name(len(heads) - 1)}{len(lines)}"/>'  # or openpyxl reads all to find it
        body = f"{size}<sheetData>{''.join(lines)}</sheetData>"
        parts[f"xl/worksheets/sheet{i}.xml"] = f'<worksheet xmlns="{_MAIN}">{body}</worksheet>'
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{text}')
    path.write_bytes(stream.getvalue())


def _cell(value: str | float) -> str:
    return (
        f'<c t="inlineStr"><is><t>{html.escape(value, quote=False)}</t></is></c>'
        if isinstance(value, str)
        else f"<c><v>{value!r}</v></c>"
    )


def _relations(targets: dict[str, list[str]]) -> str:
    links = "".join(
        f'<Relationship Id="r{i}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for kind, names in targets.items()
        for i, target in enumerate(names, start=1)
    )
    return (
        f'<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{links}</Relationships>'
    )


def _boundary_rows(mesh: Mesh) -> Iterator[list[Any]]:
    for name, boundary in mesh.boundaries.items():
        further = np.setdiff1d(boundary.nodes, boundary.edges)
        yield from ([name, *edge] for edge in (boundary.edges + 1).tolist())
        yield from ([name, node] for node in (further + 1).tolist())
        if not len(boundary.nodes):
            yield [name]

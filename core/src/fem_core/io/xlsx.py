"""Excel workbooks (.xlsx): sheet `coord` with columns X and Y in millimetres, sheet `conec` with 8 nodes a row.

Node numbers are those of the rows, from 1; `conec` has a line of headings too. A sheet `boundaries` may follow, with
columns name, a, mid, b: a row per edge, or with a alone per node that isn't on an edge of its boundary.
Workbooks are zipped XML: what they unpack to is judged before, and defusedxml refuses entities.
"""

import html
import io
import warnings
import zipfile
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import SMALL, check_claim, check_names, lacking
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.types import Array

_NEEDS = (".xlsx", "xlsx", ("openpyxl", "defusedxml"))
_MILLI = 1000.0
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_MOST_ROWS = 1 << 20  # of a sheet, headings included
_MOST_EMPTY = 1000


def read(path: Path) -> Mesh:
    """The mesh in a workbook. Raises MeshError naming the file, the sheet and the row."""
    if problem := lacking(*_NEEDS):
        raise MeshError(f"{path}: {problem}")
    _check_sizes(path)
    import openpyxl

    try:
        with path.open("rb") as file, warnings.catch_warnings():  # by name, openpyxl refuses endings such as .XLSX
            warnings.simplefilter("ignore")  # about styles and the like
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            try:
                x, y = _numbers(path, book, "coord", ["X", "Y"]).T / _MILLI
                quad8 = _integers(path, _numbers(path, book, "conec", 8), "conec") - 1
                boundaries = _boundaries(path, book) if "boundaries" in book.sheetnames else {}
            finally:
                book.close()
    except MeshError:
        raise
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise MeshError(f"{path}: not a readable workbook ({text})") from None
    return Mesh(x, y, quad8, boundaries, source=path.name)


def _check_sizes(path: Path) -> None:
    """Refuse bombs: sheets are read row by row, but all other parts are held in memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise MeshError(f"{path}: not a readable workbook ({error})") from None
    others = 0
    for member in members:
        check_claim(path, repr(member.filename), member.file_size, member.compress_size)
        if not member.filename.startswith("xl/worksheets/"):
            others += member.file_size
    check_claim(path, "the workbook", sum(member.file_size for member in members), path.stat().st_size)
    if others > 4 * SMALL:
        raise MeshError(f"{path}: {others:,} bytes of texts and styles don't belong to a mesh; keep only the sheets")


def _rows(path: Path, book: Any, sheet: str, columns: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Number and first cells of each row of a sheet; empty rows at its end are left out."""
    if sheet not in book.sheetnames:
        raise MeshError(f"{path}: there is no sheet {sheet!r}; found: {', '.join(book.sheetnames)}")
    empty = 0
    for number, row in enumerate(book[sheet].iter_rows(max_col=columns, max_row=_MOST_ROWS, values_only=True), start=1):
        if all(cell is None for cell in row):
            empty += 1
            if empty > _MOST_EMPTY:
                raise MeshError(
                    f"{path}: sheet {sheet!r}: row {number} is the last of {empty:,} empty ones; delete them"
                )
        elif empty:
            raise MeshError(f"{path}: sheet {sheet!r}: row {number - 1} is empty, but rows follow it")
        else:
            yield number, row


def _numbers(path: Path, book: Any, sheet: str, columns: list[str] | int) -> Array:
    """The numbers below the headings of a sheet: of the columns named, or of the first so many."""
    rows = _rows(path, book, sheet, 64 if isinstance(columns, list) else columns)
    heads = [str(cell).strip().upper() for cell in next(rows, (0, ()))[1]]
    if isinstance(columns, int):
        places = list(range(columns))
    elif missing := [name for name in columns if name not in heads]:
        raise MeshError(f"{path}: sheet {sheet!r} has no column {' and no '.join(missing)} in its first row")
    else:
        places = [heads.index(name) for name in columns]
    values = array("d")
    for number, row in rows:
        cells: list[Any] = [row[place] if place < len(row) else None for place in places]
        if not all(type(cell) in (int, float) for cell in cells):
            wrong = next(cell for cell in cells if type(cell) not in (int, float))
            raise MeshError(f"{path}: sheet {sheet!r}: row {number} must hold {len(places)} numbers, not {wrong!r:.40}")
        values.extend(cells)
    return np.frombuffer(values).reshape(-1, len(places))


def _integers(path: Path, values: Array, sheet: str) -> Array:
    if len(wrong := np.flatnonzero((values != np.floor(values)).any(axis=1) | (np.abs(values) >= 2**31).any(axis=1))):
        raise MeshError(
            f"{path}: sheet {sheet!r}: row {wrong[0] + 2} must hold node numbers, not {values[wrong[0]].tolist()}"
        )
    return values.astype(np.int64)


def _boundaries(path: Path, book: Any) -> dict[str, Boundary]:
    edges: dict[str, list[tuple[int, ...]]] = {}
    nodes: dict[str, list[int]] = {}
    rows = _rows(path, book, "boundaries", 4)
    next(rows, None)
    for number, (name, *cells) in rows:
        own = [cell for cell in cells if cell is not None]
        if name is None or len(own) not in (0, 1, 3) or not all(type(cell) is int and 0 < cell < 2**31 for cell in own):
            raise MeshError(f"{path}: sheet 'boundaries': row {number} must hold a name and 3 nodes, or 1")
        edges.setdefault(str(name), [])
        nodes.setdefault(str(name), []).extend(cell - 1 for cell in own)
        if len(own) == 3:
            edges[str(name)].append(tuple(cell - 1 for cell in own))
    none = np.empty((0, 3), dtype=np.int32)
    return {
        name: Boundary(np.array(edges[name]) if edges[name] else none, np.array(nodes[name], dtype=np.int32))
        for name in edges
    }


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` with its named boundaries; coordinates in millimetres may change in their last digit."""
    if mesh.n_nodes >= _MOST_ROWS:  # which are more than its elements
        raise MeshError(f"a sheet holds {_MOST_ROWS - 1:,} rows, but the mesh has {mesh.n_nodes:,} nodes; write .h5")
    check_names(mesh)
    coordinates = (np.stack([mesh.x, mesh.y], axis=1) * _MILLI).tolist()
    sheets = {
        "coord": ([["X", "Y"]], coordinates),
        "conec": ([[f"N{i}" for i in range(1, 9)]], (mesh.quad8 + 1).tolist()),
        "boundaries": ([["name", "a", "mid", "b"]], _boundary_rows(mesh)),
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
        lines = ("".join(map(_cell, row)) for row in chain(heads, rows))
        body = "".join(f"<row>{line}</row>\n" for line in lines)
        parts[f"xl/worksheets/sheet{i}.xml"] = f'<worksheet xmlns="{_MAIN}"><sheetData>{body}</sheetData></worksheet>'
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

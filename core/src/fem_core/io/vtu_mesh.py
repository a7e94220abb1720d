"""VTU, the XML format of VTK for unstructured grids, as a mesh format.

8-node quadrilaterals (type 23) are the elements. A boundary is a pair of arrays `boundary:NAME`, as in a result;
a mesh has quadratic edges (type 21) as well, in which the array is 1 where they belong to the boundary.
https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
"""

import base64
import lzma
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

import numpy as np

from fem_core.errors import MeshError
from fem_core.io import vtk
from fem_core.io.checks import as_elements_have, check_claim, check_names, check_plane, numbers
from fem_core.io.vtu import BOUNDARY, SLITS, edges_of_sides, nodes_of_boundaries, slits, write_grid
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support.wording import count
from fem_core.types import Array

_VERTEX, _EDGE, _QUAD = 1, 21, 23
_REFUSED = {3: "lines", 5: "triangles", 9: "4-node quadrilaterals", 22: "6-node triangles", 28: "9-node quadrilaterals"}
_KINDS = {f"{k}{8 * n}": f"{c}{n}" for k, c in (("Float", "f"), ("Int", "i"), ("UInt", "u")) for n in (1, 2, 4, 8)}
_DECOMPRESSORS: dict[str, Any] = {
    "vtkZLibDataCompressor": zlib.decompressobj,
    "vtkLZMADataCompressor": partial(lzma.LZMADecompressor, memlimit=80 << 20),  # the highest level needs 65 MiB
}


def read(path: Path) -> Mesh:
    """The mesh in a VTU file: text, base64, or appended; zlib and lzma. Raises MeshError naming the file."""
    grid = _Grid(path)
    n, m = grid.count("NumberOfPoints"), grid.count("NumberOfCells")
    points = grid.array("Points", "", 3 * n).reshape(n, 3)
    types = grid.array("Cells", "types", m)
    ends = np.concatenate([[0], grid.array("Cells", "offsets", m).astype(np.int64)])
    if (np.diff(ends) < 0).any():
        raise MeshError(f"{path}: the offsets of the cells must increase")
    nodes = grid.array("Cells", "connectivity", int(ends[-1]))
    if len(nodes) and not 0 <= nodes.min() <= nodes.max() < n:
        raise MeshError(f"{path}: cells refer to points outside 0…{n - 1} (found {nodes.min()}…{nodes.max()})")
    if unknown := set(np.unique(types).tolist()) - {_VERTEX, _EDGE, _QUAD}:
        what = _REFUSED.get(min(unknown), "cells")
        raise MeshError(
            f"{path}: {what} (VTK type {min(unknown)}), but only 8-node quadrilaterals (type {_QUAD}) are solved"
        )

    def cells(kind: int, width: int) -> tuple[Array, Array]:
        chosen = np.flatnonzero(types == kind)
        if (np.diff(ends)[chosen] != width).any():
            raise MeshError(f"{path}: a cell of type {kind} must have {width} nodes, but one has another number")
        return chosen, nodes[ends[chosen][:, None] + np.arange(width)].astype(np.int64)

    (elements, quad8), (lines, edges) = cells(_QUAD, 8), cells(_EDGE, 3)
    check_plane(path, points, np.arange(n))
    edges = as_elements_have(edges[:, [0, 2, 1]], quad8)
    boundaries = {}
    for name in dict.fromkeys(name for _, name in grid.arrays if name.startswith(BOUNDARY)):
        own, further = edges[:0], np.empty(0, dtype=np.int64)
        if ("CellData", name) in grid.arrays:
            marks = grid.array("CellData", name, m)
            own = np.concatenate([edges[marks[lines] != 0], edges_of_sides(path, name, marks[elements], quad8)])
        if ("PointData", name) in grid.arrays:
            further = np.flatnonzero(grid.array("PointData", name, n))
        boundaries[name.removeprefix(BOUNDARY)] = Boundary(own, np.union1d(own, further).astype(np.int64))
    return Mesh(points[:, 0], points[:, 1], quad8, boundaries, path.name, slits=("FieldData", SLITS) in grid.arrays)


class _Appended(Exception):
    """The XML is over, appended data begin."""


class _Grid:
    """The arrays of a file, each decoded when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size, self.claimed = path.stat().st_size, 0
        self.root: dict[str, str] = {}
        self.pieces: list[dict[str, str]] = []
        self.arrays: dict[tuple[str, str], tuple[dict[str, str], list[str]]] = {}
        self.appended, self.is_base64 = memoryview(b""), False
        with path.open("rb") as file:
            self._parse(file)
        if self.root.get("type") != "UnstructuredGrid":
            raise MeshError(f"{path}: not a VTU file; its VTKFile must be an UnstructuredGrid")
        if len(self.pieces) != 1:
            raise MeshError(f"{path}: the grid must have one piece, not {len(self.pieces)}; merge the pieces first")
        self.order = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.header = np.dtype(self.order + ("u8" if self.root.get("header_type") == "UInt64" else "u4"))
        self.compressor = self.root.get("compressor", "")
        if self.compressor not in ("", *_DECOMPRESSORS):
            raise MeshError(f"{path}: compressed with {self.compressor}; use zlib or lzma")

    def _parse(self, file: IO[bytes]) -> None:
        """Note the arrays of the grid, and keep what is appended."""
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parents: list[str] = []
        collect: Callable[[str], None] | None = None  # the text of the array that is being read, if it is wanted

        def start(tag: str, attributes: dict[str, str]) -> None:
            nonlocal collect
            parent = parents[-1] if parents else ""
            parents.append(tag)
            parser.CharacterDataHandler = None
            match tag:
                case "VTKFile":
                    self.root = attributes
                case "Piece":
                    self.pieces.append(attributes)
                case "AppendedData":
                    self.is_base64 = attributes.get("encoding") == "base64"
                    raise _Appended
                case "DataArray":
                    text: list[str] = []
                    name = attributes.get("Name", "")
                    self.arrays[parent, name] = attributes, text
                    wanted = parent in ("Points", "Cells") or name.startswith(BOUNDARY)
                    collect = parser.CharacterDataHandler = text.append if wanted else None

        def end(tag: str) -> None:
            parents.pop()
            parser.CharacterDataHandler = collect if parents and parents[-1] == "DataArray" else None

        def refuse(*_: object) -> None:
            raise MeshError(f"{self.path}: the file has a document type, so it is refused; VTU files need none")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.StartDoctypeDeclHandler = refuse  # entities can grow without bounds
        try:
            while chunk := file.read(1 << 20):
                parser.Parse(chunk, False)
            parser.Parse(b"", True)
        except _Appended:
            file.seek(parser.CurrentByteIndex)
            rest = file.read()
            self.appended = memoryview(rest)[rest.find(b"_") + 1 :]  # an underscore comes before the data
        except expat.ExpatError as error:
            raise MeshError(f"{self.path}: not a readable VTU file ({error})") from None

    def count(self, name: str) -> int:
        text = self.pieces[0].get(name, "")
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise MeshError(f"{self.path}: the piece has no {name}")
        return int(text)

    def array(self, parent: str, name: str, size: int) -> Array:
        """The array of this name below `parent`, the first one if it is empty; it must hold `size` numbers."""
        found = [key for key in self.arrays if key[0] == parent and name in ("", key[1])]
        if not found:
            raise MeshError(f"{self.path}: there is no {name} in {parent}")
        what = f"{parent}/{found[0][1]}"
        attributes, text = self.arrays[found[0]]
        kind = _KINDS.get(attributes.get("type", ""))
        if kind is None:
            raise MeshError(f"{self.path}: {what} must hold numbers, not {attributes.get('type')!r}")
        dtype = np.dtype(self.order + kind)
        self.claimed += size * dtype.itemsize  # of all arrays: they may overlap in the file
        check_claim(self.path, what, self.claimed, self.size)
        try:
            values = self._values(attributes, "".join(text).strip().encode(), dtype, size * dtype.itemsize)
        except (ValueError, zlib.error, lzma.LZMAError, EOFError) as error:
            raise MeshError(f"{self.path}: {what} is damaged ({error})") from None
        if len(values) != size:
            raise MeshError(f"{self.path}: {what} holds {count(len(values), 'number')} instead of {size:,}")
        return values

    def _values(self, attributes: dict[str, str], text: bytes, dtype: Any, nbytes: int) -> Array:
        match attributes.get("format", "ascii"):
            case "ascii":
                return numbers(text, float if dtype.kind == "f" else int)
            case "appended":
                offset = int(attributes.get("offset", "0"))
                source = _Source(self.appended[offset:] if offset >= 0 else self.appended[:0], self.is_base64)
            case _:
                source = _Source(memoryview(text), True)
        if not self.compressor:
            stored = int(np.frombuffer(source.take(self.header.itemsize), self.header)[0])
            if stored != nbytes:
                raise ValueError(f"{stored:,} bytes instead of {nbytes:,}")
            return np.frombuffer(source.take(nbytes), dtype)
        head = np.frombuffer(source.take(3 * self.header.itemsize), self.header)
        blocks, size, last = (int(value) for value in head)
        if (blocks - bool(last)) * size + last != nbytes:
            raise ValueError(f"blocks for another number of bytes than {nbytes:,}")
        packed = np.frombuffer(source.take(blocks * self.header.itemsize), self.header)
        source.align()
        values = bytearray(nbytes)
        for block, stored in enumerate(packed.tolist()):
            expected = min(size, nbytes - block * size)
            unpacked = _DECOMPRESSORS[self.compressor]().decompress(bytes(source.take(stored)), expected)
            if len(unpacked) != expected:
                raise ValueError(f"block {block} unpacks to {len(unpacked):,} bytes instead of {expected:,}")
            values[block * size : block * size + expected] = unpacked
        return np.frombuffer(values, dtype)


class _Source:
    """Bytes one after another, out of base64 or as they are."""

    def __init__(self, data: memoryview, is_base64: bool) -> None:
        self.data, self.is_base64 = data, is_base64
        self.at, self.decoded = 0, b""

    def take(self, size: int) -> bytes | memoryview:
        """The next `size` bytes. Raises EOFError where there are fewer."""
        if not self.is_base64:
            taken: bytes | memoryview = self.data[self.at : self.at + size]
            self.at += size
        else:
            chars = max(0, size - len(self.decoded) + 2) // 3 * 4
            self.decoded += base64.b64decode(self.data[self.at : self.at + chars])
            self.at += chars
            taken, self.decoded = self.decoded[:size], self.decoded[size:]
        if len(taken) < size:
            raise EOFError("the data are incomplete")
        return taken

    def align(self) -> None:
        """The next bytes begin an encoding of their own, as after the head of compressed data."""
        self.decoded = b""


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

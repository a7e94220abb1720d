"""VTU, the XML format of VTK for unstructured grids: the arrays of a file, decoded.

Text, base64 or appended; zlib and lzma. https://docs.vtk.org/en/latest/vtk_file_formats/vtkxml_file_format.html
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
from fem_core.io.checks import check_claim, numbers
from fem_core.support.wording import count
from fem_core.types import Array

_KINDS = {f"{k}{8 * n}": f"{c}{n}" for k, c in (("Float", "f"), ("Int", "i"), ("UInt", "u")) for n in (1, 2, 4, 8)}
_DECOMPRESSORS: dict[str, Any] = {
    "vtkZLibDataCompressor": zlib.decompressobj,
    "vtkLZMADataCompressor": partial(lzma.LZMADecompressor, memlimit=80 << 20),  # the highest level needs 65 MiB
}

#: The attributes and the text of an array, by its section and name.
_Arrays = dict[tuple[str, str], tuple[dict[str, str], list[str]]]


def kind_of(attributes: dict[str, str]) -> str:
    """NumPy's kind of the one number for each point or cell in the array with these attributes; or nothing."""
    is_one = attributes.get("NumberOfComponents", "1") in ("0", "1")
    return _KINDS.get(attributes.get("type", ""), "")[:1] if is_one else ""


class _Appended(Exception):
    """The XML ends here, and the appended data begin."""


class Grid:
    """The arrays of the one piece that has cells, and of the whole grid; an array is decoded when it is needed.

    The text of an array is kept only if it is `wanted`, by its section, name and attributes.
    """

    def __init__(self, path: Path, wanted: Callable[[str, str, dict[str, str]], bool]) -> None:
        self.path, self._wanted = path, wanted
        self.size, self.claimed = path.stat().st_size, 0
        self.root: dict[str, str] = {}
        whole: _Arrays = {}
        pieces: list[tuple[dict[str, str], _Arrays]] = []
        self.appended, self.is_base64 = memoryview(b""), False
        with path.open("rb") as file:
            self._parse(file, whole, pieces)
        if self.root.get("type") != "UnstructuredGrid":
            raise MeshError(f"{path}: not a VTU file; its VTKFile must be an UnstructuredGrid")
        pieces = [piece for piece in pieces if piece[0].get("NumberOfCells") != "0"] or pieces[:1]
        if len(pieces) != 1:
            raise MeshError(
                f"{path}: the grid must have one piece with cells, not {len(pieces)}; merge the pieces first"
            )
        self.attributes, self.arrays = pieces[0][0], whole | pieces[0][1]
        self.order = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.header = np.dtype(self.order + ("u8" if self.root.get("header_type") == "UInt64" else "u4"))
        self.compressor = self.root.get("compressor", "")
        if self.compressor not in ("", *_DECOMPRESSORS):
            raise MeshError(f"{path}: compressed with {self.compressor}; use zlib or lzma")

    def _parse(self, file: IO[bytes], whole: _Arrays, pieces: list[tuple[dict[str, str], _Arrays]]) -> None:
        """Note the arrays of the whole grid and of each piece, and keep the appended data."""
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
                    pieces.append((attributes, {}))
                case "AppendedData":
                    self.is_base64 = attributes.get("encoding") == "base64"
                    raise _Appended
                case "DataArray":
                    text: list[str] = []
                    name = attributes.get("Name", "")
                    (pieces[-1][1] if "Piece" in parents else whole)[parent, name] = attributes, text
                    wanted = parent in ("Points", "Cells") or self._wanted(parent, name, attributes)
                    collect = parser.CharacterDataHandler = text.append if wanted else None

        def end(tag: str) -> None:
            parents.pop()
            parser.CharacterDataHandler = collect if parents and parents[-1] == "DataArray" else None

        def refuse(*_: object) -> None:
            raise MeshError(f"{self.path}: the file has a document type, so it is refused; VTU files need none")

        parser.StartElementHandler, parser.EndElementHandler = start, end
        parser.StartDoctypeDeclHandler = refuse  # entities can expand without limit
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
        text = self.attributes.get(name, "")
        if not re.fullmatch(r"[0-9]{1,18}", text):
            raise MeshError(f"{self.path}: the piece has no {name}")
        return int(text)

    def numbers(self, section: str) -> dict[str, str]:
        """The arrays in a section that have one value for each point or cell: `kind_of` it."""
        return {
            name: kind_of(attributes)
            for (parent, name), (attributes, _) in self.arrays.items()
            if parent == section and attributes.get("NumberOfComponents", "1") in ("0", "1")
        }

    def array(self, parent: str, name: str, size: int) -> Array:
        """The array of this name below `parent`, the first one if it is empty; it must hold `size` numbers."""
        if not name:
            name = next((one for section, one in self.arrays if section == parent), "")
        if (parent, name) not in self.arrays:
            raise MeshError(f"{self.path}: there is no {name or 'array'} in {parent}")
        what = f"{parent}/{name}"
        attributes, text = self.arrays[parent, name]
        kind = _KINDS.get(attributes.get("type", ""))
        if kind is None:
            raise MeshError(f"{self.path}: {what} must hold numbers, not {attributes.get('type')!r}")
        dtype = np.dtype(self.order + kind)
        self.claimed += size * dtype.itemsize  # count all arrays: they may overlap in the file
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
    """Bytes in sequence, decoded from base64 or unchanged."""

    def __init__(self, data: memoryview, is_base64: bool) -> None:
        self.data, self.is_base64 = data, is_base64
        self.at, self.decoded = 0, b""

    def take(self, size: int) -> bytes | memoryview:
        """The next `size` bytes. Raises EOFError if there are fewer."""
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
        """The next bytes begin a new base64 block, as after the header of compressed data."""
        self.decoded = b""

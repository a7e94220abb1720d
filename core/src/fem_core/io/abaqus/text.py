"""The text of Abaqus input files: blocks of a keyword, its parameters and its lines of data."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import numbers
from fem_core.types import Array

_MARK = b"\xef\xbb\xbf"  # a byte order mark; it has no meaning here
_TO_NUMBERS = {float: bytes.maketrans(b",dD", b" ee"), int: bytes.maketrans(b",", b" ")}
_PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eEdD][-+]?\d+)?|[-+]?(?i:nan|inf)")
_WHOLE = re.compile(r"[-+]?\d{1,18}")
_FIELDS = re.compile(r'((?:[^,"]++|"[^"]*+"?+)*+)(?:,|$)')  # possessive: a field may have millions of characters
_NOT_LISTED = re.compile(rb"[^0-9,\s]|[0-9][ \t]+[0-9]|[0-9]{19}")
_PIECE = 1 << 18  # bytes of text that are converted to numbers at once
_NO_SEPARATORS = bytes(set(range(256)) - set(b",\n"))

_LARGEST_NUMBER = 1e75  # the limit of the validation

#: Limits of included files: depth, number of files, and bytes of all files together.
_DEEPEST, _MOST, _LARGEST = 5, 100, 1 << 30


@dataclass(frozen=True, eq=False)
class Source:
    """A file and its bytes."""

    path: Path
    raw: bytes = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> "Source":
        return cls(path, path.read_bytes().removeprefix(_MARK))


class Extent(NamedTuple):
    """The position of lines of data in a file."""

    source: Source
    start: int
    end: int


@dataclass(eq=False)
class Block:
    """A keyword with its parameters, and the positions of the lines of data below it.

    Names of parameters are in upper case and without blanks; names that the user gives keep their quotes.
    """

    path: Path
    line: int
    keyword: str
    parameters: dict[str, str]
    extents: list[Extent] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The keyword without its blanks."""
        return self.keyword.replace(" ", "")

    @property
    def place(self) -> str:
        return f"{self.path}: line {self.line}: *{self.keyword[:80]}"

    def fail(self, text: str) -> MeshError:
        return MeshError(f"{self.place}: {text}")

    def name(self, parameter: str) -> str:
        if not self.parameters.get(parameter, "").strip('"'):
            raise self.fail(f"{parameter}= is missing")
        return self.parameters[parameter]

    def whole(self, parameter: str) -> int:
        if not _WHOLE.fullmatch(text := self.name(parameter)):
            raise self.fail(f"{parameter}={text[:80]} isn't a whole number")
        return int(text)

    def pieces(self) -> Iterator[bytes]:
        """The data in pieces of some thousand lines."""
        for source, start, end in self.extents:
            while start < end:
                stop = source.raw.find(b"\n", start + _PIECE, end)
                stop = end if stop < 0 else stop + 1
                yield source.raw[start:stop]
                start = stop

    def lines(self) -> Iterator[list[str]]:
        """The data as lines of fields. Empty fields are included, except at the end of a line; empty lines are not."""
        for piece in self.pieces():
            yield from self.lines_of(piece)

    def lines_of(self, piece: bytes) -> Iterator[list[str]]:
        for line in piece.decode("utf-8", "replace").splitlines():
            if fields := _fields(line):
                yield fields

    def listed(self, piece: bytes) -> Array | None:
        """The whole numbers in a piece of data; None if there is anything else."""
        return None if _NOT_LISTED.search(piece) else numbers(piece.translate(_TO_NUMBERS[int]), int)

    def table(self, dtype: type, least: int, most: int) -> Array:
        """The data as rows of `least` to `most` numbers; shorter rows are filled with 0.

        A row is a line, or several if all have equally many numbers and each but the last line ends with a comma.
        """
        lines = sum(source.raw.count(b"\n", start, end) + 1 for source, start, end in self.extents)
        values: Array = np.empty((0, least), dtype=dtype)
        used = 0
        begun: list[str] = []  # fields of a row that continues on the next line
        for piece in self.pieces():
            rows = None if begun else _regular(piece, dtype)
            if rows is None or not least <= rows.shape[1] <= most:
                rows = self._row_by_row(piece, dtype, least, most, begun)
            if not used:
                values = np.empty((lines, rows.shape[1]), dtype=dtype)
            elif rows.shape[1] > values.shape[1]:
                values = np.pad(values, ((0, 0), (0, rows.shape[1] - values.shape[1])))
            values[used : used + len(rows), : rows.shape[1]] = rows
            values[used : used + len(rows), rows.shape[1] :] = 0
            used += len(rows)
        if begun:
            raise self._unexpected(begun, least)
        return values[:used]

    def _row_by_row(self, piece: bytes, dtype: type, least: int, most: int, begun: list[str]) -> Array:
        rows = []
        for line in piece.decode("utf-8", "replace").splitlines():
            begun += _fields(line)
            if len(begun) < least == most and line.rstrip().endswith(","):
                continue
            if begun:
                if not least <= len(begun) <= most:
                    raise self._unexpected(begun, least)
                rows.append([self._number(text, dtype) for text in begun] + [0] * (most - len(begun)))
                begun.clear()
        return np.array(rows, dtype=dtype).reshape(-1, most)

    def _number(self, text: str, dtype: type) -> float:
        if not text and dtype is float:
            return 0.0
        if not (_PLAIN if dtype is float else _WHOLE).fullmatch(text):
            raise self.fail(f"something that isn't a number: {text[:80]!r}")
        return float(text.lower().replace("d", "e")) if dtype is float else int(text)

    def _unexpected(self, fields: Sequence[str], width: int) -> MeshError:
        wanted = "3 or 4" if width == 3 else width
        return self.fail(f"rows of {wanted} numbers were expected, not {', '.join(fields)[:80]!r}")

    def row(self, fields: Sequence[str], least: int, most: int, what: str) -> list[float]:
        """A line of data of `least` to `most` numbers; an empty field is 0. `what` names the numbers in errors."""
        if not least <= len(fields) <= most:
            raise self.fail(f"{what} were expected, not {', '.join(fields)[:80]!r}")
        found = [self._number(text, float) for text in fields]
        if not all(abs(number) <= _LARGEST_NUMBER for number in found):
            raise self.fail(f"numbers of an ordinary size were expected, not {', '.join(fields)[:80]!r}")
        return found

    def whole_row(self, fields: Sequence[str], defaults: Sequence[int | None], what: str) -> list[int]:
        """A line of whole numbers; a number whose entry in `defaults` is None is required."""
        padded = [*fields, *[""] * (len(defaults) - len(fields))]
        if len(fields) > len(defaults) or any(
            not _WHOLE.fullmatch(text) if text else default is None
            for text, default in zip(padded, defaults, strict=True)
        ):
            raise self.fail(f"{what} were expected, not {', '.join(fields)[:80]!r}")
        return [int(text) if text else int(default or 0) for text, default in zip(padded, defaults, strict=True)]


def _fields(line: str) -> list[str]:
    found = line.split(",") if '"' not in line else _FIELDS.findall(line)
    fields = [field.strip() for field in found]
    while fields and not fields[-1]:
        fields.pop()
    return fields


def _regular(piece: bytes, dtype: type) -> Array | None:
    """The rows of a piece if all its lines have equally many numbers and no field is empty; otherwise None."""
    bare = piece.translate(None, b" \t\r").strip(b"\n")
    if not bare:
        return None
    if b",," in bare or b"\n," in bare or bare.startswith(b","):
        return None
    try:
        found = numbers(piece.translate(_TO_NUMBERS[dtype]), dtype)
    except ValueError:
        return None
    lines, commas = bare.count(b"\n") + 1, bare.count(b",")
    width, left = divmod(len(found), lines)
    at_end = commas == lines * width  # of each line
    separators = bare.translate(None, _NO_SEPARATORS) + b"\n"
    if left or separators != (b"," * (width - 1 + at_end) + b"\n") * lines:
        return None
    return found.reshape(lines, width)


class _Files:
    """The files that a file includes; all must be in the same folder."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent
        self.number = self.size = 0

    def beside(self, block: Block) -> Source:
        """The file that the parameter INPUT names."""
        name = block.name("INPUT").strip('"')
        path = self.folder / name
        if name in (".", "..") or set(name) & set("/\\:\0"):
            raise block.fail(f"{name[:80]!r} isn't read; put the file into this folder, and give its name only")
        if not path.is_file():
            raise block.fail(f"there is no file {name[:80]!r} in this folder")
        if path.resolve().parent != self.folder.resolve():
            raise block.fail(f"{name[:80]!r} is a link to another folder, and isn't read; copy the file")
        self.number += 1
        self.size += path.stat().st_size
        if self.number > _MOST or self.size > _LARGEST:
            raise block.fail(f"more than {_MOST} files or {_LARGEST >> 30} GiB are included; put them into one file")
        return Source.read(path)


def blocks(main: Source) -> Iterator[Block]:
    """The blocks of a file and of the files that it includes; comments (`**`) are dropped."""
    files = _Files(main.path)
    block: Block | None = None
    for found in _walk(main, files, 0):
        if isinstance(found, Block):
            if block:
                yield block
            block = found
            if found.key in ("NODE", "ELEMENT") and "INPUT" in found.parameters:
                for data in _walk(source := files.beside(found), files, 0):
                    if isinstance(data, Block):
                        raise found.fail(f"{source.path.name} has a *{data.keyword}; only lines of data were expected")
                    found.extents.append(data)
        elif block:
            block.extents.append(found)
        elif found.source.raw[found.start : found.end].strip():
            break
    if block is None:
        raise MeshError(f"{main.path}: not an Abaqus input file; it must have blocks that begin with a *KEYWORD")
    yield block


def _walk(source: Source, files: _Files, depth: int) -> Iterator[Block | Extent]:
    """Keywords and the positions of their data, in order; an included file is read where it is named."""
    raw, end, number = source.raw, 0, 1
    while True:
        start = _next_keyword(raw, end)
        if start > end:
            yield Extent(source, end, start)
        if start == len(raw):
            return
        number += raw.count(b"\n", end, start)
        line, end = _line(raw, start)
        number_of_keyword, number = number, number + 1
        if line.startswith(b"**"):
            continue
        parts = [line]
        while parts[-1].endswith(b",") and end < len(raw):  # continues, also after comments and blank lines
            more, end = _line(raw, end)
            number += 1
            if more and not more.startswith(b"**"):
                parts.append(more)
        block = _keyword(source.path, number_of_keyword, b"".join(parts))
        if block.key != "INCLUDE":
            yield block
        elif depth == _DEEPEST:
            raise block.fail(f"files include each other more than {_DEEPEST} deep; put them into one file")
        elif unknown := set(block.parameters) - {"INPUT"}:
            raise block.fail(f"the parameter {min(unknown)[:80]} isn't known; remove it")
        else:
            yield from _walk(files.beside(block), files, depth + 1)


def _next_keyword(raw: bytes, start: int) -> int:
    """Where the next line that begins with a star begins; the end if there is none."""
    while start >= 0 and (star := raw.find(b"*", start)) >= 0:
        begin = raw.rfind(b"\n", 0, star) + 1
        if not raw[begin:star].strip(b" \t"):
            return begin
        start = raw.find(b"\n", star)
    return len(raw)


def _line(raw: bytes, start: int) -> tuple[bytes, int]:
    """The line that begins at `start`, stripped, and where the next one begins."""
    end = raw.find(b"\n", start)
    end = len(raw) if end < 0 else end + 1
    return raw[start:end].strip(), end


def _keyword(path: Path, number: int, line: bytes) -> Block:
    keyword, *parts = _FIELDS.findall(line[1:].decode("utf-8", "replace"))
    pairs = (part.partition("=") for part in parts if part.strip())
    parameters = {"".join(name.split()).upper(): value.strip() for name, _, value in pairs}
    return Block(path, number, " ".join(keyword.split()).upper(), parameters)

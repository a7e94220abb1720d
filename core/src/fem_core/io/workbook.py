"""Workbooks (.xlsx): checked before they are opened, and read row by row; an error names the cell and the cause.

Workbooks are zipped XML. Their unpacked size is checked first, and defusedxml refuses entities.
"""

import datetime
import re
import warnings
import zipfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from fem_core.errors import MeshError
from fem_core.io.checks import SMALL, check_claim
from fem_core.support.memory import lacks_memory
from fem_core.support.wording import count, nearest, verb

#: The cells of a row, from column A on: the values that a program stored, None if there is none.
Row: TypeAlias = tuple[Any, ...]

#: Number of columns that are read.
WIDTH = 64
#: Rows of a sheet, headings included.
MOST_ROWS = 1 << 20

_MOST_BLANK = 1000
_BLANK = (None,) * WIDTH
_NUMBER = re.compile(r"[+-]?[.,]?\d[\d\s.,']*([eE][+-]?\d+)?")
_ERROR = re.compile(r"#[A-Z0/_]+[!?]?")
_OLD = b"\xd0\xcf\x11\xe0"  # the start of a .xls file, and of a .xlsx file with a password
_BLOCK, _LONGEST_TAG = 1 << 16, 1 << 12


@contextmanager
def opened(path: Path) -> Iterator["Workbook"]:
    """The workbook in a file. Errors, also those in the block, are raised as MeshError with the file's name."""
    _check_sizes(path)
    try:
        with warnings.catch_warnings(), ExitStack() as stack:
            warnings.simplefilter("ignore")  # warnings about styles and similar things
            yield Workbook(path, stack)
    except MeshError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        if _has_charts(path):
            text = "it has a chart sheet; delete it, or save only the sheets with the mesh"
        raise MeshError(f"{path}: not a readable workbook ({text})") from None


def _has_charts(path: Path) -> bool:
    """Whether a workbook has sheets that are charts: openpyxl fails over some of them."""
    with suppress(OSError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return any(name.startswith("xl/chartsheets/") for name in archive.namelist())
    return False


def _check_sizes(path: Path) -> None:
    """Refuse decompression bombs: sheets are read row by row, but all other parts are held in memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        with path.open("rb") as file:
            if file.read(4) == _OLD:
                text = "an old workbook (.xls) or one with a password; save it as .xlsx without a password"
                raise MeshError(f"{path}: {text}") from None
        raise MeshError(f"{path}: not a readable workbook ({error})") from None
    others = 0
    for member in members:
        check_claim(path, repr(member.filename), member.file_size, member.compress_size)
        if not member.filename.startswith("xl/worksheets/"):
            others += member.file_size
    check_claim(path, "the workbook", sum(member.file_size for member in members), path.stat().st_size)
    if others > 4 * SMALL:
        raise MeshError(f"{path}: {others:,} bytes of texts and styles don't belong to a mesh; keep only the sheets")


class Workbook:
    """A workbook, open until `stack` is left."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path, self._stack = path, stack
        self._used: set[str] = set()

    @cached_property
    def stored(self) -> Any:
        """openpyxl's workbook, with the values that are stored."""
        return self._load(data_only=True)

    @cached_property
    def written(self) -> Any:
        """openpyxl's workbook, with formulas in place of their values."""
        return self._load(data_only=False)

    def _load(self, data_only: bool) -> Any:
        import openpyxl

        file = self._stack.enter_context(self.path.open("rb"))  # given a name, openpyxl refuses endings such as .XLSX
        book = openpyxl.load_workbook(file, read_only=True, data_only=data_only, keep_links=False)
        self._stack.callback(book.close)
        return book

    @cached_property
    def must_compute(self) -> bool:
        """Whether Excel must compute all formulas when it opens the workbook: the program that wrote it did not."""
        with zipfile.ZipFile(self.path) as archive:
            if "xl/workbook.xml" not in archive.namelist():
                return False
            return bool(re.search(rb'<(\w+:)?calcPr\s[^<>]*fullCalcOnLoad="(1|true)"', archive.read("xl/workbook.xml")))

    @property
    def titles(self) -> list[str]:
        """The names of the sheets."""
        return [sheet.title for sheet in self.stored.worksheets]

    def sheet(self, name: str) -> "Sheet | None":
        """The sheet with this name, ignoring case and surrounding spaces; None if there is none."""
        titles = [title for title in self.titles if title.strip().casefold() == name]
        if len(titles) > 1:
            raise MeshError(f"{self.path}: two sheets are named {name}; delete one of them or rename it")
        self._used.update(titles)
        return Sheet(self, titles[0]) if titles else None

    def needed(self, name: str, content: str) -> "Sheet":
        """The sheet with this name; it must exist."""
        if sheet := self.sheet(name):
            return sheet
        near = self.nearest(name)
        which = f"the sheet {near!r}" if near else f"the sheet with {content}"
        found = ", ".join(map(one_line, self.titles)) or "none"
        raise MeshError(f"{self.path}: there is no sheet {name!r}; found: {found}; rename {which} to {name}")

    def nearest(self, name: str) -> str | None:
        """A sheet that wasn't read and has a similar name."""
        titles = {title.strip().casefold(): title for title in self.left_aside}
        near = nearest(name, titles)
        return titles[near] if near else None

    @property
    def left_aside(self) -> list[str]:
        """The sheets that weren't read."""
        return [title for title in self.titles if title not in self._used]


class Sheet:
    """A sheet of a workbook; rows are numbered from 1, columns from 0."""

    def __init__(self, book: Workbook, title: str) -> None:
        self.book, self.title = book, title
        self.name = one_line(title)

    def place(self, row: int, column: int) -> str:
        """A cell in Excel's notation: `conec!C14`."""
        return f"{self.name}!{column_name(column)}{row}"

    def rows(self) -> Iterator[tuple[int, Row]]:
        """Number and cells of each row; blank rows are left out at the end, and refused elsewhere."""
        number = blank = 0
        rows = self.book.stored[self.title].iter_rows(max_col=WIDTH, max_row=MOST_ROWS, values_only=True)
        for number, row in enumerate(rows, start=1):
            if row == _BLANK:
                blank += 1
                if blank > _MOST_BLANK:
                    self.check_formulas(number - blank + 1, number)
                    self.refuse(number, 0, f"row {number} is the last of {blank:,} blank ones; delete them")
            elif blank:
                self.check_formulas(number - blank, number - 1)
                text = f"row {number - 1} is blank, but row {number} is not; delete the blank row, or fill it"
                self.refuse(number - 1, 0, text)
            else:
                yield number, row
        if blank:
            self.check_formulas(number - blank + 1, number)

    def check_formulas(self, first: int, last: int, columns: Collection[int] = range(WIDTH)) -> None:
        """Refuse rows with a cell that only seems blank because its formula has no stored value."""
        stored, written = (
            book[self.title].iter_rows(min_row=first, max_row=last, max_col=WIDTH)
            for book in (self.book.stored, self.book.written)
        )
        for number, pair in enumerate(zip(stored, written, strict=True), start=first):
            for column, (value, cell) in enumerate(zip(*pair, strict=True)):
                no_value = value.value is None and value.data_type == "n"  # an empty text is a value
                if no_value and cell.data_type == "f" and column in columns:
                    formula = one_line(getattr(cell.value, "text", cell.value))
                    text = f"the formula {formula:.40} has no stored value; open the workbook in Excel and save it"
                    self.refuse(number, column, text)

    def refuse(self, row: int, column: int, text: str) -> NoReturn:
        """Raise MeshError with the file, the cell and a text."""
        raise MeshError(f"{self.book.path}: {self.place(row, column)}: {text}")

    def refuse_value(self, row: int, column: int, value: object, wanted: str) -> NoReturn:
        """Raise MeshError for a cell that doesn't hold what is `wanted`; the message gives the cause."""
        match value:
            case None:
                self.check_formulas(row, row, [column])
                text = f"the cell is blank, but {wanted} is needed"
                if merged := self._merged(row, column):
                    text += f"; it is one of the merged cells {merged}: unmerge them and fill each cell"
            case bool():
                text = f"{str(value).upper()} is not {wanted}"
            case datetime.date() | datetime.time() | datetime.timedelta():
                text = f"the cell holds a date or time, {value}, not {wanted}; format it as General and enter it again"
            case str() if is_error(value):
                text = f"the cell holds the error {value}; correct its formula"
            case str() if is_number(value):
                text = f"the number {one_line(value):.40} is stored as text; convert it to a number"
            case _:
                text = f"{value!r:.40} is not {wanted}"
        self.refuse(row, column, text)

    def _merged(self, row: int, column: int) -> str:
        """The range of merged cells that contains a cell, such as A2:A5."""
        from openpyxl.utils import range_boundaries

        for tag in self._tags(b"mergeCell"):
            if found := re.search(rb'\sref="([A-Z0-9:]+)"', tag):
                left, top, right, bottom = range_boundaries(found[1].decode())
                if left <= column + 1 <= right and top <= row <= bottom:
                    return found[1].decode()
        return ""

    def notes(self) -> Iterator[str]:
        """Notes on hidden contents of the sheet. Refuses rows that aren't in order: openpyxl would drop them."""
        last = hidden = 0
        for tag in self._tags(b"row"):
            found = re.search(rb'\sr="(\d+)"', tag)
            number = int(found[1]) if found else last + 1
            if number <= last:
                self.refuse(
                    number, 0, f"row {number} is stored after row {last}; open the workbook in Excel and save it"
                )
            last = number
            hidden += bool(re.search(rb'\shidden="(1|true)"', tag))
        if hidden:
            yield f"sheet {self.name}: {count(hidden, 'hidden row')} {verb(hidden, 'are')} read like the others"
        if self.book.stored[self.title].sheet_state != "visible":
            yield f"sheet {self.name} is hidden, and read all the same"

    def warnings(self) -> Iterator[str]:
        """Warnings about stored values that may be wrong: libraries store 0, or an old value, with a formula."""
        if self.book.must_compute and any(self._tags(b"f")):
            text = "has formulas that the program that wrote the workbook did not compute: their values may be wrong"
            yield f"sheet {self.name} {text}; open the workbook in Excel and save it"

    def _tags(self, name: bytes) -> Iterator[bytes]:
        """The opening tags of this name in the sheet's XML: openpyxl doesn't give them if it reads row by row."""
        tag = re.compile(rb"<(?:\w+:)?%s[\s>/][^<>]*" % name)
        member = self.book.stored[self.title]._worksheet_path
        with zipfile.ZipFile(self.book.path) as archive, archive.open(member) as stream:
            rest = b""
            while block := stream.read(_BLOCK):
                text = rest + block
                cut = text.rfind(b"<")
                yield from tag.findall(text, 0, max(cut, 0))
                rest = text[cut:] if cut >= 0 and len(text) - cut < _LONGEST_TAG else b""
            yield from tag.findall(rest)


def one_line(text: object) -> str:
    """The text of a cell in one line, for a message: its first 80 characters."""
    return " ".join(str(text)[:80].split())


def is_number(text: str) -> bool:
    """Whether a text would be a number if it were stored as one.

    >>> is_number("12"), is_number("-1,5e-3 "), is_number("N1")
    (True, True, False)
    """
    return bool(_NUMBER.fullmatch(text.strip()))


def is_error(text: str) -> bool:
    """Whether a text is an error of Excel, such as #REF! or #N/A."""
    return bool(_ERROR.fullmatch(text))


def column_name(column: int) -> str:
    """The letters of a column, which is counted from 0.

    >>> column_name(0), column_name(26)
    ('A', 'AA')
    """
    before, letter = divmod(column, 26)
    return (column_name(before - 1) if before else "") + chr(ord("A") + letter)

"""The contents of the columns of a sheet: cells, row by row, or numbers, column by column."""

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress
from operator import itemgetter

import numpy as np

from fem_core.io.headings import Layout
from fem_core.io.workbook import WIDTH, Row, Sheet, column_name
from fem_core.types import Array, Floats

#: The types of cells that hold numbers; a truth value isn't one.
NUMBERS = frozenset({int, float})

_MOST_EXACT = 2.0**53


class Rows:
    """The rows of data of a sheet; `columns_of` finds the columns from the first row."""

    def __init__(self, sheet: Sheet, columns_of: Callable[[Sheet, Row], Layout]) -> None:
        self.sheet = sheet
        rows = sheet.rows()
        first = next(rows, None)
        if first is None:
            sheet.refuse(1, 0, "the sheet is empty")
        self._seen, self.warnings = tuple(sheet.notes()), tuple(sheet.warnings())
        layout = columns_of(sheet, first[1])
        self.columns, self.headed = layout.columns, layout.headed
        self.first = 2 if layout.headed else 1
        self._rows = rows if layout.headed else chain([first], rows)
        self._layout = layout
        self.aside = tuple(layout.aside.values())
        heads = {*layout.columns.values(), *layout.aside}
        self._bare = [column not in heads for column in range(WIDTH)]
        self._stray: set[int] = set()

    def cells(self, columns: Sequence[int]) -> Iterator[tuple[int, Row]]:
        """The number and the cells of each row (two columns or more); it also checks columns without a heading."""
        own = itemgetter(*columns)
        blank = [None] * sum(self._bare)
        for number, row in self._rows:
            if [*compress(row, self._bare)] != blank:
                self._look(number, row)
            yield number, own(row)

    def _look(self, number: int, row: Row) -> None:
        for column in compress(range(WIDTH), self._bare):
            if type(row[column]) in NUMBERS:
                text = f"the number {row[column]!r:.40} is in a column without a heading"
                self.sheet.refuse(
                    number, column, f"{text}; give it a heading: a known one, or any other to leave it aside"
                )
            if row[column] is not None:
                self._stray.add(column)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """Notes on columns that were left aside and on hidden rows; call it after all rows have been read."""
        named = [f"{text} ({column_name(column)})" for column, text in self._layout.aside.items()]
        aside = [*named, *(f"{column_name(column)}, without a heading" for column in sorted(self._stray))]
        left = [f"sheet {self.sheet.name}: columns left aside: {', '.join(aside)}"] if aside else []
        return (*self._layout.notes, *left, *self._seen)


class Table:
    """The numbers in a sheet: `values` has the columns by name, each float64 (rows,)."""

    def __init__(self, sheet: Sheet, columns_of: Callable[[Sheet, Row], Layout]) -> None:
        rows = Rows(sheet, columns_of)
        self.sheet, self.columns, self.headed, self.aside = sheet, rows.columns, rows.headed, rows.aside
        self._first = rows.first
        places = list(rows.columns.values())
        numbers = array("d")
        for number, cells in rows.cells(places):
            if not NUMBERS.issuperset(map(type, cells)):
                column, wrong = next(one for one in zip(places, cells, strict=True) if type(one[1]) not in NUMBERS)
                sheet.refuse_value(number, column, wrong, "a number")
            numbers.extend(cells)
        values = np.frombuffer(numbers).reshape(-1, len(places)).T
        self.values: Mapping[str, Floats] = dict(zip(rows.columns, values, strict=True))
        self.notes, self.warnings = rows.notes, rows.warnings

    def place(self, i: int, name: str) -> str:
        """The cell of row i of the data, from 0, in a column."""
        return self.sheet.place(self._first + i, self.columns[name])

    def whole(self, name: str, what: str) -> Array:
        """The whole numbers in a column, int64."""
        values = self.values[name]
        if len(wrong := np.flatnonzero((values != np.floor(values)) | (np.abs(values) >= _MOST_EXACT))):
            self.sheet.refuse_value(self._first + int(wrong[0]), self.columns[name], float(values[wrong[0]]), what)
        return values.astype(np.int64)

    def distinct(self, name: str, what: str) -> Array | None:
        """The whole numbers in a column, which must differ; None if there is no such column."""
        if name not in self.columns:
            return None
        values = self.whole(name, what)
        order = np.argsort(values, kind="stable")
        if len(twice := np.flatnonzero(np.diff(values[order]) == 0)):
            one, other = order[twice[0]], order[twice[0] + 1]
            text = f"{what} must appear once, but {values[one]} is in {self.place(one, name)}, too"
            self.sheet.refuse(self._first + int(other), self.columns[name], text)
        return values

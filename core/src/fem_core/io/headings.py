"""The contents of the columns of a sheet: by the headings in the first row, or by position if that row is data.

A first row without any text is data. Headings are compared without their case, and without spaces, points, - and _.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fem_core.io.workbook import Row, Sheet, column_name, is_number, one_line
from fem_core.support.wording import count

NODES = tuple(f"N{i}" for i in range(1, 9))
EDGE = ("name", "a", "mid", "b")

_NUMBER_WORDS = r"(id|no|nr|n[º°]|num|number|numero|número|label|#)"
_NODE = re.compile(rf"(n|node|nodes|nodo|knoten|noeud|point|pt)?{_NUMBER_WORDS}?")
_ELEMENT = re.compile(rf"(el|elem|element|elemento|élément|cell)?{_NUMBER_WORDS}?")
_COORD = r"([ck]oord[a-z]*)?"
_AXIS = re.compile(rf"{_COORD}([xyz]){_COORD}")
_UNIT = re.compile(r"[\s,/_]*(?:[\[(]\s*([^\])]+?)\s*[\])]|(?<=[\s,/_])(?:in )?([a-zµ]+))$")
_MILLIMETRES = {"mm", "millimeter", "millimeters", "millimetre", "millimetres"}
_OTHER_UNITS = {"m", "cm", "dm", "km", "µm", "um", "in", "inch", "inches", "ft", "feet", "foot", "meter", "meters"}
_OTHER_UNITS |= {"metre", "metres", "micron", "microns", "mil", "mils", "yd"}
_COUNTED = re.compile(r"(\D*[^\W\d]\D*?)0*(\d{1,3})")
_EDGE_WORDS = {
    "name": ("name", "boundary", "boundaryname", "group", "set"),
    "a": ("a", "start", "from", "first", "node"),
    "mid": ("mid", "middle", "midside", "midnode"),
    "b": ("b", "end", "to", "last"),
}


@dataclass(frozen=True)
class Layout:
    """The columns by name, the unused headings by column, and whether the first row has headings."""

    columns: Mapping[str, int]
    aside: Mapping[int, str]
    headed: bool
    notes: tuple[str, ...] = ()


def coord_columns(sheet: Sheet, first: Row) -> Layout:
    """The columns X and Y, and Z and Node if they exist. Without headings they are X Y, X Y Z or Node X Y Z."""
    filled = _filled(first)
    if _all_numbers(first):
        sheet.check_formulas(1, 1)  # there may be more columns with formulas
        names = {2: ("X", "Y"), 3: ("X", "Y", "Z"), 4: ("Node", "X", "Y", "Z")}.get(len(filled))
        if names is None:
            text = f"the first row has {count(len(filled), 'number')} and no headings; name the columns Node, X, Y, Z"
            sheet.refuse(1, filled[0], text)
        return _unheaded(names, filled)
    columns, aside = _named(sheet, first, lambda column, text: _axis(sheet, column, text) or _id(_NODE, "Node", text))
    _check_found(sheet, first, columns, ("X", "Y"))
    return Layout(columns, aside, headed=True)


def conec_columns(sheet: Sheet, first: Row) -> Layout:
    """The columns N1 to N8, and Elem if it exists. Without headings, eight numbers are N1 to N8."""
    filled = _filled(first)
    if _all_numbers(first):
        sheet.check_formulas(1, 1)
        if len(filled) != len(NODES):
            text = f"the first row has {count(len(filled), 'number')} and no headings, but an element has 8 nodes"
            sheet.refuse(1, filled[0], f"{text}; name the columns Elem, N1, N2, … N8")
        return _unheaded(NODES, filled)
    numbered = _numbered(sheet, {column: _plain(first[column]) for column in filled})
    columns, aside = _named(sheet, first, lambda column, text: numbered.get(column) or _id(_ELEMENT, "Elem", text))
    texts = all(isinstance(first[column], str) and not is_number(first[column]) for column in filled)
    if texts and not numbered and len(filled) == len(NODES) and "Elem" not in columns:
        note = f"sheet {sheet.name}: columns {', '.join(map(column_name, filled))} are read as N1 to N8, in this order"
        return Layout(dict(zip(NODES, filled, strict=True)), {}, headed=True, notes=(note,))
    _check_found(sheet, first, columns, NODES)
    return Layout(columns, aside, headed=True)


def boundary_columns(sheet: Sheet, first: Row) -> Layout:
    """The columns name, a, mid, b, in this order without headings; mid and b may be absent if all rows are nodes."""
    filled = _filled(first)
    start, together = filled[0], filled == [*range(filled[0], filled[-1] + 1)]
    if together and len(filled) in (2, 4) and _all_numbers(first[start + 1 :]):
        sheet.check_formulas(1, 1)
        return _unheaded(EDGE, range(start, start + 4))
    words = {word: name for name, known in _EDGE_WORDS.items() for word in known}
    columns, aside = _named(sheet, first, lambda column, text: words.get(_plain(text)))
    _check_found(sheet, first, columns, ("name", "a"))
    if ("mid" in columns) != ("b" in columns):
        _check_found(sheet, first, columns, ("mid", "b"))
    return Layout(columns, aside, headed=True)


def _unheaded(names: Sequence[str], columns: Sequence[int]) -> Layout:
    return Layout(dict(zip(names, columns, strict=True)), {}, headed=False)


def _filled(first: Row) -> list[int]:
    return [column for column, cell in enumerate(first) if cell is not None]


def _all_numbers(first: Row) -> bool:
    return all(type(cell) in (int, float) for cell in first if cell is not None)


def _plain(heading: object) -> str:
    """A heading in the form in which it is compared; a text of more than 80 characters is not a known heading.

    >>> _plain("Node No."), _plain(" n_1 "), _plain("X-Coord")
    ('nodeno', 'n1', 'xcoord')
    """
    return re.sub(r"[\s._:-]", "", str(heading)[:80].casefold())


def _named(
    sheet: Sheet, first: Row, name_of: Callable[[int, str], str | None]
) -> tuple[dict[str, int], dict[int, str]]:
    """The columns with a known name, and the headings of the others."""
    columns: dict[str, int] = {}
    aside: dict[int, str] = {}
    for column in _filled(first):
        text = one_line(first[column])
        name = name_of(column, text)
        if name in columns:
            other = sheet.place(1, columns[name])
            sheet.refuse(1, column, f"two columns are {name}, this one and {other}; rename one of them")
        if name:
            columns[name] = column
        else:
            aside[column] = text
    return columns, aside


def _check_found(sheet: Sheet, first: Row, columns: Mapping[str, int], wanted: Sequence[str]) -> None:
    """Refuse a first row that lacks headings; the error gives the cause if it is known."""
    missing = [name for name in wanted if name not in columns]
    if not missing:
        return
    sheet.check_formulas(1, 1)
    for column in _filled(first):
        if isinstance(first[column], str) and is_number(first[column]):
            sheet.refuse_value(1, column, first[column], "a heading")
    found = ", ".join(f"{one_line(first[column]):.20}" for column in _filled(first)[:12])
    text = f"the first row has no heading {', '.join(missing)}; it has {found}"
    sheet.refuse(1, _filled(first)[0], f"{text}; the first row must be headings or numbers")


def _id(known: re.Pattern[str], name: str, text: str) -> str | None:
    return name if (plain := _plain(text)) and known.fullmatch(plain) else None


def _axis(sheet: Sheet, column: int, text: str) -> str | None:
    """X, Y or Z; a heading with another unit than millimetres is refused."""
    found, unit = _AXIS.fullmatch(_plain(text)), ""
    if not found and (with_unit := _UNIT.search(text.casefold())):
        found = _AXIS.fullmatch(_plain(text[: with_unit.start()]))
        unit = with_unit[1] or with_unit[2]
    if not found or (unit and unit not in _MILLIMETRES | _OTHER_UNITS):
        return None
    axis = found[2].upper()
    if unit in _OTHER_UNITS:
        text = f"the heading says {unit}, but coordinates are in millimetres unless --scale is given"
        sheet.refuse(1, column, f"{text}; name the column {axis}, and give --scale (1 for metres)")
    return axis


def _numbered(sheet: Sheet, headings: Mapping[int, str]) -> dict[int, str]:
    """N1 to N8 by their columns: the eight headings that are one word and the numbers 1 to 8, or 0 to 7; or nothing."""
    words: dict[str, dict[int, int]] = {}
    for column, heading in headings.items():
        if found := _COUNTED.fullmatch(heading):
            numbers = words.setdefault(found[1], {})
            if (number := int(found[2])) in numbers:
                other = sheet.place(1, numbers[number])
                sheet.refuse(1, column, f"two columns are {heading}, this one and {other}; rename one of them")
            numbers[number] = column
    eights = [numbers for numbers in words.values() if sorted(numbers) in ([*range(1, 9)], [*range(8)])]
    if len(eights) > 1:
        sheet.refuse(1, eights[1][min(eights[1])], "two sets of eight columns are numbered; name only one N1, N2, … N8")
    if eights:
        return {eights[0][number]: name for number, name in zip(sorted(eights[0]), NODES, strict=True)}
    for word, numbers in words.items():
        if len(numbers) > 2:
            text = f"{count(len(numbers), 'column')} are numbered {word}…, but an element has 8 nodes here, N1 to N8"
            sheet.refuse(1, numbers[min(numbers)], text)
    return {}

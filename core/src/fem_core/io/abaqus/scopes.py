"""The contents of an Abaqus input file: nodes, elements, sets and surfaces of a part or of the assembly.

Nodes and elements have the numbers of the file; each scope has its own numbers. Names ignore case, except in quotes.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Literal, TypeVar

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.abaqus.elements import LINE, WIDTHS
from fem_core.io.abaqus.frames import Frame, in_space
from fem_core.io.abaqus.text import Block
from fem_core.io.checks import Numbering
from fem_core.support.wording import name_some
from fem_core.types import Array, Floats, Ints

T = TypeVar("T")
Kind = Literal["node", "element"]


def spelling(word: str) -> str:
    """A name without its quotes."""
    return word.replace('"', "")


class Names(Generic[T]):
    """Objects by name: `left` and `LEFT` are the same name, `"left"` and `"LEFT"` are different names."""

    def __init__(self) -> None:
        self.by_key: dict[str, T] = {}
        self.by_any_case: dict[str, list[T]] = {}

    def __iter__(self) -> Iterator[T]:
        return iter(self.by_key.values())

    def __len__(self) -> int:
        return len(self.by_key)

    @staticmethod
    def key(word: str) -> str:
        return spelling(word) if word.startswith('"') else word.upper()

    def find(self, word: str) -> T | None:
        """The object with this exact name; otherwise the only object whose name differs just in case."""
        if (found := self.by_key.get(self.key(word))) is not None:
            return found
        same = self.by_any_case.get(spelling(word).upper(), [])
        return same[0] if len(same) == 1 else None

    def join(self, key: str, new: T) -> T:
        """The object with this exact key. If there is none, `new` is added and returned."""
        if key not in self.by_key:
            self.by_key[key] = new
            self.by_any_case.setdefault(key.upper(), []).append(new)
        return self.by_key[key]


@dataclass(eq=False)
class Entry:
    """The addition of one block to a set: numbers and names of sets, or (`elements`) the nodes of an element set."""

    block: Block
    parts: list[Array | str]
    instance: str = ""
    elements: str = ""


@dataclass(eq=False)
class Set:
    """A set of nodes or of elements, with the entries of its blocks."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    internal: bool = False
    is_copied: bool = False  # a keyword above has copied it: nothing may be added any more


@dataclass(eq=False)
class Surface:
    """Sides of elements: blocks, elements by number or by the name of their set, and the side of each, from 0."""

    name: str
    faces: list[tuple[Block, Array | str, Array]] = field(default_factory=list)
    internal: bool = False
    reason: str = ""  # why it is no boundary


@dataclass(eq=False)
class Scope:
    """A part, an instance, or everything outside of them: a file without parts is one scope."""

    name: str = ""
    fault: MeshError | None = None  # the error of a part; it is raised only if the part is used
    system: Frame | None = None  # the last *SYSTEM
    nodes: list[tuple[Block, Array, Floats]] = field(default_factory=list)  # numbers; x, y and perhaps z
    elements: dict[str, list[tuple[Block, Array]]] = field(default_factory=dict)  # by kind: rows of a number and nodes
    aside: Counter[str] = field(default_factory=Counter)  # elements of each type
    aside_numbers: list[Array] = field(default_factory=list)
    links: list[tuple[str, Array]] = field(default_factory=list)  # of those: a type, rows of a number and 2 nodes
    reflected: list[Array] = field(default_factory=list)  # elements whose order of nodes is unknown
    sets: dict[Kind, Names[Set]] = field(default_factory=lambda: {"node": Names(), "element": Names()})
    surfaces: Names[Surface] = field(default_factory=Names)

    def add_nodes(self, block: Block, numbers: Array, points: Floats) -> None:
        self.nodes.append((block, numbers, points))
        if "places" in self.__dict__:
            self.places.add(block, numbers, in_space(points))

    def add_elements(self, block: Block, kind: str, rows: Array) -> None:
        """Cells or lines of a kind: rows of a number and of their nodes."""
        self.elements.setdefault(kind, []).append((block, rows))
        if "tables" in self.__dict__:
            self.tables[kind].add(block, rows[:, 0], rows)

    def add_to_set(self, kind: Kind, word: str, entry: Entry) -> None:
        one = self.sets[kind].join(Names.key(word), Set(spelling(word)))
        if one.is_copied:
            raise entry.block.fail(f"the set {one.name!r} is copied above; put all that it holds above that")
        one.entries.append(entry)
        one.internal |= "INTERNAL" in entry.block.parameters

    def joined(self, other: "Scope", name: str) -> "Scope":
        """A new scope with the contents of this scope and of the other one; both must be complete."""
        both = Scope(name)
        for one in (self, other):
            both.nodes += one.nodes
            for kind, elements in one.elements.items():
                both.elements.setdefault(kind, []).extend(elements)
            both.aside += one.aside
            both.aside_numbers += one.aside_numbers
            both.links += one.links
            both.reflected += one.reflected
            for what, sets in one.sets.items():
                for key, found in sets.by_key.items():
                    mine = both.sets[what].join(key, Set(found.name, internal=found.internal))
                    mine.entries += found.entries
            for key, surface in one.surfaces.by_key.items():
                mine_too = both.surfaces.join(key, Surface(surface.name, [], surface.internal))
                mine_too.faces += surface.faces
                mine_too.reason = mine_too.reason or surface.reason
        return both

    @cached_property
    def places(self) -> "Table":
        """The coordinates of the nodes that are defined so far."""
        places = Table("node", 3, np.float64)
        for block, numbers, points in self.nodes:
            places.add(block, numbers, in_space(points))
        return places

    @cached_property
    def tables(self) -> dict[str, "Table"]:
        """The elements of each kind that are defined so far."""
        tables = {kind: Table("element", width, np.int64) for kind, width in WIDTHS.items()}
        for kind, elements in self.elements.items():
            for block, rows in elements:
                tables[kind].add(block, rows[:, 0], rows)
        return tables

    @property
    def areas(self) -> dict[str, list[tuple[Block, Array]]]:
        """The elements that are cells, by kind."""
        return {kind: found for kind, found in self.elements.items() if kind != LINE}

    @property
    def lines(self) -> list[tuple[Block, Array]]:
        return self.elements.get(LINE, [])

    def count(self, kind: str) -> int:
        """The number of elements of a kind."""
        return sum(len(rows) for _, rows in self.elements.get(kind, []))

    # The following is valid only after the whole file has been read.

    @cached_property
    def node_numbers(self) -> Array:
        return _joined([numbers for _, numbers, _ in self.nodes])

    @cached_property
    def node_numbering(self) -> Numbering:
        numbering = Numbering(self.node_numbers)
        self._refuse_repeated(numbering, [(block, numbers) for block, numbers, _ in self.nodes], "node")
        return numbering

    @cached_property
    def points(self) -> Floats:
        columns = max((points.shape[1] for *_, points in self.nodes), default=2)
        points = [points if points.shape[1] == columns else in_space(points) for *_, points in self.nodes]
        return points[0] if len(points) == 1 else np.concatenate([np.empty((0, columns)), *points])

    @cached_property
    def area_numbering(self) -> Numbering:
        """Where the cells stand, one kind behind the other."""
        areas = [one for found in self.areas.values() for one in found]
        numbered = [(block, rows[:, 0]) for block, rows in (*areas, *self.lines)]
        self._refuse_repeated(Numbering(_joined([numbers for _, numbers in numbered])), numbered, "element")
        return Numbering(_joined([rows[:, 0] for _, rows in areas]))

    @cached_property
    def line_numbers(self) -> Array:
        return _joined([rows[:, 0] for _, rows in self.lines])

    @cached_property
    def line_numbering(self) -> Numbering:
        return Numbering(self.line_numbers)

    @cached_property
    def aside_numbering(self) -> Numbering:
        """Of the elements that are left aside; their numbers may be repeated."""
        return Numbering(_joined(self.aside_numbers))

    @cached_property
    def reflected_numbering(self) -> Numbering:
        return Numbering(_joined(self.reflected))

    @cached_property
    def rows(self) -> dict[str, Array]:
        """The elements of each kind: rows of a number and of their nodes."""
        return {kind: _joined([rows for _, rows in found], WIDTHS[kind]) for kind, found in self.elements.items()}

    def placed(self, kind: str) -> Ints:
        """Where the nodes of the elements of a kind stand in this scope, in the order of the file."""
        elements = self.elements.get(kind, [])
        found = self.node_numbering.find(_joined([rows[:, 1:] for _, rows in elements], WIDTHS[kind] - 1))
        if (found < 0).any():
            for block, rows in elements:
                self.nodes_at(block, rows[:, 1:])
        return found

    def nodes_of_lines(self, at: Array) -> Array:
        """The numbers of the nodes of the lines that stand there: each once."""
        return np.unique(self.rows[LINE][at, 1:])

    def nodes_of_areas(self, at: Array) -> Array:
        """The numbers of the nodes of the cells that stand there: each once."""
        found, begin = [], 0
        for kind in self.areas:
            rows = self.rows[kind]
            end = begin + len(rows)
            found.append(rows[at[(begin <= at) & (at < end)] - begin, 1:].ravel())
            begin = end
        return np.unique(np.concatenate(found))

    def nodes_at(self, block: Block, numbers: Array) -> Ints:
        """The positions of nodes in this scope."""
        found = self.node_numbering.find(numbers)
        if (found < 0).any():
            lost = name_some(np.unique(numbers[found < 0]), "node", "are")
            raise block.fail(f"{lost} referred to but not defined")
        return found

    def _refuse_repeated(self, numbering: Numbering, given: list[tuple[Block, Array]], what: str) -> None:
        if not len(repeated := numbering.repeated):
            return
        seen: set[int] = set()
        for block, numbers in given:
            twice = numbers[np.isin(numbers, repeated)].tolist()
            if seen & set(twice) or len(set(twice)) < len(twice):
                raise block.fail(f"{name_some(np.unique(repeated), what, 'are')} defined twice")
            seen |= set(twice)


class Table:
    """Rows by number (coordinates of nodes, or elements), for nodes and elements that are generated from others."""

    def __init__(self, what: str, width: int, dtype: type) -> None:
        self.what = what
        self.row: dict[int, int] = {}
        self.values: Array = np.empty((1024, width), dtype=dtype)

    def add(self, block: Block, numbers: Array, values: Array) -> None:
        before, listed = len(self.row), numbers.tolist()
        after = before + len(listed)
        new = set(listed)
        if len(new) < len(listed) or not self.row.keys().isdisjoint(new):  # which walks the smaller one
            counts = Counter([*listed, *(number for number in new if number in self.row)])
            repeated = np.array(sorted(number for number, times in counts.items() if times > 1))
            raise block.fail(f"{name_some(repeated, self.what, 'are')} defined twice")
        self.row.update(zip(listed, range(before, after), strict=True))
        if after > len(self.values):
            self.values = np.concatenate(
                [self.values[:before], np.empty_like(self.values, shape=(after, values.shape[1]))]
            )
        self.values[before:after] = values

    def find(self, numbers: Array) -> tuple[Array, Array]:
        """The rows of the known `numbers`, and the unknown numbers."""
        rows = np.array([self.row.get(number, -1) for number in numbers.tolist()], dtype=np.int64)
        return self.values[rows[rows >= 0]], numbers[rows < 0]

    def at(self, block: Block, numbers: Array) -> Array:
        """The rows of `numbers`; all of them must exist."""
        found, missing = self.find(numbers)
        if len(missing):
            raise block.fail(f"{name_some(np.unique(missing), self.what, 'are')} not defined above")
        return found


def _joined(arrays: list[Array], width: int = 0) -> Array:
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate([np.empty((0, width) if width else 0, dtype=np.int64), *arrays])

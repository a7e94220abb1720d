"""The sections of gmsh's files (.msh, formats 2.2 and 4.1, text and binary): nodes, elements by group, names of groups.

https://gmsh.info/doc/texinfo/gmsh.html#MSH-file-format
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import node_labels, numbers, positions, without_bom
from fem_core.mesh.cells import KINDS
from fem_core.support import wording
from fem_core.types import Array

POINT, LINE_2, LINE_3, QUAD = 15, 1, 8, 16
#: Types of elements with an area, by the kinds of `fem_core.mesh.cells`; their nodes have the same order.
AREAS = {2: "triangle3", 3: "quad4", 9: "triangle6", 10: "quad9", QUAD: "quad8"}
_NODES = {POINT: 1, LINE_2: 2, LINE_3: 3, **{kind: KINDS[name].nodes for kind, name in AREAS.items()}}
_REFUSED = {
    20: "9-node triangles",
    21: "10-node triangles",
    36: "16-node quadrilaterals",
    39: "12-node quadrilaterals",
    **dict.fromkeys((26, 27, 28), "lines of third or higher order"),
    **dict.fromkeys((4, 5, 6, 7, 11, 12, 13, 14, 17, 18, 19), "volumes"),
}
WAY_OUT = (
    "before meshing, set Mesh.ElementOrder=2, Mesh.SecondOrderIncomplete=1 and Mesh.RecombineAll=1, "
    "and Mesh.SubdivisionAlgorithm=1 if triangles remain"
)
#: Sections that don't change the mesh: comments, results, and descriptions of geometry or of neighbours.
_NO_MESH = {
    *("Comments", "GhostElements", "Parametrizations"),
    *("NodeData", "ElementData", "ElementNodeData", "InterpolationScheme"),
}
_LINES = 1 << 15  # lines of text that are read together
_LINE_LENGTH = 1 << 12


class Sections:
    """One pass over a file, section by section.

    Attributes
    ----------
    version : "2", "2.2" or "4.1"
    names : name of a group by dimension and physical tag
    grouped : physical tags that entities have, by dimension; format 4.1 only
    tags, points : numbers and coordinates (n, 3) of the nodes
    found : nodes of elements by type and physical tag, 0 for none; as positions among the nodes
    warnings : parts of the file that are not applied
    notes : parts of the file that were left aside
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.size = path.stat().st_size
        self.binary, self.order, self.size_t = False, "<", 8
        self.names: dict[tuple[int, int], str] = {}
        self.groups: dict[tuple[int, int], list[int]] = {}  # physical tags by dimension and tag of an entity (4.1)
        self.partitions = _Partitions()
        self.tags: Array = np.empty(0, dtype=np.int64)
        self.points = np.empty((0, 3))
        self.found: dict[tuple[int, int], list[Array]] = {}
        self.warnings: list[str] = []
        self.notes: list[str] = []

    def read(self) -> None:
        """Read all sections. Raises MeshError with the file, the section and the fault."""
        self.version = self.header()
        known = {"PhysicalNames": self.physical_names, "ParametricNodes": self.parametric_nodes}
        if self.version == "4.1":
            known |= {"Entities": self.entities, "PartitionedEntities": self.partitioned_entities}
            known |= {"Nodes": self.nodes_4, "Elements": self.elements_4, "Periodic": self.periodic_4}
        else:
            known |= {"Nodes": self.nodes_2, "Elements": self.elements_2, "Periodic": self.periodic_2}
        done = set()
        while line := self.file.readline(_LINE_LENGTH):
            name = line.strip().removeprefix(b"$").decode("ascii", "replace")
            if not line.startswith(b"$") or name.startswith("End"):
                continue
            self.section = name
            if name in done:
                raise self.fail("the file has this section twice; keep one of them")
            if name in known:
                if "Elements" in done and name not in ("PhysicalNames", "Periodic"):
                    raise self.fail("this section must come before $Elements")
                known[name]()
                done.add(name)
            elif name not in _NO_MESH:
                self.notes.append(f"the section {name[:80]!r} of the file is unknown, and is left aside")
            self.skip_to_end(may_lack="Elements" in done and name != "Elements")  # the mesh is complete by then
        if missing := {"Nodes", "Elements"} - done:
            raise MeshError(f"{self.path}: there is no ${' and no $'.join(sorted(missing))}")
        self.partitions.check(self)

    @property
    def grouped(self) -> set[tuple[int, int]]:
        return {(dimension, abs(tag)) for (dimension, _), tags in self.groups.items() for tag in tags}

    def fail(self, text: str) -> MeshError:
        return MeshError(f"{self.path}: ${self.section}: {text}")

    def header(self) -> str:
        self.section = "MeshFormat"
        if without_bom(self.file.readline(_LINE_LENGTH)).strip() != b"$MeshFormat":
            raise MeshError(f"{self.path}: not a gmsh mesh; it must begin with $MeshFormat")
        words = self.file.readline(_LINE_LENGTH).decode("ascii", "replace").split()
        if len(words) != 3 or words[1] not in ("0", "1") or words[2] not in ("4", "8"):
            raise self.fail(f"not a valid header: {' '.join(words)[:80]!r}")
        if words[0] not in ("2", "2.2", "4.1"):
            raise self.fail(f"version {words[0]}; write version 2.2 or 4.1 (option Mesh.MshFileVersion)")
        self.binary, self.size_t = words[1] == "1", int(words[2])
        if self.binary:
            one = self.file.read(4)
            if one not in (b"\1\0\0\0", b"\0\0\0\1"):
                raise self.fail("binary, but the number 1 that gives the byte order is missing")
            self.order = "<" if one[0] else ">"
        self.skip_to_end()
        return words[0]

    def skip_to_end(self, may_lack: bool = False) -> None:
        end = b"$End" + self.section.encode()
        while line := self.file.readline(_LINE_LENGTH):
            if line.strip() == end:
                return
        if not may_lack:
            raise MeshError(f"{self.path}: ${self.section} has no $End{self.section}; the file may be incomplete")

    def take(self, kind: str, count: int) -> Array:
        """`count` numbers of the kind int (i), size_t (u) or double (d); or nodes of format 2.2 (n), binary only."""
        if self.binary:
            types: dict[str, Any] = {"i": "i4", "u": f"u{self.size_t}", "d": "f8", "n": [("tag", "i4"), ("x", "f8", 3)]}
            dtype = np.dtype(types[kind]).newbyteorder(self.order)
            needed = count * dtype.itemsize
        else:
            dtype = np.dtype("f8" if kind == "d" else "i8")
            needed = 2 * count - 1  # a digit and a space for each
        announced = f"{wording.count(count, 'number', 'are')} announced"
        if not 0 <= needed <= self.size - self.file.tell() and count:
            raise self.fail(f"{announced}, but the file is too short")
        try:
            values = np.fromfile(self.file, dtype, count, sep="" if self.binary else " ")
        except ValueError:  # NumPy raises it from 2.3 on
            raise self.fail(f"{announced}, but something else was found") from None
        if len(values) < count:
            raise self.fail(f"{announced}, but only {len(values):,} found")
        return values

    def ints(self, kind: str, count: int) -> list[int]:
        return [int(value) for value in self.take(kind, count)]

    def count(self) -> int:
        """A number on a line of its own."""
        text = self.file.readline(_LINE_LENGTH).decode("ascii", "replace").strip()
        if not re.fullmatch(r"\d{1,18}", text):
            raise self.fail(f"a count was expected, not {text[:80]!r}")
        return int(text)

    def physical_names(self) -> None:
        for _ in range(self.count()):
            line = self.file.readline(_LINE_LENGTH).decode("utf-8", "replace")
            match = re.fullmatch(r'\s*(\d+)\s+(-?\d+)\s+"(.*)"\s*', line)
            if not match:
                raise self.fail(f'a dimension, a tag and a "name" were expected, not {line.strip()[:80]!r}')
            self.names[int(match[1]), abs(int(match[2]))] = match[3]

    def parametric_nodes(self) -> None:
        raise self.fail("nodes with parameters of curves are not read; write the file with Mesh.SaveParametric=0")

    def not_periodic(self, relations: int) -> None:
        if relations:
            self.warnings.append(
                f"$Periodic is not applied ({wording.count(relations, 'relation')} in the file): the two sides of each "
                "are boundaries on their own, and u may differ between them"
            )

    # format 4.1

    def entities(self) -> None:
        for dimension, number in enumerate(self.ints("u", 4)):
            for _ in range(number):
                (tag,) = self.ints("i", 1)
                self.take("d", 6 if dimension else 3)  # a box around it, or the point
                self.groups[dimension, tag] = self.ints("i", self.ints("u", 1)[0])
                if dimension:
                    self.take("i", self.ints("u", 1)[0])  # the entities that bound it

    def partitioned_entities(self) -> None:
        self.partitions.number, ghosts = self.ints("u", 2)
        self.partitions.ghosts = {tag for tag, _ in self.take("i", 2 * ghosts).reshape(-1, 2).tolist()}
        for dimension, number in enumerate(self.ints("u", 4)):
            for _ in range(number):
                tag, *parent = self.ints("i", 3)
                self.partitions.of_entity[dimension, tag] = self.ints("i", self.ints("u", 1)[0])
                self.take("d", 6 if dimension else 3)
                inherited = self.groups.get((parent[0], parent[1]), []) if parent[0] == dimension else []
                own = self.ints("i", self.ints("u", 1)[0])
                self.groups[dimension, tag] = list(dict.fromkeys([*own, *inherited]))
                if dimension:
                    self.take("i", self.ints("u", 1)[0])

    def periodic_4(self) -> None:
        self.not_periodic(self.ints("u", 1)[0])

    def nodes_4(self) -> None:
        blocks, number, _, _ = self.ints("u", 4)
        tags, points, total = [], [], 0
        for _ in range(blocks):
            dimension, _, parametric = self.ints("i", 3)
            (n,) = self.ints("u", 1)
            columns = 3 + (max(0, dimension) if parametric else 0)
            tags.append(self.take("u", n).astype(np.int64))
            points.append(self.take("d", n * columns).reshape(n, columns)[:, :3])
            total += n
        if total != number:
            raise self.fail(f"{wording.count(number, 'node', 'are')} announced, but {total:,} found")
        self.tags = np.concatenate([self.tags, *tags])
        self.points = np.concatenate([self.points, *points])

    def elements_4(self) -> None:
        blocks = self.ints("u", 4)[0]
        for _ in range(blocks):
            dimension, entity, kind = self.ints("i", 3)
            (n,) = self.ints("u", 1)
            width = 1 + _NODES[self.known(kind)]
            rows = self.take("u", n * width).reshape(n, width)
            if kind in AREAS and not self.partitions.take_entity(dimension, entity):
                continue
            nodes = positions(self.path, self.tags, rows[:, 1:])
            groups = self.groups.get((dimension, entity), []) if kind not in AREAS else []
            for tag in groups or [0]:
                self.found.setdefault((kind, abs(tag)), []).append(nodes)

    # format 2.2

    def periodic_2(self) -> None:
        self.not_periodic(self.count())  # text, also in a binary file

    def nodes_2(self) -> None:
        n = self.count()
        if self.binary:
            rows = self.take("n", n)
            self.tags, self.points = rows["tag"].astype(np.int64), rows["x"]
        else:
            rows = self.take("d", 4 * n).reshape(n, 4)
            self.tags, self.points = node_labels(self.path, rows[:, 0]), rows[:, 1:]

    def elements_2(self) -> None:
        left = self.count()
        while left:
            for kind, tags, nodes in self.rows_binary(left) if self.binary else self.rows_text(min(left, _LINES)):
                left -= len(nodes)
                if kind in AREAS and tags.shape[1] > 3:
                    self.partitions.take_tags(tags[:, 3:])
                group = np.abs(tags[:, 0]) if tags.shape[1] else np.zeros(len(nodes), dtype=np.int64)
                for tag in np.unique(group):
                    chosen = positions(self.path, self.tags, nodes[group == tag])
                    self.found.setdefault((kind, int(tag)), []).append(chosen)

    def rows_text(self, n: int) -> Iterator[tuple[int, Array, Array]]:
        """The elements on the next `n` lines, each `number type n_tags tags… nodes…`: type, tags, nodes."""
        lines = [self.file.readline(_LINE_LENGTH) for _ in range(n)]
        try:
            flat = numbers(b"".join(lines), int)
        except ValueError as error:
            raise self.fail(str(error)) from None
        start = rows = 0
        while start < len(flat):
            kind, tags = self.head(flat[start + 1 : start + 3])
            width = 3 + tags + _NODES[kind]
            block = alike(flat[start:], width, slice(1, 3))
            start, rows = start + block.size, rows + len(block)
            yield kind, block[:, 3 : 3 + tags], block[:, 3 + tags :]
            if not len(block):
                break
        if rows != n:
            raise self.fail(f"{n:,} lines should hold one element each, but {rows:,} elements can be read")

    def rows_binary(self, left: int) -> Iterator[tuple[int, Array, Array]]:
        """`left` elements, in blocks `type n n_tags` of n times `number tags… nodes…`: type, tags, nodes."""
        begin, start = self.file.tell(), 0
        flat = self.take("i", (self.size - begin) // 4)
        while left:
            kind, tags = self.head(flat[start : start + 3 : 2])
            n, width = int(flat[start + 1]), 1 + tags + _NODES[kind]
            if n == 1:  # gmsh writes a block for each element
                block = alike(flat[start:], 3 + width, slice(0, 3))[:left]
                start, block = start + block.size, block[:, 3:]
            else:
                block = flat[start + 3 : start + 3 + n * width][: max(0, n) * width]
                start, block = start + 3 + n * width, block[: block.size // width * width].reshape(-1, width)
            if not 0 < len(block) <= left or (n > 1 and len(block) < n):
                raise self.fail(f"{left:,} more elements are announced, but the file ends or is damaged")
            left -= len(block)
            yield kind, block[:, 1 : 1 + tags], block[:, 1 + tags :]
        self.file.seek(begin + 4 * start)

    def head(self, row: Array) -> tuple[int, int]:
        """Type and number of tags of the next element."""
        if len(row) < 2 or not 0 <= row[1] < 1000:
            raise self.fail("fewer elements than announced, or damaged ones")
        return self.known(int(row[0])), int(row[1])

    def known(self, kind: int) -> int:
        if kind not in _NODES:
            what = _REFUSED.get(kind, "elements")
            way_out = "mesh in two dimensions (gmsh -2)" if what == "volumes" else WAY_OUT
            raise MeshError(
                f"{self.path}: {what} (gmsh type {kind}), but only 8-node quadrilaterals are solved: {way_out}"
            )
        return kind


def alike(flat: Array, width: int, head: slice) -> Array:
    """The first rows of `flat`, in rows of `width`, whose columns `head` are those of the first row."""
    rows = flat[: len(flat) // width * width].reshape(-1, width)
    many = min(1, len(rows))
    while many < len(rows):  # double the number each time: a short run must not need a search of the whole file
        more = rows[many : 2 * many, head]
        if len(other := np.flatnonzero((more != rows[0, head]).any(axis=1))):
            return rows[: many + other[0]]
        many += len(more)
    return rows


class _Partitions:
    """The partitions of a mesh whose elements are in a file."""

    def __init__(self) -> None:
        self.number = 0  # the number of all partitions, if the file gives it
        self.ghosts: set[int] = set()  # surfaces that repeat the elements of neighbours
        self.of_entity: dict[tuple[int, int], list[int]] = {}
        self.here: set[int] = set()
        self.mentioned: set[int] = set()

    def take_entity(self, dimension: int, entity: int) -> bool:
        """Note the partition of an entity's elements (4.1); False if they are copies of a neighbour's elements."""
        if dimension == 2 and entity in self.ghosts:
            return False
        self.here.update(self.of_entity.get((dimension, entity), []))
        return True

    def take_tags(self, partitions: Array) -> None:
        """Note the partitions of elements (2.2): (n, m), its own partition first; a negative number has a copy."""
        self.here.update(np.unique(partitions[:, 0]).tolist())
        self.mentioned.update(np.unique(np.abs(partitions)).tolist())

    def check(self, file: Sections) -> None:
        """Refuse a file that is one of several; warn if this isn't known."""
        number = self.number or max(self.mentioned, default=0)
        if 0 < len(self.here) < number:
            raise MeshError(
                f"{file.path}: the file has elements of {len(self.here):,} of {number:,} partitions only, so it is one "
                "of several; write the mesh into one file (Mesh.PartitionSplitMeshFiles=0)"
            )
        if not self.number and self.mentioned == {1}:  # format 2.2 doesn't give the number of partitions
            file.warnings.append(
                "all elements are of partition 1; if this file is one of several that hold a mesh together, "
                "write the mesh into one file"
            )

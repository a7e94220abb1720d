"""Gmsh meshes (.msh, formats 2.2 and 4.1, text and binary); physical groups become boundaries.

8-node quadrilaterals (type 16) are the elements, quadratic lines (type 8) in physical groups the edges of
boundaries, points in physical groups their further nodes. Everything else in the plane is refused.
https://gmsh.info/doc/texinfo/gmsh.html#MSH-file-format
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import as_elements_have, check_names, check_plane, node_labels, numbers, positions, without_bom
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support import wording
from fem_core.types import Array

_POINT, _LINE, _QUAD = 15, 8, 16
_NODES = {_POINT: 1, _LINE: 3, _QUAD: 8}
_REFUSED = {
    1: "2-node lines",
    2: "3-node triangles",
    3: "4-node quadrilaterals",
    9: "6-node triangles",
    10: "9-node quadrilaterals",
}
_WAY_OUT = (
    "before meshing, set Mesh.ElementOrder=2, Mesh.SecondOrderIncomplete=1 and Mesh.RecombineAll=1, "
    "and Mesh.SubdivisionAlgorithm=1 if triangles remain"
)
_LINES = 1 << 15  # lines of text that are read at once
_LINE_LENGTH = 1 << 12


def read(path: Path) -> Mesh:
    """The mesh in a file of gmsh's. Raises MeshError naming the file and what was found."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # what NumPy gives before 2.3 where the text isn't a number
        return _Reader(file, path).mesh()


class _Reader:
    """One pass over a file, section by section."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.size = path.stat().st_size
        self.binary, self.order, self.size_t = False, "<", 8
        self.names: dict[tuple[int, int], str] = {}
        self.groups: dict[tuple[int, int], list[int]] = {}  # physical tags by dimension and tag of an entity (4.1)
        self.tags: Array = np.empty(0, dtype=np.int64)
        self.points = np.empty((0, 3))
        self.found: dict[tuple[int, int], list[Array]] = {}  # nodes of elements by type and physical tag, 0 for none

    def mesh(self) -> Mesh:
        version = self.header()
        sections = {"PhysicalNames": self.physical_names}
        if version == "4.1":
            sections |= {"Entities": self.entities, "Nodes": self.nodes_4, "Elements": self.elements_4}
        else:
            sections |= {"Nodes": self.nodes_2, "Elements": self.elements_2}
        while line := self.file.readline(_LINE_LENGTH):
            name = line.strip().removeprefix(b"$").decode("ascii", "replace")
            if line.startswith(b"$") and not name.startswith("End"):
                self.section = name
                if name in sections:
                    sections.pop(name)()
                self.skip_to_end()
                if name == "Elements":
                    break  # what follows are results
        if missing := {"Nodes", "Elements"} & set(sections):
            raise MeshError(f"{self.path}: there is no ${' and no $'.join(sorted(missing))}")
        return self.assembled()

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

    def skip_to_end(self) -> None:
        end = b"$End" + self.section.encode()
        while line := self.file.readline(_LINE_LENGTH):
            if line.strip() == end:
                return
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
        except ValueError:  # of NumPy, from 2.3 on
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
            self.names[int(match[1]), int(match[2])] = match[3]

    # format 4.1

    def entities(self) -> None:
        for dimension, number in enumerate(self.ints("u", 4)):
            for _ in range(number):
                (tag,) = self.ints("i", 1)
                self.take("d", 6 if dimension else 3)  # a box around it, or the point
                self.groups[dimension, tag] = self.ints("i", self.ints("u", 1)[0])
                if dimension:
                    self.take("i", self.ints("u", 1)[0])  # what bounds it

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
            nodes = positions(self.path, self.tags, self.take("u", n * width).reshape(n, width)[:, 1:])
            groups = self.groups.get((dimension, entity), []) if kind != _QUAD else []
            for tag in groups or [0]:
                self.found.setdefault((kind, abs(tag)), []).append(nodes)

    # format 2.2

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
            if n == 1:  # gmsh makes a block of each element
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
            raise MeshError(
                f"{self.path}: {what} (gmsh type {kind}), but only 8-node quadrilaterals are solved: {_WAY_OUT}"
            )
        return kind

    # both

    def assembled(self) -> Mesh:
        """The mesh of what was found."""
        quads = [np.concatenate(nodes) for (kind, _), nodes in self.found.items() if kind == _QUAD]
        if not quads:
            raise MeshError(f"{self.path}: there are no 8-node quadrilaterals: {_WAY_OUT}")
        quad8 = np.concatenate(quads)
        if len(quads) > 1:  # format 2.2 repeats an element for each physical group that it is in
            quad8 = quad8[np.sort(np.unique(quad8, axis=0, return_index=True)[1])]
        notes = check_plane(self.path, self.points, self.tags, quad8)
        edges: dict[str, list[Array]] = {}
        nodes: dict[str, list[Array]] = {}
        for (kind, tag), found in self.found.items():
            if tag and kind == _LINE:
                lines = as_elements_have(np.concatenate(found)[:, [0, 2, 1]], quad8)
                edges.setdefault(self.names.get((1, tag), str(tag)), []).append(lines)
            elif tag and kind == _POINT:
                nodes.setdefault(self.names.get((0, tag), f"point {tag}"), []).extend(found)
        boundaries = {}
        for name in dict.fromkeys([*edges, *nodes]):
            own = np.concatenate([np.empty((0, 3), dtype=np.int32), *edges.get(name, [])])
            further = [part.ravel() for part in nodes.get(name, [])]
            boundaries[name] = Boundary(own, np.concatenate([own.ravel(), *further]))
        lost = [name for (dimension, _), name in self.names.items() if dimension == 1 and name not in boundaries]
        warning = (
            f"the physical groups {', '.join(lost)} have no lines in the file, so they are no boundaries "
            "(format 2.2 loses them under Mesh.SaveAll=1)"
        )
        x, y = self.points[:, 0], self.points[:, 1]
        return Mesh(x, y, quad8, boundaries, self.path.name, (warning,) if lost else (), notes)


def alike(flat: Array, width: int, head: slice) -> Array:
    """The first rows of `flat`, in rows of `width`, whose columns `head` are those of the first row."""
    rows = flat[: len(flat) // width * width].reshape(-1, width)
    many = min(1, len(rows))
    while many < len(rows):  # twice as many each time: a short run must not cost a look at the whole file
        more = rows[many : 2 * many, head]
        if len(other := np.flatnonzero((more != rows[0, head]).any(axis=1))):
            return rows[: many + other[0]]
        many += len(more)
    return rows


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` in format 4.1, binary: a physical group for each boundary, and `elements`."""
    check_names(mesh)
    numbered = list(enumerate(mesh.boundaries.items(), start=1))
    curves = [(k, boundary.edges) for k, (_, boundary) in numbered if len(boundary.edges)]
    points = [(k, np.setdiff1d(boundary.nodes, boundary.edges)) for k, (_, boundary) in numbered]
    points = [(k, nodes) for k, nodes in points if len(nodes)]
    names = [(1, k, name) for k, (name, _) in numbered] + [(0, k, numbered[k - 1][1][0]) for k, _ in points]
    names.append((2, len(numbered) + 1, "elements"))

    def sizes(*values: int) -> bytes:
        return np.array(values, dtype=np.uint64).tobytes()

    def ints(*values: int) -> bytes:
        return np.array(values, dtype=np.int32).tobytes()

    def doubles(*values: Array) -> bytes:
        return np.ascontiguousarray(np.stack(values, axis=-1), dtype=np.float64).tobytes()

    def entity(tag: int, physical: int, nodes: Array, is_point: bool = False) -> bytes:
        low, high = ((f(mesh.x[nodes]), f(mesh.y[nodes]), 0.0) for f in (np.min, np.max))
        box = low if is_point else low + high
        return ints(tag) + doubles(*np.array(box)) + sizes(1) + ints(physical) + (b"" if is_point else sizes(0))

    blocks = [(0, k, _POINT, nodes[:, None]) for k, nodes in points]
    blocks += [(1, k, _LINE, edges[:, [0, 2, 1]]) for k, edges in curves]
    blocks.append((2, 1, _QUAD, mesh.quad8))
    with path.open("wb") as file:
        file.write(b"$MeshFormat\n4.1 1 8\n" + ints(1) + b"\n$EndMeshFormat\n")
        text = "".join(f'{dimension} {tag} "{name}"\n' for dimension, tag, name in names)
        file.write(f"$PhysicalNames\n{len(names)}\n{text}$EndPhysicalNames\n".encode())
        file.write(b"$Entities\n" + sizes(len(points), len(curves), 1, 0))
        file.writelines(entity(k, k, nodes, is_point=True) for k, nodes in points)
        file.writelines(entity(k, k, edges) for k, edges in curves)
        file.write(entity(1, len(numbered) + 1, mesh.used_nodes) + b"\n$EndEntities\n")
        file.write(b"$Nodes\n" + sizes(1, mesh.n_nodes, 1, mesh.n_nodes) + ints(2, 1, 0) + sizes(mesh.n_nodes))
        file.write(np.arange(1, mesh.n_nodes + 1, dtype=np.uint64).tobytes())
        file.write(doubles(mesh.x, mesh.y, np.zeros(mesh.n_nodes)) + b"\n$EndNodes\n")
        total = sum(len(nodes) for *_, nodes in blocks)
        file.write(b"$Elements\n" + sizes(len(blocks), total, 1, total))
        first = 1
        for dimension, tag, kind, nodes in blocks:
            rows = np.empty((len(nodes), 1 + nodes.shape[1]), dtype=np.uint64)
            rows[:, 0], rows[:, 1:] = np.arange(first, first + len(nodes)), nodes + 1
            file.write(ints(dimension, tag, kind) + sizes(len(nodes)) + rows.tobytes())
            first += len(nodes)
        file.write(b"\n$EndElements\n")

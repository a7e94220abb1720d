"""Abaqus input files (.inp): 8-node elements of the plane; sets and surfaces on the boundary become boundaries.

Elements may be of solid mechanics (CPS8, CPE8, S8R) or heat transfer (DC2D8): geometry and node order are the
same, and nothing else of them is read. A boundary comes from

- a node set whose nodes all lie on the boundary of the mesh: these nodes, with the edges they complete;
- an element set of quadratic line elements (T2D3, T3D3, B22, DC1D3), as gmsh writes them: these lines;
- a surface of element sides (`*SURFACE, TYPE=ELEMENT`, S1 to S4): these edges.

Sets of other elements are left alone. What one name has of each is joined.

Nothing in the format marks the end of a file, so ours end with a comment, which their first line announces.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fem_core.errors import MeshError
from fem_core.io.checks import SMALL, as_elements_have, check_names, check_plane, node_labels, numbers, positions
from fem_core.mesh.geometry import find_edges
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.quad8 import EDGES
from fem_core.support.wording import name_some
from fem_core.types import Array

_QUADS = {"CPS8", "CPS8R", "CPE8", "CPE8R", "DC2D8", "S8R", "S8R5"}
_LINES = {"T2D3", "T3D3", "B22", "B32", "DC1D3"}
_WAY_OUT = "only plane 8-node elements can be solved, such as DC2D8, CPS8 and CPS8R"
_TO_NUMBERS = {float: bytes.maketrans(b",dD", b" ee"), int: bytes.maketrans(b",", b" ")}
_END = b"** end of this fem-core mesh"
_HEAD = b'** fem-core mesh; a whole file has "' + _END + b'" below it'
_PIECE = 1 << 18  # bytes of text that are turned into numbers at once


class _Model:
    """What the blocks of a file add up to; node and element numbers are the file's."""

    def __init__(self, size: int) -> None:
        self.nodes: list[tuple[Array, Array]] = []  # numbers; x, y and z
        self.quads: list[Array] = []  # number, nodes
        self.lines: list[Array] = []
        self.node_sets: dict[str, list[Array]] = {}
        self.element_sets: dict[str, list[Array]] = {}
        self.surfaces: dict[str, list[tuple[Array, int]]] = {}  # elements and their side, from 0
        self.instances = 0
        self.allowed = (SMALL + 2 * size) // 8  # members that sets may have without being written out one by one


@dataclass
class _Block:
    """A keyword with its parameters, and where in `raw` the lines of data below it are."""

    path: Path
    raw: bytes
    start: int
    keyword: str
    parameters: dict[str, str]
    extents: list[tuple[int, int]]

    def fail(self, text: str) -> MeshError:
        line = self.raw.count(b"\n", 0, self.start) + 1
        return MeshError(f"{self.path}: line {line}: *{self.keyword}: {text}")

    def name(self, parameter: str) -> str:
        if not self.parameters.get(parameter):
            raise self.fail(f"{parameter}= is missing")
        return self.parameters[parameter]

    def pieces(self) -> Iterator[bytes]:
        """The data, some thousand lines at a time."""
        for start, end in self.extents:
            while start < end:
                stop = self.raw.find(b"\n", start + _PIECE, end)
                stop = end if stop < 0 else stop + 1
                yield self.raw[start:stop]
                start = stop

    def numbers(self, dtype: type, columns: Sequence[int]) -> Array:
        """The data as rows, each of as many numbers as the first line has, which must be one of `columns`."""
        most = sum(self.raw.count(b",", *extent) + self.raw.count(b"\n", *extent) + 1 for extent in self.extents)
        values: Array = np.empty(most, dtype=dtype)
        used = width = 0
        for piece in self.pieces():
            if not width and piece.strip():
                width = len([word for word in piece.strip().split(b"\n", 1)[0].split(b",") if word.strip()])
            try:
                found = numbers(piece.translate(_TO_NUMBERS[dtype]), dtype)
            except ValueError as error:
                raise self.fail(str(error)) from None
            if used + len(found) > most:
                raise self.fail("numbers without a comma between them")
            values[used : used + len(found)] = found
            used += len(found)
        if len(columns) == 1:
            width = columns[0]  # lines of elements may be broken
        if used and (width not in columns or used % width):
            raise self.fail(f"rows of {' or '.join(map(str, columns))} numbers were expected")
        return values[:used].reshape(-1, width or columns[0])

    def words(self) -> Iterator[list[str]]:
        """The data as lines of words."""
        for piece in self.pieces():
            for line in piece.decode("utf-8", "replace").splitlines():
                if row := [word.strip().strip('"') for word in line.split(",") if word.strip()]:
                    yield row


def read(path: Path) -> Mesh:
    """The mesh in an input file. Raises MeshError naming the file and the line."""
    model = _model(path)
    if not model.nodes or not model.quads:
        raise MeshError(f"{path}: there are no {'plane 8-node elements' if model.nodes else 'nodes'}")
    labels = np.concatenate([labels for labels, _ in model.nodes])
    points = np.concatenate([points for _, points in model.nodes])
    model.nodes.clear()
    elements = np.concatenate([rows[:, 0] for rows in model.quads])
    quad8 = np.concatenate([positions(path, labels, rows[:, 1:]) for rows in model.quads])
    model.quads.clear()
    notes = check_plane(path, points, labels, quad8)
    boundaries = _boundaries(path, model, quad8, labels, elements)
    return Mesh(points[:, 0], points[:, 1], quad8, boundaries, path.name, notes=notes)


def _model(path: Path) -> _Model:
    raw = path.read_bytes()
    if raw.startswith(_HEAD) and b"\n" + _END not in raw:  # more may have been put below it
        raise MeshError(
            f"{path}: the file is incomplete: the line {_END.decode()!r} is missing; copy or write the file again"
        )
    model = _Model(len(raw))
    for block in _blocks(path, raw):
        _add(model, block)
    return model


def _blocks(path: Path, raw: bytes) -> Iterator[_Block]:
    """The blocks of a file; comments (`**`) are dropped, a keyword's line may go on after a comma."""
    block: _Block | None = None
    end = 0
    for match in re.finditer(rb"^[ \t]*\*.*$", raw, re.MULTILINE):
        start, line = match.span()[0], match[0].strip()
        if start < end:
            continue  # belongs to the line before
        if block:
            block.extents.append((end, start))
        elif raw[end:start].strip():
            break
        end = match.end()
        if line.startswith(b"**"):
            continue
        while line.endswith(b",") and end < len(raw):
            start_of_next, end = end + 1, raw.find(b"\n", end + 1)
            end = len(raw) if end < 0 else end
            line += raw[start_of_next:end].strip()
        if block:
            yield block
        keyword, *parts = line[1:].decode("utf-8", "replace").split(",")
        pairs = (part.partition("=") for part in parts if part.strip())
        parameters = {key.strip().upper(): value.strip().strip('"') for key, _, value in pairs}
        block = _Block(path, raw, start, keyword.strip().upper(), parameters, [])
    if block is None:
        raise MeshError(f"{path}: not an Abaqus input file; it must have blocks that begin with a *KEYWORD")
    block.extents.append((end, len(raw)))
    yield block


def _add(model: _Model, block: _Block) -> None:
    """Take what `block` holds of a mesh."""
    match block.keyword:
        case "NODE":
            rows = block.numbers(float, (3, 4))
            labels = node_labels(block.path, rows[:, 0])
            points = np.zeros((len(rows), 3))
            points[:, : rows.shape[1] - 1] = rows[:, 1:]
            model.nodes.append((labels, points))
            if name := block.parameters.get("NSET"):
                model.node_sets.setdefault(name, []).append(labels)
        case "ELEMENT":
            kind = block.name("TYPE").upper()
            if kind not in _QUADS | _LINES:
                raise block.fail(f"elements of type {kind}; {_WAY_OUT}")
            rows = block.numbers(int, [9 if kind in _QUADS else 4])
            (model.quads if kind in _QUADS else model.lines).append(rows)
            if name := block.parameters.get("ELSET"):
                model.element_sets.setdefault(name, []).append(rows[:, 0])
        case "NSET":
            model.node_sets.setdefault(block.name("NSET"), []).extend(_members(model, block, model.node_sets))
        case "ELSET":
            model.element_sets.setdefault(block.name("ELSET"), []).extend(_members(model, block, model.element_sets))
        case "SURFACE" if block.parameters.get("TYPE", "ELEMENT").upper() == "ELEMENT":
            found = model.surfaces.setdefault(block.name("NAME"), [])
            for row in block.words():
                side = re.fullmatch(r"[sS]([1-4])", row[1]) if len(row) == 2 else None
                if not side:
                    raise block.fail(f"an element or a set and its side (S1 to S4) were expected, not {row[0]!r}, …")
                found += [(elements, int(side[1]) - 1) for elements in _named(model, block, row[0], model.element_sets)]
        case "INCLUDE":
            raise block.fail("included files are not read; put everything into one file")
        case "INSTANCE":
            model.instances += 1
            if model.instances > 1 or next(block.words(), None):
                raise block.fail("parts that are used twice or moved can't be read; write the model without parts")


def _spend(model: _Model, block: _Block, members: int) -> None:
    """Refuse sets that are far larger than the file: a few lines can ask for as much memory as they like."""
    model.allowed -= members
    if model.allowed < 0:
        raise block.fail("the sets are far larger than the file, so the file is refused")


def _named(model: _Model, block: _Block, word: str, sets: dict[str, list[Array]]) -> list[Array]:
    """The member that `word` numbers, or those of the set of this name."""
    if re.fullmatch(r"[0-9]{1,18}", word):
        return [np.array([int(word)])]
    for name, members in sets.items():
        if name.upper() == word.upper():
            _spend(model, block, sum(map(len, members)) + 100)
            return list(members)
    raise block.fail(f"neither a number nor a set above it: {word[:80]!r}")


def _members(model: _Model, block: _Block, sets: dict[str, list[Array]]) -> list[Array]:
    """Numbers, names of sets, or with GENERATE first, last and step."""
    found: list[Array] = []
    single: list[int] = []
    for row in block.words():
        numbers = [int(word) for word in row if re.fullmatch(r"[0-9]{1,18}", word)]
        if "GENERATE" in block.parameters:
            if not 2 <= len(row) == len(numbers) <= 3:
                raise block.fail(f"first, last and step were expected, not {', '.join(row)[:80]}")
            members = range(numbers[0], numbers[1] + 1, max(1, [*numbers, 1][2]))
            _spend(model, block, len(members))
            found.append(np.arange(members.start, members.stop, members.step))
        elif len(numbers) == len(row):
            single += numbers
        else:
            for word in row:
                found += _named(model, block, word, sets)
    return [np.array(single, dtype=np.int64), *found]


def _boundaries(path: Path, model: _Model, quad8: Array, labels: Array, elements: Array) -> dict[str, Boundary]:
    """The sets and surfaces that make boundaries, given what numbers the file has for nodes and elements."""
    sides = quad8[:, EDGES]
    edges: dict[str, list[Array]] = {}
    nodes: dict[str, Array] = {}
    for name, faces in model.surfaces.items():
        edges[name] = [sides[_index(path, elements, members, name), side] for members, side in faces]
    if model.lines:
        lines = np.concatenate(model.lines)
        at = positions(path, labels, lines[:, 1:])
        is_middle = np.zeros(len(labels), dtype=bool)
        is_middle[quad8[:, 4:]] = True
        second = is_middle[at[:, 1]]  # Abaqus' own order is end, middle, end; some programs write the middle last
        at = as_elements_have(np.where(second[:, None], at, at[:, [0, 2, 1]]), quad8)
        for name, parts in model.element_sets.items():
            if len(chosen := at[np.isin(lines[:, 0], np.concatenate(parts))]):
                edges.setdefault(name, []).append(chosen)
    if model.node_sets:
        element, side = np.nonzero(np.bincount(quad8[:, 4:].ravel())[quad8[:, 4:]] == 1)  # mid-sides of one element
        exterior = quad8[element[:, None], EDGES[side]]
        outer = np.zeros(len(labels), dtype=bool)
        outer[exterior] = True
        for name, parts in model.node_sets.items():
            members = positions(path, labels, np.concatenate(parts))
            if outer[members].all():
                nodes[name] = members
                inside = np.zeros(len(labels), dtype=bool)
                inside[members] = True
                if name not in edges:
                    edges[name] = [exterior[inside[exterior].all(axis=1)]]
    return {name: _boundary(edges.get(name, []), nodes.get(name)) for name in dict.fromkeys([*edges, *nodes])}


def _boundary(edges: list[Array], nodes: Array | None) -> Boundary:
    own = np.concatenate([np.empty((0, 3), dtype=np.int32), *edges])
    return Boundary(own, np.concatenate([own.ravel(), [] if nodes is None else nodes]).astype(np.int32))


def _index(path: Path, elements: Array, members: Array, name: str) -> Array:
    order = np.argsort(elements, kind="stable")
    place = order[np.minimum(np.searchsorted(elements, members, sorter=order), len(order) - 1)]
    if len(unknown := members[elements[place] != members]):
        raise MeshError(
            f"{path}: the surface {name!r} refers to {name_some(unknown, 'element')}, not found in the file"
        )
    return place


def write(mesh: Mesh, path: Path) -> None:
    """Write `mesh` as DC2D8, each boundary as a node set and a surface of element sides."""
    check_names(mesh)
    known = mesh.quad8[:, EDGES].reshape(-1, 3)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(f"{_HEAD.decode()}\n*NODE\n")
        file.writelines(
            f"{i}, {x!r}, {y!r}\n" for i, (x, y) in enumerate(np.stack([mesh.x, mesh.y], axis=1).tolist(), 1)
        )
        file.write("*ELEMENT, TYPE=DC2D8\n")
        rows = (mesh.quad8 + 1).tolist()
        file.writelines(f"{i}, {', '.join(map(str, row))}\n" for i, row in enumerate(rows, 1))
        for name, boundary in mesh.boundaries.items():
            file.write(f'*NSET, NSET="{name}"\n')
            file.writelines(f"{node}\n" for node in (boundary.nodes + 1).tolist())
            file.write(f'*SURFACE, TYPE=ELEMENT, NAME="{name}"\n')
            sides = find_edges(boundary.edges, known)
            file.writelines(f"{side // 4 + 1}, S{side % 4 + 1}\n" for side in sides.tolist())
        file.write(f"{_END.decode()}\n")

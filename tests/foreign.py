"""Mesh files as other programs write them, for tests: gmsh's 2.2 and 4.1 (partitioned), and VTU with lines and tags.

They are written line by line, so that a test shows the one thing that is odd in its file.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fem_core import Mesh
from meshes import squares

#: The duct [0, 2] x [0, 1] of four elements: with γ = 2.5 at its inlet, u = 2.5 (2 - x).
DUCT = squares(2, width=2.0)

Row = tuple[int, list[int], Sequence[int]]


def lines(mesh: Mesh, name: str) -> list[list[int]]:
    """The edges of a boundary in gmsh's and VTK's order: both ends, then the middle."""
    return mesh.boundaries[name].edges[:, [0, 2, 1]].tolist()


def elements(mesh: Mesh = DUCT, tags: Sequence[int] = (9, 9), kind: int = 8) -> list[Row]:
    """Type, tags and nodes of the rows of format 2.2: boundaries are groups 1, 2, …; lines of kind 1 have no middle."""
    rows = [
        (kind, [k, k], line[: 3 if kind == 8 else 2])
        for k, name in enumerate(mesh.boundaries, start=1)
        for line in lines(mesh, name)
    ]
    return rows + [(16, list(tags), nodes) for nodes in mesh.quad8.tolist()]


def msh_2(
    path: Path, mesh: Mesh = DUCT, rows: list[Row] | None = None, *, z: float | np.ndarray = 0.0,
    names: str | None = None, more_nodes: str = "", before: str = "", after: str = "",
) -> Path:  # fmt: skip
    """`mesh` in format 2.2 as text."""
    rows = elements(mesh) if rows is None else rows
    if names is None:
        names = "".join(f'1 {k} "{name}"\n' for k, name in enumerate(mesh.boundaries, start=1)) + '2 9 "air"\n'
    places = zip(mesh.x.tolist(), mesh.y.tolist(), np.broadcast_to(z, mesh.n_nodes).tolist(), strict=True)
    path.write_text(
        "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n"
        + f"$PhysicalNames\n{names.count(chr(10))}\n{names}$EndPhysicalNames\n{before}"
        + f"$Nodes\n{mesh.n_nodes + more_nodes.count(chr(10))}\n"
        + "".join(f"{i} {x!r} {y!r} {z!r}\n" for i, (x, y, z) in enumerate(places, start=1))
        + f"{more_nodes}$EndNodes\n$Elements\n{len(rows)}\n"
        + "".join(
            f"{i} {kind} {len(tags)} {' '.join(map(str, tags))} {' '.join(str(node + 1) for node in nodes)}\n"
            for i, (kind, tags, nodes) in enumerate(rows, start=1)
        )
        + f"$EndElements\n{after}"
    )
    return path


class Msh4:
    """A file of format 4.1, text or binary, whose duct is cut into two partitions at x = 1.

    Its groups are `inlet` (1), `outlet` (2) and `walls` (3); the curves 11 to 14 are parts of the curves 1 to 4
    (inlet, outlet, bottom, top), the surfaces 2 and 3 of the surface 1.
    """

    def __init__(self, binary: bool = False) -> None:
        self.binary = binary
        self.groups = {11: [1], 12: [2], 13: [3], 14: [3]}  # of the parts
        self.parent_groups: dict[int, list[int]] = {}
        self.partitions = 2
        self.here = (1, 2)  # partitions whose elements are in the file
        self.ghosts: dict[int, int] = {}  # partition by the surface of copies
        self.after = b""

    def ints(self, *values: int) -> bytes:
        return np.array(values, "<i4").tobytes() if self.binary else (" ".join(map(str, values)) + " ").encode()

    def sizes(self, *values: int) -> bytes:
        return np.array(values, "<u8").tobytes() if self.binary else (" ".join(map(str, values)) + " ").encode()

    def doubles(self, values: np.ndarray) -> bytes:
        values = np.asarray(values, float).ravel()
        return values.tobytes() if self.binary else (" ".join(map(repr, values.tolist())) + "\n").encode()

    def physical(self, tags: Sequence[int]) -> bytes:
        return self.sizes(len(tags)) + (self.ints(*tags) if tags else b"")

    def entities(self) -> bytes:
        box = self.doubles(np.zeros(6))
        found = self.sizes(0, 4, 1, 0)
        for curve in (1, 2, 3, 4):
            found += self.ints(curve) + box + self.physical(self.parent_groups.get(curve, [])) + self.sizes(0)
        return found + self.ints(1) + box + self.physical([]) + self.sizes(0)

    def partitioned(self) -> bytes:
        box = self.doubles(np.zeros(6))
        found = self.sizes(self.partitions, len(self.ghosts))
        for tag, partition in self.ghosts.items():
            found += self.ints(tag, partition)
        found += self.sizes(0, 5, 2, 0)
        for curve, partitions in ((11, [1]), (12, [2]), (13, [1, 2]), (14, [1, 2]), (15, [1, 2])):
            parent = (1, curve - 10) if curve < 15 else (2, 1)  # curve 15 is where the partitions meet
            found += self.ints(curve, *parent) + self.sizes(len(partitions)) + self.ints(*partitions) + box
            found += self.physical(self.groups.get(curve, [])) + self.sizes(0)
        for surface in (2, 3):
            found += self.ints(surface, 2, 1) + self.sizes(1) + self.ints(surface - 1) + box
            found += self.physical([9]) + self.sizes(0)
        return found

    def write(self, path: Path) -> Path:
        mesh, n = DUCT, DUCT.n_nodes
        left = mesh.x[mesh.quad8[:, :4]].mean(axis=1) < 1
        wall = np.array(lines(mesh, "walls"))
        bottom = mesh.y[wall[:, 0]] == 0
        cut = [[a, b, mid] for a, mid, b in mesh.quad8[left][:, [1, 5, 2]].tolist()]
        blocks = [(1, 11, 8, lines(mesh, "inlet")), (1, 12, 8, lines(mesh, "outlet"))]
        blocks += [(1, 13, 8, wall[bottom].tolist()), (1, 14, 8, wall[~bottom].tolist()), (1, 15, 8, cut)]
        blocks += [(2, 1 + k, 16, mesh.quad8[left == (k == 1)].tolist()) for k in self.here]
        blocks += [(2, tag, 16, mesh.quad8[left == (k != 1)].tolist()) for tag, k in self.ghosts.items()]
        total, first = sum(len(rows) for *_, rows in blocks), 1
        content = self.sizes(len(blocks), total, 1, total)
        for dimension, tag, kind, rows in blocks:
            content += self.ints(dimension, tag, kind) + self.sizes(len(rows))
            for row in rows:
                content += self.sizes(first, *(node + 1 for node in row)) + (b"" if self.binary else b"\n")
                first += 1
        nodes = self.sizes(1, n, 1, n) + self.ints(2, 1, 0) + self.sizes(n) + self.sizes(*range(1, n + 1))
        nodes += self.doubles(np.stack([mesh.x, mesh.y, np.zeros(n)], axis=1))
        head = b"4.1 1 8\n\1\0\0\0" if self.binary else b"4.1 0 8"
        names = b'3\n1 1 "inlet"\n1 2 "outlet"\n1 3 "walls"'
        sections = {"MeshFormat": head, "PhysicalNames": names, "Entities": self.entities()}
        sections |= {"PartitionedEntities": self.partitioned(), "Nodes": nodes, "Elements": content}
        text = b"".join(b"$%s\n%s\n$End%s\n" % (key.encode(), one, key.encode()) for key, one in sections.items())
        path.write_bytes(text + self.after)
        return path


Cell = tuple[int, Sequence[int]]


def cells_of(mesh: Mesh = DUCT, kind: int = 21) -> list[Cell]:
    """The boundaries' lines and the elements of a VTU file; kind 3 has no middle."""
    found: list[Cell] = [
        (kind, line[: 3 if kind == 21 else 2]) for name in mesh.boundaries for line in lines(mesh, name)
    ]
    return found + [(23, nodes) for nodes in mesh.quad8.tolist()]


def tags_of(mesh: Mesh = DUCT) -> list[int]:
    """1, 2, … for the lines of each boundary in turn, 9 for elements: of `cells_of`."""
    tags = [k for k, one in enumerate(mesh.boundaries.values(), start=1) for _ in one.edges]
    return tags + [9] * mesh.n_elements


def marks_of(mesh: Mesh = DUCT) -> dict[str, list[int]]:
    """The arrays `boundary:NAME` for the lines and elements of `cells_of`."""
    tags = tags_of(mesh)
    return {f"boundary:{name}": [int(tag == k) for tag in tags] for k, name in enumerate(mesh.boundaries, start=1)}


#: A piece without points or cells.
EMPTY = (
    '<Piece NumberOfPoints="0" NumberOfCells="0"><Points><DataArray type="Float64" NumberOfComponents="3"/></Points>'
    '<Cells><DataArray type="Int64" Name="connectivity"/><DataArray type="Int64" Name="offsets"/>'
    '<DataArray type="UInt8" Name="types"/></Cells></Piece>'
)


def vtu(
    path: Path, cells: list[Cell], data: dict[str, Sequence[float]] | None = None, *, mesh: Mesh = DUCT,
    kind: str = "Int64", at_points: dict[str, Sequence[float]] | None = None, before: str = "", after: str = "",
) -> Path:  # fmt: skip
    """A VTU file of text, with arrays of the cells of one type and of the points; other pieces around it."""

    def array(name: str, kind: str, values: Sequence[float], width: int = 1) -> str:
        text = " ".join(map(str, values))
        return f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="ascii">{text}</DataArray>'

    points = np.stack([mesh.x, mesh.y, np.zeros(mesh.n_nodes)], axis=1).ravel().tolist()
    nodes = [node for _, row in cells for node in row]
    of_cells = "".join(array(name, kind, values) for name, values in (data or {}).items())
    of_points = "".join(array(name, "Float64", values) for name, values in (at_points or {}).items())
    path.write_text(
        '<?xml version="1.0"?>\n<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian">'
        f'<UnstructuredGrid>{before}<Piece NumberOfPoints="{mesh.n_nodes}" NumberOfCells="{len(cells)}">'
        f"<PointData>{of_points}</PointData><CellData>{of_cells}</CellData>"
        f"<Points>{array('Points', 'Float64', points, 3)}</Points><Cells>{array('connectivity', 'Int64', nodes)}"
        f"{array('offsets', 'Int64', np.cumsum([len(row) for _, row in cells]).tolist())}"
        f"{array('types', 'UInt8', [kind for kind, _ in cells])}</Cells></Piece>{after}</UnstructuredGrid></VTKFile>"
    )
    return path


def samples(folder: Path) -> list[Path]:
    """A file of each kind, to start changing from."""
    text, binary = Msh4(), Msh4(binary=True)
    for file in (text, binary):
        file.ghosts = {20: 1, 21: 2}
        file.after = b"$Periodic\n" + file.sizes(1) + b"\n$EndPeriodic\n"
    vertices: list[Cell] = [(1, [3]), (2, [0, 1])]
    tags = {"gmsh:physical": [7, 8, *tags_of()]}
    straight = {name: [0, 0, *values] for name, values in marks_of().items()}
    return [
        msh_2(folder / "lines of 2 nodes.msh", rows=elements(tags=(9, 9, 2, 1, -2), kind=1)),
        text.write(folder / "partitions, text.msh"),
        binary.write(folder / "partitions, binary.msh"),
        vtu(folder / "tags.vtu", [*vertices, *cells_of()], tags, before=EMPTY),
        vtu(folder / "marks.vtu", [*vertices, *cells_of(kind=3)], straight, after=EMPTY),
    ]

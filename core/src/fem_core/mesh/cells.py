"""Planar meshes of triangles and quadrilaterals of any usual order, and how they become 8-node quadrilaterals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

import numpy as np

from fem_core.errors import MeshError
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.support.wording import count, name_some
from fem_core.types import Array, Floats, Ints


@dataclass(frozen=True)
class Kind:
    """A kind of cell: its number of corners and of nodes, and its name in messages."""

    corners: int
    nodes: int
    name: str


#: The kinds that can be converted. Nodes: corners, mid-sides, the node in the middle; as in VTK, gmsh and Abaqus.
KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "triangle3": Kind(3, 3, "3-node triangle"),
        "triangle6": Kind(3, 6, "6-node triangle"),
        "quad4": Kind(4, 4, "4-node quadrilateral"),
        "quad8": Kind(4, 8, "8-node quadrilateral"),
        "quad9": Kind(4, 9, "9-node quadrilateral"),
    }
)


@dataclass(frozen=True, eq=False)
class Cells:
    """A planar mesh as a file has it.

    Parameters
    ----------
    x, y : float64 (n_nodes,)
        Coordinates.
    blocks : mapping of the name of a `Kind` to int (m, nodes of the kind)
        Zero-based nodes of the cells. Other node orders have to be brought into that of `KINDS` before.
    lines : mapping of name to int (n, 2) or (n, 3)
        Edges of boundaries as corners (a, b), or as (a, mid, b).
    points : mapping of name to int (m,)
        Further nodes of boundaries.
    source, warnings, notes, lost
        As those of `Mesh`.
    """

    x: Floats
    y: Floats
    blocks: Mapping[str, Ints]
    lines: Mapping[str, tuple[Ints, ...]] = field(default_factory=dict)
    points: Mapping[str, Ints] = field(default_factory=dict)
    source: str = "mesh"
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, mesh: Mesh) -> "Cells":
        """The cells of a mesh of 8-node quadrilaterals."""
        boundaries = mesh.boundaries.items()
        return cls(
            mesh.x, mesh.y, {"quad8": mesh.quad8},
            {name: (boundary.edges,) for name, boundary in boundaries},
            {name: boundary.nodes for name, boundary in boundaries},
            mesh.source, mesh.warnings, mesh.notes, mesh.lost,
        )  # fmt: skip

    def counted(self) -> str:
        """The cells in words: `3 6-node triangles and 1 9-node quadrilateral`."""
        return " and ".join(count(len(nodes), KINDS[kind].name) for kind, nodes in self.blocks.items() if len(nodes))

    @property
    def has_triangles(self) -> bool:
        return any(KINDS[kind].corners == 3 and len(nodes) for kind, nodes in self.blocks.items())

    @cached_property
    def edges(self) -> "Edges":
        """The edges of all cells, each once."""
        return Edges.of(self)


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of cells, each once, with a node in the middle of each.

    Parameters
    ----------
    ends : int64 (n, 2)
        The corners, the lower number first.
    middle : int64 (n,)
        The mid-side nodes. Those that the cells lack have new numbers, from the number of nodes on.
    x, y : float64
        Coordinates of the new nodes, half-way between the corners.
    of_cells : mapping of kind to int64 (m, corners)
        The edges of each cell: from corner i to corner i + 1.
    keys : int64 (n,)
        A number for each pair of ends, sorted.
    """

    ends: Array
    middle: Array
    x: Floats
    y: Floats
    of_cells: Mapping[str, Array]
    keys: Array
    n_nodes: int

    @classmethod
    def of(cls, cells: Cells) -> "Edges":
        n = len(cells.x)
        pairs, middles, sizes = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.int64)], []
        for kind, nodes in cells.blocks.items():
            k = KINDS[kind].corners
            corners = nodes[:, :k].astype(np.int64)
            pairs.append(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2))
            middles.append(
                nodes[:, k : 2 * k].astype(np.int64).ravel() if nodes.shape[1] > k else np.full(corners.size, -1)
            )
            sizes.append(corners.size)
        ends, middle = np.sort(np.concatenate(pairs), axis=1), np.concatenate(middles)
        keys, first, number = np.unique(ends[:, 0] * n + ends[:, 1], return_index=True, return_inverse=True)
        of_edge = np.full(len(keys), -1, dtype=np.int64)
        given = middle >= 0
        of_edge[number[given]] = middle[given]
        if len(torn := np.flatnonzero(given & (of_edge[number] != middle))):
            raise MeshError(
                f"{cells.source}: neighbours share the corners of an edge but not its mid-side node, at "
                f"{name_some(middle[torn], 'node')}; merge coincident nodes first"
            )
        new = np.flatnonzero(of_edge < 0)
        of_edge[new] = n + np.arange(len(new))
        a, b = ends[first[new]].T
        starts = np.cumsum([0, *sizes])
        parts = {
            kind: number[start:stop].reshape(-1, KINDS[kind].corners)
            for kind, start, stop in zip(cells.blocks, starts[:-1], starts[1:], strict=True)
        }
        x, y = 0.5 * (cells.x[a] + cells.x[b]), 0.5 * (cells.y[a] + cells.y[b])
        return cls(ends[first], of_edge, x, y, parts, keys, n)

    def find(self, ends: Array) -> Array:
        """The numbers of the edges between pairs of corners, (n, 2); -1 where there is none."""
        low, high = np.sort(ends.astype(np.int64), axis=1).T
        wanted = low * self.n_nodes + high
        place = np.minimum(np.searchsorted(self.keys, wanted), max(0, len(self.keys) - 1))
        found: Array = np.where(self.keys[place] == wanted, place, -1) if len(self.keys) else np.full(len(ends), -1)
        return found


def boundary_edges(cells: Cells, name: str) -> Array:
    """The edges (a, mid, b) of a boundary, int64 (n, 3).

    A line (a, b) takes the mid-side node of the edge between its ends. Raises MeshError where there is no such edge.
    """
    found = [np.empty((0, 3), dtype=np.int64)]
    for line in cells.lines.get(name, ()):
        if line.shape[1] == 3:
            found.append(line.astype(np.int64))
            continue
        place = cells.edges.find(line)
        if len(lost := line[place < 0]):
            raise MeshError(
                f"{cells.source}: boundary {name!r} has {count(len(lost), 'line')} that no element has as an edge, "
                f"such as {tuple(lost[0].tolist())}"
            )
        found.append(np.stack([line[:, 0], cells.edges.middle[place], line[:, 1]], axis=1))
    return np.concatenate(found)


def as_mesh(cells: Cells) -> Mesh:
    """The mesh of 8-node quadrilaterals of the same quadrilaterals. Raises MeshError where there are triangles.

    4-node quadrilaterals get nodes in the middle of their sides, or those of their neighbours; 9-node ones lose the
    node in the middle.
    """
    if cells.has_triangles:
        raise MeshError(f"{cells.source}: {cells.counted()}, but triangles have to be split first")
    edges = cells.edges
    quad8 = [
        np.concatenate([nodes[:, :4], edges.middle[edges.of_cells[kind]]], axis=1)
        for kind, nodes in cells.blocks.items()
    ]
    x, y = np.concatenate([cells.x, edges.x]), np.concatenate([cells.y, edges.y])
    named = {name: boundary_edges(cells, name) for name in dict.fromkeys([*cells.lines, *cells.points])}
    boundaries = {
        name: Boundary(own, np.concatenate([own.ravel(), cells.points.get(name, own.ravel()[:0])]))
        for name, own in named.items()
    }
    mesh = Mesh(
        x, y, np.concatenate([np.empty((0, 8), dtype=np.int64), *quad8]), boundaries, cells.source,
        cells.warnings, cells.notes, cells.lost,
    )  # fmt: skip
    return compact(mesh)


def compact(mesh: Mesh) -> Mesh:
    """The mesh without its orphan nodes; the others keep their order."""
    if not len(mesh.orphan_nodes):
        return mesh
    used = mesh.used_nodes
    number = np.full(mesh.n_nodes, -1, dtype=np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        nodes = number[boundary.nodes]
        edges = number[boundary.edges]
        boundaries[name] = Boundary(edges[(edges >= 0).all(axis=1)], nodes[nodes >= 0])
    return replace(mesh, x=mesh.x[used], y=mesh.y[used], quad8=number[mesh.quad8], boundaries=boundaries)

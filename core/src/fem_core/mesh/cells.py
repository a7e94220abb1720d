"""Planar meshes of triangles and quadrilaterals of any usual order, and how they become 8-node quadrilaterals."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np

from fem_core.errors import MeshError
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.quad8 import EDGES
from fem_core.support.wording import count, name_some, verb
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


#: What depends on the nodes of cells alone.
_DERIVED = ("edges", "outline", "exterior")


@dataclass(frozen=True, eq=False)
class Cells:
    """A planar mesh as a file has it.

    Parameters
    ----------
    x, y : float64 (n_nodes,)
        Coordinates.
    blocks : mapping of the name of a `Kind` to int (m, nodes of the kind)
        Zero-based nodes of the cells, in the order of `KINDS`.
    boundaries : mapping of name to Boundary
        Edges (a, mid, b), where mid is a node of `edges.middle`: new ones are numbered from n_nodes on.
    source, warnings, notes, lost, slits
        As those of `Mesh`.
    """

    x: Floats
    y: Floats
    blocks: Mapping[str, Ints]
    boundaries: Mapping[str, Boundary] = field(default_factory=dict)
    source: str = "mesh"
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    slits: bool = False

    @classmethod
    def of(cls, mesh: Mesh) -> "Cells":
        """The cells of a mesh of 8-node quadrilaterals."""
        return cls(
            mesh.x, mesh.y, {"quad8": mesh.quad8}, mesh.boundaries,
            mesh.source, mesh.warnings, mesh.notes, mesh.lost, mesh.slits,
        )  # fmt: skip

    def having(self, **changes: Any) -> "Cells":
        """The same cells with other boundaries, texts or slits."""
        changed = replace(self, **changes)
        changed.__dict__.update({name: found for name, found in self.__dict__.items() if name in _DERIVED})
        return changed

    def counted(self) -> str:
        """The cells in words: `3 6-node triangles and 1 9-node quadrilateral`."""
        return " and ".join(count(len(nodes), KINDS[kind].name) for kind, nodes in self.blocks.items() if len(nodes))

    @property
    def others(self) -> str:
        """The kinds of cells, in words, that a solve refuses; empty if there are none."""
        there = (kind for kind, nodes in self.blocks.items() if kind != "quad8" and len(nodes))
        return " and ".join(f"{KINDS[kind].name}s" for kind in there)

    @property
    def has_triangles(self) -> bool:
        return any(KINDS[kind].corners == 3 and len(nodes) for kind, nodes in self.blocks.items())

    @property
    def used_nodes(self) -> Array:
        """The nodes of all cells, repeated and in any order."""
        blocks = [nodes.ravel() for nodes in self.blocks.values()]
        return blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, dtype=np.int64), *blocks])

    @cached_property
    def edges(self) -> "Edges":
        """The edges of all cells, each once."""
        return Edges.of(self)

    @cached_property
    def outline(self) -> Ints:
        """Each cell by its corners and the nodes in the middle of its edges, as a quadrilateral: (n_cells, 8).

        A triangle has its first corner twice, and between the two a node that is nowhere else.
        """
        if set(self.blocks) <= {"quad8"}:
            return self.blocks.get("quad8", np.empty((0, 8), dtype=np.int32))
        nowhere = len(self.x) + len(self.edges.x)
        rows = [np.empty((0, 8), dtype=np.int64)]
        for kind, nodes in self.blocks.items():
            corners, middle = nodes[:, : KINDS[kind].corners], self.edges.middle[self.edges.of_cells[kind]]
            if KINDS[kind].corners == 3:
                corners = np.concatenate([corners, corners[:, :1]], axis=1)
                middle = np.concatenate([middle, np.full((len(nodes), 1), nowhere)], axis=1)
            rows.append(np.concatenate([corners, middle], axis=1))
        return np.concatenate(rows)

    @cached_property
    def exterior(self) -> Ints:
        """The edges (a, mid, b) that one cell has, in its direction."""
        sides = self.outline[:, EDGES]
        times = np.bincount(sides[..., 1].ravel(), minlength=1)
        alone: Ints = sides[(times[sides[..., 1]] == 1) & (sides[..., 0] != sides[..., 2])]
        return alone

    def exterior_among(self, nodes: Array) -> Ints:
        """The exterior edges that have all their nodes among `nodes`; a mid-side node that is new doesn't count."""
        has = np.zeros(max(len(self.x), self.exterior.max(initial=-1) + 1), dtype=bool)
        has[nodes] = has[len(self.x) :] = True
        found: Ints = self.exterior[has[self.exterior].all(axis=1)]
        return found


@dataclass(frozen=True, eq=False)
class Edges:
    """The edges of cells, each once, with a node in the middle of each.

    Parameters
    ----------
    ends : int64 (n, 2)
        The corners, the lower number first.
    middle : int64 (n,)
        The mid-side nodes. Those that the cells lack have new numbers, from n_nodes on.
    x, y : float64
        Coordinates of the new nodes, half-way between the corners.
    of_cells : mapping of kind to int64 (m, corners)
        The edges of each cell: from corner i to corner i + 1.
    keys : int64 (n,)
        A number for each pair of ends, sorted.
    n_nodes : int
        Nodes of the cells.
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
        """The edges of `cells`. Raises MeshError where neighbours have different mid-side nodes."""
        n = len(cells.x)
        pairs, middles, sizes = [np.empty((0, 2), dtype=np.int64)], [np.empty(0, dtype=np.int64)], []
        for kind, nodes in cells.blocks.items():
            k = KINDS[kind].corners
            corners = nodes[:, :k].astype(np.int64)
            pairs.append(np.stack([corners, np.roll(corners, -1, axis=1)], axis=-1).reshape(-1, 2))
            given = nodes[:, k : 2 * k].astype(np.int64).ravel()
            middles.append(given if len(given) else np.full(corners.size, -1))
            sizes.append(corners.size)
        ends, middle = np.sort(np.concatenate(pairs), axis=1), np.concatenate(middles)
        of_no_length = ends[:, 0] == ends[:, 1]  # of triangles written as quadrilaterals: `uncollapsed` drops them
        keys = np.where(of_no_length, n * n, ends[:, 0] * n) + ends[:, 1]  # they are last: no other number changes
        keys, first, number = np.unique(keys, return_index=True, return_inverse=True)
        of_edge = np.full(len(keys), -1, dtype=np.int64)
        has = middle >= 0
        of_edge[number[has]] = middle[has]
        if len(torn := np.flatnonzero(has & (of_edge[number] != middle) & ~of_no_length)):
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

    def find(self, edges: Array) -> Array:
        """The numbers of the edges (a, mid, b); -1 for what is none: (n,)."""
        low, high = np.sort(edges[:, [0, 2]].astype(np.int64), axis=1).T
        wanted = low * self.n_nodes + high
        if not len(self.keys):
            return np.full(len(edges), -1)
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        found: Array = np.where((self.keys[place] == wanted) & (self.middle[place] == edges[:, 1]), place, -1)
        return found


def uncollapsed(cells: Cells) -> Cells:
    """The cells, in which quadrilaterals that have a corner twice, side by side, are the triangles that they are.

    The new mid-side nodes keep their numbers, and so do the boundaries.
    """
    found: dict[str, list[Array]] = {}
    number = 0
    for kind, nodes in cells.blocks.items():
        corners = nodes[:, : KINDS[kind].corners]
        twice = corners == np.roll(corners, -1, axis=1)
        collapsed = (twice.sum(axis=1) == 1) & (KINDS[kind].corners == 4)
        found.setdefault(kind, []).append(nodes[~collapsed] if collapsed.any() else nodes)
        if collapsed.any():
            number += int(np.count_nonzero(collapsed))
            kept = ~twice[collapsed]
            fours = [nodes[collapsed, start : start + 4] for start in range(0, nodes.shape[1] - 3, 4)]
            triangles = np.concatenate([part[kept].reshape(-1, 3) for part in fours], axis=1)
            found.setdefault(f"triangle{triangles.shape[1]}", []).append(triangles)
    if not number:
        return cells
    note = f"{count(number, 'quadrilateral')} with a corner twice {verb(number, 'are')} taken as triangles"
    return replace(
        cells, blocks={kind: np.concatenate(parts) for kind, parts in found.items()}, notes=(*cells.notes, note)
    )


def as_mesh(cells: Cells) -> Mesh:
    """The mesh of 8-node quadrilaterals of the same quadrilaterals. Raises MeshError if there are triangles.

    4-node quadrilaterals get nodes in the middle of their sides, or those of their neighbours; 9-node ones lose the
    node in the middle.
    """
    if cells.has_triangles:
        raise MeshError(f"{cells.source}: {cells.counted()}, but triangles have to be split")
    x, y = cells.x, cells.y
    if not set(cells.blocks) <= {"quad8"}:
        x, y = np.concatenate([x, cells.edges.x]), np.concatenate([y, cells.edges.y])
    return Mesh(
        x, y, cells.outline, cells.boundaries, cells.source,
        cells.warnings, cells.notes, cells.lost, slits=cells.slits,
    )  # fmt: skip

"""Uniform splitting: a triangle into three quadrilaterals, a quadrilateral into four.

New nodes lie on the curves of the old cells. A quadrilateral of 8 nodes is split without any change of shape: its map
is in the serendipity space, and so is the map of each quarter. A curved triangle changes its shape inside only.
"""

import numpy as np

from fem_core.errors import MeshError
from fem_core.mesh import quad8 as q8
from fem_core.mesh.cells import KINDS, Cells
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.repair import compact
from fem_core.support.wording import count
from fem_core.types import Array, Floats

#: The quadratic edge (a, mid, b) at a quarter of its length from a.
_QUARTER = np.array([0.375, 0.75, -0.125])


def _triangle6(l1: float, l2: float) -> Floats:
    """Shape functions of the 6-node triangle at area coordinates: L(2L - 1) at corners, 4 L L' at mid-sides."""
    area = np.array([l1, l2, 1 - l1 - l2])
    return np.concatenate([area * (2 * area - 1), 4 * area * np.roll(area, -1)])


def _quad9(ξ: float, η: float) -> Floats:
    """Shape functions of the 9-node quadrilateral: products of those of the quadratic edge."""

    def edge(t: float) -> list[float]:
        return [0.5 * t * (t - 1), 0.5 * t * (t + 1), 1 - t * t]  # at -1, 1 and 0

    (a, b, c), (d, e, f) = edge(ξ), edge(η)
    return np.array([a * d, b * d, b * e, a * e, c * d, b * f, c * e, a * f, c * f])


#: At the middle of a cell, and half-way between it and each mid-side: (1 + corners, nodes with mid-sides).
_INNER = {
    "triangle": np.stack(
        [_triangle6(*at) for at in ((1 / 3, 1 / 3), (5 / 12, 5 / 12), (1 / 6, 5 / 12), (5 / 12, 1 / 6))]
    ),
    "quad": np.stack([q8.shape(*ξη) for ξη in ((0, 0), (0, -0.5), (0.5, 0), (0, 0.5), (-0.5, 0))]),
    "quad9": np.stack([_quad9(*ξη) for ξη in ((0, 0), (0, -0.5), (0.5, 0), (0, 0.5), (-0.5, 0))]),
}


def split(cells: Cells) -> Mesh:
    """The mesh of the parts of all cells, with the boundaries of the cells on it.

    Nodes keep their order: those of the cells first, then the new ones on edges, then the new ones inside.
    """
    edges = cells.edges
    x, y = [cells.x, edges.x], [cells.y, edges.y]
    total = len(cells.x) + len(edges.x)

    def add(found_x: Floats, found_y: Floats) -> Array:
        nonlocal total
        numbers = total + np.arange(found_x.size).reshape(found_x.shape)
        x.append(found_x.ravel())
        y.append(found_y.ravel())
        total += found_x.size
        return numbers

    old_x, old_y = np.concatenate(x), np.concatenate(y)
    along = np.stack([edges.ends[:, 0], edges.middle, edges.ends[:, 1]], axis=1)
    both = np.stack([_QUARTER, _QUARTER[::-1]], axis=1)
    quarter = add(old_x[along] @ both, old_y[along] @ both)  # next to the lower and to the higher corner: (n, 2)

    quads = []
    for kind, nodes in cells.blocks.items():
        k = KINDS[kind].corners
        corner, of_cell = nodes[:, :k].astype(np.int64), edges.of_cells[kind]
        middle = edges.middle[of_cell]
        whole = np.concatenate([corner, middle, nodes[:, 2 * k :].astype(np.int64)], axis=1)
        weights = _INNER["triangle" if k == 3 else "quad9" if kind == "quad9" else "quad"]
        if kind == "quad9":  # has its own node in the middle
            centre = whole[:, 8]
        else:
            centre = add(old_x[whole] @ weights[0], old_y[whole] @ weights[0])
        inner = add(old_x[whole] @ weights[1:].T, old_y[whole] @ weights[1:].T)
        begins_low = corner == edges.ends[of_cell, 0]
        after = np.where(begins_low, quarter[of_cell, 0], quarter[of_cell, 1])  # next to where an edge begins
        before = np.where(begins_low, quarter[of_cell, 1], quarter[of_cell, 0])  # next to where it ends
        for i in range(k):
            j = i - 1
            quads.append(
                np.stack(
                    [
                        corner[:, i],
                        middle[:, i],
                        centre,
                        middle[:, j],
                        after[:, i],
                        inner[:, i],
                        inner[:, j],
                        before[:, j],
                    ],
                    axis=1,
                )
            )
    boundaries = {}
    for name, boundary in cells.boundaries.items():
        place = edges.find(boundary.edges)
        if len(lost := boundary.edges[place < 0]):
            raise MeshError(
                f"{cells.source}: boundary {name!r} has {count(len(lost), 'edge')} that no element has, such as "
                f"{tuple(lost[0].tolist())}"
            )
        halves = _halved(boundary.edges, place, edges.ends, quarter)
        among = np.zeros(total, dtype=bool)
        among[boundary.nodes] = True
        among[quarter[among[along].all(axis=1)]] = True  # a set of nodes keeps whole edges
        boundaries[name] = Boundary(halves, np.concatenate([halves.ravel(), np.flatnonzero(among)]))
    return compact(
        Mesh(
            np.concatenate(x), np.concatenate(y), np.concatenate(quads), boundaries, cells.source,
            cells.warnings, cells.notes, cells.lost, slits=cells.slits,
        )
    )  # fmt: skip


def _halved(lines: Array, place: Array, ends: Array, quarter: Array) -> Array:
    """Both halves of each edge (a, mid, b), whose numbers are `place`."""
    low_first = (lines[:, 0] == ends[place, 0])[:, None]
    near = np.where(low_first, quarter[place], quarter[place][:, ::-1])
    first = np.stack([lines[:, 0], near[:, 0], lines[:, 1]], axis=1)
    second = np.stack([lines[:, 1], near[:, 1], lines[:, 2]], axis=1)
    return np.stack([first, second], axis=1).reshape(-1, 3)


def refine(mesh: Mesh, times: int = 1) -> Mesh:
    """The mesh with each element split into four, so many times."""
    for _ in range(times):
        mesh = split(Cells.of(mesh))
    return mesh

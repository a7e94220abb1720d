"""Nodes at the same place, or nearly: there, parts of a mesh meet without being connected."""

from collections.abc import Iterator

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fem_core.mesh import quad8 as q8
from fem_core.mesh.mesh import SAME_PLACE, Mesh
from fem_core.types import Array, Floats, Ints

#: Part of half the shortest edge at a node. Nodes farther apart aren't at the same place: no good element collapses.
OF_EDGE = 1e-2
_NEIGHBOURS = 8  # looked at for each place, so that the number of pairs grows only linearly
_BLOCK = 1 << 20  # pairs that are compared at once
_CROWDED = 100  # points near each box or point on average: many more than near the edges of any real mesh
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, and without a pattern


class Crowded(Exception):
    """Boxes lie on top of each other: finding the points in them would take too long."""


def coincident_nodes(mesh: Mesh) -> Ints:
    """Pairs of used nodes at exactly the same place, each node with the next one there: int32 (n, 2)."""
    x, y, used = mesh.x, mesh.y, mesh.used_nodes
    # Equal points have equal keys. Sorting the keys is quick; points are compared only if their keys are equal.
    with np.errstate(invalid="ignore"):  # a file may have NaN in a form for which the processor reports an error
        keys = np.sort((_mixed((x + 0.0).view(np.uint64)) + (y + 0.0).view(np.uint64))[used])  # + 0: -0 is 0
    if not (keys[1:] == keys[:-1]).any():
        return np.empty((0, 2), dtype=np.int32)
    order = used[np.lexsort((y[used], x[used]))]
    same = (x[order[1:]] == x[order[:-1]]) & (y[order[1:]] == y[order[:-1]])
    return np.stack([order[:-1][same], order[1:][same]], axis=1)


def _mixed(bits: Array) -> Array:
    """A hash of each number: it looks random, and different numbers have different hashes."""
    for _ in range(2):
        bits = (bits ^ (bits >> np.uint64(32))) * _MIX
    mixed: Array = bits ^ (bits >> np.uint64(29))
    return mixed


def close_nodes(mesh: Mesh, tolerance: float = SAME_PLACE) -> Ints:
    """Pairs of nodes that nearly coincide, on exterior edges or on edges that don't match: int32 (n, 2).

    The nodes of a pair are at most tolerance x extent apart, and at most 1 % of half the shortest edge of their
    elements. If several nodes are at exactly the same place, only one of them is compared. Such pairs show where parts
    of a mesh should be connected but aren't.
    """
    edges = mesh.matched_edges
    suspect = np.zeros(mesh.n_nodes, dtype=bool)
    for elements in edges.mismatches.values():
        suspect[mesh.quad8[elements]] = True
    if edges.mismatches:  # also the nodes of their neighbours
        suspect[mesh.quad8[suspect[mesh.quad8].any(axis=1)]] = True
    suspect[edges.exterior] = True
    nodes = np.flatnonzero(suspect)
    z = np.stack([mesh.x, mesh.y], axis=1)
    nodes = nodes[_not_alone(z[nodes], tolerance * mesh.extent)]
    nodes = nodes[np.unique(z[nodes], axis=0, return_index=True)[1]]
    if len(nodes) < 2:
        return np.empty((0, 2), dtype=np.int32)
    suspect[:] = False
    suspect[nodes] = True
    shortest = _shortest_edges(mesh.quad8[suspect[mesh.quad8].any(axis=1)], z)
    reach = np.minimum(tolerance * mesh.extent, OF_EDGE * shortest[nodes])
    known = min(_NEIGHBOURS, len(nodes))
    from scipy.spatial import cKDTree  # here, as it takes a tenth of a second to import

    apart, other = cKDTree(z[nodes]).query(z[nodes], k=known, distance_upper_bound=np.nextafter(reach.max(), np.inf))
    place, rank = np.nonzero(apart <= reach[:, None])
    pairs = np.stack([place, other[place, rank]], axis=1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (apart[place, rank] <= reach[pairs[:, 1]])]
    found: Ints = np.unique(np.sort(nodes[pairs], axis=1), axis=0).astype(np.int32)
    return found


def _not_alone(points: Floats, reach: float) -> Array:
    """The `points` (n, 2) that can have another point within `reach`.

    Two points that are so close are also close when they are projected onto any line. Other pairs are seldom close on
    one line, and very seldom on several. So in an ordinary mesh no point is left.
    """
    left = np.arange(len(points))
    for angle in (0.7, 2.3, 1.5):  # radians; no side of a usual mesh is perpendicular to all these lines
        along = points[left] @ np.array([np.cos(angle), np.sin(angle)])
        order = np.argsort(along)
        near = np.diff(along[order]) <= reach + 4 * np.spacing(np.abs(along[order[1:]]))
        beside = np.zeros(len(left), dtype=bool)
        beside[order[1:]] |= near
        beside[order[:-1]] |= near
        left = left[beside]
    return left


def _shortest_edges(quad8: Ints, z: Floats) -> Floats:
    """For each node in `quad8`, the shortest distance from a mid-side to a corner in its elements: (n_nodes,).

    ∞ for other nodes.
    """
    ends = quad8[:, q8.EDGES[:, [0, 2]]]  # (n, 4, 2)
    with np.errstate(over="ignore"):  # coordinates may be too large to be solved
        least = np.linalg.norm(z[ends] - z[quad8[:, q8.EDGES[:, 1]]][:, :, None], axis=-1).min(axis=(1, 2))
    shortest = np.full(len(z), np.inf)
    np.minimum.at(shortest, quad8.ravel(), np.repeat(least, 8))
    return shortest


def one_per_place(pairs: Ints, n_nodes: int) -> Ints:
    """The lowest node at the place of each node; the nodes of each of `pairs` are at one place: int32 (n_nodes,)."""
    if not len(pairs):
        return np.arange(n_nodes, dtype=np.int32)
    graph = sparse.coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(n_nodes, n_nodes))
    label = csgraph.connected_components(graph, directed=False)[1]
    _, first, group = np.unique(label, return_index=True, return_inverse=True)
    lowest: Ints = first[group].astype(np.int32)
    return lowest


def points_in_boxes(points: Floats, low: Floats, high: Floats) -> Iterator[tuple[Array, Array]]:
    """Numbers of boxes and of the points in them, some pairs at a time; `points` (n, 2), `low` and `high` (m, 2).

    The points are sorted into about √n slabs across x, and by y in each slab. A box of the size of an edge is then
    compared with few points besides its own, even if the boundary is long or parallel to an axis. Raises Crowded if the
    work becomes many times larger.
    """
    n = len(points)
    if not n or not len(low):
        return
    x, y = points.T
    bounds = np.unique(np.sort(x)[:: max(1, int(np.sqrt(n)))])

    def slab(x: Floats) -> Array:
        return np.searchsorted(bounds, x, side="right") - 1

    by_y = np.argsort(y, kind="stable")
    rank = np.empty(n, dtype=np.int64)
    rank[by_y] = np.arange(n)
    key = slab(x) * n + rank
    order = np.argsort(key)
    key = key[order]

    first, last = np.maximum(slab(low[:, 0]), 0), slab(high[:, 0]) + 1
    lower = np.searchsorted(y[by_y], low[:, 1], side="left")
    upper = np.searchsorted(y[by_y], high[:, 1], side="right")
    looked_at, most = 0, _CROWDED * (n + len(low) + 1000)
    for boxes in _blocks(last - first):
        of, at = _ranges(first[boxes], last[boxes])
        of += boxes.start
        start, stop = np.searchsorted(key, at * n + lower[of]), np.searchsorted(key, at * n + upper[of])
        for parts in _blocks(stop - start):
            part, place = _ranges(start[parts], stop[parts])
            looked_at += len(part)
            if looked_at > most:
                raise Crowded
            box, point = of[parts][part], order[place]
            inside = (x[point] >= low[box, 0]) & (x[point] <= high[box, 0])
            yield box[inside], point[inside]


def _blocks(sizes: Array) -> Iterator[slice]:
    """Slices of items with these sizes; the sizes in a slice add up to about `_BLOCK`."""
    total = np.concatenate([[0], np.cumsum(np.maximum(sizes, 0))])
    begin = 0
    while begin < len(sizes):
        end = max(begin + 1, int(np.searchsorted(total, total[begin] + _BLOCK, side="right")) - 1)
        yield slice(begin, end)
        begin = end


def _ranges(start: Array, stop: Array) -> tuple[Array, Array]:
    """For each number in the ranges start…stop - 1: the index of its range, and the number itself."""
    sizes = np.maximum(stop - start, 0)
    which = np.repeat(np.arange(len(sizes)), sizes)
    return which, np.arange(len(which)) + (start - (np.cumsum(sizes) - sizes))[which]

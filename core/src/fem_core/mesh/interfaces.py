"""How the parts of a mesh meet along exterior edges: nodes that hang on an edge, and slits.

Parts are connected if their elements have common nodes. Exterior edges that touch without common nodes are a mistake in
the mesh. If two edges coincide completely, they may also be a plate of no thickness.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fem_core.mesh.mesh import SAME_PLACE, Mesh
from fem_core.mesh.places import OF_EDGE, close_nodes, coincident_nodes, one_per_place, points_in_boxes
from fem_core.types import Array, Bools, Floats, Ints

#: Both ways out where edges coincide.
WAYS = (
    "join the nodes with --slits merge (slits='merge'), or keep a wall on both sides with --slits keep (slits='keep')"
)
_STEEP = 0.05  # radians; two edges that meet at this angle or a larger one aren't on the same curve


def hanging_nodes(mesh: Mesh) -> tuple[Ints, Ints]:
    """The nodes that hang inside an exterior edge, and these edges: int32 (n,) and (n, 3).

    A node hangs if it is the mid-side node of the edge and a corner of other elements. It also hangs if it is a node of
    another exterior edge and lies on the curve of this edge, between its ends. A mid-side node at the place of the
    mid-side node doesn't hang, because the two edges may match. A node at the place of an end doesn't hang.

    "On the curve" of a straight edge is within `SAME_PLACE` x extent (and 1 % of half the edge). A curved edge is the
    parabola through three points of a curve, and misses the other points. For length L and sagitta s, it misses a
    circle by s³/L², and a curve whose curvature κ varies like κ² by up to s²/2L. "On the curve" is therefore within
    s²/2L.

    Raises Crowded if the elements lie on top of each other.
    """
    exterior = mesh.matched_edges.exterior
    if not len(exterior):
        return np.empty(0, dtype=np.int32), exterior
    nodes, edges = np.unique(exterior, return_inverse=True)
    edges = edges.reshape(-1, 3)  # in numbers of `nodes`
    is_end = np.zeros(len(nodes), dtype=bool)
    is_end[edges[:, [0, 2]]] = True
    at_middle = np.flatnonzero(is_end[edges[:, 1]])
    found = [(edges[at_middle, 1], at_middle)]

    z: Array = mesh.x[nodes] + 1j * mesh.y[nodes]
    a, mid, b = z[edges.T]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        chord = np.abs(b - a)
        sagitta = np.abs(_cross(mid - a, b - a)) / chord
        here = np.minimum(SAME_PLACE * mesh.extent, OF_EDGE * np.minimum(np.abs(mid - a), np.abs(b - mid)))
        bulge = sagitta**2 / (2 * chord)
        hull = np.stack([a, 2 * mid - 0.5 * (a + b), b])  # the edge as a Bézier curve lies among these
        low = _plane(hull.real.min(axis=0), hull.imag.min(axis=0)) - (here + bulge)[:, None]
        high = _plane(hull.real.max(axis=0), hull.imag.max(axis=0)) + (here + bulge)[:, None]
    for edge, node in points_in_boxes(_plane(z.real, z.imag), low, high):
        other = (edges[edge] != node[:, None]).all(axis=1)
        edge, node = edge[other], node[other]
        hangs = _on_curve(z[node], a[edge], mid[edge], b[edge], here[edge], bulge[edge], is_end[node])
        found.append((node[hangs], edge[hangs]))
    which, at = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((at, which))
    return nodes[which[order]], exterior[at[order]]


def _on_curve(p: Array, a: Array, mid: Array, b: Array, here: Floats, bulge: Floats, is_end: Bools) -> Bools:
    """Whether each point p lies inside the quadratic curve a, mid, b, and not at the mid-side unless it is an end.

    The curve is c(t) = ½ t (t - 1) a + (1 - t²) mid + ½ t (t + 1) b. p is compared with the c(t) beside it, measured
    along the chord, where ξ = ½ (1 + t) + δ (1 - t²) if the mid-side is off the middle by δ.
    """
    chord = b - a
    square = np.abs(chord) ** 2
    ξ, δ = _dot(p - a, chord) / square, _dot(mid - 0.5 * (a + b), chord) / square
    q = ξ - 0.5 - δ
    t = 2 * q / (0.5 + np.sqrt(np.maximum(0.25 - 4 * δ * q, 0)))
    off = np.abs(p - (0.5 * t * (t - 1) * a + (1 - t * t) * mid + 0.5 * t * (t + 1) * b))
    from_end = np.minimum(np.abs(p - a), np.abs(p - b))
    on = (np.abs(t) < 1) & (off <= here + np.minimum(bulge, _STEEP * from_end)) & (from_end > here)
    inside: Bools = on & (is_end | (np.abs(p - mid) > here))
    return inside


def _dot(v: Array, w: Array) -> Floats:
    product: Floats = (v * w.conj()).real
    return product


def _cross(v: Array, w: Array) -> Floats:
    product: Floats = (v.conj() * w).imag
    return product


def _plane(x: Floats, y: Floats) -> Floats:
    return np.stack([x, y], axis=1)


@dataclass(frozen=True, eq=False)
class Slits:
    """Pairs of exterior edges that coincide completely, with elements on both sides.

    Parameters
    ----------
    edges : int32 (n, 2, 3)
        Pairs of edges, each as nodes (a, mid, b); the second one runs the other way.
    pairs : int32 (m, 2)
        Pairs of nodes, on these edges, at the same place.
    loose : int32 (k, 2)
        Other pairs of nodes at exactly the same place.
    """

    edges: Ints
    pairs: Ints
    loose: Ints

    @cached_property
    def has_tip(self) -> bool:
        """Whether the two edges of a pair have a node in common, so that the two sides are connected there."""
        first, second = self.edges[:, 0], self.edges[:, 1, ::-1]
        return bool((first == second).any())

    def leaks(self, exterior: Ints) -> Ints:
        """Nodes that both sides share where the slit meets another exterior edge: fluid passes there."""
        first, second = self.edges[:, 0, [0, 2]], self.edges[:, 1, [2, 0]]
        common = np.unique(first[first == second])
        edges = np.bincount(exterior[:, [0, 2]].ravel(), minlength=1)
        leaking: Ints = common[edges[common] > 2]  # at a tip, only the two sides of the slit meet
        return leaking


def find_slits(mesh: Mesh) -> Slits:
    """The slits of a mesh: edges between nodes that coincide, exactly or nearly (`close_nodes`)."""
    exactly = coincident_nodes(mesh)
    pairs = np.concatenate([exactly, close_nodes(mesh)])
    none = np.empty((0, 2, 3), dtype=np.int32)
    if not len(pairs):
        return Slits(none, pairs, exactly)
    place = one_per_place(pairs, mesh.n_nodes)
    edges = mesh.matched_edges.exterior
    a, mid, b = place[edges.T]
    order = np.lexsort((mid, np.maximum(a, b), np.minimum(a, b)))
    a, mid, b = a[order], mid[order], b[order]
    opposite = (a[1:] == b[:-1]) & (b[1:] == a[:-1]) & (mid[1:] == mid[:-1]) & (a[1:] != b[1:])
    alike = opposite | ((a[1:] == a[:-1]) & (b[1:] == b[:-1]) & (mid[1:] == mid[:-1]))
    more = np.append(alike[1:], False) | np.append(False, alike[:-1])  # three or more at one place
    first = np.flatnonzero(opposite & ~more)
    found = np.stack([edges[order[first]], edges[order[first + 1]]], axis=1) if len(first) else none
    on_slit = np.zeros(mesh.n_nodes, dtype=bool)
    on_slit[found] = True
    kept, both = on_slit[pairs].all(axis=1), on_slit[exactly].all(axis=1)
    return Slits(found, pairs[kept], exactly[~both])

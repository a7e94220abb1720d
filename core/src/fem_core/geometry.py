"""The one policy for geometry: which meshes are accepted, and what is done with those that aren't.

An element is valid when det J > 0 at every Gauss point of the 3x3 and of the 2x2 rule. Everything
else is refused here, once, by naming the elements; a mesh whose elements are all clockwise is turned
round with a warning. No backend looks at the sign of det J again.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fem_core import quad8 as q8
from fem_core.errors import MeshError
from fem_core.mesh import Boundary, Mesh, name_some
from fem_core.types import Array, Bools, Floats, Ints

_POINTS = np.concatenate([q8.POINTS_3X3, q8.POINTS_2X2])
#: Rows ∂N/∂ξ at all points, then ∂N/∂η: (26, 8).
_DN = np.ascontiguousarray(q8.shape_gradient(*_POINTS.T).transpose(1, 0, 2).reshape(-1, 8))
_BLOCK = 4096
_MIX = np.uint64(0x9E3779B97F4A7C15)  # odd, and without a pattern


def det_jacobian(mesh: Mesh) -> Floats:
    """det J in m² at the 9 points of the 3x3 rule, then the 4 points of the 2x2 rule: (n_elements, 13)."""
    return np.concatenate([np.empty((0, len(_POINTS))), *(det.T for det in _det_blocks(mesh))])


def _det_blocks(mesh: Mesh) -> Iterator[Floats]:
    """det J of the elements of one block after another, (13, m): a row per point."""
    z = np.stack([mesh.x, mesh.y], axis=1).view(np.complex128)[:, 0]  # fetching a node is what costs: do it once
    for start in range(0, mesh.n_elements, _BLOCK):
        nodes = z.take(mesh.quad8[start : start + _BLOCK].T)
        with np.errstate(over="ignore", invalid="ignore"):
            x_ξ, x_η = np.split(_DN @ np.ascontiguousarray(nodes.real), 2)
            y_ξ, y_η = np.split(_DN @ np.ascontiguousarray(nodes.imag), 2)
            det = x_ξ * y_η - x_η * y_ξ
        yield det


def validate_mesh(mesh: Mesh) -> Mesh:
    """`mesh` if it can be computed on; a re-oriented one if all its elements are clockwise.

    The result is remembered on the mesh, so that checking again costs nothing.

    Raises
    ------
    MeshError
        Naming the first elements or nodes and how many in all: no elements, indices out of range,
        a node repeated in an element, NaN or infinite coordinates, coincident nodes, edges that
        don't match, det J <= 0 at a Gauss point.
    """
    known: Mesh | None = mesh.__dict__.get("_validated")
    if known is None:
        _check_connectivity(mesh)
        _check_coordinates(mesh)
        known = _check_orientation(mesh)
        _check_boundaries(known)
        mesh.__dict__["_validated"] = known
        known.__dict__["_validated"] = known
    return known


def _check_connectivity(mesh: Mesh) -> None:
    quad8, n = mesh.quad8, mesh.n_nodes
    if mesh.n_elements == 0:
        raise MeshError(f"{mesh.source}: the mesh has no elements")
    if len(bad := np.flatnonzero(((quad8 < 0) | (quad8 >= n)).any(axis=1))):
        hint = "; node numbers start at 0: are these 1-based?" if quad8.min() == 1 and quad8.max() == n else ""
        raise MeshError(
            f"{mesh.source}: elements {name_some(bad)} refer to nodes outside 0…{n - 1} "
            f"(found {quad8.min()}…{quad8.max()}){hint}"
        )
    ordered = np.sort(quad8, axis=1)
    if len(bad := np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))):
        raise MeshError(f"{mesh.source}: elements {name_some(bad)} name the same node twice")
    for name, boundary in mesh.boundaries.items():
        numbers = np.concatenate([boundary.edges.ravel(), boundary.nodes])
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < n:
            raise MeshError(f"{mesh.source}: boundary {name!r} refers to nodes outside 0…{n - 1}")


def _check_boundaries(mesh: Mesh) -> None:
    """Edges of elements have to match, and those of boundaries have to be edges of elements."""
    exterior = mesh.exterior_edges
    for name, boundary in mesh.boundaries.items():
        unknown = boundary.edges[~edges_among(boundary.edges, exterior)]
        if len(unknown):
            unknown = unknown[~edges_among(unknown, mesh.quad8[:, q8.EDGES].reshape(-1, 3))]
        if len(unknown):
            raise MeshError(
                f"{mesh.source}: boundary {name!r} has edges that no element has, such as "
                f"{tuple(unknown[0].tolist())} ({len(unknown)} in all); an edge is its nodes (end, mid-side, end)"
            )


def find_edges(edges: Array, known: Array) -> Array:
    """Where each of `edges` (a, mid, b) stands in `known`, in either direction; -1 where it doesn't."""
    if not len(known) or not len(edges):
        return np.full(len(edges), -1, dtype=np.int64)
    n = int(max(edges.max(), known.max())) + 1

    def ends(edges: Array) -> Array:
        a, b = edges[:, 0].astype(np.int64), edges[:, 2].astype(np.int64)
        return np.minimum(a, b) * n + np.maximum(a, b)

    wanted, given = ends(edges), ends(known)
    order = np.argsort(given)
    place = order[np.minimum(np.searchsorted(given, wanted, sorter=order), len(known) - 1)]
    found: Array = np.where((given[place] == wanted) & (known[place, 1] == edges[:, 1]), place, -1)
    return found


def edges_among(edges: Ints, known: Ints) -> Bools:
    """Whether each of `edges` is one of `known`, in either direction."""
    found: Bools = find_edges(edges, known) >= 0
    return found


def _check_coordinates(mesh: Mesh) -> None:
    x, y = mesh.x, mesh.y
    if len(bad := np.flatnonzero(~(np.isfinite(x) & np.isfinite(y)))):
        raise MeshError(f"{mesh.source}: nodes {name_some(bad)} have NaN or infinite coordinates")
    # Equal points have equal keys; sorting these is quick, and only where two are equal do we look at the points.
    keys = np.sort((_mixed((x + 0.0).view(np.uint64)) + (y + 0.0).view(np.uint64))[mesh.used_nodes])  # + 0: -0 is 0
    if (keys[1:] == keys[:-1]).any():
        _check_coincidence(mesh)


def _mixed(bits: Array) -> Array:
    """Numbers that look random, different ones for different ones."""
    for _ in range(2):
        bits = (bits ^ (bits >> np.uint64(32))) * _MIX
    mixed: Array = bits ^ (bits >> np.uint64(29))
    return mixed


def _check_coincidence(mesh: Mesh) -> None:
    x, y, used = mesh.x, mesh.y, mesh.used_nodes
    order = used[np.lexsort((y[used], x[used]))]
    same = (x[order[1:]] == x[order[:-1]]) & (y[order[1:]] == y[order[:-1]])
    if same.any():
        pairs = np.array([f"{a} and {b}" for a, b in zip(order[:-1][same], order[1:][same], strict=True)])
        raise MeshError(f"{mesh.source}: nodes {name_some(pairs)} coincide; merge them so that their elements connect")


def _check_orientation(mesh: Mesh) -> Mesh:
    least, most = np.concatenate([np.stack([det.min(axis=0), det.max(axis=0)]) for det in _det_blocks(mesh)], axis=1)
    if len(bad := np.flatnonzero(~(np.isfinite(least) & np.isfinite(most)))):
        raise MeshError(
            f"{mesh.source}: det J is too large for floating-point numbers in elements {name_some(bad)}; "
            "give the coordinates in metres"
        )
    negative = most < 0
    if negative.all():
        boundaries = {
            name: Boundary(boundary.edges[:, ::-1], boundary.nodes) for name, boundary in mesh.boundaries.items()
        }
        turned = f"all {mesh.n_elements} elements were clockwise and have been re-oriented"
        return replace(mesh, quad8=mesh.quad8[:, q8.REVERSED], boundaries=boundaries, warnings=(*mesh.warnings, turned))
    if len(bad := np.flatnonzero(least <= 0)):
        clockwise = np.count_nonzero(negative)
        raise MeshError(
            f"{mesh.source}: det J <= 0 at a Gauss point of elements {name_some(bad)}: "
            + (
                f"{clockwise} are clockwise, the others are folded or degenerate"
                if clockwise < len(bad)
                else "they are clockwise while the other elements are counter-clockwise"
            )
            + "; check the node order and the mid-side nodes"
        )
    return mesh

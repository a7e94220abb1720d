"""Mending what can be mended in a mesh without guessing: coincident nodes, duplicates, orphan nodes, orientation."""

from dataclasses import replace
from functools import partial

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fem_core.errors import MeshError, OptionError
from fem_core.mesh import quad8 as q8
from fem_core.mesh.geometry import coincident_nodes, edges_among, mesh_faults, turn_clockwise
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.support.wording import count, name_some, verb
from fem_core.types import Floats, Ints

_WIDEST = 1e-3
_OF_EDGE = 1e-2  # of the shortest edge of a node's elements: no element of an honest shape collapses
_NEIGHBOURS = 8  # of which one asks for each place: the number of pairs stays linear


@np.errstate(all="ignore")  # of a broken mesh
def repair_mesh(mesh: Mesh, tolerance: float = SAME_PLACE) -> tuple[Mesh, list[str]]:
    """A mended mesh and what was done to it, a sentence each.

    In this order: nodes in no element are dropped; nodes at the same place become one, and elements of the same
    nodes too; elements that are clockwise are turned round. Named boundaries keep what remains of
    them: an edge that was exterior and now lies inside, because two parts were joined there, leaves its boundary.

    Parameters
    ----------
    tolerance
        Relative to the extent. Nodes on the exterior at most so far apart coincide, if that is also at most 1 % of
        half the shortest edge of their elements; others only if they are at exactly the same place.

    Raises
    ------
    MeshError
        For what can't be mended: an element of nodes that don't exist or are named twice or aren't finite.
        Folded elements are left as they are, and `validate_mesh` still refuses them.

    >>> import fem_core as fem, numpy as np
    >>> one = fem.generate.duct(length=1, nx=2, ny=2)  # twice, side by side, with nodes of their own
    >>> x, y = np.append(one.x, one.x + 1), np.append(one.y, one.y)
    >>> apart = fem.Mesh(x, y, np.concatenate([one.quad8, one.quad8 + one.n_nodes]))
    >>> joined, done = fem.repair_mesh(apart)
    >>> done
    ['merged 5 nodes with others at the same place']
    >>> joined.components[0]
    1
    """
    if not 0 <= tolerance <= _WIDEST:
        raise OptionError(f"the merge tolerance must be a number from 0 to {_WIDEST:g}, not {tolerance!r}")
    done: list[str] = []
    mesh = _counted_from_zero(mesh, done)
    for fault in mesh_faults(mesh):
        if fault.unusable:
            raise MeshError(f"{mesh.source}: {fault.text}; this can't be repaired")
    for step in (_without_orphans, partial(_merged, tolerance=tolerance), _without_duplicates, _turned):
        mesh = step(mesh, done)
    return mesh, done


def _counted_from_zero(mesh: Mesh, done: list[str]) -> Mesh:
    """Node numbers from 1 to the number of nodes become those from 0."""
    if not (mesh.n_elements and mesh.quad8.min() == 1 and mesh.quad8.max() == mesh.n_nodes):
        return mesh
    done.append("renumbered the nodes from 0 (the numbers began with 1)")
    boundaries = {name: Boundary(b.edges - 1, b.nodes - 1) for name, b in mesh.boundaries.items()}
    return replace(mesh, quad8=mesh.quad8 - 1, boundaries=boundaries)


def _merged(mesh: Mesh, done: list[str], tolerance: float) -> Mesh:
    """Coincident nodes become the one with the lowest number."""
    pairs = np.concatenate([coincident_nodes(mesh), close_nodes(mesh, tolerance)])
    if not len(pairs):
        return mesh
    graph = sparse.coo_array((np.ones(len(pairs), dtype=bool), pairs.T), shape=(mesh.n_nodes, mesh.n_nodes))
    _, first, group = np.unique(
        csgraph.connected_components(graph, directed=False)[1], return_index=True, return_inverse=True
    )
    one = first[group].astype(np.int32)
    quad8 = one[mesh.quad8]
    ordered = np.sort(quad8, axis=1)
    if len(bad := np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))):
        raise MeshError(
            f"{mesh.source}: two nodes of one element are closer than the merge tolerance, in "
            f"{name_some(bad, 'element')}; use a smaller tolerance, or correct the element in the mesh generator"
        )
    merged = int(np.count_nonzero(one != np.arange(mesh.n_nodes)))
    done.append(f"merged {count(merged, 'node')} with others at the same place")
    joined = replace(mesh, quad8=quad8, boundaries={})
    before, after = mesh.matched_edges.exterior, joined.matched_edges.exterior
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        edges, nodes = one[boundary.edges], one[boundary.nodes]
        inside = edges_among(boundary.edges, before) & ~edges_among(edges, after)
        if inside.any():
            left = count(int(np.count_nonzero(inside)), "edge")
            done.append(f"removed {left} from boundary {name!r} (now inside the mesh)")
            nodes = np.setdiff1d(nodes, np.setdiff1d(edges[inside], edges[~inside]))
        boundaries[name] = Boundary(edges[~inside], nodes)
    return _compact(replace(joined, boundaries=boundaries))


def close_nodes(mesh: Mesh, tolerance: float = SAME_PLACE) -> Ints:
    """Pairs of nodes that nearly coincide, on edges that no other element has or that don't match: int32 (n, 2).

    They are at most tolerance x extent apart, and at most 1 % of half the shortest edge of the elements of each.
    Of nodes at exactly the same place one is looked at. Where parts of a mesh should be connected and aren't, this
    is where the nodes are.
    """
    edges = mesh.matched_edges
    suspect = np.zeros(mesh.n_nodes, dtype=bool)
    for elements in edges.mismatches.values():
        suspect[mesh.quad8[elements]] = True
    if edges.mismatches:  # also the nodes of their neighbours
        suspect[mesh.quad8[suspect[mesh.quad8].any(axis=1)]] = True
    suspect[edges.exterior] = True
    z = np.stack([mesh.x, mesh.y], axis=1)
    shortest = _shortest_edges(mesh.quad8[suspect[mesh.quad8].any(axis=1)], z)
    nodes = np.flatnonzero(suspect)
    nodes = nodes[np.unique(z[nodes], axis=0, return_index=True)[1]]
    if len(nodes) < 2:
        return np.empty((0, 2), dtype=np.int32)
    reach = np.minimum(tolerance * mesh.extent, _OF_EDGE * shortest[nodes])
    known = min(_NEIGHBOURS, len(nodes))
    from scipy.spatial import cKDTree  # here, as it takes a tenth of a second to import

    apart, other = cKDTree(z[nodes]).query(z[nodes], k=known, distance_upper_bound=np.nextafter(reach.max(), np.inf))
    place, rank = np.nonzero(apart <= reach[:, None])
    pairs = np.stack([place, other[place, rank]], axis=1)
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (apart[place, rank] <= reach[pairs[:, 1]])]
    found: Ints = np.unique(np.sort(nodes[pairs], axis=1), axis=0).astype(np.int32)
    return found


def _shortest_edges(quad8: Ints, z: Floats) -> Floats:
    """Of each node in `quad8` the least distance from a mid-side to a corner in its elements: (n_nodes,); else ∞."""
    ends = quad8[:, q8.EDGES[:, [0, 2]]]  # (n, 4, 2)
    least = np.linalg.norm(z[ends] - z[quad8[:, q8.EDGES[:, 1]]][:, :, None], axis=-1).min(axis=(1, 2))
    shortest = np.full(len(z), np.inf)
    np.minimum.at(shortest, quad8.ravel(), np.repeat(least, 8))
    return shortest


def _without_duplicates(mesh: Mesh, done: list[str]) -> Mesh:
    """Of elements that have the same nodes, the first remains."""
    if not mesh.matched_edges.mismatches:
        return mesh
    kept = np.sort(np.unique(np.sort(mesh.quad8, axis=1), axis=0, return_index=True)[1])
    if len(kept) == mesh.n_elements:
        return mesh
    done.append(f"removed {count(mesh.n_elements - len(kept), 'element')} with the same nodes as another")
    return replace(mesh, quad8=mesh.quad8[kept])


def _turned(mesh: Mesh, done: list[str]) -> Mesh:
    """Elements that are clockwise are walked the other way round."""
    turned, number = turn_clockwise(mesh)
    if number:
        done.append(f"reversed {count(number, 'element')} that {verb(number, 'were')} clockwise")
    return turned


def _without_orphans(mesh: Mesh, done: list[str]) -> Mesh:
    """Nodes in no element are dropped."""
    if not len(mesh.orphan_nodes):
        return mesh
    n = len(mesh.orphan_nodes)
    done.append(f"removed {count(n, 'node')} that {verb(n, 'belong')} to no element")
    return _compact(mesh)


def _compact(mesh: Mesh) -> Mesh:
    """The mesh without its orphan nodes; the others keep their order."""
    used = mesh.used_nodes
    number = np.full(mesh.n_nodes, -1, dtype=np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        nodes = number[boundary.nodes]
        edges = number[boundary.edges]
        boundaries[name] = Boundary(edges[(edges >= 0).all(axis=1)], nodes[nodes >= 0])
    return replace(mesh, x=mesh.x[used], y=mesh.y[used], quad8=number[mesh.quad8], boundaries=boundaries)

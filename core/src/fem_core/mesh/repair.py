"""Repair of a mesh, as far as no guess is needed: coincident nodes, duplicate elements, orphan nodes, orientation,
boundaries that lack edges or mid-side nodes.
"""

from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

import numpy as np

from fem_core.errors import MeshError, OptionError
from fem_core.mesh.boundaries import half_edges, unlisted_edges
from fem_core.mesh.geometry import mesh_faults, turn_clockwise
from fem_core.mesh.interfaces import WAYS, find_slits
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.mesh.places import close_nodes, coincident_nodes, one_per_place
from fem_core.support.kinds import shown
from fem_core.support.wording import count, name_some, verb
from fem_core.types import Ints

#: What to do with exterior edges that coincide: keep a wall on both sides, or merge their nodes.
Slits: TypeAlias = Literal["keep", "merge"] | None

_WIDEST = 1e-3


@np.errstate(all="ignore")  # figures of a broken mesh may be infinite
def repair_mesh(mesh: Mesh, tolerance: float = SAME_PLACE, slits: Slits = None) -> tuple[Mesh, list[str]]:
    """Repair a mesh; return the repaired mesh and a list of the changes.

    The steps, in this order: nodes that belong to no element are removed; nodes at the same place are merged;
    elements with the same nodes as another element are removed; clockwise elements are reversed; boundaries that
    have all nodes of exterior edges, or a part of them, get these edges. Boundaries keep their names. If an exterior
    edge becomes an interior edge, because two parts were joined there, it is removed from its boundary.

    Parameters
    ----------
    tolerance
        Relative to the extent. Exterior nodes are merged if they are at most so far apart, and at most 1 % of half the
        shortest edge of their elements. Other nodes are merged only if they are at exactly the same place.
    slits
        What to do with the nodes of exterior edges that coincide completely: leave them apart ("keep") or merge them
        ("merge"). By default they are left apart if `Mesh.slits` is true, and merged otherwise. But if both sides have
        a node in common, this can be the tip of a plate, and `slits` must be given.

    Raises
    ------
    MeshError
        If `slits` must be given, but isn't. If an element can't be repaired: a node doesn't exist, is named twice or
        isn't finite. Folded elements are left as they are; `validate_mesh` still refuses them.

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
    if slits is None and mesh.slits:
        slits = "keep"
    merge = partial(_merged, tolerance=tolerance, slits=slits)
    for step in (_without_orphans, merge, _without_duplicates, _turned, _with_edges, _with_mid_sides):
        mesh = step(mesh, done)
    return replace(mesh, slits=slits == "keep") if mesh.slits != (slits == "keep") else mesh, done


def with_slits(mesh: Mesh, slits: Slits = None) -> Mesh:
    """The mesh with its slits kept or merged; if `slits` is None, the mesh as it is.

    A note says what was done. If the mesh can't be checked any further, its slits aren't merged.
    """
    if not isinstance(slits, str | None) or slits not in (None, "keep", "merge"):
        raise OptionError(f"slits must be 'keep' or 'merge', not {shown(slits)}")
    if slits is None or (slits == "keep" and mesh.slits):
        return mesh
    if slits == "keep":
        return replace(mesh, slits=True)
    if any(fault.unusable for fault in mesh_faults(mesh)):
        return mesh
    found = find_slits(turn_clockwise(mesh)[0])
    done: list[str] = []
    merged = _joined(mesh, done, found.pairs)
    notes = [f"slits merged: {count(len(found.edges), 'pair')} of edges joined", *done[1:]] if done else []
    return replace(merged, slits=False, notes=(*merged.notes, *notes))


def _counted_from_zero(mesh: Mesh, done: list[str]) -> Mesh:
    """Renumber the nodes from 0 if their numbers start at 1."""
    if not (mesh.n_elements and mesh.quad8.min() == 1 and mesh.quad8.max() == mesh.n_nodes):
        return mesh
    done.append("renumbered the nodes from 0 (the numbers began with 1)")
    boundaries = {name: Boundary(b.edges - 1, b.nodes - 1) for name, b in mesh.boundaries.items()}
    return replace(mesh, quad8=mesh.quad8 - 1, boundaries=boundaries)


def _merged(mesh: Mesh, done: list[str], tolerance: float, slits: Slits) -> Mesh:
    """Merge coincident nodes; those of slits only if this is intended."""
    exactly = coincident_nodes(mesh)
    pairs = np.concatenate([exactly, close_nodes(mesh, tolerance)])
    if slits == "merge" or not len(pairs):
        return _joined(mesh, done, pairs)
    found = find_slits(turn_clockwise(mesh)[0])
    if slits == "keep":
        place = one_per_place(found.pairs, mesh.n_nodes)
        pairs = pairs[place[pairs[:, 0]] != place[pairs[:, 1]]]
    elif len(exactly) and found.has_tip:  # if all nodes are only near each other, they were meant to be merged
        raise MeshError(
            f"{mesh.source}: {count(len(found.edges), 'pair')} of edges coincide, and both sides have a node in "
            f"common, as at the tip of a plate of no thickness; {WAYS}"
        )
    return _joined(mesh, done, pairs)


def _joined(mesh: Mesh, done: list[str], pairs: Ints) -> Mesh:
    """Merge the nodes of each of `pairs` into the node with the lowest number."""
    if not len(pairs):
        return mesh
    one = one_per_place(pairs, mesh.n_nodes)
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
    before, after = mesh.matched_edges.known, joined.matched_edges.known
    boundaries, lost = {}, dict(mesh.lost)
    for name, boundary in mesh.boundaries.items():
        edges, nodes = one[boundary.edges], one[boundary.nodes]
        inside = (before.find(boundary.edges) >= 0) & (after.find(edges) < 0)
        if inside.any():
            left = count(int(np.count_nonzero(inside)), "edge")
            done.append(f"removed {left} from boundary {name!r} (now inside the mesh)")
            nodes = np.setdiff1d(nodes, np.setdiff1d(edges[inside], edges[~inside]))
            if not len(nodes):
                lost[name] = "it lies inside the mesh, where nodes were merged"
                continue
        boundaries[name] = Boundary(edges[~inside], nodes)
    return compact(replace(joined, boundaries=boundaries, lost=lost))


def _without_duplicates(mesh: Mesh, done: list[str]) -> Mesh:
    """Remove all but the first of the elements that have the same nodes."""
    if not mesh.matched_edges.mismatches:
        return mesh
    kept = np.sort(np.unique(np.sort(mesh.quad8, axis=1), axis=0, return_index=True)[1])
    if len(kept) == mesh.n_elements:
        return mesh
    done.append(f"removed {count(mesh.n_elements - len(kept), 'element')} with the same nodes as another")
    return replace(mesh, quad8=mesh.quad8[kept])


def _turned(mesh: Mesh, done: list[str]) -> Mesh:
    """Reverse the elements that are clockwise."""
    turned, number = turn_clockwise(mesh)
    if number:
        done.append(f"reversed {count(number, 'element')} that {verb(number, 'were')} clockwise")
    return turned


def _with_edges(mesh: Mesh, done: list[str]) -> Mesh:
    """Boundaries that are lists of nodes get the edges of these."""
    found = {name: edges for name in mesh.boundaries if len(edges := unlisted_edges(mesh, name))}
    for name, edges in found.items():
        done.append(f"added {count(len(edges), 'edge')}, of which it had all nodes, to boundary {name!r}")
    more = {name: Boundary(edges, mesh.boundaries[name].nodes) for name, edges in found.items()}
    return replace(mesh, boundaries={**mesh.boundaries, **more}) if more else mesh


def _with_mid_sides(mesh: Mesh, done: list[str]) -> Mesh:
    """Add the exterior edges, and their nodes, to boundaries that have only a part of them."""
    boundaries = dict(mesh.boundaries)
    for name, boundary in mesh.boundaries.items():
        if len(half := half_edges(mesh, name)):
            missing = np.setdiff1d(half, boundary.nodes)
            what = "mid-side node" if np.isin(missing, half[:, 1]).all() else "node"
            done.append(f"added {count(len(missing), what)} and the edges there to boundary {name!r}")
            boundaries[name] = Boundary(np.concatenate([boundary.edges, half]), boundary.nodes)
    return replace(mesh, boundaries=boundaries) if boundaries != dict(mesh.boundaries) else mesh


def _without_orphans(mesh: Mesh, done: list[str]) -> Mesh:
    """Remove the nodes that belong to no element."""
    if not len(mesh.orphan_nodes):
        return mesh
    n = len(mesh.orphan_nodes)
    done.append(f"removed {count(n, 'node')} that {verb(n, 'belong')} to no element")
    return compact(mesh)


def compact(mesh: Mesh) -> Mesh:
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

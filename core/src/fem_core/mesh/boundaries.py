"""Boundaries by position, for a mesh that names none: the reference's rule for inlet, outlet and walls.

- `inlet`: exterior edges with all three nodes at min x.
- `outlet`: used nodes at max x, with the exterior edges whose three nodes are all there.
- `walls`: the remaining exterior edges.

"At" means within tolerance x extent. A mesh that names any boundary keeps its names. Only `walls` is then added: the
exterior edges that are in no other boundary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np

from fem_core.errors import OptionError, brief
from fem_core.mesh.geometry import validate_mesh
from fem_core.mesh.interfaces import find_slits
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.mesh.places import close_nodes
from fem_core.support.wording import count, name_all, name_some, verb
from fem_core.types import Bools, Ints

_REASONS = 8  # that a note gives
_NEAR = 1e-4
_WIDEST = 0.1  # with a larger tolerance, an end would be a large part of the mesh


def with_boundaries(mesh: Mesh, tolerance: float = SAME_PLACE, *, by_position: bool = False) -> Mesh:
    """Validate a mesh and complete its boundaries.

    If the mesh names no boundary, `inlet` and `outlet` are found by position. If it has no `walls`, they are added: the
    exterior edges that are in no other boundary.

    Parameters
    ----------
    tolerance
        Relative to the mesh's extent. Used nodes outside it but within 1e-4 cause a warning.
    by_position
        Find a missing inlet or outlet by position, although the mesh names other boundaries.

    Raises
    ------
    OptionError
        If the tolerance isn't a number from 0 to 0.1.
    MeshError
        If the mesh isn't valid. A mesh without edges at min x is valid and gets an empty inlet; `Problem.on` then
        refuses a condition on it.
    """
    return complete(validate_mesh(mesh), tolerance, by_position)


def complete(mesh: Mesh, tolerance: float = SAME_PLACE, by_position: bool = False) -> Mesh:
    """`with_boundaries` for a mesh that may have faults. It must have elements, and their nodes must be finite."""
    if not (isinstance(tolerance, int | float) and 0 <= tolerance <= _WIDEST):
        raise OptionError(f"boundary_tolerance must be a number from 0 to {_WIDEST:g}, not {tolerance!r}")
    names = {name.casefold() for name in (*mesh.boundaries, *(() if by_position else mesh.lost))}
    wanted = ("inlet", "outlet", "walls") if by_position or not names else ("walls",)
    missing = [name for name in wanted if name not in names]
    if not missing:
        return mesh
    named = dict(mesh.boundaries)
    warnings = list(mesh.warnings)
    x, edges = mesh.x[mesh.used_nodes], mesh.matched_edges.exterior
    for name, side, limit in (("inlet", "min x", x.min()), ("outlet", "max x", x.max())):
        if name in missing:
            at, near = _side(mesh, float(limit), tolerance)
            found = edges[at[edges].all(axis=1)]
            nodes = np.flatnonzero(at).astype(np.int32)
            named[name] = Boundary.from_edges(found) if name == "inlet" else Boundary(found, nodes)
            if len(near):
                needed = 1.01 * float(np.abs(mesh.x[near] - limit).max()) / mesh.extent
                warnings.append(
                    f"{count(len(near), 'node', 'lie')} close to {side} = {limit:g} but outside the tolerance of "
                    f"{tolerance:g} x extent, and {verb(len(near), 'are')} not part of the {name}: {name_some(near)}; "
                    f"a boundary tolerance of {needed:.1e} includes them"
                )
    if "walls" in missing:
        others = mesh.matched_edges.known.find(
            np.concatenate([edges[:0], *(boundary.edges for boundary in named.values())])
        )
        is_wall = np.ones(len(edges), dtype=bool)
        is_wall[others[others >= 0]] = False
        named["walls"] = Boundary.from_edges(edges[is_wall])
    by_rule = tuple(name for name in missing if name != "walls")
    detected = replace(mesh, boundaries=named, warnings=tuple(warnings), by_position=(*mesh.by_position, *by_rule))
    kept = {k: v for k, v in mesh.__dict__.items() if k not in detected.__dict__ and k != "is_named"}
    detected.__dict__.update(kept)
    return detected.mark_valid() if mesh._validated else detected


def mesh_notes(mesh: Mesh) -> tuple[str, ...]:
    """The notes of a mesh, a note on kept slits, and a note on names that are no boundaries (lost or empty ones)."""
    notes = mesh.notes
    if mesh.slits:
        number = len(find_slits(mesh).edges)
        kept = (
            f"{count(number, 'pair')} of edges {verb(number, 'are')} walls on both sides"
            if number
            else "the mesh has none"
        )
        notes = (*notes, f"slits kept: {kept}")
    return (*notes, text) if (text := lost_text(mesh)) else notes


def lost_text(mesh: Mesh) -> str:
    """Names in the file that are not boundaries, grouped by the reason; an empty text if there are none."""
    empty = {name: "it is empty" for name, one in mesh.boundaries.items() if not len(one.nodes) and name != "walls"}
    by_reason: dict[str, list[str]] = {}
    for name, why in {**mesh.lost, **empty}.items():
        by_reason.setdefault(brief(why), []).append(name)
    reasons = list(islice(by_reason.items(), _REASONS))
    gone = "; ".join(f"{name_all(names)}: {why}" for why, names in reasons)
    if more := sum(map(len, by_reason.values())) - sum(len(names) for _, names in reasons):
        gone += f"; and {count(more, 'other name')} for other reasons"
    return f"not boundaries, although the file names them: {gone}" if gone else ""


def mesh_doubts(mesh: Mesh, names: Iterable[str]) -> Iterator[str]:
    """Warnings for each report: possible mistakes in a valid mesh with conditions on the boundaries `names`."""
    names = [name for name in dict.fromkeys(names) if name in mesh.boundaries]
    yield from mendable_doubts(mesh, names)
    if mesh.slits and len(leaks := find_slits(mesh).leaks(mesh.matched_edges.exterior)):
        yield (
            f"fluid passes through {name_some(leaks, 'node')}, where a slit ends at another boundary but both its "
            "sides have the same node; give each side a node of its own in the mesh generator (gmsh's Crack: "
            "OpenBoundaryPhysicalGroup)"
        )
    for name in names:
        if inside := int(np.count_nonzero(mesh.matched_edges.known.find(mesh.boundaries[name].edges) < 0)):
            number = f"{count(inside, 'edge')} of the boundary {name!r} {verb(inside, 'lie')}"
            yield f"{number} inside the mesh, where fluid passes on both sides"


def mendable_doubts(mesh: Mesh, names: Iterable[str]) -> Iterator[str]:
    """The warnings of `mesh_doubts` that `repair_mesh` removes."""
    if text := seam_text(mesh):
        yield text
    for name in names:
        if name in mesh.boundaries and len(half := half_edges(mesh, name)):
            yield f"the condition on {name!r} applies only in part: {half_text(mesh, name, half)}"


def seam_text(mesh: Mesh) -> str:
    """Which nodes nearly coincide, other than those of slits that are meant; nothing if there are none."""
    pairs = close_nodes(mesh)
    if mesh.slits and len(pairs):
        meant = {frozenset(pair) for pair in find_slits(mesh).pairs.tolist()}
        pairs = np.array([pair for pair in pairs.tolist() if frozenset(pair) not in meant])
    if not len(pairs):
        return ""
    a, b = pairs[0]
    number = f"{count(len(pairs), 'pair')} of nodes nearly {verb(len(pairs), 'coincide')}"
    return f"{number}, such as {a} and {b}: elements there aren't connected; fem check --fix merges them"


def corner_doubts(mesh: Mesh) -> Iterator[str]:
    """Nodes where elements have nothing but a corner in common: a warning for each report.

    That is a mesh like any other, but the flow through a point isn't one. Ends of slits have their own warning.
    """
    exterior = mesh.matched_edges.exterior
    nodes = np.flatnonzero(np.bincount(exterior[:, [0, 2]].ravel()) > 2)
    if mesh.slits:
        nodes = np.setdiff1d(nodes, find_slits(mesh).leaks(exterior))
    if len(nodes):
        yield (
            f"elements have only a corner in common at {name_some(nodes, 'node')}: fluid passes through a point there, "
            "and u depends on the size of the elements; give them a common edge, or each a node of its own"
        )


def half_text(mesh: Mesh, name: str, half: Ints) -> str:
    """What a boundary lacks with `half_edges`."""
    nodes = mesh.boundaries[name].nodes
    lacks_mid = ~np.isin(half[:, 1], nodes)
    no_mid, no_end = half[lacks_mid], half[~lacks_mid]
    parts = []
    if len(no_mid):
        mid = f"mid-side {name_some(no_mid[:, 1], 'node')}"
        parts.append(f"both ends of {count(len(no_mid), 'exterior edge')} but not the {mid}")
    if len(no_end):
        end = f"end {name_some(np.setdiff1d(no_end, nodes), 'node')}"
        parts.append(f"the mid-side of {count(len(no_end), 'exterior edge')} but not the {end}")
    one = np.setdiff1d(half, nodes).size == 1
    return f"the boundary has {', and '.join(parts)}; fem check --fix adds {'it' if one else 'them'}"


def half_edges(mesh: Mesh, name: str) -> Ints:
    """Exterior edges that a boundary has a part of: both ends but not the mid-side, or the mid-side but not both ends.

    int32 (n, 3). Where the ends are on other edges of the boundary, it may just go round a corner: such an edge doesn't
    count if another boundary than the walls has it. Nor does the edge of a single node. A boundary by position has its
    own warning.
    """
    boundary, edges = mesh.boundaries[name], mesh.matched_edges
    if name in mesh.by_position:
        return edges.exterior[:0]
    at = edges.at(boundary.nodes)
    has = _are_in(boundary.nodes, edges.exterior[at])
    both, mid = has[:, [0, 2]].all(axis=1), has[:, 1]
    half, no_end = at[both & ~mid], at[mid & ~both]
    loose = np.setdiff1d(boundary.nodes, boundary.edges)
    is_loose = _are_in(loose, edges.exterior[half][:, [0, 2]]).any(axis=1)
    half = half[is_loose | ~mesh.is_named[half]]  # which isn't one of the boundary's own, because it lacks the mid-side
    found: Ints = edges.exterior[np.concatenate([half, no_end if len(boundary.nodes) > 1 else no_end[:0]])]
    return found


def _are_in(nodes: Ints, wanted: Ints) -> Bools:
    """Whether each of `wanted` is one of `nodes`, which are sorted: of the shape of `wanted`."""
    if not len(nodes):
        return np.zeros(wanted.shape, dtype=bool)
    found: Bools = nodes[np.minimum(np.searchsorted(nodes, wanted), len(nodes) - 1)] == wanted
    return found


def unlisted_edges(mesh: Mesh, name: str) -> Ints:
    """The exterior edges all of whose nodes a boundary has, if it has no edges at all: int32 (n, 3)."""
    boundary, edges = mesh.boundaries[name], mesh.matched_edges
    if len(boundary.edges):
        return edges.exterior[:0]
    touched = edges.exterior[edges.at(boundary.nodes)]
    found: Ints = touched[_are_in(boundary.nodes, touched).all(axis=1)]
    return found


def _side(mesh: Mesh, limit: float, tolerance: float) -> tuple[Bools, Ints]:
    """Whether each node is used and at x = limit, and the used nodes that narrowly miss it."""
    distance = np.abs(mesh.x - limit)
    distance[mesh.orphan_nodes] = np.inf
    at = distance <= tolerance * mesh.extent
    near = np.flatnonzero(~at & (distance <= _NEAR * mesh.extent))
    return at, near.astype(np.int32)

"""Boundaries by position, for a mesh that names none: the reference's rule for inlet, outlet and walls.

- `inlet`: exterior edges with all three nodes at min x.
- `outlet`: used nodes at max x, with the exterior edges whose three nodes are all there.
- `walls`: the remaining exterior edges.

"At" means within tolerance x extent. A mesh that names any boundary keeps its names. Only `walls` is then added: the
exterior edges that are in no other boundary.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from fem_core.errors import OptionError
from fem_core.mesh.geometry import edges_among, validate_mesh
from fem_core.mesh.interfaces import find_slits
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.mesh.places import close_nodes
from fem_core.support.wording import count, name_some, verb
from fem_core.types import Bools, Ints

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
        others = np.concatenate([edges[:0], *(boundary.edges for boundary in named.values())])
        named["walls"] = Boundary.from_edges(edges[~edges_among(edges, others)])
    by_rule = tuple(name for name in missing if name != "walls")
    detected = replace(mesh, boundaries=named, warnings=tuple(warnings), by_position=(*mesh.by_position, *by_rule))
    detected.__dict__.update({k: v for k, v in mesh.__dict__.items() if k not in detected.__dict__})
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
        by_reason.setdefault(why, []).append(repr(name))
    gone = "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason.items())
    return f"not boundaries, although the file names them: {gone}" if gone else ""


def mesh_doubts(mesh: Mesh, names: Iterable[str]) -> Iterator[str]:
    """Warnings for each report: possible mistakes in a valid mesh with conditions on the boundaries `names`."""
    pairs = close_nodes(mesh)
    if mesh.slits:
        slits = find_slits(mesh)
        meant = {frozenset(pair) for pair in slits.pairs.tolist()}
        pairs = np.array([pair for pair in pairs.tolist() if frozenset(pair) not in meant])
        if len(leaks := slits.leaks(mesh.matched_edges.exterior)):
            yield (
                f"fluid passes through {name_some(leaks, 'node')}, where a slit ends at another boundary but both its "
                "sides have the same node; give each side a node of its own in the mesh generator (gmsh's Crack: "
                "OpenBoundaryPhysicalGroup)"
            )
    if len(pairs):
        a, b = pairs[0]
        number = f"{count(len(pairs), 'pair')} of nodes nearly {verb(len(pairs), 'coincide')}"
        yield f"{number}, such as {a} and {b}: elements there aren't connected; fem check --fix merges them"
    for name in dict.fromkeys(names):
        if name not in mesh.boundaries:
            continue
        if inside := int(np.count_nonzero(~edges_among(mesh.boundaries[name].edges, mesh.matched_edges.exterior))):
            number = f"{count(inside, 'edge')} of the boundary {name!r} {verb(inside, 'lie')}"
            yield f"{number} inside the mesh, where fluid passes on both sides"
        if len(half := half_edges(mesh, name)):
            yield (
                f"the condition on {name!r} applies only in part: {half_text(half)}; "
                f"fem check --fix adds {'it' if len(half) == 1 else 'them'}"
            )


def half_text(half: Ints) -> str:
    """Describe the edges that a boundary lacks, as found by `half_edges`."""
    mid = f"mid-side {name_some(half[:, 1], 'node')}"
    return f"the boundary has both ends of {count(len(half), 'exterior edge')} but not the {mid}"


def half_edges(mesh: Mesh, name: str) -> Ints:
    """Exterior edges whose two ends are in a boundary, but whose mid-side node is not: int32 (n, 3).

    If both ends are on other edges of the boundary, the boundary may simply go round a corner. Such an edge doesn't
    count if another boundary, other than the walls, has it. A boundary by position has its own warning.
    """
    boundary = mesh.boundaries[name]
    has = np.zeros(mesh.n_nodes, dtype=bool)
    has[boundary.nodes] = True
    a, mid, b = mesh.matched_edges.exterior.T
    half: Ints = mesh.matched_edges.exterior[has[a] & has[b] & ~has[mid]]
    if name in mesh.by_position:
        half = half[:0]
    has[boundary.edges] = False
    is_loose = has[half[:, [0, 2]]].any(axis=1)
    others = [one.edges for other, one in mesh.boundaries.items() if other not in (name, "walls")]
    half = half[is_loose | ~edges_among(half, np.concatenate([half[:0], *others]))]
    return half


def _side(mesh: Mesh, limit: float, tolerance: float) -> tuple[Bools, Ints]:
    """Whether each node is used and at x = limit, and the used nodes that narrowly miss it."""
    distance = np.abs(mesh.x - limit)
    distance[mesh.orphan_nodes] = np.inf
    at = distance <= tolerance * mesh.extent
    near = np.flatnonzero(~at & (distance <= _NEAR * mesh.extent))
    return at, near.astype(np.int32)

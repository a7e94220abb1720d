"""The boundaries of a mesh that names none: the reference's geometric rule for inlet, outlet and walls.

- `inlet`: exterior edges with all three nodes at min x.
- `outlet`: used nodes at max x, with the exterior edges they complete.
- `walls`: the remaining exterior edges.

"At" means within tolerance x extent. A mesh that names any boundary keeps its names; only `walls` is added, the
exterior edges that are in no other boundary.
"""

from dataclasses import replace

import numpy as np

from fem_core.errors import OptionError
from fem_core.mesh.geometry import edges_among, validate_mesh
from fem_core.mesh.mesh import SAME_PLACE, Boundary, Mesh
from fem_core.support.wording import count, name_some, verb
from fem_core.types import Bools, Ints

_NEAR = 1e-4
_WIDEST = 0.1  # beyond it an end would be a good part of the mesh


def with_boundaries(mesh: Mesh, tolerance: float = SAME_PLACE, *, by_position: bool = False) -> Mesh:
    """The validated mesh, with `inlet` and `outlet` by position if it names no boundary, and with `walls`.

    Parameters
    ----------
    tolerance
        Relative to the mesh's extent. Used nodes outside it but within 1e-4 are warned about.
    by_position
        Find a missing inlet or outlet by position also in a mesh that names other boundaries.

    Raises
    ------
    OptionError
        If the tolerance isn't a number from 0 to 0.1.
    MeshError
        If the mesh isn't valid. That no edge lies at min x leaves an empty inlet; what is wrong with
        that is for the problem to say.
    """
    return complete(validate_mesh(mesh), tolerance, by_position)


def complete(mesh: Mesh, tolerance: float = SAME_PLACE, by_position: bool = False) -> Mesh:
    """`with_boundaries` of a mesh that may have faults; it has elements, of nodes that exist at finite places."""
    if not (isinstance(tolerance, int | float) and 0 <= tolerance <= _WIDEST):
        raise OptionError(f"boundary_tolerance must be a number from 0 to {_WIDEST:g}, not {tolerance!r}")
    names = {name.casefold() for name in (*mesh.boundaries, *mesh.lost)}
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
        others = np.concatenate([np.empty((0, 3), dtype=np.int32), *(boundary.edges for boundary in named.values())])
        named["walls"] = Boundary.from_edges(edges[~edges_among(edges, others)])
    by_rule = tuple(name for name in missing if name != "walls")
    detected = replace(mesh, boundaries=named, warnings=tuple(warnings), by_position=(*mesh.by_position, *by_rule))
    detected.__dict__.update({k: v for k, v in mesh.__dict__.items() if k not in detected.__dict__})
    return detected.mark_valid() if mesh._validated else detected


def mesh_notes(mesh: Mesh) -> tuple[str, ...]:
    """The notes of a mesh, and one that names what became no boundary: lost names and empty boundaries."""
    empty = {name: "it is empty" for name, one in mesh.boundaries.items() if not len(one.nodes) and name != "walls"}
    gone = "; ".join(f"{name!r}: {why}" for name, why in {**mesh.lost, **empty}.items())
    return (*mesh.notes, f"not boundaries, although the file names them: {gone}") if gone else mesh.notes


def _side(mesh: Mesh, limit: float, tolerance: float) -> tuple[Bools, Ints]:
    """Whether each node is used and at x = limit, and the used nodes that narrowly aren't."""
    distance = np.abs(mesh.x - limit)
    distance[mesh.orphan_nodes] = np.inf
    at = distance <= tolerance * mesh.extent
    near = np.flatnonzero(~at & (distance <= _NEAR * mesh.extent))
    return at, near.astype(np.int32)

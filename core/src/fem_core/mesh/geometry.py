"""The one policy for geometry: which meshes are accepted, and how the others are refused or changed.

An element is valid if det J > 0 at every Gauss point of the 3x3 and of the 2x2 rule. All other elements are refused
here, once, and the error names them. If all elements are clockwise, they are reversed, with a warning. No backend
checks the sign of det J again.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from fem_core.errors import MeshError, brief
from fem_core.mesh import quad8 as q8
from fem_core.mesh.interfaces import WAYS, find_slits, hanging_nodes
from fem_core.mesh.matching import KnownEdges, mismatch_text
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.places import Crowded, coincident_nodes
from fem_core.mesh.rounding import rounding_doubts
from fem_core.support.blas import reserve_buffers
from fem_core.support.kinds import require
from fem_core.support.wording import count, more_faults, name_some
from fem_core.types import Bools, Floats, Ints

_POINTS = np.concatenate([q8.POINTS_3X3, q8.POINTS_2X2])
#: Rows ∂N/∂ξ at all points, then ∂N/∂η: (26, 8).
_DN = np.ascontiguousarray(q8.shape_gradient(*_POINTS.T).transpose(1, 0, 2).reshape(-1, 8))
_BLOCK = 4096
#: The largest coordinate and the smallest det J for which x²/det J and 1/det J² are still finite.
_LARGEST, _LEAST_DET = 1e75, 1e-150


def det_jacobian(mesh: Mesh) -> Floats:
    """det J in m² at the 9 points of the 3x3 rule, then the 4 points of the 2x2 rule: (n_elements, 13)."""
    return np.concatenate([np.empty((0, len(_POINTS))), *(det.T for det in _det_blocks(mesh))])


def _det_range(mesh: Mesh) -> tuple[Floats, Floats]:
    """The smallest and the largest det J of each element at those points; NaN if one of the values is NaN."""
    ranges = [np.stack([det.min(axis=0), det.max(axis=0)]) for det in _det_blocks(mesh)]
    least, most = np.concatenate([np.empty((2, 0)), *ranges], axis=1)
    return least, most


def _det_blocks(mesh: Mesh) -> Iterator[Floats]:
    """det J of the elements, block by block: (13, m), a row for each point."""
    z = np.stack([mesh.x, mesh.y], axis=1).view(np.complex128)[:, 0]  # fetching nodes takes most of the time
    for start in range(0, mesh.n_elements, _BLOCK):
        nodes = z.take(mesh.quad8[start : start + _BLOCK].T)
        with np.errstate(over="ignore", invalid="ignore"):
            x_ξ, x_η = np.split(_DN @ np.ascontiguousarray(nodes.real), 2)
            y_ξ, y_η = np.split(_DN @ np.ascontiguousarray(nodes.imag), 2)
            det = x_ξ * y_η - x_η * y_ξ
        yield det


def edge_lengths(mesh: Mesh, edges: Ints) -> Floats:
    """The length in metres of each of `edges` (a, mid, b), by 3 Gauss points: (n,)."""
    with np.errstate(over="ignore", invalid="ignore"):  # nodes may be infinite, or too far away
        x, y = mesh.x[edges] @ q8.EDGE_DN.T, mesh.y[edges] @ q8.EDGE_DN.T
        lengths: Floats = np.hypot(x, y) @ q8.EDGE_WEIGHTS
    return lengths


@dataclass(frozen=True, eq=False)
class Fault:
    """A reason why a mesh can't be solved.

    Parameters
    ----------
    text : str
        Cause, place and remedy, without the mesh's name.
    elements, nodes : int32 (n,), (m,)
        The elements and the nodes that have the fault.
    unusable : bool
        Whether these elements (or the boundary, or the whole mesh) can't be checked any further.
    """

    text: str
    elements: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    nodes: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    unusable: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", brief(self.text))


def validate_mesh(mesh: Mesh) -> Mesh:
    """Check a mesh; return it if it is valid, or a reversed copy if all its elements are clockwise.

    The mesh keeps the result, so a second check costs nothing.

    Raises
    ------
    MeshError
        If the mesh has a fault: no elements, indices out of range, a node repeated in an element, NaN or infinite
        coordinates, coincident nodes, edges that don't match, det J <= 0 at a Gauss point, nodes inside the edges of
        other elements. The message gives the first fault of `mesh_faults`, its first elements or nodes and their
        number, and the number of other faults.
    """
    require(mesh, Mesh, "mesh must be a fem_core.Mesh", MeshError, "read_mesh reads one from a file")
    if mesh._validated is not None:
        return mesh._validated
    reserve_buffers()
    if faults := list(mesh_faults(mesh)):
        raise MeshError(f"{mesh.source}: {faults[0].text}{more_faults(len(faults) - 1)}")
    return mesh.mark_valid(_with_doubts(_counter_clockwise(mesh)))


def mesh_faults(mesh: Mesh) -> Iterator[Fault]:
    """All faults of a mesh, the most basic first.

    An element that can't be checked any further (for example, because a node doesn't exist) is left out of the checks
    that follow. It is not a fault if all elements are clockwise.
    """
    found: list[Fault] = []
    if not mesh.n_elements:
        yield Fault("the mesh has no elements", unusable=True)
    for look in (_connectivity, _coordinates, _coincidences, _orientation, _edges):
        part, numbers = usable_part(mesh, found)
        if not part.n_elements:
            return
        if found and look is _edges:
            part, _ = turn_clockwise(part)  # reported above; mismatched edges would only follow from it
        for fault in look(part, numbers):
            found.append(fault)
            yield fault
    yield from _interfaces(_sound_part(part, numbers, found))
    yield from _boundaries(mesh, part)


def usable_part(mesh: Mesh, faults: Iterable[Fault]) -> tuple[Mesh, Ints]:
    """The mesh of the elements that can be checked further in spite of `faults`, and their numbers."""
    usable = np.ones(mesh.n_elements, dtype=bool)
    for fault in faults:
        usable[fault.elements] &= not fault.unusable
    numbers = np.flatnonzero(usable).astype(np.int32)
    boundaries = {name: boundary for name, boundary in mesh.boundaries.items() if _in_range(boundary, mesh.n_nodes)}
    if len(numbers) == mesh.n_elements and len(boundaries) == len(mesh.boundaries):
        return mesh, numbers
    return replace(mesh, quad8=mesh.quad8[numbers], boundaries=boundaries), numbers


def _connectivity(mesh: Mesh, numbers: Ints) -> Iterator[Fault]:
    quad8, n = mesh.quad8, mesh.n_nodes
    outside = ((quad8 < 0) | (quad8 >= n)).any(axis=1)
    if outside.any():
        bad = numbers[outside]
        hint = (
            "; node numbers start at 0, but these seem to start at 1" if quad8.min() == 1 and quad8.max() == n else ""
        )
        yield Fault(
            f"{name_some(bad, 'element', 'refer')} to nodes outside 0…{n - 1} "
            f"(found {quad8.min()}…{quad8.max()}){hint}",
            numbers if hint else bad, unusable=True,  # if the numbers start at 1, all elements are wrong
        )  # fmt: skip
    ordered = np.sort(quad8, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    if not twice.any():
        return
    a, mid, b = (quad8[:, nodes] for nodes in q8.EDGES.T)
    collapsed = twice & (a == b).any(axis=1)
    linear = twice & ~collapsed & ((mid == a) | (mid == b)).any(axis=1)
    for chosen, do, what in (
        (collapsed, "repeat", "a corner: triangles written as quadrilaterals; fem convert MESH -o OUT splits them"),
        (linear, "have", "a corner as a mid-side node; each side needs a node of its own in its middle"),
        (twice & ~collapsed & ~linear, "name", "the same node twice"),
    ):
        if len(bad := numbers[chosen]):
            yield Fault(f"{name_some(bad, 'element', do)} {what}", bad, unusable=True)


def _coordinates(mesh: Mesh, numbers: Ints) -> Iterator[Fault]:
    finite = np.isfinite(mesh.x) & np.isfinite(mesh.y)
    if not finite.all():
        nodes, elements = np.flatnonzero(~finite).astype(np.int32), numbers[~finite[mesh.quad8].all(axis=1)]
        text = f"{name_some(nodes, 'node', 'have')} NaN or infinite coordinates"
        yield Fault(text, elements, nodes, len(elements) > 0)


def _coincidences(mesh: Mesh, numbers: Ints) -> Iterator[Fault]:
    exactly = coincident_nodes(mesh)
    if not len(exactly):
        return
    slits = find_slits(mesh)
    if len(slits.loose):
        text = f"nodes {_named(slits.loose)} coincide; merge them so that their elements connect"
        yield Fault(text, nodes=np.unique(slits.loose))
    if len(slits.loose) < len(exactly) and not mesh.slits:
        yield Fault(
            f"nodes {_named(slits.pairs)} coincide along {count(len(slits.edges), 'pair')} of edges: blocks of the "
            f"mesh are not merged, or this is a plate of no thickness; {WAYS}",
            nodes=np.unique(slits.pairs),
        )


def _named(pairs: Ints) -> str:
    return name_some(np.array([f"{a} and {b}" for a, b in pairs]))


def _orientation(mesh: Mesh, numbers: Ints) -> Iterator[Fault]:
    least, most = _det_range(mesh)
    far = (np.abs(mesh.x) > _LARGEST) | (np.abs(mesh.y) > _LARGEST)
    large = far[mesh.quad8].any(axis=1) if far.any() else np.zeros(mesh.n_elements, dtype=bool)
    small = np.maximum(np.abs(least), np.abs(most)) < _LEAST_DET
    small[small] = _is_extended(replace(mesh, quad8=mesh.quad8[small], boundaries={}))
    for bad, size in ((numbers[large], "large"), (numbers[small & ~large], "small")):
        if len(bad):
            yield Fault(
                f"{name_some(bad, 'element', 'are')} too {size} for floating-point numbers; "
                "give the coordinates in metres",
                bad, unusable=True,
            )  # fmt: skip
    usable = ~(large | small)
    folded, negative = (least <= 0) & usable, (most < 0) & usable
    if folded.any() and not negative[usable].all():
        bad, clockwise = numbers[folded], np.count_nonzero(negative)
        kinds = (
            "folded or degenerate"
            if not clockwise
            else f"{clockwise} clockwise, the others folded or degenerate"
            if clockwise < len(bad)
            else "clockwise while the other elements are counter-clockwise"
        )
        text = f"det J <= 0 at a Gauss point of {name_some(bad, 'element')}: {kinds}"
        yield Fault(f"{text}; check the node order and the mid-side nodes", bad)


def _is_extended(mesh: Mesh) -> Bools:
    """Whether elements with det J near 0 are only very small: det J isn't 0 if the coordinates are scaled up."""
    with np.errstate(over="ignore", invalid="ignore"):
        larger = replace(mesh, x=np.ldexp(mesh.x, 400), y=np.ldexp(mesh.y, 400))
    extended: Bools = (det_jacobian(larger) != 0).all(axis=1)
    return extended


def _counter_clockwise(mesh: Mesh) -> Mesh:
    """A mesh without faults, reversed if it is clockwise. Its elements are either all clockwise or none is."""
    if det_jacobian(replace(mesh, quad8=mesh.quad8[:1], boundaries={})).max() > 0:
        return mesh
    n = mesh.n_elements
    text = f"all {n} elements were clockwise and have been reversed"
    if n == 1:
        text = "the only element was clockwise and has been reversed"
    return replace(turn_clockwise(mesh)[0], warnings=(*mesh.warnings, text))


def _with_doubts(mesh: Mesh) -> Mesh:
    """A valid mesh, with warnings if rounding limits the accuracy on it."""
    doubts = [text for text in rounding_doubts(mesh) if text not in mesh.warnings]
    return replace(mesh, warnings=(*mesh.warnings, *doubts)) if doubts else mesh


def turn_clockwise(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with its clockwise elements reversed, and their boundary edges too; and the number of these elements.

    An element is clockwise if det J < 0 at every Gauss point.
    """
    clockwise = _det_range(mesh)[1] < 0
    if not clockwise.any():
        return mesh, 0
    turned = replace(mesh, quad8=np.where(clockwise[:, None], mesh.quad8[:, q8.REVERSED], mesh.quad8), boundaries={})
    exterior = turned.matched_edges.exterior
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        place = turned.matched_edges.known.find(boundary.edges)
        edges = np.where(place[:, None] >= 0, exterior[place], boundary.edges) if len(exterior) else boundary.edges
        boundaries[name] = Boundary(edges, boundary.nodes)
    return replace(turned, boundaries=boundaries), int(np.count_nonzero(clockwise))


def _edges(mesh: Mesh, numbers: Ints) -> Iterator[Fault]:
    for kind, elements in mesh.matched_edges.mismatches.items():
        yield Fault(mismatch_text(kind, numbers[elements]), numbers[elements])


def _sound_part(mesh: Mesh, numbers: Ints, faults: Iterable[Fault]) -> Mesh:
    """The mesh without the elements that have a fault: a folded element may touch any other element."""
    faulty = np.concatenate([np.empty(0, dtype=np.int32), *(fault.elements for fault in faults)])
    return replace(mesh, quad8=mesh.quad8[~np.isin(numbers, faulty)], boundaries={}) if len(faulty) else mesh


def _interfaces(mesh: Mesh) -> Iterator[Fault]:
    try:
        hanging, edges = hanging_nodes(mesh)
    except Crowded:
        yield Fault("the elements lie on top of each other; remove the duplicates")
        return
    if len(hanging):
        nodes, first = np.unique(hanging, return_index=True)
        yield Fault(
            f"{name_some(nodes, 'node', 'lie')} inside an edge of another element, such as node {nodes[0]} in the edge "
            f"{tuple(edges[first[0]].tolist())}: the elements there aren't connected; give both sides the same edges",
            nodes=nodes,
        )


def _boundaries(mesh: Mesh, usable: Mesh) -> Iterator[Fault]:
    """Edges of boundaries must be edges of elements; elements that can't be checked further count too."""
    exterior = usable.matched_edges.known
    every = np.concatenate([exterior.edges[:0], *(boundary.edges for boundary in mesh.boundaries.values())])
    if len(usable.boundaries) == len(mesh.boundaries) and (exterior.find(every) >= 0).all():
        return  # as in nearly all meshes: one search for any number of boundaries
    sides = KnownEdges(mesh.quad8[:, q8.EDGES].reshape(-1, 3))
    for name, boundary in mesh.boundaries.items():
        if name not in usable.boundaries:
            yield Fault(f"boundary {name!r} refers to nodes outside 0…{mesh.n_nodes - 1}", unusable=True)
            continue
        unknown = boundary.edges[exterior.find(boundary.edges) < 0]
        unknown = unknown[sides.find(unknown) < 0]
        if len(unknown):
            yield Fault(
                f"boundary {name!r} has edges that belong to no element, such as {tuple(unknown[0].tolist())} "
                f"({len(unknown)} in all); an edge is given by its nodes (end, mid-side, end)",
                nodes=np.unique(unknown),
            )


def _in_range(boundary: Boundary, n_nodes: int) -> bool:
    nodes = boundary.nodes  # sorted, and those of the edges are among them
    return not len(nodes) or bool(nodes[0] >= 0 and nodes[-1] < n_nodes)


def find_edges(edges: Ints, known: Ints) -> Ints:
    """The index in `known` of each of `edges` (a, mid, b), in either direction; -1 if it isn't there."""
    return KnownEdges(known).find(edges)


def edges_among(edges: Ints, known: Ints) -> Bools:
    """Whether each of `edges` is one of `known`, in either direction."""
    found: Bools = find_edges(edges, known) >= 0
    return found

"""The mesh: nodes, 8-node quadrilaterals, named boundaries, and what follows from its topology."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from fem_core.errors import MOST_ECHOED, MeshError, brief
from fem_core.mesh.matching import MatchedEdges, match_edges, mismatch_text
from fem_core.support.kinds import require
from fem_core.support.wording import count
from fem_core.types import Array, Floats, Ints

#: Two places are the same if they are at most this far apart, relative to the mesh's extent. All decisions by
#: position use it: which nodes are at an end, which nodes are merged, and whether blocks fit together.
SAME_PLACE = 1e-9

#: The largest number of nodes that a mesh is made with: more may not fit the 32-bit numbers of a lattice or of edges.
MOST_NODES = 500_000_000


#: Why a name isn't one.
NO_NAME = f"a name isn't empty, '.' or '..', has no / and no NUL, is Unicode and has at most {MOST_ECHOED} characters"


def is_valid_name(name: str) -> bool:
    """Whether a boundary can have this name: it is a group in HDF5 files, and messages tell it whole."""
    try:
        name.encode()
    except UnicodeEncodeError:  # half a character, or a byte that wasn't UTF-8
        return False
    return name not in ("", ".", "..") and not set(name) & {"/", "\0"} and len(name) <= MOST_ECHOED


def _frozen(values: Any, dtype: type, what: str) -> Array:
    """`values` as a contiguous read-only array of `dtype`: copied only if necessary."""
    try:
        given = np.asarray(values)
    except ValueError as error:
        raise MeshError(f"{what} must be an array: {error}") from None
    wanted = np.dtype(dtype)
    if given.size and given.dtype.kind not in ("iu" if wanted.kind == "i" else "iuf"):  # NumPy makes floats of []
        raise MeshError(f"{what} must hold {'integers' if wanted.kind == 'i' else 'numbers'}, not {given.dtype}")
    if wanted.kind == "i" and given.size and not -(2**31) <= int(given.min()) <= int(given.max()) < 2**31:
        raise MeshError(f"{what} has values that don't fit in 32 bits")
    array = np.ascontiguousarray(given, dtype=wanted)
    if array.flags.writeable:
        array = np.array(array) if np.may_share_memory(array, given) else array
        array.flags.writeable = False
    return array


def _first_of_each(rows: Ints) -> Array:
    """Where the first of equal rows (n, 3) stand, in ascending order."""
    order = np.lexsort(rows.T)  # which keeps the order of equal rows
    new = np.append(True, (rows[order[1:]] != rows[order[:-1]]).any(axis=1))
    return np.sort(order[new])


@dataclass(frozen=True, eq=False)
class Boundary:
    """A named part of the boundary.

    Parameters
    ----------
    edges : int32 (n, 3)
        Quadratic edges as nodes (a, mid, b), in the direction of their element. An edge counts once: repeated
        edges, in either direction, are removed.
    nodes : int32 (m,)
        Node numbers, sorted and unique: those of the edges, and others if they are given. An outlet may have nodes
        that are on none of its edges.
    """

    edges: Ints
    nodes: Ints

    def __post_init__(self) -> None:
        edges = _frozen(np.reshape(self.edges, (0, 3)) if np.size(self.edges) == 0 else self.edges, np.int32, "edges")
        if edges.ndim != 2 or edges.shape[1] != 3:
            raise MeshError(f"boundary edges must have shape (n, 3), not {edges.shape}")
        if len(edges) > 1 and len(first := _first_of_each(np.sort(edges, axis=1))) < len(edges):
            edges = edges[first]
        given = _frozen(self.nodes, np.int32, "boundary nodes")
        nodes = np.union1d(given, edges)  # else a condition on nodes would hold on a part of the edges only
        object.__setattr__(self, "edges", edges)
        object.__setattr__(self, "nodes", _frozen(nodes, np.int32, "boundary nodes"))

    def __reduce__(self) -> tuple[Any, ...]:
        return Boundary, (self.edges, self.nodes)

    @classmethod
    def from_edges(cls, edges: Ints) -> "Boundary":
        """The boundary with these `edges` and no other nodes than theirs."""
        return cls(edges, np.empty(0, dtype=np.int32))


@dataclass(frozen=True, eq=False)
class Mesh:
    """A mesh of 8-node quadrilaterals; an immutable value.

    Parameters
    ----------
    x, y : float64 (n_nodes,)
        Coordinates in metres.
    quad8 : int32 (n_elements, 8)
        Zero-based nodes of each element: corners 0-3 counter-clockwise, then the mid-sides of
        the edges (0,1), (1,2), (2,3), (3,0).
    boundaries : mapping of name to Boundary, optional
        Named boundaries. If there are none, `with_boundaries` finds `inlet`, `outlet` and `walls` by position.
    source : str
        Origin of the mesh (a file name), for messages.
    warnings, notes : tuple of str
        Possible problems of this mesh, and remarks of the reader, for example on parts that it left aside. The report
        of each run has them.
    lost : mapping of name to str
        Names in the file that are not boundaries here, and the reason. A condition on one of them is refused.
    by_position : tuple of str
        The boundaries that `with_boundaries` found by position.
    slits : bool
        Whether exterior edges that coincide are intended: plates of no thickness, with a wall on both sides. If False,
        a mesh with such edges isn't valid.

    Raises
    ------
    MeshError
        For wrong shapes or types. Values are checked by `validate_mesh`, which every reader and
        every stage calls.
    """

    x: Floats
    y: Floats
    quad8: Ints
    boundaries: Mapping[str, Boundary] = field(default_factory=dict)
    source: str = "mesh"
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    by_position: tuple[str, ...] = ()
    slits: bool = False
    # The result of `validate_mesh`. It isn't an argument, so `replace` and pickle drop it: a changed mesh is
    # checked again.
    _validated: "Mesh | None" = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require(self.source, str, "the source of a mesh must be its name", MeshError)
        require(self.boundaries, Mapping, f"{self.source}: boundaries must be a mapping of names", MeshError)
        x = _frozen(self.x, np.float64, f"{self.source}: x")
        y = _frozen(self.y, np.float64, f"{self.source}: y")
        quad8 = _frozen(self.quad8, np.int32, f"{self.source}: quad8")
        if x.ndim != 1 or x.shape != y.shape:
            raise MeshError(
                f"{self.source}: x and y must be one-dimensional and equally long, not {x.shape} and {y.shape}"
            )
        if quad8.ndim != 2 or quad8.shape[1] != 8:
            raise MeshError(f"{self.source}: quad8 must have shape (n_elements, 8), not {quad8.shape}")
        for name, value in (("x", x), ("y", y), ("quad8", quad8)):
            object.__setattr__(self, name, value)
        for name, boundary in self.boundaries.items():
            if not isinstance(name, str) or not is_valid_name(name):
                raise MeshError(f"{self.source}: {name!r} is not a valid name of a boundary; {NO_NAME}")
            if not isinstance(boundary, Boundary):
                raise MeshError(f"{self.source}: boundary {name!r} must be a Boundary, not {boundary!r}")
        for name in ("warnings", "notes"):
            object.__setattr__(self, name, tuple(map(brief, getattr(self, name))))
        for name in ("boundaries", "lost"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))

    def __reduce__(self) -> tuple[Any, ...]:
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.init}
        return partial(Mesh, **values | {"boundaries": dict(self.boundaries), "lost": dict(self.lost)}), ()

    def __repr__(self) -> str:
        names = ", ".join(self.boundaries) or "none"
        size = f"{count(self.n_nodes, 'node')}, {count(self.n_elements, 'element')}"
        return f"<Mesh {self.source}: {size}, boundaries: {names}>"

    def mark_valid(self, valid: "Mesh | None" = None) -> "Mesh":
        """Mark this mesh as validated: `validate_mesh` then returns `valid` (default: this mesh) without checks.

        Each mesh is thus validated only once. A test can also pass an invalid mesh to a stage. Returns `valid`.
        """
        valid = valid or self
        for mesh in (self, valid):
            object.__setattr__(mesh, "_validated", valid)
        return valid

    @property
    def n_nodes(self) -> int:
        return len(self.x)

    @property
    def n_elements(self) -> int:
        return len(self.quad8)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the topology (the connectivity and the number of nodes), not of the geometry."""
        digest = hashlib.blake2b(self.quad8.data, digest_size=16)
        digest.update(str(self.n_nodes).encode())
        return digest.hexdigest()

    @cached_property
    def used_nodes(self) -> Ints:
        """Nodes that belong to an element, sorted."""
        return np.flatnonzero(self._use).astype(np.int32)

    @cached_property
    def orphan_nodes(self) -> Ints:
        """Nodes that belong to no element, sorted; every backend fixes them at 0."""
        return np.flatnonzero(~self._use).astype(np.int32)

    @cached_property
    def _use(self) -> Array:
        use = np.zeros(self.n_nodes, dtype=bool)
        use[self.quad8.ravel()] = True
        return use

    @cached_property
    def extent(self) -> float:
        """The larger side of the box around the used nodes, in metres."""
        used = self.used_nodes
        return float(max(np.ptp(self.x[used]), np.ptp(self.y[used])))

    @cached_property
    def exterior_edges(self) -> Ints:
        """Edges that belong to one element only, as nodes (a, mid, b), in element order: int32 (n, 3).

        Raises MeshError if more than two elements share an edge, or if two elements share the
        corners of an edge but not its mid-side node, or lie on the same side of the edge.
        """
        for kind, elements in self.matched_edges.mismatches.items():
            raise MeshError(f"{self.source}: {mismatch_text(kind, elements)}")
        return self.matched_edges.exterior

    @cached_property
    def matched_edges(self) -> MatchedEdges:
        """The exterior edges, and the edges that don't match; needs only that all nodes of the elements exist."""
        return match_edges(self.quad8, self.n_nodes)

    @cached_property
    def is_named(self) -> Array:
        """Whether each exterior edge is in a boundary other than the walls: bool (n,)."""
        edges = self.matched_edges.known
        own = [boundary.edges for name, boundary in self.boundaries.items() if name != "walls"]
        place = edges.find(np.concatenate([edges.edges[:0], *own]))
        named = np.zeros(len(edges.edges), dtype=bool)
        named[place[place >= 0]] = True
        return named

    @cached_property
    def components(self) -> tuple[int, Ints]:
        """Number of connected components and the component of each element, int32 (n_elements,)."""
        n, m = self.n_elements, self.n_nodes
        rows = np.repeat(np.arange(n, dtype=np.int32), 4)
        corners = self.quad8[:, :4].ravel() + n
        graph = sparse.coo_array((np.ones(4 * n, dtype=bool), (rows, corners)), shape=(n + m, n + m))
        _, label = csgraph.connected_components(graph, directed=False)
        names, label = np.unique(label[:n], return_inverse=True)
        return len(names), label.astype(np.int32)

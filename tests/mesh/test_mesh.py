"""The mesh as a value: what it refuses, what follows from its topology, immutability, pickling."""

import pickle
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from fem_core import Boundary, Mesh, MeshError
from fem_core.mesh.matching import Mismatch
from hypothesis import given
from meshes import lattice, moved, renumbered, small_meshes, squares, two_parts

X, Y = np.array([0, 1, 1, 0, 0.5, 1, 0.5, 0]), np.array([0, 0, 1, 1, 0, 0.5, 1, 0.5])
ONE = np.arange(8)[None]


# ── construction ─────────────────────────────────────────────────────────────────────────────


def test_arrays_are_brought_to_their_types():
    # Backends index with int32 and compute in float64; a list, int64 or float32 must not reach them.
    mesh = Mesh(X.astype(np.float32), Y.tolist(), ONE.astype(np.int64))
    assert [a.dtype for a in (mesh.x, mesh.y, mesh.quad8)] == [np.float64, np.float64, np.int32]
    assert all(a.flags.c_contiguous for a in (mesh.x, mesh.y, mesh.quad8))


def test_a_mesh_does_not_change_with_the_arrays_it_was_made_from():
    # Its fingerprint and its validation would be those of another mesh.
    x, y, quad8 = X.copy(), Y.copy(), ONE.astype(np.int32)
    mesh = Mesh(x, y, quad8)
    for given_, kept in ((x, mesh.x), (y, mesh.y), (quad8, mesh.quad8)):
        assert given_.flags.writeable
        given_[...] = -1
        assert (kept != -1).any()


def test_arrays_of_another_mesh_are_not_copied():
    # A million nodes are kept once.
    mesh = Mesh(X, Y, ONE)
    assert np.shares_memory(replace(mesh, source="again").x, mesh.x)


def test_an_element_listed_twice_is_refused():
    # Where all edges are shared by two elements, nothing else would notice, and u would be half of what it should be.
    with pytest.raises(MeshError, match="overlap, at element 1; remove the duplicates"):
        _ = Mesh(X, Y, np.concatenate([ONE, ONE])).exterior_edges


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": X[:7]}, r"^file: x and y must be one-dimensional and equally long, not \(7,\) and \(8,\)$"),
        ({"x": X[None], "y": Y[None]}, r"^file: x and y must be one-dimensional"),
        ({"x": X.astype(str)}, "^file: x must hold numbers, not <U"),
        ({"x": X * 1j}, "^file: x must hold numbers, not complex128$"),
        ({"y": Y > 0}, "^file: y must hold numbers, not bool$"),
        ({"quad8": ONE[:, :4]}, r"^file: quad8 must have shape \(n_elements, 8\), not \(1, 4\)$"),
        ({"quad8": ONE[0]}, r"^file: quad8 must have shape \(n_elements, 8\), not \(8,\)$"),
        ({"quad8": ONE * 1.0}, "^file: quad8 must hold integers, not float64$"),
        ({"quad8": ONE + 2**31}, "^file: quad8 has values that don't fit in 32 bits$"),
        ({"quad8": ONE.astype(np.uint64) + 2**63}, "^file: quad8 has values that don't fit in 32 bits$"),
        ({"boundaries": {"": Boundary([], [0])}}, "^file: '' is not a valid name of a boundary; a name isn't empty"),
        (
            {"boundaries": {"in\0let": Boundary([], [0])}},
            "^file: 'in.x00let' is not a valid name .* has no / and no NUL",
        ),
        ({"boundaries": {"in\udcfflet": Boundary([], [0])}}, "^file: 'in.udcfflet' is not a valid name .*is Unicode"),
        ({"boundaries": {"a/b": Boundary([], [0])}}, "^file: 'a/b' is not a valid name of a boundary; a name isn't"),
    ],
)
def test_wrong_shapes_and_types_are_refused_by_name(changes, message):
    # The message is all that a user sees of it.
    with pytest.raises(MeshError, match=message):
        Mesh(**{"x": X, "y": Y, "quad8": ONE, "source": "file", **changes})


@pytest.mark.parametrize(
    ("edges", "nodes", "message"),
    [
        ([[0, 1]], [0], r"boundary edges must have shape \(n, 3\), not \(1, 2\)"),
        ([0, 1, 2], [0], r"boundary edges must have shape \(n, 3\), not \(3,\)"),
        ([[0.0, 1.0, 2.0]], [0], "edges must hold integers, not float64"),
        ([], [0.5], "boundary nodes must hold integers, not float64"),
    ],
)
def test_boundaries_of_wrong_shapes_and_types_are_refused(edges, nodes, message):
    # An edge list of pairs or floats would otherwise be taken for something else.
    with pytest.raises(MeshError, match=message):
        Boundary(edges, nodes)


def test_boundary_nodes_are_sorted_and_unique_and_may_exceed_the_edges():
    # An outlet may hold nodes whose edge isn't complete.
    boundary = Boundary([[4, 5, 6]], [9, 4, 6, 5, 4])
    assert boundary.nodes.tolist() == [4, 5, 6, 9]
    assert Boundary.from_edges([[4, 5, 6], [6, 3, 2]]).nodes.tolist() == [2, 3, 4, 5, 6]


# ── immutability and copies ──────────────────────────────────────────────────────────────────


def arrays(mesh):
    boundaries = [a for b in mesh.boundaries.values() for a in (b.edges, b.nodes)]
    return [mesh.x, mesh.y, mesh.quad8, *boundaries]


@pytest.mark.parametrize("copy", [lambda mesh: mesh, lambda mesh: pickle.loads(pickle.dumps(mesh))])
def test_a_mesh_can_t_be_changed(copy):
    # The fingerprint and the validation are remembered: a change would make them lies. Also after a pickle.
    mesh = copy(squares(2))
    for array in arrays(mesh):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(FrozenInstanceError):
        mesh.x = X
    with pytest.raises(TypeError):
        mesh.boundaries["new"] = Boundary([], [0])


@given(small_meshes())
def test_a_pickled_mesh_is_the_same(mesh):
    # Meshes are sent to worker processes.
    mesh = replace(mesh, source="name.h5", warnings=("careful",))
    copy = pickle.loads(pickle.dumps(mesh))
    for a, b in zip(arrays(mesh), arrays(copy), strict=True):
        assert np.array_equal(a, b)
        assert a.dtype == b.dtype
    assert (mesh.source, mesh.warnings, mesh.fingerprint) == (copy.source, copy.warnings, copy.fingerprint)
    assert list(mesh.boundaries) == list(copy.boundaries)


# ── topology ─────────────────────────────────────────────────────────────────────────────────


def test_fingerprint_depends_on_the_topology_only():
    # The sparsity is kept under it: equal for moved nodes, different for any change of the pattern.
    mesh = squares(3)
    assert mesh.fingerprint == squares(3, width=7.0).fingerprint == moved(mesh, angle=1.0).fingerprint
    assert mesh.fingerprint == replace(mesh, boundaries={}, source="other").fingerprint
    others = [
        squares(3, 4),
        replace(mesh, quad8=mesh.quad8[::-1]),
        replace(mesh, x=np.append(mesh.x, 0), y=np.append(mesh.y, 0)),
        replace(mesh, quad8=mesh.quad8[:, [1, 2, 3, 0, 5, 6, 7, 4]]),
    ]
    assert len({m.fingerprint for m in (mesh, *others)}) == 5


def test_orphan_nodes_are_those_in_no_element():
    # Real meshes have tens of thousands, in the middle of the numbering too.
    mesh, node, _ = renumbered(squares(2), seed=4, orphans=5)
    assert mesh.used_nodes.tolist() == sorted(node)
    assert mesh.orphan_nodes.tolist() == sorted(set(range(mesh.n_nodes)) - set(node))
    assert len(mesh.orphan_nodes) == 5


def test_extent_is_that_of_the_used_nodes():
    # A stray orphan far away must not widen the tolerance of the boundaries.
    mesh = squares(2, width=3.0)
    assert replace(mesh, x=np.append(mesh.x, 1e6), y=np.append(mesh.y, 0)).extent == 3.0


def test_exterior_edges_of_a_square_of_four():
    # In element order, each edge in the direction of its element: the inside is on the left.
    mesh = squares(2)
    edges = mesh.exterior_edges
    assert edges.shape == (8, 3)
    xy = np.stack([mesh.x, mesh.y], axis=1)
    a, mid, b = (xy[edges[:, i]] for i in range(3))
    assert np.array_equal(0.5 * (a + b), mid)
    inward = 0.5 - mid
    along = b - a
    assert np.all(along[:, 0] * inward[:, 1] - along[:, 1] * inward[:, 0] > 0)
    owner = [np.flatnonzero(np.isin(mesh.quad8, edge).sum(axis=1) == 3)[0] for edge in edges]
    assert owner == sorted(owner)


@given(small_meshes())
def test_exterior_edges_are_those_named_by_the_builder(mesh):
    # Independent of position: a count over all edges against the sides the mesh was built with.
    named = np.concatenate([b.edges for b in mesh.boundaries.values()])
    assert {frozenset(edge) for edge in mesh.exterior_edges.tolist()} == {frozenset(e) for e in named.tolist()}
    assert len(mesh.exterior_edges) == len(named)


def test_an_edge_of_three_elements_is_refused():
    # Doubled elements come from careless mesh generators; elements are named.
    mesh = squares(2)
    bad = replace(mesh, quad8=np.concatenate([mesh.quad8, mesh.quad8[3:]]))
    with pytest.raises(MeshError, match="more than two elements share an edge, at element 3; merge or remove"):
        _ = bad.exterior_edges


def test_neighbours_with_different_mid_sides_are_refused():
    # Corners merged, mid-sides forgotten: a slit that flow would not cross properly.
    mesh = squares(2, 1)
    quad8 = mesh.quad8.copy()
    quad8[1, 7] = mesh.n_nodes
    bad = replace(mesh, x=np.append(mesh.x, 0.5), y=np.append(mesh.y, 0.5 + 1e-9), quad8=quad8)
    with pytest.raises(MeshError, match="share the corners of an edge but not its mid-side node, at element 1;"):
        _ = bad.exterior_edges


def test_edges_that_do_not_match_are_told_by_kind_and_element():
    # Whoever mends a mesh asks for these, not for words.
    mesh = squares(2)
    doubled = replace(mesh, quad8=np.concatenate([mesh.quad8, mesh.quad8[3:]])).matched_edges
    assert {kind: elements.tolist() for kind, elements in doubled.mismatches.items()} == {
        Mismatch.THRICE: [3],
        Mismatch.OVERLAP: [4],
    }
    assert squares(2).matched_edges.mismatches == {}


def test_components_are_counted_and_numbered():
    # Each part of the mesh needs something that holds the level of u.
    number, of_element = squares(3).components
    assert (number, set(of_element)) == (1, {0})
    number, of_element = two_parts().components
    assert number == 2
    assert len(set(of_element[:4])) == len(set(of_element[4:])) == 1
    assert of_element[0] != of_element[4]
    orphaned, _, _ = renumbered(squares(2), orphans=3)
    assert orphaned.components[0] == 1


def test_repr_says_what_it_is():
    # It is what an interactive user sees first.
    assert repr(squares(2)) == "<Mesh mesh: 21 nodes, 4 elements, boundaries: inlet, outlet, walls>"
    assert repr(Mesh(X, Y, ONE, source="a.h5")) == "<Mesh a.h5: 8 nodes, 1 element, boundaries: none>"


def test_the_builder_of_these_tests_counts_right():
    # Everything here rests on it: nodes, elements and sides of a 3 x 2 lattice.
    mesh = lattice(*np.meshgrid(np.linspace(0, 3, 7), np.linspace(0, 2, 5)))
    assert (mesh.n_nodes, mesh.n_elements) == (29, 6)
    assert [len(mesh.boundaries[name].edges) for name in ("inlet", "outlet", "walls")] == [2, 2, 6]
    assert np.array_equal(mesh.x[mesh.quad8[0]], [0, 1, 1, 0, 0.5, 1, 0.5, 0])
    assert np.array_equal(mesh.y[mesh.quad8[0]], [0, 0, 1, 1, 0, 0.5, 1, 0.5])

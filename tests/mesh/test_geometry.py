"""The one policy for geometry: what is refused, by which words, and what is turned round."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from fem_core import Boundary, Mesh, MeshError, assemble_system, solve, validate_mesh, with_boundaries
from fem_core.mesh import det_jacobian
from fem_core.mesh import quad8 as q8
from fem_core.mesh.geometry import edge_lengths, mesh_faults
from hypothesis import given
from meshes import distorted, small_meshes, squares


def changed(mesh: Mesh, **entries) -> Mesh:
    """`mesh` with single entries of its arrays replaced: x={node: value} or quad8={(element, i): node}."""
    arrays = {}
    for name, values in entries.items():
        arrays[name] = getattr(mesh, name).copy()
        for at, value in values.items():
            arrays[name][at] = value
    return replace(mesh, **arrays)


def refusal(mesh: Mesh) -> str:
    with pytest.raises(MeshError) as refused:
        validate_mesh(mesh)
    text = str(refused.value)
    assert "\n" not in text
    assert text.startswith("mesh: ")
    return text.removeprefix("mesh: ")


def clockwise(mesh: Mesh, elements=slice(None)) -> Mesh:
    quad8 = mesh.quad8.copy()
    quad8[elements] = quad8[elements][:, q8.REVERSED]
    return replace(mesh, quad8=quad8)


# ── det J ────────────────────────────────────────────────────────────────────────────────────


def test_det_jacobian_is_taken_at_both_rules():
    # At the 9 points of the stiffness and the 4 of the velocity, by NumPy's determinant for comparison.
    mesh = distorted(4, 3, seed=5)
    det = det_jacobian(mesh)
    assert det.shape == (12, 13)
    xy = np.stack([mesh.x[mesh.quad8], mesh.y[mesh.quad8]], axis=-1)
    for part, dn in ((det[:, :9], q8.DN_3X3), (det[:, 9:], q8.DN_2X2)):
        np.testing.assert_allclose(part, np.linalg.det(np.einsum("qdi,eix->eqdx", dn, xy)), rtol=1e-13)


@given(small_meshes())
def test_det_jacobian_integrates_to_the_area(mesh):
    # A wrong determinant would still be positive; its integral wouldn't be the area.
    area = det_jacobian(mesh)[:, :9] @ q8.WEIGHTS_3X3
    assert area.sum() == pytest.approx(np.ptp(mesh.x[mesh.used_nodes]) * np.ptp(mesh.y[mesh.used_nodes]), rel=1e-12)


# ── accepted ─────────────────────────────────────────────────────────────────────────────────


@given(small_meshes())
def test_a_valid_mesh_is_returned_itself(mesh):
    # And remembered, so that every stage may ask again at no cost.
    assert validate_mesh(mesh) is mesh
    assert mesh._validated is mesh


def test_a_changed_mesh_is_validated_anew():
    # Whatever is known of the mesh it was made from; a copy in another process doesn't know either.
    mesh = validate_mesh(squares(2))
    assert "det J <= 0" in refusal(replace(mesh, source="mesh", x=-mesh.x, quad8=clockwise(mesh, [0]).quad8))
    for again in (replace(mesh), pickle.loads(pickle.dumps(mesh)), copy.copy(mesh)):
        assert again._validated is None


def test_a_mesh_marked_as_valid_is_taken_as_it_is():
    # What the conformance kit does to look at elements that would be refused.
    folded = clockwise(squares(3), [4])
    assert validate_mesh(folded.mark_valid()) is folded


def test_orphan_nodes_may_lie_anywhere_finite():
    # Also on top of a used node: they belong to nothing.
    mesh = squares(2)
    extra = replace(mesh, x=np.append(mesh.x, mesh.x[:2]), y=np.append(mesh.y, mesh.y[:2]))
    assert validate_mesh(extra) is extra


# ── refused: connectivity ────────────────────────────────────────────────────────────────────


def test_no_elements():
    # Nothing to solve; an empty array would crash much later.
    assert refusal(Mesh([0.0], [0.0], np.empty((0, 8), int))) == "the mesh has no elements"


@pytest.mark.parametrize("bad", [-1, 21, 2**31 - 1])
def test_indices_out_of_range(bad):
    # NumPy would take -1 for the last node without a word.
    text = refusal(changed(squares(2), quad8={(1, 5): bad, (3, 0): bad}))
    assert text.startswith("elements 1, 3 refer to nodes outside 0…20 (found ")
    assert f"{bad}" in text
    assert "start at 1" not in text


def test_one_based_connectivity_is_recognised():
    # The commonest mistake of all gets a hint.
    mesh = squares(2)
    text = refusal(replace(mesh, quad8=mesh.quad8 + 1, boundaries={}))
    assert text.endswith("(found 1…21); node numbers start at 0, but these seem to start at 1")


def test_only_the_first_elements_are_named_and_all_are_counted():
    # A message about thousands of elements stays one readable line.
    mesh = squares(4)
    quad8 = mesh.quad8.copy()
    quad8[3:, 2] = 999
    assert "elements 3, 4, 5, 6, 7, … (13 in all) refer to" in refusal(replace(mesh, quad8=quad8))


def test_a_node_twice_in_an_element():
    # A degenerate quadrilateral (a triangle in disguise), with det J > 0 at every Gauss point.
    mesh = squares(2)
    assert refusal(changed(mesh, quad8={(2, 6): mesh.quad8[2, 3]})).startswith(
        "element 2 has a corner as a mid-side node; each side needs a node of its own in its middle"
    )
    assert refusal(changed(mesh, quad8={(2, 6): mesh.quad8[2, 5]})).startswith("element 2 names the same node twice")
    collapsed = changed(mesh, quad8={(2, 3): mesh.quad8[2, 2], (2, 6): mesh.quad8[2, 2]})
    assert refusal(collapsed).startswith(
        "element 2 repeats a corner: triangles written as quadrilaterals; fem convert MESH -o OUT splits them"
    )


@pytest.mark.parametrize("boundary", [Boundary([[0, 1, 99]], [0]), Boundary([], [-3]), Boundary([], [21])])
def test_boundaries_out_of_range(boundary):
    # They come from files too.
    mesh = replace(squares(2), boundaries={"hot": boundary})
    assert refusal(mesh) == "boundary 'hot' refers to nodes outside 0…20"


# ── refused: coordinates ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", ["x", "y"])
def test_coordinates_that_are_not_finite(axis, bad):
    # NaN compares false with everything and would slip through det J <= 0.
    assert refusal(changed(squares(2), **{axis: {4: bad, 7: bad}})) == "nodes 4, 7 have NaN or infinite coordinates"


def test_a_nan_that_signals():
    # Of another bit pattern, as a damaged file has it: arithmetic with it warns, the check doesn't.
    mesh = squares(2)
    x = mesh.x.copy()
    x.view(np.uint64)[4] = 0x7FF4000000000000
    (fault,) = mesh_faults(replace(mesh, x=x))
    assert fault.text == "node 4 has NaN or infinite coordinates"
    assert np.isnan(edge_lengths(replace(mesh, x=x), mesh.quad8[1:2, [1, 5, 2]])).all()
    x[4] = -1.7e308
    assert not np.isfinite(edge_lengths(replace(mesh, x=x), mesh.quad8[1:2, [0, 4, 1]])).all()


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        ((1e-170, 1e-170), "small"),
        ((1e-160, 1e-160), "small"),
        ((1.0, 1e-200), "small"),
        ((1e160, 1e160), "large"),
        ((1e160, 1e-160), "large"),
        ((1e308, 1e-300), "large"),
    ],
)
def test_coordinates_whose_products_leave_the_range_of_floats(scale, message):
    # det J or what is made of it underflows or overflows: the mesh is to blame, not the backend whose matrix has NaN.
    mesh = squares(2)
    refused = refusal(replace(mesh, x=mesh.x * scale[0], y=mesh.y * scale[1]))
    assert (
        refused == f"elements 0, 1, 2, 3 are too {message} for floating-point numbers; give the coordinates in metres"
    )


def test_an_element_without_area_is_degenerate_however_small():
    mesh = squares(2)
    assert refusal(replace(mesh, x=mesh.x * 1e-160 + 1e-161 * mesh.y, y=mesh.y * 0)).startswith("det J <= 0 at a Gauss")


def test_coincident_nodes():
    # Two squares side by side whose shared side exists twice: no flow would cross.
    one = squares(1)
    x, y = np.append(one.x, one.x + 1), np.append(one.y, one.y)
    text = refusal(Mesh(x, y, np.concatenate([one.quad8, one.quad8 + 8])))
    named = [set(pair.split(" and ")) for pair in text.removeprefix("nodes ").split(" coincide")[0].split(", ")]
    where = {(x, y): set() for x, y in zip(one.x, one.y, strict=True) if x == 1}
    for i in range(16):
        if (x[i], y[i]) in where:
            where[x[i], y[i]].add(str(i))
    assert sorted(map(sorted, named)) == sorted(map(sorted, where.values()))
    assert "coincide along 1 pair of edges: blocks of the mesh are not merged, or this is a plate of no thick" in text


def test_nodes_that_coincide_at_a_corner_only():
    # The parts touch; no pair of edges does.
    one = squares(1)
    x, y = np.append(one.x, one.x + 1), np.append(one.y, one.y + 1)
    text = refusal(Mesh(x, y, np.concatenate([one.quad8, one.quad8 + 8])))
    assert text.endswith("coincide; merge them so that their elements connect")


def test_edges_that_do_not_match():
    # `exterior_edges` finds them; validation must ask it.
    mesh = squares(2, 1)
    quad8 = mesh.quad8.copy()
    quad8[1, 7] = mesh.n_nodes
    torn = replace(mesh, x=np.append(mesh.x, 0.5), y=np.append(mesh.y, 0.5 + 1e-9), quad8=quad8)
    assert refusal(torn).startswith("neighbours share the corners of an edge but not its mid-side node")


# ── refused: det J ───────────────────────────────────────────────────────────────────────────


def test_a_single_clockwise_element():
    # No backend takes |det J| or drops the element.
    text = refusal(clockwise(squares(3), [4]))
    assert text.startswith("det J <= 0 at a Gauss point of element 4: clockwise while the other")


def test_a_folded_element():
    # A corner pushed through the opposite side.
    mesh = squares(3)
    corner = mesh.quad8[8, 2]
    text = refusal(changed(mesh, x={corner: 0.5}, y={corner: 0.5}))
    assert text.startswith("det J <= 0 at a Gauss point of element 8: folded or")


def test_swapped_mid_sides():
    # Netgen's order taken for ours: corners are right, the mid-sides are not.
    mesh = squares(2)
    text = refusal(replace(mesh, quad8=mesh.quad8[:, [0, 1, 2, 3, 4, 7, 5, 6]]))
    assert "det J <= 0 at a Gauss point of elements 0, 1, 2, 3: folded or degenerate" in text


def test_a_flat_element():
    # det J = 0 everywhere.
    mesh = squares(1, height=0.0)
    assert "coincide" in refusal(mesh)
    sheared = replace(mesh, x=q8.NODES[:, 0] + 3 * q8.NODES[:, 1], y=0 * mesh.x, quad8=np.arange(8)[None])
    assert refusal(sheared).startswith("det J <= 0 at a Gauss point of element 0")


def with_mid_side(x4: float, y4: float) -> Mesh:
    """The reference square with its lower mid-side moved by (x4, y4)."""
    x, y = q8.NODES.T.copy()
    return Mesh(x + x4 * (np.arange(8) == 4), y + y4 * (np.arange(8) == 4), np.arange(8)[None])


T = 0.6**0.5  # the outer point of the 3-point rule


@pytest.mark.parametrize(
    ("x4", "y4"),
    [
        (0, 2),  # det J = 1 - ½ y₄ (1 - ξ²) is least at ξ = 0
        (1 / (T * (1 + T)), 0),  # det J = 1 - x₄ ξ (1 - η) is negative in a corner from x₄ = ½
    ],
)
def test_the_gauss_points_decide(x4, y4):
    # Neither the centre nor the corners: right up to the limit accepted, right after it refused.
    for less in (1e-9, 0.3):
        mesh = with_mid_side((1 - less) * x4, (1 - less) * y4)
        assert validate_mesh(mesh) is mesh
    for more in (1e-9, 0.3):
        text = refusal(with_mid_side((1 + more) * x4, (1 + more) * y4))
        assert text.startswith("det J <= 0 at a Gauss point of element 0: folded or degenerate")


# ── orientation ──────────────────────────────────────────────────────────────────────────────


def test_a_clockwise_mesh_is_turned_round_with_a_warning():
    # The same matrix, entry by entry, and boundaries that run the right way.
    mesh = distorted(3, 2, seed=1)
    flipped = clockwise(mesh)
    flipped = replace(flipped, boundaries={n: Boundary(b.edges[:, ::-1], b.nodes) for n, b in mesh.boundaries.items()})
    turned = validate_mesh(flipped)
    assert turned.warnings == ("all 6 elements were clockwise and have been reversed",)
    assert np.array_equal(mesh.quad8, turned.quad8)
    for name in mesh.boundaries:
        assert np.array_equal(mesh.boundaries[name].edges, turned.boundaries[name].edges)
    assert np.array_equal(assemble_system(mesh).matrix.toarray(), assemble_system(flipped).matrix.toarray())


def test_a_mirrored_mesh_solves_like_its_original():
    # What users have: coordinates mirrored (a y axis that points down), named boundaries or not.
    mesh = distorted(4, 3, seed=8, width=2.0)
    for given_ in (mesh, replace(mesh, boundaries={})):
        mirrored = solve(replace(given_, y=-given_.y), backend="numpy", solver="direct")
        np.testing.assert_allclose(mirrored.u, solve(mesh, backend="numpy", solver="direct").u, rtol=1e-10, atol=1e-11)
        assert mirrored.report.warnings == ("all 12 elements were clockwise and have been reversed",)


def test_the_turned_mesh_is_remembered():
    # Validating the original again gives the same object, and the turned one is valid.
    flipped = clockwise(squares(2))
    turned = validate_mesh(flipped)
    assert validate_mesh(flipped) is turned
    assert validate_mesh(turned) is turned
    assert with_boundaries(turned).warnings == turned.warnings


def test_boundary_edges_must_be_edges_of_elements():
    # A load on an edge that isn't there would be assembled all the same.
    mesh = squares(2)
    a, mid, b = mesh.boundaries["inlet"].edges[0]
    for edge in ((a, b, mid), (a, mid, mesh.quad8[-1, 2])):
        wrong = replace(mesh, boundaries={"side": Boundary.from_edges(np.array([edge]))})
        with pytest.raises(MeshError, match="boundary 'side' has edges that belong to no element, such as"):
            validate_mesh(wrong)


def test_boundary_edges_may_lie_inside_and_run_either_way():
    # A condition on an inner line is unusual, not wrong.
    mesh = squares(2)
    inner = np.array([mesh.quad8[0, [1, 5, 2]], mesh.quad8[0, [2, 5, 1]]])
    validate_mesh(replace(mesh, boundaries={"line": Boundary.from_edges(inner)}))


@pytest.mark.parametrize("other", [3, "mesh.h5", None])
def test_what_is_no_mesh_is_refused_by_name(other):
    with pytest.raises(MeshError, match=r"mesh must be a fem_core\.Mesh, not .*; read_mesh reads one from a file"):
        validate_mesh(other)

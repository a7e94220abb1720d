"""Inlet, outlet and walls by position, and where names win over it."""

from dataclasses import replace

import numpy as np
import pytest
from fem_core import Boundary, Dirichlet, Mesh, MeshError, Problem, ProblemError, solve, with_boundaries
from hypothesis import given
from meshes import distorted, moved, small_meshes, squares


def bare(mesh: Mesh) -> Mesh:
    return replace(mesh, boundaries={})


def edge_set(edges) -> set[tuple[int, ...]]:
    return {tuple(edge) for edge in np.asarray(edges).tolist()}


@given(small_meshes())
def test_the_geometric_rule_finds_the_sides_of_a_duct(mesh):
    # The reference rule, on any mesh whose ends are at min x and max x.
    found = with_boundaries(bare(mesh))
    assert list(found.boundaries) == ["inlet", "outlet", "walls"]
    for name, boundary in mesh.boundaries.items():
        assert {frozenset(e) for e in boundary.edges.tolist()} == {
            frozenset(e) for e in found.boundaries[name].edges.tolist()
        }
        assert np.array_equal(boundary.nodes, found.boundaries[name].nodes)


@given(small_meshes())
def test_every_exterior_edge_has_one_boundary(mesh):
    # None lost, none twice.
    found = with_boundaries(bare(mesh))
    edges = [edge for b in found.boundaries.values() for edge in b.edges.tolist()]
    assert sorted(edges) == sorted(found.exterior_edges.tolist())


def pointed() -> Mesh:
    """A duct whose right end is a point: the mid-side of its last side, bulging outwards."""
    mesh = squares(2, 1)
    x = mesh.x.copy()
    x[(mesh.x == 1) & (mesh.y == 0.5)] = 1.1
    return bare(replace(mesh, x=x))


def test_the_outlet_takes_nodes_that_complete_no_edge():
    # Reference rule: nodes at max x are fixed even where no edge lies there; such an edge is wall.
    mesh = pointed()
    found = with_boundaries(mesh).boundaries
    assert found["outlet"].nodes.tolist() == np.flatnonzero(mesh.x == 1.1).tolist()
    assert found["outlet"].edges.shape == (0, 3)
    assert len(found["walls"].edges) == 5


def test_orphan_nodes_do_not_count():
    # An orphan to the left and right of everything, and one at max x.
    mesh = squares(2)
    with_orphans = bare(replace(mesh, x=np.append(mesh.x, [-9, 9, 1]), y=np.append(mesh.y, [0, 0, 7])))
    found = with_boundaries(with_orphans).boundaries
    for name in ("inlet", "outlet"):
        assert np.array_equal(mesh.boundaries[name].nodes, found[name].nodes)


def shaken(by: float) -> Mesh:
    """A duct of length 4 with one node of each end off by `by`."""
    mesh = squares(4, 2, width=4.0)
    x = mesh.x.copy()
    x[(mesh.x == 0) & (mesh.y == 0.75)] += by
    x[(mesh.x == 4) & (mesh.y == 0.75)] -= by
    return bare(replace(mesh, x=x))


@pytest.mark.parametrize(
    ("by", "tolerance", "inlet", "outlet", "near"),
    [
        (3.9e-9, 1e-9, 2, 5, 0),  # within 1e-9 of the extent
        (4.1e-9, 1e-9, 1, 4, 1),  # outside, but close: warned about
        (4.1e-9, 1e-8, 2, 5, 0),  # within a wider tolerance
        (3.9e-4, 1e-9, 1, 4, 1),
        (4.1e-4, 1e-9, 1, 4, 0),  # too far to be meant
    ],
)
def test_the_tolerance_is_relative_to_the_extent(by, tolerance, inlet, outlet, near):
    # Extent 4: one mid-side off its end costs the inlet an edge and the outlet a node.
    found = with_boundaries(shaken(by), tolerance)
    assert len(found.boundaries["inlet"].edges) == inlet
    assert len(found.boundaries["outlet"].nodes) == outlet
    assert len(found.warnings) == 2 * near
    if near:
        node = np.flatnonzero((found.x < 1) & (found.x > 0) & (found.y == 0.75))[0]
        assert found.warnings[0].startswith(
            f"1 node lies close to min x = 0 but outside the tolerance of {tolerance:g} x extent, "
            f"and is not part of the inlet: {node}; a boundary tolerance of "
        )


def test_the_real_mesh_with_two_nodes_beside_its_outlet(real_mesh):
    # y_tube_201: they miss max x by 3.5e-6 and 7.1e-6 m; the reference rule leaves them out.
    mesh = real_mesh("y_tube_201")
    assert len(mesh.warnings) == 1
    assert mesh.warnings[0].endswith("not part of the outlet: 29, 32; a boundary tolerance of 2.4e-06 includes them")
    assert {29, 32} <= set(with_boundaries(bare(mesh), 2.4e-6).boundaries["outlet"].nodes.tolist())
    assert not {29, 32} & set(mesh.boundaries["outlet"].nodes.tolist())
    assert {29, 32} <= set(with_boundaries(bare(mesh), 1e-5).boundaries["outlet"].nodes.tolist())


def test_names_stored_with_the_mesh_win():
    # A duct turned by a quarter has its ends where the rule would not look.
    mesh = squares(3, 2)
    turned = moved(mesh, angle=np.pi / 2)
    assert with_boundaries(turned) is turned


def test_a_missing_end_is_found_by_position_on_request_only():
    # A mesh that names only its inlet, half-way up: the outlet by position, the walls from what is left.
    mesh = squares(2)
    top = mesh.exterior_edges[(mesh.y[mesh.exterior_edges] == 1).all(axis=1)]
    half = replace(mesh, boundaries={"INLET": Boundary.from_edges(top)})
    assert list(with_boundaries(half).boundaries) == ["INLET", "walls"]
    found = with_boundaries(half, by_position=True)
    assert found.by_position == ("outlet",)
    assert list(found.boundaries) == ["INLET", "outlet", "walls"]
    assert edge_set(found.boundaries["INLET"].edges) == edge_set(top)
    assert np.array_equal(found.boundaries["outlet"].nodes, mesh.boundaries["outlet"].nodes)
    assert len(found.boundaries["walls"].edges) == 4
    assert not edge_set(found.boundaries["walls"].edges) & edge_set(top)


def test_other_names_are_kept_and_are_not_walls():
    # A heated part of the wall, its edges in either direction.
    mesh = squares(2)
    bottom = mesh.exterior_edges[(mesh.y[mesh.exterior_edges] == 0).all(axis=1)]
    found = with_boundaries(replace(mesh, boundaries={"hot": Boundary.from_edges(bottom[:, ::-1])}))
    assert list(found.boundaries) == ["hot", "walls"]
    assert found.by_position == ()
    assert len(found.boundaries["walls"].edges) == 6
    assert edge_set(found.boundaries["hot"].edges) == edge_set(bottom[:, ::-1])


def test_no_inlet_edge_is_refused_by_the_problem_that_needs_one():
    # Min x is a single corner: there is nowhere for the flux to enter.
    mesh = with_boundaries(bare(moved(squares(2), angle=0.3)))
    assert len(mesh.boundaries["inlet"].edges) == 0
    with pytest.raises(ProblemError, match=r"^mesh: boundary 'inlet' has no edges for a Robin condition; name"):
        Problem.potential_flow(mesh)


def test_a_mesh_with_names_of_its_own_needs_no_inlet():
    # A turned duct between "hot" and "cold": nothing at min or max x matters.
    mesh = moved(squares(2), angle=0.3)
    names = {"hot": mesh.boundaries["inlet"], "cold": mesh.boundaries["outlet"]}
    problem = Problem((Dirichlet("hot", 1.0), Dirichlet("cold", 0.0)))
    solution = solve(replace(bare(mesh), boundaries=names), problem, backend="numpy", solver="direct")
    assert round(float(solution.u.max()), 9) == 1.0


def test_the_mesh_is_validated_first():
    # No rule on invalid geometry.
    with pytest.raises(MeshError, match="NaN or infinite"):
        with_boundaries(replace(bare(squares(1)), x=np.full(8, np.nan)))


def test_the_result_is_known_to_be_valid():
    # Every stage asks again: nothing may be computed twice.
    found = with_boundaries(bare(distorted(3, 3)))
    assert with_boundaries(found) is found

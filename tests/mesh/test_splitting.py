"""Cells of any usual kind become 8-node quadrilaterals, and meshes are refined, on the curves that were there."""

from dataclasses import replace

import fem_core as fem
import numpy as np
import pytest
from fem_core.io.checks import sides_between
from fem_core.io.convert import converted
from fem_core.mesh import quad8 as q8
from fem_core.mesh.cells import Cells, as_mesh
from fem_core.mesh.geometry import det_jacobian, edge_lengths, validate_mesh
from fem_core.mesh.mesh import Boundary, Mesh
from fem_core.mesh.repair import compact
from fem_core.mesh.splitting import refine, split
from meshes import squares

SHAPES = {
    "duct": fem.generate.duct(length=2.0, height=1.0, nx=4, ny=3),
    "cylinder": fem.generate.cylinder(nodes=800),
    "y-tube": fem.generate.y_tube(nodes=800),
    "venturi": fem.generate.venturi(nodes=600),
}


def area(mesh: Mesh) -> float:
    return float((det_jacobian(mesh)[:, :9] @ q8.WEIGHTS_3X3).sum())


def lengths(mesh: Mesh) -> dict[str, float]:
    return {name: float(edge_lengths(mesh, one.edges).sum()) for name, one in mesh.boundaries.items()}


def of_kind(mesh: Mesh, kind: str) -> Cells:
    """The cells of another kind at the corners of `mesh`: triangles are halves of its quadrilaterals."""
    quad = mesh.quad8
    x, y = mesh.x, mesh.y
    centre = len(x) + np.arange(len(quad))
    at = q8.shape(0.0, 0.0)
    x, y = np.append(x, x[quad] @ at), np.append(y, y[quad] @ at)
    a, b, c, d, ab, bc, cd, da = quad.T
    blocks = {
        "quad4": [quad[:, :4]],
        "quad9": [np.column_stack([quad, centre])],
        "triangle3": [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]],  # the diagonal's middle is that of the quadrilateral
        "triangle6": [np.stack([a, b, c, ab, bc, centre], axis=1), np.stack([a, c, d, centre, cd, da], axis=1)],
    }
    cells = Cells(x, y, {kind: np.concatenate(blocks[kind])})
    boundaries = {}
    for name, one in mesh.boundaries.items():
        edges, fits = sides_between(one.edges[:, [0, 2]], cells.outline)
        assert fits.all()
        boundaries[name] = Boundary.from_edges(edges)
    return replace(cells, boundaries=boundaries)


@pytest.mark.parametrize("name", SHAPES)
def test_refining_changes_no_shape(name):
    mesh = SHAPES[name]
    fine = validate_mesh(refine(mesh))
    assert fine.n_elements == 4 * mesh.n_elements
    assert len(fine.orphan_nodes) == 0
    assert area(fine) == pytest.approx(area(mesh), rel=1e-13)
    assert lengths(fine) == pytest.approx(lengths(mesh), rel=1e-6)  # curved edges: by Gauss points
    assert np.array_equal(fine.x[: mesh.n_nodes], mesh.x)
    assert set(fine.boundaries) == set(mesh.boundaries)
    for name, boundary in mesh.boundaries.items():
        assert len(fine.boundaries[name].edges) == 2 * len(boundary.edges)
        assert np.array_equal(fine.boundaries[name].nodes, np.unique(fine.boundaries[name].edges))


def test_the_solution_converges_under_refinement():
    # Flow round a cylinder: u max of three meshes, the changes fall by more than four.
    mesh = SHAPES["cylinder"]
    coarse, middle, fine = (fem.solve(refine(mesh, n), backend="numpy", solver="direct").u.max() for n in range(3))
    assert abs(fine - middle) < abs(middle - coarse) / 4


@pytest.mark.parametrize("kind", ["quad4", "quad9", "triangle3", "triangle6"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_kind_becomes_a_mesh(name, kind):
    mesh = SHAPES[name]
    cells = of_kind(mesh, kind)
    found = validate_mesh(split(cells) if cells.has_triangles else compact(as_mesh(cells)))
    if kind == "quad9":
        assert np.array_equal(found.quad8, mesh.quad8)
        assert np.array_equal(found.x, mesh.x)
    if kind in ("quad9", "triangle6"):
        assert lengths(found) == pytest.approx(lengths(mesh), rel=1e-6)
        assert area(found) == pytest.approx(area(mesh), rel=2e-4)
    assert set(found.boundaries) == set(mesh.boundaries)
    exterior = np.sort(found.exterior_edges, axis=1)
    named = np.sort(np.concatenate([one.edges for one in found.boundaries.values()]), axis=1)
    assert np.array_equal(np.unique(exterior, axis=0), np.unique(named, axis=0))  # nothing of the boundary is lost
    expected = fem.solve(mesh, backend="numpy", solver="direct").u.max()
    assert fem.solve(found, backend="numpy", solver="direct").u.max() == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("kind", ["quad4", "quad8"])
@pytest.mark.parametrize("own_middle", [True, False])
def test_collapsed_quadrilaterals_are_triangles(kind, own_middle):
    # Any corner may be the one that is there twice; the mid-side node between may be it, too, or one that is unused.
    mesh = SHAPES["duct"]
    straight = of_kind(mesh, "triangle6")
    nodes = straight.blocks["triangle6"]
    a, b, c, ab, bc, ca = nodes.T
    spare = len(straight.x) + np.arange(len(nodes)) if own_middle else c
    quads = np.stack([a, b, c, c, ab, bc, spare, ca], axis=1)
    for row, quad in enumerate(quads):
        quads[row] = np.concatenate([np.roll(quad[:4], row), np.roll(quad[4:], row)])
    x, y = (np.append(values, values[c]) for values in (straight.x, straight.y))
    cells = Cells(x, y, {kind: quads[:, : int(kind[-1])]})
    boundaries = {
        name: Boundary.from_edges(sides_between(one.edges[:, [0, 2]], cells.outline)[0])
        for name, one in mesh.boundaries.items()
    }
    found = converted(cells.having(boundaries=boundaries))
    assert found.notes == (f"{len(nodes)} quadrilaterals with a corner twice are taken as triangles",)
    assert found.n_elements == 3 * len(nodes)
    assert lengths(found) == pytest.approx(lengths(mesh), rel=1e-12)
    solution = fem.solve(found, backend="numpy", solver="direct")
    assert np.allclose(solution.u, 2.5 * (2 - found.x))


def test_quadrilaterals_of_different_kinds_share_the_nodes_between_them():
    mesh = SHAPES["y-tube"]
    half = mesh.n_elements // 2
    curved = np.isin(mesh.quad8, np.concatenate([one.edges.ravel() for one in mesh.boundaries.values()])).any(axis=1)
    quads = mesh.quad8[np.argsort(~curved, kind="stable")]
    eight = max(half, int(curved.sum()))
    blocks = {"quad8": quads[:eight], "quad4": quads[eight:, :4]}
    found = validate_mesh(compact(as_mesh(Cells(mesh.x, mesh.y, blocks, mesh.boundaries))))
    assert found.n_nodes == mesh.n_nodes
    assert area(found) == pytest.approx(area(mesh), rel=1e-12)


def test_a_node_set_keeps_its_edges():
    mesh = SHAPES["duct"]
    outlet = mesh.boundaries["outlet"]
    fine = refine(replace(mesh, boundaries={"outlet": Boundary([], outlet.nodes), "pin": Boundary([], [0])}))
    assert np.allclose(fine.x[fine.boundaries["outlet"].nodes], 2.0)
    assert len(fine.boundaries["outlet"].nodes) == 4 * 3 + 1
    assert fine.boundaries["pin"].nodes.tolist() == [0]


def test_lines_that_are_no_edges_are_refused():
    mesh = squares(2)
    cut = Boundary.from_edges(mesh.quad8[:1, [0, 5, 2]])
    with pytest.raises(fem.MeshError, match="boundary 'cut' has 1 edge that no element has"):
        refine(replace(mesh, boundaries={"cut": cut}))


def test_torn_edges_are_refused():
    mesh = squares(2)
    quad = mesh.quad8.copy()
    extra = len(mesh.x)
    quad[0, 5] = extra
    cells = Cells(np.append(mesh.x, 0.5), np.append(mesh.y, 0.25), {"quad8": quad})
    with pytest.raises(fem.MeshError, match="share the corners of an edge but not its mid-side node"):
        split(cells)

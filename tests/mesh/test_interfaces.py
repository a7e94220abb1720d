"""Meshes that don't fit together, plates of no thickness, node sets that are half a boundary: refused, told, mended."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import numpy as np
import pytest
from commands import run
from fem_core import Boundary, Dirichlet, Mesh, MeshError, OptionError, Problem, ProblemError, Robin, read_mesh, solve
from fem_core.mesh import places
from fem_core.mesh.boundaries import half_edges, mesh_doubts, mesh_notes
from fem_core.mesh.geometry import mesh_faults
from fem_core.mesh.interfaces import find_slits, hanging_nodes
from fem_core.tools.mesh_check import check_mesh
from hypothesis import given
from meshes import errors, moved, renumbered, small_meshes, squares, torn_apart

SAME = 1e-13  # apart, in meshes of extent 2: the same place, but for rounding


def together(*parts: Mesh) -> Mesh:
    """Parts in one mesh, each with nodes of its own."""
    starts = np.cumsum([0, *(part.n_nodes for part in parts)])
    boundaries: dict[str, list[Boundary]] = {}
    for part, start in zip(parts, starts, strict=False):
        for name, one in part.boundaries.items():
            boundaries.setdefault(name, []).append(Boundary(one.edges + start, one.nodes + start))
    return Mesh(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.quad8 + start for part, start in zip(parts, starts, strict=False)]),
        {
            name: Boundary(np.concatenate([one.edges for one in some]), np.concatenate([one.nodes for one in some]))
            for name, some in boundaries.items()
        },
    )


def joined(mesh: Mesh) -> Mesh:
    """With one node at each place."""
    one = places.one_per_place(places.coincident_nodes(mesh), mesh.n_nodes)
    boundaries = {name: Boundary(one[b.edges], one[b.nodes]) for name, b in mesh.boundaries.items()}
    return replace(mesh, quad8=one[mesh.quad8], boundaries=boundaries)


def side_by_side(left: int, right: int, gap: float = 0.0, shift: float = 0.0) -> Mesh:
    """Two unit squares beside each other, of 2 x `left` and 2 x `right` elements; inlet at the left, outlet right."""
    one = squares(2, left, names={"left": "inlet"})
    other = squares(2, right, names={"right": "outlet"})
    return together(one, replace(other, x=other.x + 1 + gap, y=other.y + shift))


def refusal(mesh: Mesh) -> str:
    with pytest.raises(MeshError) as refused:
        fem.validate_mesh(mesh)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def faults(mesh: Mesh) -> str:
    return "\n".join(fault.text for fault in mesh_faults(mesh))


# ── nodes that hang ──────────────────────────────────────────────────────────────────────────


def test_the_hanging_node_of_a_report(case, tmp_path):
    # One element beside two of half its height: the mid-side of one is the corner of the others.
    path = case("63_hanging.npz")
    for command in (["solve", path], ["check", path], ["check", path, "--fix", "-o", tmp_path / "m.npz"]):
        result = run(*command)
        assert result.exit_code == 2
        assert "nodes 5, 13, 22 lie inside an edge of another element, such as node 5 in the edge (1, 5, 2)" in (
            result.stderr + result.stdout
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("left", "right"), [(1, 2), (2, 1), (2, 3), (4, 2), (3, 6), (5, 4)])
@pytest.mark.parametrize("angle", [0.0, 0.4])
@pytest.mark.parametrize("shared", [True, False])
def test_interfaces_of_other_edges_on_each_side(left, right, angle, shared):
    # Whether or not the places that both sides have are one node. By number: an end of one side hangs wherever it isn't
    # an end of the other; a mid-side where it is nothing of the other.
    mesh = moved(side_by_side(left, right), angle=angle, shift=(0.3, -7.0))
    if shared:
        mesh = joined(mesh)
    flat = moved(replace(mesh, x=mesh.x - 0.3, y=mesh.y + 7), angle=-angle)
    expected = set()
    at_seam = np.flatnonzero(np.abs(flat.x - 1) < 1e-9)
    at_seam = at_seam[np.isin(at_seam, mesh.quad8)]
    steps = {0: 2 * left, 1: 2 * right}
    is_left = {0: flat.x[mesh.quad8[:, :4]].mean(axis=1) < 1}
    is_left[1] = ~is_left[0]
    for side in (0, 1):
        own = np.intersect1d(at_seam, mesh.quad8[is_left[side]])
        for node in own:
            k = flat.y[node] * steps[side]
            of_other = flat.y[node] * steps[1 - side]
            is_end, fits = round(k) % 2 == 0, abs(of_other - round(of_other)) < 1e-6
            if not fits or (is_end and round(of_other) % 2 == 1):
                expected.add(int(node))
    assert expected
    assert set(hanging_nodes(mesh)[0].tolist()) == expected
    assert "inside an edge of another element" in faults(mesh)


@pytest.mark.parametrize("shift", [0.25, 0.1, 0.5])
@pytest.mark.parametrize("gap", [0.0, SAME])
def test_edges_that_overlap_in_part(shift, gap):
    # Blocks beside each other, but not at the same height: 0.25 puts each end at the middle of the other side's edge.
    mesh = side_by_side(2, 2, gap=gap, shift=shift)
    if shift == 0.5:  # by a whole edge: what remains of the seam fits
        assert len(hanging_nodes(mesh)[0]) == 0
        assert "coincide" in faults(mesh) if gap == 0 else "nearly coincide" in "\n".join(mesh_doubts(mesh, ()))
    else:
        assert "inside an edge of another element" in faults(mesh)


def ring(radial: tuple[float, float], elements: int, turn: float = 0.0, arc: float = np.pi) -> Mesh:
    """A part of a ring, its arcs cut into quadratic edges."""
    inner, outer = radial
    flat = squares(elements, 2, width=arc, height=outer - inner)
    r, φ = outer - flat.y, turn + flat.x  # counter-clockwise
    return replace(flat, x=r * np.cos(φ), y=r * np.sin(φ))


@pytest.mark.parametrize(("fine", "coarse"), [(7, 5), (6, 3), (12, 8), (9, 4), (40, 36), (3, 5)])
@pytest.mark.parametrize("shared", [True, False])
def test_curved_interfaces(fine, coarse, shared):
    # Nodes are on the circle, the other side's edges are parabolas beside it.
    mesh = together(ring((1, 2), fine), ring((0.5, 1), coarse))
    mesh = replace(joined(mesh) if shared else mesh, boundaries={})
    hanging, edges = hanging_nodes(mesh)
    assert len(hanging)
    radius = np.hypot(mesh.x, mesh.y)
    np.testing.assert_allclose(radius[hanging], 1)
    np.testing.assert_allclose(radius[edges], 1)
    assert "inside an edge of another element" in faults(mesh)


def test_curved_interfaces_that_fit():
    mesh = together(ring((1, 2), 7), ring((0.5, 1), 7))
    assert len(hanging_nodes(mesh)[0]) == 0
    assert fem.validate_mesh(replace(joined(mesh), boundaries={})).n_elements == 28


def test_a_corner_that_touches_an_edge():
    # By coincidence or not: no flow passes, and the pair isn't connected.
    tip = moved(squares(1), angle=np.pi / 4, shift=(1.0, 0.3))
    mesh = together(squares(1), tip)
    (node,), (edge,) = hanging_nodes(mesh)
    assert (mesh.x[node], mesh.y[node]) == (1.0, 0.3)
    np.testing.assert_array_equal(mesh.x[edge], 1.0)


def test_parts_that_touch_in_one_node_are_legal():
    mesh = joined(together(squares(2), moved(squares(2), shift=(1.0, 1.0))))
    mesh = replace(mesh, boundaries={})
    assert fem.validate_mesh(mesh) is mesh


@pytest.mark.parametrize("thickness", [1e-3, 1e-5])
def test_a_thin_gap_is_legal(thickness):
    # A plate with some thickness: straight, and bent.
    assert not faults(side_by_side(2, 3, gap=thickness))
    bent = together(ring((1 + thickness, 2), 24), ring((0.5, 1), 36))
    assert ("inside" in faults(bent)) == (thickness < 1e-4)  # nearer than the edges are to the circle, it is none


def test_a_sharp_edge_is_legal():
    # A trailing edge: two walls that leave one node at no angle, curved like y = ± x² / 5.
    upper = squares(8, 2, width=1.0, height=1.0)
    y = upper.y * (1 + upper.x**2 / 5) + (1 - upper.y) * upper.x**2 / 5
    lower = replace(upper, y=-y[:], quad8=upper.quad8[:, [0, 3, 2, 1, 7, 6, 5, 4]], boundaries={})
    mesh = joined(together(replace(upper, y=y, boundaries={}), lower))
    assert not faults(mesh)


@given(small_meshes())
def test_a_good_mesh_has_none(mesh):
    assert len(hanging_nodes(mesh)[0]) == 0
    assert len(places.close_nodes(mesh)) == 0


@pytest.mark.parametrize("shape", ["annulus", "cylinder", "elbow", "s_bend", "t_junction", "venturi", "y_tube"])
@pytest.mark.parametrize("nodes", [300, 3000])
def test_no_generated_mesh_has_any(shape, nodes):
    mesh = getattr(fem.generate, shape)(nodes=nodes)
    assert len(hanging_nodes(mesh)[0]) == 0
    assert list(mesh_doubts(mesh, mesh.boundaries)) == []


def test_what_is_far_away_makes_nothing_hang():
    # The extent is 1e14: 1e-9 of it is much larger than all elements.
    x, y = np.divmod(np.arange(9.0), 3)
    parts = [
        moved(squares(1), shift=(2 * a, 2 * b)) for a, b in zip(np.append(x, 5e13), np.append(y, 0.0), strict=True)
    ]
    assert len(hanging_nodes(together(*parts))[0]) == 0


def test_the_search_finds_what_all_pairs_have():
    # Points and boxes in general and on lines parallel to the axes.
    rng = np.random.default_rng(4)
    points = np.round(rng.uniform(0, 1, (300, 2)), 2)
    low = np.round(rng.uniform(-0.1, 1, (200, 2)), 2)
    high = low + np.round(rng.uniform(0, 0.3, (200, 2)), 2)
    found = {pair for boxes, at in places.points_in_boxes(points, low, high) for pair in zip(boxes, at, strict=True)}
    inside = ((points >= low[:, None]) & (points <= high[:, None])).all(axis=-1)
    assert found == set(zip(*np.nonzero(inside), strict=True))


def test_elements_on_top_of_each_other_do_not_take_for_ever():
    n = 3000
    one = moved(squares(1), angle=0.5)
    shift = np.linspace(0, 0.1, n)[:, None]
    mesh = Mesh((one.x + shift).ravel(), (one.y - 2 * shift).ravel(), one.quad8 + 8 * np.arange(n)[:, None])
    assert "the elements lie on top of each other" in faults(mesh)


def test_how_many_more_faults_there_are(tmp_path):
    mesh = side_by_side(1, 2)
    number = len(list(mesh_faults(mesh)))
    assert number == 2  # nodes that coincide, and one that hangs
    path = fem.write_mesh(mesh, tmp_path / "m.h5")
    assert run("solve", path).stderr.endswith("; 1 more fault: fem check lists all\n")
    assert run("check", path).stdout.count("fault: ") == number


def test_merging_is_not_called_mending_where_nodes_hang(tmp_path):
    path = fem.write_mesh(side_by_side(1, 2, gap=SAME), tmp_path / "m.h5")
    result = run("check", path, "--fix", "-o", tmp_path / "n.h5")
    assert result.exit_code == 2
    assert "not repaired, nothing written" in result.stderr
    assert "inside an edge of another element" in result.stderr
    assert "to repair it" not in run("check", path).stdout
    assert not (tmp_path / "n.h5").exists()


# ── nodes that nearly coincide ───────────────────────────────────────────────────────────────

_NEARLY = (
    "9 pairs of nodes nearly coincide, such as 2 and 24: elements there aren't connected; fem check --fix merges them"
)


def test_the_seam_of_a_report(case, tmp_path):
    # solve and check say the same; what is mended gives what the whole duct does.
    path, mended = case("64d_seam_both.npz"), tmp_path / "m.npz"
    assert solve(path, backend="numpy").report.warnings == (_NEARLY,)
    assert check_mesh(path).warnings == (_NEARLY,)
    for command in ("solve", "check"):
        assert run(command, path).stdout.count(f"warning: {_NEARLY}\n") == 1
    assert run("check", path, "--fix", "-o", mended).exit_code == 0
    solution = solve(mended, backend="numpy")
    assert solution.report.warnings == ()
    assert solution.u.max() == pytest.approx(4.2768, abs=5e-5)


def test_a_seam_warns_also_where_its_ends_are_one_node(tmp_path):
    # A mesh that is solved in memory, and one that had its boundaries before.
    whole = squares(4, 2, width=2.0)
    apart = torn_apart(whole, 1.0, shift=SAME)
    mesh = replace(
        apart, quad8=np.where(apart.quad8 == whole.quad8[1, 1] + whole.n_nodes, whole.quad8[1, 1], apart.quad8)
    )
    mesh = replace(mesh, boundaries={})
    problem = Problem((Dirichlet("inlet", 1.0), Dirichlet("outlet")))
    for one in (mesh, fem.with_boundaries(mesh), fem.with_boundaries(fem.with_boundaries(mesh))):
        warnings = solve(one, problem, backend="numpy").report.warnings
        assert [text.split(" of nodes")[0] for text in warnings if "nearly" in text] == ["4 pairs"]
    path = fem.write_mesh(mesh, tmp_path / "m.h5")
    assert run("check", path, "--fix", "-o", tmp_path / "n.h5").exit_code == 0
    assert read_mesh(tmp_path / "n.h5").n_nodes == whole.n_nodes


def test_a_part_without_a_level_beyond_a_seam_is_told_of_the_seam(tmp_path):
    # A condition on each part is no way out: they were meant to be one.
    path = fem.write_mesh(
        replace(torn_apart(squares(4, 2, width=2.0), 1.0, shift=SAME), boundaries={}), tmp_path / "m.h5"
    )
    with pytest.raises(
        ProblemError, match=r"no condition fixes the level of u.*; 5 pairs of nodes nearly coincide"
    ) as told:
        solve(path, backend="numpy")
    assert "fix u on" not in str(told.value)
    assert run("check", path, "--fix", "-o", tmp_path / "n.h5").exit_code == 0
    assert solve(tmp_path / "n.h5", backend="numpy").u.max() == pytest.approx(5.0)


def test_a_tolerance_that_merges_nothing_mends_nothing(case, tmp_path):
    path = case("64d_seam_both.npz")
    result = run("check", path, "--fix", "--merge-tolerance", "1e-15", "-o", tmp_path / "m.npz")
    assert result.exit_code == 2
    assert "not repaired, nothing written: 9 pairs of nodes nearly coincide" in result.stderr


def test_looking_for_them_loads_no_more_of_scipy():
    # A tenth of a second in each run.
    code = (
        "import sys, fem_core as fem; from fem_core.mesh.boundaries import mesh_doubts\n"
        "mesh = fem.generate.y_tube(nodes=20000); fem.validate_mesh(fem.Mesh(mesh.x, mesh.y, mesh.quad8))\n"
        "assert not list(mesh_doubts(mesh, mesh.boundaries)); assert 'scipy.spatial' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ── plates of no thickness ───────────────────────────────────────────────────────────────────


def cut(mesh: Mesh, on) -> Mesh:
    """`mesh` with two nodes at each node of x = 1 where on(y): elements at the right have the new ones.

    Boundaries stay at the left, and get the edges of the right where they are cut as well.
    """
    nodes = np.flatnonzero((np.abs(mesh.x - 1) < 1e-12) & on(mesh.y))
    new = np.arange(mesh.n_nodes)
    new[nodes] = mesh.n_nodes + np.arange(len(nodes))
    right = mesh.x[mesh.quad8[:, :4]].mean(axis=1) > 1
    quad8 = np.where(right[:, None], new[mesh.quad8], mesh.quad8)
    apart = Mesh(np.append(mesh.x, mesh.x[nodes]), np.append(mesh.y, mesh.y[nodes]), quad8)
    boundaries = {}
    for name, boundary in mesh.boundaries.items():
        at_right = mesh.x[boundary.edges[:, 1]] > 1
        boundaries[name] = Boundary.from_edges(np.where(at_right[:, None], new[boundary.edges], boundary.edges))
    return replace(apart, boundaries=boundaries)


def plate(n: int = 20) -> Mesh:
    """A duct of two unit squares with a plate across the middle of it: 4 edges from y = 0.3 to 0.7."""
    return cut(squares(n, n // 2, width=2.0), lambda y: (y > 0.3 + 1e-9) & (y < 0.7 - 1e-9))


def test_the_plate_of_a_report(case, tmp_path):
    path = case("65b_gmsh_crack.msh")
    refused = run("solve", path)
    assert refused.exit_code == 2
    for said in ("(15 in all) coincide along 8 pairs of edges", "--slits keep", "--slits merge", "not merged"):
        assert said in refused.stderr
        assert said in run("check", path).stdout
    kept = solve(path, slits="keep", backend="numpy")
    assert "slits kept: 8 pairs of edges are walls on both sides" in kept.report.notes
    assert kept.u.max() == pytest.approx(5.6875, abs=5e-5)
    merged = solve(path, slits="merge", backend="numpy")
    assert "slits merged: 8 pairs of edges joined" in merged.report.notes
    assert any("'baffle': it lies inside the mesh" in note for note in merged.report.notes)
    assert merged.u.max() == pytest.approx(5.0)
    with pytest.raises(ProblemError, match="'baffle' of the file can't be used: it lies inside the mesh"):
        solve(path, Problem((Robin("baffle", 1.0), Dirichlet("outlet"))), slits="merge", backend="numpy")
    result = tmp_path / "r.h5"
    assert run("solve", path, "--slits", "keep", "-o", result).exit_code == 0
    again = solve(result, backend="numpy")
    assert again.mesh.slits
    np.testing.assert_allclose(again.u, kept.u, atol=1e-9)
    assert fem.read_solution(result).mesh.slits


def test_a_plate_that_ends_at_a_wall_with_one_node_leaks(case):
    # gmsh's Crack leaves the node on the wall whole unless told otherwise; at the tip that is right.
    (warning,) = solve(case("65b_gmsh_crack.msh"), slits="keep", backend="numpy").report.warnings
    assert warning.startswith("fluid passes through node 1, where a slit ends at another boundary")
    closed = cut(squares(20, 10, width=2.0), lambda y: y > 0.5 + 1e-9)
    assert list(mesh_doubts(replace(closed, slits=True), ())) == []
    leaking = cut(squares(20, 10, width=2.0), lambda y: (y > 0.5 + 1e-9) & (y < 1))
    assert len(list(mesh_doubts(replace(leaking, slits=True), ()))) == 1
    leak, no_leak = (solve(mesh, slits="keep", backend="numpy").u.max() for mesh in (leaking, closed))
    assert leak < no_leak


def test_what_a_repair_cannot_mend_does_not_prevent_it(case, tmp_path):
    # A solve only warns of these: a repaired mesh may have them, too.
    crack, fixed = case("65b_gmsh_crack.msh"), tmp_path / "fixed.h5"
    done = run("check", crack, "--fix", "--slits", "keep", "-o", fixed)
    assert done.exit_code == 0
    assert "warning: fluid passes through node 1" in done.stdout
    whole = squares(4, 2, width=2.0)
    edges = whole.boundaries["inlet"].edges
    inner = Boundary.from_edges(np.concatenate([edges, whole.quad8[:1, [1, 5, 2]]]))
    mesh = fem.write_mesh(replace(whole, boundaries={**whole.boundaries, "inlet": inner}), tmp_path / "inner.h5")
    done = run("check", mesh, "--fix", "-o", fixed)
    assert done.exit_code == 0
    assert "warning: 1 edge of the boundary 'inlet' lies inside the mesh" in done.stdout


def test_refused_by_default_and_both_ways_out():
    mesh = plate()
    text = refusal(mesh)
    assert "along 4 pairs of edges" in text
    assert "--slits merge (slits='merge')" in text
    assert "--slits keep (slits='keep')" in text
    whole = solve(squares(20, 10, width=2.0), backend="numpy").u.max()
    assert solve(mesh, slits="merge", backend="numpy").u.max() == pytest.approx(whole)
    kept = [solve(mesh, slits="keep", backend=backend).u for backend in ("baseline", "numpy")]
    np.testing.assert_allclose(*kept, atol=1e-9)
    assert kept[0].max() > whole + 0.1
    with pytest.raises(OptionError, match="slits must be 'keep' or 'merge', not 'open'"):
        solve(mesh, slits="open", backend="numpy")


def test_by_position_both_sides_are_walls():
    mesh = fem.with_boundaries(replace(plate(), boundaries={}, slits=True))
    assert len(mesh.boundaries["walls"].edges) == 2 * 20 + 2 * 4
    assert mesh_notes(mesh) == ("slits kept: 4 pairs of edges are walls on both sides",)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".vtu"])
@pytest.mark.parametrize("kind", ["mesh", "result"])
def test_files_know_that_slits_are_meant(ending, kind, tmp_path):
    # What was read with keep is read and solved again without being told.
    path = tmp_path / f"m{ending}"
    solution = solve(plate(), slits="keep", backend="numpy")
    if kind == "mesh":
        fem.write_mesh(solution.mesh, path)
    else:
        solution.write(path)
    again = solve(path, backend="numpy")
    assert again.mesh.slits
    assert "slits kept: 4 pairs of edges are walls on both sides" in again.report.notes
    assert again.u.max() == pytest.approx(solution.u.max())
    assert not read_mesh(path, slits="merge").slits
    assert check_mesh(path).solvable


@pytest.mark.parametrize("ending", [".msh", ".inp"])
def test_other_files_do_not_and_are_refused_again(ending, tmp_path):
    path = fem.write_mesh(replace(plate(), slits=True), tmp_path / f"m{ending}")
    with pytest.raises(MeshError, match="--slits keep"):
        read_mesh(path)
    assert read_mesh(path, slits="keep").slits


def test_with_keep_only_whole_edges_may_coincide():
    # Another part touches the duct at a corner.
    other = moved(squares(1), angle=np.pi)
    touching = replace(together(plate(), replace(other, boundaries={})), slits=True)
    text = refusal(touching)
    assert "coincide; merge them so that their elements connect" in text
    assert refusal(replace(touching, slits=False)).endswith("1 more fault: fem check lists all")
    assert find_slits(touching).edges.shape == (4, 2, 3)


def test_elements_that_are_there_twice_are_no_slit():
    # Their edges coincide, but run the same way.
    one = squares(2)
    text = refusal(replace(together(one, one), slits=True))
    assert "coincide; merge them" in text
    assert len(find_slits(together(one, one)).edges) == 0


def test_plates_that_cross():
    # Four nodes at one place, and each pair of edges is complete.
    mesh = squares(8, 8, width=2.0, height=2.0)
    x, y = (a[mesh.quad8[:, :4]].mean(axis=1) for a in (mesh.x, mesh.y))
    quarter = (x > 1) + 2 * (y > 1)
    near = (np.abs(mesh.x - 1) < 0.45) & (np.abs(mesh.y - 1) < 0.45) & ((mesh.x == 1) | (mesh.y == 1))
    number = np.arange(4 * mesh.n_nodes).reshape(4, -1)
    for q in range(4):
        number[q, ~near] = np.arange(mesh.n_nodes)[~near]
    for node in np.flatnonzero(near):
        if mesh.x[node] != 1:  # on the horizontal plate: above and below
            number[1, node], number[3, node] = number[0, node], number[2, node]
        elif mesh.y[node] != 1:
            number[2, node], number[3, node] = number[0, node], number[1, node]
    quad8 = number[quarter[:, None], mesh.quad8]
    crossed = Mesh(np.tile(mesh.x, 4), np.tile(mesh.y, 4), quad8, slits=True)
    fem.validate_mesh(crossed)
    assert find_slits(crossed).edges.shape == (8, 2, 3)
    assert "along 8 pairs" in refusal(replace(crossed, slits=False))


def test_a_plate_that_is_nearly_closed_is_kept_as_well():
    # Nodes 1e-13 apart along it: the warning is for those who didn't mean it.
    mesh = plate()
    x = mesh.x.copy()
    x[squares(20, 10, width=2.0).n_nodes :] += SAME
    near = replace(mesh, x=x)
    assert "7 pairs of nodes nearly coincide" in solve(near, backend="numpy").report.warnings[0]
    kept = solve(near, slits="keep", backend="numpy")
    assert kept.report.warnings == ()
    assert "slits kept: 4 pairs of edges are walls on both sides" in kept.report.notes
    merged = solve(near, slits="merge", backend="numpy")
    assert merged.mesh.n_nodes == squares(20, 10, width=2.0).n_nodes


def test_a_plate_some_of_whose_nodes_are_a_rounding_apart():
    mesh = plate()
    x = mesh.x.copy()
    x[-2:] += SAME
    near = replace(mesh, x=x)
    assert "along 4 pairs of edges" in refusal(near)
    assert len(find_slits(fem.validate_mesh(replace(near, slits=True))).edges) == 4
    with pytest.raises(MeshError, match="as at the tip of a plate of no thickness; join the nodes with --slits merge"):
        fem.repair_mesh(near)


def test_fix_joins_blocks_but_asks_about_a_plate(tmp_path):
    # Both sides of a plate have its tip in common; blocks that weren't merged have nothing.
    blocks = fem.write_mesh(torn_apart(squares(4, 2, width=2.0), 1.0), tmp_path / "blocks.h5")
    assert "--slits keep" in run("solve", blocks).stderr
    assert run("check", blocks, "--fix", "-o", tmp_path / "b.h5").exit_code == 0
    assert read_mesh(tmp_path / "b.h5").components[0] == 1
    path, fixed = fem.write_mesh(plate(), tmp_path / "plate.msh"), tmp_path / "p.msh"
    asked = run("check", path, "--fix", "-o", fixed)
    assert asked.exit_code == 2
    assert "at the tip of a plate of no thickness; join the nodes with --slits merge (slits='merge')" in asked.stderr
    assert "keep a wall on both sides with --slits keep (slits='keep')" in asked.stderr
    assert not fixed.exists()
    assert "to repair it" not in run("check", path).stdout
    kept = run("check", path, "--fix", "--slits", "keep", "-o", fixed)
    assert kept.exit_code == 0
    command = kept.stdout.splitlines()[-1].split(":  fem ")[1].split()
    assert command[-2:] == ["--slits", "keep"]  # this format doesn't store it
    assert "walls on both sides" in run(*command).stdout
    merged = run("check", path, "--fix", "--slits", "merge", "-o", fixed)
    assert "repaired: merged 7 nodes with others at the same place" in merged.stdout
    assert "--slits" not in merged.stdout.splitlines()[-1]


def test_what_is_kept_stays_apart_whatever_else_is_mended():
    # Orphan nodes go, elements at one side are turned round, other nodes are merged.
    mesh, _, _ = renumbered(plate(), seed=3, orphans=5)
    right = mesh.x[mesh.quad8[:, :4]].mean(axis=1) > 1
    turned = np.where(right[:, None], mesh.quad8[:, [0, 3, 2, 1, 7, 6, 5, 4]], mesh.quad8)
    mended, done = fem.repair_mesh(replace(mesh, quad8=turned, slits=True))
    assert mended.slits
    assert len(done) == 2
    assert find_slits(fem.validate_mesh(mended)).edges.shape == (4, 2, 3)
    nearby = moved(squares(1), shift=(2.0 + SAME, 0.0))
    block = replace(together(plate(10), replace(nearby, boundaries={})), slits=True)
    assert fem.repair_mesh(block)[0].n_nodes == block.n_nodes - 3


def test_pictures_show_a_plate(tmp_path):
    pytest.importorskip("matplotlib")
    solution = solve(plate(), slits="keep", backend="numpy")
    assert solution.plot(tmp_path / "p.svg").stat().st_size > 10_000


def test_the_flow_across_a_plate_is_exact_in_the_limit():
    # Complex potential U √(z² + a²) of the flow along x across the plate x = 0, |y| < a (Milne-Thomson, Theoretical
    # Hydrodynamics, 6.3 with the axes changed), prescribed on the outer boundary. At the tips u goes like √r, which no
    # polynomial does: of elements of size h, the gradient has an error of h^½ and u, by duality, one of h. The order of
    # the elements, 3 for u, isn't reached.
    def root(x, y):
        z = x - 1 + 1j * y
        return np.where(x > 1, 1, -1) * np.sqrt(z * z + 1)

    def exact(x, y):
        return root(x, y).real

    def gradient(x, y):
        w = (x - 1 + 1j * y) / root(x, y)
        return w.real, -w.imag

    found = []
    for n in (8, 16, 32):
        sides = dict.fromkeys(("left", "right", "top", "bottom"), "outer")
        mesh = squares(n, width=4.0, height=4.0, names=sides)
        mesh = cut(replace(mesh, x=mesh.x - 1, y=mesh.y - 2), lambda y: np.abs(y) < 1 - 1e-12)
        solution = solve(mesh, Problem((Dirichlet("outer", exact),)), slits="keep", backend="numpy")
        found.append(errors(mesh, solution.u, exact, gradient)[:2])
    orders = np.log2(np.divide(found[:-1], found[1:]))
    np.testing.assert_allclose(orders, [[1.0, 0.5]] * 2, atol=0.03)
    assert found[-1][0] < 0.025


# ── node sets that are half a boundary ───────────────────────────────────────────────────────


def corners(mesh: Mesh, name: str) -> Mesh:
    """A boundary as the nodes at the ends of its edges only."""
    ends = np.unique(mesh.boundaries[name].edges[:, [0, 2]])
    return replace(mesh, boundaries={**mesh.boundaries, name: Boundary([], ends)})


def test_the_corners_of_a_report(case, tmp_path):
    path, mended = case("85a_outlet_corners.inp"), tmp_path / "m.inp"
    said = (
        "the condition on 'outlet' applies only in part: the boundary has both ends of 2 exterior edges but not "
        "the mid-side "
    )
    for command in ("solve", "check"):
        result = run(command, path)
        assert result.exit_code == 0
        assert f"warning: {said}nodes 21, 35; fem check --fix adds them\n" in result.stdout
    result = run("check", path, "--fix", "-o", mended)
    assert "repaired: added 2 mid-side nodes and the edges there to boundary 'outlet'\n" in result.stdout
    solution = solve(mended, backend="numpy")
    assert solution.report.warnings == ()
    assert solution.u.max() == pytest.approx(5.0)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".vtu", ".msh", ".inp"])
def test_half_an_outlet_in_every_format(ending, tmp_path):
    mesh = corners(squares(4, 3, width=2.0), "outlet")
    path = fem.write_mesh(mesh, tmp_path / f"m{ending}")
    (warning,) = solve(path, backend="numpy").report.warnings
    assert "'outlet' applies only in part: the boundary has both ends of 3 exterior edges" in warning
    assert run("check", path, "--fix", "-o", tmp_path / f"n{ending}").exit_code == 0
    solution = solve(tmp_path / f"n{ending}", backend="numpy")
    assert solution.report.warnings == ()
    assert solution.u.max() == pytest.approx(5.0)


def test_half_an_inlet_is_refused_with_the_way_out(tmp_path):
    path = fem.write_mesh(corners(squares(4, 3, width=2.0), "inlet"), tmp_path / "m.npz")
    refused = run("solve", path)
    assert refused.exit_code == 2
    assert (
        "boundary 'inlet' has no edges for a Robin condition; the boundary has both ends of 3 exter" in refused.stderr
    )
    assert refused.stderr.endswith("; fem check --fix adds them\n")
    proposed = run("check", path).stdout.splitlines()[-1].split("to repair it:  fem ")[1].split()
    assert run(*proposed).exit_code == 0
    assert solve(proposed[-1], backend="numpy").u.max() == pytest.approx(5.0)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".vtu"])
def test_a_mid_side_without_its_ends_is_half_an_edge(ending, tmp_path):
    # Without its corner, the inlet was 0.5 m long where 1 m was meant, and no word was said.
    mesh = squares(4, 2, width=2.0)
    a, mid, b = (edges := mesh.boundaries["inlet"].edges).T
    corner = np.setdiff1d(a, b)
    least = Boundary(edges[a != corner], np.setdiff1d(edges, corner))
    path = fem.write_mesh(replace(mesh, boundaries={**mesh.boundaries, "inlet": least}), tmp_path / f"m{ending}")
    (warning,) = solve(path, backend="numpy").report.warnings
    assert warning == (
        "the condition on 'inlet' applies only in part: the boundary has the mid-side of 1 exterior edge but not the "
        f"end node {corner[0]}; fem check --fix adds it"
    )
    done = run("check", path, "--fix", "-o", tmp_path / f"n{ending}")
    assert "added 1 node and the edges there to boundary 'inlet'" in done.stdout
    assert solve(tmp_path / f"n{ending}", backend="numpy").u.max() == pytest.approx(5.0)
    single = replace(mesh, boundaries={"outlet": Boundary([], mid[:1])})  # a point where the level is fixed
    assert len(half_edges(single, "outlet")) == 0


def test_parts_that_are_nearly_joined_are_the_cause(tmp_path):
    # Two halves of a duct, 1e-13 apart: one has no outlet, and that isn't the reason.
    half = squares(2)
    x = np.append(half.x, half.x + 1 + 1e-13 * (half.x == 0))
    apart = Mesh(x, np.append(half.y, half.y), np.concatenate([half.quad8, half.quad8 + half.n_nodes]))
    path = fem.write_mesh(apart, tmp_path / "m.npz")
    said = "5 pairs of nodes nearly coincide, such as 4 and 21: elements there aren't connected; fem check --fix merges"
    assert said in run("solve", path).stderr
    assert said in run("check", path).stdout
    assert run("check", path, "--fix", "-o", tmp_path / "n.npz").exit_code == 0
    assert solve(tmp_path / "n.npz", backend="numpy").u.max() == pytest.approx(5.0)


@pytest.mark.parametrize("ending", [".h5", ".npz", ".vtu", ".msh"])
def test_an_inlet_that_is_a_list_of_nodes_gets_its_edges(ending, tmp_path):
    # The edges between the nodes are known, but a list of nodes can also be meant for what it is.
    mesh = squares(4, 3, width=2.0)
    mesh = replace(mesh, boundaries={**mesh.boundaries, "inlet": Boundary([], mesh.boundaries["inlet"].nodes)})
    path = fem.write_mesh(mesh, tmp_path / f"m{ending}")
    said = "no edges for a Robin condition; its nodes are those of 3 edges; list them, or let fem check --fix add them"
    assert said in run("solve", path).stderr
    done = run("check", path, "--fix", "-o", tmp_path / f"n{ending}")
    assert "added 3 edges, of which it had all nodes, to boundary 'inlet'" in done.stdout
    assert solve(tmp_path / f"n{ending}", backend="numpy").u.max() == pytest.approx(5.0)


def test_names_in_capitals_are_half_as_well():
    mesh = corners(squares(4, 3), "outlet")
    boundaries = {name.upper(): one for name, one in mesh.boundaries.items()}
    (warning,) = solve(replace(mesh, boundaries=boundaries), backend="numpy").report.warnings
    assert "the condition on 'OUTLET' applies only in part" in warning


@pytest.mark.parametrize("missing", [1, 2])
def test_some_mid_sides_are_missing(missing):
    # Of a Robin condition too: those edges carry no load.
    mesh = squares(4, 4)
    for name in ("inlet", "outlet"):
        edges = mesh.boundaries[name].edges
        half = edges[1 : 1 + missing]
        nodes = np.setdiff1d(mesh.boundaries[name].nodes, half[:, 1])
        rest = Boundary(edges[[0, *range(1 + missing, 4)]], nodes)
        partly = replace(mesh, boundaries={**mesh.boundaries, name: rest})
        np.testing.assert_array_equal(np.sort(half_edges(partly, name)[:, 1]), np.sort(half[:, 1]))
        (warning,) = solve(partly, backend="numpy").report.warnings
        assert f"both ends of {missing} exterior edge" in warning
        mended, _ = fem.repair_mesh(partly)
        np.testing.assert_array_equal(mended.boundaries[name].nodes, mesh.boundaries[name].nodes)
        assert len(mended.boundaries[name].edges) == 4


def test_a_boundary_that_goes_round_a_corner_is_whole():
    # One element across: both walls have the ends of the inlet, whose mid-side is the inlet's.
    mesh = squares(3, 1, width=3.0)
    assert all(len(half_edges(mesh, name)) == 0 for name in mesh.boundaries)
    assert fem.repair_mesh(mesh) == (mesh, [])
    sets = {name: Boundary(one.edges, one.nodes) for name, one in mesh.boundaries.items()}
    problem = Problem((Dirichlet("walls"), Dirichlet("inlet", 1.0)))
    assert solve(replace(mesh, boundaries=sets), problem, backend="numpy").report.warnings == ()


def test_single_nodes_are_no_half_edges():
    mesh = squares(4)
    pinned = replace(mesh, boundaries={**mesh.boundaries, "pin": Boundary([], mesh.boundaries["outlet"].nodes[[0, 4]])})
    assert len(half_edges(pinned, "pin")) == 0
    problem = Problem((Robin("inlet", 1.0), Dirichlet("pin")))
    assert solve(pinned, problem, backend="numpy").report.warnings == ()


def test_only_boundaries_with_a_condition_warn(tmp_path: Path):
    # A set of points to look at isn't meant to be a boundary.
    mesh = squares(4)
    ends = mesh.boundaries["walls"].edges[:2, [0, 2]].ravel()
    probes = replace(mesh, boundaries={**mesh.boundaries, "probes": Boundary([], ends)})
    assert solve(probes, backend="numpy").report.warnings == ()
    assert len(half_edges(probes, "probes")) == 2

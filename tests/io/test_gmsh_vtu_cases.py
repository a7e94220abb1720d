"""Inputs of gmsh, VTU, NumPy and HDF5 that users' reports led to: solved as the file says, or refused by the cause."""

import codecs
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import h5py
import numpy as np
import pytest
from commands import run
from fem_core import Boundary, Dirichlet, Mesh, MeshError, Problem, ProblemError, Robin, read_mesh, write_mesh
from fem_core.io.checks import check_plane
from foreign import DUCT, EMPTY, Msh4, Row, cells_of, elements, lines, marks_of, msh_2, tags_of, vtu
from meshes import distorted

ON_TAGS = Problem((Robin("1", 2.5), Dirichlet("2")))


def solved(source: Path | Mesh, problem: Problem | None = None) -> fem.Solution:
    return fem.solve(source, problem, backend="numpy", solver="direct")


def refusal(source: Path | Mesh) -> str:
    """The one line with which `source` isn't solved."""
    with pytest.raises(fem.FemError) as refused:
        solved(source)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ── the plane ────────────────────────────────────────────────────────────────────────────────


def test_a_rotation_by_a_cad_kernel_leaves_the_plane(case):
    # z of 3e-32.
    assert solved(case("92_occ_rotated.msh")).u.max() == pytest.approx(5)


@pytest.mark.parametrize("z", [1e-9, -1.9e-9])
def test_z_within_rounding_errors_of_the_extent_is_0(tmp_path, z):
    # The mesh is 2 long.
    varying = np.where(DUCT.x > 1, z, 0.0)
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", z=varying))
    assert not mesh.notes
    assert solved(mesh).u.max() == pytest.approx(5)


def test_a_plane_parallel_to_the_first_is_noted(tmp_path):
    # The problem in it is the same.
    found = solved(msh_2(tmp_path / "mesh.msh", z=12.5))
    assert found.u.max() == pytest.approx(5)
    assert "the mesh lies in the plane z = 12.5, and is solved in it" in found.report.notes


@pytest.mark.parametrize("z", [2.1e-9, np.nan])
def test_a_mesh_that_leaves_the_plane_is_refused(tmp_path, z):
    path = msh_2(tmp_path / "mesh.msh", z=np.where(DUCT.x > 1.9, z, 0.0))
    with pytest.raises(MeshError, match=r"mesh\.msh: nodes 5, 8, .* have z other than 0, and z isn't the same"):
        read_mesh(path)


def test_a_mesh_upright_in_space_is_refused(tmp_path):
    # x-z: there is no extent that would excuse z.
    path = msh_2(tmp_path / "mesh.msh", Mesh(np.zeros(DUCT.n_nodes), np.zeros(DUCT.n_nodes), DUCT.quad8), z=DUCT.y)
    with pytest.raises(MeshError, match="z other than 0"):
        read_mesh(path)


def test_a_node_of_no_element_may_be_anywhere(tmp_path):
    # The centre of an arc in space, say.
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", more_nodes="99 5 5 5\n"))
    assert mesh.orphan_nodes.tolist() == [DUCT.n_nodes]
    assert not mesh.notes


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_z_as_an_array_of_its_own(tmp_path, suffix):
    # As in the other formats; an array of another shape is something else.
    path = tmp_path / f"mesh{suffix}"

    def written(z: np.ndarray) -> Path:
        arrays = {"x": DUCT.x, "y": DUCT.y, "quad8": DUCT.quad8, "z": z}
        if suffix == ".npz":
            np.savez(path, **arrays)
            return path
        with h5py.File(path, "w") as file:
            for name, values in arrays.items():
                file[name] = values
        return path

    for z in (0 * DUCT.x, 1e-10 * DUCT.x, np.array([1.0, 2.0])):
        assert not read_mesh(written(z)).notes
    assert read_mesh(written(0 * DUCT.x + 3)).notes == ("the mesh lies in the plane z = 3, and is solved in it",)
    assert "have z other than 0, and z isn't the same everywhere (0 to 2)" in refusal(written(DUCT.x))


def test_points_beyond_all_numbers_are_no_excuse():
    # An extent that overflows must not make the tolerance infinite.
    points = np.array([[-1e308, 0, 0], [1e308, 0, 1], [0, np.inf, 0]])
    with pytest.raises(MeshError, match="node 2 has z other than 0"):
        check_plane(Path("mesh.msh"), points, np.arange(1, 4))


# ── text ─────────────────────────────────────────────────────────────────────────────────────


def test_a_byte_order_mark_is_no_content(tmp_path):
    # Editors on Windows put it before any text.
    path = msh_2(tmp_path / "mesh.msh")
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert solved(path).u.max() == pytest.approx(5)
    path = vtu(tmp_path / "mesh.vtu", cells_of(), {"gmsh:physical": tags_of()})
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert solved(path, ON_TAGS).u.max() == pytest.approx(5)


# ── gmsh: groups ─────────────────────────────────────────────────────────────────────────────


def test_a_line_that_is_written_twice_counts_once(case):
    # The second time reversed.
    assert solved(case("106b_line_twice.msh")).u.max() == pytest.approx(5)


def test_names_of_another_case(case):
    # `Inlet` and `Outlet` are meant.
    found = solved(case("27_caps.msh"))
    assert found.u.max() == pytest.approx(5)
    assert [one["boundary"] for one in found.report.conditions] == ["Inlet", "Outlet"]
    assert not found.mesh.by_position


def test_a_tag_that_is_the_name_of_another_group_is_another_group(tmp_path):
    # The lines of both were one boundary: an inflow on the inlet and on the walls.
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", names='1 1 "3"\n1 2 "outlet"\n'))
    assert {*mesh.boundaries} == {"3", "outlet", "unnamed 3", "walls"}
    found = solved(mesh, Problem((Robin("3", 2.5), Dirichlet("outlet"))))
    assert found.u.max() == pytest.approx(5)


def test_negative_tags_are_the_same_group(tmp_path):
    # gmsh writes them where a curve runs the other way; here half of the inlet does.
    rows = elements()
    kind, _, nodes = rows[0]
    rows[0] = kind, [-1, 1], [nodes[1], nodes[0], nodes[2]]
    assert solved(msh_2(tmp_path / "mesh.msh", rows=rows)).u.max() == pytest.approx(5)


def test_a_name_of_lines_and_of_a_surface_is_the_lines(tmp_path):
    # The domain may be called inlet as well.
    names = '1 1 "inlet"\n1 2 "outlet"\n2 9 "inlet"\n'
    assert solved(msh_2(tmp_path / "mesh.msh", names=names)).u.max() == pytest.approx(5)


def test_a_name_of_lines_and_of_a_point_is_both(tmp_path):
    # The outlet gets a further node.
    rows = [*elements(), (15, [7, 1], [0])]
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", rows=rows, names='1 1 "inlet"\n1 2 "outlet"\n0 7 "outlet"\n'))
    assert set(mesh.boundaries["outlet"].nodes) == {0, *DUCT.boundaries["outlet"].nodes}


def test_a_group_without_lines_is_lost(tmp_path):
    # An error only where a condition needs it.
    without_walls = [row for row in elements() if row[1][0] != 3]
    found = solved(msh_2(tmp_path / "mesh.msh", rows=without_walls))
    assert found.u.max() == pytest.approx(5)
    assert any("'walls': its physical group has no lines" in note for note in found.report.notes)
    without_outlet = [row for row in elements() if row[1][0] != 2]
    said = refusal(msh_2(tmp_path / "mesh.msh", rows=without_outlet))
    assert "the boundary 'outlet' of the file can't be used: its physical group has no lines in the file" in said


def test_names_of_groups_are_enough_to_guess_nothing(tmp_path):
    # Also if all of them are lost; unless position is asked for.
    quads = [row for row in elements() if row[0] == 16]
    path = msh_2(tmp_path / "mesh.msh", rows=quads, names='1 1 "in"\n1 2 "out"\n')
    said = refusal(path)
    assert "there is no boundary 'inlet' and no 'outlet'" in said
    assert "not boundaries, although the file names them: 'in', 'out': its physical group has no lines" in said
    assert solved(read_mesh(path, by_position=True)).u.max() == pytest.approx(5)
    assert run("check", path).exit_code == 2


def test_points_and_lines_of_no_group_are_left_aside(tmp_path):
    # As Mesh.SaveAll writes them; position decides only where nothing has a name.
    rows = [(15, [0, 1], [0]), *((kind, [0, 1] if kind == 8 else tags, nodes) for kind, tags, nodes in elements())]
    found = solved(msh_2(tmp_path / "mesh.msh", rows=rows, names=""))
    assert "1 point and 8 lines in no physical group are left aside" in found.report.notes
    assert found.mesh.by_position == ("inlet", "outlet")


def test_two_corners_are_a_side_of_an_element(tmp_path):
    # Lines of first order in a file of second order.
    mesh = distorted(3, 2, seed=1, width=2.0)
    found = read_mesh(msh_2(tmp_path / "mesh.msh", mesh, elements(mesh, kind=1)))
    for name, boundary in mesh.boundaries.items():
        np.testing.assert_array_equal(found.boundaries[name].edges, boundary.edges)


def test_two_nodes_that_are_no_side_lose_their_group(tmp_path):
    # From a corner to the middle of a side.
    inlet = lines(DUCT, "inlet")
    rows = [(1, [1, 1], [line[0], line[2]]) for line in inlet] + [row for row in elements() if row[1][0] != 1]
    said = refusal(msh_2(tmp_path / "mesh.msh", rows=rows))
    assert "'inlet' of the file can't be used: 2 of its 2 2-node lines are no side of an element" in said
    assert "set Mesh.ElementOrder=2" in said
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", rows=[(1, [5, 5], [0, 10]), *elements()]))
    assert set(mesh.lost) == {"5"}  # a diagonal that no condition needs
    assert solved(mesh).u.max() == pytest.approx(5)


def test_lines_inside_stay_a_boundary_of_their_own(tmp_path):
    # Such as a material interface: it isn't part of the walls.
    cut = [[a, b, mid] for a, mid, b in DUCT.quad8[::2][:, [1, 5, 2]].tolist()]
    rows = [*((8, [4, 4], line) for line in cut), *elements()]
    found = solved(msh_2(tmp_path / "mesh.msh", rows=rows, names='1 1 "inlet"\n1 2 "outlet"\n1 3 "walls"\n1 4 "cut"\n'))
    assert found.u.max() == pytest.approx(5)
    assert len(found.mesh.boundaries["cut"].edges) == 2
    assert len(found.mesh.boundaries["walls"].edges) == 4


# ── gmsh: sections ───────────────────────────────────────────────────────────────────────────


def test_a_partitioned_file(case):
    # The groups are on its own entities.
    found = solved(case("22_part4.1.msh"))
    assert found.u.max() == pytest.approx(5)
    assert not found.mesh.by_position
    assert {name: len(one.edges) for name, one in found.mesh.boundaries.items()} == {
        "walls": 16, "outlet": 4, "inlet": 4,
    }  # fmt: skip


@pytest.mark.parametrize("binary", [False, True])
def test_partitions_of_both_kinds_of_files(tmp_path, binary):
    found = solved(Msh4(binary).write(tmp_path / "mesh.msh"))
    assert found.u.max() == pytest.approx(5)
    assert not found.mesh.by_position
    assert {name: len(one.edges) for name, one in found.mesh.boundaries.items()} == {
        "inlet": 2, "outlet": 2, "walls": 4,
    }  # fmt: skip
    assert "2 lines in no physical group are left aside" in found.report.notes  # where the partitions meet


def test_the_groups_of_a_parent_are_those_of_its_parts(tmp_path):
    # Where only the whole curve has them.
    file = Msh4()
    file.groups, file.parent_groups = {12: [-2]}, {1: [1], 3: [3], 4: [3]}
    mesh = read_mesh(file.write(tmp_path / "mesh.msh"))
    assert {name: len(one.edges) for name, one in mesh.boundaries.items()} == {"inlet": 2, "outlet": 2, "walls": 4}


def test_copies_of_elements_of_other_partitions_are_left_aside(tmp_path):
    # Ghost elements: each element is there once.
    file = Msh4()
    file.ghosts, file.after = {20: 1, 21: 2}, b"$GhostElements\n1\n9 1 1 2 \n$EndGhostElements\n"
    mesh = read_mesh(file.write(tmp_path / "mesh.msh"))
    assert mesh.n_elements == DUCT.n_elements
    assert solved(mesh).u.max() == pytest.approx(5)


@pytest.mark.parametrize("ghosts", [{}, {20: 1}])
def test_one_of_several_files_is_refused(tmp_path, ghosts):
    # A part of a duct is another duct.
    file = Msh4()
    file.here, file.ghosts = (1,), ghosts
    assert "the file has elements of 1 of 2 partitions only, so it is one of several" in refusal(
        file.write(tmp_path / "mesh.msh")
    )


def test_partitions_of_format_2(tmp_path):
    # Further tags: how many partitions, the own one, and those that have a copy.
    def rows(of: Sequence[int], only: Sequence[int]) -> list[Row]:
        quads = zip(DUCT.quad8.tolist(), of, strict=True)
        own = [(16, [9, 9, 2, k, k - 3], nodes) for nodes, k in quads if k in only]
        return [(kind, [*tags, 1, 1], nodes) for kind, tags, nodes in elements() if kind == 8] + own

    path = tmp_path / "mesh.msh"
    found = solved(msh_2(path, rows=rows([1, 2, 1, 2], only=(1, 2))))
    assert found.u.max() == pytest.approx(5)
    assert not found.report.warnings
    assert "the file has elements of 1 of 2 partitions only" in refusal(msh_2(path, rows=rows([1, 2, 1, 2], (1,))))
    found = solved(msh_2(path, rows=elements(tags=(9, 9, 1, 1))))
    assert any(
        "all elements are of partition 1; if this file is one of several" in one for one in found.report.warnings
    )


def test_nodes_with_parameters_are_refused_by_their_section(case, tmp_path):
    # And not as nodes that are missing.
    said = "$ParametricNodes: nodes with parameters of curves are not read; write the file with Mesh.SaveParametric=0"
    assert said in refusal(case("21b_param22.msh"))
    path = msh_2(tmp_path / "mesh.msh")
    path.write_text(path.read_text().replace("Nodes\n", "ParametricNodes\n"))
    assert said in refusal(path)


def test_a_mesh_without_a_surface_names_the_cause(case, tmp_path):
    # gmsh leaves out what is in no group.
    said = "only points and lines in physical groups: gmsh saves what is in a group; add a Physical Surface"
    assert said in refusal(case("26b_nosurf.msh"))
    assert said in refusal(msh_2(tmp_path / "mesh.msh", rows=[row for row in elements() if row[0] == 8]))
    bare = [(8, [0, 1], nodes) for kind, _, nodes in elements() if kind == 8]
    assert "only points and lines; mesh in two dimensions (gmsh -2)" in refusal(msh_2(tmp_path / "mesh.msh", rows=bare))
    assert "there are no 8-node quadrilaterals: before meshing, set" in refusal(msh_2(tmp_path / "mesh.msh", rows=[]))


@pytest.mark.parametrize("kind", [4, 5, 11, 17])
def test_volumes_are_refused(tmp_path, kind):
    rows = [*elements(), (kind, [9, 9], range(8))]
    assert f"volumes (gmsh type {kind}), but only 8-node quadrilaterals are solved: mesh in two dimensions" in refusal(
        msh_2(tmp_path / "mesh.msh", rows=rows)
    )


@pytest.mark.parametrize(
    ("text", "relations"),
    [("$Periodic\n1\n1 3 1\n2\n1 7\n2 8\n$EndPeriodic\n", "1 relation"), ("$Periodic\n0\n$EndPeriodic\n", "")],
)
def test_periodic_sides_are_not_joined(tmp_path, text, relations):
    # And that is said; the section may also stand before the elements.
    for place in ("before", "after"):
        found = solved(msh_2(tmp_path / "mesh.msh", **{place: text}))
        said = [one for one in found.report.warnings if "$Periodic is not applied" in one]
        assert len(said) == bool(relations)
        assert all(relations in one for one in said)


@pytest.mark.parametrize("binary", [False, True])
def test_periodic_sides_of_format_4(tmp_path, binary):
    file = Msh4(binary)
    file.after = b"$Periodic\n" + file.sizes(2) + file.ints(1, 3, 1) + b"\n$EndPeriodic\n"
    assert any("(2 relations in the file)" in one for one in read_mesh(file.write(tmp_path / "mesh.msh")).warnings)


def test_sections_that_do_not_change_a_mesh(tmp_path):
    # Remarks and results are silent, unknown ones are named.
    results = '$NodeData\n1\n"u"\n1\n0\n3\n0\n1\n1\n1 0.5\n$EndNodeData\n'
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", before="$Comments\n$Nodes\n$EndComments\n", after=results))
    assert not mesh.notes
    assert not mesh.warnings
    mesh = read_mesh(msh_2(tmp_path / "mesh.msh", before="$Springs\n1 2\n$EndSprings\n"))
    assert mesh.notes == ("the section 'Springs' of the file is unknown, and is left aside",)
    cut = msh_2(tmp_path / "mesh.msh", after=results)
    cut.write_bytes(cut.read_bytes()[:-20])  # the mesh is complete
    assert read_mesh(cut).n_elements == DUCT.n_elements


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("$Elements\n0\n$EndElements\n", "$Elements: the file has this section twice"),
        ("$Nodes\n0\n$EndNodes\n", "$Nodes: the file has this section twice"),
        ("$PhysicalNames\n0\n$EndPhysicalNames\n", "$PhysicalNames: the file has this section twice"),
    ],
)
def test_a_second_mesh_in_a_file_is_refused(tmp_path, more, said):
    # And not passed over.
    assert said in refusal(msh_2(tmp_path / "mesh.msh", after=more))


def test_groups_that_come_too_late_are_refused(tmp_path):
    # Entities say which lines are a boundary.
    path = Msh4().write(tmp_path / "mesh.msh")
    text = path.read_bytes()
    start, end = text.index(b"$Entities"), text.index(b"$PartitionedEntities")
    path.write_bytes(text[:start] + text[end:] + text[start:end])
    assert "$Entities: this section must come before $Elements" in refusal(path)


def test_walls_that_are_the_empty_rest_are_not_lost(tmp_path):
    # What we write, we read.
    whole = replace(
        DUCT, boundaries={"inlet": DUCT.boundaries["inlet"], "outlet": Boundary.from_edges(DUCT.exterior_edges)}
    )
    mesh = read_mesh(write_mesh(fem.with_boundaries(whole), tmp_path / "mesh.msh"))
    assert not mesh.lost
    assert not len(mesh.boundaries["walls"].edges)


# ── VTU ──────────────────────────────────────────────────────────────────────────────────────


def test_tags_of_meshio(case):
    # Names are lost, numbers aren't: nothing is found by position.
    path = case("48_mio.vtu")
    assert "there is no boundary 'inlet' and no 'outlet'; boundaries: '1', '2', '3'" in refusal(path)
    assert solved(path, ON_TAGS).u.max() == pytest.approx(5)


@pytest.mark.parametrize("name", ["gmsh:physical", "medit:ref", "cell_tags", "CellEntityIds", "gmsh:geometrical"])
@pytest.mark.parametrize("kind", [21, 3])
def test_tags_of_lines(tmp_path, name, kind):
    # Of three nodes and of two.
    mesh = read_mesh(vtu(tmp_path / "mesh.vtu", cells_of(kind=kind), {name: tags_of()}))
    assert {name: len(one.edges) for name, one in mesh.boundaries.items()} == {"1": 2, "2": 2, "3": 4, "walls": 0}
    assert solved(mesh, ON_TAGS).u.max() == pytest.approx(5)


@pytest.mark.parametrize("kind", ["Float64", "Float32", "UInt8"])
def test_tags_of_another_type(tmp_path, kind):
    # ParaView's filters make floats of them.
    path = vtu(tmp_path / "mesh.vtu", cells_of(), {"gmsh:physical": tags_of()}, kind=kind)
    assert solved(path, ON_TAGS).u.max() == pytest.approx(5)


@pytest.mark.parametrize("bad", [1.5, np.nan, 1e300])
def test_tags_that_are_no_numbers_of_groups(tmp_path, bad):
    path = vtu(tmp_path / "mesh.vtu", cells_of(), {"cell_tags": [bad, *tags_of()[1:]]}, kind="Float64")
    assert "CellData/cell_tags must hold whole numbers, the tags of boundaries" in refusal(path)


def test_groups_go_before_curves(tmp_path):
    # A negative tag is a reversed curve of the group.
    curves, groups = list(range(1, 9)) + [1] * 4, tags_of()
    groups[0] = -groups[0]
    data = {"gmsh:geometrical": curves, "gmsh:physical": groups}
    assert solved(vtu(tmp_path / "mesh.vtu", cells_of(), data), ON_TAGS).u.max() == pytest.approx(5)
    data["gmsh:physical"] = [0] * 12  # no line is in a group
    assert set(read_mesh(vtu(tmp_path / "mesh.vtu", cells_of(), data)).boundaries) == {*map(str, range(1, 9)), "walls"}


def test_numbers_under_an_unknown_name_are_no_boundaries_but_no_guess_either(tmp_path):
    # The refusal names the arrays, and what to do.
    path = vtu(tmp_path / "mesh.vtu", cells_of(), {"boundary_id": tags_of(), "rank": [0] * 12})
    said = refusal(path)
    assert "'boundary_id': whole numbers on the line cells, under a name that isn't known" in said
    assert "rank" not in said
    assert "name the array gmsh:physical" in said
    assert solved(read_mesh(path, by_position=True)).u.max() == pytest.approx(5)


def test_floats_on_lines_are_tags_as_well_if_they_are_whole_and_differ(tmp_path):
    # ParaView's calculator makes floats of whole numbers; a field is no tag.
    def path(tags: Sequence[float]) -> Path:
        return vtu(tmp_path / "mesh.vtu", cells_of(), {"region": tags}, kind="Float64")

    assert "'region': whole numbers on the line cells" in refusal(path(tags_of()))
    for field in ([300.0] * 12, [0.5 + i for i in range(12)], [float("nan")] * 12):
        assert solved(path(field)).mesh.by_position == ("inlet", "outlet")


@pytest.mark.parametrize(("name", "in_cells"), [("inlet", False), ("OUTLET_nodes", False), ("Inlet", True)])
def test_arrays_that_speak_of_an_inlet_or_outlet_are_no_guess(tmp_path, name, in_cells):
    # Marks of points, say, under a name that isn't boundary:NAME.
    marks = {name: [1.0] + [0.0] * ((DUCT.n_elements if in_cells else DUCT.n_nodes) - 1)}
    path = vtu(
        tmp_path / "mesh.vtu", cells_of()[-4:], marks if in_cells else None, at_points=None if in_cells else marks
    )
    assert "call the arrays of boundaries boundary:NAME" in refusal(path)


@pytest.mark.parametrize("suffix", [".msh", ".vtu"])
def test_a_name_that_no_boundary_can_have_is_lost(tmp_path, suffix):
    # What needs it is refused; nobody needs the wall.
    path = tmp_path / f"mesh{suffix}"

    def named(old: str, new: str) -> Path:
        if suffix == ".msh":
            return msh_2(path, names='1 1 "inlet"\n1 2 "outlet"\n1 3 "walls"\n'.replace(old, new))
        return vtu(path, cells_of(), {name.replace(old, new): marks for name, marks in marks_of().items()})

    found = solved(named("walls", "wall/top"))
    assert found.u.max() == pytest.approx(5)
    assert any("'wall/top': a boundary can't have this name" in note for note in found.report.notes)
    assert "'in/let': a boundary can't have this name; a name isn't empty" in refusal(named("inlet", "in/let"))


def test_a_surface_that_is_called_inlet_is_no_guess(tmp_path):
    rows = [row for row in elements() if row[0] == 16]
    said = refusal(msh_2(tmp_path / "mesh.msh", rows=rows, names='2 9 "inlet"\n'))
    assert "'inlet' of the file can't be used: its physical group is a surface" in said
    assert solved(msh_2(tmp_path / "mesh.msh", rows=rows, names='2 9 "air"\n')).u.max() == pytest.approx(5)


def test_lines_without_numbers_name_nothing(tmp_path):
    # They are left aside, and so are vertices.
    found = solved(vtu(tmp_path / "mesh.vtu", [(1, [0]), *cells_of()], {"rank": [0] * 13}))
    assert "1 point and 8 lines in no boundary are left aside" in found.report.notes
    assert found.mesh.by_position == ("inlet", "outlet")


def test_vertices_with_tags_are_points(tmp_path):
    # As physical points of gmsh.
    mesh = read_mesh(vtu(tmp_path / "mesh.vtu", [(1, [3]), *cells_of()], {"gmsh:physical": [1, *tags_of()]}))
    assert mesh.boundaries["point 1"].nodes.tolist() == [3]
    assert mesh.boundaries["1"].nodes.tolist() == DUCT.boundaries["inlet"].nodes.tolist()


@pytest.mark.parametrize("bad", [(4, [0, 1, 2]), (35, [0, 2, 1, 3]), (3, [0, 1])])
def test_a_line_that_is_no_side_loses_its_tag(tmp_path, bad):
    # A polyline, a cubic one, half of a side; without a tag it is left aside.
    path = tmp_path / "mesh.vtu"
    tagged = vtu(path, [bad, *cells_of()], {"gmsh:physical": [1, *tags_of()]})
    with pytest.raises(ProblemError, match=r"'1' of the file can't be used: 1 of its 3 lines is no side of an element"):
        solved(tagged, ON_TAGS)
    mesh = read_mesh(vtu(path, [bad, *cells_of()], {"gmsh:physical": [0, *tags_of()]}))
    assert mesh.notes == ("1 line in no boundary is left aside",)
    assert solved(mesh, ON_TAGS).u.max() == pytest.approx(5)


def test_several_points_in_a_cell_lose_their_tag(tmp_path):
    mesh = read_mesh(vtu(tmp_path / "mesh.vtu", [(2, [0, 1]), *cells_of()], {"gmsh:physical": [5, *tags_of()]}))
    assert mesh.lost == {"point 5": "it has cells of several points; write one vertex for each point"}


def test_arrays_of_boundaries_on_lines_of_two_nodes(tmp_path):
    # Ours, as another program may write them; tags beside them don't count.
    marks = {name: values for name, values in marks_of().items() if "walls" not in name}
    path = tmp_path / "mesh.vtu"
    found = solved(vtu(path, cells_of(kind=3), marks | {"ids": list(range(12))}))
    assert found.u.max() == pytest.approx(5)
    assert "4 lines in no boundary are left aside" in found.report.notes
    diagonal = {name: [int(name == "boundary:inlet"), *values] for name, values in marks.items()}
    said = refusal(vtu(path, [(3, [0, 10]), *cells_of(kind=3)], diagonal))
    assert "the boundary 'inlet' of the file can't be used: 1 of its 3 lines is no side of an element" in said


def test_an_empty_piece_is_dropped(case):
    assert solved(case("44b_empty.vtu")).u.max() == pytest.approx(5)


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("points", [0, 3])
def test_empty_pieces_are_dropped_wherever_they_are(tmp_path, place, points):
    # Also those that have points only.
    empty = EMPTY.replace('NumberOfPoints="0"', f'NumberOfPoints="{points}"')
    path = vtu(tmp_path / "mesh.vtu", cells_of(), {"gmsh:physical": tags_of()}, **{place: empty * 2})
    assert solved(path, ON_TAGS).u.max() == pytest.approx(5)


def test_two_full_pieces_are_refused(tmp_path):
    path = vtu(tmp_path / "mesh.vtu", cells_of())
    text = path.read_text()
    piece = text[text.index("<Piece") : text.index("</UnstructuredGrid>")]
    path.write_text(text.replace(piece, piece * 2 + EMPTY))
    assert "the grid must have one piece with cells, not 2; merge the pieces first" in refusal(path)


@pytest.mark.parametrize(("name", "value"), [("vtkGhostType", 1), ("vtkGhostType", 32), ("vtkGhostLevels", 1)])
def test_copies_of_cells_are_refused(tmp_path, name, value):
    # They belong to another piece, or are hidden; on the outside (16) is no reason.
    path, cells = tmp_path / "mesh.vtu", cells_of()
    said = refusal(vtu(path, cells, {name: [0] * 11 + [value]}, kind="UInt8"))
    assert f"1 cell is hidden, or a copy of another piece's ({name})" in said
    assert solved(vtu(path, cells, {"vtkGhostType": [16] * 12}, kind="UInt8")).u.max() == pytest.approx(5)


@pytest.mark.parametrize("kind", [10, 12, 25])
def test_volume_cells_are_refused(tmp_path, kind):
    assert f"volumes (VTK type {kind}), but only" in refusal(
        vtu(tmp_path / "mesh.vtu", [*cells_of(), (kind, range(8))])
    )


# ── results as meshes ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".npz", ".vtu", ".h5"])
def test_a_result_that_does_not_store_its_problem_says_so(tmp_path, suffix):
    # HDF5 does.
    path = solved(DUCT, Problem((Robin("inlet", 1.0), Dirichlet("outlet")))).write(tmp_path / f"result{suffix}")
    said = f"the file is a result, but {suffix} doesn't store its problem"
    assert any(one.startswith(said) for one in read_mesh(path).warnings) == (suffix != ".h5")
    assert not read_mesh(write_mesh(DUCT, tmp_path / f"mesh{suffix}")).warnings


# ── NumPy and HDF5 ───────────────────────────────────────────────────────────────────────────


def test_arrays_under_other_names_are_named(case, tmp_path):
    # With their shapes.
    said = "there is no 'x'; found: points (37, 2), cells (8, 8); a mesh has x and y (n_nodes,) and quad8"
    assert said in refusal(case("51c.npz"))
    np.savez(tmp_path / "mesh.npz", x=DUCT.x, y=DUCT.y, QUAD8=DUCT.quad8, odd=np.array([{}]))
    assert "there is no 'quad8'; found: x (21,), y (21,), QUAD8 (4, 8), odd (1,); a mesh has" in refusal(
        tmp_path / "mesh.npz"
    )
    np.savez(tmp_path / "mesh.npz", **{f"a{i}": np.zeros(1) for i in range(11)})
    assert "a9 (1,), …; a mesh has" in refusal(tmp_path / "mesh.npz")
    np.savez(tmp_path / "mesh.npz", **{"line\nbreak": np.zeros(1)})
    assert "line\\nbreak" in refusal(tmp_path / "mesh.npz")


def test_datasets_under_other_names_are_named(tmp_path):
    # Groups and links for what they are.
    with h5py.File(tmp_path / "mesh.h5", "w") as file:
        file["coord"] = np.zeros((5, 2))
        file.create_group("mesh")
        file["elsewhere"] = h5py.ExternalLink("other.h5", "/x")
    said = "there is no 'x'; found: coord (5, 2), elsewhere (a link), mesh (a group); a mesh has x and y"
    assert said in refusal(tmp_path / "mesh.h5")


def arrays(path: Path, **more: np.ndarray) -> Path:
    """The duct without boundaries, and more arrays beside it."""
    both = {"x": DUCT.x, "y": DUCT.y, "quad8": DUCT.quad8, **more}
    if path.suffix == ".npz":
        np.savez(path, **both)
    else:
        with h5py.File(path, "w") as file:
            for name, values in both.items():
                file[name] = values
    return path


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(
    "name", ["inlet", "Inlet_nodes", "boundary/inlet/edges", "Boundaries/a", "sets/outlet", "left"]
)
def test_arrays_that_may_be_boundaries_are_no_guess(tmp_path, suffix, name):
    # The inlet by position would be the left side, whatever the arrays say.
    path = arrays(tmp_path / f"mesh{suffix}", **{name: DUCT.boundaries["walls"].edges})
    if (suffix, name) != (".h5", "Boundaries/a"):  # only the group is looked at
        assert name.removesuffix("/edges") in refusal(path)
    assert "the array isn't read; the edges of a boundary are boundaries/NAME/edges" in refusal(path)
    assert run("check", path).exit_code == 2


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_arrays_that_are_no_boundaries_are_left_alone(tmp_path, suffix):
    more = {
        "node_ids": np.arange(DUCT.n_nodes), "material": np.ones(DUCT.n_elements, int), "version": np.array(2),
        "temperature": np.ones(3), "none": np.empty((0, 3), int),
    }  # fmt: skip
    found = solved(arrays(tmp_path / f"mesh{suffix}", **more))
    assert found.u.max() == pytest.approx(5)
    assert found.mesh.by_position == ("inlet", "outlet")


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_a_boundary_of_edges_alone(tmp_path, suffix):
    # Their nodes are known.
    edges = {f"boundaries/{name}/edges": DUCT.boundaries[name].edges for name in ("inlet", "outlet")}
    found = solved(arrays(tmp_path / f"mesh{suffix}", **edges))
    assert found.u.max() == pytest.approx(5)
    assert not found.mesh.by_position


def test_repeated_rows_count_once(case):
    assert solved(case("107_edges_twice.h5")).u.max() == pytest.approx(5)


def test_triangles_written_as_quadrilaterals_are_called_that(case):
    assert (
        "element 1 repeats a corner: triangles written as quadrilaterals; fem convert MESH -o OUT splits them"
        in refusal(case("99_degenerate.npz"))
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({3: 2, 6: 2}, "elements 0, 2 repeat a corner: triangles written as quadrilaterals"),
        ({3: 2}, "elements 0, 2 repeat a corner: triangles written as quadrilaterals"),
        ({0: 3, 7: 3, 4: 5}, "elements 0, 2 repeat a corner: triangles written as quadrilaterals"),
        ({4: 0}, "elements 0, 2 have a corner as a mid-side node; each side needs a node of its own"),
        ({4: 6}, "elements 0, 2 name the same node twice"),
    ],
)
def test_collapsed_elements_of_every_kind(tmp_path, changes, said):
    # Any corner, with its mid-side or without.
    quad8 = DUCT.quad8.copy()
    for place, other in changes.items():
        quad8[[0, 2], place] = quad8[[0, 2], other]
    np.savez(tmp_path / "mesh.npz", x=DUCT.x, y=DUCT.y, quad8=quad8)
    assert said in refusal(tmp_path / "mesh.npz")
    assert re.search(re.escape(said), run("check", tmp_path / "mesh.npz").stdout)

"""`fem convert`: meshes of gmsh, VTU, Abaqus and other programs become 8-node quadrilaterals, boundaries included."""

import shlex

import fem_core as fem
import numpy as np
import pytest
from commands import run
from fem_core.mesh.mesh import Mesh

DUCT = fem.generate.duct(length=2.0, height=1.0, nx=4, ny=3)
KINDS = ("triangle", "triangle6", "quad", "quad9", "mixed")


def foreign(kind: str, mesh: Mesh = DUCT, *, quadratic_lines: bool = True):
    """The duct as meshio has it, in cells of another kind; inlet and outlet by tags with names."""
    meshio = pytest.importorskip("meshio")
    quad = mesh.quad8.astype(int)
    a, b, c, d, ab, bc, cd, da = quad.T
    middle = len(mesh.x) + np.arange(len(quad))
    points = np.column_stack([mesh.x, mesh.y, np.zeros(len(mesh.x))])
    centres = points[quad[:, :4]].mean(axis=1)
    halves = [np.stack(corners, axis=1) for corners in ((a, b, c), (a, c, d))]
    cells = {
        "triangle": [("triangle", np.concatenate(halves))],
        "triangle6": [
            ("triangle6", np.stack([a, b, c, ab, bc, middle], axis=1)),
            ("triangle6", np.stack([a, c, d, middle, cd, da], axis=1)),
        ],
        "quad": [("quad", quad[:, :4])],
        "quad9": [("quad9", np.column_stack([quad, middle]))],
        "mixed": [("triangle", halves[0][:5]), ("triangle", halves[1][:5]), ("quad", quad[5:, :4])],
    }[kind]
    straight = kind in ("triangle", "quad", "mixed")
    edges = [mesh.boundaries[name].edges.astype(int) for name in ("inlet", "outlet")]
    for own in edges:
        cells = [*cells, ("line", own[:, [0, 2]]) if straight else ("line3", own[:, [0, 2, 1]])]
    tags = [np.zeros(len(nodes), dtype=int) for _, nodes in cells]
    tags[-2][:], tags[-1][:] = 7, 8
    names = {"inlet": np.array([7, 1]), "outlet": np.array([8, 1])}
    data = {"gmsh:physical": tags, "gmsh:geometrical": tags}
    return meshio.Mesh(np.concatenate([points, centres]), cells, cell_data=data, field_data=names)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.mark.parametrize("suffix", [".msh", ".vtu", ".vtk", ".mesh"])
def test_every_kind_of_cell_solves_the_duct(tmp_path, kind, suffix):
    # By our own readers of gmsh and VTU, and by meshio. u = 2.5 (2 - x) is exact on any mesh with straight sides.
    path, out = tmp_path / f"duct{suffix}", tmp_path / "quads.h5"
    given = foreign(kind)
    if suffix == ".mesh":
        if kind in ("triangle6", "quad9"):
            pytest.skip("Medit's format has no such cells")
        given.cell_data = {"medit:ref": given.cell_data["gmsh:physical"]}
    if suffix != ".msh":
        given.field_data = {}
    given.write(path, **({"file_format": "gmsh22", "binary": False} if suffix == ".msh" else {}))
    done = run("convert", path, "-o", out)
    assert done.exit_code == 0, done.stderr
    assert f"fem solve {shlex.quote(str(out))}" in done.stdout
    mesh = fem.read_mesh(out)
    inlet, outlet = ("inlet", "outlet") if suffix == ".msh" else ("7", "8")
    problem = fem.Problem((fem.Robin(inlet, 2.5), fem.Dirichlet(outlet)))
    solution = fem.solve(mesh, problem, backend="numpy", solver="direct")
    assert np.allclose(solution.u, 2.5 * (2 - mesh.x))
    assert mesh.n_elements == {"triangle": 72, "triangle6": 72, "quad": 12, "quad9": 12, "mixed": 58}[kind]
    assert len(mesh.orphan_nodes) == 0
    assert fem.check_mesh(out).faults == () or suffix != ".msh"


def tagged(array: str, tags: tuple[int, int] = (7, 8)):
    """The duct in triangles; the lines of inlet and outlet, in one block, have these tags in an array."""
    given = foreign("triangle")
    lines = np.concatenate([given.cells[1].data, given.cells[2].data])
    kept = {array: [np.zeros(len(given.cells[0].data), dtype=int), np.repeat(tags, [3, 3])]}
    used, nodes = np.unique(given.cells[0].data, return_inverse=True)
    cells = [("triangle", nodes.reshape(-1, 3)), ("line", np.searchsorted(used, lines))]
    return type(given)(given.points[used], cells, cell_data=kept)


def names_of(path) -> list[str]:
    return sorted(fem.convert_mesh(path).boundaries)


def test_nastran_properties_are_tags(tmp_path):
    tagged("nastran:ref").write(tmp_path / "duct.bdf")
    assert names_of(tmp_path / "duct.bdf") == ["7", "8"]


@pytest.mark.parametrize("suffix", [".e", ".vtu"])
@pytest.mark.parametrize("triangles", [True, False])
def test_sets_of_corners_get_the_sides_between_them(tmp_path, suffix, triangles):
    # Else a condition would hold at the corners only.
    if suffix == ".e":
        pytest.importorskip("netCDF4")
    given = tagged("f") if triangles else foreign("quad")
    sets = {"inlet": given.points[:, 0] == 0, "outlet": given.points[:, 0] == 2}
    if suffix == ".e":
        kept = {"point_sets": {name: np.flatnonzero(chosen) for name, chosen in sets.items()}}
    else:
        kept = {"point_data": {f"boundary:{name}": chosen.astype(int) for name, chosen in sets.items()}}
    type(given)(given.points, given.cells[:1], **kept).write(tmp_path / f"duct{suffix}")
    mesh = fem.convert_mesh(tmp_path / f"duct{suffix}")
    for name in sets:
        assert len(mesh.boundaries[name].edges) == (6 if triangles else 3)
    solution = fem.solve(mesh, backend="numpy", solver="direct")
    assert np.allclose(solution.u, 2.5 * (2 - solution.mesh.x))


def test_sets_of_exodus_without_names_and_of_sides(tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    given, path = tagged("f"), tmp_path / "duct.e"
    sets = {"": np.flatnonzero(given.points[:, 0] == 0), "outlet": np.flatnonzero(given.points[:, 0] == 2)}
    type(given)(given.points, given.cells[:1], point_sets=sets).write(path)
    with netcdf.Dataset(path, "a") as file:
        file["ns_prop1"][:] = [7, 8]
        file.createDimension("num_side_sets", 2)
        file.createVariable("ss_names", "S1", ("num_side_sets", "len_string"))[0, :4] = list("gate")
        file.createVariable("ss_prop1", "i4", ("num_side_sets",))[:] = [11, 12]
    mesh = fem.convert_mesh(path)
    assert {name: len(one.edges) for name, one in mesh.boundaries.items()} == {"7": 6, "outlet": 6}
    assert set(mesh.lost) == {"gate", "12"}


def test_a_package_that_meshio_lacks(tmp_path, monkeypatch):
    meshio = pytest.importorskip("meshio")

    def read(path):
        raise ModuleNotFoundError(name="netCDF4")

    monkeypatch.setattr(meshio, "read", read)
    (tmp_path / "part.e").write_text("x")
    with pytest.raises(fem.MeshError, match=r"needs netCDF4 for this format: .*pip install netCDF4"):
        fem.convert_mesh(tmp_path / "part.e")


def test_an_ending_that_nobody_reads(tmp_path):
    pytest.importorskip("meshio")
    (tmp_path / "part.unv").write_text("x")
    with pytest.raises(fem.MeshError, match=r"unknown ending '.unv'; known: .*\.bdf.*\.msh"):
        fem.convert_mesh(tmp_path / "part.unv")


def test_what_meshio_cant_read_is_told_with_a_way_out(tmp_path):
    pytest.importorskip("meshio")
    (tmp_path / "part.bdf").write_text("GRID\n")
    with pytest.raises(fem.MeshError, match=r"BEGIN BULK.*; write it as .msh, .vtu or .inp$"):
        fem.convert_mesh(tmp_path / "part.bdf")


def test_groups_of_med_keep_their_names(tmp_path):
    # A family is what some groups have in common: here "inlet" is one group, of two families.
    given = tagged("cell_tags", (-7, -8))
    given.cell_tags = {-7: ["inlet", "ends"], -8: ["outlet", "ends"], -9: ["gate"], -1: ["fluid"], -2: ["corner"]}
    given.cells.append(type(given.cells[0])("vertex", np.array([[0]])))
    given.cell_data["cell_tags"] = [*given.cell_data["cell_tags"], np.array([-2])]
    given.cell_data["cell_tags"][0][:] = -1  # the group of an area is no boundary
    given.point_data = {"point_tags": (np.arange(len(given.points)) == 0).astype(int)}
    given.point_tags = {1: ["pin"]}
    given.write(tmp_path / "duct.med")
    mesh = fem.convert_mesh(tmp_path / "duct.med")
    assert {name: len(one.edges) for name, one in mesh.boundaries.items()} == {
        "outlet": 6, "inlet": 6, "ends": 12, "pin": 0, "corner": 0,
    }  # fmt: skip
    assert mesh.boundaries["pin"].nodes.tolist() == [0]
    assert mesh.lost == {"gate": "no line and no point of the file has this name"}


def su2(path, names: tuple[str, str], equals: str = "= ") -> None:
    given = tagged("su2:tag")
    lines = [f"NDIME= 2\nNELEM= {len(given.cells[0].data)}"]
    lines += ["5 " + " ".join(map(str, nodes)) for nodes in given.cells[0].data.tolist()]
    lines += [f"NPOIN= {len(given.points)}", *(f"{x:.17g} {y:.17g}" for x, y, _ in given.points), "NMARK= 2"]
    for name, part in zip(names, np.split(given.cells[1].data, 2), strict=True):
        lines += [f"MARKER_TAG{equals}{name}", "MARKER_ELEMS= 3", *(f"3 {a} {b}" for a, b in part.tolist())]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("names", [("inlet", "outlet"), ("0", "5"), ("7", "far field")])
def test_markers_of_su2_keep_their_names(tmp_path, names):
    su2(tmp_path / "duct.su2", names)
    mesh = fem.convert_mesh(tmp_path / "duct.su2")
    assert {name: len(one.edges) for name, one in mesh.boundaries.items()} == dict.fromkeys(names, 6)
    assert np.allclose(mesh.x[mesh.boundaries[names[0]].nodes], 0)
    assert mesh.notes == ()


def test_markers_of_su2_that_meshio_joins_are_refused(tmp_path):
    su2(tmp_path / "duct.su2", ("inlet", "1"))
    with pytest.raises(fem.MeshError, match="the markers 'inlet' and '1' can't be told apart"):
        fem.convert_mesh(tmp_path / "duct.su2")


def test_markers_of_su2_that_meshio_skips_are_lost_names(tmp_path):
    su2(tmp_path / "duct.su2", ("inlet", "outlet"), " = ")
    assert set(fem.convert_mesh(tmp_path / "duct.su2").lost) == {"inlet", "outlet"}


def test_a_time_in_a_vtk_file_is_no_name(tmp_path):
    path = tmp_path / "duct.vtk"
    tagged("medit:ref").write(path, binary=False)
    kind = "DATASET UNSTRUCTURED_GRID\n"
    path.write_text(path.read_text().replace(kind, f"{kind}FIELD FieldData 1\nTIME 1 1 double\n0.5\n"))
    assert names_of(path) == ["7", "8"]


@pytest.mark.parametrize("suffix", [".vtk", ".xdmf"])
def test_arrays_that_may_be_tags_are_lost_names(tmp_path, suffix):
    tagged("f").write(tmp_path / f"duct{suffix}")
    assert list(fem.convert_mesh(tmp_path / f"duct{suffix}").lost) == ["f"]


def test_tags_are_whole_numbers(tmp_path):
    given = tagged("medit:ref")
    given.cell_data = {"medit:ref": [part + 0.5 for part in given.cell_data["medit:ref"]]}
    given.write(tmp_path / "duct.vtk")
    with pytest.raises(fem.MeshError, match="medit:ref must hold whole numbers"):
        fem.convert_mesh(tmp_path / "duct.vtk")


@pytest.mark.parametrize("suffix", [".msh", ".vtu"])
def test_a_solve_names_the_command_with_the_file(tmp_path, kind, suffix):
    path = tmp_path / f"my duct{suffix}"
    given = foreign(kind)
    if suffix == ".vtu":
        given.field_data = {}
    given.write(path, **({"file_format": "gmsh22", "binary": False} if suffix == ".msh" else {}))
    for command in ("solve", "check"):
        done = run(command, path)
        assert done.exit_code == 2
        assert "only 8-node quadrilaterals are solved" in done.stderr
        assert f"fem convert {shlex.quote(str(path))} -o 'my duct-quads.h5'" in done.stderr


def test_a_format_that_can_only_be_converted_says_so(tmp_path):
    path = tmp_path / "duct.vtk"
    foreign("quad").write(path)
    assert f"fem convert {path} -o duct-quads.h5" in run("solve", path).stderr


@pytest.mark.parametrize(
    ("cells", "width", "suffix", "what"),
    [
        ("tetra", 4, ".vtk", "1 cell of the type 'tetra' can't be converted"),
        ("tetra", 4, ".vtu", "volumes (VTK type 10)"),
        ("polygon", 5, ".vtu", "polygons (VTK type 7)"),
        ("triangle10", 10, ".msh", "10-node triangles (gmsh type 21)"),
        ("tetra", 4, ".msh", "volumes (gmsh type 4)"),
        ("line4", 4, ".msh", "lines of third or higher order (gmsh type 26)"),
    ],
)
def test_what_cant_be_converted_is_refused_by_name(tmp_path, cells, width, suffix, what):
    meshio = pytest.importorskip("meshio")
    path = tmp_path / f"odd{suffix}"
    given = meshio.Mesh(np.random.default_rng(0).random((width, 3)), [(cells, np.arange(width)[None])])
    given.write(path, **({"file_format": "gmsh22", "binary": False} if suffix == ".msh" else {}))
    done = run("convert", path, "-o", tmp_path / "out.h5")
    assert done.exit_code == 2
    assert what in done.stderr
    assert not (tmp_path / "out.h5").exists()


def test_refine_and_scale(tmp_path):
    path = fem.write_mesh(DUCT, tmp_path / "duct.h5")
    out = tmp_path / "fine.msh"
    assert run("convert", path, "--refine", 2, "--scale", 0.001, "-o", out).exit_code == 0
    fine = fem.read_mesh(out)
    assert fine.n_elements == 16 * DUCT.n_elements
    assert np.ptp(fine.x) == pytest.approx(0.002)
    assert set(fine.boundaries) == {"inlet", "outlet", "walls"}
    assert fem.solve(fine, backend="numpy").u.max() == pytest.approx(0.005)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".msh", ".vtu"])
def test_names_that_are_lost_stay_names(tmp_path, suffix):
    # Else inlet and outlet of the new file would be found by position.
    tagged("f").write(tmp_path / "duct.vtk")
    assert run("convert", tmp_path / "duct.vtk", "-o", tmp_path / f"quads{suffix}").exit_code == 0
    done = run("solve", tmp_path / f"quads{suffix}")
    assert done.exit_code == 2
    assert "there is no boundary 'inlet' and no 'outlet'" in done.stderr


def test_refine_of_the_command_is_a_whole_number(tmp_path):
    path = fem.write_mesh(DUCT, tmp_path / "duct.h5")
    assert (
        "refine must be a whole number from 0 on, not -1"
        in run("convert", path, "-o", tmp_path / "out.h5", "--refine", -1).stderr
    )


@pytest.mark.parametrize(
    ("places", "kind", "nodes", "what"),
    [
        ([(0, 0), (1, 0), (0, 1)], "triangle", [[0, 0, 1]], r"from \(0, 0\) to \(0, 0\) has no length"),
        ([(0, 0), (1, 0), (0, 1)], "triangle", [[0, 1, 2]] * 3, r"\(3 in all\) belongs to more than two elements"),
        (
            [(0, 0), (1, 0), (1, 2), (0, 2), (2, 0), (2, 1), (1, 1), (2, 2)], "quad",
            [[0, 1, 2, 3], [1, 4, 5, 6], [6, 5, 7, 2]], r"from \(1, 0\) to \(1, 2\) has a corner in its middle",
        ),
        ([(0, 0), (1, 0), (1, 1), (0, 1)], "quad", [[0, 2, 1, 3]], r"numbers are those of the new mesh"),
    ],
)  # fmt: skip
def test_faults_are_told_by_their_place(tmp_path, places, kind, nodes, what):
    meshio = pytest.importorskip("meshio")
    points = np.column_stack([places, np.zeros(len(places))]).astype(float)
    meshio.Mesh(points, [(kind, np.array(nodes))]).write(tmp_path / "odd.vtk")
    with pytest.raises(fem.MeshError, match=f"odd.vtk: .*{what}"):
        fem.convert_mesh(tmp_path / "odd.vtk")


@pytest.mark.parametrize("node", [-1, 51])
def test_nodes_that_do_not_exist_are_told(node):
    quad = DUCT.quad8.copy()
    quad[2, 1] = node
    with pytest.raises(fem.MeshError, match="element 2 refers to nodes outside 0…50"):
        fem.convert_mesh(Mesh(DUCT.x, DUCT.y, quad))


def test_a_file_that_is_not_there(tmp_path):
    pytest.importorskip("meshio")
    for name in ("part.bdf", "part.msh"):
        done = run("convert", tmp_path / name, "-o", tmp_path / "out.h5")
        assert done.exit_code == 2
        assert "this file doesn't exist" in done.stderr


@pytest.mark.parametrize("refine", [-1, 1.5, True, "2"])
def test_refine_is_a_whole_number(refine):
    with pytest.raises(fem.FemError, match="refine must be a whole number"):
        fem.convert_mesh(DUCT, refine=refine)


def test_a_mesh_that_would_be_too_large_is_refused_at_once():
    with pytest.raises(fem.FemError, match="refine=20 would make 13,194,139,533,312 elements"):
        fem.convert_mesh(DUCT, refine=20)


def test_clockwise_elements_are_reversed_with_a_note():
    quad = DUCT.quad8.copy()
    quad[3] = quad[3, [0, 3, 2, 1, 7, 6, 5, 4]]
    mesh = fem.convert_mesh(Mesh(DUCT.x, DUCT.y, quad, DUCT.boundaries))
    assert "1 clockwise element was reversed" in mesh.notes
    assert fem.solve(mesh, backend="numpy").u.max() == pytest.approx(5)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("recombine", [0, 1])
def test_a_drawing_of_gmsh(tmp_path, order, recombine):
    # A duct round a cylinder as gmsh meshes it: triangles are left, or all there is.
    gmsh = pytest.importorskip("gmsh", exc_type=ImportError)
    gmsh.initialize(interruptible=False)
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        whole = gmsh.model.occ.addRectangle(0, 0, 0, 3, 1)
        hole = gmsh.model.occ.addDisk(1, 0.5, 0, 0.2, 0.2)
        gmsh.model.occ.cut([(2, whole)], [(2, hole)])
        gmsh.model.occ.synchronize()
        for _, curve in gmsh.model.getEntities(1):
            low, _, _, high, _, _ = gmsh.model.getBoundingBox(1, curve)
            if high < 0.1 or low > 2.9:
                gmsh.model.addPhysicalGroup(1, [curve], name="inlet" if high < 0.1 else "outlet")
        gmsh.model.addPhysicalGroup(2, [tag for _, tag in gmsh.model.getEntities(2)])
        for option, value in (("ElementOrder", order), ("RecombineAll", recombine), ("MeshSizeMax", 0.12)):
            gmsh.option.setNumber(f"Mesh.{option}", value)
        gmsh.model.mesh.generate(2)
        gmsh.write(str(tmp_path / "drawing.msh"))
    finally:
        gmsh.finalize()
    assert run("convert", tmp_path / "drawing.msh", "-o", tmp_path / "quads.h5").exit_code == 0
    assert run("check", tmp_path / "quads.h5").exit_code == 0
    solution = fem.solve(tmp_path / "quads.h5", backend="numpy", solver="direct")
    flux = fem.assemble_system(solution.mesh).matrix @ solution.u
    assert flux[solution.mesh.boundaries["outlet"].nodes].sum() == pytest.approx(-2.5, rel=1e-9)
    assert solution.u.max() == pytest.approx(8.3, abs=0.2)

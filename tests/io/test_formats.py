"""Mesh formats: round trips, files of other programs, and what is refused with which words."""

import importlib.util
import tempfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fem_core as fem
import numpy as np
import pytest
from fem_core import Boundary, Mesh, MeshError, read_mesh, write_mesh
from fem_core.io import vtk
from fem_core.io.files import mesh_formats, write_result
from fem_core.io.vtu import write_grid
from fem_core.mesh.boundaries import with_boundaries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshes import distorted, small_meshes, squares
from places import DATA

XLSX = pytest.param(
    ".xlsx",
    marks=pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("openpyxl", "defusedxml"))), reason="needs the extra xlsx"
    ),
)
SUFFIXES = [".h5", ".npz", ".msh", ".vtu", ".inp", XLSX]
MESH = distorted(3, 2, seed=1, width=2.0)
NAMES = st.text(st.characters(categories=["L", "N", "Pd", "Zs"], codec="utf-8"), min_size=1, max_size=20).map(str.strip)


@st.composite
def named_meshes(draw) -> Mesh:
    """Small meshes with boundaries of any names, which may overlap and have nodes beyond their edges."""
    mesh = draw(small_meshes(most=3))
    edges = mesh.exterior_edges
    names = draw(st.lists(NAMES.filter(lambda name: name.isprintable() and name), unique_by=str.upper, max_size=3))
    boundaries = {}
    for name in names:
        chosen = draw(st.lists(st.sampled_from(range(len(edges))), unique=True, max_size=4))
        further = draw(st.lists(st.sampled_from(np.unique(edges).tolist()), min_size=not chosen, max_size=2))
        boundaries[name] = Boundary(edges[chosen], np.union1d(edges[chosen], further).astype(np.int32))
    return replace(mesh, boundaries=boundaries)


def rows(edges) -> set[tuple[int, ...]]:
    return set(map(tuple, edges.tolist()))


def assert_same(found: Mesh, mesh: Mesh, rtol: float = 0.0) -> None:
    """The same numbers in the same order; the same boundaries, whose edges may be in another order."""
    np.testing.assert_allclose(found.x, mesh.x, rtol=rtol)
    np.testing.assert_allclose(found.y, mesh.y, rtol=rtol)
    np.testing.assert_array_equal(found.quad8, mesh.quad8)
    for name, boundary in mesh.boundaries.items():
        assert rows(found.boundaries[name].edges) == rows(boundary.edges)
        np.testing.assert_array_equal(found.boundaries[name].nodes, boundary.nodes)


# ── round trips ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mesh=named_meshes())
def test_a_mesh_comes_back_with_its_boundaries(suffix, mesh):
    # Bit by bit; but a workbook's millimetres may cost the last digit.
    with tempfile.TemporaryDirectory() as folder:
        path = write_mesh(mesh, Path(folder) / f"mesh{suffix}")
        found = read_mesh(path)
        assert_same(found, mesh, rtol=1e-15 if suffix == ".xlsx" else 0.0)
        assert set(found.boundaries) == {*(mesh.boundaries or ("inlet", "outlet")), "walls"}
        assert [p.name for p in Path(folder).iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_any_format_solves_alike(tmp_path, suffix):
    # What the whole exercise is for.
    mesh = fem.generate.y_tube(nodes=600)
    found = read_mesh(write_mesh(mesh, tmp_path / f"MESH{suffix.upper()}"))
    assert fem.solve(found, solver="direct").u.max() == pytest.approx(fem.solve(mesh, solver="direct").u.max())
    assert found.source == f"MESH{suffix.upper()}"


@pytest.mark.parametrize("suffix", [".msh", ".vtu", ".inp"])
def test_edges_inside_the_mesh_can_be_a_boundary(tmp_path, suffix):
    # In whichever direction: two elements have them.
    mesh = squares(2)
    inner = np.array([[mesh.quad8[0, i] for i in (1, 5, 2)]], dtype=np.int32)
    mesh = replace(mesh, boundaries={**mesh.boundaries, "cut": Boundary.from_edges(inner)})
    found = read_mesh(write_mesh(mesh, tmp_path / f"mesh{suffix}")).boundaries["cut"]
    assert rows(found.edges) <= rows(inner) | rows(inner[:, ::-1])
    assert len(found.edges) == 1


@pytest.mark.parametrize("name", ['a"b', "a,b", "a=b", "line\nbreak", " a", "x" * 81])
@pytest.mark.parametrize("suffix", [".msh", ".vtu", ".inp", XLSX])
def test_names_that_a_text_format_cannot_hold(tmp_path, name, suffix):
    # Refused rather than changed; the file is named, not the temporary one.
    mesh = replace(MESH, boundaries={name: MESH.boundaries["inlet"]})
    with pytest.raises(MeshError, match=rf"mesh{suffix}: the boundary name .* can't be written") as refused:
        write_mesh(mesh, tmp_path / f"mesh{suffix}")
    assert "tmp:" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_a_writer_that_fails_is_one_line_that_names_the_file(tmp_path, monkeypatch):
    # For meshes as for results; the system's errors stay what they are.
    solution = fem.solve(MESH, solver="direct")
    monkeypatch.setattr(np, "savez", lambda *a, **b: {}["absent"])
    for write in (lambda path: write_mesh(MESH, path), solution.write):
        with pytest.raises(fem.FemError, match=r"u\.npz: can't be written: KeyError: 'absent'$"):
            write(tmp_path / "u.npz")


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".npz", ".vtu"])
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mesh=named_meshes())
def test_a_result_is_a_mesh_with_the_same_boundaries(suffix, mesh):
    # Otherwise inlet and outlet would be found by position, and another problem solved.
    mesh = with_boundaries(mesh)
    none, per_element = np.zeros(mesh.n_nodes), np.zeros(mesh.n_elements)
    report = SimpleNamespace(converged=True, history=(), to_dict=dict)
    solution = SimpleNamespace(
        mesh=mesh, problem=fem.Problem(()), u=none, speed=per_element, pressure=per_element,
        velocity=np.zeros((mesh.n_elements, 2)), report=report,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found = read_mesh(write_result(solution, Path(folder) / f"result{suffix}"))
    assert_same(found, mesh)
    assert set(found.boundaries) == set(mesh.boundaries)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".vtu"])
def test_a_result_solves_again_alike(tmp_path, suffix):
    # An elbow, whose outlet isn't at the greatest x.
    mesh = fem.generate.elbow(nodes=500)
    first = fem.solve(mesh, solver="direct")
    again = fem.solve(read_mesh(first.write(tmp_path / f"result{suffix}")), solver="direct")
    assert again.u.max() == pytest.approx(first.u.max())


def test_a_result_with_a_cut_inside_keeps_it(tmp_path):
    mesh = squares(2)
    inner = np.array([[mesh.quad8[0, i] for i in (1, 5, 2)]], dtype=np.int32)
    mesh = replace(mesh, boundaries={**mesh.boundaries, "cut": Boundary.from_edges(inner)})
    found = read_mesh(fem.solve(mesh, solver="direct").write(tmp_path / "u.vtu")).boundaries["cut"]
    assert rows(np.sort(found.edges)) == rows(np.sort(inner))


@pytest.mark.parametrize("mark", [16, -1, np.nan])
def test_sides_that_no_element_has(tmp_path, mark):
    path = tmp_path / "u.vtu"
    cells = {"connectivity": MESH.quad8.ravel(), "offsets": np.arange(1, 7) * 8, "types": np.full(6, 23, np.uint8)}
    write_grid(path, vtk.points(MESH), cells, {}, {"boundary:inlet": np.full(6, float(mark))}, {})
    assert "CellData/boundary:inlet must be from 0 to 15" in refusal(path)


def test_a_result_in_npz_form_is_a_mesh(tmp_path):
    # Other arrays in the archive are nobody's business here, not even pickles.
    mesh = {"x": MESH.x, "y": MESH.y, "quad8": MESH.quad8}
    np.savez_compressed(tmp_path / "result.npz", **mesh, u=MESH.x, report=np.array("{}"), odd=np.array([{}]))
    assert_same(read_mesh(tmp_path / "result.npz"), replace(MESH, boundaries={}))


def test_a_workbook_as_people_write_it(tmp_path):
    # Columns in another order, others between them, more columns beside the nodes, empty rows at the end.
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("defusedxml")
    book = openpyxl.Workbook()
    coord, conec = book.active, book.create_sheet("conec")
    coord.title = "coord"
    book.create_sheet("notes").append(["made by hand"])
    coord.append(["Node", "Y", "Remark", "x"])
    for i, (x, y) in enumerate(zip(MESH.x, MESH.y, strict=True)):
        coord.append([i + 1, 1000 * float(y), None, 1000 * float(x)])
    conec.append([f"node {i}" for i in range(8)] + ["material"])
    for row in MESH.quad8 + 1:
        conec.append([*row.tolist(), "water"])
    conec.cell(row=20, column=1).value = None
    book.save(tmp_path / "mesh.xlsx")
    assert_same(read_mesh(tmp_path / "mesh.xlsx"), replace(MESH, boundaries={}), rtol=1e-15)


# ── files of other programs ──────────────────────────────────────────────────────────────────


CHANNEL = {"inlet": 2, "outlet": 2, "walls": 12, "the cylinder": 8, "no slip": 20}


@pytest.mark.parametrize("name", ["2.2-text.msh", "2.2-binary.msh", "4.1-text.msh", "4.1-binary.msh", "4.1-all.msh"])
def test_physical_groups_of_gmsh_become_boundaries(name):
    # Also groups that overlap, one without a name, and one of points.
    mesh = read_mesh(DATA / f"channel-{name}")
    assert {key: len(mesh.boundaries[key].edges) for key in CHANNEL} == CHANNEL
    assert set(mesh.boundaries) == {*CHANNEL, "7", "behind"}
    np.testing.assert_array_equal(mesh.x[mesh.boundaries["behind"].nodes], [1.2])
    ring = mesh.boundaries["the cylinder"].nodes
    np.testing.assert_allclose(np.hypot(mesh.x[ring] - 1, mesh.y[ring] - 0.5), 0.2, rtol=1e-12)
    solution = fem.solve(mesh, solver="direct")
    assert solution.u.max() > 2.5 * 3  # the cylinder is in the way


def test_all_files_of_gmsh_are_one_mesh():
    # Text has 16 digits, which is one short of all.
    meshes = [read_mesh(DATA / f"channel-{name}.msh") for name in ("2.2-text", "2.2-binary", "4.1-text", "4.1-binary")]
    for mesh in meshes[1:]:
        np.testing.assert_array_equal(mesh.quad8, meshes[0].quad8)
        np.testing.assert_allclose(mesh.x, meshes[0].x, rtol=1e-15)
        for name, boundary in meshes[0].boundaries.items():
            assert rows(mesh.boundaries[name].edges) == rows(boundary.edges)
    with_centre = read_mesh(DATA / "channel-4.1-all.msh")
    assert len(with_centre.orphan_nodes) == 1
    assert with_centre.n_elements == meshes[0].n_elements


def test_groups_that_gmsh_lost_are_said():
    # Format 2.2 with SaveAll keeps the names of groups and forgets what is in them.
    mesh = read_mesh(DATA / "channel-2.2-all.msh")
    assert not mesh.boundaries
    assert set(mesh.lost) == {"inlet", "outlet", "walls", "the cylinder", "no slip", "behind"}
    with pytest.raises(fem.ProblemError, match=r"'inlet' of the file can't be used: its physical group has no lines"):
        fem.solve(mesh)


def test_an_abaqus_file_of_gmsh():
    # CPS8 with sets of lines; each curve is a set too.
    mesh = read_mesh(DATA / "channel.inp")
    for name, number in CHANNEL.items():
        assert len(mesh.boundaries[name.replace(" ", "_")].edges) == number
    np.testing.assert_array_equal(mesh.quad8, read_mesh(DATA / "channel-4.1-text.msh").quad8)


@pytest.mark.parametrize("path", sorted(DATA.glob("two-*.vtu")), ids=lambda path: path.stem)
def test_vtu_as_vtk_writes_it(path):
    # Text, base64 and raw bytes; inline and appended; zlib, lzma and neither.
    mesh = read_mesh(path)
    assert mesh.x.tolist() == [0, 1, 2, 0, 1, 2, 0.5, 1.5, 0, 1, 2, 0.5, 1.5]
    assert mesh.y[-1] == 1.1
    assert mesh.quad8.tolist() == [[0, 1, 4, 3, 6, 9, 11, 8], [1, 2, 5, 4, 7, 10, 12, 9]]


def test_gmsh_reads_what_we_write(tmp_path):
    # And writes what we read.
    try:
        import gmsh
    except (ImportError, OSError) as error:  # it needs libraries of the system, too
        pytest.skip(f"needs gmsh: {error}")
    mesh = fem.generate.y_tube(nodes=600)
    write_mesh(mesh, tmp_path / "mesh.msh")
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        gmsh.open(str(tmp_path / "mesh.msh"))
        groups = gmsh.model.getPhysicalGroups()
        assert [gmsh.model.getPhysicalName(*group) for group in groups] == ["inlet", "outlet", "walls", "elements"]
        kinds, elements, _ = gmsh.model.mesh.getElements()
        assert dict(zip(kinds.tolist(), map(len, elements), strict=True))[16] == mesh.n_elements
        gmsh.option.setNumber("Mesh.MshFileVersion", 2.2)
        gmsh.write(str(tmp_path / "again.msh"))
    finally:
        gmsh.finalize()
    again = read_mesh(tmp_path / "again.msh")
    assert again.n_elements == mesh.n_elements
    for name, boundary in mesh.boundaries.items():
        assert len(again.boundaries[name].edges) == len(boundary.edges)


def test_vtk_reads_what_we_write(tmp_path):
    # The arrays of the boundaries among it.
    VTK = pytest.importorskip("vtk")
    write_mesh(MESH, tmp_path / "mesh.vtu")
    reader = VTK.vtkXMLUnstructuredGridReader()
    reader.SetFileName(str(tmp_path / "mesh.vtu"))
    reader.Update()
    grid = reader.GetOutput()
    assert grid.GetNumberOfPoints() == MESH.n_nodes
    assert grid.GetCellData().GetArray("boundary:walls").GetRange() == (0, 1)


# ── Abaqus ───────────────────────────────────────────────────────────────────────────────────

NODES = "".join(f"{10 * i + 10}, {x}, {y}\n" for i, (x, y) in enumerate(zip(MESH.x, MESH.y, strict=True)))
ELEMENTS = "".join(f"{i + 1}, {', '.join(map(str, 10 * row + 10))}\n" for i, row in enumerate(MESH.quad8))


def abaqus(tmp_path, more: str = "", kind: str = "CPS8") -> Mesh:
    (tmp_path / "mesh.inp").write_text(f"*HEADING\nany text, 1\n*NODE\n{NODES}*ELEMENT, TYPE={kind}\n{ELEMENTS}{more}")
    return read_mesh(tmp_path / "mesh.inp")


@pytest.mark.parametrize("kind", ["CPS8", "cps8r", "DC2D8", "CPE8"])
def test_kinds_of_elements(tmp_path, kind):
    # The same geometry whatever is computed on it.
    assert_same(abaqus(tmp_path, kind=kind), replace(MESH, boundaries={}))


def test_sets_and_surfaces(tmp_path):
    # A set of nodes completes edges; names of sets in sets; GENERATE; a surface by elements and by sets.
    left = MESH.boundaries["inlet"].nodes
    listed = ", ".join(str(10 * node + 10) for node in left)
    mesh = abaqus(
        tmp_path,
        f"*NSET, NSET=Left\n{listed},\n*nset, nset=copy\nLEFT\n*NSET, NSET=everything, GENERATE\n"
        f"10, {10 * MESH.n_nodes}, 10\n"
        "*ELSET, ELSET=bottom, GENERATE\n1, 3\n*SURFACE, TYPE=ELEMENT, NAME=floor\nbottom, S1\n"
        "*SURFACE, NAME=corner\n1, S4\n1, S1\n*STEP\n*END STEP\n",
    )
    assert set(mesh.boundaries) == {"Left", "copy", "floor", "corner", "walls"}
    for name in ("Left", "copy"):
        assert rows(mesh.boundaries[name].edges) == rows(MESH.boundaries["inlet"].edges)
    assert len(mesh.boundaries["floor"].edges) == 3
    assert (mesh.y[mesh.boundaries["floor"].nodes] == 0).all()
    assert len(mesh.boundaries["corner"].edges) == 2


def test_lines_of_abaqus_that_are_allowed(tmp_path):
    # Comments, a keyword that goes on, elements over two lines, exponents of Fortran, z = 0, Windows, and one part.
    halves = (row.rsplit(", ", 4) for row in ELEMENTS.splitlines())
    elements = "".join(f"{row[0]},\r\n  {', '.join(row[1:])}\r\n" for row in halves)
    nodes = NODES.replace("\n", ", 0.D0\r\n** a comment, in between\r\n")
    text = f"*Part, name=one\r\n*Node\r\n{nodes}*Element,\r\n type=CPS8, elset=all\r\n{elements}*End Part\r\n"
    text += "*Assembly, name=a\r\n*Instance, name=i, part=one\r\n*End Instance\r\n*End Assembly\r\n"
    (tmp_path / "mesh.inp").write_bytes(text.encode())
    assert_same(read_mesh(tmp_path / "mesh.inp"), replace(MESH, boundaries={}))


# ── refusals ─────────────────────────────────────────────────────────────────────────────────


def refusal(path: Path) -> str:
    """The one line that names the file."""
    with pytest.raises(MeshError) as refused:
        read_mesh(path)
    assert "\n" not in str(refused.value)
    assert path.name in str(refused.value).split(": ")[0]
    return str(refused.value)


def spoilt(tmp_path: Path, source: Path, old: bytes, new: bytes) -> str:
    text = source.read_bytes()
    assert old in text
    (tmp_path / source.name).write_bytes(text.replace(old, new, 1))
    return refusal(tmp_path / source.name)


GMSH_2, GMSH_4, TEXT_VTU = DATA / "channel-2.2-text.msh", DATA / "channel-4.1-text.msh", DATA / "two-text-plain-raw.vtu"


@pytest.mark.parametrize(
    ("source", "old", "new", "said"),
    [
        (GMSH_4, b"$MeshFormat", b"solid", "not a gmsh mesh"),
        (GMSH_4, b"4.1 0 8", b"3.0 0 8", "version 3.0; write version 2.2 or 4.1"),
        (GMSH_4, b"4.1 0 8", b"4.1 2 8", "not a valid header: '4.1 2 8'"),
        (GMSH_4, b"$EndElements", b"", "$Elements has no $EndElements; the file may be incomplete"),
        (GMSH_4, b"$Nodes", b"$Knots", "has no $End"),
        (GMSH_4, b'"inlet"', b"inlet", '$PhysicalNames: a dimension, a tag and a "name" were expected'),
        (GMSH_4, b"\n1.2 0.5 0\n", b"\n1.2 0.5 0.25\n", "has z other than 0"),
        (GMSH_4, b"\n1.2 0.5 0\n", b"\n1.2 half 0\n", "$Nodes: "),
        (GMSH_2, b"\n5 1.2 ", b"\n4.5 1.2 ", "the node numbers must be whole numbers"),
        (GMSH_2, b"\n5 1.2 ", b"\n4 1.2 ", "node 4 is defined twice"),
        (GMSH_2, b" 16 2 9 1 ", b" 9 2 9 1 ", "set Mesh.ElementOrder=2, Mesh.SecondOrderIncomplete=1 and Mesh.Recom"),
        (GMSH_2, b" 16 2 9 1 ", b" 77 2 9 1 ", "elements (gmsh type 77)"),
        (GMSH_2, b"$Elements\n", b"$Elements\n9", "$Elements: "),
        (GMSH_2, b"$Elements\n", b"$Elements\n-", "$Elements: a count was expected, not '-"),
        (TEXT_VTU, b"<UnstructuredGrid", b"<PolyData", "not a readable VTU file"),
        (TEXT_VTU, b'type="UnstructuredGrid"', b'type="PolyData"', "not a VTU file"),
        (TEXT_VTU, b"<Piece", b"<Peace", "not a readable VTU file"),
        (TEXT_VTU, b'NumberOfPoints="13"', b'NumberOfPoints="14"', "Points holds 39 numbers instead of 42"),
        (TEXT_VTU, b'NumberOfPoints="13"', b'NumberOfPoints="1e9"', "the piece has no NumberOfPoints"),
        (TEXT_VTU, b'NumberOfPoints="13"', b'NumberOfPoints="9999999999"', "bytes but stores"),
        (TEXT_VTU, b'Name="offsets"', b'Name="ends"', "there is no offsets in Cells"),
        (TEXT_VTU, b"          0 0 0 1 0 0", b"0 0 0 1 0 3", "node 1 has z other than 0"),
        (
            TEXT_VTU,
            b"          0 0 0 1 0 0",
            b"0 0 zero 1 0 0",
            "Points/Points is damaged (something that isn't a number)",
        ),
        (TEXT_VTU, b"23 23", b"23 21", "a cell of type 21 must have 3 nodes"),
        (TEXT_VTU, b"<VTKFile", b'<!DOCTYPE a [<!ENTITY b "c">]><VTKFile', "has a document type"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, source, old, new, said):
    # In files of gmsh and VTK.
    assert said in spoilt(tmp_path, source, old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("solid cube\n", "not an Abaqus input file"),
        ("*NODE\n1, 0, 0\n", "there are no plane elements"),
        ("*HEADING\n", "there are no nodes"),
        ("*NODE\n1, 0, 0\n2, 1\n", "line 1: *NODE: rows of 3 or 4 numbers were expected"),
        ("*NODE\nnan, 0, 0\n", "the node numbers must be whole numbers"),
        ("*NODE\n1, 0, zero\n", "line 1: *NODE: something that isn't a number"),
        (
            "*NODE\n1,0,0,1\n2,1,0,0\n*ELEMENT, TYPE=CPS8\n1,1,2,1,2,1,2,1,2\n",
            "node 1 has z other than 0, and z isn't the same everywhere (0 to 1)",
        ),
        (
            "** hi\n\n*NODE\n1,0,0\n*ELEMENT, TYPE=COH2D4\n1,1,1,1,1\n",
            "line 5: *ELEMENT: elements of type COH2D4; only plane elements of 3",
        ),
        ("*NODE\n1,0,0\n*ELEMENT\n1,1,1,1,1\n", "line 3: *ELEMENT: TYPE= is missing"),
        ("*NODE\n1,0,0\n*ELEMENT, TYPE=CPS8\n1,1,1,1,1\n", "line 3: *ELEMENT: rows of 9 numbers"),
        (
            "*NODE\n1,0,0\n*ELEMENT, TYPE=CPS8\n1,2,3,4,5,6,7,8,9\n",
            "nodes 2, 3, 4, 5, 6, … (8 in all) are referred to but",
        ),
        (
            "*NODE\n1,0,0\n*INCLUDE, INPUT=/etc/passwd\n",
            "line 3: *INCLUDE: '/etc/passwd' isn't read; put the file into this folder",
        ),
        (
            "*NSET, NSET=a, GENERATE\n1, 999999999\n",
            "line 1: *NSET: the sets are far larger than the file, so the file is refused",
        ),
        (
            f"*NODE\n{NODES}*ELEMENT, TYPE=S8\n{ELEMENTS}*NSET, NSET=a\nb\n",
            "*NSET: neither a number nor a set of nodes: 'b'",
        ),
        ("*INSTANCE, NAME=a\n0, 1\n", "line 1: *INSTANCE: PART= is missing"),
        ("*SURFACE, NAME=a\n1, S7\n", "line 1: *SURFACE: an element or a set and its side (S1 to S4)"),
    ],
)
def test_what_is_wrong_with_an_abaqus_file_is_said(tmp_path, text, said):
    # With the line of the keyword.
    (tmp_path / "mesh.inp").write_text(text)
    assert said in refusal(tmp_path / "mesh.inp")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": None}, "there is no 'x'; found: y (29,), quad8 (6, 8); a mesh has x and y"),
        ({"x": np.array(["1"])}, "'x.npy' must hold numbers, not <U1"),
        ({"x": np.array([{}])}, "'x.npy' must hold numbers, not object"),
        ({"quad8": MESH.quad8.astype(float)}, "quad8 must hold integers, not float64"),
        ({"quad8": MESH.quad8 + 1}, "node numbers start at 0, but these seem to start at 1"),
        ({"boundaries/inlet/edges": np.zeros((1, 2), int)}, "boundary edges must have shape (n, 3), not (1, 2)"),
    ],
)
def test_what_is_wrong_with_an_archive_is_said(tmp_path, change, said):
    # A pickle is refused by its kind, before it is looked at.
    arrays = {"x": MESH.x, "y": MESH.y, "quad8": MESH.quad8} | change
    np.savez(tmp_path / "mesh.npz", **{name: values for name, values in arrays.items() if values is not None})
    assert said in refusal(tmp_path / "mesh.npz")


@pytest.mark.parametrize(
    ("sheet", "row", "cells", "said"),
    [
        ("coord", 1, ["a", "b"], "coord!A1: the first row has no heading X, Y; it has a, b"),
        ("coord", 3, [1.0, "two"], "coord!B3: 'two' is not a number"),
        ("conec", 2, [1.5], "conec!A2: 1.5 is not a node number"),
        ("conec", 2, [0], "conec!A2: the node is 0, but node numbers start at 1"),
        (
            "boundaries",
            2,
            ["inlet", 1, 2, None],
            "boundaries!D2: the cell is blank, but a node (a row has a, mid, b, or a alone)",
        ),
    ],
)
def test_what_is_wrong_with_a_workbook_is_said(tmp_path, sheet, row, cells, said):
    # With the sheet and the cell.
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("defusedxml")
    path = write_mesh(MESH, tmp_path / "mesh.xlsx")
    book = openpyxl.load_workbook(path)
    for column, cell in enumerate(cells, start=1):
        book[sheet].cell(row, column).value = cell
    book.save(path)
    assert said in refusal(path)
    del book["conec"]
    book.save(path)
    assert "there is no sheet 'conec'; found: coord, boundaries" in refusal(path) or sheet == "coord"


def test_a_workbook_without_its_libraries_names_the_extra(tmp_path, monkeypatch):
    # To write one needs nothing.
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (tmp_path / "mesh.xlsx").write_text("PK")
    said = "mesh.xlsx: .xlsx needs openpyxl and defusedxml, the extra `xlsx`: "
    assert said in refusal(tmp_path / "mesh.xlsx")
    assert write_mesh(MESH, tmp_path / "other.xlsx").exists()


def test_a_mesh_too_large_for_a_sheet(tmp_path, monkeypatch):
    # Excel has 1,048,576 rows.
    pytest.importorskip("openpyxl")
    pytest.importorskip("defusedxml")
    monkeypatch.setattr("fem_core.io.xlsx._MOST_ROWS", 20)
    with pytest.raises(MeshError, match=r"mesh\.xlsx: a sheet holds 19 rows, but the mesh has 29 nodes; write \.h5"):
        write_mesh(MESH, tmp_path / "mesh.xlsx")


def test_every_format_can_be_written_and_says_what_it_is():
    # What `fem mesh … -o FILE` offers.
    formats = mesh_formats()
    assert [known.suffixes[0] for known in formats[:6]] == [".h5", ".npz", ".msh", ".vtu", ".inp", ".xlsx"]
    assert all(known.write and known.summary for known in formats[:6])

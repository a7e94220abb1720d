"""Result files: what another program finds in them, what comes back, and that they are written whole or not at all."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import h5py
import numpy as np
import pytest
from fem_core.io.files import result_writers
from fem_core.results import RESULT_VERSION, UNITS
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, renumbered, small_meshes

MESH, _, _ = renumbered(distorted(4, 3, seed=2, width=2.0), orphans=3)
SUFFIXES = [suffix for writer in result_writers() for suffix in writer.suffixes]


@pytest.fixture(scope="module")
def solution() -> fem.Solution:
    return fem.solve(MESH, backend="numpy", monitor=5, solver="cg")


def assert_same(a: fem.Solution, b: fem.Solution) -> None:
    """Every number and every text, but for the mesh's source."""
    for name in ("x", "y", "quad8"):
        assert np.array_equal(getattr(a.mesh, name), getattr(b.mesh, name))
    assert set(a.mesh.boundaries) == set(b.mesh.boundaries)
    for name in UNITS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(b, name).dtype == np.float64
    assert json.dumps(a.report.to_dict(), sort_keys=True) == json.dumps(b.report.to_dict(), sort_keys=True)
    assert a.report.history == b.report.history


# ── reading back ─────────────────────────────────────────────────────────────────────────────


@settings(max_examples=20)
@given(small_meshes(), st.sampled_from(["cg", "direct"]), st.integers(0, 3))
def test_a_solution_comes_back_bit_by_bit(mesh, solver, maxiter):
    # Partial ones too.
    written = fem.solve(mesh, backend="numpy", solver=solver, maxiter=maxiter or 1000, monitor=2)
    with tempfile.TemporaryDirectory() as folder:
        read = fem.read_solution(written.write(Path(folder) / "result.h5"))
    assert_same(written, read)
    assert read.problem == written.problem


def test_the_problem_comes_back_and_gives_the_same_solution(tmp_path):
    # Coefficients of every kind: a function comes back as its values at the nodes.
    k = np.linspace(1, 2, MESH.n_elements)
    problem = fem.Problem(
        (
            fem.Robin("inlet", lambda x, y: 1 + y, p=0.25),
            fem.Dirichlet("outlet", np.linspace(0, 1, MESH.n_nodes)),
            fem.Robin("walls", 0.125, p=0.5),
        ),
        conductivity=k,
        source=lambda x, y: x * y,
        dirichlet="eliminate",
        fluid=fem.Fluid(p0=2e5, rho=1000.0),
    )
    written = fem.solve(MESH, problem, backend="numpy", solver="direct")
    read = fem.read_solution(written.write(tmp_path / "result.h5"))
    again = fem.solve(read.mesh, read.problem, backend="numpy", solver="direct")
    assert np.array_equal(again.u, written.u)
    assert np.array_equal(again.pressure, written.pressure)
    assert [type(condition) for condition in read.problem.conditions] == [fem.Robin, fem.Dirichlet, fem.Robin]
    assert read.problem.conditions[2] == fem.Robin("walls", 0.125, p=0.5)


def test_more_than_ten_conditions_keep_their_order(tmp_path):
    # The last of those that share a node holds.
    conditions = (fem.Robin("inlet", 1.0), *(fem.Dirichlet("outlet", float(i)) for i in range(12)))
    written = fem.solve(MESH, fem.Problem(conditions), backend="numpy", solver="direct")
    assert fem.read_solution(written.write(tmp_path / "u.h5")).problem.conditions == conditions


def test_what_is_not_a_number_comes_back(solution, tmp_path):
    # JSON has no NaN.
    report = replace(solution.report, solver={**solution.report.solver, "relative_residual": float("nan")})
    read = fem.read_solution(replace(solution, u=solution.u * np.nan, report=report).write(tmp_path / "u.h5"))
    assert np.isnan(read.u).all()
    assert np.isnan(read.report.solver["relative_residual"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: f.__delitem__("solution"), "this file has a mesh but no solution"),
        (lambda f: f.__delitem__("solution/speed"), "there is no 'speed' in '/solution'"),
        (lambda f: f.__delitem__("solution/problem"), "there is no 'problem' in '/solution'"),
        (lambda f: f["solution"].attrs.__delitem__("report"), "damaged result (KeyError: "),
        (lambda f: f["solution"].attrs.__setitem__("report", "{"), "damaged result (JSONDecodeError: "),
        (lambda f: f["solution"].attrs.__setitem__("report", "[]"), "damaged result (TypeError: "),
        (lambda f: f["solution"].move("speed", "u2") or f["solution"].move("u", "speed"), "there is no 'u'"),
        (lambda f: f["solution"].move("u", "v") or f["solution"].move("speed", "u"), "there is no 'speed'"),
        (lambda f: f["solution"].move("u", "v") or f["solution"].create_dataset("u", data=[1.0]), "has shape (1,)"),
        (lambda f: f["solution/problem"].attrs.__delitem__("dirichlet"), "damaged result (KeyError: "),
        (lambda f: f["boundaries"].move("inlet", "in"), "there is no boundary 'inlet'"),
        (lambda f: f["solution"].attrs.__setitem__("version", 2), "a result of version 2, but this "),
        (lambda f: f["quad8"].__setitem__(0, 99), "to nodes outside"),
    ],
)  # fmt: skip
def test_damaged_results_are_refused_in_one_line(solution, tmp_path, spoil, said):
    path = solution.write(tmp_path / "result.h5")
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(fem.FemError) as refused:
        fem.read_solution(path)
    text = str(refused.value)
    assert said in text
    assert "result.h5: " in text
    assert "\n" not in text


def test_only_formats_that_hold_everything_are_read(solution, tmp_path):
    with pytest.raises(fem.FemError, match=r"unknown ending '.vtu'; known: .h5, .hdf5"):
        fem.read_solution(solution.write(tmp_path / "u.vtu"))
    with pytest.raises(fem.FemError, match="this file doesn't exist"):
        fem.read_solution(tmp_path / "nowhere.h5")


# ── what other programs find ─────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".vtu"])
@pytest.mark.parametrize("maxiter", [1, 1000])
def test_vtk_reads_the_fields_as_they_are(tmp_path, suffix, maxiter):
    # By the readers that ParaView has: the same numbers, on curved cells, with units and the flag.
    vtk = pytest.importorskip("vtk", reason="reads with VTK (pip install vtk)")
    from vtk.util.numpy_support import vtk_to_numpy

    solution = fem.solve(MESH, backend="numpy", maxiter=maxiter, solver="cg")
    path = solution.write(tmp_path / f"u{suffix}")
    reader = vtk.vtkXMLUnstructuredGridReader() if suffix == ".vtu" else vtk.vtkHDFReader()
    complaints = []
    for event in ("ErrorEvent", "WarningEvent"):
        reader.AddObserver(event, lambda *what: complaints.append(what))
    assert reader.CanReadFile(str(path))
    reader.SetFileName(str(path))
    reader.Update()
    grid = reader.GetOutput()
    assert not complaints
    mesh, nodes, elements = solution.mesh, grid.GetPointData(), grid.GetCellData()
    points = vtk_to_numpy(grid.GetPoints().GetData())
    assert np.array_equal(points, np.stack([mesh.x, mesh.y, 0 * mesh.x], axis=1))
    assert grid.GetNumberOfCells() == mesh.n_elements
    assert {grid.GetCellType(i) for i in range(mesh.n_elements)} == {vtk.VTK_QUADRATIC_QUAD}
    assert np.array_equal(vtk_to_numpy(grid.GetCells().GetConnectivityArray()), mesh.quad8.ravel())
    assert np.array_equal(vtk_to_numpy(nodes.GetArray("u")), solution.u)
    for name in ("speed", "pressure"):
        assert np.array_equal(vtk_to_numpy(elements.GetArray(name)), getattr(solution, name))
    velocity = vtk_to_numpy(elements.GetArray("velocity"))
    assert np.array_equal(velocity[:, :2], solution.velocity)
    assert not velocity[:, 2].any()
    assert vtk_to_numpy(grid.GetFieldData().GetArray("converged")).tolist() == [maxiter > 1]
    if suffix == ".vtu":
        assert vtk_to_numpy(grid.GetFieldData().GetArray("version")).tolist() == [RESULT_VERSION]
    if suffix == ".vtu":
        units = vtk.vtkDataArray.UNITS_LABEL()
        assert elements.GetArray("pressure").GetInformation().Get(units) == "Pa"
    # The order of nodes is right: VTK's own shape functions give the value in the middle of a cell.
    centre, weights = [0.0] * 3, [0.0] * 8
    grid.GetCell(5).EvaluateLocation(vtk.reference(0), [0.5, 0.5, 0], centre, weights)
    N = np.array([-0.25] * 4 + [0.5] * 4)
    np.testing.assert_allclose(weights, N, atol=1e-15)
    np.testing.assert_allclose(centre[0], mesh.x[mesh.quad8[5]] @ N)


def test_meshio_reads_vtu(solution, tmp_path):
    meshio = pytest.importorskip("meshio", reason="reads with meshio")
    read = meshio.read(solution.write(tmp_path / "u.vtu"))
    assert np.array_equal(read.cells_dict["quad8"], solution.mesh.quad8)
    assert np.array_equal(read.point_data["u"], solution.u)
    assert np.array_equal(read.cell_data["speed"][0], solution.speed)


def test_the_fields_for_paraview_are_no_copies(solution, tmp_path):
    # Links in one file, and none that our own reader would follow out of it.
    with h5py.File(solution.write(tmp_path / "u.h5")) as file:
        for ours, vtks in (("u", "PointData/u"), ("speed", "CellData/speed"), ("pressure", "CellData/pressure")):
            assert file[f"solution/{ours}"] == file[f"VTKHDF/{vtks}"]
            assert isinstance(file["VTKHDF"].get(vtks, getlink=True), h5py.HardLink)
        assert {name: file[f"solution/{name}"].attrs["units"] for name in UNITS} == UNITS
        assert file["VTKHDF"].attrs["Type"] == b"UnstructuredGrid"
        assert not file["VTKHDF"].attrs.get_id("Type").get_type().is_variable_str()


def test_hdf5_is_laid_out_without_files_in_memory_too(tmp_path, monkeypatch):
    solution = fem.solve(fem.generate.duct(nodes=5_000), backend="numpy", solver="direct")
    solution.write(tmp_path / "a.h5")
    monkeypatch.delattr(os, "memfd_create", raising=False)
    solution.write(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_npz_needs_no_pickle(solution, tmp_path):
    with np.load(solution.write(tmp_path / "u.npz"), allow_pickle=False) as arrays:
        for name in UNITS:
            assert np.array_equal(arrays[name], getattr(solution, name))
        for name in ("x", "y", "quad8"):
            assert np.array_equal(arrays[name], getattr(solution.mesh, name))
        assert np.array_equal(arrays["boundaries/inlet/edges"], solution.mesh.boundaries["inlet"].edges)
        assert json.loads(str(arrays["report"]))["solver"] == solution.report.to_dict()["solver"]
        assert np.array_equal(arrays["history"], solution.report.history)
        assert bool(arrays["converged"])
        assert int(arrays["version"]) == RESULT_VERSION


def table(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, np.array(rows, dtype=float).T, strict=True))


@pytest.mark.parametrize("maxiter", [1, 1000])
def test_tables_hold_every_number_exactly(tmp_path, maxiter):
    solution = fem.solve(MESH, backend="numpy", maxiter=maxiter, solver="cg")
    nodes, elements = table(solution.write(tmp_path / "u.nodes.csv")), table(solution.write(tmp_path / "u.csv"))
    assert list(nodes) == ["node", "x [m]", "y [m]", "u [m2/s]", "converged"]
    for name, values in (("node", np.arange(MESH.n_nodes)), ("x [m]", MESH.x), ("u [m2/s]", solution.u)):
        assert np.array_equal(nodes[name], values)
    for name, values in (
        ("element", np.arange(MESH.n_elements)),
        ("velocity_x [m/s]", solution.velocity[:, 0]),
        ("velocity_y [m/s]", solution.velocity[:, 1]),
        ("speed [m/s]", solution.speed),
        ("pressure [Pa]", solution.pressure),
    ):
        assert np.array_equal(elements[name], values)
    assert set(nodes["converged"]) == set(elements["converged"]) == {float(maxiter > 1)}


def test_the_middle_of_an_element_is_on_its_curved_map(tmp_path):
    # u = x on an element whose mid-sides are off the middle: x and u agree there.
    mesh = fem.with_boundaries(distorted(2, 2, seed=1, curve=0.2))
    solution = fem.solve(mesh, backend="numpy", solver="direct")
    rows = table(replace(solution, u=mesh.x).write(tmp_path / "u.csv"))
    assert np.array_equal(rows["x [m]"], rows["u [m2/s]"])


def test_pandas_reads_the_table(solution, tmp_path):
    pandas = pytest.importorskip("pandas", reason="reads with pandas")
    frame = pandas.read_csv(solution.write(tmp_path / "u.csv"))
    np.testing.assert_allclose(frame["speed [m/s]"], solution.speed, rtol=1e-15)  # it parses the quick way
    assert frame["converged"].all()


# ── endings, and all or nothing ──────────────────────────────────────────────────────────────


def test_the_longest_ending_chooses(solution, tmp_path):
    assert solution.write(tmp_path / "A.NODES.CSV").read_text().startswith("node,")
    assert solution.write(tmp_path / "nodes.csv").read_text().startswith("element,")
    with pytest.raises(fem.FemError, match=r"unknown ending '.dat'; known: .csv, .h5, .hdf5, .nodes.csv, .npz, .vtu"):
        solution.write(tmp_path / "u.dat")
    with pytest.raises(fem.FemError, match="the name has no ending"):
        solution.write(tmp_path / ".csv")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failure_leaves_the_old_file(solution, tmp_path, suffix):
    path = tmp_path / f"u{suffix}"
    path.write_bytes(b"the old file")
    broken = replace(solution, **{"u" if suffix == ".nodes.csv" else "pressure": object()})  # found out half-way
    with pytest.raises(fem.FemError, match="can't be written"):
        broken.write(path)
    assert path.read_bytes() == b"the old file"
    assert list(tmp_path.iterdir()) == [path]


_FILLS = """
import resource, signal, sys
sys.dont_write_bytecode = True  # it would be cut off
import fem_core as fem
from fem_core.plot import plot_solution
solution = fem.read_solution(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for path in sys.argv[2:]:
    try:
        plot_solution(solution, path) if path.endswith(("png", "svg")) else solution.write(path)
    except OSError as error:
        assert error.filename == path, error
        print(error.errno)
"""


@pytest.mark.skipif(os.name != "posix" or not hasattr(signal, "SIGXFSZ"), reason="limits the size of files")
def test_a_disk_that_fills_up_leaves_the_old_files(tmp_path):
    # The system refuses to write on, at 20 kB; once for each format.
    result = fem.solve(fem.generate.duct(nodes=5_000), solver="direct").write(tmp_path / "result.h5")
    suffixes = SUFFIXES
    try:
        import matplotlib  # noqa: F401

        suffixes = [*SUFFIXES, ".png", ".svg"]
    except ImportError:
        pass
    folder = tmp_path / "full"
    folder.mkdir()
    paths = [folder / f"u{suffix}" for suffix in suffixes]
    for path in paths:
        path.write_bytes(b"the old file")
    command = [sys.executable, "-c", _FILLS, result, *paths]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(27)] * len(paths)  # EFBIG
    assert all(path.read_bytes() == b"the old file" for path in paths)
    assert sorted(folder.iterdir()) == sorted(paths)

"""HDF5: round trips, results that are meshes again, hostile and damaged files, writing all or nothing."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from fem_core import FemError, Mesh, MeshError, Problem, read_mesh, read_solution, solve, with_boundaries, write_mesh
from fem_core.io import files
from hypothesis import given, settings
from meshes import distorted, renumbered, small_meshes, squares

MESH = distorted(3, 2, seed=1, width=2.0)


def same(a: Mesh, b: Mesh) -> bool:
    pairs = [(a.x, b.x), (a.y, b.y), (a.quad8, b.quad8)]
    for name in a.boundaries:
        pairs += [(a.boundaries[name].edges, b.boundaries[name].edges)]
        pairs += [(a.boundaries[name].nodes, b.boundaries[name].nodes)]
    return set(a.boundaries) == set(b.boundaries) and all(np.array_equal(p, q) for p, q in pairs)


# ── meshes ───────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=30)
@given(small_meshes())
def test_a_mesh_comes_back_bit_by_bit(mesh):
    # Coordinates, connectivity, orphans and named boundaries.
    with tempfile.TemporaryDirectory() as folder:
        path = write_mesh(mesh, Path(folder) / "mesh.h5")
        assert same(mesh, read_mesh(path))
        assert [p.name for p in Path(folder).iterdir()] == ["mesh.h5"]


@pytest.mark.parametrize("name", ["mesh.h5", "mesh.hdf5", "MESH.H5", "with space é.h5"])
def test_endings_and_names(tmp_path, name):
    # Also as a string.
    assert same(MESH, read_mesh(str(write_mesh(MESH, str(tmp_path / name)))))


def test_names_that_are_not_unicode_are_lost_names(tmp_path):
    path = write_mesh(MESH, tmp_path / "mesh.h5")
    with h5py.File(path, "r+") as file:
        file["boundaries"].create_group(b"w\xffll")
        file.create_group(b"inlet\xe9")
    found = read_mesh(path)
    assert set(found.boundaries) == set(MESH.boundaries)
    assert "is Unicode" in found.lost["w\\xffll"]
    assert "inlet\\xe9" in found.lost
    written = read_mesh(write_mesh(found, tmp_path / "again.h5"))
    assert solve(written).report.converged


def test_boundaries_that_are_not_named_are_found(tmp_path):
    # A plain file has x, y and quad8 only, as the real meshes do.
    path = write_mesh(replace(MESH, boundaries={}), tmp_path / "mesh.h5")
    with h5py.File(path) as file:
        assert set(file) == {"x", "y", "quad8"}
    found = read_mesh(path)
    for name, boundary in MESH.boundaries.items():
        assert np.array_equal(boundary.nodes, found.boundaries[name].nodes)
    assert found.source == "mesh.h5"


def test_named_boundaries_win_over_the_rule(tmp_path):
    # Inlet and outlet exchanged on purpose.
    swapped = {**MESH.boundaries, "inlet": MESH.boundaries["outlet"], "outlet": MESH.boundaries["inlet"]}
    mesh = read_mesh(write_mesh(replace(MESH, boundaries=swapped), tmp_path / "mesh.h5"))
    assert set(mesh.x[mesh.boundaries["inlet"].nodes]) == {2.0}


def test_the_tolerance_reaches_the_rule(tmp_path):
    # For files whose ends aren't quite straight.
    mesh = squares(4, 2)
    x = mesh.x.copy()
    x[(mesh.x == 1) & (mesh.y == 0.75)] -= 1e-6
    path = write_mesh(replace(mesh, x=x, boundaries={}), tmp_path / "mesh.h5")
    assert len(read_mesh(path).boundaries["outlet"].nodes) == 4
    assert len(read_mesh(path, boundary_tolerance=1e-5).boundaries["outlet"].nodes) == 5


@pytest.mark.parametrize(("floats", "ints"), [("<f4", "<i8"), (">f8", ">u2"), ("<f2", "u1"), ("<i4", "<u8")])
def test_other_number_types_are_converted(tmp_path, floats, ints):
    # Files come from MATLAB, Fortran and big-endian machines.
    mesh = squares(2, width=4.0, height=2.0)
    with h5py.File(tmp_path / "mesh.h5", "w") as file:
        file["x"], file["y"] = (2 * mesh.x).astype(floats), (2 * mesh.y).astype(floats)
        file["quad8"] = mesh.quad8.astype(ints)
    assert same(with_boundaries(Mesh(2 * mesh.x, 2 * mesh.y, mesh.quad8)), read_mesh(tmp_path / "mesh.h5"))


def test_compressed_datasets_are_read(tmp_path):
    # Compression isn't a bomb, and a big regular mesh compresses well.
    mesh = with_boundaries(replace(squares(200, 80), boundaries={}))
    with h5py.File(tmp_path / "mesh.h5", "w") as file:
        for name in ("x", "y", "quad8"):
            file.create_dataset(name, data=getattr(mesh, name), compression="gzip", shuffle=True)
    assert same(mesh, read_mesh(tmp_path / "mesh.h5"))


# ── results ──────────────────────────────────────────────────────────────────────────────────


def test_a_result_holds_the_fields_and_the_report(tmp_path):
    # What another program finds in it.
    mesh, _, _ = renumbered(MESH, orphans=2)
    solution = solve(mesh, backend="numpy", solver="cg", outputs=[tmp_path / "result.h5"])
    with h5py.File(tmp_path / "result.h5") as file:
        group = file["solution"]
        for name in ("u", "velocity", "speed", "pressure"):
            assert np.array_equal(getattr(solution, name), group[name])
        assert group.attrs["converged"]
        report = json.loads(group.attrs["report"])
        assert np.array_equal(solution.report.history, group["history"])
    assert report["solver"] == solution.report.to_dict()["solver"]
    assert report["mesh"] == {"nodes": mesh.n_nodes, "elements": 6, "orphan_nodes": 2}


def test_a_result_is_a_mesh_again(tmp_path):
    # Solve on from a result: boundaries included, the same potential bit by bit.
    solution = solve(MESH, backend="numpy", solver="cg")
    mesh = read_mesh(solution.write(tmp_path / "result.h5"))
    assert same(solution.mesh, mesh)
    assert np.array_equal(solution.u, solve(mesh, backend="numpy", solver="cg").u)


def test_a_partial_result_is_written_and_flagged(tmp_path):
    # The fields of a run that did not converge are worth keeping, and must not pass for a solution.
    path = solve(MESH, backend="numpy", maxiter=2, solver="cg").write(tmp_path / "partial.h5")
    with h5py.File(path) as file:
        assert not file["solution"].attrs["converged"]
        report = json.loads(file["solution"].attrs["report"])
    assert report["solver"]["stop_reason"] == "maxiter reached"


# ── files that must be refused ───────────────────────────────────────────────────────────────


def refusal(path) -> str:
    """The one line that names the file."""
    with pytest.raises(MeshError) as refused:
        read_mesh(path)
    text = str(refused.value)
    assert "\n" not in text
    assert Path(path).name in text.split(": ")[0]
    assert text.count(Path(path).name) == 1
    return text


@pytest.fixture
def file(tmp_path):
    """A mesh file to spoil: `file.path` after `file.close()`."""
    path = write_mesh(MESH, tmp_path / "spoilt.h5")
    with h5py.File(path, "r+") as opened:
        yield opened


def refused(file) -> str:
    path = file.filename
    file.close()
    return refusal(path)


@pytest.fixture
def other(tmp_path):
    """A good mesh in another file."""
    return write_mesh(MESH, tmp_path / "other.h5")


def test_no_such_file(tmp_path):
    # The commonest of all.
    assert refusal(tmp_path / "absent.h5").endswith("absent.h5: this file doesn't exist; make one with `fem mesh`")


def test_an_unknown_ending(tmp_path):
    # Answered with the known ones.
    assert "unknown ending '.step'; known: .h5, .hdf5" in refusal(tmp_path / "mesh.step")
    with pytest.raises(MeshError, match=r"the name has no ending, so the format is unknown; known: \.h5"):
        write_mesh(MESH, tmp_path / "mesh")
    with pytest.raises(FemError, match=r"unknown ending '\.png'"):
        solve(MESH, backend="numpy").write(tmp_path / "mesh.png")


@pytest.mark.parametrize("content", [b"x", b"\x89HDF\r\n\x1a\n", b"solid cube\n" * 999])
def test_files_that_are_not_hdf5(tmp_path, content):
    # Text, and a signature with nothing behind it.
    (tmp_path / "mesh.h5").write_bytes(content)
    assert refusal(tmp_path / "mesh.h5").endswith(
        "mesh.h5: not a readable HDF5 file; it has another format or is incomplete"
    )
    with pytest.raises(FemError, match=r"mesh.h5: not a readable HDF5 file; it has another format or is incomplete$"):
        read_solution(tmp_path / "mesh.h5")


def test_a_folder(tmp_path):
    # Not a traceback either.
    (tmp_path / "mesh.h5").mkdir()
    refusal(tmp_path / "mesh.h5")


@pytest.mark.parametrize("part", np.linspace(0.01, 0.99, 25))
def test_a_truncated_file(tmp_path, other, part):
    # A broken download, cut anywhere.
    whole = other.read_bytes()
    (tmp_path / "mesh.h5").write_bytes(whole[: int(part * len(whole))])
    refusal(tmp_path / "mesh.h5")


@pytest.mark.parametrize("name", ["x", "y", "quad8"])
@pytest.mark.parametrize("kind", ["external", "soft", "dangling", "external dataset", "virtual"])
def test_data_that_is_stored_elsewhere(file, other, name, kind):
    # Reading it would hand out the content of any file the user can read.
    values = np.array(file[name])
    del file[name]
    if kind == "external":
        file[name] = h5py.ExternalLink(other, f"/{name}")
    elif kind == "soft":
        file["hidden"] = values
        file[name] = h5py.SoftLink("/hidden")
    elif kind == "dangling":
        file[name] = h5py.ExternalLink("/nonexistent.h5", "/x")
    elif kind == "external dataset":
        raw = Path(file.filename).with_name("raw")
        raw.write_bytes(values.tobytes())
        file.create_dataset(name, values.shape, values.dtype, external=[(str(raw), 0, values.nbytes)])
    else:
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(str(other), f"/{name}", values.shape)
        file.create_virtual_dataset(name, layout)
    link = kind in ("external", "soft", "dangling")
    assert (f"{name!r} is a link, and links are not read" if link else "is stored in another file") in refused(file)


@pytest.mark.parametrize("at", ["boundaries", "boundaries/inlet", "boundaries/inlet/edges"])
@pytest.mark.parametrize("kind", ["external", "soft", "dangling"])
def test_links_on_the_way_to_the_data(file, other, at, kind):
    # Also in the middle of a path, and where the target doesn't exist: never passed over in silence.
    file.move(at, "hidden")
    target = {"external": (other, f"/{at}"), "dangling": ("/nonexistent.h5", "/x"), "soft": "/hidden"}[kind]
    file[at] = h5py.SoftLink(target) if kind == "soft" else h5py.ExternalLink(*target)
    assert f"{at.split('/')[-1]!r} is a link, and links are not read" in refused(file)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("at", ["x", "boundaries"])
def test_links_are_not_even_opened(file, at):
    # A link to a named pipe waits for ever if anything looks at its target.
    pipe = Path(file.filename).with_name("pipe")
    os.mkfifo(pipe)
    del file[at]
    file[at] = h5py.ExternalLink(pipe, "/x")
    path = file.filename
    file.close()
    code = "import fem_core, sys; fem_core.read_mesh(sys.argv[1])"
    ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30)
    assert "is a link, and links are not read" in ended.stderr


@pytest.mark.parametrize("name", ["x", "quad8"])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_shape_bomb(file, name, compression):
    # A few kilobytes that claim terabytes: refused by arithmetic, before memory is asked for.
    shape = (10**12,) if name == "x" else (10**11, 8)
    dtype = file[name].dtype
    del file[name]
    file.create_dataset(name, shape, dtype, chunks=(1024, *shape[1:]), compression=compression)
    text = refused(file)
    assert f"{name!r} claims" in text
    assert text.endswith("bytes but stores only 0, so the file is refused")


def test_a_compression_bomb(file):
    # A thousandfold of zeros that are really stored.
    del file["x"]
    file.create_dataset("x", data=np.zeros(4_000_000), compression="gzip", compression_opts=9, chunks=(4_000_000,))
    assert "'x' claims 32,000,000 bytes but stores only" in refused(file)


@pytest.mark.parametrize("name", ["x", "y", "quad8", "boundaries/inlet/edges"])
def test_a_missing_dataset(file, name):
    # Says what is there instead. A boundary may have edges or nodes alone.
    del file[name]
    file.pop("boundaries/inlet/nodes" if name.startswith("boundaries") else "none", None)
    text = refused(file)
    assert f"there is no {name.split('/')[-1]!r}" in text
    assert "found: " in text


def test_an_empty_hdf5_file(tmp_path):
    # HDF5, but of something else.
    h5py.File(tmp_path / "mesh.h5", "w").close()
    assert "there is no 'x'; found: nothing; a mesh has x and y" in refusal(tmp_path / "mesh.h5")


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("x", np.array([b"1", b"2"]), "'x' must hold numbers, not |S1"),
        ("x", np.zeros(29, [("re", "f8"), ("im", "f4")]), "'x' must hold numbers, not "),
        ("x", np.zeros(29, complex), "'x' must hold numbers, not complex128"),
        ("y", np.zeros(29, bool), "'y' must hold numbers, not bool"),
        ("y", h5py.Empty("f8"), "'y' must hold numbers"),
        ("y", 1.0, "x and y must be one-dimensional and equally long, not (29,) and (1,)"),
        ("x", np.zeros((29, 2)), "x and y must be one-dimensional and equally long, not (29, 2) and (29,)"),
        ("x", np.zeros(28), "x and y must be one-dimensional and equally long, not (28,) and (29,)"),
        ("quad8", MESH.quad8.astype(float), "quad8 must hold integers, not float64"),
        ("quad8", MESH.quad8[:, :4], "quad8 must have shape (n_elements, 8), not (6, 4)"),
        ("quad8", MESH.quad8.T, "quad8 must have shape (n_elements, 8), not (8, 6)"),
        ("quad8", MESH.quad8.ravel(), "quad8 must have shape (n_elements, 8), not (48,)"),
        ("quad8", MESH.quad8[:0], "the mesh has no elements"),
        (
            "quad8",
            MESH.quad8 + 1,
            "to nodes outside 0…28 (found 1…29); node numbers start at 0, but these seem to start at 1",
        ),
        ("quad8", MESH.quad8.astype(np.int64) + 2**33, "quad8 has values that don't fit in 32 bits"),
        ("quad8", MESH.quad8[:, [0, 1, 2, 3, 4, 7, 5, 6]], "det J <= 0 at a Gauss point of elements 0, 1, 2, 3, 4, …"),
        ("x", np.where(MESH.x == 0, np.nan, MESH.x), "have NaN or infinite coordinates"),
        ("boundaries/inlet/edges", [[0, 1]], "boundary edges must have shape (n, 3), not (1, 2)"),
        ("boundaries/inlet/nodes", [99], "boundary 'inlet' refers to nodes outside 0…28"),
        ("boundaries/inlet/nodes", [0.5], "boundary nodes must hold integers, not float64"),
    ],
)
def test_wrong_content(file, name, values, message):
    # What was found, in one line that names the file.
    del file[name]
    file[name] = values
    assert message in refused(file)


@pytest.mark.parametrize("name", ["x", "quad8", "boundaries/inlet/edges"])
def test_a_group_in_place_of_a_dataset(file, name):
    # And the other way round, below.
    del file[name]
    file.create_group(name)
    assert f"{name.split('/')[-1]!r} is not a dataset" in refused(file)


@pytest.mark.parametrize("name", ["boundaries", "boundaries/inlet"])
def test_a_dataset_in_place_of_a_group(file, name):
    # Named boundaries written flat by another program.
    del file[name]
    file[name] = [1, 2, 3]
    assert f"{name.split('/')[-1]!r} is not a group" in refused(file)


def test_the_next_file_is_read_after_a_refusal(tmp_path, other):
    # Nothing of a bad file stays open or locked.
    (tmp_path / "bad.h5").write_bytes(b"bad")
    for _ in range(3):
        refusal(tmp_path / "bad.h5")
        assert same(MESH, read_mesh(other))
    (tmp_path / "bad.h5").unlink()


# ── all or nothing ───────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=[OSError(28, "No space left on device"), KeyboardInterrupt(), RuntimeError("bug")], ids=repr)
def interrupted(request, monkeypatch):
    """Writing stops half-way; the errors that may be seen."""

    def torn(value, path):
        path.write_bytes(b"half of it")
        raise request.param

    formats, writers = files.mesh_formats(), files.result_writers()
    monkeypatch.setattr(files, "mesh_formats", lambda: [replace(one, write=torn) for one in formats])
    monkeypatch.setattr(files, "result_writers", lambda: [replace(one, write=torn) for one in writers])
    return type(request.param), FemError


def attempts(folder):
    solution = solve(MESH, backend="numpy", maxiter=1)
    return [
        lambda: write_mesh(MESH, folder / "file.h5"),
        lambda: solution.write(folder / "file.h5"),
        lambda: solve(MESH, Problem.potential_flow(MESH), backend="numpy", outputs=[folder / "file.h5"]),
    ]


def test_a_failure_leaves_the_old_file(tmp_path, interrupted):
    # Byte by byte, and nothing else in the folder.
    path = tmp_path / "file.h5"
    path.write_bytes(b"the old file")
    for attempt in attempts(tmp_path):
        with pytest.raises(interrupted):
            attempt()
        assert path.read_bytes() == b"the old file"
        assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_no_file(tmp_path, interrupted):
    # Where there was none: not a torn one, nor a temporary one.
    for attempt in attempts(tmp_path):
        with pytest.raises(interrupted):
            attempt()
        assert list(tmp_path.iterdir()) == []


def test_a_written_file_replaces_the_old_one(tmp_path):
    # Also one that isn't HDF5, and with the permissions that any new file has.
    path = tmp_path / "file.h5"
    path.write_bytes(b"the old file")
    write_mesh(MESH, path)
    assert same(MESH, read_mesh(path))
    (tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_folder_that_does_not_exist(tmp_path):
    # The system's error, which names it.
    with pytest.raises(OSError, match="No such file or directory"):
        write_mesh(MESH, tmp_path / "absent" / "mesh.h5")


def test_a_huge_chunk_is_refused(tmp_path):
    # Eight numbers whose one chunk unpacks to a gigabyte.
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=np.zeros(8), chunks=(2**27,), maxshape=(None,), compression="gzip")
        file["y"], file["quad8"] = np.zeros(8), np.arange(8, dtype=np.int32)[None]
    with pytest.raises(MeshError, match=r"'x' has chunks of 1,073,741,824 bytes but stores"):
        read_mesh(path)

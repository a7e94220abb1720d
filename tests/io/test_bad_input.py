"""Bad input through the command line: exit status 2, one line that names the file and the place, nothing written.

And whatever is done to the bytes of a file, its reader ends with a mesh or with such a line, soon, and within
twice the memory that an honest file of this size would take.
"""

import contextlib
import importlib.util
import io
import os
import re
import signal
import subprocess
import sys
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import fem_core as fem
import foreign
import h5py
import numpy as np
import pytest
from commands import run
from fem_core import FemError, Mesh, MeshError, read_mesh, repair_mesh, write_mesh
from fem_core.io.files import mesh_formats, read_unvalidated
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meshes import distorted, squares, two_parts
from places import DATA

HAS_XLSX = all(map(importlib.util.find_spec, ("openpyxl", "defusedxml")))
SUFFIXES = [".h5", ".npz", ".msh", ".vtu", ".inp", *([".xlsx"] if HAS_XLSX else [])]
MESH = distorted(3, 2, seed=1, width=2.0)
MB = 1 << 20


def refused(path: Path) -> str:
    """What `fem solve` says about a bad mesh: one line, exit status 2, and no result."""
    out = path.with_name("result.h5")
    ended = run("solve", path, "--backend", "numpy", "-o", out)
    assert ended.exit_code == 2, (ended.stdout, ended.stderr)
    assert ended.stdout == ""
    assert ended.stderr.startswith("fem: error: ")
    assert ended.stderr.count("\n") == 1
    assert path.name in ended.stderr
    assert not [found for found in path.parent.iterdir() if found.name.startswith((".result", "result"))]
    return ended.stderr


def peak(run) -> int:
    """Largest memory in bytes that Python and NumPy held at once for `run()`."""
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ── damaged files ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\n", b"solid cube\nfacet normal 0 0 1\n" * 99, np.random.default_rng(0).bytes(5000)],
    ids=["empty", "zero", "line", "text", "noise"],
)
def test_a_file_of_another_kind(tmp_path, suffix, content):
    # Empty, text, noise.
    (tmp_path / f"bad{suffix}").write_bytes(content)
    refused(tmp_path / f"bad{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_truncated_file(tmp_path, suffix, part):
    # A broken download.
    path = write_mesh(MESH, tmp_path / f"bad{suffix}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path)


def test_an_abaqus_file_that_lacks_lines_or_numbers(tmp_path):
    # Whatever is left of ours; of another program's, what ends with too few numbers in its last line.
    whole = write_mesh(MESH, tmp_path / "whole.inp").read_bytes()
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "bad.inp"
    for number in range(1, len(lines)):
        path.write_bytes(b"".join(lines[:number]))
        assert "bad.inp: the file is incomplete: the line '** end of this fem-core mesh' is missing" in refused(path)
    path.write_bytes(whole.replace(b"\n", b"\r\n") + b"*STEP\r\n*END STEP\r\n")  # as an editor leaves it
    assert read_mesh(path).n_elements == MESH.n_elements
    others = b"".join(lines[1:-1])
    path.write_bytes(others.removesuffix(b"\n"))
    assert read_mesh(path).n_elements == MESH.n_elements
    for end, said in (
        (others.find(b"*ELEMENT"), "rows of 3 or 4 numbers were expected"),
        (others.find(b"*NSET"), "rows of 9 numbers were expected"),
        (len(others), "an element or a set and its side (S1 to S4) were expected"),
    ):
        path.write_bytes(others[: others.rfind(b",", 0, end)])
        assert said in refused(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_such_file_and_not_a_file(tmp_path, suffix):
    # A named pipe would be waited for until the end of days.
    assert "exist" in refused(tmp_path / f"absent{suffix}")
    (tmp_path / f"folder{suffix}").mkdir()
    assert "this is a folder; give the name of a mesh file, which ends in .h5" in refused(tmp_path / f"folder{suffix}")
    (tmp_path / f"empty{suffix}").touch()
    assert "the file is empty; make one with `fem mesh`" in refused(tmp_path / f"empty{suffix}")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / f"pipe{suffix}")
        assert "not a file" in refused(tmp_path / f"pipe{suffix}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "this is a folder; give the name of a mesh file, such as {folder}/Tube.h5"),
        ("sub", "this is a folder; give the name of a mesh file, which ends in .h5"),
        ("tube", "did you mean {folder}/Tube.h5?"),
        ("tbe.h5", "did you mean {folder}/Tube.h5?"),
        ("tube.msh", "did you mean {folder}/Tube.h5?"),
        ("other.h5", "this file doesn't exist; make one with `fem mesh`"),
        ("sub/tube.h5", "this file doesn't exist; make one with `fem mesh`"),
        ("nowhere/tube.h5", "neither this file nor the folder '{folder}/nowhere' exists"),
        ("tube.csv", "did you mean {folder}/Tube.h5?"),
        ("result.csv", "a table of results contains no mesh; mesh files end in .h5"),
        ("noending", "the name has no ending, so the format is unknown; known: .h5"),
        ("x" * 300 + ".h5", "can't be read: File name too long"),
    ],
)
def test_what_may_have_been_meant(tmp_path, name, said):
    write_mesh(MESH, tmp_path / "Tube.h5")
    (tmp_path / "sub").mkdir()
    for other in ("result.csv", "noending"):
        (tmp_path / other).write_text("1,2")
    with pytest.raises(MeshError, match=re.escape(said.format(folder=tmp_path))):
        read_mesh(tmp_path / name)


def test_stdin_is_no_mesh(tmp_path, monkeypatch):
    # Unless there is a file of that name.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MeshError, match=r"^-: a mesh can't be read from stdin; give the name"):
        read_mesh("-")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_may_not_be_read(tmp_path, suffix):
    # The system's reason.
    path = write_mesh(MESH, tmp_path / f"bad{suffix}")
    path.chmod(0)
    assert "ermission denied" in refused(path)


@pytest.mark.parametrize("kind", ["external", "soft", "external dataset", "virtual"])
def test_hdf5_that_leads_elsewhere(tmp_path, kind):
    # Never followed.
    other, path = write_mesh(MESH, tmp_path / "other.h5"), write_mesh(MESH, tmp_path / "bad.h5")
    with h5py.File(path, "r+") as file:
        values = file["x"][()]
        del file["x"]
        if kind == "external":
            file["x"] = h5py.ExternalLink(other, "/x")
        elif kind == "soft":
            file["x"] = h5py.SoftLink("/y")
        elif kind == "external dataset":
            file.create_dataset("x", values.shape, values.dtype, external=[("/etc/passwd", 0, values.nbytes)])
        else:
            layout = h5py.VirtualLayout(values.shape, values.dtype)
            layout[...] = h5py.VirtualSource(str(other), "/x", values.shape)
            file.create_virtual_dataset("x", layout)
    assert "not read" in refused(path)


# ── bombs: a small file that asks for a lot of memory ────────────────────────────────────────


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def with_part(path: Path, part: str, content: bytes) -> None:
    """Replace or add a part of a zipped file."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    zipped(path, **{**members, part: content})


def npy(shape: tuple[int, ...], dtype: str = "<f8", data: bytes = b"") -> bytes:
    """An array that claims a shape and holds what it holds."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"shape": shape, "fortran_order": False, "descr": dtype})
    return stream.getvalue() + data


def hdf5_shape(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("x", (10**12,), "f8", chunks=(1024,))


def hdf5_many_small(path):
    # Each is small enough by itself.
    write_mesh(MESH, path)
    with h5py.File(path, "r+") as file:
        for i in range(300):
            file.create_dataset(f"boundaries/b{i}/nodes", (130_000,), "i4", chunks=(1000,))
            file.create_dataset(f"boundaries/b{i}/edges", (0, 3), "i4")


def npz_shape(path):
    zipped(path, **{"x.npy": npy((10**12,)), "y.npy": npy((1,)), "quad8.npy": npy((1, 8), "<i4")})


def npz_negative_shape(path):
    zipped(path, **{"x.npy": npy((-(2**40), -(2**20))), "y.npy": npy((1,)), "quad8.npy": npy((1, 8), "<i4")})


def npz_zeros(path):
    n = 20_000_000
    zipped(path, **{"x.npy": npy((n,), data=bytes(8 * n))})


def npz_many_small(path):
    members = {f"boundaries/b{i}/nodes.npy": npy((120_000,), data=bytes(960_000)) for i in range(400)}
    zipped(path, **members)


def msh_counts(path):
    path.write_text("$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Nodes\n1 9999999999 1 2\n2 1 0 9999999999\n1\n2\n")


def msh_many_blocks(path):
    numbers = np.array([10**18, 0, 1, 2], dtype=np.uint64).tobytes()
    path.write_bytes(b"$MeshFormat\n4.1 1 8\n\1\0\0\0\n$EndMeshFormat\n$Nodes\n" + numbers + bytes(2000))


def msh_tags(path):
    # Sparse numbers must not be the length of an array.
    text = (DATA / "channel-4.1-text.msh").read_text()
    path.write_text(text.replace("\n1\n", "\n9000000000000000000\n", 1))


def vtu_claim(path):
    text = (DATA / "two-inline-zlib-raw.vtu").read_text()
    path.write_text(text.replace('NumberOfPoints="13"', 'NumberOfPoints="999999999"'))


def vtu_entities(path):
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    path.write_text(f'<!DOCTYPE a [<!ENTITY e0 "lol">{entities}]><VTKFile type="&e12;"/>')


def vtu_zeros(path):
    import base64
    import zlib

    n = 40 * MB
    packed = zlib.compress(bytes(n), 9)
    data = base64.b64encode(np.array([1, n, n, len(packed)], "<u4").tobytes()) + base64.b64encode(packed)
    points = f'<DataArray type="Float32" Name="Points" format="binary">{data.decode()}</DataArray>'
    path.write_text(
        f'<VTKFile type="UnstructuredGrid" compressor="vtkZLibDataCompressor"><UnstructuredGrid><Piece '
        f'NumberOfPoints="{n // 12}" NumberOfCells="0"><Points>{points}</Points></Piece></UnstructuredGrid></VTKFile>'
    )


def inp_sets(path):
    # Each range is as long as all nodes: together they are a square.
    write_mesh(squares(20), path)
    with path.open("a") as file:
        file.writelines(f"*NSET, NSET=s{i}, GENERATE\n1, 1281, 1\n" for i in range(3000))


def xlsx_zeros(path):
    write_mesh(MESH, path)
    with_part(path, "xl/worksheets/sheet1.xml", b"<worksheet>" + bytes(60 * MB) + b"</worksheet>")


def xlsx_texts(path):
    # Texts that are shared between cells are held in memory.
    write_mesh(MESH, path)
    noise = os.urandom(1 << 16).hex().encode()
    texts = b"".join(b"<si><t>%d%s</t></si>" % (i, noise) for i in range(60))
    with_part(path, "xl/sharedStrings.xml", b"<sst>" + texts + b"</sst>")


def xlsx_entities(path):
    write_mesh(MESH, path)
    entities = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(12))
    sheet = f'<!DOCTYPE a [<!ENTITY e0 "lol">{entities}]><worksheet><sheetData>&e12;</sheetData></worksheet>'
    with_part(path, "xl/worksheets/sheet1.xml", sheet.encode())


def xlsx_far_cell(path):
    write_mesh(MESH, path)
    far = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'
    with_part(path, "xl/worksheets/sheet1.xml", far % b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')


BOMBS = [hdf5_shape, hdf5_many_small, npz_shape, npz_negative_shape, npz_zeros, npz_many_small, msh_counts]
BOMBS += [msh_many_blocks, msh_tags, vtu_claim, vtu_entities, vtu_zeros, inp_sets]
BOMBS += [xlsx_zeros, xlsx_texts, xlsx_entities, xlsx_far_cell] if HAS_XLSX else []


@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.__name__)
def test_a_bomb_is_refused_before_it_goes_off(tmp_path, bomb):
    # Refused by what it claims, not by what it did.
    suffix = {"hdf5": ".h5"}.get(kind := bomb.__name__.split("_")[0], f".{kind}")
    path = tmp_path / f"bomb{suffix}"
    bomb(path)
    read_mesh(write_mesh(MESH, tmp_path / f"good{suffix}"))  # what is imported or cached belongs to nobody
    used = peak(lambda: refused(path))
    assert used < 2 * path.stat().st_size + 8 * MB


# ── meshes that can't be computed on ─────────────────────────────────────────────────────────


def spoilt(**changes) -> Mesh:
    return replace(MESH, boundaries={}, **changes)


def at(values, place, value):
    values = values.copy()
    values[place] = value
    return values


GAP = two_parts()


@pytest.mark.parametrize(
    ("mesh", "said"),
    [
        (spoilt(x=at(MESH.x, 4, np.nan)), "node 4 has NaN or infinite coordinates"),
        (spoilt(y=at(MESH.y, [0, 3], np.inf)), "nodes 0, 3 have NaN or infinite coordinates"),
        (
            spoilt(x=1e200 * MESH.x, y=1e200 * MESH.y),
            "elements 0, 1, 2, 3, 4, … (6 in all) are too large for floating-point numbers",
        ),
        (spoilt(quad8=at(MESH.quad8, (2, 5), 29)), "element 2 refers to nodes outside 0…28 (found 0…29)"),
        (spoilt(quad8=at(MESH.quad8, (2, 5), -7)), "element 2 refers to nodes outside 0…28 (found -7…28)"),
        (spoilt(quad8=MESH.quad8 + 1), "node numbers start at 0, but these seem to start at 1"),
        (spoilt(quad8=at(MESH.quad8, (3, 4), MESH.quad8[3, 0])), "element 3 has a corner as a mid-side node"),
        (spoilt(quad8=MESH.quad8[:0]), "the mesh has no elements"),
        (spoilt(quad8=at(MESH.quad8, 1, MESH.quad8[1, [0, 3, 2, 1, 7, 6, 5, 4]])), "element 1: clockwise"),
        (spoilt(quad8=at(MESH.quad8, 1, MESH.quad8[1, [0, 1, 2, 3, 6, 7, 4, 5]])), "element 1: folded or degenerate"),
        (
            spoilt(quad8=np.concatenate([MESH.quad8, MESH.quad8[:1]])),
            "more than two elements share an edge, at elements",
        ),
        (spoilt(x=at(MESH.x, 2, MESH.x[1]), y=at(MESH.y, 2, MESH.y[1])), "nodes 1 and 2 coincide; merge them"),
        (spoilt(x=MESH.x + 0.1 * MESH.y), "inlet"),
        (GAP, "no condition fixes the level of u in 1 of 2 connected parts of the mesh (elements 0, 1, 2, 3)"),
    ],
)
def test_a_mesh_that_cannot_be_solved_on(tmp_path, mesh, said):
    # The first elements or nodes, how many in all, and the way out.
    assert said in refused(write_mesh(mesh, tmp_path / "mesh.npz"))


# ── writing: all or nothing ──────────────────────────────────────────────────────────────────


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mesh_that_does_not_fit_on_the_disk(tmp_path, suffix):
    # The old file stays.
    import resource

    (tmp_path / f"mesh{suffix}").write_bytes(b"the old file")

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))

    command = [
        sys.executable,
        "-B",  # or Python would leave bytecode behind that was cut off
        "-m",
        "fem_core",
        "mesh",
        "duct",
        "--nodes",
        "2000",
        "-o",
        str(tmp_path / f"mesh{suffix}"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, preexec_fn=limit)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"fem: error: {tmp_path / f'mesh{suffix}'}: {os.strerror(27)}\n"
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [(f"mesh{suffix}", b"the old file")]


@pytest.mark.skipif(os.name != "posix", reason="kills a process")
@pytest.mark.parametrize("command", [["mesh", "duct", "-o"], ["solve", "{mesh}", "-o"]])
def test_killed_while_it_writes(tmp_path, command):
    # Half a file is written beside the old one, never over it.
    mesh, target = write_mesh(MESH, tmp_path / "mesh.h5"), tmp_path / "target.h5"
    target.write_bytes(b"the old file")
    code = """
import os, pathlib, signal, sys
whole = pathlib.Path.open
def torn(path, mode="r", *more, **named):
    file = whole(path, mode, *more, **named)
    if "w" in mode:
        file.write(b"half of it")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return file
pathlib.Path.open = torn
from fem_core.cli import main
main()
"""
    words = [word.format(mesh=mesh) for word in command]
    ended = subprocess.run([sys.executable, "-c", code, *words, str(target)], capture_output=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"the old file"


# ── readers of plugins ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("read", "said"),
    [
        (lambda path: 1 / 0, "can't be read: ZeroDivisionError: division by zero"),
        (lambda path: sys.exit(1), "can't be read: SystemExit: 1"),
        (lambda path: None, "the reader for .odd returned a NoneType, not a Mesh"),
        (lambda path: Mesh([0.0], [0.0], [[0] * 8]), "element 0 repeats a corner: triangles"),
    ],
)
def test_a_reader_that_fails(tmp_path, read, said):
    # It is the file that is named: most often it is the culprit.
    class Odd:
        @fem.plugins.hookimpl
        def fem_mesh_readers(self):
            return [
                fem.plugins.MeshFormat(
                    (".odd",), "fails", lambda path: replace(m, source=path.name) if (m := read(path)) else m
                )
            ]

    plugin = Odd()
    fem.plugins.register_plugin(plugin)
    try:
        (tmp_path / "mesh.odd").write_text("odd")
        assert said in refused(tmp_path / "mesh.odd")
    finally:
        fem.plugins.unregister_plugin(plugin)


# ── any file at all ──────────────────────────────────────────────────────────────────────────


def samples() -> dict[str, bytes]:
    """A good file of each kind."""
    import tempfile

    found = {path.name: path.read_bytes() for path in sorted(DATA.glob("[ct][hw]*.*"))}
    with tempfile.TemporaryDirectory() as folder:
        for suffix in SUFFIXES:
            found[f"ours{suffix}"] = write_mesh(MESH, Path(folder) / f"ours{suffix}").read_bytes()
        found |= {path.name: path.read_bytes() for path in foreign.samples(Path(folder))}
    return found


SAMPLES = samples()
NUMBERS = [b"-1", b"0", b"1", b"99", b"2147483648", b"9223372036854775807", b"1e308", b"nan", b"inf", b"", b"x", b"1.5"]


@st.composite
def mutated(draw, content: bytes) -> bytes:
    """`content` after a few changes: cut, overwritten, repeated, or with another number somewhere."""
    for _ in range(draw(st.integers(1, 3))):
        a = draw(st.integers(0, len(content)))
        b = min(len(content), a + draw(st.integers(0, 64)))
        match draw(st.sampled_from(["cut", "drop", "write", "repeat", "number", "number"])):
            case "cut":
                content = content[:a]
            case "drop":
                content = content[:a] + content[b:]
            case "write":
                new = draw(st.sampled_from([b"\xff" * 8, bytes(8), b"\x7f\xff\xff\xff", b"\n", b"<", b"*", b"$"]))
                content = content[:a] + new + content[a + len(new) :]
            case "repeat":
                content = content[:b] + content[a:b] * draw(st.integers(1, 3)) + content[b:]
            case "number":
                if match := re.compile(rb"-?[0-9.]+").search(content, a):
                    content = content[: match.start()] + draw(st.sampled_from(NUMBERS)) + content[match.end() :]
    return content


@st.composite
def mutated_files(draw, content: bytes) -> bytes:
    """A mutated file; of a zipped one, more often what is in a part of it."""
    if content[:2] != b"PK" or draw(st.integers(0, 3)) == 0:
        return draw(mutated(content))
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    part = draw(st.sampled_from(sorted(members)))
    members[part] = draw(mutated(members[part]))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return stream.getvalue()


@pytest.mark.parametrize("name", SAMPLES)
@settings(
    max_examples=40, deadline=5000, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_a_changed_file_is_read_or_refused(tmp_path, name, data):
    # With one line; never another error, a warning, or more memory than the file is worth.
    content = data.draw(mutated_files(SAMPLES[name]))
    path = tmp_path / name
    path.write_bytes(content)

    said: list[str] = []

    def attempt() -> None:
        try:
            assert isinstance(read_mesh(path), Mesh)
        except FemError as error:
            said.append(str(error))

    attempt()  # what is imported or cached belongs to nobody
    slack = 12 if "lzma" in name else 4  # its dictionary has 8 MiB
    assert peak(attempt) < 2 * len(content) + slack * MB
    for line in said:
        assert "\n" not in line
        assert name in line
    ended = run("check", path)
    assert ended.exit_code in ((2,) if said else (0, 2)), ended.output
    with contextlib.suppress(FemError):
        repair_mesh(read_unvalidated(path))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_honest_file_is_read_within_twice_its_size(tmp_path, suffix):
    # The size of a zipped file is that of its content.
    mesh = fem.generate.duct(nodes=6_000 if suffix == ".xlsx" else 100_000)
    path = write_mesh(mesh, tmp_path / f"mesh{suffix}")
    read = next(known.read for known in mesh_formats() if suffix in known.suffixes)
    size = path.stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    arrays = mesh.x.nbytes + mesh.y.nbytes + mesh.quad8.nbytes
    read(write_mesh(MESH, tmp_path / f"small{suffix}"))
    assert peak(lambda: read(path)) < 2 * max(size, arrays) + MB

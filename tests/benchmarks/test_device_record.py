"""The record of device backends, on the reference runtime: everything but the figures."""

import importlib.util
import json
import os
import sys
import time
import types

import fem_core as fem
import numpy as np
import pytest
from fakes.distributions import Shelf, python
from places import ROOT, TESTS
from scipy import sparse
from scipy.sparse import linalg

PROGRAM = ROOT / "benchmarks" / "device_record.py"
spec = importlib.util.spec_from_file_location(PROGRAM.stem, PROGRAM)
record = sys.modules[PROGRAM.stem] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(record)

INFO = """
    from fem_core.plugins.backend import BackendInfo
    from fem_core.device import info

    INFO = BackendInfo(
        "reference", "a device's driver over NumPy", "fakes.reference:Reference", stages=info.STAGES,
        solver_methods=info.SOLVER_METHODS, options=info.OPTIONS, device="reference",
    )
"""


CHECKS = ["--checks", "matrix", "solution", "light_import"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """What a user would type, where a backend is installed that has no GPU."""
    folder = tmp_path_factory.mktemp("record")
    shelf = Shelf(folder / "site")
    shelf.add("fem-reference", {"fake_reference.py": INFO}, {"reference": "fake_reference:INFO"})
    path = os.pathsep.join([str(shelf.folder), str(TESTS)])
    command = [PROGRAM, "reference", "missing", "-o", str(folder / "out")]
    done = python(*command, "--nodes", "400", "900", "--rounds", "2", "--examples", "2", *CHECKS, PYTHONPATH=path)
    return done, folder / "out"


def test_it_says_what_was_found(written):
    done, folder = written
    assert done.returncode == 1, done.stderr  # for the backend that is missing
    text = (folder / "record.md").read_text()
    assert record._NO_GPU in text
    assert "**missing**" in text
    assert "there is no backend" in text
    assert text.count("\n| reference |") == 4  # two meshes in two tables
    found = json.loads((folder / "record.json").read_text())
    kit = found["backends"]["reference"]["kit"]
    assert kit == dict.fromkeys(CHECKS[1:], "passed")
    assert set(found["backends"]["reference"]["opening"]) == {
        "first open", "first compile", "cached open", "cached compile",
    }  # fmt: skip
    for row in found["rows"]:
        assert set(record._COLUMNS) < set(row["seconds"])
        assert all(value > 0 for value in row["seconds"].values())
        assert row["iterations"]["cg"] > row["iterations"]["mg"] > 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mesh", "nowhere.h5"], "nowhere.h5: this file doesn't exist"),
        (["--nodes", "2"], "nodes must be"),
        (["-o", "/dev/null/x"], "/dev/null"),
    ],
)
def test_what_is_wrong_is_said_in_a_line_before_the_kit(arguments, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        record.main(["reference", "-o", str(tmp_path), *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


ROW = record.Row(
    "cupy", "y-tube", 1_358_000, dict.fromkeys(record._COLUMNS, 0.0001) | {"whole run, cg": 1.5},
    {"assembly": 3000.0}, {"assembly": 5000.0}, {"cg": 9000, "mg": 12}, {"assembly": 2e-3, "cg iteration": 2e-4},
)  # fmt: skip


def found(rows, **device):
    backends = {"cupy": {"device": {"name": "H200", **device}, "kit": {"matrix": "passed"}}}
    return {"date": "today", "backends": backends, "machine": {"hardware": {}, "versions": {}}, "rows": rows}


def test_targets_are_judged():
    text = record.table(found([ROW]))
    assert "cupy: assembly ≤ 200 µs: 100 µs, met" in text
    assert "cupy: whole run, cg ≤ 1.2 s: 1.5 s, **missed**" in text
    assert "cupy: assembly ≥ 10 times CuPy's own: 20.0, met" in text
    assert "cupy: cg iteration ≥ 4 times CuPy's own: 2.0, **missed**" in text
    assert "| 2 ms, 20.0 | 200 µs, 2.0 |" in text


def test_no_target_is_met_without_a_gpu():
    text = record.table(found([ROW], simulated=True))
    assert "met" not in text.split("Targets")[1].replace("cupy: assembly", "")
    assert "not measured (no GPU)" in text
    assert "Nothing was measured" in record.table(found([]))


class Event:
    """As CuPy's, by the clock."""

    def record(self):
        self.at = time.perf_counter()

    def synchronize(self): ...


class Csr(sparse.csr_matrix):
    def get(self):
        return self


class Coo(sparse.coo_matrix):
    def tocsr(self):
        return Csr(super().tocsr())


@pytest.fixture
def stand_in(monkeypatch):
    """SciPy in place of CuPy: whether what is asked of it makes sense, and nothing about GPUs."""
    cupy, sparse_matrices, solvers = (types.ModuleType(name) for name in ("cupy", "sparse", "linalg"))
    cupy.asarray = np.asarray
    cupy.cuda = types.SimpleNamespace(Event=Event, get_elapsed_time=lambda a, b: 1e3 * (b.at - a.at))
    sparse_matrices.coo_matrix, sparse_matrices.csr_matrix, sparse_matrices.linalg = Coo, Csr, solvers
    solvers.cg = linalg.cg
    for name in ("cupy", "cupyx", "cupyx.scipy", "cupyx.scipy.sparse"):
        module = sparse_matrices if name.endswith("sparse") else cupy
        monkeypatch.setitem(sys.modules, name, module)
    return solvers


def test_cupy_s_own_is_asked_for_the_same(stand_in):
    mesh, steps = fem.generate.y_tube(nodes=2000), []

    def counted(A, b, maxiter, rtol):
        x, info = linalg.cg(A, b, rtol=rtol, maxiter=maxiter, callback=lambda x: steps.append(1))
        assert info == maxiter == 100
        return x, info

    stand_in.cg = counted
    found = record._peers(mesh, fem.Problem.potential_flow(mesh), rounds=5)
    assert set(found) == {"assembly", "cg iteration"}
    assert 0 < found["cg iteration"] < 1e-2
    assert len(steps) == 600
    K = fem.assemble_system(mesh).matrix
    with pytest.raises(fem.FemError, match="another one"):
        record._require_same(1.001 * K, K)


def test_y_tubes_are_built_as_the_published_ones():
    # 195,853 nodes, 48,607 elements and as many nodes of no element: the targets are meant for such a mesh.
    mesh = record.y_tube(195_000)
    assert mesh.n_nodes == pytest.approx(195_853, rel=0.01)
    assert mesh.n_elements == pytest.approx(48_607, rel=0.01)
    assert len(mesh.orphan_nodes) == mesh.n_elements

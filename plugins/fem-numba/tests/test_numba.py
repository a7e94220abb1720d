"""`numba`: certified, the same bits from any number of threads, and the faults of compiled code."""

import itertools
import json
import os
import pickle
import platform
import subprocess
import sys

import numpy as np
import pytest
from places import TESTS

pytest.importorskip("numba", reason="numba isn't installed")
pytest.importorskip("fem_numba", reason="fem-numba isn't installed")

import fem_core as fem
from fem_core import (
    BackendError,
    BackendUnavailable,
    Problem,
    SolveResult,
    StopReason,
    assemble_system,
    compute_derived,
    open_backend,
    support,
)
from fem_core.plugins.registry import REGISTRY
from fem_core.plugins.stages import ASSEMBLE_SYSTEM, COMPUTE_SPARSITY
from fem_core.support import compiled
from fem_core.testing import parametrize_with_checks
from fem_numba import cache, jit, threads
from fem_numba.element import stiffness
from fem_numba.memory import Recycled, empty
from fem_numba.parts import PART
from hypothesis import given, settings
from meshes import distorted, renumbered, small_meshes
from odd_elements import KINDS, assert_close_to_the_oracle

MESH = renumbered(distorted(60, 50, seed=7), orphans=9)[0]
MANY = jit.most_threads()


@pytest.fixture(scope="module")
def session():
    with open_backend("numba", threads=1) as session:
        yield session


@parametrize_with_checks("numba", examples=5, options={"threads": 1})
def test_numba_conforms(check):
    check()


@pytest.mark.parametrize("kind", KINDS)
def test_elements_are_a_rounding_from_the_oracle(session, kind):
    # Compiled code sums in an order of its own, and nothing in it may cost digits.
    assert_close_to_the_oracle(session, kind)


@settings(max_examples=30)
@given(mesh=small_meshes())
def test_the_pattern_is_the_core_s(session, mesh):
    expected, found = fem.compute_sparsity(mesh), session.stages().perform(COMPUTE_SPARSITY, mesh).to_host()
    for name in ("indptr", "indices", "slots"):
        assert np.array_equal(getattr(expected, name), getattr(found, name))


def test_two_elements_around_a_ring():
    # they share two edges, and so pairs of nodes that aren't on one edge
    angle = np.linspace(0, 2 * np.pi, 4, endpoint=False)
    radius = np.array([1.0, 1.5, 2.0])
    x, y = np.outer(radius, np.cos(angle)).ravel(), np.outer(radius, np.sin(angle)).ravel()
    quad8 = [[0, 8, 10, 2, 4, 9, 6, 1], [2, 10, 8, 0, 6, 11, 4, 3]]
    mesh = fem.Mesh(x, y, np.array(quad8, dtype=np.int32)).mark_valid()
    with open_backend("numba", threads=1) as session:
        stages = session.stages()
        pattern = stages.perform(COMPUTE_SPARSITY, mesh)
        expected = fem.compute_sparsity(mesh)
        assert np.array_equal(pattern.to_host().slots, expected.slots)
        K = stages.perform(ASSEMBLE_SYSTEM, mesh, problem=Problem(), sparsity=pattern).matrix
    wanted = expected.scatter(fem.assembly.element_stiffness(x[mesh.quad8], y[mesh.quad8], 1.0))
    assert np.abs(K.data - wanted).max() <= 1e-13 * np.abs(wanted).max()


def test_contributions_are_summed_in_element_order():
    """K is bitwise what summing the compiled element matrices one element after the other gives."""
    assert MESH.n_elements > 2 * PART
    with open_backend("numba", threads=1) as session:
        system = assemble_system(MESH, backend=session)
        parts = []
        for e in range(0, MESH.n_elements, 7):  # an element by itself: its block is filled up with copies of it
            one = fem.Mesh(MESH.x[MESH.quad8[e]], MESH.y[MESH.quad8[e]], np.arange(8, dtype=np.int32)[None])
            parts.append(assemble_system(one.mark_valid(), backend=session).matrix.toarray())
    sparsity = fem.compute_sparsity(MESH)
    once = np.bincount(sparsity.slots.ravel(), minlength=sparsity.nnz) == 1
    for Ke, slots in zip(parts, sparsity.slots[::7], strict=True):
        assert np.array_equal(system.matrix.data[slots][once[slots]], Ke[once[slots]])


def test_a_pattern_for_others_and_a_pattern_of_others(session):
    expected = assemble_system(MESH, backend="numpy")
    with open_backend("threads,numba", workers=2, threads=1, min_size=0) as both:
        found = assemble_system(MESH, backend=both)
        assert both.chain.provider("compute_sparsity", Problem(), fem.plugins.SolverOptions())[0] == "numba"
    assert np.array_equal(expected.matrix.data, found.matrix.data)
    foreign = fem.compute_sparsity(MESH)
    first = assemble_system(MESH, sparsity=foreign, backend=session).matrix.data
    assert np.array_equal(first, assemble_system(MESH, backend=session).matrix.data)


def test_a_row_too_long_for_its_places_is_refused(session, monkeypatch):
    # In a pattern that was computed elsewhere, too: it would be cut off without a word.
    foreign = fem.compute_sparsity(MESH)
    monkeypatch.setattr("fem_numba.sparsity.FIRST", 20)
    session.forget()
    with pytest.raises(BackendError, match=r"node \d+ shares elements with 2\d nodes; the limit of numba is 20"):
        session.stages().perform(COMPUTE_SPARSITY, MESH)
    with pytest.raises(BackendError, match="the limit of numba is 20"):
        assemble_system(MESH, sparsity=foreign, backend=session)


def test_more_entries_than_places_are_refused(session, monkeypatch):
    # The core's limit, for the entries of the matrix.
    nnz = fem.compute_sparsity(MESH).nnz
    session.forget()
    monkeypatch.setattr("fem_core.assembly.sparsity.MOST_ENTRIES", nnz - 1)
    with pytest.raises(BackendError, match=rf"{nnz:,} entries of the matrix are too many .* the limit is {nnz - 1:,}"):
        session.stages().perform(COMPUTE_SPARSITY, MESH)


def test_a_potential_that_is_a_column_of_something(session):
    fields = np.random.default_rng(0).normal(size=(MESH.n_nodes, 3))
    results = [SolveResult(u, "", 0, StopReason.CONVERGED, 0, 0) for u in (fields[:, 1], fields[:, 1].copy())]
    first, second = (compute_derived(MESH, result, backend=session).velocity for result in results)
    assert np.array_equal(first, second)


def test_more_threads_than_numba_has_are_refused():
    with pytest.raises(BackendUnavailable, match="NUMBA_NUM_THREADS"):
        open_backend("numba", threads=MANY + 1)


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "1000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)]
)
def test_threads_wait_awake_for_a_short_time_unless_the_user_decides(monkeypatch, given, expected):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    before, seen = dict(os.environ), []
    monkeypatch.setattr(threads.numba, "get_num_threads", lambda: seen.append(os.environ.get("GOMP_SPINCOUNT")))
    threads.start()
    assert seen == [expected]
    assert dict(os.environ) == before


def test_memory_comes_back_when_nobody_holds_it():
    memory = Recycled()
    n = 1 << 19
    first = memory.empty(n)
    address = first.ctypes.data
    part = first[5:9]
    del first
    other = memory.empty(n)
    assert other.ctypes.data != address  # a view is still held
    part[:] = 1
    del part
    assert memory.empty(n).ctypes.data == address
    assert empty((n, 3), np.int32).shape == (n, 3)


def test_arrays_begin_apart_from_each_other():
    # A multiple of 256 MB and up to 16 KB apart two arrays drive each other out of the first cache.
    apart, large = 1 << 15, 1 << 21
    starts = [empty(n, np.uint8).ctypes.data % large for n in (large, 3 * large, 5 * large + 1, 7 * large - 1)]
    assert all(abs(a - b) >= apart for a, b in itertools.combinations(starts, 2))


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads the assembly of x86-64")
def test_the_kernel_is_vectorised_across_elements():
    """Multiply-adds of full registers; without them the element matrices take eight times as long."""
    flat = jit.Out[jit.f8, 1]
    stiffness.compile((flat, flat, flat, flat))
    lines = "".join(stiffness.inspect_asm().values()).splitlines()
    fused = [line for line in lines if "\tvfm" in line or "\tvfnm" in line]
    if not fused:
        pytest.skip("this processor has no fused multiply-add")
    wide = [line for line in fused if "%ymm" in line or "%zmm" in line]
    assert len(wide) > 60


PROGRAM = (
    "import logging, fem_core as fem; logging.basicConfig()\n"
    "solution = fem.solve(fem.generate.duct(nx=8, ny=4), backend='numba', backend_options={'threads': 1})\n"
    "print(solution.report.converged, solution.report.seconds['compile'])\n"
)


def run(program, folder, *arguments, **variables):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **variables}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


BITS = (
    "import hashlib, numpy as np, fem_core as fem\n"
    "from meshes import distorted, renumbered\n"
    "mesh = renumbered(distorted(60, 50, seed=7), orphans=9)[0]\n"
    "problem = fem.Problem((), np.linspace(0.5, 2, mesh.n_elements), lambda x, y: np.cos(x + y))\n"
    "u = np.sin(3 * mesh.x) * mesh.y\n"
    "result = fem.SolveResult(u, '', 0, fem.StopReason.CONVERGED, 0, 0)\n"
    "for threads in range(1, 5):\n"
    "    with fem.open_backend('numba', threads=threads) as session:\n"
    "        system = fem.assemble_system(mesh, problem, backend=session)\n"
    "        fields = fem.compute_derived(mesh, result, backend=session)\n"
    "        solution = session.solve(mesh, solver='cg')\n"
    "    found = system.matrix.data, system.rhs, fields.velocity, fields.speed, solution.u, solution.pressure\n"
    "    print(hashlib.sha256(b''.join(a.tobytes() for a in found)).hexdigest())\n"
)


def test_the_same_bits_from_any_number_of_threads():
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    job = run(BITS, cache.folder().parent, NUMBA_NUM_THREADS="4", PYTHONPATH=paths)
    out, err = job.communicate(timeout=300)
    assert len(out.split()) == 4, err
    assert len(set(out.split())) == 1


# The signal comes as the stage calls its compiled function.
INTERRUPTED = (
    "import importlib, signal, sys\n"
    "from fem_core.__main__ import main\n"
    "mesh, folder = sys.argv[1:]\n"
    "for stage, module, function in {stages!r}:\n"
    "    module = importlib.import_module('fem_numba.' + module)\n"
    "    original = getattr(module, function)\n"
    "    def interrupted(*arguments):\n"
    "        signal.raise_signal(signal.SIGINT); return original(*arguments)\n"
    "    setattr(module, function, interrupted)\n"
    "    events = f'{{folder}}/{{stage}}.jsonl'\n"
    "    sys.argv = ['fem', 'solve', mesh, '--backend', 'numba', '--solver', 'cg', '--events', events]\n"
    "    try: main()\n"
    "    except SystemExit as end: print(end.code)\n"
    "    setattr(module, function, original)\n"
)


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to a process")
def test_ctrl_c_ends_with_130_one_line_and_a_last_event(tmp_path):
    stages = (
        ("assemble_system", "assembly", "sum_stiffness"),
        ("solve_system", "cg", "take_steps"),
        ("compute_derived", "derived", "fields"),
    )
    mesh = tmp_path / "mesh.h5"
    fem.write_mesh(fem.generate.duct(nodes=2000), mesh)
    job = run(INTERRUPTED.format(stages=stages), cache.folder().parent, str(mesh), str(tmp_path))
    out, err = job.communicate(timeout=300)
    assert (job.returncode, out, err) == (0, 3 * "130\n", 3 * "fem: cancelled\n")
    for stage, _, _ in stages:
        found = [json.loads(line) for line in (tmp_path / f"{stage}.jsonl").read_text().splitlines()]
        ends = [event for event in found if event["event"] in ("fem:error", "fem:solveComplete")]
        assert [(event["event"], event["data"]["stage"]) for event in ends] == [("fem:error", stage)]
        assert found[-1] is ends[0]


def test_a_damaged_cache_is_compiled_again(tmp_path):
    """Truncated, empty and foreign files among whole ones: a warning each, and the right answer."""
    run(PROGRAM, cache.folder().parent).communicate(timeout=300)  # fills it; here, some modules may not be imported
    folder = tmp_path / "fem-numba"
    folder.mkdir(0o700)
    for path in cache.folder().glob("*.bin"):
        (folder / path.name).write_bytes(path.read_bytes())
    for path in folder.glob("fem_numba.conditions.penalize-*.bin"):
        path.write_bytes(path.read_bytes()[:1000])
    for path in folder.glob("fem_numba.conditions.copy-*.bin"):
        path.write_bytes(b"")
    job = run(PROGRAM, tmp_path)
    out, err = job.communicate(timeout=300)
    assert out.startswith("True"), err
    assert "penalize" in err
    assert "is compiled again" in err
    assert max(path.stat().st_size for path in folder.glob("fem_numba.conditions.penalize-*.bin")) > 1000  # whole again


class Planted:
    """Unpickling it leaves a file."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (self.proof,)


PENALIZE = (
    "import logging; logging.basicConfig(level=logging.WARNING)\n"
    "from fem_numba import jit\nfrom fem_numba.conditions import penalize\n"
    "jit._ENTRIES[:] = [e for e in jit._ENTRIES if e[0].py_func.__name__ == 'penalize']\n"
    "jit.compile_all(); print(penalize.signatures != [])\n"
)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="owner and mode are POSIX's")
def test_code_that_another_user_may_have_written_is_not_run(tmp_path):
    folder, proof = tmp_path / "fem-numba", tmp_path / "proof"

    def run_it():
        out, err = run(PENALIZE, tmp_path).communicate(timeout=300)
        assert out == "True\n", err
        return err

    assert run_it() == ""
    (entry,), (complete,) = folder.glob("*.bin"), folder.glob("complete-*")
    compiled.save(entry, pickle.dumps(Planted(str(proof))), "none")
    entry.chmod(0o666)
    assert f"files in {folder} aren't used: mode 0666" in run_it()  # and it is made again
    folder.chmod(0o777)
    (warning,) = run_it().splitlines()  # one for reading and writing
    assert f"run `chmod go-w {folder}`" in warning
    folder.chmod(0o700)
    assert run_it() == ""
    assert not proof.exists()
    assert entry.stat().st_mode & 0o777 == complete.stat().st_mode & 0o777 == 0o600
    compiled.save(entry, pickle.dumps(Planted(str(proof))), "none")  # the trap works: a cache runs its user's code
    assert "is compiled again" in run_it()
    assert proof.exists()


def test_it_is_refused_where_numba_may_not_compile(monkeypatch):
    monkeypatch.setattr(jit.numba.config, "DISABLE_JIT", 1)
    with pytest.raises(BackendUnavailable, match="NUMBA_DISABLE_JIT is set"):
        open_backend("numba")


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX permissions")
def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(cache, "_lost", False)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/proc/nowhere" if sys.platform == "linux" else "/dev/null")

    @jit.compiled(jit.f8)
    def twice(a):
        return 2 * a

    dispatcher, arguments = jit._ENTRIES.pop()
    dispatcher.compile(arguments)
    assert twice(2.0) == 4.0
    cache.Cache(dispatcher.py_func).save_overload((), dispatcher.overloads[dispatcher.signatures[0]])
    assert len(caplog.messages) == 1  # a line for each function would be thirty
    cache.all_kept()
    assert not cache.complete().exists()


def test_two_processes_fill_the_cache_at_once(tmp_path):
    jobs = [run(PENALIZE, tmp_path) for _ in range(2)]
    for job in jobs:
        out, err = job.communicate(timeout=300)
        assert (out, err) == ("True\n", "")
    assert len(list((tmp_path / "fem-numba").glob("*.bin"))) == 1


def test_two_threads_solve_at_once():
    """The workqueue layer would end the process with SIGABRT (numba issues 8563 and 9288)."""
    program = (
        "import threading, fem_core as fem, numba\n"
        "from fem_core.plugins.stages import COMPUTE_SPARSITY\n"
        "mesh, found = fem.generate.annulus(nodes=1500), []\n"
        "def solve():\n"
        "    with fem.open_backend('numba') as session:\n"
        "        for _ in range(3):\n"
        "            found.append(session.solve(mesh, solver='cg').u.max())\n"
        "            session.forget()\n"
        "            for _ in range(20): session.stages().perform(COMPUTE_SPARSITY, mesh).to_host(); session.forget()\n"
        "jobs = [threading.Thread(target=solve) for _ in range(2)]\n"
        "[job.start() for job in jobs]; [job.join() for job in jobs]\n"
        "print(len(found), len(set(found)), numba.threading_layer())\n"
    )
    jobs = {layer: run(program, cache.folder().parent, NUMBA_THREADING_LAYER=layer) for layer in ("workqueue", "omp")}
    for layer, job in jobs.items():
        out, err = job.communicate(timeout=300)
        if layer == "workqueue" or "No threading layer could be loaded" not in err:
            assert out == f"6 1 {layer}\n", err


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_after_openmp_is_refused():
    program = (
        "import os, sys, warnings, fem_core as fem, numba\n"
        "warnings.simplefilter('ignore')\n"
        "mesh = fem.generate.duct(nx=8, ny=4)\n"
        "session = fem.open_backend('numba'); session.solve(mesh, solver='cg')\n"
        "if numba.threading_layer() != 'omp': print('other layer'); sys.exit()\n"
        "sys.stdout.flush()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: fem.open_backend('numba').solve(mesh, solver='cg')\n"  # a session of its own
        "    except fem.BackendError as error: print(error, flush=True); os._exit(7)\n"
        "    os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), session.solve(mesh, solver='cg').report.converged)\n"
    )
    job = run(program, cache.folder().parent, NUMBA_THREADING_LAYER="omp")
    out, err = job.communicate(timeout=300)
    if job.returncode and "No threading layer could be loaded" in err:
        pytest.skip("no OpenMP here")
    assert "forked from a process with running OpenMP threads of numba" in out, err
    assert out.endswith("7 True\n")


def test_auto_waits_until_it_is_compiled(tmp_path, monkeypatch):
    info = next(one.info for one in REGISTRY.listings() if one.name == "numba")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert info.pending() == "compile for some 40 s, once"
    with fem.open_backend("auto") as session:
        assert session.name != "numba"
    (tmp_path / "fem-numba").mkdir()
    cache.all_kept()
    assert info.pending() is None
    with fem.open_backend("auto") as session:
        assert session.name == "numba"


def test_fewer_threads_than_libgomp_would_want(monkeypatch):
    """It would end the process."""
    monkeypatch.setattr(threads, "_started_in", None)
    monkeypatch.setattr(support.threads, "start", lambda work, name: None)
    monkeypatch.setattr(jit, "most_threads", lambda: 2)
    with pytest.raises(BackendUnavailable, match="only 1 of 2 threads can start; use --option threads=1"):
        fem.open_backend("numba", threads=2)
    fem.open_backend("numba", threads=1).close()

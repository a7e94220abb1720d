"""`threads`: the same bits from any number of them, no thread for one worker, and faults that pass through."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from places import TESTS

pytest.importorskip("fem_threads")

import faulty
from fem_core import BackendError, Cancelled, CancelToken, Problem, assemble_system, open_backend, solve
from fem_core.execution import Batching
from fem_core.generate import duct
from fem_core.support import threads
from fem_core.testing import EXECUTOR_CHECKS, parametrize_with_checks
from fem_threads.backend import ThreadExecutor
from meshes import distorted, renumbered

MESH = renumbered(distorted(40, 33, seed=7), orphans=9)[0]


@pytest.fixture(autouse=True)
def no_thread_left():
    yield
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fem-threads")]


@parametrize_with_checks("threads", examples=5, options={"workers": 2, "min_size": 0})
def test_threads_conform(check):
    check()


@pytest.mark.parametrize("name", EXECUTOR_CHECKS)
def test_the_executor_by_itself(name):
    EXECUTOR_CHECKS[name](ThreadExecutor)


@pytest.mark.parametrize(("workers", "batch_size", "per_task"), [(1, 100, 1), (2, 64, 1), (5, 100, 3), (3, "auto", 1)])
def test_the_same_bits_as_numpy(workers, batch_size, per_task):
    problem = Problem((), np.linspace(0.5, 2, MESH.n_elements), lambda x, y: np.cos(x + y))
    expected = assemble_system(MESH, problem, backend="numpy")
    options = {"workers": workers, "batch_size": batch_size, "batches_per_task": per_task, "min_size": 0}
    with open_backend("threads", **options) as session:
        found = assemble_system(MESH, problem, backend=session)
    assert np.array_equal(expected.matrix.data, found.matrix.data)
    assert np.array_equal(expected.rhs, found.rhs)


def ident(item):
    time.sleep(0.01)
    return threading.get_ident()


def test_one_worker_is_no_thread():
    executor = ThreadExecutor(Batching(workers=1))
    assert executor.map_items(ident, range(3)) == [threading.get_ident()] * 3
    executor.close()
    executor = ThreadExecutor(Batching(workers=2))
    assert threading.get_ident() not in executor.map_items(ident, range(4))
    executor.close()


def test_exceptions_pass_and_shared_inputs_are_read_only():
    executor = ThreadExecutor(Batching(workers=2, batch_size=500, min_size=0))
    spec = {"square": ((), np.float64)}

    def run(kernel, **inputs):
        return executor.map_ranges(kernel, 8000, {"a": np.ones(8000), **inputs}, spec, lambda done, total: None)

    for what, kind in (("plain", ZeroDivisionError), ("unpicklable", faulty.Unpicklable), ("exit", SystemExit)):
        with pytest.raises(kind, match="item 3000"):
            run(faulty.raising, kind=np.frombuffer(what.encode(), np.uint8))
    with pytest.raises(ValueError, match="read-only"):
        run(faulty.writing)
    assert (run(faulty.square)["square"] == 1).all()
    executor.close()


def test_one_thread_of_blas_in_each():
    executor = ThreadExecutor(Batching(workers=2, batch_size=500, min_size=0))
    spec = {"threads": ((), np.int64), "variable": ((), np.int64)}
    found = executor.map_ranges(faulty.threads_and_variables, 4000, {}, spec, lambda done, total: None)
    assert set(found["threads"]) == {1}
    executor.close()


def test_few_elements_stay_here_and_the_report_says_so():
    report = solve(duct(nx=4, ny=4), backend="threads", backend_options={"workers": 2}, solver="cg").report
    assert report.notes == ("threads: 16 items stay in the calling process (min_size=1000)",)


def test_cancelling_begins_no_further_batch():
    token = CancelToken()

    def listen(event):
        if event.name == "fem:assemblyProgress":
            token.cancel()

    with open_backend("threads", workers=2, batch_size=100, min_size=0) as session:
        with pytest.raises(Cancelled):
            session.solve(duct(nx=60, ny=40), on_event=listen, cancel=token, solver="cg")
        assert session.solve(duct(nx=60, ny=40), solver="cg").report.converged


def test_a_failing_kernel_is_reported_as_its_backend_s():
    mesh = duct(nx=60, ny=40)
    with open_backend("threads", workers=2, batch_size=100, min_size=0) as session:
        backend = session.backends[0][1]
        right, backend._stiffness = backend._stiffness, faulty.writing
        with pytest.raises(BackendError, match=r"^backend 'threads' failed in assemble_system: "):
            session.solve(mesh, solver="cg")
        backend._stiffness = right
        assert session.solve(mesh, solver="cg").report.converged


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
def test_ctrl_c(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal, sys, threading\nimport fem_core as fem, faulty\n"
        "session = fem.open_backend('threads', workers=2, batch_size=100, min_size=0)\n"
        "session.backends[0][1]._stiffness = faulty.stiffness_slow\n"
        "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "try:\n    session.solve(fem.generate.duct(nx=80, ny=40), on_event=lambda event: print(event.name))\n"
        "except KeyboardInterrupt:\n    session.close()\n    print(threading.active_count())\n    sys.exit(130)\n"
    )
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths, "FEM_TEST_MARK": str(tmp_path / "mark")}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=30, env=environment)
    assert done.returncode == 130, done.stderr
    assert done.stdout.splitlines()[-2:] == ["fem:error", "1"]
    assert done.stderr == ""


@pytest.mark.parametrize("workers", [1, 2])
def test_kernels_that_a_process_could_not_take_are_refused(workers):
    executor, before = ThreadExecutor(Batching(workers=workers, min_size=0)), threading.active_count()
    with pytest.raises(BackendError, match="lambda"):
        executor.map_ranges(lambda *given: None, 4000, {}, {}, lambda done, total: None)
    assert threading.active_count() <= before


@pytest.mark.parametrize("most", [0, 1])
def test_fewer_threads_if_no_more_can_start(monkeypatch, most):
    started, real = [], threads.start

    def start(work, name):
        started.append(name)
        return real(work, name) if len(started) <= most else None

    monkeypatch.setattr(threads, "start", start)
    expected = solve(MESH, solver="direct", backend="numpy")
    with open_backend("threads", workers=3, min_size=0) as session:
        found = session.solve(MESH, solver="direct")
    assert np.array_equal(expected.u, found.u)
    assert f"threads: {most} instead of 3 threads: no more can start" in found.report.warnings

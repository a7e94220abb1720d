"""`mp` and `mp-shm` when something goes wrong: nothing hangs, nothing is left, and the next run works.

The rows are those of the list of faults that the design starts from; each test has a deadline.
"""

import errno
import faulthandler
import gc
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from places import TESTS

pytest.importorskip("fem_mp_shm")

import faulty
from fem_core import BackendError, BackendUnavailable, Cancelled, CancelToken, open_backend, solve, write_mesh
from fem_core.execution import Batching
from fem_core.generate import duct
from fem_core.plugins import WorkerLost
from fem_mp_shm import fork_server, memory, names, patience, segments, starting
from fem_mp_shm.mp import MPExecutor
from fem_mp_shm.segments import Segment
from fem_mp_shm.shm import ShmExecutor

SPEC = {"square": ((), np.float64)}
DEADLINE = 30.0
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc and /dev/shm")
both = pytest.mark.parametrize("kind", [MPExecutor, ShmExecutor], ids=["mp", "mp-shm"])
backends = pytest.mark.parametrize("name", ["mp", "mp-shm"])
methods = pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())


@pytest.fixture(autouse=True)
def nothing_left(request):
    """A deadline for every test, and no worker and no segment after it."""
    method = getattr(request.node, "callspec", None) and request.node.callspec.params.get("method")
    if method == "fork" and getattr(sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", False):
        pytest.skip("another test started numba's threads in this process, beside which fork is refused")
    faulthandler.dump_traceback_later(4 * DEADLINE, exit=True)  # no thread of Python's, beside which fork is refused
    began = time.monotonic()
    try:
        yield
    finally:
        end_started()
        faulthandler.cancel_dump_traceback_later()
    assert time.monotonic() - began < DEADLINE
    until(lambda: not multiprocessing.active_children(), 5)
    assert not own_segments()


_started: list[subprocess.Popen] = []


def start_process(*command, **settings):
    """A process and its workers, a group of their own that the test can't leave behind, however it ends."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, *map(str, command)], start_new_session=True, **pipes, **settings)
    _started.append(process)
    return process


def end_started():
    while _started:
        process = _started.pop()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process:  # closes its pipes
            process.kill()


def own_segments():
    folder = Path("/dev/shm")
    return [path.name for path in folder.glob(f"fem-*-{os.getpid()}-*")] if folder.is_dir() else []


def make(kind, **options):
    return kind(Batching(workers=2, batch_size=500, min_size=0), **options)


def ones(executor, n=8000, kernel=faulty.square, **inputs):
    shared = executor.share({"a": np.ones(n), **inputs})
    try:
        return executor.map_ranges(kernel, n, shared, SPEC, lambda done, total: None)["square"].copy()
    finally:
        executor.release(shared)


def assert_works(executor):
    assert (ones(executor) == 1).all()


# 1, 3: dead workers


@both
@methods
@pytest.mark.parametrize(("kernel", "how"), [(faulty.killed, "SIGKILL"), (faulty.leaving, "exit code 7")])
def test_a_worker_that_dies_in_a_task_is_noticed_at_once(kind, method, kernel, how):
    executor = make(kind, start_method=method)
    try:
        assert_works(executor)
        began = time.monotonic()
        with pytest.raises(WorkerLost, match=rf"process \d+ .*{how} in batch \d+…\d+"):
            ones(executor, kernel=kernel)
        assert time.monotonic() - began < 2
        assert_works(executor)
    finally:
        executor.close()


@both
def test_a_worker_killed_while_it_writes_its_answer_is_noticed(kind):
    # This is where concurrent.futures.ProcessPoolExecutor waits for ever: its result pipe is one for all workers.
    executor = make(kind)
    try:
        began = time.monotonic()
        with pytest.raises(WorkerLost, match="item 3"):
            executor.map_items(faulty.half_an_answer, range(8))
        assert time.monotonic() - began < 2
        assert_works(executor)
    finally:
        executor.close()


@both
def test_a_worker_killed_from_outside_in_a_task_is_noticed(kind):
    executor = make(kind)
    try:
        assert_works(executor)
        victim = executor.pool.pids[0]
        threading.Timer(0.15, os.kill, (victim, signal.SIGKILL)).start()
        began = time.monotonic()
        with pytest.raises(WorkerLost, match=f"process {victim} was killed by SIGKILL"):
            ones(executor, kernel=faulty.slow)
        assert time.monotonic() - began < 0.15 + 2
        assert_works(executor)
    finally:
        executor.close()


@both
def test_workers_killed_between_two_tasks_are_replaced_with_a_warning(kind):
    # No work is lost, so there is no error; the user reads that it happened.
    executor = make(kind)
    said = []
    executor.remark = lambda text, warning=False: said.append((text, warning))
    try:
        assert_works(executor)
        for number in executor.pool.pids:
            os.kill(number, signal.SIGKILL)
        time.sleep(0.1)
        assert_works(executor)
        assert len(said) == 1
        assert "was killed by SIGKILL" in said[0][0]
        assert said[0][1]
    finally:
        executor.close()


@backends
@pytest.mark.parametrize("stage", ["assemble_system", "compute_derived"])
def test_the_user_reads_which_backend_lost_a_worker_where(name, stage):
    mesh = duct(nx=60, ny=40)
    with open_backend(name, workers=2, batch_size=200, min_size=0) as session:
        backend = session.backends[0][1]
        attribute, wrong = {
            "assemble_system": ("_stiffness", faulty.stiffness_killed),
            "compute_derived": ("_derived", faulty.derived_killed),
        }[stage]
        right = getattr(backend, attribute)
        setattr(backend, attribute, wrong)
        with pytest.raises(
            WorkerLost, match=rf"^backend '{name}' lost a worker in {stage}: .* in batch \d+…\d+; "
        ) as lost:
            session.solve(mesh)
        assert "\n" not in str(lost.value)
        setattr(backend, attribute, right)
        assert session.solve(mesh).report.converged


# 2: exceptions


@both
@pytest.mark.parametrize(
    ("what", "kinds"),
    [
        ("plain", ZeroDivisionError),
        ("unpicklable", BackendError),
        ("unreadable", BackendError),
        ("exit", SystemExit),
    ],
)
def test_exceptions_reach_the_caller_with_text_and_traceback(kind, what, kinds):
    executor = make(kind)
    try:
        with pytest.raises(kinds, match="item 3000 can't be done") as caught:
            ones(executor, kernel=faulty.raising, kind=np.frombuffer(what.encode(), np.uint8))
        assert "faulty.py" in str(caught.value.__cause__)
        assert "in raising" in str(caught.value.__cause__)
        assert_works(executor)
    finally:
        executor.close()


@both
def test_shared_inputs_are_read_only(kind):
    executor = make(kind)
    try:
        with pytest.raises(ValueError, match="read-only"):
            ones(executor, kernel=faulty.writing)
    finally:
        executor.close()


@both
def test_what_cannot_be_imported_is_refused_before_a_worker_starts(kind):
    executor = make(kind)

    def nested(start, stop, inputs, outputs):
        pass

    for kernel in (nested, lambda start, stop, inputs, outputs: None):
        with pytest.raises(BackendError, match="at the top level of a module"):
            ones(executor, kernel=kernel)
    with pytest.raises(BackendError, match="a lambda"):
        executor.map_items(lambda item: item, range(3))
    assert not executor.pool.pids
    executor.close()


# 4: Ctrl-C; cancelling


#: Ends a process that outlives these tests themselves.
ALARM = f"import signal; signal.alarm({int(5 * DEADLINE)})"

SOLVE = """
import sys, os
import fem_core as fem, faulty
if __name__ == "__main__":
    name, attribute, kernel = sys.argv[1:4]
    session = fem.open_backend(name, workers=2, batch_size=100, min_size=0)
    setattr(session.backends[0][1], attribute, getattr(faulty, kernel))
    mesh = fem.generate.duct(nx=80, ny=40)
    def listen(event):
        print(event.name, os.getpid(), *session.backends[0][1].executor.pool.pids, flush=True)
    try:
        session.solve(mesh, on_event=listen, solver="cg")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        session.solve(fem.generate.duct(nx=3, ny=2))
        session.close()
        print("works again", flush=True)
        sys.exit(130)
"""


def processes():
    """Parent and state of every process there is, by pid."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *_ = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(path.parent.name)] = int(parent), state
    return found


def descendants(pid):
    table, found = processes(), {pid}
    while more := {child for child, (parent, _) in table.items() if parent in found} - found:
        found |= more
    return found - {pid}


def running(pids):
    return {pid for pid, (_, state) in processes().items() if pid in pids and state not in "ZX"}


def start(tmp_path, *arguments):
    script = tmp_path / "script.py"
    script.write_text(SOLVE.replace('"__main__":', f'"__main__":\n    {ALARM}'))
    mark = tmp_path / "mark"
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    return start_process(script, *arguments, env={**os.environ, "FEM_TEST_MARK": str(mark), "PYTHONPATH": paths}), mark


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


@linux
@backends
@pytest.mark.parametrize(
    ("attribute", "kernel"),
    [("_stiffness", "stiffness_slow"), ("_derived", "derived_slow")],
    ids=["assembly", "derived"],
)
def test_ctrl_c_ends_everything_once(tmp_path, name, attribute, kernel):
    # The signal goes to the whole group, as from a terminal: the workers must leave it to the parent.
    process, mark = start(tmp_path, name, attribute, kernel)
    until(mark.exists)
    children = descendants(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, err
    assert out.count("interrupted") == 1
    assert out.count("fem:error") == 1
    assert "works again" in out
    assert err == ""
    until(lambda: not running(children))
    assert not list(Path("/dev/shm").glob(f"fem-*-{process.pid}-*"))


@linux
@backends
def test_ctrl_c_in_cg_ends_idle_workers_too(tmp_path, name):
    # On the command line: one line, exit status 130, one closing event.
    mesh, events = write_mesh(duct(nodes=30_000), tmp_path / "mesh.h5"), tmp_path / "events.jsonl"
    command = ["solve", mesh, "--backend", name, "--option", "workers=2", "--option", "min_size=0", "--solver", "cg"]
    command += ["--rtol", "1e-300", "--maxiter", "10000000", "--events", events]
    program = f"{ALARM}; import runpy; runpy.run_module('fem_core', run_name='__main__')"
    process = start_process("-c", program, *command)
    until(lambda: events.exists() and "solveProgress" in events.read_text())
    children = descendants(process.pid)
    assert len(children) >= 2
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (130, "", "fem: cancelled\n")
    kinds = [json.loads(line)["event"] for line in events.read_text().splitlines()]
    assert [kind for kind in kinds if kind in ("fem:error", "fem:solveComplete")] == ["fem:error"]
    until(lambda: not running(children))
    assert not list(Path("/dev/shm").glob(f"fem-*-{process.pid}-*"))


@linux
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_ctrl_c_does_not_reach_a_process_that_still_imports(tmp_path, method):
    # Python's resource tracker, which starts first, lets Ctrl-C into the thread again.
    script = (
        f"{ALARM}\n"
        "import multiprocessing, pathlib, signal\n"
        "from fem_mp_shm import fork_server\n"
        "from fem_mp_shm.starting import quiet_start\n"
        "def work(): assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "if __name__ == '__main__':\n"
        f"    with quiet_start({method!r}):\n"
        f"        fork_server.start() if {method == 'forkserver'} else None\n"
        "        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        f"        process = multiprocessing.get_context({method!r}).Process(target=work)\n"
        "        process.start()\n"
        "    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "    process.join(60)\n"
        "    assert process.exitcode == 0\n"
    )
    (tmp_path / "script.py").write_text(script)
    process = start_process(tmp_path / "script.py")
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (0, "", "")


@backends
def test_cancelling_leaves_the_pool_usable(name):
    token = CancelToken()

    def listen(event):
        if event.name == "fem:assemblyProgress":
            token.cancel()

    with open_backend(name, workers=2, batch_size=100, min_size=0) as session:
        with pytest.raises(Cancelled):
            session.solve(duct(nx=60, ny=40), on_event=listen, cancel=token)
        before = session.backends[0][1].executor.pool.pids
        assert session.solve(duct(nx=60, ny=40)).report.converged
        assert session.backends[0][1].executor.pool.pids == before


# 5, 13: the parent dies


@linux
@backends
def test_workers_of_a_killed_parent_leave_and_take_its_memory_along(tmp_path, name):
    process, mark = start(tmp_path, name, "_stiffness", "stiffness_slow")
    until(mark.exists)
    children = descendants(process.pid)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=DEADLINE)
    until(lambda: not running(children))
    until(lambda: not list(Path("/dev/shm").glob(f"fem-*-{process.pid}-*")))


@linux
@pytest.mark.parametrize("storage", ["shm", "file"])
def test_segments_of_dead_processes_are_swept_and_others_are_not(storage):
    program = (
        "from fem_mp_shm.segments import Segment; import os\n"
        f"print(Segment.create(1000, {storage!r}).name, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=DEADLINE)
    left = done.stdout.strip()
    mine = Segment.create(1000, storage)
    reused = mine.name.replace(f"-{os.getpid()}-", "-1-")  # a living pid that began at another time
    folder = Path("/dev/shm") if storage == "shm" else Path(names.tempfile.gettempdir())
    (folder / reused).touch()
    foreign = re.sub(r"fem-\d+-", "fem-1-", left)
    (folder / foreign).touch()
    odd = mine.name.replace(f"-{os.getpid()}-", "-²-")  # a digit, but no number
    (folder / odd).touch()
    try:
        swept = names.sweep()
        assert left in swept
        assert reused in swept
        assert mine.name not in swept
        assert (folder / foreign).exists()
    finally:
        (folder / foreign).unlink()
        (folder / odd).unlink()
        mine.unlink()


# 6, 8: start methods


def test_the_start_method_is_explicit():
    assert starting.context("spawn").get_start_method() == "spawn"
    assert starting.context("default").get_start_method() in ("forkserver", "spawn")
    with pytest.raises(BackendUnavailable, match="start_method=spawn"):
        starting.context("fire")


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_fork_is_refused_where_a_copy_would_be_broken(monkeypatch):
    import types

    release = threading.Event()
    thread = threading.Thread(target=release.wait, name="somebody")
    thread.start()
    try:
        with pytest.raises(BackendUnavailable, match=r"somebody.*use forkserver or spawn"):
            solve(
                duct(nx=40, ny=40),
                backend="mp",
                backend_options={"start_method": "fork", "workers": 2, "min_size": 0},
            )
    finally:
        release.set()
        thread.join()
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])
    monkeypatch.setitem(sys.modules, "numba.np.ufunc.parallel", types.SimpleNamespace(_is_initialized=True))
    assert "numba" in starting.why_not_fork()
    monkeypatch.delitem(sys.modules, "numba.np.ufunc.parallel")
    monkeypatch.setattr(starting, "_open_files", lambda: ["/dev/null", "/dev/nvidia0"])
    assert "CUDA" in starting.why_not_fork()
    monkeypatch.setattr(starting, "_open_files", lambda: ["/dev/null"])
    assert starting.why_not_fork() is None


# 7: no main guard


@backends
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_script_without_a_guard_is_told_so(tmp_path, name, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    script = tmp_path / "script.py"
    script.write_text(
        "import fem_core as fem\nprint('begun')\n"
        f"options = {{'start_method': {method!r}, 'workers': 2, 'min_size': 0}}\n"
        f"fem.solve(fem.generate.duct(nx=40, ny=40), backend={name!r}, backend_options=options)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert done.stdout == "begun\n"  # no worker has run the script
    assert 'put the statements of the script under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_guard_that_is_not_one_ends_in_a_clear_message(tmp_path):
    # The guard is looked for in the text; where that is misled, the workers fail to start, and nothing more.
    script = tmp_path / "script.py"
    script.write_text(
        "import fem_core as fem\nif __name__:\n    options = {'start_method': 'spawn', 'workers': 2, 'min_size': 0}\n"
        "    fem.solve(fem.generate.duct(nx=40, ny=40), backend='mp', backend_options=options)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 1
    assert "a worker process did not start" in done.stderr
    assert "__main__" in done.stderr.splitlines()[-1]


@backends
@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (BlockingIOError(11, "busy"), BackendUnavailable, f"worker processes can't start: {os.strerror(11)}"),
        (EOFError("unexpected EOF"), WorkerLost, "the fork server ended while a worker started"),
        (MemoryError(), BackendUnavailable, "worker processes can't start: not enough memory"),
    ],
)
def test_processes_that_cannot_start(monkeypatch, name, error, kind, reason):
    def refuse(process):
        raise error

    mesh = duct(nx=50, ny=40)
    with open_backend(name, workers=2, min_size=0) as session:
        with monkeypatch.context() as patched:
            patched.setattr(multiprocessing.process.BaseProcess, "start", refuse)
            with pytest.raises(kind, match=re.escape(reason)):
                session.solve(mesh)
        assert np.array_equal(session.solve(mesh, solver="direct").u, solve(mesh, solver="direct").u)


# 9: two threads


@backends
def test_two_threads_on_one_session_are_both_right(name):
    mesh = duct(nx=50, ny=40)
    expected = solve(mesh, backend="numpy").u
    found = []
    with open_backend(name, workers=2, batch_size=200, min_size=0) as session:
        jobs = [threading.Thread(target=lambda: found.append(session.solve(mesh).u)) for _ in range(2)]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join(DEADLINE)
    assert len(found) == 2
    assert all(np.array_equal(expected, u) for u in found)


# 10: nested threads


@both
@methods
def test_workers_have_one_thread_each(kind, method, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    executor = make(kind, start_method=method)
    spec = {"threads": ((), np.int64), "variable": ((), np.int64)}
    try:
        shared = executor.share({"a": np.ones(4000)})
        found = executor.map_ranges(faulty.threads_and_variables, 4000, shared, spec, lambda done, total: None)
        assert set(found["threads"]) == {1}
        assert set(found["variable"]) == {1}
        executor.release(shared)
        del found
    finally:
        executor.close()
    assert os.environ["OMP_NUM_THREADS"] == "7"


@both
def test_one_worker_is_no_process(kind):
    executor = kind(Batching(workers=1, batch_size=500))
    assert_works(executor)
    assert executor.map_items(faulty.pid, range(3)) == [os.getpid()] * 3
    assert not executor.pool.pids
    executor.close()


# 11: room and memory


@linux
def test_no_room_in_shared_memory_is_an_error_or_a_file(monkeypatch):
    def no_room(fd, offset, size):
        if os.readlink(f"/proc/self/fd/{fd}").startswith("/dev/shm/"):
            raise OSError(28, "No space left on device")
        os.ftruncate(fd, size)

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    executor = make(ShmExecutor, storage="shm")
    with pytest.raises(BackendError, match=r"no room for .* in /dev/shm: .*storage=file"):
        ones(executor)
    executor.close()
    executor = make(ShmExecutor, storage="auto")
    said = []
    executor.remark = lambda text, warning=False: said.append((text, warning))
    assert_works(executor)
    executor.close()
    assert "a file is mapped instead" in said[0][0]
    assert said[0][1]


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="mounts a file system")
def test_a_tiny_shared_memory_never_ends_in_a_bus_error(tmp_path):
    program = (
        "import fem_core as fem\n"
        "if __name__ == '__main__':\n"
        "    for storage in ('shm', 'auto'):\n"
        "        try:\n"
        "            options = {'workers': 2, 'min_size': 0, 'storage': storage}\n"
        "            mesh = fem.generate.duct(nx=60, ny=40)\n"
        "            report = fem.solve(mesh, backend='mp-shm', backend_options=options).report\n"
        "            print('solved', report.warnings)\n"
        "        except fem.BackendError as error:\n"
        "            print('refused', error)\n"
    )
    (tmp_path / "script.py").write_text(program)
    command = f"mount -t tmpfs -o size=1m tmpfs /dev/shm && exec {sys.executable} {tmp_path / 'script.py'}"
    done = subprocess.run(["unshare", "--mount", "sh", "-c", command], capture_output=True, text=True, timeout=DEADLINE)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no leave to mount")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("refused no room for")
    assert second.startswith("solved")
    assert "a file is mapped instead" in second


@both
def test_memory_is_looked_at_before_workers_start(kind, monkeypatch):
    executor = make(kind, start_method="spawn")
    said = []
    executor.remark = lambda text, warning=False: said.append((text, warning))
    monkeypatch.setattr(memory, "available_memory", lambda: memory.WORKER["spawn"] + 1_000_000)
    assert_works(executor)
    assert len(executor.pool.pids) == 1
    assert "1 instead of 2 workers" in said[0][0]
    assert said[0][1]
    executor.close()
    monkeypatch.setattr(memory, "available_memory", lambda: 1_000_000)
    with pytest.raises(BackendUnavailable, match=r"one worker needs \d+ MB"):
        ones(executor)
    assert not executor.pool.pids
    executor.close()


@linux
def test_what_workers_map_does_not_add_up():
    # Else the mesh and all results would count as memory of every worker, for as long as the pool runs.
    executor = make(ShmExecutor)
    try:
        ones(executor, n=2_000_000)  # 16 MB there, 16 MB back
        for pid in executor.pool.pids:
            status = Path(f"/proc/{pid}/status").read_text()
            assert int(re.search(r"RssShmem:\s+(\d+) kB", status)[1]) < 2000
    finally:
        executor.close()


# 12: segments outlive readers, and nobody is warned of leaks


@linux
@methods
def test_no_warnings_of_leaks_at_exit(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(
        "import fem_core as fem, os, time\n"
        "if __name__ == '__main__':\n"
        f"    options = {{'start_method': {method!r}, 'workers': 2, 'min_size': 0}}\n"
        "    session = fem.open_backend('mp-shm', **options)\n"
        "    first = session.solve(fem.generate.duct(nx=40, ny=40))\n"
        "    os.kill(session.backends[0][1].executor.pool.pids[0], 15)\n"
        "    time.sleep(0.5)\n"
        "    print(session.solve(fem.generate.duct(nx=40, ny=40)).report.converged)\n"
    )  # and the session isn't closed
    done = subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=DEADLINE)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert names.sweep() == []


def test_results_stay_readable_after_close():
    # Whoever holds an array holds the memory, whatever became of its name.
    executor = make(ShmExecutor)
    shared = executor.share({"a": np.full(8000, 3.0)})
    found = executor.map_ranges(faulty.square, 8000, shared, SPEC, lambda done, total: None)
    executor.close()
    assert not own_segments()
    assert (found["square"] == 9).all()


# opening and closing


def test_a_thousand_segments_come_and_go():
    gc.collect()
    files = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    for _ in range(1000):
        executor = make(ShmExecutor)
        shared = executor.share({"a": np.ones(100)})
        executor.sharing.places(shared)
        results = executor.sharing.results({"square": ((100,), float)})
        del results
        executor.close()
    assert not own_segments()
    gc.collect()
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) <= files + 2


@both
def test_pools_come_and_go(kind):
    executor = make(kind)
    for _ in range(15):
        assert_works(executor)
        executor.close()
        executor.close()
    assert not multiprocessing.active_children()


@both
def test_a_forgotten_executor_leaves_no_segment(kind):
    executor = make(kind)
    assert_works(executor)
    pids = executor.pool.pids
    del executor
    gc.collect()
    assert not own_segments()
    until(lambda: not {child.pid for child in multiprocessing.active_children()} & set(pids))


# code of the current folder


@pytest.mark.parametrize(
    ("name", "method", "flags"),
    [
        *((name, method, []) for name in ("mp", "mp-shm") for method in ("spawn", "forkserver")),
        *(("mp", method, ["-E"]) for method in ("spawn", "forkserver")),  # environment variables are ignored
    ],
)
def test_nothing_is_imported_from_the_current_folder(tmp_path, name, method, flags):
    # The processes that multiprocessing starts would search it first: the fork server, workers, the resource tracker.
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    mesh = write_mesh(duct(nx=40, ny=40), tmp_path / "mesh.h5")
    folder = tmp_path / "folder"
    folder.mkdir()
    for module in sys.stdlib_module_names | {"numpy", "scipy", "threadpoolctl", "fem_mp_shm", "sitecustomize"}:
        (folder / f"{module}.py").write_text(
            f"open('imported', 'a').write('{module} ')\nraise SystemExit('{module}')\n"
        )
    script = tmp_path / "fem"  # as an installer writes it
    script.write_text("from fem_core.cli import main\nif __name__ == '__main__':\n    main()\n")
    options = [f"start_method={method}", "workers=2", "min_size=0"]
    command = ["solve", mesh, "--backend", name, *(word for option in options for word in ("--option", option))]
    process = start_process(*flags, script, *command, cwd=folder)
    _, err = process.communicate(timeout=DEADLINE)
    assert not (folder / "imported").exists(), (folder / "imported").read_text()
    assert (process.returncode, err) == (0, "")


@methods
def test_a_script_keeps_the_modules_beside_it(tmp_path, method):
    # Workers find what the script finds, wherever it is started.
    (tmp_path / "beside.py").write_text("def double(item):\n    return 2 * item\n")
    (tmp_path / "script.py").write_text(
        "import beside\nfrom fem_core.execution import Batching\nfrom fem_mp_shm.mp import MPExecutor\n\n"
        "def triple(item):\n    return 3 * item\n\n"
        "if __name__ == '__main__':\n"
        f"    executor = MPExecutor(Batching(workers=2), start_method={method!r})\n"
        "    print(executor.map_items(beside.double, range(3)), executor.map_items(triple, range(3)))\n"
        "    executor.close()\n"
    )
    process = start_process(tmp_path / "script.py", cwd=tmp_path.parent)
    assert process.communicate(timeout=DEADLINE) == ("[0, 2, 4] [0, 3, 6]\n", "")


# names that others put into shared folders


@linux
@pytest.mark.parametrize(
    "name",
    [
        "fem-{ns}-99999999999999999999-1-a-1",
        "fem-{ns}-99999999999999999999-1-abcdef12-1",
        "fem-{ns}-²-1-abcdef12-1",
        "fem-{ns}-0-1-abcdef12-1",
        "fem-{ns}-4000000000-1-abcdef12-1",
        "fem-{ns}-1-1-abcdef12-1-more",
        "fem-{ns}-1-1-ABCDEF12-1",
    ],
)
@pytest.mark.parametrize("folder", ["shm", "temporary"])
def test_names_that_are_not_ours_are_not_looked_at(name, folder):
    path = (names.SHM if folder == "shm" else names.temporary()) / name.format(ns=names._namespace())
    path.touch()
    try:
        assert path.name not in names.sweep()
        assert path.exists()
    finally:
        path.unlink()


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="gives files to others")
def test_files_of_others_are_left_alone():
    dead = f"fem-{names._namespace()}-1-1-abcdef12-"  # pid 1 began at another time
    theirs, link = names.SHM / f"{dead}7", names.SHM / f"{dead}8"
    theirs.touch()
    os.chown(theirs, 12345, 12345)
    link.symlink_to(theirs)
    try:
        assert not {theirs.name, link.name} & set(names.sweep())
        assert theirs.exists()
    finally:
        link.unlink()
        theirs.unlink()


# forks of the application, daemonic processes, observers


FORK = """
import os, sys, fem_core as fem
if __name__ == "__main__":
    mesh, options = fem.generate.duct(nx=40, ny=40), {"workers": 2, "min_size": 0}
    session = fem.open_backend(sys.argv[1], **options)
    session.solve(mesh)
    child = os.fork()
    if not child:
        try:
            session.solve(mesh)
        except fem.BackendError as error:
            print(error, flush=True)
        with fem.open_backend(sys.argv[1], **options) as own:
            print(own.solve(mesh).report.converged, flush=True)
        session.close()
        sys.exit()  # with all finalizers
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    report = session.solve(mesh).report
    print(report.converged, report.warnings)
"""


@linux
@backends
def test_a_fork_of_the_application_leaves_the_session_to_its_parent(tmp_path, name):
    (tmp_path / "script.py").write_text(FORK)
    process = start_process(tmp_path / "script.py", name)
    out, err = process.communicate(timeout=DEADLINE)
    refused, *rest = out.splitlines()
    assert re.fullmatch(rf"the session of {name} belongs to process {process.pid}, .* with open_backend", refused)
    assert (rest, err) == (["True", "0", "True ()"], "")


@methods
def test_a_daemonic_process_is_told_that_it_may_not_have_workers(tmp_path, method):
    (tmp_path / "script.py").write_text(
        "import fem_core as fem, multiprocessing\n"
        "def solve():\n    try:\n        fem.solve(fem.generate.duct(nx=40, ny=40), backend='mp', "
        "backend_options={'workers': 2, 'min_size': 0})\n"
        "    except fem.BackendUnavailable as error:\n        print(error, flush=True)\n"
        "if __name__ == '__main__':\n"
        f"    process = multiprocessing.get_context({method!r}).Process(target=solve, daemon=True)\n"
        "    process.start()\n    process.join()\n"
    )
    out, _ = start_process(tmp_path / "script.py").communicate(timeout=DEADLINE)
    assert re.fullmatch(r".*daemonic process of multiprocessing.*use backend numpy or threads.*\n", out)


@backends
def test_a_run_inside_an_observer_of_the_same_session_is_refused(name):
    mesh = duct(nx=40, ny=40)
    with open_backend(name, workers=2, batch_size=200, min_size=0) as session:

        def listen(event):
            if event.name == "fem:assemblyProgress":
                session.solve(mesh)

        report = session.solve(mesh, on_event=listen).report
        assert report.converged
        assert f"the session of {name} is busy with a run; an observer needs a session of its own" in report.warnings[0]
        assert session.solve(mesh).report.warnings == ()


# stopped processes


@linux
@both
def test_a_stopped_worker_is_named_and_ctrl_c_works(kind, monkeypatch, caplog):
    monkeypatch.setattr(patience, "SECONDS", 0.5)
    executor = make(kind)
    try:
        assert_works(executor)
        victim = executor.pool.pids[0]
        os.kill(victim, signal.SIGSTOP)
        interrupt = threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGINT))
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            ones(executor)
        interrupt.join()
        told = f"process {victim} (stopped; `kill -CONT {victim}` continues it) in batch 0…"
        assert sum(told in record.getMessage() for record in caplog.records) == 1
        until(lambda: not running({victim}))
        assert_works(executor)
    finally:
        executor.close()


@linux
@both
def test_a_stopped_worker_is_closed_too(kind):
    executor = make(kind)
    assert_works(executor)
    victims = set(executor.pool.pids)
    for victim in victims:
        os.kill(victim, signal.SIGSTOP)
    executor.close()
    until(lambda: not running(victims))


STOPPED = """
import os, signal, sys, threading, time
import faulty, numpy as np
from fem_core import BackendUnavailable
from fem_core.execution import Batching
from fem_mp_shm import fork_server, names, pool
from fem_mp_shm.mp import MPExecutor
def works():
    return executor.map_items(faulty.pid, range(4)) != []
if __name__ == "__main__":
    executor = MPExecutor(Batching(workers=2), start_method="forkserver")
    works()
    pool.LEAVE, number = 0.5, fork_server.pid()
    if sys.argv[1] != "close":
        executor.close()
    os.kill(number, signal.SIGSTOP)
    while not names.is_stopped(number):
        time.sleep(0.01)
    if sys.argv[1] == "start":
        pool.START, before = 1.0, pool.START
        try:
            works()
        except BackendUnavailable as error:
            print(error)
        pool.START = before
    if sys.argv[1] == "interrupt":
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            works()
        except KeyboardInterrupt:
            print("interrupted")
    if sys.argv[1] in ("close", "start", "interrupt"):
        executor.close()
        print(works())
        executor.close()
    print(number)
"""


@linux
@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("start", [r"the workers weren't ready within 1 s: the fork server, process \d+ \(stopped; .*", "True"]),
        ("interrupt", ["interrupted", "True"]),
        ("close", ["True"]),
        ("exit", []),
    ],
)
def test_a_stopped_fork_server_holds_nothing_up(tmp_path, when, said):
    (tmp_path / "script.py").write_text(STOPPED)
    process = start_process(tmp_path / "script.py", when, env={**os.environ, "PYTHONPATH": str(TESTS)})
    out, _ = process.communicate(timeout=DEADLINE)
    *lines, number = out.splitlines()
    assert process.returncode == 0
    assert len(lines) == len(said)
    assert all(map(re.fullmatch, said, lines))
    until(lambda: not running({int(number)}))


def test_a_worker_killed_while_it_starts_is_lost(monkeypatch):
    executor = make(MPExecutor, start_method="spawn")
    began = executor.pool._start

    def killed(started):
        began(started)
        executor.pool._workers[-1].process.kill()

    monkeypatch.setattr(executor.pool, "_start", killed)
    with pytest.raises(WorkerLost, match=r"process \d+ .* while it started; the next run starts new workers"):
        ones(executor)
    monkeypatch.undo()
    assert_works(executor)
    executor.close()


# what is left, and where


@linux
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_program_leaves_no_folder_of_its_fork_server(tmp_path, how):
    (tmp_path / "script.py").write_text(
        "import faulty, os, sys, time\nfrom fem_core.execution import Batching\nfrom fem_mp_shm.mp import MPExecutor\n"
        "if __name__ == '__main__':\n    executor = MPExecutor(Batching(workers=2), start_method='forkserver')\n"
        "    executor.map_items(faulty.pid, range(4))\n    executor.close()\n"
        "    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    folder = tmp_path / "tmp"
    folder.mkdir()
    settings = {"PYTHONPATH": str(TESTS), "TMPDIR": str(folder)}
    process = start_process(tmp_path / "script.py", env={**os.environ, **settings})
    assert process.stdout.readline() == "ready\n"
    assert [*folder.iterdir(), *Path("/dev/shm").glob(f"fem-*-{process.pid}-*")] != []
    process.send_signal(how)
    process.communicate(timeout=DEADLINE)
    until(lambda: not [*folder.iterdir(), *Path("/dev/shm").glob(f"fem-*-{process.pid}-*")])


@linux
def test_a_folder_that_is_too_long_for_a_socket_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(fork_server, "_folders", {})
    monkeypatch.setattr(fork_server, "temporary", lambda: tmp_path / ("x" * 80))
    monkeypatch.setattr(fork_server, "SHM", tmp_path / "absent")
    with pytest.raises(BackendUnavailable, match=r"x{80} is too long for a socket; set TMPDIR"):
        fork_server._folder()


@linux
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EROFS, errno.EACCES])
def test_shared_memory_that_is_absent_or_read_only_is_replaced_by_files(monkeypatch, number):
    def refuse(name, size, create):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(segments, "_map_shm", refuse)
    with pytest.raises(BackendError, match=r"no memory can be shared in /dev/shm: .*; use storage=file"):
        Segment.create(1000, "shm")
    executor = make(ShmExecutor, storage="auto")
    said = []
    executor.remark = lambda text, warning=False: said.append(text)
    assert_works(executor)
    executor.close()
    assert "a file is mapped instead" in said[0]


@linux
@backends
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_few_descriptors_are_named(tmp_path, name, method):
    (tmp_path / "script.py").write_text(
        "import fem_core as fem, resource\nif __name__ == '__main__':\n"
        "    mesh = fem.generate.duct(nx=40, ny=40)\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))\n"
        f"    options = {{'workers': 4, 'min_size': 0, 'start_method': {method!r}}}\n"
        "    try:\n"
        f"        fem.solve(mesh, backend={name!r}, backend_options=options)\n"
        "    except fem.BackendError as error:\n        print(error)\n"
    )
    out, _ = start_process(tmp_path / "script.py").communicate(timeout=DEADLINE)
    assert "ulimit -n" in out
    assert out.count("\n") == 1

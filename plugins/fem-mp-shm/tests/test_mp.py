"""`mp` and `mp-shm` at work: the same bits whatever the workers, small messages, one pool for everything."""

import multiprocessing

import numpy as np
import pytest

pytest.importorskip("fem_mp_shm")

from fem_core import BackendUnavailable, Problem, Robin, assemble_system, compute_derived, open_backend, solve
from fem_core.generate import duct
from fem_core.testing import EXECUTOR_CHECKS, parametrize_with_checks
from fem_mp_shm import starting
from fem_mp_shm.mp import MPExecutor
from fem_mp_shm.shm import ShmExecutor
from meshes import distorted, renumbered

MESH = renumbered(distorted(40, 33, seed=7), orphans=9)[0]
PROBLEM = Problem((Robin("inlet", 1.0, 0.5),), np.linspace(0.5, 2, MESH.n_elements), lambda x, y: np.cos(x + y))
backends = pytest.mark.parametrize("name", ["mp", "mp-shm"])


@pytest.fixture(scope="module")
def expected():
    system = assemble_system(MESH, PROBLEM, backend="numpy")
    with open_backend("numpy") as session:
        return system, session.solve(MESH, Problem.potential_flow(MESH), maxiter=3, solver="cg")


def check(session, expected):
    system, solution = expected
    found = assemble_system(MESH, PROBLEM, backend=session)
    assert np.array_equal(system.matrix.data, found.matrix.data)
    assert np.array_equal(system.rhs, found.rhs)
    fields = session.solve(MESH, Problem.potential_flow(MESH), maxiter=3, solver="cg")
    for name in ("u", "velocity", "speed", "pressure"):
        assert np.array_equal(getattr(solution, name), getattr(fields, name))


@backends
@pytest.mark.parametrize(
    "options",
    [
        {"workers": 1},
        {"workers": 2, "batch_size": 100},
        {"workers": 3, "batch_size": 64, "batches_per_task": 4},
        {"workers": 2, "batch_size": "auto"},
        *({"workers": 2, "start_method": method} for method in multiprocessing.get_all_start_methods()),
    ],
    ids=lambda options: " ".join(f"{key}={value}" for key, value in options.items()),
)
def test_the_same_bits_as_numpy(name, options, expected, monkeypatch):
    # A planted fault of the kit leaves threads behind, beside which fork is refused; they hold no locks.
    monkeypatch.setattr(starting, "why_not_fork", lambda: None)
    with open_backend(name, min_size=0, **options) as session:
        check(session, expected)


def test_the_same_bits_for_both_payloads_and_storages(expected):
    with open_backend("mp", workers=2, min_size=0, payload="mesh") as session:
        check(session, expected)
    with open_backend("mp-shm", workers=2, min_size=0, storage="file") as session:
        check(session, expected)


@pytest.mark.parametrize("make", [MPExecutor, ShmExecutor])
@pytest.mark.parametrize("name", EXECUTOR_CHECKS)
def test_executors_by_themselves(make, name):
    EXECUTOR_CHECKS[name](make)


@parametrize_with_checks("mp", examples=3, options={"workers": 2, "min_size": 0})
def test_mp_conforms(check):
    check()


@parametrize_with_checks("mp-shm", examples=3, options={"workers": 2, "min_size": 0})
def test_mp_shm_conforms(check):
    check()


def traffic(name, mesh, **options):
    with open_backend(name, workers=2, batch_size=1000, min_size=0, **options) as session:
        assemble_system(mesh, backend=session)
        return session.backends[0][1].executor.pool.traffic


def test_what_crosses_the_pipes():
    # mp-shm: a few words whatever the mesh; payload=batch: what the batch needs; payload=mesh: all of it.
    mesh = duct(nx=100, ny=80)
    shm, batch, whole = traffic("mp-shm", mesh), traffic("mp", mesh), traffic("mp", mesh, payload="mesh")
    assert (shm.bytes_sent + shm.bytes_received) / shm.tasks < 1000
    assert batch.bytes_sent / batch.tasks < 150 * 1024
    assert whole.bytes_sent / whole.tasks > mesh.x.nbytes + mesh.y.nbytes + mesh.quad8.nbytes
    assert batch.bytes_received / batch.tasks > 8 * 64 * 900


@backends
def test_one_pool_serves_all_stages_and_runs(name):
    with open_backend(name, workers=2, batch_size=100, min_size=0) as session:
        pool = session.backends[0][1].executor.pool
        solution = session.solve(MESH, Problem.potential_flow(MESH), maxiter=2, solver="cg")
        first = pool.pids
        assert len(first) == 2
        session.solve(duct(nx=20, ny=20), maxiter=2, solver="cg")
        assert solution.report.providers["assemble_system"] == name
        assert pool.pids == first
    assert pool.pids == []


@backends
def test_progress_comes_for_each_batch(name):
    events = []
    with open_backend(name, workers=2, batch_size=96, batches_per_task=2, min_size=0) as session:
        executor = session.backends[0][1].executor
        shared = executor.share({"x": MESH.x, "y": MESH.y, "quad8": MESH.quad8, "k": np.ones(MESH.n_elements)})
        from fem_core.assembly.kernels import stiffness

        executor.map_ranges(
            stiffness, MESH.n_elements, shared, {"Ke": ((8, 8), float)}, lambda *now: events.append(now)
        )
        executor.release(shared)
    assert events == [(min(n, MESH.n_elements), MESH.n_elements) for n in range(96, MESH.n_elements + 96, 96)]


@backends
def test_few_elements_stay_here_and_the_report_says_so(name):
    with open_backend(name, workers=2) as session:
        report = session.solve(duct(nx=4, ny=4), solver="cg").report
        assert not session.backends[0][1].executor.pool.pids
    assert report.notes == (f"{name}: 16 items stay in the calling process (min_size=1000)",)


@backends
def test_workers_never_outnumber_tasks(name):
    with open_backend(name, workers=8, batch_size=500, min_size=0) as session:
        assemble_system(duct(nx=40, ny=20), backend=session)  # 800 elements: two tasks
        assert len(session.backends[0][1].executor.pool.pids) == 2


def test_an_unknown_start_method_is_refused():
    from fem_core import OptionError

    with pytest.raises(OptionError, match="spawn or forkserver"):
        open_backend("mp", start_method="thread")


def test_post_processing_alone():
    solution = solve(MESH, Problem.potential_flow(MESH), backend="numpy", maxiter=3, solver="cg")
    from fem_core.results import SolveResult, StopReason

    result = SolveResult(solution.u, "cg", 3, StopReason.MAXITER, 1.0, 1.0)
    with open_backend("mp-shm", workers=2, min_size=0) as session:
        assert np.array_equal(solution.speed, compute_derived(MESH, result, backend=session).speed)


def test_the_core_s_own_sum_is_in_the_prediction():
    # The places of all contributions as NumPy's index type, and the values: more than the element matrices.
    mesh = duct(nx=60, ny=50)
    with open_backend("mp", workers=2, min_size=0) as session:
        executor = session.backends[0][1].executor
        needs, need = [], executor.need
        executor.need = lambda *arguments: needs.append(need(*arguments)) or needs[-1]
        nnz = assemble_system(mesh, backend=session).matrix.nnz
    assert needs[0].afterwards == 8 * (64 * mesh.n_elements + nnz)
    assert needs[0].once == 8 * 64 * mesh.n_elements
    assert needs[0].total(3) >= needs[0].once + needs[0].afterwards + 3 * needs[0].worker


def test_unavailable_memory_names_the_way_out(monkeypatch):
    from fem_mp_shm import memory

    monkeypatch.setattr(memory, "available_memory", lambda: 1000)
    with (
        pytest.raises(BackendUnavailable, match="use backend numpy"),
        open_backend("mp", workers=2, min_size=0) as session,
    ):
        assemble_system(MESH, backend=session)


def test_the_matrix_is_not_copied_out_of_shared_memory():
    # On a pattern that comes again workers write the values themselves; the matrix outlives the backend.
    mesh = duct(nx=120, ny=100)
    expected = assemble_system(mesh, backend="numpy").matrix.data
    from fem_core import compute_sparsity

    sparsity = compute_sparsity(mesh)
    with open_backend("mp-shm", workers=2, min_size=0) as session:
        for _ in range(3):
            matrix = assemble_system(mesh, None, sparsity, backend=session).matrix
            assert np.array_equal(expected, matrix.data)
        assert matrix.data.base is not None
    assert np.array_equal(expected, matrix.data)

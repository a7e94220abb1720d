"""Executors and the core's two backends: ranges, errors, progress, and the same numbers from all of them."""

import doctest
import functools

import numpy as np
import pytest
from fem_core import (
    BackendError,
    Cancelled,
    CancelToken,
    Dirichlet,
    Problem,
    Robin,
    apply_bc,
    assemble_system,
    compute_sparsity,
    open_backend,
    solve,
)
from fem_core.assembly import element_load, element_stiffness, kernels
from fem_core.backends import NUMPY, BatchedBackend
from fem_core.execution import GRAIN, Batching, PlannedExecutor, SerialExecutor, executors, ranges
from fem_core.generate import duct
from fem_core.run.session import Session
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import absolute_sums, distorted, renumbered, small_meshes

# ── ranges ───────────────────────────────────────────────────────────────────────────────────


@given(st.integers(0, 5000), st.integers(-3, 3000))
def test_ranges_cover_everything_once_in_multiples_of_the_grain(n, size):
    # An element's last bits depend on its place in a slab: ranges must begin at multiples of GRAIN.
    cut = ranges(n, size)
    assert [i for start, stop in cut for i in range(start, stop)] == list(range(n))
    assert all(start % GRAIN == 0 and start < stop for start, stop in cut)
    if len(cut) > 1:
        length = cut[0][1]
        assert max(size, 1) <= length < max(size, 1) + GRAIN
        assert {stop - start for start, stop in cut[:-1]} == {length}


def test_the_documented_example():
    # The docstring is what authors of executors read.
    assert doctest.testmod(executors).failed == 0


# ── the serial executor ──────────────────────────────────────────────────────────────────────


def squaring(start, stop, inputs, outputs):
    """A kernel: fills just its part."""
    outputs["square"][...] = inputs["a"][start:stop] ** 2
    outputs["both"][...] = np.stack([inputs["a"][start:stop], -inputs["a"][start:stop]], axis=1)


def failing(start, stop, inputs, outputs):
    if start >= 64:
        raise ZeroDivisionError(f"in {start}…{stop}")
    outputs["square"][...] = 0


SPEC = {"square": ((), np.float64), "both": ((2,), np.int32)}


def silent(done, total):
    pass


def test_outputs_have_the_shapes_and_types_that_were_asked_for():
    # One row per item, put where it belongs.
    a = np.arange(100)
    results = SerialExecutor(40).map_ranges(squaring, 100, {"a": a}, SPEC, silent)
    assert np.array_equal(a**2, results["square"])
    assert np.array_equal(np.stack([a, -a], axis=1), results["both"])
    assert (results["square"].dtype, results["both"].dtype) == (np.float64, np.int32)


def test_no_items():
    # Nothing to do is no error.
    results = SerialExecutor().map_ranges(squaring, 0, {"a": np.arange(0)}, SPEC, silent)
    assert (results["square"].shape, results["both"].shape) == ((0,), (0, 2))


def test_progress_counts_items():
    # After each batch, up to all of them.
    seen = []
    SerialExecutor(40).map_ranges(squaring, 150, {"a": np.arange(150)}, SPEC, lambda *p: seen.append(p))
    assert seen == [(64, 150), (128, 150), (150, 150)]


def test_an_exception_in_a_kernel_reaches_the_caller():
    # With its own type and text; the executor can be used again.
    executor = SerialExecutor(32)
    with pytest.raises(ZeroDivisionError, match="in 64…96"):
        executor.map_ranges(failing, 150, {}, {"square": ((), np.float64)}, silent)
    assert executor.map_ranges(squaring, 1, {"a": np.array([3])}, SPEC, silent)["square"].tolist() == [9]


def test_an_exception_in_progress_stops_the_work():
    # This is how a run is cancelled: no further batch is begun.
    seen = []

    def stop(done, total):
        seen.append(done)
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        SerialExecutor(32).map_ranges(squaring, 150, {"a": np.arange(150)}, SPEC, stop)
    assert seen == [32]


def test_items_are_mapped_in_their_order():
    # Also from an iterator, and an exception passes.
    executor = SerialExecutor()
    assert executor.map_items(str, iter([3, 1, 2])) == ["3", "1", "2"]
    with pytest.raises(ValueError, match="invalid literal"):
        executor.map_items(int, ["1", "x"])
    executor.close()
    executor.close()


def test_a_failing_kernel_is_reported_as_its_backend_s(monkeypatch):
    # The user reads which backend and stage failed, and why; the next solve works.
    mesh = duct(nx=20, ny=10)
    with open_backend("numpy", batch_size=32) as session:
        working = session.backends[0][1]._stiffness
        session.backends[0][1]._stiffness = failing
        with pytest.raises(BackendError, match=r"^backend 'numpy' failed in assemble_system: ") as failed:
            session.solve(mesh)
        assert "\n" not in str(failed.value)
        session.backends[0][1]._stiffness = working
        assert session.solve(mesh).report.converged


# ── any batch size, bit by bit ───────────────────────────────────────────────────────────────

PROBLEM_CONDITIONS = (Robin("inlet", lambda x, y: 1 + y, 0.5), Dirichlet("outlet", 2.0))


def everything(mesh):
    k = np.linspace(0.5, 2, mesh.n_elements)
    return Problem(PROBLEM_CONDITIONS, k, lambda x, y: np.cos(x + y))


@settings(max_examples=15)
@given(small_meshes(most=9), st.integers(1, 70), st.sampled_from(["vectorized", "loop"]))
def test_results_do_not_depend_on_the_batch_size(mesh, batch_size, kernel):
    # Matrix, right-hand side and derived fields, bitwise.
    solutions = []
    for size in (8192, batch_size):
        with open_backend("numpy", batch_size=size, kernel=kernel) as session:
            system = assemble_system(mesh, everything(mesh), backend=session)
            solutions.append((system, session.solve(mesh, everything(mesh), maxiter=3)))
    (one, first), (other, second) = solutions
    assert np.array_equal(one.matrix.data, other.matrix.data)
    assert np.array_equal(one.rhs, other.rhs)
    for name in ("u", "velocity", "speed", "pressure"):
        assert np.array_equal(getattr(first, name), getattr(second, name))


def test_tiles_do_not_show():
    # More elements than the cache tile of the kernels: batches of one tile and more, and part of one.
    mesh = duct(nx=90, ny=50)
    assert mesh.n_elements > 2 * 64 * GRAIN
    nodes = mesh.quad8
    sparsity = compute_sparsity(mesh)
    at_once = sparsity.scatter(element_stiffness(mesh.x[nodes], mesh.y[nodes], 1.0))
    for batch_size in (100, 64 * GRAIN, 8192):
        with open_backend("numpy", batch_size=batch_size) as session:
            assert np.array_equal(at_once, assemble_system(mesh, backend=session).matrix.data)


def test_loads_are_summed_in_element_order():
    # Bit by bit what a Python loop gives: the order that all backends keep to, like that of the matrix.
    mesh = distorted(9, 8, seed=6)
    problem = everything(mesh)
    fe = element_load(mesh.x[mesh.quad8], mesh.y[mesh.quad8], problem.source_on(mesh))
    expected = np.zeros(mesh.n_nodes)
    for nodes, load in zip(mesh.quad8, fe, strict=True):
        expected[nodes] += load
    assert np.array_equal(expected, assemble_system(mesh, problem).rhs)


# ── baseline, numpy and its loop ─────────────────────────────────────────────────────────────


def compare(mesh, backend, **options):
    """The matrix and load of `backend` against `numpy`, relative to the sums of absolute contributions."""
    problem = everything(mesh)
    expected = assemble_system(mesh, problem)
    with open_backend(backend, **options) as session:
        found = assemble_system(mesh, problem, backend=session)
    nodes = mesh.quad8
    x, y = mesh.x[nodes], mesh.y[nodes]
    slots = compute_sparsity(mesh).slots
    absolute = absolute_sums(mesh, element_stiffness(x, y, problem.conductivity_on(mesh)), expected.matrix.data, slots)
    fe = np.abs(element_load(x, y, problem.source_on(mesh)))
    load = np.bincount(nodes.ravel(), fe.ravel(), minlength=mesh.n_nodes)
    assert np.array_equal(expected.matrix.indices, found.matrix.indices)
    assert np.array_equal(expected.matrix.indptr, found.matrix.indptr)
    # An entry of Ke is itself a sum of 27 terms that partly cancel: hence the floor of a part of its largest.
    floor = 1e-2 * absolute.max()
    assert np.all(np.abs(expected.matrix.data - found.matrix.data) <= 1e-13 * (absolute + floor))
    assert np.all(np.abs(expected.rhs - found.rhs) <= 1e-13 * (load + 1e-2 * load.max()))


@settings(max_examples=25)
@given(small_meshes())
def test_baseline_and_numpy_build_the_same_system(mesh):
    # The code that reads like the mathematics against the quick one, entry by entry.
    compare(mesh, "baseline")


@settings(max_examples=15)
@given(small_meshes())
def test_the_loop_kernel_builds_the_same_system(mesh):
    # The two kernels differ in speed alone.
    compare(mesh, "numpy", kernel="loop")


@pytest.mark.parametrize(("backend", "options"), [("baseline", {}), ("numpy", {"kernel": "loop"})])
def test_solutions_agree(backend, options):
    # All stages: potential, velocity, speed, pressure, and the iterations to max(1, 0.5 %).
    mesh, _, _ = renumbered(distorted(9, 7, seed=3), orphans=6)
    expected = solve(mesh, everything(mesh), backend="numpy")
    found = solve(mesh, everything(mesh), backend=backend, backend_options=options)
    assert abs(expected.report.iterations - found.report.iterations) <= max(1, 0.005 * expected.report.iterations)
    for name in ("u", "velocity", "speed", "pressure"):
        a, b = getattr(expected, name), getattr(found, name)
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-6 * np.abs(a).max())


@pytest.mark.parametrize("name", ["stiffness", "load", "derived"])
def test_kernels_fill_their_part_whatever_was_in_it(name):
    # Outputs arrive uninitialised, and `start` isn't their first row.
    mesh = distorted(10, 8, seed=1)
    inputs = {"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8, "u": mesh.x * mesh.y}
    inputs |= {"k": np.linspace(1, 2, 80), "s": mesh.x[mesh.quad8]}
    shapes = {"stiffness": {"Ke": (8, 8)}, "load": {"fe": (8,)}, "derived": {"velocity": (2,), "speed": ()}}[name]
    results = []
    for suffix in ("", "_loop"):
        outputs = {key: np.full((80 - 32, *shape), np.nan) for key, shape in shapes.items()}
        getattr(kernels, name + suffix)(32, 80, inputs, outputs)
        results.append(outputs)
    for key in shapes:
        np.testing.assert_allclose(results[0][key], results[1][key], rtol=0, atol=1e-13)


def test_the_same_run_twice_is_the_same_bit_by_bit():
    # Determinism from run to run, solver included.
    mesh = distorted(9, 9, seed=5)
    for backend in ("numpy", "baseline"):
        first, second = (solve(mesh, everything(mesh), backend=backend) for _ in range(2))
        assert np.array_equal(first.u, second.u)
        assert np.array_equal(first.velocity, second.velocity)
        assert first.report.history == second.report.history


# ── progress through a backend ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("backend", ["numpy", "baseline"])
def test_assembly_and_post_processing_report_up_to_the_end(backend):
    # Elements done of all; the last report says all.
    mesh, events = duct(nx=25, ny=10), []
    solve(mesh, backend=backend, on_event=events.append)
    for name in ("fem:assemblyProgress", "fem:derivedProgress"):
        reports = [event.data for event in events if event.name == name]
        assert reports[-1] == {"current": 250, "total": 250}
        assert [r["current"] for r in reports] == sorted(r["current"] for r in reports)


@pytest.mark.parametrize("backend", ["numpy", "baseline"])
def test_assembly_can_be_cancelled(backend):
    # From the first report on.
    token = CancelToken()

    def listen(event):
        if event.name == "fem:assemblyProgress":
            token.cancel()

    with pytest.raises(Cancelled):
        solve(duct(nx=40, ny=20), backend=backend, on_event=listen, cancel=token)


# ── an executor of one's own ─────────────────────────────────────────────────────────────────


class Backwards(SerialExecutor):
    """Runs the batches last to first, and keeps count of what is shared."""

    def __init__(self):
        super().__init__()
        self.shared, self.closed = [], 0

    def share(self, inputs):
        handle = dict(inputs)
        self.shared.append(set(handle))
        return handle

    def release(self, shared):
        self.shared.remove(set(shared))

    def map_ranges(self, kernel, n, inputs, outputs, progress):
        results = {name: np.empty((n, *shape), dtype) for name, (shape, dtype) in outputs.items()}
        for done, (start, stop) in enumerate(reversed(ranges(n, 32))):
            kernel(start, stop, inputs, {name: a[start:stop] for name, a in results.items()})
            progress(min(n, 32 * (done + 1)), n)
        return results

    def close(self):
        self.closed += 1


def test_any_executor_becomes_a_backend_with_the_same_bits():
    # What a third party writes: an executor; the sums are the core's, in element order whatever the batches.
    mesh = distorted(11, 13, seed=2)
    executor = Backwards()
    with Session([(NUMPY, BatchedBackend(executor))]) as session:
        found = session.solve(mesh, everything(mesh))
        assert executor.shared == [{"x", "y", "quad8"}]  # the mesh's stay for the next run
        session.forget()
        assert executor.shared == []
        session.solve(distorted(3, 3), everything(distorted(3, 3)))
        assert executor.shared == [{"x", "y", "quad8"}]
    assert executor.shared == []
    assert executor.closed == 1
    expected = solve(mesh, everything(mesh), backend="numpy")
    assert np.array_equal(expected.u, found.u)
    assert np.array_equal(expected.velocity, found.velocity)


def test_problems_without_a_source_have_no_load():
    # No kernel is run for it.
    mesh = distorted(4, 4)
    assert not assemble_system(mesh, Problem.potential_flow(mesh)).rhs.any()
    assert apply_bc(assemble_system(mesh), mesh, Problem.potential_flow(mesh)).rhs.sum() == pytest.approx(2.5)


# ── planned executors ────────────────────────────────────────────────────────────────────────


class InTurn(PlannedExecutor):
    """Its workers are this thread, it says what it was asked for, and how long it took is set from outside."""

    seconds = 0.0

    def run_tasks(self, kernel, plan, n, inputs, outputs, progress):
        self.plan = plan
        return SerialExecutor(500).map_ranges(kernel, n, inputs, outputs, progress), self.seconds

    def run_items(self, function, items, workers):
        self.items = items, workers
        return [function(item) for item in items]


def test_what_is_not_worth_handing_out_stays_here():
    # One worker, few items, one item: nobody is asked.
    remarks, a = [], np.arange(2000)
    for batching in (Batching(workers=1), Batching(workers=2, min_size=3000)):
        executor = InTurn(batching)
        executor.remark = remarks.append
        assert np.array_equal(a**2, executor.map_ranges(squaring, 2000, {"a": a}, SPEC, silent)["square"])
        assert executor.map_items(str, iter([7])) == ["7"]
        assert not hasattr(executor, "plan")
        assert not hasattr(executor, "items")
    assert remarks == ["2000 items stay in the calling process (min_size=3000)"]


def test_workers_get_the_rest_and_slow_kernels_get_smaller_batches():
    # Also kernels without a name of their own.
    executor, a = InTurn(Batching(workers=2, min_size=0)), np.arange(64_000)
    kernel = functools.partial(squaring)
    executor.seconds = 64.0
    assert np.array_equal(a**2, executor.map_ranges(kernel, len(a), {"a": a}, SPEC, silent)["square"])
    assert (executor.plan.workers, len(executor.plan.tasks)) == (2, 8)
    executor.map_ranges(kernel, len(a), {"a": a}, SPEC, silent)  # 1 ms for each: 300 and some in a task
    assert len(executor.plan.tasks) == 64_000 / 320
    assert executor.map_items(str, iter([3, 1])) == ["3", "1"]
    assert executor.items == ([3, 1], 2)

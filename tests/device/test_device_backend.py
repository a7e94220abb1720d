"""The driver of device backends over the reference runtime: what any GPU backend does, but for its kernels."""

import gc
from contextlib import suppress
from dataclasses import replace

import fem_core as fem
import numpy as np
import pytest
from fakes.reference import INFO, Reference
from fem_core.assembly.system import LinearSystem, apply_conditions, csr
from fem_core.device import DeviceLost, DeviceMemoryError, device_error, unavailable
from fem_core.device import mg as device_mg
from fem_core.device.backend import DeviceBackend
from fem_core.device.device import Device
from fem_core.device.errors import lost, require_driver
from fem_core.device.reference import KERNELS as STATED
from fem_core.device.reference import DeviceArray, ReferenceRuntime, signature
from fem_core.device.values import DeviceSystem
from fem_core.plugins.stages import COMPUTE_SPARSITY
from fem_core.plugins.stages import STAGES as RECORDS
from fem_core.run.opening import create_backends
from fem_core.solvers import ConjugateGradients
from fem_core.solvers.multigrid import build_hierarchy, hierarchy
from fem_core.solvers.multigrid.coarse import amg_available
from fem_core.testing import parametrize_with_checks, verify
from fem_core.testing.kernels import KERNELS, compare
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, renumbered

STAGES = tuple(RECORDS)


@pytest.fixture(scope="module")
def mesh():
    return renumbered(distorted(9, 7), orphans=5)[0]


@pytest.fixture(scope="module")
def expected(mesh):
    return fem.solve(mesh, fakes_problem(mesh), backend="numpy", solver="cg")


def fakes_problem(mesh, **given):
    k = np.linspace(1, 2, mesh.n_elements)
    return fem.Problem.potential_flow(mesh, outlet=3.0, p=0.5, conductivity=k, source=lambda x, y: x + y, **given)


def session(backend=None, **options):
    return fem.Session([(INFO, backend or Reference(**options))])


def on(runtime, assembly="gather"):
    return DeviceBackend(runtime, assembly)


def assert_same(solution, expected):
    for name in ("u", "velocity", "speed", "pressure"):
        found, wanted = getattr(solution, name), getattr(expected, name)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert abs(solution.report.iterations - expected.report.iterations) <= 1


# the kernels' comparison


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_reference_is_itself(name, seed):
    runtime = ReferenceRuntime()
    runtime.open()
    compare(runtime, name, seed, side=9)


class Skips(ReferenceRuntime):
    """One kernel does nothing."""

    def __init__(self, kernel):
        super().__init__()
        self.kernel = kernel

    def launch(self, kernel, n, *arguments):
        if kernel != self.kernel:
            super().launch(kernel, n, *arguments)


class Rounds(Skips):
    """One kernel's results are a little off, in the unit that their type can hold."""

    def launch(self, kernel, n, *arguments):
        before = [argument.on(self).copy() for argument in arguments if isinstance(argument, DeviceArray)]
        ReferenceRuntime.launch(self, kernel, n, *arguments)
        arrays = [argument.on(self) for argument in arguments if isinstance(argument, DeviceArray)]
        for old, new in zip(before, arrays, strict=True):
            if new.dtype.kind == "f" and not np.array_equal(old, new, equal_nan=True):
                new *= 1 + 1000 * np.finfo(new.dtype).eps
            elif new.dtype.kind == "i" and not np.array_equal(old, new):
                new[np.flatnonzero(old != new)[0]] += 1


def is_caught(runtime, kernel, seed):
    try:
        compare(runtime, kernel, seed)
    except (AssertionError, IndexError):
        return True
    return False


@pytest.mark.parametrize("wrong", [Skips, Rounds])
@pytest.mark.parametrize("kernel", STATED)
def test_a_wrong_kernel_is_caught(kernel, wrong):
    runtime = wrong(kernel)
    runtime.open()
    if kernel == "put_zero" and wrong is Rounds:
        pytest.skip("nothing is a little off from zero")
    assert any(is_caught(runtime, kernel, seed) for seed in range(5))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda r: r.__setitem__(slice(1), 1.001 * r[:1]),  # a residual that isn't that of x
        None,  # one step too many
    ],
    ids=["residual", "limit"],
)
def test_wrong_conjugate_gradients_are_caught(wrong):
    class Wrong(ReferenceRuntime):
        def conjugate_gradients(self, n, indptr, indices, A, x, r, p, q, state):
            run = super().conjugate_gradients(n, indptr, indices, A, x, r, p, q, state)

            def changed():
                if wrong is None:
                    state.on(self)[5] += 1
                run()
                if wrong:
                    wrong(r.on(self))

            return changed

    runtime = Wrong()
    runtime.open()
    with pytest.raises(AssertionError):
        compare(runtime, "conjugate_gradients", 1)


def test_every_argument_has_a_type():
    for name in STATED:
        assert len(signature(name)) == STATED[name].__code__.co_argcount - 1


# the kit


@parametrize_with_checks(INFO, examples=8)
def test_it_conforms(check):
    check()


@pytest.mark.parametrize("name", ["matrix", "load", "orphan_nodes", "determinism", "pipeline"])
def test_it_conforms_with_coo(name):
    (result,) = verify(INFO, checks=[name], options={"assembly": "coo"}, examples=5)
    assert result.outcome == "passed", result.detail


# in chains


@pytest.mark.parametrize("other", ["numpy", "mp-shm"])
@pytest.mark.parametrize("first", ["host", "device"])
@pytest.mark.parametrize("stages", [STAGES[::2], STAGES[1::2], STAGES[2:], STAGES[:3]], ids="+".join)
def test_any_part_of_the_way(mesh, expected, other, first, stages):
    """The stages that the device has in the chain, all others on the host."""
    if other == "mp-shm":
        pytest.importorskip("fem_mp_shm", reason="fem-mp-shm is not installed")

    class Part(Reference):
        def declines(self, stage, problem, options):
            return None if stage in stages else "not mine"

    hosts = create_backends(other, {"workers": 1} if other == "mp-shm" else {})
    chain = [*hosts, (INFO, Part())] if first == "host" else [(INFO, Part()), *hosts]
    with fem.Session(chain, fallback=True) as both:
        for _ in range(2):
            solution = both.solve(mesh, fakes_problem(mesh), solver="cg")
    assert_same(solution, expected)
    of_host = hosts[0][0].stages if first == "host" else ()
    for stage in STAGES:
        mine = stage in stages and stage not in of_host
        assert (solution.report.providers[stage] == "reference") == mine


def test_values_of_another_device_come_through_the_host(mesh, expected):
    problem = fakes_problem(mesh)
    with session() as one, session() as other:
        pattern = one.stages().perform(COMPUTE_SPARSITY, mesh)
        system = fem.assemble_system(mesh, problem, pattern, backend=other)
        held = fem.apply_bc(system, mesh, problem, backend=one)
        result = fem.solve_system(held, mesh, problem, backend=other, solver="cg")
        fields = fem.compute_derived(mesh, result, problem, backend=one).to_host()
    np.testing.assert_allclose(fields.velocity, expected.velocity, rtol=0, atol=1e-6 * np.abs(expected.velocity).max())


def test_nothing_comes_to_the_host_on_the_way(mesh, expected):
    backend = Reference()
    with session(backend) as opened:
        solution = opened.solve(mesh, fakes_problem(mesh), solver="cg")
        assert solution.report.host_copies == 2
        backend.runtime.launches.clear()
        again = opened.solve(mesh, fakes_problem(mesh), solver="cg")
        assert "list_columns" not in backend.runtime.launches
    assert_same(solution, expected)
    np.testing.assert_array_equal(solution.u, again.u)


def test_conditions_leave_the_system_as_it_was(mesh):
    with session() as opened:
        bare = fem.assemble_system(mesh, fakes_problem(mesh), backend=opened)
        first = fem.apply_bc(bare, mesh, fakes_problem(mesh), backend=opened).to_host()
        again = fem.apply_bc(bare, mesh, fakes_problem(mesh), backend=opened)
        assert isinstance(again, DeviceSystem)
        np.testing.assert_array_equal(again.to_host().matrix.data, first.matrix.data)
        with pytest.raises(fem.ProblemError, match="already"):
            fem.apply_bc(again, mesh, fakes_problem(mesh), backend=opened)


# honest seconds


class Queued(ReferenceRuntime):
    """Launches nothing until somebody waits."""

    def __init__(self):
        super().__init__()
        self.waiting = []

    def launch(self, kernel, n, *arguments):
        self.waiting.append((kernel, n, *arguments))

    def copy(self, source, target):
        self.waiting.append((None, source, target))

    def synchronize(self):
        while self.waiting:
            kernel, *given = self.waiting.pop(0)
            if kernel is None:
                super().copy(*given)
            else:
                super().launch(kernel, *given)

    def download(self, values):
        self.synchronize()
        return super().download(values)

    def conjugate_gradients(self, *arguments):
        run = super().conjugate_gradients(*arguments)

        def wait_and_run():
            self.synchronize()
            run()

        return wait_and_run


@pytest.mark.parametrize("assembly", ["gather", "coo"])
def test_a_stage_is_done_when_it_ends(mesh, expected, assembly):
    class Inline(Queued):
        def coo_to_csr(self, *arguments):
            self.synchronize()
            return super().coo_to_csr(*arguments)

    runtime, left = Inline(), {}

    class Watch:
        @fem.plugins.hookimpl
        def fem_stage_complete(self, stage):
            left[stage] = len(runtime.waiting)

    with session(on(runtime, assembly)) as opened:
        solution = opened.solve(mesh, fakes_problem(mesh), observers=[Watch()], solver="cg")
    assert_same(solution, expected)
    assert {stage: left[stage] for stage in STAGES} == dict.fromkeys(STAGES, 0)


# memory


@pytest.mark.parametrize("assembly", ["gather", "coo"])
def test_no_stage_takes_more_than_it_said(mesh, assembly):
    backend = Reference(assembly=assembly)
    with session(backend) as opened:
        stages, problem = opened.stages(), fakes_problem(mesh)

        def watched(stage, **values):
            before, backend.runtime.peak = backend.runtime.used, 0
            value = stages.perform(RECORDS[stage], mesh, **values)
            taken, said = backend.runtime.peak - before, backend.device.ledger.predicted[stage]
            assert 0.25 * said <= taken <= said, f"{stage} took {taken} bytes, {said} were predicted"
            return value

        backend.device.mesh(mesh)
        pattern = watched("compute_sparsity")
        system = watched("assemble_system", problem=problem, sparsity=pattern)
        held = watched("apply_bc", problem=problem, system=system)
        result = watched("solve_system", problem=problem, system=held, options=fem.plugins.SolverOptions())
        watched("compute_derived", problem=problem, result=result)


def test_memory_that_would_not_do_is_refused_before_it_is_taken(mesh):
    whole = Reference()
    with session(whole) as opened:
        expected = opened.solve(mesh, fakes_problem(mesh), solver="cg")
    outcomes = set()
    for part in (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
        backend = Reference(memory=int(part * whole.device.ledger.peak))
        with session(backend) as opened:
            try:
                solution = opened.solve(mesh, fakes_problem(mesh), solver="cg")
            except DeviceMemoryError as error:
                outcomes.add(str(error).split(" needs ")[0].split(": ")[-1])
                opened.forget()
                gc.collect()
                assert backend.runtime.peak <= backend.runtime.memory
            else:
                outcomes.add("solved")
                np.testing.assert_array_equal(solution.u, expected.u)
    assert "solved" in outcomes
    assert len(outcomes) > 2
    assert outcomes < {"solved", "upload of the mesh", *STAGES}


def test_a_refusal_has_the_figures():
    duct = fem.generate.duct(nx=30, ny=20)
    with pytest.raises(DeviceMemoryError, match=r"compute_sparsity needs \d+ kB on the device, \d+ kB of 99 kB are"):
        with session(memory=99_000) as opened:
            opened.solve(duct, solver="cg")


def test_close_gives_everything_back(mesh):
    backend = Reference()
    with session(backend) as opened:
        opened.solve(mesh, fakes_problem(mesh), solver="cg")
        gc.collect()
        settled = backend.runtime.used
        for gamma in (1.0, 2.0, 3.0):
            opened.solve(mesh, fakes_problem(mesh, gamma=gamma), solver="cg")
            gc.collect()
            assert backend.runtime.used == settled
        system = fem.assemble_system(mesh, fakes_problem(mesh), backend=opened)
    gc.collect()
    with pytest.raises(fem.BackendError, match="closed"):
        system.to_host()
    del system
    gc.collect()
    assert backend.runtime.live == 0


def test_a_mesh_too_large_for_32_bits_is_refused():
    class Huge:
        n_elements, source = 2**25, "huge"

    device = Device(ReferenceRuntime())
    with pytest.raises(fem.BackendError, match=r"huge: 33,554,432 elements are too many .* the limit is 33,554,431"):
        device.mesh(Huge())


# faults


class Fails(ReferenceRuntime):
    """Raises from one kernel on."""

    def __init__(self, kernel, error):
        super().__init__()
        self.kernel, self.error = kernel, error

    def launch(self, kernel, n, *arguments):
        if kernel == self.kernel:
            raise self.error
        super().launch(kernel, n, *arguments)


@pytest.mark.parametrize("kernel", ["list_places", "element_stiffness", "add_robin", "residual", "element_derived"])
def test_a_lost_device_refuses_at_once(mesh, kernel):
    runtime = Fails(kernel, device_error(700, "an illegal memory access"))
    with session(on(runtime)) as opened:
        with pytest.raises(DeviceLost, match=r"700, illegal memory access.*new Python process"):
            opened.solve(mesh, solver="cg")
        runtime.launches.clear()
        runtime.kernel = None
        for _ in range(2):
            with pytest.raises(DeviceLost, match="700"):
                opened.solve(mesh, solver="cg")
        assert not runtime.launches
    with pytest.raises(DeviceLost):
        opened.backends[0][1].open()


def test_values_of_a_lost_device_are_gone(mesh):
    runtime = Fails("add_robin", lost("test"))
    with session(on(runtime)) as opened:
        system = fem.assemble_system(mesh, fakes_problem(mesh), backend=opened)
        with pytest.raises(DeviceLost):
            fem.apply_bc(system, mesh, fakes_problem(mesh), backend=opened)
        with pytest.raises(DeviceLost):
            system.to_host()


@pytest.mark.parametrize(
    "error", [device_error(1, "invalid value"), device_error(2, "pool", 10, (1, 2)), ValueError("x")]
)
def test_other_errors_leave_the_device_in_use(mesh, expected, error):
    runtime = Fails("sum_entries", error)
    with session(on(runtime)) as opened:
        with pytest.raises(fem.BackendError):
            opened.solve(mesh, fakes_problem(mesh), solver="cg")
        runtime.kernel = None
        assert_same(opened.solve(mesh, fakes_problem(mesh), solver="cg"), expected)


def test_errors_are_told_apart_by_their_number():
    assert type(device_error(1, "invalid\n value")) is fem.BackendError
    assert type(device_error(719, "unspecified launch failure")) is DeviceLost
    assert str(device_error(2, "assembly", 3_000_000_000, (10_000, 2_000_000_000))) == (
        "assembly needs 3.00 GB on the device, 10 kB of 2.00 GB are free; "
        "use a smaller mesh, another device, or a CPU backend"
    )
    for number, text in ((100, "there is no GPU"), (35, "too old"), (2, "full"), (700, "illegal"), (12345, "12345")):
        assert text in str(unavailable(number, "what the library says"))
        assert (type(unavailable(number, "")) is fem.plugins.DeviceMissing) == (number == 100)


def test_no_driver_is_no_device(monkeypatch):
    # Asked before a library is imported that can do nothing without.
    monkeypatch.setattr("fem_core.device.errors.has_driver", lambda: True)
    require_driver()
    monkeypatch.setattr("fem_core.device.errors.has_driver", lambda: False)
    with pytest.raises(fem.plugins.DeviceMissing, match="there is no NVIDIA driver; install it, or use a CPU backend"):
        require_driver()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"device": -1}, "device must be at least 0"),
        ({"device": "first"}, "device takes int"),
        ({"assembly": "atomic"}, "assembly takes gather or coo, not 'atomic'"),
        ({"asembly": "coo"}, "did you mean assembly"),
    ],
)
def test_options_are_refused(options, text):
    with pytest.raises(fem.OptionError, match=text):
        INFO.parse_options(options)
    with pytest.raises(fem.OptionError, match="gather or coo"):
        Reference(assembly="both")


# conjugate gradients


def conditioned(mesh, **given):
    problem = fakes_problem(mesh, **given)
    return apply_conditions(fem.assemble_system(mesh, problem), mesh, problem), problem


def both(mesh, system, problem, progress=None, **options):
    """The device's result and the core's."""
    options = fem.plugins.SolverOptions(**options)
    reference = ConjugateGradients().prepare(system, mesh, problem, options)
    with session() as opened:
        mine = fem.solve_system(
            system, mesh, problem, backend=opened, solver="cg", monitor=options.monitor, **_given(options)
        )
        return mine.to_host(), reference.solve(system.rhs, options, fem.plugins.Progress())


def _given(options):
    return {name: getattr(options, name) for name in ("rtol", "atol", "maxiter")}


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("options", [{}, {"monitor": 7}, {"monitor": 1}, {"rtol": 1e-3}, {"monitor": 5, "maxiter": 30}])
def test_steps_and_history_are_the_core_s(mesh, options, dirichlet):
    system, problem = conditioned(mesh, dirichlet=dirichlet)
    mine, theirs = both(mesh, system, problem, **options)
    assert abs(mine.iterations - theirs.iterations) <= 1
    assert mine.stop_reason == theirs.stop_reason
    pairs = list(zip(mine.history[:-1], theirs.history[:-1], strict=False))
    assert len(pairs) >= min(theirs.iterations - 2, options.get("maxiter", 100) - 1) // options.get("monitor", 50)
    for (step, found), (wanted, residual) in pairs:  # rounding grows until the later ones have little in common
        assert step == wanted
        assert found == pytest.approx(residual, rel=1e-6 if step <= 30 else 1.0)
    assert mine.relative_residual == pytest.approx(theirs.relative_residual, rel=1.0)
    assert mine.true_relative_residual == pytest.approx(theirs.true_relative_residual, rel=1.0)
    np.testing.assert_allclose(mine.u, theirs.u + system.lift, rtol=0, atol=100 * options.get("rtol", 1e-8))


def _changed(system, values):
    return LinearSystem(csr(system.matrix.indptr, system.matrix.indices, values), system.rhs, system.fixed, system.lift)


def entries(system):
    values = system.matrix.data.copy()
    diagonal = np.flatnonzero(
        system.matrix.indices == np.repeat(np.arange(system.n_nodes), np.diff(system.matrix.indptr))
    )
    return values, diagonal


def test_every_stop_reason(mesh):
    system, problem = conditioned(mesh, dirichlet="eliminate")
    values, diagonal = entries(system)
    off = np.ones(len(values), dtype=bool)
    off[diagonal] = False
    indefinite = values.copy()
    indefinite[off] *= 30
    huge = LinearSystem(system.matrix, 1e200 * np.ones(system.n_nodes), system.fixed, system.lift)
    stagnating = {"rtol": 1e-17, "maxiter": 3000}
    for changed, options, reason in (
        (system, {"maxiter": 0}, fem.StopReason.MAXITER),
        (system, {"maxiter": 50}, fem.StopReason.MAXITER),
        (_changed(system, indefinite), {}, fem.StopReason.INDEFINITE),
        (huge, {}, fem.StopReason.NOT_FINITE),
        (system, stagnating, None),
    ):
        with np.errstate(all="ignore"):
            mine, theirs = both(mesh, changed, problem, **options)
        assert not mine.converged
        assert mine.stop_reason == theirs.stop_reason
        if reason:
            assert (mine.stop_reason, mine.iterations) == (reason, theirs.iterations)
            np.testing.assert_allclose(mine.u, theirs.u + system.lift, rtol=1e-6, atol=1e-9)


def test_a_bad_diagonal_is_named_by_its_nodes(mesh):
    system, problem = conditioned(mesh)
    values, diagonal = entries(system)
    values[diagonal[[3, 8]]] = [-1.0, np.nan]
    with session() as opened, pytest.raises(fem.SolveError, match=r"it is not positive at nodes 3, 8"):
        fem.solve_system(_changed(system, values), mesh, problem, backend=opened, solver="cg")


def test_conditions_come_first(mesh):
    with session() as opened, pytest.raises(fem.SolveError, match="no boundary conditions yet"):
        fem.solve_system(fem.assemble_system(mesh, backend=opened), mesh, backend=opened, solver="cg")


@pytest.mark.parametrize("how", ["cancelled", "interrupted"])
def test_conjugate_gradients_can_be_stopped(mesh, expected, how):
    token = fem.CancelToken()

    class Stops(ReferenceRuntime):
        calls = 0

        def conjugate_gradients(self, *arguments):
            run = super().conjugate_gradients(*arguments)

            def stop_in_the_second_call():
                self.calls += 1
                if self.calls == 2 and how == "interrupted":
                    raise KeyboardInterrupt
                if self.calls == 2:
                    token.cancel()
                run()

            return stop_in_the_second_call

    runtime = Stops()
    with session(on(runtime)) as opened:
        before = opened.solve(mesh, fakes_problem(mesh), maxiter=0, solver="cg") and runtime.calls
        runtime.calls = 0
        gc.collect()
        kept = runtime.used
        with pytest.raises(fem.Cancelled if how == "cancelled" else KeyboardInterrupt):
            opened.solve(mesh, fakes_problem(mesh), cancel=token, solver="cg")
        assert runtime.calls == 2
        assert before <= 1
        gc.collect()
        assert runtime.used == kept
        assert_same(opened.solve(mesh, fakes_problem(mesh), solver="cg"), expected)


# arrays of the reference


def test_a_device_array_is_no_numpy_array():
    runtime, other = ReferenceRuntime(), ReferenceRuntime()
    runtime.open()
    other.open()
    array = runtime.zeros(3, np.float64)
    for mistake in (np.asarray, len, list, bool, float, lambda a: a[0], lambda a: np.add(1.0, a)):
        with pytest.raises((AssertionError, TypeError)):
            mistake(array)
    for wrong in ((array, 3, array), (array, np.int64(3), array), (runtime.zeros(3, np.int32), array, array)):
        with pytest.raises((AssertionError, AttributeError)):
            runtime.launch("product", 3, *wrong)
    with pytest.raises(AssertionError, match="another runtime"):
        other.download(array)
    with suppress(AssertionError):
        runtime.close()
    with pytest.raises(AssertionError, match="closed"):
        runtime.download(array)


# what a run does without its device


def failing(kernel, error):
    return INFO, on(Fails(kernel, error))


@pytest.mark.parametrize("kernel", ["list_columns", "element_stiffness", "eliminate", "residual", "element_derived"])
@pytest.mark.parametrize("error", [device_error(719, "unspecified"), device_error(2, "an array", 9, (1, 8))])
def test_a_run_goes_on_without_a_device_where_it_may(mesh, expected, kernel, error):
    problem = fakes_problem(mesh, dirichlet="eliminate")
    numpy = create_backends("numpy", {})
    for chain, provider in (([failing(kernel, error)], "core"), ([failing(kernel, error), *numpy], "numpy")):
        with fem.Session(chain, fallback=True) as opened:
            for _ in range(2):  # a lost one refuses at once in the second
                report = (solution := opened.solve(mesh, problem, solver="cg")).report
                assert_same(solution, expected)
                assert report.providers["assemble_system"] == provider
                assert report.providers["solve_system"] == "core"
                (warning,) = (text for text in report.warnings if "reference" in text)
                assert "repeated without this backend" in warning
                assert not any("reference" in text for text in report.notes)  # of the attempt that failed
                assert report.host_copies == 0
                assert sum("belong to no element" in text for text in report.warnings) == 1
    with (
        fem.Session([failing(kernel, error)]) as opened,
        pytest.raises(type(error), match="backend 'reference' failed"),
    ):
        opened.solve(mesh, problem, solver="cg")


def test_auto_goes_on_and_a_name_does_not(mesh, expected, monkeypatch):
    info, create = replace(INFO, rank=99), fem.plugins.REGISTRY.create

    def created(listing, options):
        return failing("residual", lost("test")) if listing.name == "reference" else create(listing, options)

    monkeypatch.setattr(fem.plugins.REGISTRY, "_registered", {**fem.plugins.REGISTRY._registered, "reference": info})
    monkeypatch.setattr(fem.plugins.REGISTRY, "create", created)
    solution = fem.solve(mesh, fakes_problem(mesh), backend="auto", solver="cg")
    assert_same(solution, expected)
    assert solution.report.providers["solve_system"] == "core"
    assert any("backend 'reference' failed in solve_system" in text for text in solution.report.warnings)
    with pytest.raises(DeviceLost, match="backend 'reference' failed in solve_system"):
        fem.solve(mesh, fakes_problem(mesh), backend="reference", solver="cg")


def test_a_device_that_fails_on_the_way_to_the_host(mesh, expected):
    class Cut(ReferenceRuntime):
        def download(self, values):
            if self.launches[-1] == "element_derived":
                raise lost("unplugged")
            return super().download(values)

    with fem.Session([(INFO, on(Cut()))], fallback=True) as opened:
        solution = opened.solve(mesh, fakes_problem(mesh), solver="cg")
    assert_same(solution, expected)
    assert any("compute_derived (to_host)" in text and "unplugged" in text for text in solution.report.warnings)


def test_other_errors_are_nobody_else_s_turn(mesh):
    """A kernel that is wrong isn't hidden by a fallback."""
    with fem.Session([failing("sum_entries", device_error(1, "invalid value"))], fallback=True) as opened:
        with pytest.raises(fem.BackendError, match="invalid value"):
            opened.solve(mesh, solver="cg")


# multigrid


MESHES = {
    "near squares": lambda: fem.generate.y_tube(nodes=9000),
    "lines": lambda: fem.generate.duct(length=3, nx=10, ny=60),
    "distorted, orphans": lambda: renumbered(distorted(40, 36), orphans=99)[0],
}
amg = pytest.mark.skipif(not amg_available(), reason="pyamg is not installed")


@amg
@pytest.mark.parametrize("dense", [0, 500])
@pytest.mark.parametrize("name", MESHES)
def test_multigrid_is_the_core_s(name, dense, monkeypatch):
    """On the same hierarchy, with the coarsest level on the device and on the host."""
    monkeypatch.setattr(hierarchy, "DIRECT", 500)
    monkeypatch.setattr(device_mg, "DENSE", dense)
    monkeypatch.setattr(device_mg, "build_hierarchy", lambda *a, direct, **k: build_hierarchy(*a, direct=500, **k))
    mesh, backend = MESHES[name](), Reference()
    reference = fem.solve(mesh, backend="numpy", solver="mg")
    with session(backend) as opened:
        solution = opened.solve(mesh, solver="mg")
        assert ("multiply_dense" in backend.runtime.launches) == bool(dense)
        assert backend.runtime.peak <= backend.device.ledger.peak
    assert solution.report.providers["solve_system"] == "reference"
    assert abs(solution.report.iterations - reference.report.iterations) <= 1
    assert solution.report.iterations < 30
    np.testing.assert_allclose(solution.u, reference.u, rtol=0, atol=1e-6 * reference.u.max())


def test_a_hierarchy_is_kept_for_as_long_as_the_matrix_is_the_same(mesh):
    class Sizes(ReferenceRuntime):
        def download(self, values):
            self.sizes.append(len(values.on(self)))
            return super().download(values)

    runtime, nnz = Sizes(), len(fem.assemble_system(mesh).matrix.data)
    with session(on(runtime)) as opened:
        for given, times in (({}, 2), ({"gamma": 5.0}, 0), ({"dirichlet": "eliminate"}, 2), ({"outlet": 4.0}, 0)):
            runtime.sizes = []
            problem = fem.Problem.potential_flow(
                mesh, **{"dirichlet": "eliminate"} if "outlet" in given else {}, **given
            )
            found = opened.solve(mesh, problem, solver="mg", rtol=1e-10)
            assert runtime.sizes.count(nnz) == times, given  # indices and values
            wanted = fem.solve(mesh, problem, backend="numpy", solver="direct")
            np.testing.assert_allclose(found.u, wanted.u, rtol=0, atol=1e-7 * np.abs(wanted.u).max())
            assert any("was copied to the host once" in note for note in found.report.notes) == bool(times)
    gc.collect()
    assert runtime.live == 0


def test_multigrid_does_not_hide_a_lost_device(mesh):
    with session(on(Fails("multiply_f4", lost("test")))) as opened, pytest.raises(DeviceLost, match="solve_system"):
        opened.solve(mesh, solver="mg")


@pytest.mark.parametrize("conductivities", [(1.0, 1 + 1e-7), (1e-7, 2e-7)])
def test_a_change_is_seen_beside_a_penalty(conductivities):
    """Held nodes have 1e12 on the diagonal: what is summed with that hides changes of the others."""
    mesh = fem.generate.duct(nx=8, ny=4)
    problems = [fem.Problem.potential_flow(mesh, conductivity=k) for k in conductivities]
    with session() as opened:
        for problem in problems:
            found = opened.solve(mesh, problem, solver="mg", rtol=1e-12).u
            wanted = fem.solve(mesh, problem, backend="numpy", solver="direct").u
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())

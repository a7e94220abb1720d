"""A device backend whose values are neither NumPy's nor SciPy's, through every stage and every mixture."""

import itertools

import fakes
import fem_core as fem
import numpy as np
import pytest
from fakes.device import STAGES, DeviceArray, device
from fem_core.plugins.stages import APPLY_BC, ASSEMBLE_SYSTEM, COMPUTE_SPARSITY, SOLVE_SYSTEM

SUBSETS = [subset for k in range(len(STAGES) + 1) for subset in itertools.combinations(STAGES, k)]
TAKERS = dict(zip(STAGES, (*STAGES[1:], None), strict=True))


@pytest.fixture(scope="module")
def mesh():
    return fakes.mesh()


@pytest.fixture(scope="module")
def expected(mesh):
    return {d: fem.solve(mesh, fakes.problem(mesh, d), backend="numpy", solver="cg") for d in ("penalty", "eliminate")}


def assert_same(solution, expected):
    for name in ("u", "velocity", "speed", "pressure"):
        found, wanted = getattr(solution, name), getattr(expected, name)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * np.abs(wanted).max())
    assert abs(solution.report.iterations - expected.report.iterations) <= 1


def copies(owners):
    """How many values must cross: a device's, where the next stage isn't the same device's; the last two always."""
    return sum(
        owner != "core" and (stage in ("solve_system", "compute_derived") or owners[TAKERS[stage]] != owner)
        for stage, owner in owners.items()
    )


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("stages", SUBSETS, ids=lambda s: "+".join(s) or "none")
def test_any_part_of_the_way_on_the_device(mesh, expected, stages, dirichlet):
    info, backend = device(stages)
    with fem.Session([(info, backend)]) as session:
        solution = session.solve(mesh, fakes.problem(mesh, dirichlet), solver="cg")
    assert_same(solution, expected[dirichlet])
    owners = {stage: "device" if stage in stages else "core" for stage in STAGES}
    providers = dict(solution.report.providers)
    assert providers.pop("load_mesh") == "core"
    assert providers == owners
    assert backend.calls == [stage for stage in STAGES if stage in stages]
    assert solution.report.host_copies == backend.downloads == copies(owners)
    assert backend.strangers == 0


@pytest.mark.parametrize(
    ("stages", "number"),
    [
        ((), 0),
        (STAGES, 2),  # the potential and the fields
        (("compute_sparsity",), 1),
        (("assemble_system", "apply_bc"), 1),
        (("assemble_system", "solve_system"), 2),
        (("compute_sparsity", "apply_bc", "compute_derived"), 3),
        (("solve_system",), 1),  # once, though post-processing and the solution both want it
    ],
)
def test_number_of_host_copies(mesh, stages, number):
    with fem.Session([device(stages)]) as session:
        assert session.solve(mesh, fakes.problem(mesh), solver="cg").report.host_copies == number


@pytest.mark.parametrize("first", [STAGES[::2], STAGES[1::2], STAGES[:3], STAGES[3:]], ids="+".join)
def test_two_kinds_of_device_in_one_chain(mesh, expected, first):
    a, b = device(first, "a"), device(STAGES, "b", seed=6)
    with fem.Session([a, b]) as session:
        solution = session.solve(mesh, fakes.problem(mesh), solver="cg")
        again = session.solve(mesh, fakes.problem(mesh), solver="cg")  # on the kept pattern
    assert_same(solution, expected["penalty"])
    np.testing.assert_array_equal(solution.u, again.u)
    owners = {stage: "a" if stage in first else "b" for stage in STAGES}
    assert {s: p for s, p in solution.report.providers.items() if s in STAGES} == owners
    assert solution.report.host_copies == copies(owners)
    assert a[1].strangers == b[1].strangers == 0
    assert solution.report.backend == "a,b"


def test_kept_pattern_stays_on_the_device(mesh):
    info, backend = device()
    with fem.Session([(info, backend)]) as session:
        for _ in range(3):
            session.solve(mesh, fakes.problem(mesh), solver="cg")
    assert backend.calls.count("compute_sparsity") == 1
    assert backend.uploads == 0


@pytest.mark.parametrize("stages", [STAGES, STAGES[::2], STAGES[1::2], ()], ids=lambda s: "+".join(s) or "none")
def test_each_stage_by_itself_in_a_session(mesh, expected, stages):
    problem = fakes.problem(mesh)
    info, backend = device(stages)
    with fem.Session([(info, backend)]) as session:
        system = fem.assemble_system(mesh, problem, backend=session)
        held = fem.apply_bc(system, mesh, problem, backend=session)
        result = fem.solve_system(held, mesh, problem, backend=session)
        fields = fem.compute_derived(mesh, result, problem, backend=session)
        values = {"assemble_system": system, "apply_bc": held, "solve_system": result, "compute_derived": fields}
        for stage, value in values.items():
            on_device = any(isinstance(part, DeviceArray) for part in vars(value).values())
            assert on_device == (stage in stages)
        result, fields = result.to_host(), fields.to_host()
    np.testing.assert_allclose(result.u, expected["penalty"].u, atol=1e-6)
    np.testing.assert_allclose(fields.velocity, expected["penalty"].velocity, atol=1e-5)
    assert backend.strangers == 0


def test_a_sparsity_from_elsewhere(mesh):
    problem = fakes.problem(mesh)
    with fem.Session([device()]) as session:
        there = fem.assemble_system(mesh, problem, fem.compute_sparsity(mesh), backend=session).to_host()
    here = fem.assemble_system(mesh, problem, backend="numpy")
    np.testing.assert_array_equal(there.matrix.indices, here.matrix.indices)
    np.testing.assert_allclose(there.matrix.toarray(), here.matrix.toarray(), atol=1e-12)
    np.testing.assert_allclose(there.rhs, here.rhs, atol=1e-12)


def test_values_of_one_session_in_another(mesh, expected):
    """Nothing tells the pipeline whose they are: a backend brings a stranger's to the host itself, as the core does."""
    problem = fakes.problem(mesh)
    a, b = device(name="a"), device(name="b", seed=6)
    with fem.Session([a]) as one, fem.Session([b]) as other:
        system = fem.assemble_system(mesh, problem, backend=one)
        held = fem.apply_bc(system, mesh, problem, backend=other)
        result = fem.solve_system(held, mesh, problem, backend="numpy")
        fields = fem.compute_derived(mesh, result, problem, backend=one).to_host()
    np.testing.assert_allclose(result.u, expected["penalty"].u, atol=1e-6)
    np.testing.assert_allclose(fields.speed, expected["penalty"].speed, atol=1e-5)


def test_a_backend_by_name_gives_back_host_values(mesh, monkeypatch):
    """Its session ends with the call, and with it the memory of the device."""
    info, backend = device()
    monkeypatch.setattr(fem.plugins.REGISTRY, "_registered", {**fem.plugins.REGISTRY._registered, "device": info})
    monkeypatch.setattr(fem.plugins.REGISTRY, "create", lambda listing, options: (info, backend))
    problem = fakes.problem(mesh)
    system = fem.assemble_system(mesh, problem, backend="device")
    held = fem.apply_bc(system, mesh, problem, backend="device")
    result = fem.solve_system(held, mesh, problem, backend="device")
    fields = fem.compute_derived(mesh, result, problem, backend="device")
    assert [type(v) for v in (system, held, result, fields)] == [
        fem.LinearSystem, fem.LinearSystem, fem.SolveResult, fem.DerivedFields,
    ]  # fmt: skip
    assert not backend.opened


def test_not_converged_on_the_device(mesh):
    with fem.Session([device()]) as session:
        report = session.solve(mesh, fakes.problem(mesh), maxiter=3, solver="cg").report
    assert not report.converged
    assert sum("did not converge" in warning for warning in report.warnings) == 1


class Broken(fem.plugins.Backend):
    """Its systems are all right until they come to the host."""

    def __init__(self, to_host):
        self.to_host = to_host

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity):
        host, broken = fem.assemble_system(mesh, problem, sparsity), self.to_host

        class Elsewhere:
            def to_host(self):
                return broken(host)

        return Elsewhere()


def _raises(system):
    raise RuntimeError("out of device memory")


def _exits(system):
    raise SystemExit(3)


def _holds_nan(system):
    system.matrix.data[5] = np.nan
    return system


@pytest.mark.parametrize(
    ("to_host", "text"),
    [
        (_raises, r"backend 'broken' failed in assemble_system \(to_host\): RuntimeError: out of device memory"),
        (_exits, r"backend 'broken' failed in assemble_system \(to_host\): SystemExit: 3"),
        (_holds_nan, "backend 'broken' returned a wrong result from assemble_system: matrix values holds NaN"),
        (lambda system: system.rhs, "backend 'broken' returned a wrong result from assemble_system: .*ndarray"),
        (lambda system: None, "backend 'broken' returned a wrong result from assemble_system: .*NoneType"),
    ],
)
def test_the_maker_answers_for_what_comes_to_the_host(mesh, to_host, text):
    """Not the next stage, which took it over."""
    info = fem.plugins.BackendInfo("broken", "", "", stages=("assemble_system",))
    with fem.Session([(info, Broken(to_host))]) as session, pytest.raises(fem.BackendError, match=text):
        session.solve(mesh, solver="cg")


def test_a_copy_is_checked_as_what_each_stage_returns(mesh):
    """One object may come to the host as the result of two stages; the second one answers for it, too."""

    class Elsewhere:
        def __init__(self, host):
            self.to_host = lambda: host

    class Assembling(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh, problem, sparsity):
            return Elsewhere(fem.assemble_system(mesh, problem, sparsity))

    class Lazy(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_apply_bc(self, system):
            return Elsewhere(system)  # as it is, without its conditions

    backends = [
        (fem.plugins.BackendInfo("a", "", "", stages=("assemble_system",)), Assembling()),
        (fem.plugins.BackendInfo("b", "", "", stages=("apply_bc",)), Lazy()),
    ]
    with (
        fem.Session(backends) as session,
        pytest.raises(
            fem.BackendError, match="backend 'b' returned a wrong result from apply_bc: lift must be float64"
        ),
    ):
        session.solve(mesh, solver="cg")


def test_run_by_hand_keeps_the_rule(mesh):
    """A value that is asked for on the host twice is brought there once."""
    with fem.Session([device()]) as session:
        run = session.stages()
        problem = fakes.problem(mesh)
        pattern = run.perform(COMPUTE_SPARSITY, mesh)
        system = run.perform(ASSEMBLE_SYSTEM, mesh, problem=problem, sparsity=pattern)
        system = run.perform(APPLY_BC, mesh, problem=problem, system=system)
        result = run.perform(SOLVE_SYSTEM, mesh, problem=problem, system=system, options=fem.plugins.SolverOptions())
        once = run.to_host(result, SOLVE_SYSTEM, mesh)
        assert run.to_host(result, SOLVE_SYSTEM, mesh) is once
        assert run.account.host_copies == 1

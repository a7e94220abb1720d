"""Conjugate gradients: SciPy's iterations, every reason to stop, the monitor, cancellation."""

from types import SimpleNamespace

import numpy as np
import pytest
from fem_core import (
    Cancelled,
    CancelToken,
    Mesh,
    OptionError,
    Problem,
    SolveError,
    StopReason,
    apply_bc,
    assemble_system,
    solve,
    solvers,
)
from fem_core.assembly.system import LinearSystem
from fem_core.generate import annulus, duct, y_tube
from fem_core.plugins import Progress, SolverOptions
from fem_core.solvers import ConjugateGradients, Equilibrated
from fem_core.solvers import cg as cg_module
from meshes import distorted
from scipy import sparse
from scipy.sparse.linalg import cg as scipy_cg

MESHES = {
    "duct": lambda: duct(length=3, nx=30, ny=10),
    "annulus": lambda: annulus(nr=8, na=12),
    "y_tube": lambda: y_tube(nodes=2_000),
    "distorted": lambda: distorted(12, 9, seed=4, width=2.0),
}


def prepared_system(mesh: Mesh, **given) -> tuple[LinearSystem, Problem]:
    problem = Problem.potential_flow(mesh, **given)
    return apply_bc(assemble_system(mesh, problem), mesh, problem), problem


def run(matrix, rhs, progress: Progress | None = None, **options):
    """CG on any matrix, without a mesh."""
    system = LinearSystem(sparse.csr_array(matrix), np.asarray(rhs, dtype=float))
    prepared = ConjugateGradients().prepare(system, None, None, SolverOptions(**options))
    return prepared.solve(system.rhs, SolverOptions(**options), progress or Progress())


# ── the same method as SciPy's ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_iterations_are_scipy_s(name, dirichlet, rtol):
    # On the equilibrated system, Jacobi, x₀ = 0, stopping rule before a step: the definition of the reference.
    system, _ = prepared_system(MESHES[name](), dirichlet=dirichlet)
    e = Equilibrated.of(system)
    steps = []
    M = sparse.diags_array(1 / e.A.diagonal())
    x, _ = scipy_cg(e.A, e.d * system.rhs, rtol=rtol, atol=0.0, M=M, callback=steps.append)
    result = run(system.matrix, system.rhs, rtol=rtol)
    assert abs(len(steps) - result.iterations) <= max(1, 0.005 * len(steps))  # sums in another order
    np.testing.assert_allclose(result.u, e.d * x, rtol=0, atol=rtol * np.abs(e.d * x).max())


def test_equilibration_scales_to_a_unit_diagonal():
    # A = D K D and w = D x; what is solved must be the system as given.
    system, _ = prepared_system(MESHES["distorted"]())
    e = Equilibrated.of(system)
    np.testing.assert_allclose(e.A.diagonal(), 1, rtol=1e-15)
    np.testing.assert_allclose(e.A.toarray(), e.d[:, None] * system.matrix.toarray() * e.d, rtol=1e-14)


def test_residuals_are_true():
    # Computed here from u alone, for both systems: the recurrence's own residual isn't to be believed.
    system, _ = prepared_system(MESHES["y_tube"]())
    result = run(system.matrix, system.rhs)
    e = Equilibrated.of(system)
    b = e.d * system.rhs
    scaled = np.linalg.norm(b - e.A @ (result.u / e.d)) / np.linalg.norm(b)
    unscaled = np.linalg.norm(system.rhs - system.matrix @ result.u) / np.linalg.norm(system.rhs)
    assert result.relative_residual == pytest.approx(scaled, rel=1e-3)
    assert result.true_relative_residual == pytest.approx(unscaled, rel=1e-3)
    assert 0 < scaled <= 2e-8


def test_it_stops_at_the_larger_tolerance():
    # max(rtol ‖b‖, atol), in the equilibrated system.
    system, _ = prepared_system(MESHES["duct"]())
    e = Equilibrated.of(system)
    norm = float(np.linalg.norm(e.d * system.rhs))
    by_rtol = run(system.matrix, system.rhs, rtol=1e-4)
    by_atol = run(system.matrix, system.rhs, rtol=1e-12, atol=1e-4 * norm)
    assert by_rtol.iterations == by_atol.iterations < run(system.matrix, system.rhs, rtol=1e-5).iterations
    assert np.array_equal(by_rtol.u, by_atol.u)


# ── reasons to stop ──────────────────────────────────────────────────────────────────────────


def test_converged():
    # In at most as many steps as there are distinct eigenvalues: diag + rank one, equilibrated, has few.
    result = run(np.diag([2.0, 2, 2]) + 1, [1, 2, 3])
    assert (result.stop_reason, result.converged) == (StopReason.CONVERGED, True)
    assert result.iterations <= 2
    np.testing.assert_allclose((np.diag([2.0, 2, 2]) + 1) @ result.u, [1, 2, 3])


def test_nothing_to_solve():
    # b = 0: zero steps, u = lift, residual 0 and not 0/0.
    result = run(np.eye(3), np.zeros(3))
    assert (result.iterations, result.converged, result.relative_residual) == (0, True, 0.0)
    assert result.u.tolist() == [0, 0, 0]
    assert result.history == ()
    mesh = duct(nx=4, ny=2)
    solution = solve(mesh, Problem.potential_flow(mesh, gamma=0.0), backend="numpy", solver="cg")
    assert (solution.report.iterations, solution.report.converged) == (0, True)
    assert not solution.u.any()


@pytest.mark.parametrize("maxiter", [0, 1, 7])
def test_maxiter(maxiter):
    # A partial result, exactly that many steps old, and flagged.
    system, _ = prepared_system(MESHES["duct"]())
    result = run(system.matrix, system.rhs, maxiter=maxiter)
    assert (result.iterations, result.stop_reason) == (maxiter, StopReason.MAXITER)
    assert not result.converged
    assert result.relative_residual > 1e-8
    assert np.isfinite(result.u).all()


def test_maxiter_is_not_exceeded_when_it_is_just_enough():
    # The limit is looked at after the tolerance.
    system, _ = prepared_system(MESHES["duct"]())
    enough = run(system.matrix, system.rhs).iterations
    assert run(system.matrix, system.rhs, maxiter=enough).converged
    assert not run(system.matrix, system.rhs, maxiter=enough - 1).converged


def test_indefinite_matrix():
    # A positive diagonal, and p·Ap < 0 in the first step.
    result = run([[1, 2], [2, 1]], [1, -1])
    assert (result.stop_reason, result.iterations, result.converged) == (StopReason.INDEFINITE, 0, False)


def test_indefiniteness_found_on_the_way():
    # The result of the steps before it is kept.
    result = run([[1, 0, 0], [0, 1, 2], [0, 2, 1]], [3, 1, -0.9])
    assert result.stop_reason == StopReason.INDEFINITE
    assert np.isfinite(result.u).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_right_hand_side_that_is_not_finite(bad):
    # No endless loop of comparisons with NaN.
    result = run(np.eye(2), [bad, 1])
    assert (result.stop_reason, result.iterations, result.converged) == (StopReason.NOT_FINITE, 0, False)
    assert result.u.tolist() == [0, 0]


def test_a_residual_that_becomes_nan_gives_back_the_last_finite_fields():
    # A matrix that overflows on the way: NaN must not reach the result.
    class Poisoned:
        def __init__(self, A):
            self.A, self.products = A, 0

        def __matmul__(self, p):
            self.products += 1
            return self.A @ p if self.products <= 60 else np.full_like(p, np.nan)

        def diagonal(self):
            return self.A.diagonal()

    system, problem = prepared_system(MESHES["y_tube"]())
    prepared = ConjugateGradients().prepare(system, None, problem, SolverOptions())
    e = prepared.equilibrated
    object.__setattr__(e, "A", Poisoned(e.A))
    result = prepared.solve(system.rhs, SolverOptions(monitor=20), Progress())
    assert result.stop_reason == StopReason.NOT_FINITE
    assert np.isfinite(result.u).all()
    assert result.u.any()


def test_stagnation():
    # The recurrence meets any tolerance; the true residual can't go below the rounding errors.
    system, _ = prepared_system(MESHES["y_tube"]())
    result = run(system.matrix, system.rhs, rtol=1e-17)
    assert (result.stop_reason, result.converged) == (StopReason.STAGNATION, False)
    assert 2e-17 < result.relative_residual < 1e-11


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_a_diagonal_that_is_not_positive_is_refused(bad):
    # Equilibration takes its square root; the nodes are named.
    with pytest.raises(SolveError, match=r"it is not positive at node 1$"):
        run(np.diag([1, bad, 1]), [1, 1, 1])


@pytest.mark.parametrize(
    "options",
    [{"rtol": -1e-8}, {"rtol": 0.0}, {"rtol": np.nan}, {"atol": -1.0}, {"maxiter": -1}, {"monitor": 0}],
)
def test_senseless_options_are_refused(options):
    # A tolerance of zero would run to maxiter, a monitor of zero divide by it.
    with pytest.raises(OptionError, match=r"must be >= "):
        SolverOptions(**options)


def test_partial_fields_are_flagged_in_the_report():
    # A solution that isn't one says so, in words.
    report = solve(MESHES["duct"](), backend="numpy", maxiter=5, solver="cg").report
    assert (report.converged, report.solver["stop_reason"]) == (False, "maxiter reached")
    assert report.warnings[-1].startswith("cg did not converge: maxiter reached after 5 iterations, relative residual")


# ── the monitor ──────────────────────────────────────────────────────────────────────────────


def recording():
    events = []
    return events, Progress(lambda hook, final, **payload: events.append((hook, payload)))


@pytest.mark.parametrize("monitor", [1, 20, 50])
def test_history_has_the_true_residual_at_every_interval_and_at_the_end(monitor):
    # And the events report the same.
    system, _ = prepared_system(MESHES["y_tube"]())
    events, progress = recording()
    result = run(system.matrix, system.rhs, progress, monitor=monitor)
    iterations = [i for i, _ in result.history]
    expected = [*range(monitor, result.iterations, monitor), result.iterations]
    assert expected == iterations
    assert expected[:-1] == [payload["iteration"] for _, payload in events]
    assert [r for _, r in result.history[:-1]] == [payload["residual"] for _, payload in events]
    assert result.history[-1][1] == result.relative_residual
    for i, residual in result.history[:3]:
        early = run(system.matrix, system.rhs, maxiter=i)
        assert early.relative_residual == pytest.approx(residual, rel=1e-12)  # summed in another order


def test_the_monitor_does_not_change_the_result():
    # Looking at the residual is not a restart.
    system, _ = prepared_system(MESHES["y_tube"]())
    often, never = run(system.matrix, system.rhs, monitor=1), run(system.matrix, system.rhs, monitor=10_000)
    assert often.iterations == never.iterations
    assert np.array_equal(often.u, never.u)


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(cg_module, "time", clock)
    return clock


def test_the_remaining_time_comes_from_the_decay(clock):
    # A residual that falls by e each 2 s needs 2 s times the e-foldings that are left.
    remaining = cg_module.RemainingTime(target=np.exp(-20))
    assert remaining.after(1.0) is None
    for step in range(1, 20):
        clock.now += 2
        assert remaining.after(np.exp(-step)) == pytest.approx(2 * (20 - step))


def test_the_early_plateau_is_forgotten(clock):
    # CG's residual hardly falls at first: only the later half of the run counts.
    remaining = cg_module.RemainingTime(target=np.exp(-30))
    for _ in range(10):
        clock.now += 1
        remaining.after(1.0)
    for step in range(1, 20):
        clock.now += 1
        estimate = remaining.after(np.exp(-step))
    assert estimate == pytest.approx(11, rel=0.05)


def test_no_time_is_given_without_a_decay(clock):
    # None rather than a wild number: rising, NaN or zero residuals.
    remaining = cg_module.RemainingTime(target=1e-8)
    for residual in (1.0, 2.0, np.nan, np.inf, 0.0):
        clock.now += 1
        assert remaining.after(residual) is None


def test_the_remaining_time_does_not_depend_on_maxiter(clock):
    # And it reaches the observers.
    system, _ = prepared_system(MESHES["y_tube"]())
    times = []
    for maxiter in (100_000, 1_000):
        clock.now = 0.0
        ticking = iter(range(10_000))
        clock.perf_counter = lambda ticking=ticking: next(ticking)
        events, progress = recording()
        run(system.matrix, system.rhs, progress, monitor=20, maxiter=maxiter)
        times.append([payload["etr"] for _, payload in events])
    assert times[0] == times[1]
    assert times[0][-1] == pytest.approx(0, abs=3)


# ── the driver of those who take many steps at once ──────────────────────────────────────────


class Scripted:
    """Takes `most` steps at once; ‖r‖ is 1/(steps taken), but for what `ends` has for a number of steps."""

    norm_b = 1.0

    def __init__(self, most=100, ends=()):
        self.most, self.ends, self.taken, self.calls, self.log = most, dict(ends), 0, [], []

    def advance(self, steps, target):
        self.calls.append(steps)
        before = self.taken
        while self.taken < before + min(steps, self.most) and self.taken not in self.ends:
            self.taken += 1
        norm_r, definite = self.ends.get(self.taken, (1 / (self.taken or 1), True))
        return self.taken - before, norm_r, definite

    def residual(self):
        return 1 / self.taken

    def remember(self):
        self.log.append(self.taken)

    def recall(self):
        self.log.append("recalled")


@pytest.mark.parametrize(
    ("at", "options", "calls", "end", "log"),
    [
        # No call goes beyond the monitor's next iteration, nor beyond maxiter; the last isn't monitored.
        (Scripted(), {"maxiter": 25}, [10, 10, 5], (25, StopReason.MAXITER), [10, 20]),
        (Scripted(most=4), {"maxiter": 20}, [10, 6, 2, 10, 6, 2], (20, StopReason.MAXITER), [10]),
        (Scripted(), {"maxiter": 0}, [], (0, StopReason.MAXITER), []),
        # Each way to end in the middle of a call. The last finite x is asked for only where there is another one.
        (Scripted(ends={13: (1e-9, True)}), {}, [10, 10], (13, StopReason.CONVERGED), [10]),
        (Scripted(ends={13: (0.5, False)}), {}, [10, 10], (13, StopReason.INDEFINITE), [10]),
        (Scripted(ends={13: (np.nan, True)}), {}, [10, 10], (13, StopReason.NOT_FINITE), [10, "recalled"]),
        (Scripted(ends={0: (1.0, False)}), {}, [10], (0, StopReason.INDEFINITE), []),
        # At the monitor's iteration an end comes before the look.
        (Scripted(ends={10: (np.inf, True)}), {}, [10], (10, StopReason.NOT_FINITE), ["recalled"]),
    ],
)
def test_the_driver(at, options, calls, end, log):
    iterations, reason, history = cg_module.iterate(at, SolverOptions(monitor=10, **options), Progress())
    assert (at.calls, (iterations, reason), at.log) == (calls, end, log)
    assert history == [(i, 1 / i) for i in log if i != "recalled"]


# ── cancellation ─────────────────────────────────────────────────────────────────────────────


def test_a_token_stops_within_the_loop():
    # At the next step, not at the next report.
    token, seen = CancelToken(), []

    def listen(event):
        if event.name == "fem:solveProgress":
            seen.append(event)
            token.cancel()

    with pytest.raises(Cancelled, match="the run was cancelled"):
        solve(MESHES["y_tube"](), backend="numpy", on_event=listen, cancel=token, monitor=10, solver="cg")
    assert len(seen) == 1


def test_every_step_looks_at_the_token():
    # A matrix so large that 50 steps take minutes must not have to be waited for.
    class Impatient(Progress):
        checks = 0

        def check(self):
            self.checks += 1
            if self.checks == 4:
                raise Cancelled("enough")

    progress = Impatient()
    system, _ = prepared_system(MESHES["duct"]())
    with pytest.raises(Cancelled, match="enough"):
        run(system.matrix, system.rhs, progress)
    assert progress.checks == 4


def test_the_core_s_solvers_are_public():
    # Third parties build on them.
    assert solvers.ConjugateGradients.name == "cg"
    assert solvers.Direct().name == "direct"

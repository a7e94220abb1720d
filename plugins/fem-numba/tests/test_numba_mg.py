"""fem-numba's multigrid: the core's iterations and answers, the same bits on any number of threads."""

from functools import partial

import fem_core as fem
import numpy as np
import pytest
from fem_core import Cancelled, Problem, apply_bc, assemble_system, generate, open_backend
from fem_core.plugins import Progress, SolverOptions
from fem_core.solvers import Multigrid
from fem_core.solvers.multigrid import Kernels, build_hierarchy, coarse, hierarchy
from fem_core.testing import strategies
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, renumbered
from scipy import sparse

pytest.importorskip("numba", reason="numba is not installed")
pytest.importorskip("fem_numba", reason="fem-numba is not installed")
from fem_numba import jit, setup
from fem_numba.cycle import Cycle
from fem_numba.lanczos import lanczos
from fem_numba.mg import multigrid
from fem_numba.threads import parallel

amg = pytest.mark.skipif(not coarse.amg_available(), reason="pyamg is not installed")
MESHES = {
    "duct": partial(generate.duct, length=3, nx=60, ny=20),
    "stretched": partial(generate.duct, length=3, nx=10, ny=60),
    "ring": partial(generate.annulus, angle=2 * np.pi, nr=2, na=80, inner=1, outer=3, flow="radial"),
    "distorted, orphans": lambda: renumbered(distorted(40, 36), orphans=99)[0],
    "y-tube": lambda: renumbered(generate.y_tube(nodes=12_000))[0],
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    jit.compile_all()


def conditioned(mesh, **given):
    problem = Problem.potential_flow(mesh, **given)
    return apply_bc(assemble_system(mesh, problem), mesh, problem)


def run(solver, system, mesh, progress=None, **options):
    options = SolverOptions(**options)
    return solver.prepare(system, mesh, None, options).solve(system.rhs, options, progress or Progress())


def agree(found, expected, rtol):
    assert abs(found.iterations - expected.iterations) <= 1
    assert found.stop_reason == expected.stop_reason
    scale = np.abs(expected.u).max()
    np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=1e3 * rtol * scale)


@amg
@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("rtol", [1e-3, 1e-11])
def test_it_iterates_as_the_core_s(name, dirichlet, rtol, monkeypatch):
    # With algebraic multigrid below, lines and none, in single precision to full accuracy.
    monkeypatch.setattr(hierarchy, "DIRECT", 100)
    mesh = MESHES[name]()
    system = conditioned(mesh, dirichlet=dirichlet)
    agree(run(multigrid(2), system, mesh, rtol=rtol), run(Multigrid(), system, mesh, rtol=rtol), rtol)


@settings(max_examples=25, deadline=None)
@given(case=strategies.cases(), seed=st.integers(0, 9))
def test_it_iterates_as_the_core_s_on_any_problem(case, seed):
    # Curved, graded and renumbered meshes with orphans, any condition; a load of every frequency.
    system = apply_bc(assemble_system(case.mesh, case.problem), case.mesh, case.problem)
    system.rhs[:] = np.random.default_rng(seed).standard_normal(system.n_nodes) * np.sqrt(system.matrix.diagonal())
    system.rhs[system.fixed] = 0
    found, expected = (run(solver, system, case.mesh) for solver in (multigrid(1), Multigrid()))
    assert abs(found.iterations - expected.iterations) <= 1
    assert found.stop_reason == expected.stop_reason


def agree_but_for_zeros(found, expected, atol=0.0):
    for M in (found, expected):
        M.eliminate_zeros()
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, rtol=0, atol=atol)


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("name", MESHES)
def test_the_set_up_is_the_core_s(name, dirichlet):
    # Bit for bit, as the coarsening of near ties depends on it.
    mesh, core, ours = MESHES[name](), Kernels(), setup.kernels(2)
    system = conditioned(mesh, dirichlet=dirichlet)
    K, free = system.matrix, np.ones(mesh.n_nodes, dtype=bool)
    free[system.fixed] = False
    (P, number), (P2, number2) = (kernels.to_corners(mesh, free) for kernels in (core, ours))
    agree_but_for_zeros(P2, P)
    np.testing.assert_array_equal(number2, number)
    M, M2 = (k.m_matrix(k.galerkin(K, P), number[mesh.quad8[:, :4]]) for k in (core, ours))
    agree_but_for_zeros(ours.galerkin(K, P), core.galerkin(K, P))
    agree_but_for_zeros(M2, M)
    A, _ = hierarchy._unit_diagonal(K, free)
    A2, _ = hierarchy._unit_diagonal(K, free, ours)
    np.testing.assert_array_equal(A2.data, A.data)
    lines, lines2 = (hierarchy.strong_lines(A, mesh.quad8, k.strong_links) for k in (core, ours))
    bound, bound2 = (hierarchy.largest_eigenvalue(A, lines, k.lanczos) for k in (core, ours))
    assert bound2 == pytest.approx(bound, rel=1e-5)
    assert (lines is None) == (lines2 is None)
    if lines:
        np.testing.assert_array_equal(lines2.nodes, lines.nodes)
        np.testing.assert_array_equal(lines2.l, lines.l)


def test_the_estimate_has_the_same_bits_on_any_number_of_threads():
    # On more pieces of rows than threads, which a sum divided among threads would take in another order.
    mesh = generate.duct(nodes=40_000)
    system = conditioned(mesh, dirichlet="eliminate")
    A, _ = hierarchy._unit_diagonal(system.matrix)
    first, *others = (lanczos(n, A, None, 8) for n in range(1, min(8, jit.most_threads()) + 1))
    assert all(other == first for other in others)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 999), n=st.integers(1, 60), m=st.integers(1, 60), threads=st.integers(1, 2))
def test_products_have_room_for_rows_of_any_length(seed, n, m, threads):
    # PᵀAP of sparse A and dense P: far more entries in a row than A has.
    rng = np.random.default_rng(seed)
    A = sparse.csr_array(np.where(rng.random((n, n)) < 0.05, rng.standard_normal((n, n)), np.eye(n)))
    P = sparse.csr_array(rng.standard_normal((n, m)))
    A.sort_indices()
    agree_but_for_zeros(setup.galerkin(threads, A, P), coarse.galerkin(A, P), 1e-9)


@amg
@pytest.mark.parametrize("name", MESHES)
def test_the_cycle_is_the_core_s(name, monkeypatch):
    # To rounding, on any right-hand side.
    monkeypatch.setattr(hierarchy, "DIRECT", 100)
    mesh = MESHES[name]()
    system = conditioned(mesh)
    free = np.ones(mesh.n_nodes, dtype=bool)
    free[system.fixed] = False
    built = build_hierarchy(system.matrix, mesh, free)
    cycle = Cycle(built)
    b = np.random.default_rng(0).standard_normal(mesh.n_nodes).astype(np.float32)
    for _ in range(2):  # nothing is left over from the first
        cycle.b[:] = b
        with parallel(1):
            cycle.run()
        expected = built.cycle(b.copy())
        np.testing.assert_allclose(cycle.x, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@amg
@pytest.mark.parametrize("name", ["stretched", "y-tube"])
def test_the_same_bits_on_any_number_of_threads(name, monkeypatch):
    monkeypatch.setattr(hierarchy, "DIRECT", 100)
    mesh = MESHES[name]()
    system = conditioned(mesh)
    first, *others = [run(multigrid(n), system, mesh, monitor=3) for n in range(1, min(4, jit.most_threads()) + 1)]
    for other in others:
        assert other.u.tobytes() == first.u.tobytes()
        assert other.history == first.history


def test_history_has_the_true_residual():
    mesh = MESHES["y-tube"]()
    system = conditioned(mesh)
    found = run(multigrid(1), system, mesh, monitor=2)
    for iteration, residual in found.history[:2]:
        early = run(multigrid(1), system, mesh, maxiter=iteration)
        assert early.relative_residual == pytest.approx(residual, rel=1e-6)


def test_the_backend_s_own_is_used_and_kept():
    # One hierarchy for two loads, and the report of the core's.
    mesh = MESHES["y-tube"]()
    with open_backend("numba", threads=1) as session:
        solutions = [session.solve(mesh, Problem.potential_flow(mesh, gamma=g), solver="mg") for g in (1.0, 2.5)]
        prepared = session.backends[0][1]._prepared._kept[1]
        session.forget()  # without it `fem tune` would time no set-up
        assert session.backends[0][1]._prepared._kept is None
    assert isinstance(prepared.start.args[1], Cycle)
    np.testing.assert_allclose(solutions[1].u, 2.5 * solutions[0].u, rtol=0, atol=1e-6 * solutions[1].u.max())
    for solution in solutions:
        assert solution.report.solver["method"] == "mg"
        assert solution.report.providers["solve_system"] == "numba"


def test_it_can_be_cancelled():
    mesh = MESHES["y-tube"]()
    token = fem.CancelToken()

    def listen(event):
        if event.name == "fem:solveProgress":
            token.cancel()

    with pytest.raises(Cancelled):
        fem.solve(mesh, backend="numba", solver="mg", on_event=listen, cancel=token)

"""fem-numba's conjugate gradients: the reference's iterations and answers, the same bits on any number of threads."""

from dataclasses import replace

import fem_core as fem
import numpy as np
import pytest
from fem_core import (
    Boundary,
    Cancelled,
    CancelToken,
    Mesh,
    OptionError,
    Problem,
    SolveError,
    StopReason,
    apply_bc,
    assemble_system,
    generate,
)
from fem_core.assembly.system import LinearSystem, csr
from fem_core.plugins import Progress, SolverOptions
from fem_core.solvers import ConjugateGradients as Reference
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted

pytest.importorskip("numba", reason="numba is not installed")
pytest.importorskip("fem_numba", reason="fem-numba is not installed")
from fem_core.testing import strategies
from fem_numba import jit
from fem_numba.backend import Numba
from fem_numba.renumber import CHUNK, Layout


@pytest.fixture(scope="module", autouse=True)
def compiled():
    jit.compile_all()


def conditioned(mesh: Mesh, **given) -> tuple[LinearSystem, Problem]:
    problem = Problem.potential_flow(mesh, **given)
    return apply_bc(assemble_system(mesh, problem), mesh, problem), problem


def run(system, mesh, problem=None, threads=1, progress=None, **options):
    options = SolverOptions(**options)
    return Numba(threads).fem_solve(system, mesh, problem, options, progress or Progress())


def reference(system, mesh, problem=None, **options):
    options = SolverOptions(**options)
    found = Reference().prepare(system, mesh, problem, options).solve(system.rhs, options, Progress())
    return replace(found, u=system.lift + found.u)


def with_matrix(system: LinearSystem, values) -> LinearSystem:
    K = system.matrix
    return replace(system, matrix=csr(K.indptr, K.indices, values))


def renumbered(mesh: Mesh, new: np.ndarray, elements: np.ndarray | slice = slice(None)) -> Mesh:
    """The mesh with node i called new[i], and its elements in another order."""
    x, y = np.zeros(new.max() + 1), np.zeros(new.max() + 1)
    x[new], y[new] = mesh.x, mesh.y
    boundaries = {name: Boundary(new[b.edges], new[b.nodes]) for name, b in mesh.boundaries.items()}
    return Mesh(x, y, new[mesh.quad8][elements], boundaries)


def with_orphans(mesh: Mesh) -> Mesh:
    """Every third number belongs to no element."""
    return renumbered(mesh, np.arange(mesh.n_nodes) * 3 // 2)


def shuffled(mesh: Mesh, seed: int = 0) -> tuple[Mesh, np.ndarray]:
    """The mesh with nodes and elements in any order, and the new number of each node."""
    random = np.random.default_rng(seed)
    new = random.permutation(mesh.n_nodes)
    return renumbered(mesh, new, random.permutation(mesh.n_elements)), new


MESHES = {
    "one": lambda: generate.duct(nx=1, ny=1),
    "duct": lambda: generate.duct(length=3, nx=30, ny=10),
    "annulus": lambda: generate.annulus(nr=8, na=12),
    "distorted": lambda: distorted(12, 9, seed=4, width=2.0),
    "orphans": lambda: with_orphans(distorted(12, 9, seed=4, width=2.0)),
    "several chunks": lambda: generate.y_tube(nodes=12_000),
    "shuffled": lambda: shuffled(generate.y_tube(nodes=12_000))[0],
}


# ── the reference's iterations and answers ───────────────────────────────────────────────────


def agree(found, expected, rtol):
    assert abs(found.iterations - expected.iterations) <= max(1, 0.005 * expected.iterations)
    assert found.stop_reason == expected.stop_reason
    np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=10 * rtol * np.abs(expected.u).max())


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("name", MESHES)
@pytest.mark.parametrize("rtol", [1e-3, 1e-8])
def test_it_is_the_reference(name, dirichlet, rtol):
    mesh = MESHES[name]()
    system, problem = conditioned(mesh, dirichlet=dirichlet)
    agree(run(system, mesh, problem, rtol=rtol), reference(system, mesh, problem, rtol=rtol), rtol)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_it_is_the_reference_on_any_problem(data):
    # Curved, graded, renumbered meshes with orphans; coefficients, sources, lifted values of both treatments.
    mesh = data.draw(strategies.meshes())
    problem = data.draw(strategies.problems(mesh))
    system = apply_bc(assemble_system(mesh, problem), mesh, problem)
    found, expected = run(system, mesh, problem), reference(system, mesh, problem)
    assert abs(found.iterations - expected.iterations) <= max(1, 0.005 * expected.iterations)
    assert found.converged == expected.converged
    scale = np.abs(expected.u).max()
    if expected.converged and scale:
        np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=1e-5 * scale)


def test_another_numbering_gives_the_same_answer():
    # Renumbering inside is invisible: results are in the mesh's numbering, whatever that is.
    mesh = MESHES["several chunks"]()
    other, new = shuffled(mesh, 3)
    (one, _), (two, _) = conditioned(mesh), conditioned(other)
    first, second = run(one, mesh), run(two, other)
    assert abs(first.iterations - second.iterations) <= 1
    np.testing.assert_allclose(second.u[new], first.u, rtol=0, atol=1e-7 * np.abs(first.u).max())


@pytest.mark.parametrize("name", ["orphans", "several chunks"])
def test_the_same_bits_on_any_number_of_threads(name):
    # Sums are taken chunk by chunk, and chunks don't depend on threads.
    mesh = MESHES[name]()
    system, problem = conditioned(mesh)
    threads = range(1, min(4, jit.most_threads()) + 1)
    first, *others = [run(system, mesh, problem, threads=n) for n in threads]
    for other in others:
        assert first.u.tobytes() == other.u.tobytes()
        assert first.history == other.history
    assert run(system, mesh, problem).u.tobytes() == first.u.tobytes()  # nor from run to run


def test_chunks_hold_every_node_and_coupling_once():
    # What the product rests on: 1 + Σ A_e is the matrix.
    mesh = with_orphans(MESHES["several chunks"]())
    system, _ = conditioned(mesh)
    K = system.matrix
    layout = Layout.of(mesh, K.indptr, K.indices)
    assert len(layout.own) == -(-mesh.n_elements // CHUNK) > 1
    assert layout.complete
    used = mesh.used_nodes
    assert np.array_equal(layout.used, used)
    assert len(np.unique(layout.home[used])) == len(used)
    kept = layout.entries[layout.entries >= 0]
    assert len(np.unique(kept)) == len(kept) == (K.nnz - K.shape[0]) // 2
    halo = layout.size - layout.own.sum()
    assert len(layout.seam_to) == halo < 0.2 * len(used)
    values = np.random.default_rng(0).normal(size=mesh.n_nodes)
    values[mesh.orphan_nodes] = 0
    assert np.array_equal(layout.gather(layout.scatter(values)), values)


def test_the_residuals_at_the_end_are_those_of_the_matrix_as_given():
    # Computed from u and K alone: neither the layout nor the recurrence is to be believed.
    mesh = MESHES["shuffled"]()
    system, problem = conditioned(mesh)
    found = run(system, mesh, problem)
    d = 1 / np.sqrt(system.matrix.diagonal())
    ρ = system.rhs - system.matrix @ found.u
    assert found.relative_residual == pytest.approx(np.linalg.norm(d * ρ) / np.linalg.norm(d * system.rhs), rel=1e-6)
    ρ[system.fixed] = 0
    assert found.true_relative_residual == pytest.approx(np.linalg.norm(ρ) / np.linalg.norm(system.rhs), rel=1e-6)


# ── reasons to stop ──────────────────────────────────────────────────────────────────────────


def test_nothing_to_solve():
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh, gamma=0.0)
    found = run(system, mesh, problem)
    assert (found.iterations, found.converged, found.relative_residual, found.history) == (0, True, 0.0, ())
    assert not found.u.any()


@pytest.mark.parametrize("maxiter", [0, 1, 7])
def test_maxiter(maxiter):
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    found, expected = (solver(system, mesh, problem, maxiter=maxiter) for solver in (run, reference))
    assert (found.iterations, found.stop_reason) == (maxiter, StopReason.MAXITER)
    np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=1e-12 * max(1.0, np.abs(expected.u).max()))


def test_maxiter_is_not_exceeded_when_it_is_just_enough():
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    enough = run(system, mesh, problem).iterations
    assert run(system, mesh, problem, maxiter=enough).converged
    assert not run(system, mesh, problem, maxiter=enough - 1).converged


def test_an_indefinite_matrix():
    # Couplings so strong that p·Ap < 0 on the way; what the steps before found is kept.
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh, dirichlet="eliminate")
    K = system.matrix
    values = 3 * K.data
    rows = np.repeat(np.arange(K.shape[0]), np.diff(K.indptr))
    values[rows == K.indices] /= 3
    found, expected = (solver(with_matrix(system, values), mesh, problem) for solver in (run, reference))
    assert found.stop_reason == expected.stop_reason == StopReason.INDEFINITE
    assert found.iterations == expected.iterations
    np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=1e-9 * np.abs(expected.u).max())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_right_hand_side_that_is_not_finite(bad):
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    rhs = system.rhs.copy()
    rhs[mesh.quad8[0, 0]] = bad
    found = run(replace(system, rhs=rhs), mesh, problem)
    assert (found.stop_reason, found.iterations, found.converged) == (StopReason.NOT_FINITE, 0, False)
    assert not found.u.any()


def test_a_residual_that_becomes_infinite_gives_back_the_last_finite_fields():
    # A coupling that overflows: no NaN in the result.
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    values = system.matrix.data.copy()
    row = mesh.quad8[0, 0]
    at = system.matrix.indptr[row] + np.flatnonzero(
        system.matrix.indices[system.matrix.indptr[row] : system.matrix.indptr[row + 1]] != row
    )
    values[at] = -1e308
    found = run(with_matrix(system, values), mesh, problem)
    assert not found.converged
    assert np.isfinite(found.u).all()


def test_stagnation():
    mesh = MESHES["several chunks"]()
    system, problem = conditioned(mesh)
    found = run(system, mesh, problem, rtol=1e-17)
    assert (found.stop_reason, found.converged) == (StopReason.STAGNATION, False)
    assert 2e-17 < found.relative_residual < 1e-11


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_a_diagonal_that_is_not_positive_is_refused(bad):
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    K = system.matrix
    values = K.data.copy()
    values[np.flatnonzero((K.indices == 1) & (np.repeat(np.arange(K.shape[0]), np.diff(K.indptr)) == 1))] = bad
    with pytest.raises(SolveError, match=r"must be positive; it is not positive at node 1$"):
        run(with_matrix(system, values), mesh, problem)


def test_a_system_without_conditions_and_unknown_options_are_refused():
    mesh = MESHES["duct"]()
    with pytest.raises(SolveError, match="call apply_bc first"):
        run(assemble_system(mesh, Problem()), mesh)
    with pytest.raises(OptionError, match="no options of its own"):
        run(*reversed((mesh, conditioned(mesh)[0])), extra={"degree": 3})


def test_couplings_that_no_element_has_go_to_the_core():
    # A matrix that isn't assembled from this mesh is solved too, and the report says by whom.
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    K = system.matrix.tolil()
    far = mesh.used_nodes[[0, -1]]
    K[far[0], far[1]] = K[far[1], far[0]] = -1e-3
    K = K.tocsr()
    K.sort_indices()
    other = replace(system, matrix=csr(K.indptr.astype(np.int32), K.indices.astype(np.int32), K.data))
    remarks = []
    found = run(other, mesh, problem, progress=Progress(remark=lambda text, warning=False: remarks.append(text)))
    assert found.u.tobytes() == reference(other, mesh, problem).u.tobytes()
    assert len(remarks) == 1


def test_a_load_on_orphans_goes_to_the_core():
    # They have no place in the chunks; apply_bc never leaves a load there.
    mesh = MESHES["orphans"]()
    system, problem = conditioned(mesh, dirichlet="eliminate")
    rhs = system.rhs.copy()
    rhs[mesh.orphan_nodes[0]] = 2.0
    found = run(replace(system, rhs=rhs), mesh, problem)
    assert found.u[mesh.orphan_nodes[0]] == pytest.approx(2.0)


# ── the monitor, and stopping ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("monitor", [1, 20, 50])
def test_history_has_the_true_residual_at_every_interval_and_at_the_end(monitor):
    mesh = MESHES["several chunks"]()
    system, problem = conditioned(mesh)
    events = []
    progress = Progress(lambda hook, final, **payload: events.append(payload))
    found = run(system, mesh, problem, monitor=monitor, progress=progress)
    assert [*range(monitor, found.iterations, monitor), found.iterations] == [i for i, _ in found.history]
    assert list(found.history[:-1]) == [(payload["iteration"], payload["residual"]) for payload in events]
    assert events[-1]["etr"] >= 0
    for i, residual in found.history[:3]:
        early = run(system, mesh, problem, maxiter=i)
        assert early.relative_residual == pytest.approx(residual, rel=1e-9)


def test_the_monitor_and_the_length_of_calls_do_not_change_the_result(monkeypatch):
    # Looking is not a restart, and neither is going back to Python.
    mesh = MESHES["several chunks"]()
    system, problem = conditioned(mesh)
    seldom = run(system, mesh, problem, monitor=10_000)
    assert run(system, mesh, problem, monitor=1).u.tobytes() == seldom.u.tobytes()
    monkeypatch.setattr("fem_numba.cg._UPDATES", 1)
    assert run(system, mesh, problem, monitor=10_000).u.tobytes() == seldom.u.tobytes()


def test_a_token_stops_it_between_calls():
    token, seen = CancelToken(), []

    def listen(event):
        if event.name == "fem:solveProgress":
            seen.append(event)
            token.cancel()

    with pytest.raises(Cancelled, match="the run was cancelled"):
        fem.solve(MESHES["several chunks"](), backend="numba", solver="cg", on_event=listen, cancel=token, monitor=10)
    assert len(seen) == 1


# ── what is kept ─────────────────────────────────────────────────────────────────────────────


def test_what_is_kept_follows_the_matrix_even_changed_in_place():
    mesh = MESHES["duct"]()
    system, problem = conditioned(mesh)
    backend = Numba(threads=1)

    def solved(system):
        return backend.fem_solve(system, mesh, problem, SolverOptions(), Progress())

    first = solved(system)
    layout, prepared = backend._cg._layout._kept, backend._prepared._kept
    again = solved(replace(system, rhs=2 * system.rhs))
    assert backend._prepared._kept is prepared
    np.testing.assert_allclose(again.u, 2 * first.u, rtol=1e-12)
    system.matrix.data[:] *= 4  # and its scale is halved, exactly
    np.testing.assert_allclose(solved(system).u, first.u / 4, rtol=1e-12)
    assert backend._prepared._kept is not prepared
    assert backend._cg._layout._kept is layout
    backend.forget()
    assert backend._cg._layout._kept is backend._prepared._kept is None

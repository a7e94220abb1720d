"""Boundary conditions in the linear system: lifting, penalty, elimination, Robin terms."""

from dataclasses import replace

import numpy as np
import pytest
from fem_core import (
    Dirichlet,
    Problem,
    Robin,
    apply_bc,
    assemble_system,
    compute_sparsity,
    solve,
    solve_system,
    with_boundaries,
)
from fem_core.assembly.system import PENALTY
from fem_core.solvers import Equilibrated
from hypothesis import given, settings
from meshes import distorted, renumbered, small_meshes

BOTH = pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])


def everything(dirichlet: str) -> Problem:
    """A problem with every kind of condition and coefficient, none of them constant."""
    conditions = (
        Robin("inlet", lambda x, y: 1 + y, lambda x, y: 2 + y**2),
        Robin("walls", 0.5, 0.25),
        Dirichlet("outlet", lambda x, y: 3 + np.sin(y)),
    )
    return Problem(conditions, 2.0, lambda x, y: x - y, dirichlet)


def systems(mesh, problem):
    bare = assemble_system(mesh, problem)
    return bare, apply_bc(bare, mesh, problem)


@settings(max_examples=30)
@given(small_meshes())
def test_penalty_and_elimination_give_the_same_potential(mesh):
    # Two treatments of the same lifted system.
    u = [solve(mesh, everything(d), backend="numpy", solver="direct").u for d in ("penalty", "eliminate")]
    np.testing.assert_allclose(u[0], u[1], rtol=1e-9, atol=1e-9)


@BOTH
def test_solution_takes_the_fixed_values_exactly(dirichlet):
    # u = ĝ + w with w = 0 there (1e-12 with the penalty).
    mesh, _, _ = renumbered(distorted(4, 3, seed=1), orphans=5)
    u = solve(mesh, everything(dirichlet), backend="numpy").u
    nodes = mesh.boundaries["outlet"].nodes
    atol = 1e-10 if dirichlet == "penalty" else 0
    np.testing.assert_allclose(u[nodes], 3 + np.sin(mesh.y[nodes]), rtol=0, atol=atol)
    np.testing.assert_allclose(u[mesh.orphan_nodes], 0, atol=atol)


@BOTH
@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_a_higher_level_shifts_the_potential(dirichlet, solver):
    # Published failure: with the penalty on the values themselves, u = 100 stops CG early, error 1.5.
    mesh = distorted(12, 4, seed=2, width=3.0)
    low = solve(mesh, Problem.potential_flow(mesh, dirichlet=dirichlet), backend="numpy", solver=solver)
    problem = Problem.potential_flow(mesh, outlet=100.0, dirichlet=dirichlet)
    high = solve(mesh, problem, backend="numpy", solver=solver)
    assert high.report.converged
    # The penalty lets fixed nodes give by about 1e-12 k·100.
    np.testing.assert_allclose(high.u - 100, low.u, rtol=0, atol=1e-9 if solver == "direct" else 1e-6)
    np.testing.assert_allclose(high.velocity, low.velocity, rtol=0, atol=1e-8 if solver == "direct" else 1e-5)


def test_a_penalty_on_the_values_would_fail_that_test():
    # The unlifted system with the same solver and tolerance: it stops at once, far off. So lifting is what helps.
    mesh = distorted(12, 4, seed=2, width=3.0)
    problem = Problem.potential_flow(mesh, outlet=100.0)
    lifted = apply_bc(assemble_system(mesh), mesh, problem)
    bare = apply_bc(assemble_system(mesh), mesh, Problem.potential_flow(mesh))
    values = PENALTY * 100.0 * np.isin(np.arange(mesh.n_nodes), bare.fixed)
    unlifted = replace(bare, rhs=bare.rhs + values)
    right = solve_system(lifted, mesh, problem, solver="cg").u
    wrong = solve_system(unlifted, mesh, problem, solver="cg").u
    assert np.abs(wrong - right).max() > 1


@BOTH
def test_right_hand_side_is_lifted_and_zero_at_fixed_nodes(dirichlet):
    # f + ∫γv - K ĝ elsewhere, with the K that has its Robin terms.
    mesh, _, _ = renumbered(distorted(3, 3), orphans=2)
    problem = everything(dirichlet)
    _, system = systems(mesh, problem)
    natural = apply_bc(assemble_system(mesh, problem), mesh, replace(problem, conditions=problem.robin))
    free = np.setdiff1d(mesh.used_nodes, system.fixed)
    expected = natural.rhs - natural.matrix @ system.lift
    np.testing.assert_allclose(system.rhs[free], expected[free], rtol=1e-13, atol=1e-14)
    assert np.all(system.rhs[system.fixed] == 0)
    assert np.array_equal(np.union1d(mesh.boundaries["outlet"].nodes, mesh.orphan_nodes), system.fixed)
    outlet = np.isin(np.arange(mesh.n_nodes), mesh.boundaries["outlet"].nodes)
    assert np.array_equal(np.where(outlet, 3 + np.sin(mesh.y), 0), system.lift)


@BOTH
def test_pattern_is_kept(dirichlet):
    # Symbolic and numeric stay separate: backends and solvers keep what they derived from the pattern.
    mesh, _, _ = renumbered(distorted(3, 4), orphans=3)
    sparsity = compute_sparsity(mesh)
    bare, system = systems(mesh, everything(dirichlet))
    for K in (bare.matrix, system.matrix):
        assert np.array_equal(sparsity.indptr, K.indptr)
        assert np.array_equal(sparsity.indices, K.indices)


@BOTH
def test_matrix_stays_symmetric_and_is_positive_definite(dirichlet):
    # What CG needs; orphans included.
    mesh, _, _ = renumbered(distorted(3, 4), orphans=3)
    _, system = systems(mesh, everything(dirichlet))
    A = Equilibrated.of(system).A.toarray()
    np.testing.assert_allclose(A, A.T, rtol=0, atol=1e-15)
    assert np.linalg.eigvalsh(A).min() > 1e-3


def test_penalty_is_added_to_the_diagonal_alone():
    # The reference treatment: 1e12, nothing else touched.
    mesh, _, _ = renumbered(distorted(3, 3), orphans=2)
    problem = Problem.potential_flow(mesh)
    bare, system = systems(mesh, problem)
    expected = bare.matrix.toarray()
    expected[system.fixed, system.fixed] += 1e12
    assert np.array_equal(expected, system.matrix.toarray())


def test_elimination_leaves_ones_on_an_empty_cross():
    # Rows and columns zero, the diagonal 1, the rest untouched.
    mesh, _, _ = renumbered(distorted(3, 3), orphans=2)
    problem = Problem.potential_flow(mesh, dirichlet="eliminate")
    bare, system = systems(mesh, problem)
    expected = bare.matrix.toarray()
    expected[system.fixed] = 0
    expected[:, system.fixed] = 0
    expected[system.fixed, system.fixed] = 1
    assert np.array_equal(expected, system.matrix.toarray())


def test_the_given_system_is_left_alone():
    # Assembled once, solved with several conditions.
    mesh = distorted(3, 3)
    bare = assemble_system(mesh)
    values, rhs = bare.matrix.data.copy(), bare.rhs.copy()
    first = apply_bc(bare, mesh, everything("eliminate"))
    apply_bc(bare, mesh, everything("penalty"))
    assert np.array_equal(values, bare.matrix.data)
    assert np.array_equal(rhs, bare.rhs)
    assert (len(bare.fixed), bare.lift) == (0, None)
    assert np.array_equal(first.matrix.data, apply_bc(bare, mesh, everything("eliminate")).matrix.data)


@BOTH
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_system_that_nobody_wants_as_it_is_is_overwritten(backend, dirichlet):
    # Which saves a run as much memory as its matrix has, unless the values can't be written to.
    if backend == "numba":
        pytest.importorskip("fem_numba")
    mesh = distorted(3, 3)
    bare = assemble_system(mesh)
    expected = apply_bc(bare, mesh, everything(dirichlet), backend=backend).matrix.data
    bare.matrix.data.flags.writeable = False
    kept = apply_bc(replace(bare, disposable=True), mesh, everything(dirichlet), backend=backend).matrix.data
    assert not np.shares_memory(kept, bare.matrix.data)
    bare.matrix.data.flags.writeable = True
    taken = apply_bc(replace(bare, disposable=True), mesh, everything(dirichlet), backend=backend).matrix.data
    assert np.shares_memory(taken, bare.matrix.data)
    assert np.array_equal(expected, kept)
    assert np.array_equal(expected, taken)


def test_robin_terms_add_up_to_the_integrals():
    # On u = 1: Σ K = ∫p ds and Σ f = ∫γ ds, over all Robin boundaries; two on one boundary add.
    mesh = distorted(4, 3, seed=3, width=2.0)
    conditions = (
        Robin("inlet", lambda x, y: y, lambda x, y: y**2),
        Robin("walls", 3.0, 0.5),
        Robin("walls", 1.0, 0.25),
    )
    bare, system = systems(with_boundaries(mesh), Problem(conditions))
    assert system.matrix.sum() - bare.matrix.sum() == pytest.approx(1 / 3 + 2 * 2 * 0.75, rel=1e-12)
    assert system.rhs.sum() == pytest.approx(1 / 2 + 2 * 2 * 4, rel=1e-12)


def test_a_small_penalty_is_warned_about():
    # Beside a conductivity of a million the penalty of 1e12 no longer fixes to eight digits.
    mesh = distorted(3, 3)
    stiff = solve(mesh, Problem.potential_flow(mesh, conductivity=1e6), backend="numpy")
    assert stiff.report.warnings == (
        "the penalty of 1e+12 is small compared with a conductivity of 1e+06: "
        'fixed values are only approximate; use --dirichlet eliminate (dirichlet="eliminate")',
    )
    eliminated = Problem.potential_flow(mesh, conductivity=1e6, dirichlet="eliminate")
    assert solve(mesh, eliminated, backend="numpy").report.warnings == ()


def test_orphans_are_counted_and_reported():
    # The reader of a report should know that a quarter of the nodes are not part of the flow.
    mesh, _, _ = renumbered(distorted(3, 3), orphans=7)
    report = solve(mesh, backend="numpy").report
    assert report.mesh["orphan_nodes"] == 7
    assert report.warnings == ("7 nodes belong to no element and are fixed at 0",)

"""The direct solver: agreement with CG, and one factorisation for as long as the matrix stays."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse.linalg
from fem_core import OptionError, Problem, SolveError, open_backend, solve
from fem_core.assembly.system import LinearSystem
from fem_core.generate import annulus, duct, y_tube
from fem_core.plugins import SolverOptions
from fem_core.solvers import Direct
from meshes import distorted, moved, renumbered
from scipy import sparse


@pytest.mark.parametrize("make", [duct, annulus, y_tube, lambda: renumbered(distorted(9, 8), orphans=9)[0]])
@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
def test_direct_agrees_with_cg(make, dirichlet):
    # Two independent methods, one solution, to CG's tolerance.
    mesh = make()
    problem = Problem.potential_flow(mesh, outlet=3.0, dirichlet=dirichlet)
    direct = solve(mesh, problem, backend="numpy", solver="direct")
    cg = solve(mesh, problem, backend="numpy", solver="cg", rtol=1e-11)
    np.testing.assert_allclose(cg.u, direct.u, rtol=0, atol=1e-8 * np.abs(direct.u).max())
    assert direct.report.solver["method"] == "direct"
    assert (direct.report.iterations, direct.report.converged, direct.report.history) == (0, True, ())
    assert direct.report.solver["relative_residual"] < 1e-12


@pytest.fixture
def factorisations(monkeypatch):
    """Counts calls of SuperLU, by the size of the matrix."""
    sizes, splu = [], scipy.sparse.linalg.splu

    def counting(A, **options):
        sizes.append(A.shape[0])
        return splu(A, **options)

    monkeypatch.setattr(scipy.sparse.linalg, "splu", counting)
    return sizes


def test_one_factorisation_serves_many_right_hand_sides(factorisations):
    # A session keeps the prepared solver: another flux, source or fixed value doesn't change the matrix.
    mesh = duct(length=3, nx=9, ny=3)
    with open_backend("numpy") as session:
        for gamma in (1.0, 2.5):
            solution = session.solve(mesh, Problem.potential_flow(mesh, gamma=gamma), solver="direct")
            np.testing.assert_allclose(solution.u, gamma * (3 - mesh.x), rtol=0, atol=1e-12)
        for more in ({"source": 1.0}, {"outlet": 9.0}):
            expected = solve(mesh, Problem.potential_flow(mesh, **more), backend="numpy", solver="cg", rtol=1e-12).u
            u = session.solve(mesh, Problem.potential_flow(mesh, **more), solver="direct").u
            np.testing.assert_allclose(u, expected, rtol=0, atol=1e-9)
    assert len(factorisations) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda mesh: (mesh, {"conductivity": 2.0}),
        lambda mesh: (mesh, {"p": 1.0}),
        lambda mesh: (mesh, {"dirichlet": "eliminate"}),
        lambda mesh: (replace(mesh, y=2 * mesh.y), {}),
        lambda mesh: (replace(mesh, x=np.append(mesh.x, 0), y=np.append(mesh.y, -1)), {}),
    ],
    ids=["conductivity", "p", "treatment", "geometry", "orphan"],
)
def test_a_changed_matrix_is_factorised_again(factorisations, change):
    # A stale factorisation would give the old problem's solution: compared with a fresh session.
    mesh = duct(length=3, nx=9, ny=3)
    with open_backend("numpy") as session:
        session.solve(mesh, solver="direct")
        other, given = change(mesh)
        problem = Problem.potential_flow(other, **given)
        u = session.solve(other, problem, solver="direct").u
        assert len(factorisations) == 2
        assert np.array_equal(solve(other, problem, backend="numpy", solver="direct").u, u)


def test_a_congruent_matrix_need_not_be_factorised_again(factorisations):
    # Shifted by a power of two, bit by bit the same matrix: what is kept goes by the values, not the object.
    mesh = distorted(4, 4)
    with open_backend("numpy") as session:
        first = session.solve(mesh, solver="direct").u
        second = session.solve(moved(mesh, scale=4.0), solver="direct").u
    np.testing.assert_allclose(second, 4 * first, rtol=1e-12)
    assert len(factorisations) == 1


def test_a_closed_session_has_forgotten(factorisations):
    # Factors are large; nothing is kept past `close`.
    mesh = duct(nx=9, ny=3)
    for _ in range(2):
        with open_backend("numpy") as session:
            session.solve(mesh, solver="direct")
    assert len(factorisations) == 2


def test_switching_methods_prepares_anew(factorisations):
    # cg's preparation must not be taken for direct's.
    mesh = duct(nx=9, ny=3)
    with open_backend("numpy") as session:
        methods = [session.solve(mesh, solver=s).report.solver["method"] for s in ("direct", "cg", "direct")]
    assert methods == ["direct", "cg", "direct"]


def test_superlu_is_set_up_for_symmetric_matrices(monkeypatch):
    # Its default ordering is several times slower on these meshes.
    seen = {}
    splu = scipy.sparse.linalg.splu

    def spy(A, **options):
        seen.update(options)
        return splu(A, **options)

    monkeypatch.setattr(scipy.sparse.linalg, "splu", spy)
    solve(duct(nx=3, ny=2), backend="numpy", solver="direct")
    assert (seen["permc_spec"], seen["options"]) == ("MMD_AT_PLUS_A", {"SymmetricMode": True})


def test_a_singular_matrix_is_a_solve_error():
    # SuperLU's RuntimeError in our words, with a way out.
    system = LinearSystem(sparse.csr_array([[1.0, -1], [-1, 1]]), np.ones(2))
    with pytest.raises(SolveError, match=r"^direct \(SuperLU\) failed \(.*singular\); try --solver cg$"):
        Direct().prepare(system, None, None, SolverOptions())


def test_an_unknown_solver_is_answered_with_the_known_ones():
    # Before anything is computed.
    with pytest.raises(OptionError, match="there is no solver 'gmres'; solvers: cg, direct, mg"):
        solve(duct(nx=3, ny=2), backend="numpy", solver="gmres")

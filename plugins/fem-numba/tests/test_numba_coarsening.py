"""fem-numba's coarsening: pyamg's, level by level, and without pyamg."""

import sys
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from fem_core import Problem, apply_bc, assemble_system, generate, solve
from fem_core.solvers.multigrid import Kernels, coarse, hierarchy
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from meshes import distorted, renumbered
from scipy import sparse

pytest.importorskip("numba", reason="numba is not installed")
pytest.importorskip("fem_numba", reason="fem-numba is not installed")
from fem_numba import coarsening, jit
from fem_numba.galerkin import galerkin

amg = pytest.mark.skipif(not coarse.amg_available(), reason="pyamg is not installed")


def rectangle(ratio):
    ny = round((1000 * ratio) ** 0.5)
    return partial(generate.duct, length=3, nx=max(1, round(3 * ny / ratio)), ny=ny)


MESHES = {
    "duct": partial(generate.duct, nodes=9_000),
    "annulus": partial(generate.annulus, nodes=9_000),
    "ring": partial(generate.annulus, angle=2 * np.pi, nr=12, na=80, inner=1, outer=3, flow="radial"),
    "y-tube": partial(generate.y_tube, nodes=12_000),
    "renumbered": lambda: renumbered(generate.y_tube(nodes=12_000))[0],
    "distorted, orphans": lambda: renumbered(distorted(40, 36), orphans=99)[0],
    **{f"{ratio}:1": rectangle(ratio) for ratio in (6, 20, 100, 1 / 6)},
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    jit.compile_all()


def m_matrix(mesh, **given):
    problem = Problem.potential_flow(mesh, **given)
    system = apply_bc(assemble_system(mesh, problem), mesh, problem)
    free = np.ones(mesh.n_nodes, dtype=bool)
    free[system.fixed] = False
    core = Kernels()
    P, number = core.to_corners(mesh, free)
    return core.m_matrix(core.galerkin(system.matrix, P), number[mesh.quad8[:, :4]])


def agree(M):
    """Level by level, so that neither inherits the other's rounding; how many there are."""
    levels = list(coarse.coarsen(M, coarse.interpolation, coarse.galerkin))
    for P, below in levels:
        found = coarsening.interpolation(2, M)
        assert found.shape == P.shape
        np.testing.assert_array_equal(found.indptr, P.indptr)
        np.testing.assert_array_equal(found.indices, P.indices)
        np.testing.assert_allclose(found.data, P.data, rtol=0, atol=1e-13 * np.abs(P.data).max())
        M = below
    return len(levels)


@amg
@pytest.mark.parametrize("contrast", [0, 3])
@pytest.mark.parametrize("name", MESHES)
def test_every_level_is_pyamg_s(name, contrast, monkeypatch):
    # The same nodes are coarse, the same entries stored, their values equal to rounding; also at a contrast of 1e6.
    monkeypatch.setattr(coarse, "COARSEST", 10)
    mesh = MESHES[name]()
    k = 10 ** np.random.default_rng(0).uniform(-contrast, contrast, mesh.n_elements)
    assert agree(m_matrix(mesh, conductivity=k)) >= 3


@amg
def test_several_components_are_coarsened_as_by_pyamg():
    # Of different scale, and nodes between them that are coupled to none.
    parts = [m_matrix(MESHES["y-tube"]()), np.eye(3), 1e6 * m_matrix(MESHES["6:1"]())]
    assert agree(sparse.csr_array(sparse.block_diag(parts, format="csr"))) >= 3


@amg
@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10**6), n=st.integers(4, 80), density=st.floats(0.01, 0.3), positive=st.sampled_from([0, 0.3])
)
def test_every_matrix_is_coarsened_as_by_pyamg(seed, n, density, positive):
    # Couplings of any size and either sign, in one direction only too; nodes without any; ties.
    rng = np.random.default_rng(seed)
    B = rng.choice([0.1, 0.25, 0.5, 1.0, rng.random()], (n, n)) * np.where(rng.random((n, n)) < positive, 1, -1)
    B *= rng.random((n, n)) < density
    np.fill_diagonal(B, 0)
    if seed % 3:
        B += B.T
    assume(2 * np.count_nonzero(B, axis=0).max() < n)  # pyamg counts to n, which no mesh reaches
    M = sparse.csr_array(B + np.diag(np.abs(B).sum(axis=1) + 1e-3))
    with patch.object(coarse, "COARSEST", n - 1):  # once
        if not agree(M):
            assert coarsening.interpolation(1, M) is None


def _levels(threads, M):
    return coarse.coarsen(M, partial(coarsening.interpolation, threads), partial(galerkin, threads))


@pytest.mark.parametrize("name", ["20:1", "renumbered"])
def test_the_same_bits_on_any_number_of_threads(name):
    M = m_matrix(MESHES[name]())
    expected, *others = [
        [array.tobytes() for level in _levels(n, M) for array in _arrays(level)]
        for n in range(1, min(4, jit.most_threads()) + 1)
    ]
    for other in others:
        assert other == expected


def _arrays(level):
    return [array for matrix in level for array in (matrix.indptr, matrix.indices, matrix.data)]


def test_pyamg_is_not_asked_for(monkeypatch):
    # Nor missed: the same levels as with it, and no warning.
    monkeypatch.setattr(hierarchy, "DIRECT", 100)
    monkeypatch.setattr(hierarchy, "amg_available", lambda: False)
    monkeypatch.setitem(sys.modules, "pyamg", None)
    report = solve(generate.y_tube(nodes=12_000), backend="numba", solver="mg").report
    assert report.converged
    assert report.iterations <= 13
    assert report.warnings == ()
    assert any("→ 4,0" in note and note.count("→") >= 4 for note in report.notes), report.notes

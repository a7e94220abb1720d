"""The baseline and `numpy` against the oracle: the formulas in 50 digits, on elements where arithmetic is hard."""

import numpy as np
import oracle
import pytest
from fem_core import Dirichlet, Problem, Robin, open_backend
from fem_core.assembly.element import robin_edges
from fem_core.assembly.sparsity import compute_sparsity
from fem_core.assembly.system import csr
from fem_core.plugins.stages import APPLY_BC
from fem_core.testing import tolerance
from fem_core.testing.target import performed
from fem_core.tools.bench import assembled
from meshes import distorted
from odd_elements import KINDS, MOST, assert_close_to_the_oracle
from oracle import mp

# ── the oracle itself ────────────────────────────────────────────────────────────────────────


def test_shape_functions_are_1_at_their_node_and_0_at_the_others():
    for i, node in enumerate(oracle.NODES):
        assert oracle.shape(*map(mp.mpf, node)) == [i == j for j in range(8)]


def test_slopes_are_the_derivatives_of_the_shape_functions():
    # Central differences of a cubic are exact but for h², here 1e-30.
    ξ, η, h = mp.mpf("0.3"), mp.mpf("-0.7"), mp.mpf("1e-15")
    for at, step, found in (((ξ, η), (h, 0), 0), ((ξ, η), (0, h), 1)):
        after, before = (oracle.shape(at[0] + sign * step[0], at[1] + sign * step[1]) for sign in (1, -1))
        for a, b, slope in zip(after, before, oracle.slopes(ξ, η)[found], strict=True):
            assert abs((a - b) / (2 * h) - slope) < 1e-28
    after, before = oracle.edge_shape(ξ + h)[0], oracle.edge_shape(ξ - h)[0]
    for a, b, slope in zip(after, before, oracle.edge_shape(ξ)[1], strict=True):
        assert abs((a - b) / (2 * h) - slope) < 1e-28


@pytest.mark.parametrize("order", [2, 3])
def test_points_integrate_polynomials_exactly(order):
    for power in range(2 * order):
        integral = sum(w * t**power for t, w in oracle.GAUSS[order])
        assert abs(integral - (mp.mpf(2) / (power + 1) if power % 2 == 0 else 0)) < 1e-48


# ── element matrices, loads and fields ───────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=["baseline", "numpy"])
def session(request):
    with open_backend(request.param) as session:
        yield session


@pytest.mark.parametrize("kind", KINDS)
def test_elements_are_a_rounding_or_two_from_the_oracle(session, kind):
    # The kit compares two implementations, each with its own error: both together must stay far below C roundings.
    assert_close_to_the_oracle(session, kind)


def test_the_tolerance_is_several_times_what_two_right_implementations_differ_by():
    assert 4 * 2 * max(MOST.values()) <= tolerance.C


# ── edges ────────────────────────────────────────────────────────────────────────────────────


def test_edges_are_a_rounding_from_the_oracle():
    rng = np.random.default_rng(0)
    n = 300
    X = np.array([[-1.0, 0], [0, 0], [1, 0]]) + rng.uniform(-0.3, 0.3, (n, 3, 2))
    X *= 10 ** rng.uniform(-9, 9, (n, 1, 1))
    X[::3] += rng.normal(size=(n // 3, 1, 2)) * 10 ** rng.uniform(-3, 6, (n // 3, 1, 1))
    (x, y), (p, γ) = X.transpose(2, 0, 1), rng.normal(size=(2, n, 3))
    matrix, load = robin_edges(x, y, p, γ)
    wanted = list(map(oracle.robin, x, y, p, γ))
    length = tolerance.EPS * (np.abs(x) + np.abs(y)).sum(axis=1)
    of_matrix = oracle.errors(matrix, [m for m, _ in wanted]) / (length * np.abs(p).max(axis=1))[:, None, None]
    of_load = oracle.errors(load, [f for _, f in wanted]) / (length * np.abs(γ).sum(axis=1))[:, None]
    assert 0.01 < of_matrix.max() <= MOST["robin"]
    assert 0.01 < of_load.max() <= MOST["robin"]


# ── the system ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
def test_the_system_with_its_conditions_is_the_oracle_s(session, dirichlet):
    # Sums over elements, Robin terms on curved edges, lifted values and both treatments, from the mesh's arrays alone.
    mesh = distorted(3, 2, seed=3)
    rng = np.random.default_rng(0)
    k, s = 10 ** rng.uniform(-1, 1, mesh.n_elements), rng.normal(size=mesh.n_nodes)
    p, γ, held = rng.uniform(1, 2, mesh.n_nodes), rng.normal(size=mesh.n_nodes), 7.5
    problem = Problem((Robin("inlet", γ, p), Dirichlet("outlet", held)), k, s, dirichlet)
    before = assembled(session, mesh, problem)
    found = performed(session, APPLY_BC, mesh, problem=problem, system=before)

    n, pattern = mesh.n_nodes, compute_sparsity(mesh)
    K, f = mp.zeros(n), mp.zeros(n, 1)
    for e, nodes in enumerate(mesh.quad8.tolist()):
        x, y = mesh.x[nodes], mesh.y[nodes]
        Ke, fe = oracle.stiffness(x, y, k[e]), oracle.load(x, y, s[nodes])
        for i, row in enumerate(nodes):
            f[row] += fe[i]
            for j, column in enumerate(nodes):
                K[row, column] += Ke[i][j]
    for nodes in mesh.boundaries["inlet"].edges.tolist():
        matrix, load = oracle.robin(mesh.x[nodes], mesh.y[nodes], p[nodes], γ[nodes])
        for i, row in enumerate(nodes):
            f[row] += load[i]
            for j, column in enumerate(nodes):
                K[row, column] += matrix[i][j]
    fixed = mesh.boundaries["outlet"].nodes.tolist()
    f -= K * mp.matrix([held if i in fixed else 0 for i in range(n)])
    for i in fixed:
        f[i] = 0
        if dirichlet == "penalty":
            K[i, i] += 10**12
        else:
            K[i, :], K[:, i] = mp.zeros(1, n), mp.zeros(n, 1)
            K[i, i] = 1

    assert sorted(found.fixed.tolist()) == sorted(fixed)
    loads, stiffest = tolerance.robin(mesh, problem)
    size = np.abs(before.matrix.data) + stiffest
    unit = tolerance.stiffness(mesh, problem, pattern) / tolerance.C + tolerance.EPS * (
        np.abs(found.matrix.data) + size
    )
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    wanted = [K[i, j] for i, j in zip(rows.tolist(), pattern.indices.tolist(), strict=True)]
    assert 0.01 < (oracle.errors(found.matrix.data, wanted) / unit).max() <= MOST["system"]
    lifted = csr(pattern.indptr, pattern.indices, unit / tolerance.EPS) @ np.abs(found.lift)
    unit = tolerance.load(mesh, problem) / tolerance.C + tolerance.EPS * (np.abs(before.rhs) + loads + lifted)
    assert 0.01 < (oracle.errors(found.rhs, list(f)) / unit).max() <= MOST["system"]

"""Element matrices against an independent quadrature, and what any element matrix must satisfy."""

from fractions import Fraction
from itertools import product
from math import sqrt

import numpy as np
import pytest
from fem_core.assembly.element import GRAIN, element_derived, element_load, element_stiffness, robin_edges
from fem_core.mesh import quad8 as q8
from hypothesis import given
from hypothesis import strategies as st
from meshes import distorted, moved

# ── an independent reference in plain Python ─────────────────────────────────────────────────

MONOMIALS = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2)]
NODES = [(-1, -1), (1, -1), (1, 1), (-1, 1), (0, -1), (1, 0), (0, 1), (-1, 0)]


def inverse(matrix):
    """Gauss-Jordan in exact fractions."""
    n = len(matrix)
    rows = [[Fraction(v) for v in row] + [Fraction(i == j) for j in range(n)] for i, row in enumerate(matrix)]
    for i in range(n):
        pivot = next(r for r in range(i, n) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for r in range(n):
            if r != i:
                rows[r] = [v - rows[r][i] * w for v, w in zip(rows[r], rows[i], strict=True)]
    return [row[n:] for row in rows]


#: N_i = Σ_m COEFFICIENTS[m][i] ξᵃηᵇ, from N_i(node j) = δ_ij alone.
COEFFICIENTS = inverse([[ξ**a * η**b for a, b in MONOMIALS] for ξ, η in NODES])

GAUSS = {
    3: [(-sqrt(3 / 5), 5 / 9), (0, 8 / 9), (sqrt(3 / 5), 5 / 9)],
    5: [(0, 128 / 225)]
    + [
        (sign * sqrt(5 + side * 2 * sqrt(10 / 7)) / 3, (322 - side * 13 * sqrt(70)) / 900)
        for sign in (-1, 1)
        for side in (-1, 1)
    ],
}


def reference_stiffness(x, y, k, order):
    """∫ k ∇N_i·∇N_j by order x order points, and the sum of the absolute contributions."""
    Ke, absolute = np.zeros((8, 8)), np.zeros((8, 8))
    for (ξ, wξ), (η, wη) in product(GAUSS[order], repeat=2):
        dξ = [a * ξ ** max(a - 1, 0) * η**b for a, b in MONOMIALS]
        dη = [b * ξ**a * η ** max(b - 1, 0) for a, b in MONOMIALS]
        Nξ = [sum(float(c[i]) * m for c, m in zip(COEFFICIENTS, dξ, strict=True)) for i in range(8)]
        Nη = [sum(float(c[i]) * m for c, m in zip(COEFFICIENTS, dη, strict=True)) for i in range(8)]
        xξ, xη = (sum(n * v for n, v in zip(N, x, strict=True)) for N in (Nξ, Nη))
        yξ, yη = (sum(n * v for n, v in zip(N, y, strict=True)) for N in (Nξ, Nη))
        det = xξ * yη - xη * yξ
        gx = [(yη * a - yξ * b) / det for a, b in zip(Nξ, Nη, strict=True)]
        gy = [(xξ * b - xη * a) / det for a, b in zip(Nξ, Nη, strict=True)]
        for i, j in product(range(8), repeat=2):
            part = wξ * wη * det * k
            Ke[i, j] += part * (gx[i] * gx[j] + gy[i] * gy[j])
            absolute[i, j] += part * (abs(gx[i] * gx[j]) + abs(gy[i] * gy[j]))
    return Ke, absolute


def elements(n=5, m=4, **given):
    """Coordinates of the elements of a distorted, curved mesh: two arrays (n·m, 8)."""
    mesh = distorted(n, m, seed=7, **given)
    return mesh.x[mesh.quad8], mesh.y[mesh.quad8]


# ── stiffness ────────────────────────────────────────────────────────────────────────────────


def test_stiffness_of_curved_elements_is_the_3x3_quadrature():
    # The quick evaluation through metrics must be the textbook sum over nine points.
    x, y = elements(width=2.0)
    k = np.linspace(0.5, 3, len(x))
    Ke = element_stiffness(x, y, k)
    for e in range(len(x)):
        expected, absolute = reference_stiffness(x[e], y[e], k[e], 3)
        assert np.all(np.abs(expected - Ke[e]) <= 1e-14 * absolute)


def test_stiffness_of_parallelograms_is_the_exact_integral():
    # There the integrand is a polynomial that 3x3 points integrate exactly; 5x5 points say the same.
    rng = np.random.default_rng(1)
    for _ in range(10):
        (a, b), (c, d) = np.eye(2) + rng.uniform(-0.45, 0.45, (2, 2))
        ξ, η = q8.NODES.T
        x, y = 3 + a * ξ + b * η, c * ξ + d * η - 2
        expected, absolute = reference_stiffness(x, y, 1.0, 5)
        assert np.all(np.abs(expected - element_stiffness(x[None], y[None], 1.0)[0]) <= 1e-13 * absolute)


def test_stiffness_of_the_square_has_its_known_diagonal():
    # By hand: ∫(∂N₀/∂ξ)² = ∫(∂N₀/∂η)² = 26/45; ∫(∂N₄/∂ξ)² = 16/9 and ∫(∂N₄/∂η)² = 8/15.
    ξ, η = q8.NODES.T
    Ke = element_stiffness(ξ[None], η[None], 1.0)[0]
    np.testing.assert_allclose(np.diag(Ke), [52 / 45] * 4 + [104 / 45] * 4, rtol=1e-14)


def test_stiffness_is_symmetric_with_zero_row_sums():
    # Constants carry no flux, and the form is symmetric, element by element.
    Ke = element_stiffness(*elements(), 1.0)
    np.testing.assert_allclose(Ke, Ke.transpose(0, 2, 1), rtol=0, atol=1e-15 * np.abs(Ke).max())
    assert np.all(np.abs(Ke.sum(axis=2)) <= 1e-14 * np.abs(Ke).sum(axis=2))


def test_stiffness_has_exactly_the_constants_as_null_space():
    # A further zero eigenvalue would be an hourglass mode (2x2 points have one), a negative one no energy.
    Ke = element_stiffness(*elements(), 1.0)
    values, vectors = np.linalg.eigh(Ke)
    scale = values[:, -1]
    assert np.all(np.abs(values[:, 0]) < 1e-14 * scale)
    assert np.all(values[:, 1] > 1e-2 * scale)
    np.testing.assert_allclose(np.abs(vectors[:, :, 0]), 8**-0.5, rtol=1e-12)


@given(angle=st.floats(-7, 7), scale=st.floats(1e-3, 1e3), shift=st.tuples(st.floats(-10, 10), st.floats(-10, 10)))
def test_stiffness_ignores_place_direction_and_size(angle, scale, shift):
    # Laplace's operator in two dimensions is invariant under all three.
    mesh = distorted(3, 2, seed=2)
    other = moved(mesh, angle=angle, scale=scale, shift=(shift[0] * scale, shift[1] * scale))
    Ke, same = (element_stiffness(m.x[m.quad8], m.y[m.quad8], 1.0) for m in (mesh, other))
    np.testing.assert_allclose(same, Ke, rtol=0, atol=1e-12 * np.abs(Ke).max())


def test_stiffness_is_proportional_to_the_conductivity():
    # k is per element: each must get its own.
    x, y = elements()
    k = np.array([2.0**i for i in range(len(x))])
    assert np.array_equal(element_stiffness(x, y, 1.0) * k[:, None, None], element_stiffness(x, y, k))


# ── blocks ───────────────────────────────────────────────────────────────────────────────────


def starts_and_stops(n):
    starts = st.integers(0, (n - 1) // GRAIN).map(lambda i: i * GRAIN)
    return starts.flatmap(lambda a: st.tuples(st.just(a), st.integers(a + 1, n)))


N = 150
X, Y = elements(15, 10)


@given(starts_and_stops(N))
def test_an_element_s_result_does_not_depend_on_its_block(block):
    # Determinism for any worker count and batch size comes down to this, bit by bit.
    a, b = block
    k, s, u = np.random.default_rng(0).uniform(1, 2, (3, N, 8))
    whole = [element_stiffness(X, Y, k[:, 0]), element_load(X, Y, s), *element_derived(X, Y, u)]
    part = [
        element_stiffness(X[a:b], Y[a:b], k[a:b, 0]),
        element_load(X[a:b], Y[a:b], s[a:b]),
        *element_derived(X[a:b], Y[a:b], u[a:b]),
    ]
    for all_, some in zip(whole, part, strict=True):
        assert np.array_equal(all_[a:b], some)


@pytest.mark.parametrize("n", [1, GRAIN - 1, GRAIN, GRAIN + 1, 4 * GRAIN, N])
def test_out_is_filled_and_nothing_beside_it(n):
    # Executors hand in slices of one big array; a neighbour's part must stay untouched.
    big = np.full((n + 2, 8, 8), 7.0)
    returned = element_stiffness(X[:n], Y[:n], 1.0, out=big[1:-1])
    assert np.array_equal(element_stiffness(X[:n], Y[:n], 1.0), big[1:-1])
    assert np.shares_memory(returned, big)
    assert np.array_equal(returned, big[1:-1])
    assert np.all(big[[0, -1]] == 7)


def test_inputs_are_left_alone():
    # Shared read-only arrays go in, so nothing may be written to them.
    x, y = X[:40].copy(), Y[:40].copy()
    for array in (x, y):
        array.flags.writeable = False
    element_stiffness(x, y, 1.0)
    element_load(x, y, x)
    element_derived(x, y, y)
    assert np.array_equal(X[:40], x)


# ── load ─────────────────────────────────────────────────────────────────────────────────────


def test_load_sums_to_the_integral_of_the_source():
    # On a straight-sided quadrilateral ∫(a + bx + cy) is known from its corners alone.
    x, y = elements(curve=0.0)
    px, py = x[:, :4], y[:, :4]
    qx, qy = np.roll(px, -1, axis=1), np.roll(py, -1, axis=1)
    cross = px * qy - qx * py
    area, mx, my = 0.5 * cross.sum(axis=1), ((px + qx) * cross).sum(axis=1) / 6, ((py + qy) * cross).sum(axis=1) / 6
    fe = element_load(x, y, 1.5 + 2 * x - 3 * y)
    np.testing.assert_allclose(fe.sum(axis=1), 1.5 * area + 2 * mx - 3 * my, rtol=1e-12, atol=1e-15)


def test_load_of_a_constant_source_on_a_square_is_the_textbook_s():
    # -1/12 of it at each corner and 1/3 at each mid-side, famously.
    ξ, η = q8.NODES.T
    fe = element_load(ξ[None], η[None], np.full((1, 8), 5.0))
    np.testing.assert_allclose(fe[0], 5 * 4 * np.repeat([-1 / 12, 1 / 3], 4), rtol=1e-14)


# ── post-processing ──────────────────────────────────────────────────────────────────────────


def test_a_linear_potential_gives_its_gradient_everywhere():
    # Whatever the shape of the element.
    x, y = elements()
    velocity, speed = element_derived(x, y, 4 - 3 * x + 4 * y)
    np.testing.assert_allclose(velocity, np.broadcast_to([3.0, -4.0], velocity.shape), rtol=1e-12)
    np.testing.assert_allclose(speed, 5, rtol=1e-12)


def test_speed_is_the_mean_of_the_magnitudes():
    # u = ½x² on the square has ∂u/∂x = ±1/√3 at the points: the mean velocity vanishes, the speed doesn't.
    ξ, η = q8.NODES.T
    velocity, speed = element_derived(ξ[None], η[None], 0.5 * ξ[None] ** 2)
    np.testing.assert_allclose(velocity, [[0, 0]], atol=1e-16)
    np.testing.assert_allclose(speed, [3**-0.5], rtol=1e-15)


def test_velocity_is_taken_at_the_2x2_points():
    # u = x²y: the mean of ∂u/∂y = x² over the 2x2 points is 1/3; nodes or 3x3 points would give another value.
    ξ, η = q8.NODES.T
    velocity, speed = element_derived(ξ[None], η[None], (ξ**2 * η)[None])
    np.testing.assert_allclose(velocity, [[0, -1 / 3]], atol=1e-15)
    np.testing.assert_allclose(speed, [np.hypot(2 / 3, 1 / 3)], rtol=1e-15)


# ── Robin edges ──────────────────────────────────────────────────────────────────────────────


def test_straight_edge_has_the_textbook_mass_matrix_and_load():
    # In the order (a, mid, b): swapping mid and b keeps all sums, so the entries themselves are compared.
    x, y = np.array([[1.0, 2.5, 4.0]]), np.array([[0.0, 2.0, 4.0]])
    matrix, load = robin_edges(x, y, np.full((1, 3), 3.0), np.full((1, 3), 2.0))
    np.testing.assert_allclose(matrix[0], 3 * 5 / 30 * np.array([[4, 2, -1], [2, 16, 2], [-1, 2, 4]]), rtol=1e-14)
    np.testing.assert_allclose(load[0], 2 * 5 / 6 * np.array([1, 4, 1]), rtol=1e-14)


def test_coefficients_vary_along_the_edge():
    # ∫γ ds of a quadratic γ, and ∫∫ with p linear: (1, t) moments on a straight edge of length 2.
    t = np.array([[-1.0, 0.0, 1.0]])
    matrix, load = robin_edges(t, 0 * t, 2 + t, t**2)
    np.testing.assert_allclose(load.sum(), 2 / 3, rtol=1e-14)
    np.testing.assert_allclose(matrix.sum(), 4, rtol=1e-14)
    np.testing.assert_allclose(t[0] @ matrix[0] @ np.ones(3), 2 / 3, rtol=1e-14)


def test_curved_edge_is_as_long_as_its_arc():
    # A short circular arc: the quadratic edge's length differs by O(h⁴).
    errors = []
    for half in (0.2, 0.1, 0.05):
        θ = np.array([[-half, 0, half]])
        _, load = robin_edges(np.cos(θ), np.sin(θ), 0 * θ, 0 * θ + 1)
        errors.append(abs(load.sum() / (2 * half) - 1))
    np.testing.assert_allclose(np.log2(np.divide(errors[:-1], errors[1:])), 4, atol=0.1)

"""The reference element: shape functions, their gradients and the quadrature rules."""

import numpy as np
import pytest
from fem_core.mesh import quad8 as q8
from hypothesis import given
from hypothesis import strategies as st

points = st.tuples(st.floats(-1, 1), st.floats(-1, 1))

#: The serendipity space: what 8 nodes can reproduce.
MONOMIALS = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (2, 1), (1, 2)]


def test_each_shape_function_is_one_at_its_node_and_zero_at_the_others():
    # Nodal values are coefficients only because of this; a wrong node order shows here.
    assert np.array_equal(q8.shape(*q8.NODES.T), np.eye(8))


@given(points)
def test_shape_functions_sum_to_one_and_their_gradients_to_zero(point):
    # A constant field is represented exactly and has no gradient.
    assert q8.shape(*point).sum() == pytest.approx(1, abs=1e-15)
    np.testing.assert_allclose(q8.shape_gradient(*point).sum(axis=-1), 0, atol=1e-15)


@given(points)
def test_gradient_is_the_derivative(point):
    # The five-point difference is exact for cubics, whatever the step.
    h = 0.5
    ξ, η = point

    def difference(f):
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    dξ = difference(lambda d: q8.shape(ξ + d, η))
    dη = difference(lambda d: q8.shape(ξ, η + d))
    np.testing.assert_allclose(q8.shape_gradient(ξ, η), [dξ, dη], atol=2e-14)


@pytest.mark.parametrize(("a", "b"), MONOMIALS)
@given(points)
def test_serendipity_polynomials_are_reproduced(a, b, point):
    # Completeness is what the order of convergence rests on.
    ξ, η = point
    nodal = q8.NODES[:, 0] ** a * q8.NODES[:, 1] ** b
    assert q8.shape(ξ, η) @ nodal == pytest.approx(ξ**a * η**b, abs=1e-14)
    gradient = [a * ξ ** max(a - 1, 0) * η**b, b * ξ**a * η ** max(b - 1, 0)]
    np.testing.assert_allclose(q8.shape_gradient(ξ, η) @ nodal, gradient, atol=1e-14)


def test_shape_functions_take_arrays_of_any_shape():
    # Callers evaluate at whole sets of points; each point's values must be its own.
    ξ, η = np.linspace(-1, 1, 6).reshape(2, 3), np.linspace(-0.5, 0.5, 6).reshape(2, 3)
    N, dN = q8.shape(ξ, η), q8.shape_gradient(ξ, η)
    assert (N.shape, dN.shape) == ((2, 3, 8), (2, 3, 2, 8))
    assert np.array_equal(q8.shape(ξ[1, 2], η[1, 2]), N[1, 2])
    assert np.array_equal(q8.shape_gradient(ξ[1, 2], η[1, 2]), dN[1, 2])


@pytest.mark.parametrize(("order", "weights"), [(2, q8.WEIGHTS_2X2), (3, q8.WEIGHTS_3X3)])
def test_rules_integrate_polynomials_up_to_their_degree(order, weights):
    # Exact for ξᵃηᵇ with a, b < 2·order, which for 3x3 covers the stiffness of a parallelogram; not beyond.
    points, same = q8.gauss_legendre(order)
    assert np.array_equal(weights, same)
    for a in range(2 * order + 1):
        for b in range(2 * order):
            exact = 0 if a % 2 or b % 2 else 4 / ((a + 1) * (b + 1))
            error = abs(weights @ (points[:, 0] ** a * points[:, 1] ** b) - exact)
            if a < 2 * order:
                assert error < 1e-15
            elif b % 2 == 0:
                assert error > 1e-3


def test_rules_are_symmetric_and_positive():
    # Negative or lopsided weights would cost definiteness or invariance.
    for points, weights in ((q8.POINTS_3X3, q8.WEIGHTS_3X3), (q8.POINTS_2X2, q8.WEIGHTS_2X2)):
        assert weights.min() > 0
        np.testing.assert_allclose(weights @ points, 0, atol=1e-15)
    np.testing.assert_allclose(sorted(set(np.abs(q8.POINTS_3X3).ravel().round(15))), [0, 0.6**0.5], atol=1e-15)
    np.testing.assert_allclose(np.abs(q8.POINTS_2X2), 3**-0.5, rtol=1e-15)


def test_edges_run_counter_clockwise_through_their_mid_sides():
    # The boundary's direction and the meaning of nodes 4 to 7 rest on this.
    a, mid, b = q8.NODES[q8.EDGES.T]
    assert np.array_equal(0.5 * (a + b), mid)
    assert np.array_equal(a[1:], b[:-1])
    assert np.all(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] > 0)


def test_reversed_is_the_same_element_walked_clockwise():
    # A clockwise mesh is turned round by this order: corners reversed, each mid-side between its corners.
    nodes = q8.NODES[q8.REVERSED]
    a, mid, b = nodes[q8.EDGES.T]
    assert np.array_equal(0.5 * (a + b), mid)
    assert np.all(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0] < 0)
    assert np.array_equal(q8.REVERSED[q8.REVERSED], np.arange(8))


@pytest.mark.parametrize("edge", range(4))
def test_edge_functions_are_the_element_s_own(edge):
    # Robin terms must be integrated with the same functions that the element has on that edge.
    a, _, b = q8.NODES[q8.EDGES[edge]]
    t, w = np.polynomial.legendre.leggauss(3)
    along = 0.5 * (1 - t)[:, None] * a + 0.5 * (1 + t)[:, None] * b
    np.testing.assert_allclose(q8.shape(*along.T)[:, q8.EDGES[edge]], q8.EDGE_N, atol=1e-15)
    np.testing.assert_allclose(q8.EDGE_N @ [-1, 0, 1], t, atol=1e-15)
    np.testing.assert_allclose(q8.EDGE_DN @ [1, 0, 1], 2 * t, atol=1e-15)
    np.testing.assert_allclose(q8.EDGE_WEIGHTS, w)

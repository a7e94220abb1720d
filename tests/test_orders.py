"""Orders of convergence with manufactured solutions, where they hold and where they are known to fall."""

from math import pi

import numpy as np
import pytest
from fem_core import Dirichlet, Problem, solve, with_boundaries
from meshes import bisected, errors, squares, trapezoids

AROUND = dict.fromkeys(("left", "right", "bottom", "top"), "around")


def harmonic(x, y):
    return np.sin(pi * x) * np.sinh(pi * y)


def harmonic_gradient(x, y):
    return pi * np.cos(pi * x) * np.sinh(pi * y), pi * np.sin(pi * x) * np.cosh(pi * y)


def general(x, y):
    return np.sin(2 * x + 1) * np.exp(y)


def general_gradient(x, y):
    return 2 * np.cos(2 * x + 1) * np.exp(y), np.sin(2 * x + 1) * np.exp(y)


#: u, ∇u, conductivity and the source -k Δu.
SOLUTIONS = {
    "harmonic": (harmonic, harmonic_gradient, 1.0, 0.0),
    "with source": (general, general_gradient, 2.0, lambda x, y: 6 * general(x, y)),
}

#: The mesh of n elements a side.
MESHES = {
    "squares": squares,
    "bisected": lambda n, names: bisected(int(np.log2(n)) - 2, names=names),
    "trapezoids": trapezoids,
}


def observed(mesh_name, sizes, solution):
    """Errors and orders between neighbouring sizes: u in L2, ∇u in L2, ∇u at the 2x2 points."""
    u, gradient, k, source = SOLUTIONS[solution]
    found = []
    for n in sizes:
        mesh = with_boundaries(MESHES[mesh_name](n, names=AROUND))
        problem = Problem((Dirichlet("around", u),), k, source, "eliminate")
        found.append(errors(mesh, solve(mesh, problem, backend="numpy", solver="direct").u, u, gradient))
    return np.array(found), np.log2(np.divide(found[:-1], found[1:]))


@pytest.mark.parametrize("solution", SOLUTIONS)
@pytest.mark.parametrize("mesh", ["squares", "bisected"])
def test_full_orders_on_meshes_that_become_affine(mesh, solution):
    # Quadratic elements: 3 and 2, and superconvergent gradients (about 3.05) at the 2x2 points.
    _, orders = observed(mesh, [16, 32, 64], solution)
    np.testing.assert_allclose(orders[-1, :2], [3.0, 2.0], atol=0.02)
    np.testing.assert_allclose(orders[-1, 2], 3.05, atol=0.1)


def test_orders_fall_on_repeated_trapezoids():
    # Known since Arnold, Boffi and Falk (2002): there the serendipity space holds only the bilinear functions.
    # At n = 64 the orders have fallen to 2.75 and 1.44, and they keep falling towards 2 and 1.
    _, orders = observed("trapezoids", [16, 32, 64, 128], "harmonic")
    np.testing.assert_allclose(orders[1, :2], [2.75, 1.44], atol=0.01)
    assert np.all(np.diff(orders, axis=0) < 0)
    assert orders[-1, 2] < 2


def quadratic(x, y):
    return x**2 - y**2 + 3 * x * y


def quadratic_error(mesh):
    u = solve(
        mesh, Problem((Dirichlet("around", quadratic),), dirichlet="eliminate"), backend="numpy", solver="direct"
    ).u
    return np.abs(u - quadratic(mesh.x, mesh.y)).max()


def test_a_harmonic_quadratic_is_exact_on_squares_and_rectangles():
    # All quadratics are in the space of an affine element.
    assert quadratic_error(with_boundaries(squares(8, names=AROUND))) < 1e-13
    assert quadratic_error(with_boundaries(squares(8, 3, width=2.0, names=AROUND))) < 1e-12


def test_a_harmonic_quadratic_must_fail_on_trapezoids():
    # Exactness there would mean that something else than the 8-node element is computed.
    assert quadratic_error(with_boundaries(trapezoids(8, names=AROUND))) > 1e-5

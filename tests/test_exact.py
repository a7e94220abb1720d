"""Problems whose solution is known: channels, annuli, a bend, a cylinder, NAFEMS T4; balances and invariances."""

from dataclasses import replace
from math import cosh, log, pi, sinh

import numpy as np
import pytest
from fem_core import Dirichlet, Problem, Robin, assemble_system, solve, with_boundaries
from fem_core.assembly import apply_conditions
from fem_core.assembly.sparsity import csr_positions
from fem_core.generate import annulus, duct, y_tube
from hypothesis import given, settings
from hypothesis import strategies as st
from meshes import distorted, errors, gauss, lattice, moved, renumbered, small_meshes, squares, straight

SIDES = {side: side for side in ("left", "right", "bottom", "top")}


def direct(mesh, problem=None):
    return solve(mesh, problem, backend="numpy", solver="direct")


def orders(sizes, errors):
    """Observed orders of convergence between neighbours."""
    return np.diff(np.log(errors)) / -np.diff(np.log(sizes))


# ── a channel with constant coefficients: the patch test ─────────────────────────────────────


@settings(max_examples=30)
@given(small_meshes(), st.floats(-5, 5), st.floats(0, 3))
def test_channel_is_exact_on_any_valid_mesh(mesh, gamma, p):
    # u = γ(L-x)/(1+pL) is linear: machine precision on distorted, curved, renumbered meshes with orphans.
    L = mesh.x[mesh.used_nodes].max()
    slope = gamma / (1 + p * L)
    solution = direct(mesh, Problem.potential_flow(mesh, gamma=gamma, p=p, dirichlet="eliminate"))
    used = mesh.used_nodes
    tolerance = 1e-12 * max(1, abs(slope) * L)
    np.testing.assert_allclose(solution.u[used], slope * (L - mesh.x[used]), rtol=0, atol=tolerance)
    np.testing.assert_allclose(solution.velocity[:, 0], slope, rtol=0, atol=1e-10 * max(1, abs(slope)))
    np.testing.assert_allclose(solution.velocity[:, 1], 0, rtol=0, atol=1e-10 * max(1, abs(slope)))
    np.testing.assert_allclose(solution.speed, abs(slope), rtol=0, atol=1e-10 * max(1, abs(slope)))


@pytest.mark.parametrize("backend", ["numpy", "baseline"])
@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_channel_by_figures(backend, solver):
    # L = 3, γ = 2.5, p = 0: u max 7.5 and speed 2.5 everywhere; the pressure by hand.
    mesh = distorted(6, 3, seed=9, width=3.0)
    solution = solve(mesh, backend=backend, solver=solver)
    assert solution.u.max() == pytest.approx(7.5, rel=1e-7)
    np.testing.assert_allclose(solution.speed, 2.5, rtol=1e-6)
    np.testing.assert_allclose(solution.pressure, 101328.8281 - 0.5 * 1.225 * 2.5**2, rtol=1e-10)


@settings(max_examples=20)
@given(small_meshes(), st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_any_linear_potential_passes_the_patch_test(mesh, a, b, c):
    # Given on the whole boundary; the two directions and the constant.
    def u(x, y):
        return a + b * x + c * y

    conditions = [Dirichlet(name, u) for name in mesh.boundaries]
    solution = direct(mesh, Problem(conditions, dirichlet="eliminate"))
    used = mesh.used_nodes
    np.testing.assert_allclose(solution.u[used], u(mesh.x, mesh.y)[used], rtol=0, atol=1e-10)
    np.testing.assert_allclose(solution.velocity, np.broadcast_to([-b, -c], solution.velocity.shape), atol=1e-9)


# ── a channel with a varying flux ────────────────────────────────────────────────────────────


@pytest.mark.parametrize("p", [0.0, 1.7])
def test_channel_with_a_cosine_flux(p):
    # u = γ cos(ky) sinh(k(L-x)) / (k cosh kL + p sinh kL) with k = π/H: third order in L2, second in the gradient.
    L, H, γ = 2.0, 1.5, 2.5
    k = pi / H
    scale = γ / (k * cosh(k * L) + p * sinh(k * L))

    def u(x, y):
        return scale * np.cos(k * y) * np.sinh(k * (L - x))

    def gradient(x, y):
        return -k * scale * np.cos(k * y) * np.cosh(k * (L - x)), -k * scale * np.sin(k * y) * np.sinh(k * (L - x))

    sizes, found = [8, 16, 32], []
    for n in sizes:
        mesh = duct(length=L, height=H, nx=n, ny=n)
        problem = Problem.potential_flow(mesh, gamma=lambda x, y: γ * np.cos(k * y), p=p)
        found.append(errors(mesh, direct(mesh, problem).u, u, gradient)[:2])
    assert found[-1][0] < 1e-5
    np.testing.assert_allclose([orders(sizes, e)[-1] for e in zip(*found, strict=True)], [3, 2], atol=0.1)


# ── curved edges ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("p", [0.0, 0.8])
@pytest.mark.parametrize("angle", [pi / 2, 2 * pi])
def test_annulus(p, angle):
    # Robin at r₁, u(r₂) = 0: u = C ln(r₂/r), C = γ/(1/r₁ + p ln(r₂/r₁)); a curved edge's ds is in C.
    r1, r2, γ = 0.7, 2.1, 2.5
    C = γ / (1 / r1 + p * log(r2 / r1))
    sizes, found = [2, 4, 8], []
    for n in sizes:
        mesh = annulus(inner=r1, outer=r2, angle=angle, nr=n, na=round(4 * n * angle / pi))
        solution = direct(mesh, Problem.potential_flow(mesh, gamma=γ, p=p))
        found.append(np.abs(solution.u - C * np.log(r2 / np.hypot(mesh.x, mesh.y))).max())
    assert found[-1] < 2e-4 * C
    assert orders(sizes, found)[-1] > 3


def test_annulus_with_straight_edges_would_be_noticed():
    # The test above can fail: with mid-sides on the chords the error stays far larger.
    def error(mesh):
        solution = direct(mesh, Problem.potential_flow(mesh))
        corners = np.unique(mesh.quad8[:, :4])
        return np.abs(solution.u - 2.5 * np.log(2 / np.hypot(mesh.x, mesh.y)))[corners].max()

    curved = annulus(inner=1.0, outer=2.0, nr=8, na=16)
    x, y = curved.x.copy(), curved.y.copy()
    for mid, a, b in ((4, 0, 1), (5, 1, 2), (6, 2, 3), (7, 3, 0)):
        for axis in (x, y):
            axis[curved.quad8[:, mid]] = 0.5 * (axis[curved.quad8[:, a]] + axis[curved.quad8[:, b]])
    assert error(replace(curved, x=x, y=y)) > 20 * error(curved)


def test_bend():
    # A free vortex: γ = c/r in at one side, u = c(θ₀-θ), speed c/r.
    c, θ0 = 1.3, 2.0
    sizes, of_u, of_speed = [4, 8, 16], [], []
    for n in sizes:
        mesh = annulus(inner=1.0, outer=2.0, angle=θ0, flow="around", nr=n, na=3 * n)
        solution = direct(mesh, Problem.potential_flow(mesh, gamma=lambda x, y: c / np.hypot(x, y)))
        of_u.append(np.abs(solution.u - c * (θ0 - np.arctan2(mesh.y, mesh.x))).max())
        x, y, *_ = gauss(mesh, 2)
        of_speed.append(np.abs(solution.speed - (c / np.hypot(x, y)).mean(axis=1)).max())
    assert of_u[-1] < 1e-6
    assert of_speed[-1] < 1e-3
    assert orders(sizes, of_u)[-1] > 3
    assert orders(sizes, of_speed)[-1] > 1.9


def test_half_cylinder_in_a_stream():
    # φ = U(r + a²/r) cos θ outside of a: at the top of the cylinder the speed is 2U.
    U, a, R = 1.5, 1.0, 4.0

    def φ(x, y):
        r2 = x**2 + y**2
        return U * x * (1 + a**2 / r2)

    sizes, found = [8, 16], []
    for n in sizes:
        mesh = annulus(inner=a, outer=R, angle=pi, nr=n, na=2 * n)
        u = direct(mesh, Problem((Dirichlet("outlet", φ),))).u
        found.append(np.abs(u - φ(mesh.x, mesh.y)).max())
    surface = mesh.boundaries["inlet"].nodes
    θ = np.arctan2(mesh.y[surface], mesh.x[surface])
    surface, θ = surface[np.argsort(θ)], np.sort(θ)
    middle = len(θ) // 2
    assert θ[middle] == pytest.approx(pi / 2)
    speed = abs(u[surface[middle + 1]] - u[surface[middle - 1]]) / (a * (θ[middle + 1] - θ[middle - 1]))
    assert speed == pytest.approx(2 * U, rel=2e-3)
    assert orders(sizes, found)[-1] > 2.5


# ── NAFEMS T4 ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("nx", "ny", "printed"), [(3, 5, "17.895"), (6, 10, "18.794"), (12, 20, "18.272"), (24, 40, "18.254")]
)
@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
def test_nafems_t4(nx, ny, printed, dirichlet):
    # Conduction with convection to 0 °C right and top, base at 100 °C: every printed digit of published Quad8 results.
    mesh = squares(nx, ny, width=0.6, height=1.0, names=SIDES)
    conditions = Robin("right", 0.0, 750.0), Robin("top", 0.0, 750.0), Dirichlet("bottom", 100.0)
    T = direct(mesh, Problem(conditions, 52.0, dirichlet=dirichlet)).u
    point = np.flatnonzero(np.isclose(mesh.x, 0.6) & np.isclose(mesh.y, 0.2))
    assert [printed] == [f"{t:.3f}" for t in T[point]]
    if nx == 24:
        assert T[point] == pytest.approx(18.25376, abs=1e-3)


# ── sources and layers ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("source", [3.0, lambda x, y: 3.0 + 0 * x, "per element"])
def test_constant_source_between_two_walls(source):
    # -k u″ = s with u(0) = u(L) = 0: u = s x(L-x)/2k, a quadratic, exact on rectangles.
    mesh = squares(5, 2, width=2.0)
    s = np.full(mesh.n_elements, 3.0) if source == "per element" else source
    problem = Problem((Dirichlet("inlet"), Dirichlet("outlet")), 1.5, s)
    np.testing.assert_allclose(direct(mesh, problem).u, 3 / (2 * 1.5) * mesh.x * (2 - mesh.x), rtol=0, atol=1e-11)


def test_source_that_varies():
    # -u″ = x with no flux at x = 0 and u(1) = 0: u = (1 - x³)/6, exact at the corners, third order between.
    def exact(x, y):
        return (1 - x**3) / 6

    sizes, found = [2, 4, 8], []
    for n in sizes:
        mesh = squares(n, 1)
        u = direct(mesh, Problem((Dirichlet("outlet"),), source=lambda x, y: x, dirichlet="eliminate")).u
        assert np.abs(u - exact(mesh.x, mesh.y))[mesh.quad8[:, :4]].max() < 1e-14
        found.append(errors(mesh, u, exact, lambda x, y: (-(x**2) / 2, 0 * y))[0])
    assert found[-1] < 1e-4
    np.testing.assert_allclose(orders(sizes, found), 3, atol=0.01)


def test_source_per_element_acts_in_its_elements_only():
    # s = 1 in the left half: u = 1/4·(1-x) + … by hand 3/8 at the wall, falling linearly on the right.
    mesh = squares(4, 2)
    left = mesh.x[mesh.quad8].mean(axis=1) < 0.5
    u = direct(mesh, Problem((Dirichlet("outlet"),), source=left * 1.0)).u
    exact = np.where(mesh.x < 0.5, 3 / 8 - mesh.x**2 / 2, (1 - mesh.x) / 2)
    np.testing.assert_allclose(u, exact, rtol=0, atol=1e-11)


K = np.array([1.0, 50.0, 0.02, 3.0])


def test_layers_in_series():
    # Each layer adds its resistance L/k: exact, also with distorted elements inside of each layer.
    x, y = np.meshgrid(np.linspace(0, 4, 9), np.linspace(0, 1, 4))
    x[1:-1, 1::2] += np.random.default_rng(5).uniform(-0.15, 0.15, x[1:-1, 1::2].shape)
    mesh = lattice(*straight(x, y))
    layer = (mesh.x[mesh.quad8].mean(axis=1)).astype(int)
    solution = direct(mesh, Problem.potential_flow(mesh, gamma=2.0, conductivity=K[layer]))
    ends = np.append(0, np.cumsum(1 / K))
    exact = 2 * (ends[-1] - np.interp(mesh.x, np.arange(5), ends))
    np.testing.assert_allclose(solution.u, exact, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(solution.speed * K[layer], 2, rtol=1e-9)


def test_layers_side_by_side():
    # Between two fixed ends u is the same straight line in each, and the flux is Σ kH Δu/L.
    mesh = squares(3, 8, width=2.0)
    layer = (mesh.y[mesh.quad8].mean(axis=1) * 4).astype(int)
    problem = Problem((Dirichlet("inlet", 6.0), Dirichlet("outlet")), K[layer])
    solution = direct(mesh, problem)
    np.testing.assert_allclose(solution.u, 6 - 3 * mesh.x, rtol=0, atol=1e-9)
    reaction = assemble_system(mesh, problem).matrix @ solution.u
    assert reaction[mesh.boundaries["inlet"].nodes].sum() == pytest.approx(3 * 0.25 * K.sum(), rel=1e-9)


# ── balances and the null space ──────────────────────────────────────────────────────────────

EXAMPLES = {
    "duct": lambda: duct(nodes=800, grading=3.0),
    "annulus": lambda: annulus(nodes=800),
    "y_tube": lambda: y_tube(nodes=1_500),
    "distorted": lambda: distorted(8, 6, seed=6),
}
examples = pytest.mark.parametrize("make", EXAMPLES.values(), ids=EXAMPLES.keys())


@examples
@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_what_enters_leaves(make, solver):
    # Inlet flux plus source = outlet reaction, to the solver's tolerance.
    mesh = with_boundaries(make())
    problem = Problem.potential_flow(mesh, gamma=lambda x, y: 2 + np.sin(y), source=0.3, outlet=4.0)
    bare = assemble_system(mesh, problem)
    natural = apply_conditions(bare, mesh, replace(problem, conditions=problem.robin))
    u = solve(mesh, problem, backend="numpy", solver=solver).u
    reaction = (natural.matrix @ u - natural.rhs)[mesh.boundaries["outlet"].nodes].sum()
    entering = natural.rhs.sum()
    assert -reaction == pytest.approx(entering, rel=1e-6 if solver == "cg" else 1e-9)


@examples
def test_constants_are_in_the_null_space(make):
    # Before boundary conditions: rows sum to zero beside the sum of their absolute values.
    K = assemble_system(with_boundaries(make())).matrix
    rows, absolute = K.sum(axis=1), abs(K).sum(axis=1)
    assert np.all(np.abs(rows) <= 1e-14 * absolute)


@examples
def test_matrix_is_symmetric(make):
    # Entry by entry, in the same pattern.
    K = assemble_system(with_boundaries(make())).matrix.tocoo()
    csr = K.tocsr()
    transposed = csr.data[csr_positions(csr.indptr, csr.indices, K.col, K.row)]
    np.testing.assert_allclose(K.data, transposed, rtol=0, atol=1e-14 * np.abs(K.data).max())


@settings(max_examples=20)
@given(small_meshes(most=4))
def test_matrix_is_positive_semi_definite_with_one_zero_per_part(mesh):
    # Orphans' empty rows are further zeros; a second zero would be an hourglass mode.
    K = assemble_system(mesh).matrix.toarray()
    values = np.linalg.eigvalsh(K[np.ix_(mesh.used_nodes, mesh.used_nodes)])
    assert abs(values[0]) < 1e-12 * values[-1]
    assert values[1] > 1e-5 * values[-1]
    assert not K[mesh.orphan_nodes].any()


# ── invariances ──────────────────────────────────────────────────────────────────────────────


@examples
def test_turning_and_shifting_the_mesh_changes_nothing(make):
    # u stays, the velocity turns along; the boundaries come by name.
    mesh = with_boundaries(make())
    angle = 0.7
    before, after = direct(mesh), direct(moved(mesh, angle=angle, shift=(3.0, -8.0)))
    np.testing.assert_allclose(after.u, before.u, rtol=0, atol=1e-10)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(after.velocity, before.velocity @ turn, rtol=0, atol=1e-9)
    np.testing.assert_allclose(after.speed, before.speed, rtol=0, atol=1e-9)


@examples
@pytest.mark.parametrize("scale", [1e-3, 250.0])
def test_scaling_the_mesh_scales_the_potential(make, scale):
    # K is unchanged, the load grows with the inlet, so u = scale·u and v = v.
    mesh = with_boundaries(make())
    other = moved(mesh, scale=scale)
    K, same = assemble_system(mesh).matrix, assemble_system(other).matrix
    np.testing.assert_allclose(same.data, K.data, rtol=0, atol=1e-13 * np.abs(K.data).max())
    before, after = direct(mesh), direct(other)
    np.testing.assert_allclose(after.u, scale * before.u, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(after.velocity, before.velocity, rtol=0, atol=1e-9)


@examples
@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_renumbering_changes_nothing(make, solver):
    # Nodes, elements and orphans in any order: the same physics, nearly the same iterations.
    mesh = with_boundaries(make())
    other, node, element = renumbered(mesh, seed=11, orphans=13)
    before, after = (solve(m, backend="numpy", solver=solver, rtol=1e-10) for m in (mesh, other))
    np.testing.assert_allclose(after.u[node], before.u, rtol=0, atol=1e-8)
    np.testing.assert_allclose(after.velocity, before.velocity[element], rtol=0, atol=1e-6)
    assert after.report.iterations == pytest.approx(
        before.report.iterations, abs=max(1, 0.01 * before.report.iterations)
    )


def test_linearity():
    # Twice the flux, twice the potential; a flux and a source superpose.
    mesh = with_boundaries(EXAMPLES["annulus"]())

    def u(**given):
        return direct(mesh, Problem.potential_flow(mesh, dirichlet="eliminate", **given)).u

    one = u(gamma=1.0, source=0.0, outlet=0.0)
    np.testing.assert_allclose(u(gamma=2.0), 2 * one, rtol=0, atol=1e-12)
    together = u(gamma=1.0, source=2.0, outlet=5.0)
    np.testing.assert_allclose(together, one + u(gamma=0.0, source=2.0) + u(gamma=0.0, outlet=5.0), rtol=0, atol=1e-12)

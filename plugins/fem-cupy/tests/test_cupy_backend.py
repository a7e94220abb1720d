"""The core's driver of devices over the kernels of fem-cupy on the host: the whole way, as on a GPU."""

import fakes
import fem_core as fem
import numpy as np
import pytest
from fem_core.testing import CHECKS, verify
from host_runtime import INFO
from published import PUBLISHED


@pytest.mark.parametrize("name", CHECKS)
def test_the_kit(name):
    (result,) = verify(INFO, checks=[name], examples=10)
    assert result.ok, result.detail


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_results(real_mesh, name):
    iterations, u_max = PUBLISHED[name]
    solution = fem.solve(real_mesh(name), backend=INFO, solver="cg")
    assert set(solution.report.providers.values()) == {INFO.name, "core"}
    assert solution.report.converged
    assert solution.report.iterations in iterations
    assert solution.u.max() == pytest.approx(u_max, abs=5e-7)


@pytest.fixture(scope="module")
def bend():
    """10,000 nodes, numbered by chance: hundreds of steps of conjugate gradients."""
    mesh = fem.generate.s_bend(nodes=10_000)
    new = np.random.default_rng(1).permutation(mesh.n_nodes).astype(np.int32)
    x, y = np.empty_like(mesh.x), np.empty_like(mesh.y)
    x[new], y[new] = mesh.x, mesh.y
    boundaries = {name: fem.Boundary(new[b.edges], np.sort(new[b.nodes])) for name, b in mesh.boundaries.items()}
    return fem.Mesh(x, y, new[mesh.quad8], boundaries, "bend")


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
def test_many_steps_beside_the_baseline(bend, dirichlet):
    # Matrix and right-hand side entry by entry, steps, potential, velocity.
    problem = fakes.problem(bend, dirichlet)
    with fem.open_backend(INFO) as here, fem.open_backend("baseline") as there:
        systems = []
        for session in (here, there):
            system = fem.apply_bc(fem.assemble_system(bend, problem, backend=session), bend, problem, backend=session)
            systems.append(system.to_host())
        mine, theirs = systems
        assert np.array_equal(mine.matrix.indptr, theirs.matrix.indptr)
        assert np.array_equal(mine.matrix.indices, theirs.matrix.indices)
        scale = abs(fem.assemble_system(bend, problem, backend=there).matrix.data).max()
        np.testing.assert_allclose(mine.matrix.data, theirs.matrix.data, rtol=1e-13, atol=1e-13 * scale)
        np.testing.assert_allclose(mine.rhs, theirs.rhs, rtol=0, atol=1e-12 * abs(theirs.rhs).max())
        found = fem.solve(bend, problem, backend=here, solver="cg")
    expected = fem.solve(bend, problem, backend="numpy", solver="cg")
    steps = expected.report.iterations
    assert steps > 300
    assert abs(found.report.iterations - steps) <= max(1, 0.005 * steps)
    assert found.report.solver["stop_reason"] == expected.report.solver["stop_reason"]
    assert [at for at, _ in found.report.history][:-1] == [at for at, _ in expected.report.history][:-1]
    for name in ("u", "velocity", "speed", "pressure"):
        wanted = getattr(expected, name)
        np.testing.assert_allclose(getattr(found, name), wanted, rtol=0, atol=1e-6 * abs(wanted).max(), err_msg=name)


@pytest.mark.parametrize("assembly", ["gather", "coo"])
def test_multigrid(bend, assembly):
    problem = fakes.problem(bend)
    found = fem.solve(bend, problem, backend=INFO, backend_options={"assembly": assembly}, solver="mg")
    expected = fem.solve(bend, problem, backend="numpy", solver="mg")
    assert found.report.providers["solve_system"] == INFO.name
    assert found.report.converged
    assert abs(found.report.iterations - expected.report.iterations) <= 1
    np.testing.assert_allclose(found.u, expected.u, rtol=0, atol=1e-6 * abs(expected.u).max())


def test_the_same_bits_every_time():
    # From run to run, and in whatever order a device comes to its blocks.
    bend, solutions = fem.generate.s_bend(nodes=3000), []
    for order in (0, 0, 1, 5):
        with fem.open_backend(INFO, order=order) as session:
            solutions.append(fem.solve(bend, fakes.problem(bend), backend=session, solver="cg"))
    first, *others = solutions
    for other in others:
        for name in ("u", "velocity", "speed", "pressure"):
            assert np.array_equal(getattr(first, name), getattr(other, name)), name
        assert other.report.iterations == first.report.iterations

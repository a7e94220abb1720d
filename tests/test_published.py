"""The published results on the real meshes: iterations, potential, load, speed."""

import numpy as np
import pytest
from fem_core import Problem, apply_bc, assemble_system, solve
from fem_core.assembly import element_derived
from published import PUBLISHED

meshes = pytest.mark.parametrize("name", PUBLISHED)


@meshes
@pytest.mark.parametrize("backend", ["numpy", "baseline"])
def test_small_meshes(real_mesh, name, backend):
    # What every backend has to reproduce.
    mesh = real_mesh(name)
    iterations, u_max = PUBLISHED[name]
    solution = solve(mesh, backend=backend, solver="cg")
    assert solution.report.converged
    assert solution.report.iterations in iterations
    assert solution.u.max() == pytest.approx(u_max, abs=5e-7)
    assert solution.report.solution["u_max"] == solution.u.max()


@meshes
def test_small_meshes_directly(real_mesh, name):
    # u max was computed independently to ten digits: the direct solver has them all.
    solution = solve(real_mesh(name), backend="numpy", solver="direct")
    assert solution.u.max() == pytest.approx(PUBLISHED[name][1], abs=2e-7)


@meshes
def test_inlet_load_sums_to_the_flux(real_mesh, name):
    # γ times the width of the inlet, and all of it leaves at the outlet.
    mesh = real_mesh(name)
    system = apply_bc(assemble_system(mesh), mesh, Problem.potential_flow(mesh))
    width = np.ptp(mesh.y[mesh.boundaries["inlet"].nodes])
    assert system.rhs.sum() == pytest.approx(2.5 * width, rel=1e-13)


def test_orphans_of_the_real_meshes(real_mesh):
    # As counted by others; they stay at 0 and are left out of the figures.
    for name, orphans in (("y_tube_201", 0), ("venturi_341", 38), ("s_bend_387", 78)):
        mesh = real_mesh(name)
        solution = solve(mesh, backend="numpy")
        assert solution.report.mesh["orphan_nodes"] == orphans
        assert np.all(solution.u[mesh.orphan_nodes] == 0)
        assert solution.report.solution["u_mean"] == pytest.approx(solution.u[mesh.used_nodes].mean())


@pytest.mark.slow
def test_the_mesh_of_195853_nodes(real_mesh):
    # The published run: 3741 iterations, the load of the inlet, the largest speed.
    mesh = real_mesh("y_tube_195k")
    system = apply_bc(assemble_system(mesh), mesh, Problem.potential_flow(mesh))
    assert system.rhs.sum() == pytest.approx(3.0, rel=1e-12)
    solution = solve(mesh, backend="numpy", solver="cg")
    report = solution.report
    assert report.mesh == {"nodes": 195_853, "elements": 48_607, "orphan_nodes": 48_607}
    assert report.converged
    assert report.iterations == pytest.approx(3741, rel=0.005)
    assert report.solution["u_max"] == pytest.approx(11.825327, abs=1e-6)
    assert report.solution["speed_max"] == pytest.approx(6.144, abs=5e-4)
    _, speed = element_derived(mesh.x[mesh.quad8], mesh.y[mesh.quad8], solution.u[mesh.quad8])
    assert np.array_equal(speed, solution.speed)

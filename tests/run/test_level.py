"""Large fixed values don't swamp the flow: the problem is solved for u - c."""

import json
from dataclasses import replace
from functools import partial

import fem_core as fem
import numpy as np
import pytest
from commands import run
from fem_core import Dirichlet, Problem, Robin
from fem_core.mesh.mesh import Mesh
from fem_core.run.level import level_of, relative_to
from hypothesis import given
from hypothesis import strategies as st

DUCT = fem.generate.duct(length=4.0, height=1.0, nx=40, ny=10)


def twice(mesh: Mesh = DUCT) -> Mesh:
    """The mesh and, two heights above it, its copy, whose boundaries are called `inlet 2` and so on."""
    n = mesh.n_nodes
    above = {
        f"{name} 2": fem.Boundary(one.edges + np.int32(n), one.nodes + np.int32(n))
        for name, one in mesh.boundaries.items()
    }
    return Mesh(
        x=np.tile(mesh.x, 2),
        y=np.concatenate([mesh.y, mesh.y + 2]),
        quad8=np.concatenate([mesh.quad8, mesh.quad8 + np.int32(n)]),
        boundaries={**mesh.boundaries, **above},
    )


@pytest.mark.parametrize("dirichlet", ["penalty", "eliminate"])
@pytest.mark.parametrize("solver", ["cg", "mg", "direct"])
@pytest.mark.parametrize("level", [1e8, -1e10, 3.0])
def test_a_constant_at_the_outlet_changes_nothing_but_u(solver, level, dirichlet):
    flow = (Robin("inlet", 2.5),)
    at_0, at_level = (
        fem.solve(DUCT, Problem((*flow, Dirichlet("outlet", g)), dirichlet=dirichlet), backend="numpy", solver=solver)
        for g in (0.0, level)
    )
    assert np.array_equal(at_level.u, at_0.u + level)
    assert np.array_equal(at_level.velocity, at_0.velocity)
    assert np.allclose(at_level.speed, 2.5, rtol=1e-7)
    assert at_level.report.iterations == at_0.report.iterations
    assert at_level.report.warnings == at_0.report.warnings == ()
    assert at_0.report.shifts == ()
    assert at_level.report.shifts == ({"constant": level, "nodes": DUCT.n_nodes},)
    assert at_level.report.conditions[1]["value"] == level
    assert at_level.problem.conditions[1].value == level


numbers = partial(st.decimals, places=3)


@given(
    levels=st.tuples(numbers(-1e9, 1e9), numbers(-1e9, 1e9)),
    slope=numbers(0, 10),
    p=st.sampled_from([0.0, 0.5]),
    γ=numbers(-9, 9),
)
def test_each_part_has_a_level_of_its_own_and_the_flow_of_the_shifted_problem(levels, slope, p, γ):
    levels, slope, γ = tuple(map(float, levels)), float(slope), float(γ)
    mesh = fem.with_boundaries(twice(fem.generate.duct(length=2.0, height=1.0, nx=4, ny=2)))
    part = (mesh.y > 1.5).astype(int)

    def problem(constants):
        fixed = tuple(
            Dirichlet(f"outlet{name}", lambda x, y, c=c: slope * (y % 2) + c)
            for name, c in zip(("", " 2"), constants, strict=True)
        )
        inflows = tuple(Robin(f"inlet{name}", γ + p * c, p) for name, c in zip(("", " 2"), constants, strict=True))
        return Problem((*inflows, *fixed))

    # γ + p c rounds in the last digit of p c: what it changes in u.
    rounding = 1e-15 * max(map(abs, levels)) * 10
    at_0, at_levels = (fem.solve(mesh, problem(c), backend="numpy", solver="direct") for c in ((0.0, 0.0), levels))
    assert np.allclose(at_levels.u, at_0.u + np.array(levels)[part], rtol=1e-12, atol=1e-9 + rounding)
    assert np.allclose(at_levels.velocity, at_0.velocity, rtol=1e-6, atol=1e-8 + 10 * rounding)


@pytest.mark.parametrize(
    ("conditions", "levels"),
    [
        ((Dirichlet("inlet", 1.0), Dirichlet("outlet", 0.0)), None),
        ((Dirichlet("inlet", -1e8), Dirichlet("outlet", 1e8)), None),  # 0 lies within
        ((Dirichlet("inlet", 3e8), Dirichlet("outlet", 1e8)), 1e8),
        ((Dirichlet("inlet", -3e8), Dirichlet("outlet", -1e8)), -1e8),
        ((Dirichlet("inlet", 5.0), Dirichlet("inlet", 7.0)), 7.0),  # the later one applies
        ((Robin("inlet", 2.5), Robin("outlet", 2e8, 2.0)), 1e8),  # nothing is fixed: the surroundings
        ((Robin("inlet", 1.0, 1.0), Robin("outlet", -1.0, 1.0)), None),
        ((Robin("inlet", 2e8, 2.0), Dirichlet("outlet", 20.0)), 20.0),
        ((Robin("inlet", 0.0, 20.0), Dirichlet("outlet", 20.0)), None),  # u - 20 would have a load of 20 x 20 there
        ((Robin("inlet", 0.0, 0.2), Dirichlet("outlet", 20.0)), 20.0),  # a small one, as p h is less than k
        ((Robin("inlet", 2.5), Dirichlet("outlet", lambda x, y: 300 + y)), 300.0),
    ],
)
def test_the_level_is_the_fixed_value_nearest_to_0(conditions, levels):
    level = level_of(DUCT, Problem(conditions))
    assert (level is None) if levels is None else (level == levels).all()


def test_nodes_outside_every_element_stay_at_0():
    loose = replace(DUCT, x=np.append(DUCT.x, 9.0), y=np.append(DUCT.y, 9.0))
    solution = fem.solve(loose, Problem.potential_flow(loose, outlet=1e8), backend="numpy", solver="direct")
    assert solution.u[-1] == 0
    assert solution.report.shifts == ({"constant": 1e8, "nodes": DUCT.n_nodes},)


def test_hooks_get_the_shifted_problem_and_the_user_keeps_the_own_one():
    problem = Problem((Robin("inlet", 2.5 + 7e6, 1e6), Dirichlet("outlet", np.full(DUCT.n_nodes, 7.0))))
    shifted = relative_to(np.full(DUCT.n_nodes, 7.0), DUCT, problem)
    assert not np.any(shifted.conditions[1].value)
    assert np.allclose(shifted.conditions[0].gamma[DUCT.boundaries["inlet"].nodes], 2.5)
    assert fem.solve(DUCT, problem, backend="numpy").problem is problem


# ── what a shift can't help ──────────────────────────────────────────────────────────────────


def swamped(difference: float, **options) -> fem.Report:
    """The flow from the inlet, while the two halves of the outlet differ."""
    halves = Dirichlet("outlet", lambda x, y: difference * (y > 0.5))
    return fem.solve(DUCT, Problem((Robin("inlet", 2.5), halves)), backend="numpy", **options).report


@pytest.mark.parametrize("solver", ["cg", "mg"])
def test_fixed_values_that_swamp_the_flow_cause_a_warning(solver):
    assert not [text for text in swamped(1.0, solver=solver).warnings if "lost" in text]
    (text,) = (text for text in swamped(1e8, solver=solver).warnings if "lost" in text)
    assert text.startswith("the fixed values differ by up to 1e+08 m²/s")
    assert not [text for text in swamped(1e8, solver="direct").warnings if "lost" in text]  # the way out


def test_surroundings_that_hardly_hold_u_swamp_nothing():
    leak = Robin("walls", 0.0, 1e-12)  # the surroundings are at 0
    solution = fem.solve(
        DUCT, Problem((Robin("inlet", 2.5), leak, Dirichlet("outlet", 1e8))), backend="numpy", solver="cg"
    )
    assert solution.report.warnings == ()
    assert np.allclose(solution.speed, 2.5, rtol=1e-3)  # but for what leaks: 1e8 x 1e-12 m/s
    strong = Problem((Robin("inlet", 2.5), replace(leak, p=1e2), Dirichlet("outlet", 1e9)))
    (text,) = fem.solve(DUCT, strong, backend="numpy", solver="cg", rtol=1e-3).report.warnings
    assert text.startswith("the fixed values differ by up to 1e+09 m²/s from each other or from 0")


@pytest.mark.parametrize("solver", ["cg", "direct"])
def test_a_condition_that_nearly_fixes_u_swamps_the_flow_too(solver):
    # γ = 1e-5 is the load, but only γ/p = 1e-15 drives the flow.
    for p, lost in ((1.0, False), (1e10, solver == "cg"), (1e14, solver == "cg")):
        problem = Problem((Robin("inlet", 1e-5, p), Dirichlet("outlet")), dirichlet="eliminate")
        solution = fem.solve(DUCT, problem, backend="numpy", solver=solver, rtol=1e-6)
        assert any("γ is up to 1e-05 m/s where p > 0" in text for text in solution.report.warnings) == lost
        u = 1e-5 / (p + 1 / np.ptp(DUCT.x))
        assert lost or np.allclose(solution.speed, u / np.ptp(DUCT.x), rtol=1e-2)


def test_the_share_that_is_lost_is_the_residual_in_every_region():
    # Where nothing but fixed values drives the flow, nothing can be lost.
    alone = Problem((Dirichlet("inlet", 1e8), Dirichlet("outlet", 0.0)))
    assert fem.solve(DUCT, alone, backend="numpy").report.warnings == ()
    # A part that has a flow counts by itself, whatever flows in another one.
    mesh = fem.with_boundaries(twice())
    far = (Dirichlet("inlet 2", 1e9), Dirichlet("outlet 2", lambda x, y: 1e3 * y))
    problem = Problem((Robin("inlet", 2.5), Dirichlet("outlet"), *far))
    report = fem.solve(mesh, problem, backend="numpy", solver="cg").report
    assert any("lost" in text for text in report.warnings)


def test_the_shift_is_stored_and_printed_as_json(tmp_path):
    mesh = fem.write_mesh(DUCT, tmp_path / "duct.h5")
    done = run("solve", mesh, "--backend", "numpy", "--outlet", "1e8", "--json", "--output", tmp_path / "u.h5")
    assert done.exit_code == 0, done.stderr
    shifts = [{"constant": 1e8, "nodes": DUCT.n_nodes}]
    assert json.loads(done.stdout)["shifts"] == shifts
    assert list(fem.read_solution(tmp_path / "u.h5").report.shifts) == shifts

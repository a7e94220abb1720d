"""Coefficients and conditions: what they evaluate to, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from fem_core import Boundary, Dirichlet, Fluid, Problem, ProblemError, Robin, solve, with_boundaries
from meshes import renumbered, squares, two_parts

MESH = squares(3, 2, width=3.0)
N, E = MESH.n_nodes, MESH.n_elements


def refusal(problem: Problem, mesh=MESH) -> str:
    with pytest.raises(ProblemError) as refused:
        problem.on(mesh)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ── values ───────────────────────────────────────────────────────────────────────────────────


def f(x, y):
    return 1 + 2 * x - y


@pytest.mark.parametrize("value", [f, f(MESH.x, MESH.y)], ids=["function", "per node"])
def test_functions_and_values_per_node_are_the_same(value):
    # Wherever a value is taken: flux, p, Dirichlet value, source.
    def problem(v):
        return Problem((Robin("inlet", v, v), Dirichlet("outlet", v)), source=v)

    expected, found = (solve(MESH, problem(v), backend="numpy", solver="direct") for v in (f, value))
    assert np.array_equal(expected.u, found.u)


def test_a_constant_is_the_same_as_an_array_of_it():
    # For every coefficient.
    def problem(v, k):
        return Problem((Robin("inlet", v, v), Dirichlet("outlet", v)), k, source=v)

    expected = solve(MESH, problem(2.5, 3.0), backend="numpy", solver="direct")
    found = solve(MESH, problem(np.full(N, 2.5), np.full(E, 3.0)), backend="numpy", solver="direct")
    assert np.array_equal(expected.u, found.u)


def test_functions_see_the_boundary_s_nodes_only():
    # 1/x is fine for an outlet at x = 3 although the mesh begins at 0.
    def reciprocal(x, y):
        assert np.all(x == 3)
        return 1 / x

    fixed, lift = Problem((Dirichlet("outlet", reciprocal),)).fixed_on(MESH)
    assert np.array_equal(MESH.boundaries["outlet"].nodes, fixed)
    assert np.array_equal(np.where(MESH.x == 3, 1 / 3, 0), lift)


def test_values_off_the_boundary_are_not_looked_at():
    # Arrays over all nodes are often only meaningful on the boundary.
    value = np.where(MESH.x == 3, 4.0, np.nan)
    assert set(Problem((Dirichlet("outlet", value),)).on(MESH).fixed_on(MESH)[1]) == {0.0, 4.0}


def test_conductivity_is_per_element():
    # Never per node.
    k = np.arange(1.0, E + 1)
    assert np.array_equal(k, Problem(conductivity=k).conductivity_on(MESH))
    assert np.array_equal(np.full(E, 2.0), Problem(conductivity=2).conductivity_on(MESH))


def test_source_is_none_per_element_or_at_the_nodes():
    # No source costs nothing; one value per element is constant in it.
    assert Problem().source_on(MESH) is None
    s = np.arange(1.0, E + 1)
    assert np.array_equal(np.repeat(s[:, None], 8, axis=1), Problem(source=s).source_on(MESH))
    assert np.array_equal(f(MESH.x, MESH.y)[MESH.quad8], Problem(source=f).source_on(MESH))
    assert np.array_equal(np.full((E, 8), 3.0), Problem(source=3).source_on(MESH))


def test_potential_flow_is_the_default_problem():
    # γ = 2.5 and p = 0 at the inlet, u = 0 at the outlet, k = 1, no source, penalty.
    problem = Problem.potential_flow(MESH)
    assert problem == Problem((Robin("inlet", 2.5, 0.0), Dirichlet("outlet", 0.0)))
    assert (problem.conductivity, problem.source, problem.dirichlet) == (1.0, 0.0, "penalty")
    assert problem.robin == (Robin("inlet", 2.5, 0.0),)


def test_pressure_is_bernoulli_s():
    # p₀ - ½ρv²: with the published constants at rest, and by hand.
    assert Fluid().pressure(np.array([0.0, 2.0])).tolist() == [101328.8281, 101328.8281 - 2 * 1.225]
    assert Fluid(p0=10, rho=2).pressure(np.array([3.0])).tolist() == [1.0]


# ── which condition holds where ──────────────────────────────────────────────────────────────


def test_the_later_dirichlet_condition_holds_at_shared_nodes():
    # The corners belong to walls and outlet; the order of the conditions decides.
    corner = np.flatnonzero((MESH.x == 3) & (MESH.y == 0))[0]
    conditions = Dirichlet("walls", 1.0), Dirichlet("outlet", 2.0)
    assert Problem(conditions).fixed_on(MESH)[1][corner] == 2
    assert Problem(conditions[::-1]).fixed_on(MESH)[1][corner] == 1
    fixed, _ = Problem(conditions).fixed_on(MESH)
    both = np.union1d(MESH.boundaries["walls"].nodes, MESH.boundaries["outlet"].nodes)
    assert np.array_equal(both, fixed)


def test_orphan_nodes_are_fixed_at_zero():
    # Even where a boundary that came with the mesh lists them, with a value.
    mesh, _, _ = renumbered(MESH, orphans=4)
    outlet = mesh.boundaries["outlet"]
    listed = Boundary(outlet.edges, np.union1d(outlet.nodes, mesh.orphan_nodes))
    mesh = replace(mesh, boundaries={**mesh.boundaries, "outlet": listed})
    fixed, lift = Problem((Dirichlet("outlet", 7.0),)).on(mesh).fixed_on(mesh)
    assert np.array_equal(listed.nodes, fixed)
    assert np.all(lift[mesh.orphan_nodes] == 0)
    assert np.all(lift[outlet.nodes] == 7)


# ── refused ──────────────────────────────────────────────────────────────────────────────────

OUT = Dirichlet("outlet")
NONE = "mesh: there is no boundary {}; boundaries: 'inlet', 'outlet', 'walls'"


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem((Robin("inlett"), OUT)), NONE.format("'inlett' (did you mean 'inlet'?)")),
        (Problem((Dirichlet("top"),)), NONE.format("'top'")),
        (
            Problem((OUT,), np.ones(E - 1)),
            f"conductivity must be a number or have one value per element ({E}); its shape is ({E - 1},)",
        ),
        (
            Problem((OUT,), source=np.ones((N, 1))),
            f"source must be a number or have one value per node ({N}); its shape is ({N}, 1)",
        ),
        (
            Problem((OUT,), 0.0),
            f"conductivity must be positive; it is not positive in elements 0, 1, 2, 3, 4, … ({E} in all)",
        ),
        (
            Problem((OUT,), np.array([1, 1, -2, 1, 0, 1.0])),
            "conductivity must be positive; it is not positive in elements 2, 4",
        ),
        (Problem((OUT,), np.array([1, np.nan, 1, 1, 1, 1])), "conductivity is not finite in element 1"),
        (Problem((OUT,), np.inf), f"conductivity is not finite in elements 0, 1, 2, 3, 4, … ({E} in all)"),
        (Problem((OUT,), "copper"), "conductivity must be a number or an array of numbers, not 'copper'"),
        (Problem((OUT,), source=np.full(E, np.nan)), f"source is not finite in elements 0, 1, 2, 3, 4, … ({E} in all)"),
    ],
)
def test_nonsense_is_refused_in_one_line(problem, message):
    # Before anything is computed, by the name of what is wrong.
    assert message == refusal(problem)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (Problem((Robin("inlet", 1e160), OUT)), "gamma on 'inlet' is too large at nodes 0, "),
        (Problem((Robin("inlet", 1.0, -1e300), OUT)), "p on 'inlet' is too large at nodes 0, "),
        (Problem((Dirichlet("outlet", lambda x, y: 1e60 * y),)), "value on 'outlet' is too large at nodes "),
        (Problem((OUT,), source=np.full(E, 1e200)), "source is too large in elements 0, 1, 2, 3, 4, … (6 in all): 1e+"),
        (Problem((OUT,), source=lambda x, y: 1e51 + x), "source is too large at nodes 0, 1, 2, 3, 4, "),
        (Problem((OUT,), 1e200), "conductivity is too large in elements 0, 1, 2, 3, 4, … (6 in all): 1e+"),
        (
            Problem((OUT,), np.array([1, 1e-200, 1, 1, 1, 1])),
            "conductivity is too small in element 1: 1e-200, and the limit is 1e-50; choose other units",
        ),
        (
            Problem((OUT,), 1e11),
            "a conductivity of 1e+11 is too large for the penalty of 1e+12: fixed values would not hold; "
            'use --dirichlet eliminate (dirichlet="eliminate")',
        ),
    ],
)  # fmt: skip
def test_extreme_coefficients_are_the_problem_s_fault(problem, message):
    # Not a backend's, in whose stages they would overflow.
    assert refusal(problem).startswith(message)


def test_loads_whose_squares_vanish_are_warned_of():
    # The solver sees no load, and calls 0 the solution.
    def doubts(gamma):
        return list(Problem((Robin("inlet", gamma), OUT)).doubts_on(MESH))

    assert doubts(1e-90) == doubts(0.0) == []
    (doubt,) = doubts(1e-200)
    assert doubt.startswith("gamma, source and fixed values are at most 1e-200: their squares vanish")


@pytest.mark.parametrize(
    "given", [{"rho": -1.0}, {"rho": 1e300}, {"p0": np.nan}, {"p0": "1"}, {"rho": True}, {"rho": None}]
)
def test_a_fluid_has_numbers_that_can_be_computed_with(given):
    (name,) = given
    with pytest.raises(ProblemError, match=rf"^{name} of the fluid must be a number from .* to 1e\+50, not "):
        Fluid(**given)


def test_what_is_no_problem_is_refused_by_name():
    # And not with an AttributeError of a later stage.
    for given, message in (
        ({"conditions": 3}, "conditions must be Robin or Dirichlet, not 3"),
        ({"conditions": "inlet"}, "conditions must be Robin or Dirichlet, not 'i'"),
        ({"conditions": Robin(3)}, "the boundary of a condition must be a name, not 3"),
        ({"fluid": 1.2}, "fluid must be a fem_core.Fluid, not 1.2"),
    ):
        with pytest.raises(ProblemError) as refused:
            Problem(**given)
        assert message == str(refused.value)


@pytest.mark.parametrize("solver", ["direct", "cg", "mg"])
@pytest.mark.parametrize(
    "large", [{"gamma": 1e50, "conductivity": 1e-50}, {"p": 1e50}, {"source": 1e50}, {"outlet": 1e50}]
)
def test_the_largest_coefficients_that_are_accepted_are_computed_with(solver, large):
    # Without a warning of NumPy, which is an error in tests; lengths of 1e20 m beside.
    mesh = replace(MESH, x=1e20 * MESH.x, y=1e20 * MESH.y)
    problem = Problem.potential_flow(mesh, **large, fluid=Fluid(1e50, 1e50), dirichlet="eliminate")
    assert solve(mesh, problem, backend="numpy", solver=solver).report.converged


def test_robin_coefficients_are_checked_with_the_problem():
    # A wrong γ must not wait for the stage that uses it.
    for robin in (Robin("inlet", np.ones(3)), Robin("inlet", 1.0, np.ones(3))):
        text = refusal(Problem((robin, OUT)))
        assert text.endswith(f"on 'inlet' must be a number or have one value per node ({N}); its shape is (3,)")
    assert "gamma on 'inlet' is not finite at nodes" in refusal(Problem((Robin("inlet", np.nan), OUT)))


def test_dirichlet_values_are_checked_with_the_problem():
    # The value of a fixed node must be there and finite.
    assert "value on 'outlet' is not finite at nodes" in refusal(Problem((Dirichlet("outlet", np.inf),)))
    with np.errstate(divide="ignore"):
        text = refusal(Problem((Dirichlet("outlet", lambda x, y: np.log(x - 3)),)))
    assert text.startswith("value on 'outlet' is not finite at nodes ")


def test_functions_that_fail_are_named_with_their_error():
    # Wrong length or an exception: the user's function is to blame, and the text says so.
    n = len(MESH.boundaries["outlet"].nodes)
    text = refusal(Problem((Dirichlet("outlet", lambda x, y: x[:2]),)))
    assert text.startswith(f"value on 'outlet': the function failed on arrays of {n} coordinates: ValueError(")
    text = refusal(Problem((Dirichlet("outlet", lambda x, y: 1 / 0),)))
    assert text.endswith("ZeroDivisionError('division by zero')")


def test_unknown_treatment_is_refused():
    # Typos must not fall back to a default.
    with pytest.raises(ProblemError, match="dirichlet must be 'penalty' or 'eliminate', not 'elimination'"):
        Problem(dirichlet="elimination")


def test_a_mesh_without_boundaries_is_told_what_to_call():
    # The stage-by-stage user forgot with_boundaries.
    text = refusal(Problem((OUT,)), replace(MESH, boundaries={}))
    assert text.endswith("boundaries: none: call fem_core.with_boundaries(mesh)")


def test_boundaries_without_edges_or_nodes_are_refused():
    # A Robin condition on nothing would silently be no condition.
    mesh = replace(MESH, boundaries={"points": Boundary([], [0]), "nothing": Boundary([], [])})
    text = refusal(Problem((Robin("points"),)), mesh)
    assert text == (
        "mesh: boundary 'points' has no edges for a Robin condition; its nodes complete no exterior edge; "
        "add the other nodes of each edge to it"
    )
    empty = "mesh: boundary 'nothing' has no nodes to fix; it is empty; add its edges and nodes in the mesh"
    assert refusal(Problem((Dirichlet("nothing"),)), mesh) == empty
    # No boundary tolerance can help where names decide.
    both = refusal(Problem((Dirichlet("nothing"), Robin("points"))), mesh)
    assert both == f"{empty}; 1 more fault: fem check lists all"


# ── the level of u ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("conditions", [(), (Robin("inlet", 2.5),), (Robin("inlet", 2.5), Robin("outlet", -2.5))])
def test_nothing_holds_the_level(conditions):
    # Fluxes alone leave u undetermined up to a constant.
    text = refusal(Problem(conditions))
    assert text.startswith("mesh: no condition fixes the level of u in the mesh (elements 0, 1, 2")


def test_a_robin_condition_with_positive_p_holds_it():
    # u = γ/p + γ x needs no Dirichlet node.
    problem = Problem((Robin("inlet", 0.0, 2.0), Robin("outlet", 4.0)))
    u = solve(MESH, problem, backend="numpy", solver="direct").u
    np.testing.assert_allclose(u, 2 + 4 * MESH.x, rtol=1e-12)


def test_a_floating_part_is_named():
    # Two parts, conditions by position: the left one has the inlet but no outlet.
    mesh = with_boundaries(two_parts())
    text = refusal(Problem((Robin("inlet", 2.5), Dirichlet("outlet"))), mesh)
    assert text == (
        "mesh: no condition fixes the level of u in 1 of 2 connected parts of the mesh "
        "(elements 0, 1, 2, 3); fix u on a boundary of each part"
    )
    with pytest.raises(ProblemError, match="1 of 2 connected parts"):
        solve(two_parts(), backend="numpy")


def test_two_parts_that_are_both_held_are_solved():
    # Each by itself.
    mesh = with_boundaries(two_parts())
    solution = solve(mesh, Problem((Dirichlet("inlet", 5.0), Dirichlet("outlet", 2.0))), backend="numpy")
    np.testing.assert_allclose(solution.u, np.where(mesh.x < 1.5, 5, 2), rtol=1e-7)

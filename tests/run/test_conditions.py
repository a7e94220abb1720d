"""The problem that is solved is the one that the mesh, the file and the user name; reports show it."""

import json
from dataclasses import replace

import fem_core as fem
import numpy as np
import pytest
from commands import run
from fem_core import Boundary, Dirichlet, Problem, Robin
from fem_core.mesh.mesh import Mesh
from fem_core.plot.figure import _title
from fem_core.problem import condition_text
from fem_core.tools.mesh_check import check_mesh

DUCT = fem.generate.duct(length=2.0, height=1.0, nx=4, ny=2)


def renamed(**names: str) -> Mesh:
    """The duct with other names of boundaries."""
    return replace(DUCT, boundaries={names.get(name, name): one for name, one in DUCT.boundaries.items()})


def solved(mesh, *arguments):
    """The report of `fem solve --json`."""
    done = run("solve", mesh, "--backend", "numpy", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


# ── names ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("mesh", "missing", "near"),
    [
        (renamed(inlet="inlet A"), "'inlet'", "'inlet A'"),
        (renamed(inlet="Einlass", outlet="Auslass"), "'inlet' and no 'outlet'", None),
        (renamed(outlet="outlets"), "'outlet'", "'outlets'"),
        (renamed(inlet="inlet 1", outlet="outlet 1"), "'inlet' and no 'outlet'", "'inlet 1' and 'outlet 1'"),
        (replace(DUCT, boundaries={"walls": DUCT.boundaries["walls"]}), "'inlet' and no 'outlet'", None),
    ],
)
def test_a_mesh_with_names_is_never_guessed_at(tmp_path, mesh, missing, near):
    # The same words from Python, the command line and the check.
    path = fem.write_mesh(mesh, tmp_path / "named.h5")
    text = f"named.h5: there is no boundary {missing}{f' (did you mean {near}?)' if near else ''}; boundaries: "
    with pytest.raises(fem.ProblemError) as python:
        fem.solve(path, backend="numpy")
    with pytest.raises(fem.ProblemError) as default:
        Problem.potential_flow(fem.read_mesh(path))
    said = str(python.value)
    assert said.startswith(text)
    assert all(repr(name) in said for name in mesh.boundaries)
    assert "--by-position (by_position=True)" in said
    assert str(default.value) == said
    shell, check = run("solve", path, "--backend", "numpy"), run("check", path)
    assert (shell.exit_code, check.exit_code) == (2, 2)
    assert said in shell.stderr
    assert said.removeprefix("named.h5: ") in check.stdout


def test_by_position_on_request(tmp_path):
    path = fem.write_mesh(renamed(inlet="inlet A"), tmp_path / "named.h5")
    report = solved(path, "--by-position")
    assert report["solution"]["u_max"] == pytest.approx(5)
    assert [(one["boundary"], one["origin"]) for one in report["conditions"]] == [
        ("inlet", "position"),
        ("outlet", "mesh"),
    ]
    assert fem.solve(path, backend="numpy", by_position=True).u.max() == pytest.approx(5)
    assert "--by-position" in run("check", path, "--by-position").stdout.splitlines()[-1]


@pytest.mark.parametrize("names", [("INLET", "OUTLET"), ("Inlet", "oUTLET")])
def test_case_is_ignored_where_one_boundary_is_left(tmp_path, names):
    # The ends are bottom and top, so that position would have solved another problem.
    start, _, end = DUCT.exterior_edges.T
    sides = [DUCT.exterior_edges[(DUCT.y[start] == y) & (DUCT.y[end] == y)] for y in (0.0, 1.0)]
    named = {name: Boundary.from_edges(edges) for name, edges in zip(names, sides, strict=True)}
    mesh = replace(DUCT, boundaries=named)
    solution = fem.solve(fem.write_mesh(mesh, tmp_path / "caps.h5"), backend="numpy")
    assert np.allclose(solution.u, 2.5 * (1 - mesh.y))
    assert [condition.boundary for condition in solution.problem.conditions] == list(names)
    own = Problem((Robin(names[0].swapcase(), 2.5), Dirichlet(names[1].swapcase())))
    assert np.array_equal(fem.solve(mesh, own, backend="numpy").u, solution.u)
    system = fem.apply_bc(fem.assemble_system(mesh, own), mesh, own)
    assert np.array_equal(fem.solve_system(system, mesh, own).u, solution.u)


def test_case_that_leaves_two_boundaries_is_refused():
    both = replace(DUCT, boundaries={**renamed(inlet="Inlet").boundaries, "INLET": DUCT.boundaries["inlet"]})
    with pytest.raises(fem.ProblemError, match="the boundary 'inlet' could be 'Inlet' or 'INLET'; rename one"):
        fem.solve(both, backend="numpy")
    exact = replace(DUCT, boundaries={**DUCT.boundaries, "INLET": DUCT.boundaries["walls"]})
    found = fem.solve(exact, backend="numpy")
    assert found.u.max() == pytest.approx(5)
    said = ("the mesh has a boundary 'INLET', too, without a condition; 'inlet' differs in case only",)
    assert found.report.warnings == said == check_mesh(exact).warnings


def test_a_lost_boundary_is_told_or_refused():
    lost = {"inlet": "node 7 of the set lies inside the mesh"}
    without = replace(DUCT, boundaries={"outlet": DUCT.boundaries["outlet"]}, lost=lost)
    with pytest.raises(fem.ProblemError, match="'inlet' of the file can't be used: node 7 of the set lies inside"):
        fem.solve(without, backend="numpy")
    assert not check_mesh(without).solvable
    both = replace(DUCT, boundaries={}, lost=lost | {"outlet": "it has no lines"})
    with pytest.raises(
        fem.ProblemError, match=r"'inlet' of the file .*; the boundary 'outlet' of the file can't be used"
    ):
        fem.solve(both, backend="numpy")
    solution = fem.solve(replace(DUCT, lost={"rim": "it has no lines"}), backend="numpy")
    note = "not boundaries, although the file names them: 'rim': it has no lines"
    assert note in solution.report.notes
    assert note in check_mesh(replace(DUCT, lost={"rim": "it has no lines"})).notes


def test_a_mesh_whose_only_names_are_lost_has_names():
    with pytest.raises(fem.ProblemError, match="can't be used"):
        fem.solve(replace(DUCT, boundaries={}, lost={"inlet": "it is empty"}), backend="numpy")
    with pytest.raises(fem.ProblemError, match="no boundary 'inlet'"):
        fem.solve(replace(DUCT, boundaries={}, lost={"rim": "it is empty"}), backend="numpy")


def test_all_empty_boundaries_are_told_at_once(tmp_path):
    # As many by solve as check lists; a tolerance for positions is no way out where names decide.
    empty = {"inlet": Boundary([], []), "outlet": Boundary([], [])}
    path = fem.write_mesh(replace(DUCT, boundaries=empty), tmp_path / "empty.h5")
    shell, check = run("solve", path, "--backend", "numpy"), run("check", path)
    assert "boundary 'inlet' has no edges for a Robin condition; it is empty; add its edges" in shell.stderr
    assert shell.stderr.endswith("; 1 more fault: fem check lists all\n")
    assert "tolerance" not in shell.stderr
    assert check.stdout.count("fault: ") == 2
    named = replace(DUCT, boundaries={"left": DUCT.boundaries["inlet"], "rim": Boundary([], [])})
    with pytest.raises(fem.ProblemError, match=r"boundaries: 'left', 'walls'; not boundaries.*'rim': it is empty"):
        fem.solve(named, backend="numpy")
    with pytest.raises(fem.ProblemError, match="boundaries: none; name the inlet and the outlet in the mesh, or"):
        fem.solve(replace(DUCT, boundaries={"walls": Boundary([], [])}), backend="numpy")


# ── an edge counts once ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".msh", ".vtu", ".inp"])
def test_an_edge_counts_once(tmp_path, suffix):
    edges = DUCT.boundaries["inlet"].edges
    repeated = Boundary.from_edges(np.concatenate([edges, edges[:, ::-1], edges[:1]]))
    assert np.array_equal(repeated.edges, edges)
    mesh = replace(DUCT, boundaries={**DUCT.boundaries, "inlet": repeated})
    assert fem.solve(fem.write_mesh(mesh, tmp_path / f"twice{suffix}"), backend="numpy").u.max() == pytest.approx(5)


@pytest.mark.parametrize("kind", [Dirichlet, Robin])
def test_the_nodes_of_its_edges_belong_to_a_boundary(tmp_path, kind):
    # A file or a program may give the edges only: they are not empty for a Dirichlet condition.
    edges = {name: Boundary(one.edges, []) for name, one in DUCT.boundaries.items()}
    problem = Problem((kind("inlet", 1.0), Dirichlet("outlet")))
    expected = fem.solve(DUCT, problem, backend="numpy").u
    assert np.array_equal(fem.solve(replace(DUCT, boundaries=edges), problem, backend="numpy").u, expected)
    arrays = {f"boundaries/{name}/edges": one.edges for name, one in edges.items()}
    np.savez(tmp_path / "m.npz", x=DUCT.x, y=DUCT.y, quad8=DUCT.quad8, **arrays)
    assert np.array_equal(fem.solve(tmp_path / "m.npz", problem, backend="numpy").u, expected)


@pytest.mark.parametrize("suffix", ["", ".h5", ".npz"])
def test_a_boundary_has_the_nodes_of_its_edges(tmp_path, suffix):
    # With u fixed on some of the nodes only, u was 8.7, and with none given, the outlet was refused.
    for nodes in ([], DUCT.boundaries["outlet"].nodes[:1]):
        part = Boundary(DUCT.boundaries["outlet"].edges, nodes)
        mesh = replace(DUCT, boundaries={**DUCT.boundaries, "outlet": part})
        source = fem.write_mesh(mesh, tmp_path / f"part{suffix}") if suffix else mesh
        assert fem.solve(source, backend="numpy").u.max() == pytest.approx(5)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".msh", ".vtu", ".inp", ".xlsx"])
def test_empty_walls_are_not_lost(tmp_path, suffix):
    # Where names cover the exterior, nothing is left for the walls.
    mesh = fem.with_boundaries(renamed(walls="rim"))
    assert not len(mesh.boundaries["walls"].nodes)
    read = fem.read_mesh(fem.write_mesh(mesh, tmp_path / f"m{suffix}"))
    assert read.boundaries.keys() == mesh.boundaries.keys()
    assert not read.lost


def test_two_conditions_on_an_edge_add_up():
    both = replace(DUCT, boundaries={**DUCT.boundaries, "also": DUCT.boundaries["inlet"]})
    problem = Problem((Robin("inlet", 1.0), Robin("also", 1.5), Dirichlet("outlet")))
    assert fem.solve(both, problem, backend="numpy").u.max() == pytest.approx(5)


@pytest.mark.parametrize(
    ("name", "largest"),
    [
        ("105a_lines_and_surface.inp", 5),
        ("106b_line_twice.msh", 5),
        ("107_edges_twice.h5", 5),
        ("14_upper.inp", 2.5),
        ("27_caps.msh", 5),
    ],
)
def test_reported_files(case, name, largest):
    solution = fem.solve(case(name), backend="numpy")
    assert solution.u.max() == pytest.approx(largest)
    assert {one["origin"] for one in solution.report.conditions} == {"mesh"}


# ── what was solved is shown ─────────────────────────────────────────────────────────────────


def test_conditions_in_every_report(tmp_path):
    problem = Problem((Robin("inlet", lambda x, y: 1 + y, 0.5), Dirichlet("outlet", 3.0)))
    solution = fem.solve(DUCT, problem, backend="numpy")
    inlet, outlet = solution.report.conditions
    assert inlet["value"] == pytest.approx([1, 2])
    assert inlet["p"] == 0.5
    assert (inlet["length"], inlet["nodes"]) == (pytest.approx(1), 5)
    assert condition_text(inlet) == "inlet: k ∂u/∂n + p u = γ, γ = 1 to 2 m/s, p = 0.5 1/s on 1 m"
    assert condition_text(outlet) == "outlet: u = 3 m²/s on 5 nodes"
    for text in map(condition_text, solution.report.conditions):
        assert text in _title(solution, 80).replace("\n", " ")
    read = fem.read_solution(solution.write(tmp_path / "u.h5"))
    assert read.report.conditions == solution.report.conditions


def test_position_is_shown(tmp_path):
    path = fem.write_mesh(replace(DUCT, boundaries={}), tmp_path / "bare.h5")
    done = run("solve", path, "--backend", "numpy")
    assert "inlet (by position): inflow γ = 2.5 m/s on 1 m" in done.stdout
    assert "outlet (by position): u = 0 m²/s on 5 nodes" in done.stdout
    assert {one["origin"] for one in solved(path)["conditions"]} == {"position"}
    assert "inlet (by position): inflow γ = 2.5 m/s on 1 m" in run("check", path).stdout


# ── a result is solved as the problem that is stored in it ───────────────────────────────────


@pytest.fixture
def result(tmp_path):
    problem = Problem((Dirichlet("inlet", 4.0), Dirichlet("outlet", 1.0)), 3.0, fluid=fem.Fluid(p0=1e5, rho=2.0))
    return fem.solve(DUCT, problem, backend="numpy").write(tmp_path / "result.h5")


def test_a_result_is_solved_as_its_own_problem(result):
    report = solved(result)
    assert [one["value"] for one in report["conditions"]] == [4, 1]
    assert report["solution"]["pressure_min"] == pytest.approx(1e5 - 0.5 * 2 * 1.5**2)
    assert any("solves the problem that is stored in result.h5" in note for note in report["notes"])
    solution = fem.solve(result, backend="numpy")
    assert solution.u.max() == pytest.approx(4)
    assert solution.problem.fluid == fem.Fluid(p0=1e5, rho=2.0)
    changed = fem.solve(DUCT, replace(solution.problem, conductivity=1.0), backend="numpy")
    assert not any("stored in" in note for note in changed.report.notes)
    checked = run("check", result).stdout
    assert "condition: inlet: u = 4 m²/s on 5 nodes" in checked
    assert "note: solves the problem that is stored in result.h5" in checked


def test_a_condition_that_is_given_replaces_all_conditions(result):
    report = solved(result, "--gamma", "3")
    assert [(one["kind"], one["value"]) for one in report["conditions"]] == [("Robin", 3), ("Dirichlet", 0)]
    assert report["solution"]["u_max"] == pytest.approx(3 * 2 / 3.0)  # k stays
    assert report["solution"]["pressure_min"] == pytest.approx(1e5 - 0.5 * 2 * 1.0**2)
    assert any("with the conditions given here" in note for note in report["notes"])
    stiffer = solved(result, "--conductivity", "7")
    assert [one["value"] for one in stiffer["conditions"]] == [4, 1]
    assert "solves the problem that is stored in result.h5, with the conductivity given here" in stiffer["notes"]
    given = fem.solve(result, Problem.potential_flow(DUCT), backend="numpy")
    assert given.u.max() == pytest.approx(5)


def test_a_repaired_result_is_told_to_be_a_mesh_only(result, tmp_path):
    # Otherwise the default problem would be solved on it without a word.
    done = run("check", result, "--fix", "-o", tmp_path / "mended.h5").stdout
    assert "repaired: wrote the mesh only, without the solution and the problem of the result" in done
    assert "condition: inlet: inflow γ = 2.5 m/s on 1 m" in done


def test_a_result_that_is_damaged_is_no_mesh_to_be_guessed_at(result):
    import h5py

    with h5py.File(result, "r+") as file:
        del file["solution/problem/conditions/0"].attrs["kind"]
    done = run("solve", result, "--backend", "numpy")
    assert done.exit_code == 2
    assert "result.h5: damaged result" in done.stderr


# ── what may not be meant ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("outlet", "number"), [("inlet", 2), ("walls", 0)])
def test_an_inflow_where_u_is_fixed_has_no_effect(tmp_path, outlet, number):
    # u was 0 everywhere, and no word was said. A corner in common is usual.
    mesh = replace(DUCT, boundaries={**DUCT.boundaries, "outlet": DUCT.boundaries[outlet]})
    said = ["u is fixed at all nodes of 2 of 2 edges of the boundary 'inlet': its inflow has no effect there"][:number]
    assert [one for one in fem.solve(mesh, backend="numpy").report.warnings if "no effect" in one] == said
    assert [one for one in check_mesh(mesh).warnings if "no effect" in one] == said


def test_a_corner_alone_in_common_is_told():
    # The flow through a point grows worse as elements get smaller.
    x, y = np.array([(0, 1, 1, 0, 0.5, 1, 0.5, 0), (0, 0, 1, 1, 0, 0.5, 1, 0.5)])
    number = np.array([2, 8, 9, 10, 11, 12, 13, 14])
    mesh = Mesh(np.append(x, 1 + x[1:]), np.append(y, 1 + y[1:]), np.stack([np.arange(8), number]))
    said = "elements have only a corner in common at node 2: fluid passes through a point there"
    assert any(said in one for one in fem.solve(mesh, backend="numpy").report.warnings)
    assert any(said in one for one in check_mesh(mesh).warnings)

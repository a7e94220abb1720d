"""Mistakes in calls: each is answered by a typed error of one line that says what is accepted."""

from dataclasses import replace

import fem_core as fem
import numpy as np
import pytest
from fem_core.assembly import LinearSystem, Sparsity
from fem_core.solvers.factorisation import CHOLMOD, PARDISO


@pytest.fixture
def mesh():
    return fem.generate.duct(nx=3, ny=2)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"rtol": "5"}, fem.OptionError, "rtol must be a number, not '5'"),
        ({"rtol": float("inf")}, fem.OptionError, "finite"),
        ({"maxiter": 2.5}, fem.OptionError, "whole numbers"),
        ({"monitor": True}, fem.OptionError, "monitor must be a number"),
        ({"boundary_tolerance": float("nan")}, fem.OptionError, "boundary_tolerance"),
        ({"backend": None}, fem.OptionError, "a backend must be a name"),
        ({"problem": 5}, fem.ProblemError, "problem must be a fem_core.Problem"),
        ({"solver_options": {"levels": 3}}, fem.OptionError, "'direct' takes no options of its own"),
    ],
)
def test_wrong_arguments(mesh, options, kind, text):
    bare = fem.Mesh(mesh.x, mesh.y, mesh.quad8)
    heard = []
    with pytest.raises(kind, match=text):
        fem.solve(bare, on_event=heard.append, **{"backend": "numpy", **options})
    assert [event.name for event in heard].count("fem:error") == 1


def test_a_mesh_is_a_mesh_or_a_path():
    with pytest.raises(fem.MeshError, match=r"mesh must be a fem_core\.Mesh or the path of a file, not None"):
        fem.solve(None, backend="numpy")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"quad8": [[0, 1], [2]]}, "quad8 must be an array"),
        ({"boundaries": {"inlet": [0, 1]}}, "must be a Boundary"),
        ({"boundaries": {3: fem.Boundary([], [0])}}, "3 is not a valid name"),
        ({"boundaries": {".": fem.Boundary([], [0])}}, "is not a valid name"),
    ],
)
def test_wrong_meshes(mesh, arguments, text):
    with pytest.raises(fem.MeshError, match=text):
        fem.Mesh(**{"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8, **arguments})


def test_conditions_are_conditions():
    assert fem.Problem(fem.Dirichlet("outlet")).conditions == (fem.Dirichlet("outlet"),)
    with pytest.raises(fem.ProblemError, match="conditions must be Robin or Dirichlet, not 42"):
        fem.Problem((42,))


def test_boundary_conditions_are_applied_once(mesh):
    # Twice would double the load without a word.
    system = fem.apply_bc(fem.assemble_system(mesh), mesh)
    with pytest.raises(fem.ProblemError, match="already has its boundary conditions"):
        fem.apply_bc(system, mesh)


def test_a_system_belongs_to_its_mesh(mesh):
    made = fem.assemble_system(mesh)
    other = "the LinearSystem was made for another mesh; pass the result of assemble_system for this mesh"
    with pytest.raises(fem.ProblemError, match=other):
        fem.apply_bc(made, fem.generate.duct(nx=2, ny=1))
    by_hand = LinearSystem(made.matrix, made.rhs)
    with pytest.raises(fem.ProblemError, match="the system has 29 nodes, but the mesh has 13"):
        fem.apply_bc(by_hand, fem.generate.duct(nx=2, ny=1))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_values_of_another_mesh_with_as_many_nodes_are_refused(backend):
    # They would make a wrong matrix and a wrong solution without a word.
    here, there = fem.generate.duct(nx=4, ny=3), fem.generate.duct(nx=3, ny=4)
    assert (here.n_nodes, here.n_elements) == (there.n_nodes, there.n_elements)
    pattern = fem.compute_sparsity(here)
    bare = fem.assemble_system(here, sparsity=pattern)
    system = fem.apply_bc(bare, here)
    result = fem.solve_system(system, here)
    with fem.open_backend(backend) as session:
        for attempt, made_in in (
            (lambda: fem.assemble_system(there, sparsity=pattern, backend=session), "compute_sparsity"),
            (lambda: fem.apply_bc(bare, there, backend=session), "assemble_system"),
            (lambda: fem.solve_system(system, there, backend=session), "apply_bc"),
            (lambda: fem.compute_derived(there, result, backend=session), "solve_system"),
        ):
            with pytest.raises(fem.ProblemError, match=f"was made for another mesh; pass the result of {made_in}"):
                attempt()
        moved = replace(here, x=2 * here.x)  # the same topology
        assert fem.assemble_system(moved, sparsity=pattern, backend=session).n_nodes == here.n_nodes


def test_a_pattern_that_no_stage_made_is_compared_with_the_mesh():
    here, there = fem.generate.duct(nx=4, ny=3), fem.generate.duct(nx=3, ny=4)
    made = fem.compute_sparsity(here)
    by_hand = Sparsity(made.indptr, made.indices, made.slots)
    with pytest.raises(fem.ProblemError, match="the pattern isn't that of this mesh: slots lead elsewhere"):
        fem.assemble_system(there, sparsity=by_hand)
    expected = fem.assemble_system(here).matrix.data
    assert np.array_equal(expected, fem.assemble_system(here, sparsity=by_hand).matrix.data)
    short = Sparsity(made.indptr[:-1], made.indices, made.slots)
    with pytest.raises(fem.ProblemError, match=r"the pattern isn't that of this mesh: indptr must be int32 \(52,\)"):
        fem.assemble_system(here, sparsity=short)


LONG = LinearSystem(np.zeros((9, 9)), np.zeros(9))  # shown in one line


@pytest.mark.parametrize("wrong", [3, "x", object(), [3], np.zeros(3), LONG], ids=lambda value: type(value).__name__)
def test_wrong_types_are_errors_of_ours_in_one_line(mesh, wrong, tmp_path):
    # Not the AttributeError of whoever meets them first.
    problem = fem.Problem.potential_flow(mesh)
    bare = fem.assemble_system(mesh)
    options = "solver", "solver_options", "observers", "on_event", "cancel", "by_position", "slits", "outputs", "scale"
    attempts = [lambda name=name: fem.solve(mesh, backend="numpy", **{name: wrong}) for name in options]
    attempts += [
        lambda: fem.solve(wrong, backend="numpy"),
        lambda: fem.solve(mesh, wrong, backend="numpy"),
        lambda: fem.solve(mesh, backend=wrong),
        lambda: fem.solve(mesh, backend="numpy", fallback=wrong),
        lambda: fem.solve(mesh, backend="numpy", backend_options=wrong),
        lambda: fem.Problem.potential_flow(wrong),
        lambda: fem.Problem(dirichlet=wrong),
        lambda: fem.Problem(fluid=wrong),
        lambda: fem.Problem(conditions=[wrong]),
        lambda: fem.compute_sparsity(wrong),
        lambda: fem.assemble_system(mesh, wrong),
        lambda: fem.assemble_system(mesh, sparsity=wrong),
        lambda: fem.apply_bc(bare, mesh, wrong),
        lambda: fem.apply_bc(wrong, mesh, problem),
        lambda: fem.solve_system(wrong, mesh),
        lambda: fem.compute_derived(mesh, wrong),
        lambda: fem.Mesh(mesh.x, mesh.y, mesh.quad8, wrong),
        lambda: fem.write_mesh(wrong, tmp_path / "mesh.h5"),
        lambda: fem.plugins.register_plugin(wrong),
    ]
    if not isinstance(wrong, str):
        attempts += [lambda: fem.read_mesh(wrong), lambda: fem.write_mesh(mesh, wrong)]
        attempts.append(lambda: fem.Mesh(mesh.x, mesh.y, mesh.quad8, source=wrong))
    for attempt in attempts:
        with pytest.raises(fem.FemError) as refused:
            attempt()
        assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("solver", ["cg", "mg", "direct"])
def test_a_tolerance_that_accepts_0_is_refused(mesh, solver):
    with pytest.raises(fem.OptionError, match="rtol must be below 1, not 2: u = 0 would be accepted as the solution"):
        fem.solve(mesh, backend="numpy", solver=solver, rtol=2)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("solver", ["cg", "mg"])
def test_an_absolute_tolerance_that_accepts_0_is_warned_of(mesh, backend, solver):
    report = fem.solve(mesh, backend=backend, solver=solver, atol=1e9).report
    assert report.iterations == 0
    (warning,) = [one for one in report.warnings if "atol = 1e+09" in one]
    assert warning.endswith("no iteration is done; decrease atol")


def test_an_unknown_solver_is_answered_with_the_nearest(mesh):
    with pytest.raises(fem.OptionError, match=r"there is no solver 'drect' \(did you mean direct\?\); solvers: cg"):
        fem.solve(mesh, backend="numpy", solver="drect")


@pytest.mark.parametrize("one", [PARDISO, CHOLMOD], ids=lambda one: one.name)
def test_a_solver_whose_library_is_missing_is_answered_with_its_extra(mesh, one, monkeypatch):
    monkeypatch.setattr(type(one), "available", property(lambda _: False))
    extra = rf"no solver '{one.name}' without {one.library}, the extra `{one.name}`: .*{one.package}.*; solvers: cg"
    with pytest.raises(fem.OptionError, match=extra):
        fem.Session([]).solve(mesh, solver=one.name)


def test_assembly_refuses_a_conductivity_that_is_not_positive(mesh):
    with pytest.raises(fem.ProblemError, match="conductivity must be positive; it is not positive in elements 0, 1"):
        fem.assemble_system(mesh, fem.Problem(conductivity=-1.0))


def test_a_stage_whose_result_is_refused_is_not_complete(mesh):
    class Zeros(fem.plugins.Backend):
        @fem.plugins.hookimpl
        def fem_assemble(self, mesh):
            return np.zeros(3)

    heard = []
    info = fem.plugins.BackendInfo("zeros", "", "", stages=("assemble_system",))
    with fem.Session([(info, Zeros())]) as session, pytest.raises(fem.BackendError):
        session.solve(mesh, on_event=heard.append)
    done = [event.data["stage"] for event in heard if event.name == "fem:stageComplete"]
    assert "assemble_system" not in done

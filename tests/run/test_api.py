"""Mistakes in calls: each is answered by a typed error of one line that says what is accepted."""

import fem_core as fem
import numpy as np
import pytest


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
    with pytest.raises(fem.ProblemError, match="the system has 29 nodes, but the mesh has 13"):
        fem.apply_bc(fem.assemble_system(mesh), fem.generate.duct(nx=2, ny=1))


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

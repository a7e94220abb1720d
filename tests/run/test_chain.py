"""The chain by itself: who does a stage, with which solver, and what is kept."""

import fem_core as fem
import pytest
from fem_core.backends.default import DefaultBackend
from fem_core.plugins.stages import ASSEMBLE_SYSTEM, COMPUTE_SPARSITY
from fem_core.run.chain import Chain

OPTIONS = fem.plugins.SolverOptions()


class Picky(fem.plugins.Backend):
    """Assembles if k is 1."""

    @fem.plugins.hookimpl
    def fem_assemble(self, mesh, problem, sparsity):
        raise AssertionError("nobody asks")

    def declines(self, stage, problem, options):
        return None if problem.conductivity == 1 else "k must be 1"


def picky(name):
    return fem.plugins.BackendInfo(name, "", "", stages=("assemble_system",)), Picky()


def chain(*names, fallback=False):
    return Chain(DefaultBackend(), [picky(name) for name in names], fallback)


def test_the_first_who_can_and_the_core_last():
    both = chain("a", "b")
    assert both.name == "a,b"
    assert both.provider("assemble_system", fem.Problem(), OPTIONS) == ("a", [])
    assert both.provider("assemble_system", fem.Problem(), OPTIONS, without={"a"}) == ("b", [])
    assert both.provider("assemble_system", fem.Problem(), OPTIONS, without={"a", "b"}) == ("core", [])
    assert both.provider("compute_derived", fem.Problem(), OPTIONS) == ("core", [])
    assert chain().name == "core"


def test_declining_needs_a_fallback():
    stiff = fem.Problem(conductivity=2.0)
    with pytest.raises(fem.BackendError, match="backend 'a' declines assemble_system: k must be 1"):
        chain("a").provider("assemble_system", stiff, OPTIONS)
    name, notes = chain("a", "b", fallback=True).provider("assemble_system", stiff, OPTIONS)
    assert name == "core"
    assert notes == [f"backend {name!r} declined assemble_system: k must be 1" for name in ("a", "b")]


def test_a_name_is_there_once():
    with pytest.raises(fem.BackendError, match="backend 'a' is named twice in one chain"):
        chain("a", "b", "a")


def test_a_solver_that_nobody_has():
    with pytest.raises(fem.OptionError, match="there is no solver 'magic'; solvers: cg, direct, mg"):
        chain("a").provider("solve_system", fem.Problem(), fem.plugins.SolverOptions("magic"))


def test_patterns_are_kept_by_provider_and_topology_the_oldest_goes():
    kept, meshes = chain(), [fem.generate.duct(nx=n, ny=1) for n in range(1, 6)]
    for mesh in meshes[:4]:
        kept.keep(COMPUTE_SPARSITY, "core", mesh, mesh.n_elements)
    assert kept.kept(COMPUTE_SPARSITY, "core", meshes[0]) == 1  # and is now the youngest
    assert kept.kept(COMPUTE_SPARSITY, "a", meshes[0]) is None
    kept.keep(COMPUTE_SPARSITY, "core", meshes[4], 5)
    assert [kept.kept(COMPUTE_SPARSITY, "core", mesh) for mesh in meshes] == [1, None, 3, 4, 5]
    kept.forget()
    assert kept.kept(COMPUTE_SPARSITY, "core", meshes[4]) is None


def test_nothing_else_is_kept():
    """What a stage makes from coordinates or coefficients is another thing in the next run."""
    kept, mesh = chain(), fem.generate.duct(nx=2, ny=1)
    kept.keep(ASSEMBLE_SYSTEM, "core", mesh, object())
    assert kept.kept(ASSEMBLE_SYSTEM, "core", mesh) is None

"""The named checks of the results of each stage."""

from dataclasses import replace

import numpy as np

from fem_core import generate
from fem_core.mesh.mesh import Mesh
from fem_core.plugins.stages import APPLY_BC
from fem_core.problem import Dirichlet, Problem, Robin
from fem_core.testing.checks import check, check_on_cases
from fem_core.testing.compare import (
    assert_conditions,
    assert_derived,
    assert_load,
    assert_matrix,
    assert_pattern,
    assert_stages,
    bare_system,
)
from fem_core.testing.strategies import Case, wave
from fem_core.testing.target import Target, derived, performed, sparsity
from fem_core.tools.bench import assembled
from fem_core.types import Floats

#: Elements up to which the baseline is the reference; beyond, the kit's formulas.
_BASELINE = 100


@check_on_cases("sparsity", "compute_sparsity")
def check_sparsity(target: Target, case: Case) -> None:
    """The pattern and the slots equal the core's, also the diagonal entries of orphan nodes."""
    mine, theirs = sparsity(target.session, case.mesh), sparsity(target.baseline, case.mesh)
    assert_pattern(mine, case.mesh)
    for name in ("indptr", "indices", "slots"):
        found, wanted = getattr(mine, name), getattr(theirs, name)
        assert np.array_equal(found, wanted), f"{name} differs from the core's on {case.mesh}"


@check_on_cases("matrix", "assemble_system")
def check_matrix(target: Target, case: Case) -> None:
    """Each entry of K equals the baseline's; the tolerance is relative to the sum of absolute contributions."""
    mine, pattern = assembled(target.session, case.mesh, case.problem), sparsity(target.baseline, case.mesh)
    small = case.mesh.n_elements <= _BASELINE
    theirs = assembled(target.baseline, case.mesh, case.problem) if small else bare_system(case, pattern)
    assert_matrix(mine, theirs, case, pattern)


@check_on_cases("load", "assemble_system")
def check_load(target: Target, case: Case) -> None:
    """f equals that of the kit's formulas, for sources of every kind."""
    mine = assembled(target.session, case.mesh, case.problem)
    assert_load(mine, bare_system(case, sparsity(target.baseline, case.mesh)), case)


@check("geometry", "assemble_system")
def check_geometry(target: Target) -> None:
    """The backend applies the formulas also for negative det J: no term is skipped, dropped or made positive."""
    mesh = generate.duct(nx=3, ny=2)
    x, y = mesh.x.copy(), mesh.y.copy()
    middle = mesh.quad8[2, 5]
    x[middle] -= 0.9 * (x[mesh.quad8[2, 1]] - x[mesh.quad8[2, 0]])  # folds element 2 at some Gauss points
    folded = replace(mesh, x=x, y=y)
    backwards = mesh.quad8[:, [0, 3, 2, 1, 7, 6, 5, 4]]
    one = replace(mesh, quad8=np.concatenate([mesh.quad8[:-1], backwards[-1:]]))
    for bad in (folded, one, replace(mesh, quad8=backwards), replace(mesh, y=-mesh.y)):
        for source in (0.0, 2.5, wave):
            problem = Problem((Robin("inlet", 2.5, 0.5), Dirichlet("outlet", 1.0)), source=source)
            # marked, so that the stages don't refuse it
            assert_stages(target.session, Case(replace(bad).mark_valid(), problem))


@check_on_cases("boundary_conditions", "apply_bc")
def check_boundary_conditions(target: Target, case: Case) -> None:
    """Robin terms, lifted Dirichlet values, penalty, elimination and orphan nodes: each entry equals the core's."""
    _compare_conditions(target, case)


@check("large_dirichlet_values", "apply_bc")
def check_large_dirichlet_values(target: Target) -> None:
    """Dirichlet values of 100 and more are lifted, not multiplied by the penalty."""
    mesh = generate.duct(nx=4, ny=2)
    for treatment in ("penalty", "eliminate"):
        for value in (100.0, -1e5, 1e8):
            problem = Problem.potential_flow(mesh, outlet=value, dirichlet=treatment)
            _compare_conditions(target, Case(mesh, problem))


def _compare_conditions(target: Target, case: Case) -> None:
    mesh, problem = case.mesh, case.problem
    before = bare_system(case, sparsity(target.baseline, mesh))
    values, rhs = before.matrix.data.copy(), before.rhs.copy()
    mine = performed(target.session, APPLY_BC, mesh, problem=problem, system=before)
    unchanged = np.array_equal(before.matrix.data, values) and np.array_equal(before.rhs, rhs)
    assert unchanged, "the system without conditions was overwritten, although it isn't disposable"
    assert_conditions(mine, before, case)


@check_on_cases("derived", "compute_derived")
def check_derived(target: Target, case: Case) -> None:
    """Velocity, speed (the mean of the magnitudes) and pressure equal the baseline's, for any potential."""
    for number, u in enumerate(potentials(case.mesh)):
        mine = derived(target.session, case.mesh, case.problem, u)
        baseline = number == 0 and case.mesh.n_elements <= _BASELINE
        theirs = derived(target.baseline, case.mesh, case.problem, u) if baseline else None
        assert_derived(mine, case, u, theirs)


def potentials(mesh: Mesh) -> list[Floats]:
    """Random potentials of size 1, around 1e8, of size 1e8, 1e-8 and 0, and one that is linear in x and y."""
    random = np.random.default_rng(mesh.n_elements).normal(size=mesh.n_nodes)
    linear = 3 * mesh.x - 2 * mesh.y
    return [random, 1e8 + random, 1e8 * random, 1e-8 * random, np.zeros(mesh.n_nodes), linear]

"""The named checks of what a backend keeps: no old data are used, and nothing that was returned changes."""

import gc
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from fem_core import generate
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Dirichlet, Fluid, Problem, Robin
from fem_core.run.session import Session
from fem_core.solution import Solution
from fem_core.testing.checks import check
from fem_core.testing.compare import assert_stages, stages_of
from fem_core.testing.runs import assert_solution
from fem_core.testing.strategies import Case, renumbered, turned
from fem_core.testing.target import Target
from fem_core.types import Array, Floats


class Kept:
    """Arrays that a backend has returned, with copies: later runs must not change them."""

    def __init__(self) -> None:
        self._arrays: list[tuple[str, Array, Array]] = []

    def keep(self, arrays: dict[str, Array], when: str) -> None:
        self._arrays += [(f"{name} ({when})", array, array.copy()) for name, array in arrays.items()]

    def keep_solution(self, solution: Solution, when: str) -> None:
        self.keep({name: getattr(solution, name) for name in ("u", "velocity", "speed", "pressure")}, when)

    def assert_unchanged(self, by: str) -> None:
        for name, array, copy in self._arrays:
            assert np.array_equal(array, copy), f"{name} was overwritten by {by}"


def one_changed(values: Array, rng: np.random.Generator, by: float = 1.7) -> Array:
    """The array with one entry changed, anywhere."""
    changed = values.copy()
    changed[rng.integers(len(values))] *= by
    return changed


def changes(mesh: Mesh, rng: np.random.Generator) -> Iterator[tuple[str, Case]]:
    """Cases of equal size that differ in one thing from a first one, and what this is."""
    k, s = 1 + rng.random(mesh.n_elements), rng.normal(size=mesh.n_nodes)
    γ, g = 1 + rng.random(mesh.n_nodes), rng.normal(size=mesh.n_nodes)
    base = Problem((Robin("inlet", γ, 0.4), Robin("walls", 0.1), Dirichlet("outlet", g)), k, s)
    yield "the first run", Case(mesh, base)
    yield "the conductivity of one element", Case(mesh, replace(base, conductivity=one_changed(k, rng)))
    yield "the order of conductivities", Case(mesh, replace(base, conductivity=rng.permutation(k)))
    small = k.copy()
    i, j = rng.choice(len(k), 2, replace=False)
    small[[i, j]] += np.array([1e-3, -1e-3])
    yield "two conductivities whose sum is kept", Case(mesh, replace(base, conductivity=small))
    yield "the source at one node", Case(mesh, replace(base, source=_one_of(mesh, s, rng)))
    yield "the kind of source", Case(mesh, replace(base, source=float(s.mean())))
    inlet = Robin("inlet", _one_on(mesh, "inlet", γ, rng), 0.4)
    yield "γ at one node", Case(mesh, replace(base, conditions=(inlet, *base.conditions[1:])))
    yield "p", Case(mesh, replace(base, conditions=(Robin("inlet", γ, 0.5), *base.conditions[1:])))
    outlet = Dirichlet("outlet", _one_on(mesh, "outlet", g, rng))
    yield "a fixed value", Case(mesh, replace(base, conditions=(*base.conditions[:2], outlet)))
    yield (
        "the boundary that is fixed",
        Case(mesh, replace(base, conditions=(Robin("outlet", γ), Dirichlet("inlet", g)))),
    )
    yield "a condition on the walls", Case(mesh, replace(base, conditions=(base.conditions[0], base.conditions[2])))
    yield "the treatment of fixed nodes", Case(mesh, replace(base, dirichlet="eliminate"))
    yield "the fluid", Case(mesh, replace(base, fluid=Fluid(5.0, 900.0)))
    for what, other in moved(mesh, rng):
        yield what, Case(other, base)
    yield "the first run again", Case(mesh, base)


def _one_on(mesh: Mesh, boundary: str, values: Floats, rng: np.random.Generator) -> Floats:
    changed = values.copy()
    changed[rng.choice(mesh.boundaries[boundary].nodes)] += 0.5
    return changed


def _one_of(mesh: Mesh, values: Floats, rng: np.random.Generator) -> Floats:
    changed = values.copy()
    changed[rng.choice(mesh.used_nodes)] += 0.5
    return changed


def moved(mesh: Mesh, rng: np.random.Generator) -> Iterator[tuple[str, Mesh]]:
    """Meshes with the same numbers of nodes and elements, and most or all of the same topology."""
    size = float(np.hypot(*(np.ptp(a[mesh.quad8[0]]) for a in (mesh.x, mesh.y))))
    mids = np.setdiff1d(mesh.quad8[:, 4:], mesh.exterior_edges)
    if len(mids):
        x = mesh.x.copy()
        x[rng.choice(mids)] += 0.02 * size
        yield "the place of one node inside", replace(mesh, x=x)
        y = mesh.y.copy()
        pair = rng.choice(mids, 2, replace=False) if len(mids) > 1 else np.array([mids[0], mesh.quad8[0, 5]])
        y[pair] += np.array([0.02, -0.02]) * size
        yield "the places of two nodes whose mean is kept", replace(mesh, y=y)
    yield "the scale in one direction", replace(mesh, x=2 * mesh.x)
    yield "x and y exchanged", replace(mesh, x=-mesh.y, y=mesh.x)
    yield "the first corners of elements", turned(mesh, rng)
    yield "the numbers of elements", replace(mesh, quad8=mesh.quad8[rng.permutation(mesh.n_elements)])
    yield "all numbers", renumbered(mesh, rng)


#: The changes of a large mesh; all of them would take long.
_ON_LARGE_MESHES = ("the first run", "the conductivity of one element", "the place of one node inside", "all numbers")


@check("reuse")
def check_reuse(target: Target) -> None:
    """Stages with one thing changed after another, small and large: no old data are used, and no result changes."""
    for n in sorted({target.most(elements) for elements in (15, 2_400, 21_000)}):
        mesh = generate.duct(nx=max(1, n // 5), ny=3) if n < 99 else generate.annulus(nodes=3 * n)
        rng, kept = np.random.default_rng(n), Kept()
        last = ""
        for number, (what, case) in enumerate(changes(mesh, rng)):
            long = n > (9_999 if target.fast else 99) and not target.thorough
            if long and what not in _ON_LARGE_MESHES:
                continue
            found = assert_named(target.session, case, None, f"after a change of {what}")
            if n < 9_999 or number < 2:
                kept.keep(found, what)
            last = what
        kept.assert_unchanged(f"a run after a change of {last}")


@check("solutions")
def check_solutions(target: Target) -> None:
    """Runs with one thing changed after another: each u is the solution of its own problem, also after `forget`."""
    for mesh in (generate.duct(nx=5, ny=3), generate.annulus(nodes=3 * target.most(300))):
        rng, kept = np.random.default_rng(5), Kept()
        for number, (what, case) in enumerate(changes(mesh, rng)):
            if number == 6:
                target.session.forget()
            solution = target.session.solve(case.mesh, case.problem, solver="cg", rtol=1e-11)
            try:
                assert_solution(solution, rtol=1.1e-11)
            except AssertionError as error:
                raise AssertionError(f"after a change of {what}: {error}") from error
            kept.keep_solution(solution, what)
        kept.assert_unchanged("a later run")


@check("changed_in_place")
def check_changed_in_place(target: Target) -> None:
    """An array that the caller changes between two runs counts with its new values; results may be overwritten."""
    mesh = target.large_case().mesh
    rng = np.random.default_rng(0)
    given: dict[str, Any] = {name: rng.uniform(1, 2, mesh.n_nodes) for name in ("gamma", "p", "outlet", "source")}
    given["conductivity"] = rng.uniform(1, 2, mesh.n_elements)
    problem = Problem.potential_flow(mesh, **given)
    u = rng.normal(size=mesh.n_nodes)
    for name in ("", *given, ""):
        if name:
            nodes = {"gamma": "inlet", "p": "inlet", "outlet": "outlet"}.get(name)
            where: Array = mesh.boundaries[nodes].nodes if nodes else mesh.used_nodes
            given[name][rng.integers(mesh.n_elements) if name == "conductivity" else rng.choice(where)] += 0.5
            u[rng.choice(mesh.used_nodes)] += 0.5
        found = assert_named(target.session, Case(mesh, problem), u, f"{name or 'nothing'} was changed in place")
        for array in found.values():
            if array.flags.writeable:
                array[...] = 0  # the caller's to use


def assert_named(session: Session, case: Case, u: Floats | None, when: str) -> dict[str, Array]:
    """`assert_stages` for the potential u; an error begins with `when`."""
    try:
        return assert_stages(session, case, u).arrays()
    except AssertionError as error:
        raise AssertionError(f"{when}: {error}") from error


@check("results_kept")
def check_results_kept(target: Target) -> None:
    """What a session returns stays as it is in later runs, also in those of another session on the same mesh."""
    for n in sorted({target.most(elements) for elements in (15, 2_400, 21_000)}):
        kept = Kept()
        mesh = generate.duct(nx=max(1, n // 5), ny=3) if n < 99 else generate.annulus(nodes=3 * n)
        rng = np.random.default_rng(n)
        with target.open() as other:
            for round_, session in itertools.product(range(3 if n < 9_999 else 2), (target.session, other)):
                k, u = 1 + rng.random(mesh.n_elements), rng.normal(size=mesh.n_nodes)
                problem = Problem((Robin("inlet", 1 + round_), Dirichlet("outlet", round_)), k, u)
                kept.keep(stages_of(session, Case(mesh, problem), u).arrays(), f"run {round_ + 1}")
                kept.assert_unchanged("the next run")
                if n < 9_999:
                    solution = session.solve(mesh, problem, solver="cg")
                    kept.keep_solution(solution, f"run {round_ + 1}")
        kept.assert_unchanged("closing a session")


@check("short_lived_meshes")
def check_short_lived_meshes(target: Target) -> None:
    """Meshes, problems and arrays that come and go at the same place in memory aren't taken for one another."""
    rng = np.random.default_rng(0)
    first = generate.duct(nx=6, ny=4)
    for number in range(1000 if target.thorough else 60):
        size = 1 + rng.random()
        kind = number % 3
        mesh = (
            replace(first, x=size * first.x)
            if kind == 0
            else turned(first, rng)
            if kind == 1
            else renumbered(replace(first, y=size * first.y), rng)
        )
        problem = Problem((Robin("inlet", size, 0.1), Dirichlet("outlet", size)), 2.0, number % 2)
        assert_named(target.session, Case(mesh, problem), size * mesh.x, f"mesh {number + 1}")
        del mesh, problem
        if number % 10 == 0:
            gc.collect()

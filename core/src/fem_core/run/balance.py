"""The flow balance of a solution."""

from collections.abc import Iterator

import numpy as np

from fem_core.assembly.element import robin_edges
from fem_core.assembly.kernels import load, stiffness
from fem_core.assembly.sparsity import accumulate
from fem_core.assembly.system import robin_terms
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.run.level import parts_of_nodes
from fem_core.types import Array, Floats

#: The share of the flow that may get lost without a warning; the speed is then off by some 1e-4.
_TOLERATED = 0.01

#: Units of rounding in p u and γ that count as no loss: where p is very large, no solver does better.
_ROUNDING = 16 * np.finfo(np.float64).eps

_BATCH = 8192  # elements whose matrices are made at once


def flow_balance(mesh: Mesh, problem: Problem, u: Floats) -> tuple[Floats, Floats]:
    """The flow that Robin conditions and sources cause, and what of it is lost, for each connected part, in m²/s.

    Both are sums of magnitudes over the nodes that aren't fixed: of f, and of the residual f - K u. What enters any
    region differs by at most the second sum from what leaves it.
    """
    n = mesh.n_nodes
    terms, rounding = [], np.zeros(n)
    for edges, p, γ in robin_terms(mesh, problem):
        matrix, forcing = robin_edges(mesh.x[edges], mesh.y[edges], p, γ)
        surroundings = np.einsum("eij,ej->ei", matrix, u[edges])
        terms.append(accumulate(edges, forcing - surroundings, n))
        if p.any():
            rounding += _ROUNDING * accumulate(edges, np.abs(forcing) + np.abs(surroundings), n)
    inputs: dict[str, Array] = {"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8, "k": problem.conductivity_on(mesh)}
    if (s := problem.source_on(mesh)) is not None:
        fe = np.empty_like(s)
        load(0, mesh.n_elements, {**inputs, "s": s}, {"fe": fe})
        terms.append(accumulate(mesh.quad8, fe, n))
    lost = sum(terms, np.zeros(n))
    for first in range(0, mesh.n_elements, _BATCH):
        quad8 = mesh.quad8[first : first + _BATCH]
        Ke = np.empty((len(quad8), 8, 8))
        stiffness(first, first + len(quad8), inputs, {"Ke": Ke})
        np.subtract.at(lost, quad8, np.einsum("eij,ej->ei", Ke, u[quad8]))
    number, part = parts_of_nodes(mesh)
    part[problem.fixed_on(mesh)[0]] = number - 1  # nodes that don't count
    caused = sum(map(np.abs, terms), np.zeros(n))
    lost = np.maximum(np.abs(lost) - rounding, 0)
    return accumulate(part, caused, number)[:-1], accumulate(part, lost, number)[:-1]


def balance_doubts(mesh: Mesh, problem: Problem, u: Floats) -> Iterator[str]:
    """A warning if the solver, whose tolerance is relative to the load, loses the flow.

    The load is large beside the flow if fixed values differ much, or if γ with a large p nearly fixes u.
    """
    fixed, g = problem.fixed_on(mesh)
    γ = np.concatenate([np.zeros(1), *(γ[p > 0] for _, p, γ in robin_terms(mesh, problem))])
    if not γ.any() and not (g.any() and (problem.robin or problem.source_on(mesh) is not None)):
        return
    given, missed = flow_balance(mesh, problem, u)
    share = np.divide(missed, given, out=np.zeros_like(given), where=given > 0)
    if (worst := float(share.max())) > _TOLERATED:
        part = "all" if worst >= 1 else f"{worst:.1%}"
        differ = f"the fixed values differ by up to {np.ptp(np.append(g[fixed], 0)):.3g} m²/s from each other or from 0"
        large = [differ] if g.any() else []
        large += [f"γ is up to {np.abs(γ).max():.3g} m/s where p > 0"] if γ.any() else []
        yield (
            f"{' and '.join(large)}, and the flow that conditions and sources cause is small beside that: {part} of it "
            "is lost in the tolerance of the solver; decrease rtol (--rtol) or use the solver direct"
        )

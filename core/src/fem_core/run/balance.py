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

_BATCH = 8192  # elements whose matrices are made at once


def flow_balance(mesh: Mesh, problem: Problem, u: Floats) -> tuple[Floats, Floats]:
    """The flow that Robin conditions and sources cause, and what of it is lost, for each connected part, in m²/s.

    Both are sums of magnitudes over the nodes that aren't fixed: of f, and of the residual f - K u. What enters any
    region differs by at most the second sum from what leaves it.
    """
    n = mesh.n_nodes
    terms = [
        accumulate(edges, forcing - np.einsum("eij,ej->ei", matrix, u[edges]), n)
        for edges, p, γ in robin_terms(mesh, problem)
        for matrix, forcing in (robin_edges(mesh.x[edges], mesh.y[edges], p, γ),)
    ]
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
    return accumulate(part, caused, number)[:-1], accumulate(part, np.abs(lost), number)[:-1]


def balance_doubts(mesh: Mesh, problem: Problem, u: Floats) -> Iterator[str]:
    """A warning if fixed values differ so much that the solver, whose tolerance is relative to them, loses the flow."""
    fixed, g = problem.fixed_on(mesh)
    if not g.any() or not (problem.robin or problem.source_on(mesh) is not None):
        return
    given, missed = flow_balance(mesh, problem, u)
    share = np.divide(missed, given, out=np.zeros_like(given), where=given > 0)
    if (worst := float(share.max())) > _TOLERATED:
        part = "all" if worst >= 1 else f"{worst:.1%}"
        yield (
            f"the fixed values differ by up to {np.ptp(np.append(g[fixed], 0)):.3g} m²/s from each other or from the "
            f"surroundings, and the flow that conditions and sources cause is small beside that: {part} of it is lost "
            "in the tolerance of the solver; decrease rtol (--rtol) or use the solver direct"
        )

"""The level of u: a problem is solved for u - c if its fixed values are far from 0.

Solvers stop relative to the load of the system, and large fixed values K ĝ fill it: 1e8 at the outlet would leave
nothing of an inflow of 2.5. With a constant c in each connected part, u - c solves the problem whose fixed values are
g - c and whose inflows are γ - p c; its gradient is that of u.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from fem_core.mesh.geometry import edge_lengths
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Dirichlet, Problem, Robin, boundary_nodes, nodal_values
from fem_core.types import Floats, Ints


def level_of(mesh: Mesh, problem: Problem) -> Floats | None:
    """c at each node, (n_nodes,), the same in each connected part; None if it is 0 everywhere.

    It is the value nearest to 0 among those that hold u, and 0 where a part has values of both signs: the fixed values,
    and the levels γ/p of surroundings with p h >= k, since p c would be a larger load than K c there (h: length of an
    edge). A part without any goes by the levels of its other surroundings.
    """
    fixed, g = problem.fixed_on(mesh)
    places, values, hold = [fixed], [g[fixed]], [np.ones(len(fixed), dtype=bool)]
    for condition in problem.robin:
        nodes = boundary_nodes(mesh, condition)
        p, γ = (nodal_values(value, mesh, nodes, "")[nodes] for value in (condition.p, condition.gamma))
        if (p > 0).any():
            h = edge_lengths(mesh, mesh.boundaries[condition.boundary].edges).max()
            places.append(nodes[p > 0])
            hold.append(p[p > 0] * h >= problem.conductivity_on(mesh).min())
            with np.errstate(over="ignore"):
                values.append(γ[p > 0] / p[p > 0])
    if not any(map(np.any, values)):
        return None
    number, part = parts_of_nodes(mesh)
    at, level, holds = part[np.concatenate(places)], np.concatenate(values), np.concatenate(hold)
    is_held = np.zeros(number, dtype=bool)
    is_held[at[holds]] = True
    counts = np.isfinite(level) & (holds | ~is_held[at])
    at, level = at[counts], level[counts]
    low, high = np.zeros(number), np.zeros(number)
    low[at] = high[at] = level  # one of them, to begin with
    np.minimum.at(low, at, level)
    np.maximum.at(high, at, level)
    c = np.maximum(low, 0) + np.minimum(high, 0)
    return c[part] if c.any() else None


def relative_to(level: Floats, mesh: Mesh, problem: Problem) -> Problem:
    """The problem for u - c, with c at each node."""

    def shifted(condition: Robin | Dirichlet) -> Robin | Dirichlet:
        nodes = boundary_nodes(mesh, condition)
        if isinstance(condition, Dirichlet):
            return replace(condition, value=nodal_values(condition.value, mesh, nodes, "") - level)
        p = nodal_values(condition.p, mesh, nodes, "")
        return replace(condition, gamma=nodal_values(condition.gamma, mesh, nodes, "") - p * level, p=p)

    return replace(problem, conditions=tuple(map(shifted, problem.conditions)))


def shifts_on(mesh: Mesh, level: Floats) -> tuple[dict[str, Any], ...]:
    """Each c other than 0 as plain data, with the number of its nodes."""
    values, numbers = np.unique(level[mesh.used_nodes], return_counts=True)
    return tuple({"constant": float(c), "nodes": int(n)} for c, n in zip(values, numbers, strict=True) if c)


def parts_of_nodes(mesh: Mesh) -> tuple[int, Ints]:
    """The number of connected parts and the part of each node; nodes outside every element make one more, the last."""
    number, of_element = mesh.components
    part = np.full(mesh.n_nodes, number, dtype=np.int32)
    part[mesh.quad8] = of_element[:, None]
    return number + 1, part

"""Two bounds that meet: a flow and its stream function.

The stream function of a flow solves the same equation with electrodes and walls exchanged, and the
conductances of both problems multiply to 1. Each is computed too large, being the least energy among
fewer functions, so that 1/C' and C enclose the exact value: an error bound without an exact solution
(Pólya and Szegő, Isoperimetric Inequalities in Mathematical Physics, 1951). Here over a backward step.
"""

from dataclasses import replace

import fem_core as fem
import numpy as np


def conductance(mesh: fem.Mesh, high: str, low: str) -> float:
    """∫|∇u|² with u = 1 on one boundary and 0 on another."""
    problem = fem.Problem([fem.Dirichlet(high, 1.0), fem.Dirichlet(low, 0.0)], dirichlet="eliminate")
    u = fem.solve(mesh, problem, backend="numpy", solver="direct").u
    return float(u @ (fem.assemble_system(mesh, problem).matrix @ u))


def main() -> dict[str, float]:
    found = []
    for across in (4, 8, 16):
        mesh = fem.generate.backward_step(upstream=1.0, downstream=2.0, across=across, grading=4.0)
        edges = mesh.boundaries["walls"].edges
        upper = mesh.y[edges[:, 1]] == 1.0
        walls = {"upper": fem.Boundary.from_edges(edges[upper]), "lower": fem.Boundary.from_edges(edges[~upper])}
        mesh = replace(mesh, boundaries={**mesh.boundaries, **walls})
        above, below = conductance(mesh, "inlet", "outlet"), 1 / conductance(mesh, "upper", "lower")
        found.append((below, above))
        print(f"{across:3} elements across: the conductance is between {below:.7f} and {above:.7f}")
    lower, upper = np.array(found).T
    return {"lower": lower, "upper": upper}


if __name__ == "__main__":
    main()

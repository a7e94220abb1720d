"""Layers: what a laminate conducts along and across its sheets.

A conductivity per element makes layers. Along the sheets their conductances add, so the effective
conductivity is the mean, k = Σ kᵢ tᵢ / Σ tᵢ; across them the resistances add, and it is the harmonic
mean, k = Σ tᵢ / Σ (tᵢ / kᵢ). Both are bounds of what any arrangement of the same materials conducts
(Wiener, 1912); such a laminate is the simplest anisotropic medium.
"""

import fem_core as fem
import numpy as np

K = np.array([1.0, 50.0, 0.02, 3.0])


def effective(mesh: fem.Mesh, conductivity) -> float:
    """The flux through the unit square under a unit difference of potential, from its energy ∫ k |∇u|²."""
    problem = fem.Problem([fem.Dirichlet("inlet", 1.0), fem.Dirichlet("outlet", 0.0)], conductivity)
    u = fem.solve(mesh, problem, backend="numpy", solver="direct").u
    return float(u @ (fem.assemble_system(mesh, problem).matrix @ u))


def main() -> dict[str, float]:
    mesh = fem.generate.duct(length=1.0, height=1.0, nx=8, ny=8)
    middle_x, middle_y = mesh.x[mesh.quad8].mean(axis=1), mesh.y[mesh.quad8].mean(axis=1)
    along = effective(mesh, K[(4 * middle_y).astype(int)])
    across = effective(mesh, K[(4 * middle_x).astype(int)])
    checkered = effective(mesh, K[(2 * middle_x).astype(int) + 2 * (2 * middle_y).astype(int)])
    print(f"along the sheets {along:.6f} W/(m K), the mean is {K.mean():.6f}")
    print(f"across them      {across:.6f} W/(m K), the harmonic mean is {1 / (1 / K).mean():.6f}")
    print(f"in four squares  {checkered:.6f} W/(m K), between the two")
    return {"along": along, "across": across, "squares": checkered}


if __name__ == "__main__":
    main()

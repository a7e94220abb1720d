"""Poisson's equation: the torsion of a square bar.

-Δu = 2 in the unit square with u = 0 around it is Prandtl's stress function for a twisted bar: its
stiffness is J = 2 ∫u = 0.140577 times the fourth power of the side, and its largest shear stress, in
the middle of a side, 0.675314 (Timoshenko and Goodier, Theory of Elasticity, ch. 10). The same equation
describes a membrane under pressure and the flow in a straight duct.
"""

import fem_core as fem
import numpy as np


def main() -> dict[str, float]:
    mesh = fem.generate.duct(length=1.0, height=1.0, nx=16, ny=16)
    problem = fem.Problem([fem.Dirichlet(name) for name in ("inlet", "outlet", "walls")], source=2.0)
    solution = fem.solve(mesh, problem, backend="numpy", solver="direct")
    load = fem.assemble_system(mesh, problem).rhs  # ∫ 2 v
    stiffness = float(load @ solution.u)
    # The slope at the wall, at x = 0 and y = 1/2, from the corners on a line across it.
    corners = np.unique(mesh.quad8[:, :4])
    line = corners[np.isclose(mesh.y[corners], 0.5)]
    line = line[np.argsort(mesh.x[line])][:5]
    stress = np.polyfit(mesh.x[line], solution.u[line], 4)[-2]
    print(f"J = {stiffness:.6f} a⁴ (0.140577); largest stress {stress:.5f} (0.67531)")
    return {"stiffness": stiffness, "stress": float(stress), "middle": float(solution.u.max())}


if __name__ == "__main__":
    main()

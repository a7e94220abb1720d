"""NAFEMS T4: conduction in a plate with convection at two of its sides.

A plate of 0.6 m x 1.0 m, k = 52 W/(m K), has 100 °C at its base, no flux at the left and convection
to 0 °C at the right and the top, h = 750 W/(m² K). In the weak form convection is a Robin condition,
k ∂T/∂n + h T = h · 0 °C. Wanted is T at (0.6, 0.2): 18.25 °C (NAFEMS, The Standard NAFEMS Benchmarks,
1990); the jump of the conditions at the lower right corner makes the problem harder than it looks.
"""

from dataclasses import replace

import fem_core as fem
import numpy as np


def main() -> dict[str, float]:
    found = {}
    for nx, ny in ((3, 5), (6, 10), (12, 20), (24, 40)):
        duct = fem.generate.duct(length=0.6, height=1.0, nx=nx, ny=ny)
        walls = duct.boundaries["walls"].edges
        low = duct.y[walls[:, 1]] == 0
        named = {"base": fem.Boundary.from_edges(walls[low]), "top": fem.Boundary.from_edges(walls[~low])}
        mesh = replace(duct, boundaries={**duct.boundaries, **named})
        convection = [fem.Robin(side, p=750.0) for side in ("outlet", "top")]
        problem = fem.Problem([*convection, fem.Dirichlet("base", 100.0)], conductivity=52.0)
        T = fem.solve(mesh, problem, backend="numpy", solver="direct").u
        found[f"{nx}x{ny}"] = float(T[np.isclose(mesh.x, 0.6) & np.isclose(mesh.y, 0.2)][0])
        print(f"{nx:3} x {ny:2} elements: T = {found[f'{nx}x{ny}']:.3f} °C")
    return found


if __name__ == "__main__":
    main()

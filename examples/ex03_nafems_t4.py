"""NAFEMS T4: conduction in a plate with convection at two of its sides.

A plate of 0.6 m x 1.0 m, k = 52 W/(m K), has 100 °C at its base, no flux at the left and convection
to 0 °C at the right and the top, h = 750 W/(m² K). In the weak form convection is a Robin condition,
k ∂T/∂n + h T = h · 0 °C. Wanted is T at (0.6, 0.2): 18.25 °C (NAFEMS, The Standard NAFEMS Benchmarks,
1990); the jump of the conditions at the lower right corner makes the problem harder than it looks.
"""

import fem_core as fem
import numpy as np


def main() -> dict[str, float]:
    found = {}
    for nx, ny in ((3, 5), (6, 10), (12, 20), (24, 40)):
        # A duct that flows upwards has the plate's base as its inlet: turned by a quarter, (x, y) = (-y', x').
        upright = fem.generate.duct(length=1.0, height=0.6, nx=ny, ny=nx)
        x, y = 0.6 - upright.y, upright.x
        base, right = upright.boundaries["inlet"], upright.boundaries["walls"].edges
        right = right[np.isclose(x[right], 0.6).all(axis=1)]
        boundaries = {"base": base, "top": upright.boundaries["outlet"], "right": fem.Boundary.from_edges(right)}
        mesh = fem.Mesh(x, y, upright.quad8, boundaries)
        problem = fem.Problem(
            [fem.Robin("right", p=750.0), fem.Robin("top", p=750.0), fem.Dirichlet("base", 100.0)], conductivity=52.0
        )
        T = fem.solve(mesh, problem, backend="numpy", solver="direct").u
        found[f"{nx}x{ny}"] = float(T[np.isclose(x, 0.6) & np.isclose(y, 0.2)][0])
        print(f"{nx:3} x {ny:2} elements: T = {found[f'{nx}x{ny}']:.3f} °C")
    return found


if __name__ == "__main__":
    main()

"""A ring: u = γ r₁ ln(r₂/r), on curved elements.

A source line in a ring, with the flux γ in at r₁ and u = 0 at r₂: the flux falls as 1/r, the potential
logarithmically. The mid-sides lie on the true circles; the error of u falls with a power of the
element's size above 3. With straight edges it would be the error of the circles, which are polygons.
"""

import fem_core as fem
import numpy as np

INNER, OUTER, GAMMA = 0.7, 2.1, 2.5


def error(n: int) -> float:
    mesh = fem.generate.annulus(inner=INNER, outer=OUTER, angle=2 * np.pi, nr=n, na=8 * n)
    u = fem.solve(mesh, fem.Problem.potential_flow(mesh, gamma=GAMMA), backend="numpy", solver="direct").u
    return float(abs(u - GAMMA * INNER * np.log(OUTER / np.hypot(mesh.x, mesh.y))).max())


def main() -> dict[str, float]:
    errors = [error(n) for n in (2, 4, 8, 16)]
    order = np.log2(errors[-2] / errors[-1])
    print("largest errors", ", ".join(f"{e:.1e}" for e in errors), f"- order {order:.2f}")
    return {"error": errors[-1], "order": order}


if __name__ == "__main__":
    main()

"""A bend: the free vortex, faster on the inside.

Between two concentric walls the ideal flow is a free vortex: u = c (θ₀ - θ), the speed c/r. The inflow
that belongs to it isn't constant, so γ is a function of (x, y). Behind straight legs the flow has to
become the vortex first; in the middle of a long elbow it nearly is.
"""

import fem_core as fem
import numpy as np

C = 1.3


def main() -> dict[str, float]:
    bend = fem.generate.annulus(inner=1.0, outer=2.0, angle=np.pi / 2, flow="around", nr=12, na=18)
    problem = fem.Problem.potential_flow(bend, gamma=lambda x, y: C / np.hypot(x, y))
    solution = fem.solve(bend, problem, backend="numpy", solver="direct")
    r = np.hypot(bend.x[bend.quad8].mean(axis=1), bend.y[bend.quad8].mean(axis=1))
    error = abs(solution.speed - C / r).max()
    print(f"largest error of the speed c/r in a bend of concentric walls: {error:.1e} m/s")

    # A U-turn between legs: speeds in the row of elements through its middle, inside and outside.
    elbow = fem.generate.elbow(width=1.0, radius=1.5, angle=np.pi, across=12)
    speed = fem.solve(elbow, backend="numpy", solver="direct").speed
    x, y = elbow.x[elbow.quad8].mean(axis=1) - 2.0, elbow.y[elbow.quad8].mean(axis=1) - 1.5
    middle = abs(np.arctan2(y, x)) < 0.1
    product = speed[middle] * np.hypot(x, y)[middle]
    print(f"in the middle of a U-turn speed times radius is {product.min():.4f} to {product.max():.4f} m²/s")
    return {"error": error, "spread": np.ptp(product) / product.mean(), "c": product.mean()}


if __name__ == "__main__":
    main()

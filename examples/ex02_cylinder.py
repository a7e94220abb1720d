"""A cylinder in a stream: twice the speed of the stream at its sides.

Around a cylinder of radius a in a stream U along x the potential is u = -U x (1 + a²/r²), with the
velocity -∇u. On the surface the speed is 2U |sin θ|: 2U where the flow passes its widest part, and
0 in front and behind (Milne-Thomson, Theoretical Hydrodynamics, ch. 6).

Here the exact potential is given on the outer boundary; the cylinder itself is left without a
condition, which makes it a wall.
"""

import fem_core as fem
import numpy as np

U, A = 1.5, 0.5


def potential(x, y):
    return -U * x * (1 + A**2 / (x**2 + y**2))


def main() -> dict[str, float]:
    mesh = fem.generate.cylinder(height=4.0, diameter=2 * A, upstream=2.0, downstream=2.0, across=24)
    problem = fem.Problem([fem.Dirichlet(name, potential) for name in ("inlet", "outlet", "walls")])
    u = fem.solve(mesh, problem, backend="numpy", solver="direct").u

    # The speed along the surface, at the mid-side of each edge: a difference between its ends over the arc.
    start, middle, end = mesh.boundaries["cylinder"].edges.T
    arc = 2 * A * np.arcsin(np.hypot(mesh.x[end] - mesh.x[start], mesh.y[end] - mesh.y[start]) / (2 * A))
    speed = abs(u[end] - u[start]) / arc
    exact = 2 * U * abs(mesh.y[middle]) / A

    error = abs(u - potential(mesh.x, mesh.y)).max()
    print(f"largest speed on the cylinder: {speed.max() / U:.4f} U (exactly 2 U); error of u: {error:.1e}")
    return {"speed / U": speed.max() / U, "error of speed": abs(speed - exact).max() / U, "error of u": error}


if __name__ == "__main__":
    main()

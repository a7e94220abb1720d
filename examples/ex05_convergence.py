"""Orders of convergence: 3 on squares, less on trapezoids.

On squares the 8-node element holds all quadratics, and the error of u falls with the third power of the
element's size. On a sequence of trapezoids that never become parallelograms it holds only the bilinear
functions, and the order falls (Arnold, Boffi and Falk, Approximation by quadrilateral finite elements,
Math. Comp. 71, 2002). Refining a given mesh by halving its elements does give parallelograms.
"""

from dataclasses import replace

import fem_core as fem
import numpy as np

#: The 3x3 Gauss rule: points and weights.
GAUSS = np.sqrt(0.6) * np.array([-1, 0, 1])
XI, ETA = (axis.ravel() for axis in np.meshgrid(GAUSS, GAUSS))
WEIGHTS = np.outer([5, 8, 5], [5, 8, 5]).ravel() / 81


def functions() -> np.ndarray:
    """N (9, 8) at the points: corners, then mid-sides."""
    signs = (-1, -1), (1, -1), (1, 1), (-1, 1)
    corners = [(1 + a * XI) * (1 + b * ETA) * (a * XI + b * ETA - 1) / 4 for a, b in signs]
    lower, upper = ((1 - XI**2) * (1 + b * ETA) / 2 for b in (-1, 1))
    left, right = ((1 + a * XI) * (1 - ETA**2) / 2 for a in (-1, 1))
    return np.stack([*corners, lower, right, upper, left], axis=1)


def exact(x, y):
    return np.sin(np.pi * x) * np.sinh(np.pi * y)


def trapezoids(mesh: fem.Mesh, n: int) -> fem.Mesh:
    """The n x n squares of `mesh` with every second row of corners moved up and down in turn by h/4."""
    # At corners the first factor is 0 or 1, the second 1 or -1; at mid-sides they are half-way between.
    move = (1 - np.cos(n * np.pi * mesh.y)) / 2 * np.cos(n * np.pi * mesh.x) / (4 * n)
    return replace(mesh, y=mesh.y + move)


def error(mesh: fem.Mesh) -> float:
    """‖u - exact‖ in L2, on a mesh in the unit square."""
    around = [fem.Dirichlet(name, exact) for name in ("inlet", "outlet", "walls")]
    u = fem.solve(mesh, fem.Problem(around, dirichlet="eliminate"), backend="numpy", solver="direct").u
    N = functions()
    x, y, values = (nodal[mesh.quad8] @ N.T for nodal in (mesh.x, mesh.y, u))
    return float(np.sqrt((WEIGHTS * fem.mesh.det_jacobian(mesh)[:, :9] * (values - exact(x, y)) ** 2).sum()))


def main() -> dict[str, float]:
    sizes = 16, 32, 64
    squares = [fem.generate.duct(length=1.0, height=1.0, nx=n, ny=n) for n in sizes]
    distorted = [trapezoids(mesh, n) for mesh, n in zip(squares, sizes, strict=True)]
    found = {}
    for name, meshes in (("squares", squares), ("trapezoids", distorted)):
        errors = [error(mesh) for mesh in meshes]
        found[name] = float(np.log2(errors[-2] / errors[-1]))
        print(f"{name}: errors", ", ".join(f"{e:.2e}" for e in errors), f"- order {found[name]:.2f}")
    return found


if __name__ == "__main__":
    main()

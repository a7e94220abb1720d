"""A re-entrant corner: why the step converges slowly, and what helps.

At a corner of 270° the potential goes like r^(2/3), the speed like r^(-1/3): infinite at the corner.
The error of the gradient then falls with h^(2/3) only, whatever the order of the element (Strang and
Fix, An Analysis of the Finite Element Method, 1973, ch. 8), unless the elements become small towards
the corner.

No exact solution is needed: with u = 0 at the outlet, ‖∇u‖² = ∫γu, and ‖∇(u - u_h)‖² = ‖∇u‖² - ‖∇u_h‖²
(Galerkin), so the differences between meshes tell the order.
"""

import fem_core as fem
import numpy as np


def energy(across: int, grading: float) -> float:
    """‖∇u_h‖² = ∫γu_h of the flow over a backward step."""
    mesh = fem.generate.backward_step(upstream=1.0, downstream=2.0, across=across, grading=grading)
    problem = fem.Problem.potential_flow(mesh, gamma=1.0)
    u = fem.solve(mesh, problem, backend="numpy", solver="direct").u
    return float(u @ fem.apply_bc(fem.assemble_system(mesh, problem), mesh, problem).rhs)


def main() -> dict[str, float]:
    even = [energy(n, grading=1.0) for n in (8, 16, 32)]
    order = np.log2((even[1] - even[0]) / (even[2] - even[1])) / 2
    limit = even[2] + (even[2] - even[1]) / (2 ** (4 / 3) - 1)
    graded = energy(16, grading=30.0)
    errors = [np.sqrt((limit - e) / limit) for e in (even[1], graded)]
    print(f"the gradient converges with h^{order:.3f} (theory: 2/3)")
    print(f"error on equal elements {errors[0]:.2%}, on as many that shrink towards the corner {errors[1]:.2%}")
    return {"order": order, "error": errors[0], "graded": errors[1]}


if __name__ == "__main__":
    main()

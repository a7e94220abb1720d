"""A coefficient that varies: an uneven inflow is forgotten within a width.

With the flux γ(y) = 1 + cos(πy/H) at the inlet of a long channel the uneven part of the flow decays
like exp(-πx/H): u = (L - x) + cos(ky) sinh(k(L - x)) / (k cosh kL), k = π/H. After one width 4 % of it
are left. That is why a straight piece before a measuring section helps.
"""

import fem_core as fem
import numpy as np

L, H = 3.0, 1.0
K = np.pi / H


def main() -> dict[str, float]:
    mesh = fem.generate.duct(length=L, height=H, nx=48, ny=16)
    problem = fem.Problem.potential_flow(mesh, gamma=lambda x, y: 1 + np.cos(K * y))
    solution = fem.solve(mesh, problem, backend="numpy", solver="direct")
    exact = (L - mesh.x) + np.cos(K * mesh.y) * np.sinh(K * (L - mesh.x)) / (K * np.cosh(K * L))
    error = abs(solution.u - exact).max()
    x = mesh.x[mesh.quad8].mean(axis=1)

    def unevenness(at: float) -> float:
        column = abs(x - x[np.argmin(abs(x - at))]) < 1e-9
        return float(np.ptp(solution.speed[column]))

    left = unevenness(1.25 * H) / unevenness(0.25 * H)
    print(f"of the unevenness {left:.2%} are left one width later (exp(-π) is {np.exp(-np.pi):.2%}); error {error:.1e}")
    return {"left": left, "error": float(error)}


if __name__ == "__main__":
    main()

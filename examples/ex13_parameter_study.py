"""A parameter study: a session keeps what doesn't change.

An open session keeps the sparsity pattern as long as the mesh is the same, and the prepared solver as
long as the matrix is. Here the flux at the inlet varies (the same matrix, factorised once), then the
resistance p of the inlet (another matrix, the same pattern). The flow is linear in γ, and in a straight
channel u = γ (L - x) / (1 + p L).
"""

import fem_core as fem


def main() -> dict[str, float]:
    L = 3.0
    mesh = fem.generate.duct(length=L, height=1.0, nodes=5_000)
    levels, seconds = {}, []
    with fem.open_backend("numpy") as session:
        for gamma, p in ((1.0, 0.0), (2.0, 0.0), (4.0, 0.0), (4.0, 1.0), (4.0, 10.0)):
            problem = fem.Problem.potential_flow(mesh, gamma=gamma, p=p)
            solution = fem.solve(mesh, problem, backend=session, solver="direct")
            levels[gamma, p] = float(solution.u.max())
            seconds.append(solution.report.seconds["compute_sparsity"] + solution.report.seconds["solve_system"])
            print(f"γ = {gamma}, p = {p:4}: u max {levels[gamma, p]:.6f}, {1000 * seconds[-1]:6.1f} ms")
    exact = {(gamma, p): gamma * L / (1 + p * L) for gamma, p in levels}
    return {
        "error": max(abs(levels[case] - exact[case]) for case in levels),
        "first": seconds[0],
        "later": min(seconds[1:3]),
    }


if __name__ == "__main__":
    main()

"""What enters leaves: the reactions at the outlets of a t-junction.

The load of the inlet, ∫γ ds, is known. What flows out isn't given anywhere; it is the reaction of the
nodes that are held, K u - f with the matrix before boundary conditions. It sums to the inflow to the
solver's tolerance, on any mesh, and tells how the flow divides. In a symmetrical y-tube each arm
must take half.
"""

import fem_core as fem


def outflow(mesh: fem.Mesh, branch) -> tuple[float, float, float]:
    """The flux in, and out by the branch and by the rest, in m²/s."""
    problem = fem.Problem.potential_flow(mesh, gamma=2.5)
    bare = fem.assemble_system(mesh, problem)
    system = fem.assembly.apply_conditions(bare, mesh, fem.Problem(problem.robin))  # the inlet's load, but no node held
    u = fem.solve(mesh, problem, backend="numpy", solver="direct").u
    reaction = system.rhs - system.matrix @ u
    held = mesh.boundaries["outlet"].nodes
    chosen = branch(mesh.x[held], mesh.y[held])
    return system.rhs.sum(), reaction[held[chosen]].sum(), reaction[held[~chosen]].sum()


def main() -> dict[str, float]:
    junction = fem.generate.t_junction(nodes=3_000, grading=4.0)
    flux, side, straight = outflow(junction, lambda x, y: y > 1.0)
    print(f"t-junction: {flux:.6f} m²/s in; {side:.6f} leave by the branch and {straight:.6f} straight on")
    tube = fem.generate.y_tube(nodes=3_000)
    whole, upper, _ = outflow(tube, lambda x, y: y > 0.0)
    print(f"y-tube: {whole:.6f} m²/s in; {upper / whole:.6%} leave by the upper arm")
    return {"in": flux, "out": side + straight, "by the branch": side, "upper arm": upper / whole}


if __name__ == "__main__":
    main()

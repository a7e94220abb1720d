"""A venturi meter: the flow from a difference of pressures.

Continuity makes the speed in the throat w/d times that of the inlet, and Bernoulli's law turns it into
a drop of pressure, Δp = ½ρ (v₂² - v₁²), from which the meter reads the flow. The fluid is water.
"""

import fem_core as fem

WATER = fem.Fluid(p0=2e5, rho=998.0)


def main() -> dict[str, float]:
    width, throat, speed = 0.20, 0.10, 1.2
    mesh = fem.generate.venturi(
        width=width, throat=throat, throat_length=0.3, radius=0.3, inlet_length=0.3, outlet_length=0.3, nodes=6_000
    )
    solution = fem.solve(
        mesh, fem.Problem.potential_flow(mesh, gamma=speed, fluid=WATER), backend="numpy", solver="direct"
    )
    # Elements in the middle of the throat, and elements at the inlet.
    wall = mesh.boundaries["walls"].nodes
    x = mesh.x[mesh.quad8].mean(axis=1)
    narrow = mesh.x[wall][abs(abs(mesh.y[wall]) - throat / 2) < 1e-9]
    middle = abs(x - narrow.mean()) < 0.05 * throat
    first = x < 0.1 * width
    ratio = solution.speed[middle].mean() / solution.speed[first].mean()
    drop = solution.pressure[first].mean() - solution.pressure[middle].mean()
    expected = 0.5 * WATER.rho * speed**2 * ((width / throat) ** 2 - 1)
    print(f"speed ratio {ratio:.5f} (by continuity {width / throat}), drop {drop:.1f} Pa (by Bernoulli {expected:.1f})")
    return {"ratio": ratio, "drop": drop, "expected drop": expected}


if __name__ == "__main__":
    main()

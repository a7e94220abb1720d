"""A straight channel: the smallest problem there is.

What flows in at the inlet with the flux γ = 2.5 m/s leaves at the outlet, where u = 0. The potential
falls linearly, u = γ (L - x), and the speed is γ everywhere; Bernoulli's law gives the pressure.
Linear functions are in the space of any valid element, so this is exact to rounding.
"""

import fem_core as fem


def main() -> dict[str, float]:
    mesh = fem.generate.duct(length=3.0, height=1.0, nx=6, ny=2)
    solution = fem.solve(mesh, backend="numpy", solver="direct")
    print(f"u max {solution.u.max():.6f} (exactly 7.5), speed {solution.speed.max():.6f} (exactly 2.5)")
    return {"u": solution.u.max(), "speed": solution.speed.max(), "pressure": solution.pressure.min()}


if __name__ == "__main__":
    main()

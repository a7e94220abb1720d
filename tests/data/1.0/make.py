"""Made the files beside it with version 1.0.0, before results carried a version: `python make.py`.

They are never made anew: what they are for is that every later version reads them.
"""

from dataclasses import replace
from pathlib import Path

import fem_core as fem
import numpy as np

here = Path(__file__).parent

mesh = fem.generate.y_tube(nodes=200)
for suffix in (".h5", ".npz", ".msh", ".vtu", ".inp", ".xlsx"):
    fem.write_mesh(mesh, here / f"mesh{suffix}")


def anywhere(solution: fem.Solution) -> fem.Solution:
    """The solution without the name of the system it was made on."""
    hardware = {**solution.report.hardware, "platform": "Linux"}
    return replace(solution, report=replace(solution.report, hardware=hardware))


solution = anywhere(fem.solve(mesh, backend="numpy", solver="cg"))
for suffix in (".h5", ".npz", ".vtu", ".csv", ".nodes.csv"):
    solution.write(here / f"result{suffix}")

# All that a problem can hold, and a solver that gave up.
duct = fem.generate.duct(length=3, nx=6, ny=2)
problem = fem.Problem(
    (
        fem.Robin("inlet", gamma=lambda x, y: 2 + y, p=np.linspace(0, 1, duct.n_nodes)),
        fem.Dirichlet("outlet", lambda x, y: y),
    ),
    conductivity=np.linspace(1, 2, duct.n_elements),
    source=lambda x, y: x * y,
    dirichlet="eliminate",
    fluid=fem.Fluid(p0=2e5, rho=998.0),
)
partial = anywhere(fem.solve(duct, problem, backend="numpy", solver="cg", maxiter=3))
assert not partial.report.converged
partial.write(here / "partial.h5")
np.savez(here / "partial.npz", u=partial.u, speed=partial.speed, pressure=partial.pressure, velocity=partial.velocity)

"""CSV: one table with a header that names columns and units; every number is exact, in its shortest form.

`.csv` has a row per element: its number, its middle, u there, velocity, speed and pressure. `.nodes.csv`
has a row per node: its number, its place and u. Both end with `converged`, 1 or 0: there is no other
place for the flag of a partial result in a table that every program reads.
"""

from pathlib import Path

import numpy as np

from fem_core.mesh import quad8 as q8
from fem_core.results import Fields
from fem_core.types import Array

_BLOCK = 1 << 14  # rows formatted at once


def write_elements(solution: Fields, path: Path) -> None:
    """A row per element."""
    mesh = solution.mesh
    N = q8.shape(0.0, 0.0)  # at the middle, ξ = η = 0
    columns = {
        "element": np.arange(mesh.n_elements),
        "x [m]": mesh.x[mesh.quad8] @ N,
        "y [m]": mesh.y[mesh.quad8] @ N,
        "u [m2/s]": solution.u[mesh.quad8] @ N,
        "velocity_x [m/s]": solution.velocity[:, 0],
        "velocity_y [m/s]": solution.velocity[:, 1],
        "speed [m/s]": solution.speed,
        "pressure [Pa]": solution.pressure,
    }
    _write(columns, solution.report.converged, path)


def write_nodes(solution: Fields, path: Path) -> None:
    """A row per node, also for nodes that belong to no element: the row number is then the node number."""
    mesh = solution.mesh
    columns = {"node": np.arange(mesh.n_nodes), "x [m]": mesh.x, "y [m]": mesh.y, "u [m2/s]": solution.u}
    _write(columns, solution.report.converged, path)


def _write(columns: dict[str, Array], converged: bool, path: Path) -> None:
    row = ",".join(["%r"] * len(columns)) + f",{int(converged)}\n"
    with path.open("w", encoding="ascii", newline="") as file:
        file.write(",".join([*columns, "converged"]) + "\n")
        for start in range(0, len(next(iter(columns.values()))), _BLOCK):
            block = (values[start : start + _BLOCK].tolist() for values in columns.values())
            file.writelines(row % values for values in zip(*block, strict=True))

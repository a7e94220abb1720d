"""Results as NumPy's own archive: `np.load` gives the arrays by name, without pickle.

Named as in HDF5: `x`, `y`, `quad8`, `boundaries/NAME/edges` and `…/nodes`, then `u`, `velocity`, `speed`,
`pressure`, `history`, `converged`, and the `report` as JSON.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fem_core.formats import UNITS
from fem_core.results import to_json

if TYPE_CHECKING:
    from fem_core.solution import Solution


def write_result(solution: "Solution", path: Path) -> None:
    """Write the mesh, the fields and the report."""
    mesh, report = solution.mesh, solution.report
    arrays: dict[str, Any] = {"x": mesh.x, "y": mesh.y, "quad8": mesh.quad8}
    for name, boundary in mesh.boundaries.items():
        arrays[f"boundaries/{name}/edges"], arrays[f"boundaries/{name}/nodes"] = boundary.edges, boundary.nodes
    arrays |= {name: np.asarray(getattr(solution, name), dtype=np.float64) for name in UNITS}
    with path.open("wb") as file:  # given a path, NumPy would add its ending
        np.savez(
            file,
            **arrays,
            history=np.reshape(np.array(report.history, dtype=np.float64), (-1, 2)),
            converged=np.array(report.converged),
            report=np.array(to_json(report.to_dict())),
        )

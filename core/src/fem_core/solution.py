"""The outcome of a run."""

from dataclasses import dataclass
from pathlib import Path

from fem_core.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import Report
from fem_core.types import Floats


@dataclass(frozen=True, eq=False)
class Solution:
    """The fields on a mesh, in the mesh's numbering, and the report of the run.

    Parameters
    ----------
    u : float64 (n_nodes,)
        Potential; 0 at orphan nodes.
    velocity : float64 (n_elements, 2)
        Mean of -∇u over the 2x2 Gauss points.
    speed : float64 (n_elements,)
        Mean of |∇u| over the same points.
    pressure : float64 (n_elements,)
        In Pa.
    """

    mesh: Mesh
    problem: Problem
    u: Floats
    velocity: Floats
    speed: Floats
    pressure: Floats
    report: Report

    def write(self, path: str | Path) -> Path:
        """Write to a file whose ending chooses the format; the old file stays until the new one is whole.

        Raises FemError for an ending nobody writes, OSError if the file can't be written.
        """
        from fem_core.files import write_result

        return write_result(self, Path(path))

    def __repr__(self) -> str:
        state = "converged" if self.report.converged else self.report.solver["stop_reason"]
        return f"<Solution on {self.mesh.source}: {len(self.u)} nodes, {state}, {self.report.iterations} iterations>"

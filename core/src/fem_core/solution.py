"""The outcome of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fem_core.files import read_result, write_result
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import Report
from fem_core.support.wording import count
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
        return write_result(self, Path(path))

    def plot(self, path: str | Path, fields: str | Sequence[str] = ("potential", "speed")) -> Path:
        """Draw fields into a .png or .svg: `potential`, `speed`, `velocity`, `pressure`, `convergence` or `all`.

        Needs the extra `plot`. For errors, and for what is drawn, see `fem_core.plot.plot_solution`.
        """
        from fem_core.plot import plot_solution

        return plot_solution(self, path, fields)

    def __repr__(self) -> str:
        state = "converged" if self.report.converged else self.report.solver["stop_reason"]
        steps = count(self.report.iterations, "iteration")
        return f"<Solution on {self.mesh.source}: {count(len(self.u), 'node')}, {state}, {steps}>"


def read_solution(path: str | Path) -> Solution:
    """The solution that was written to an HDF5 file, every number as it was.

    Functions among the problem's coefficients come back as their values at the nodes.

    Raises FemError, one line that names the file and what is wrong with it.
    """
    return Solution(**read_result(Path(path)))

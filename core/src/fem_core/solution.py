"""The solution of a run: its fields, with methods to write and draw them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fem_core.results import Fields
from fem_core.support.wording import count


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Fields):
    """The fields on a mesh and the report of the run, with methods to write and draw them.

    Each method imports what it needs only when it is called.
    """

    def write(self, path: str | Path) -> Path:
        """Write a file; its ending selects the format. An existing file is replaced only when the new one is complete.

        Raises FemError for an unknown ending, OSError if the file can't be written.
        """
        from fem_core.io.files import write_result

        return write_result(self, Path(path))

    def plot(self, path: str | Path, fields: str | Sequence[str] = ("potential", "speed")) -> Path:
        """Draw fields into a .png or .svg: `potential`, `speed`, `velocity`, `pressure`, `convergence` or `all`.

        Needs the extra `plot`. `fem_core.plot.plot_solution` describes the fields and the errors.
        """
        from fem_core.plot import plot_solution

        return plot_solution(self, path, fields)

    def __repr__(self) -> str:
        state = "converged" if self.report.converged else self.report.solver["stop_reason"]
        steps = count(self.report.iterations, "iteration")
        return f"<Solution on {self.mesh.source}: {count(len(self.u), 'node')}, {state}, {steps}>"


def read_solution(path: str | Path) -> Solution:
    """Read a solution from an HDF5 file; all numbers are exactly those that were written.

    Coefficients of the problem that were functions are read as their values at the nodes.

    Raises FemError; its message is one line with the file and the fault.
    """
    from fem_core.io.files import read_result

    return Solution(**read_result(Path(path)))

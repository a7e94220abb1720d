"""The outcome of a run: its fields, with what can be asked of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fem_core.results import Fields
from fem_core.support.wording import count


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Fields):
    """The fields on a mesh and the report of the run, as `Fields` has them, with methods.

    The methods import what they need: this class knows everything by its methods, and nothing by itself.
    """

    def write(self, path: str | Path) -> Path:
        """Write to a file whose ending chooses the format; the old file stays until the new one is whole.

        Raises FemError for an ending nobody writes, OSError if the file can't be written.
        """
        from fem_core.io.files import write_result

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
    from fem_core.io.files import read_result

    return Solution(**read_result(Path(path)))

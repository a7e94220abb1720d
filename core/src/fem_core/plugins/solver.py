"""What a plugin adds to solve linear systems by another method."""

from typing import Protocol

from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.support.progress import Progress
from fem_core.types import Floats


class Prepared(Protocol):
    """A solver made ready for one matrix (scaled, factorised, a hierarchy built)."""

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        """w of K w = rhs, as the result's `u`; the lift is added by the caller."""


class LinearSolver(Protocol):
    """A method of solving, registered through `fem_linear_solvers`.

    It may also have `cost(work: Work) -> Cost`, which `fem check` asks what a solve would take: see
    `fem_core.assembly.cost`.
    """

    @property
    def name(self) -> str:
        """What `--solver` calls it."""

    @property
    def summary(self) -> str:
        """One line for `fem solve --help`."""

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> Prepared:
        """Do the work that depends only on the matrix. Raises SolveError if the method can't take it."""

"""Linear solvers that a plugin can add."""

from typing import Protocol

from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions
from fem_core.support.progress import Progress
from fem_core.types import Floats


class Prepared(Protocol):
    """A solver that is prepared for one matrix (for example, scaled or factorised)."""

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        """Solve K w = rhs; the result's `u` is w, and the caller adds the lift."""


class LinearSolver(Protocol):
    """A linear solver, registered by `fem_linear_solvers`.

    It may also have a method `cost(work: Work) -> Cost`; `fem check` uses it to estimate a solve: see
    `fem_core.assembly.cost`.
    """

    @property
    def name(self) -> str:
        """The name for `--solver`."""

    @property
    def summary(self) -> str:
        """One line for `fem solve --help`."""

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> Prepared:
        """Do the work that depends only on the matrix. Raises SolveError if the method can't take it."""

"""Direct solvers: one factorisation per matrix, and two triangular solves for each right-hand side."""

import math
from dataclasses import dataclass

from fem_core.assembly.cost import INTERPRETER, REFERENCE, Cost, Work
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, refuse_extra
from fem_core.solvers.factorisation import SUPERLU, Factoriser, Solve
from fem_core.support.progress import Progress
from fem_core.types import Floats


@dataclass(frozen=True)
class Direct:
    """`direct` with SuperLU; `cholmod` and `pardiso` if they are installed."""

    factoriser: Factoriser = SUPERLU

    @property
    def name(self) -> str:
        return self.factoriser.name

    @property
    def summary(self) -> str:
        return f"sparse factorisation by {self.factoriser.library}; twice the nodes need more than twice the memory"

    def cost(self, work: Work) -> Cost:
        """With W nodes across the mesh, a node takes about log W entries of the factors and about W operations."""
        across = min(work.width, work.length)
        factors = self.factoriser.memory * 380 * math.log2(max(across, 2.0)) * work.nodes
        seconds = self.factoriser.time * work.arithmetic / REFERENCE * work.nodes * (2.0 + 0.05 * across) * 1e-6
        return Cost(work.assembly.seconds + seconds, max(work.assembly.memory, INTERPRETER + factors))

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> "_PreparedDirect":
        refuse_extra(self.name, options)
        equilibrated = Equilibrated.of(system)
        return _PreparedDirect(self.name, equilibrated, self.factoriser.factorise(equilibrated.A))


@dataclass(frozen=True, eq=False)
class _PreparedDirect:
    name: str
    equilibrated: Equilibrated
    factors: Solve

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        progress.check()
        b = self.equilibrated.d * rhs
        x = self.factors(b)
        x += self.factors(b - self.equilibrated.A @ x)  # one step of refinement
        return self.equilibrated.result(self.equilibrated.d * x, rhs, self.name, 0, StopReason.CONVERGED, options, [])

"""Sparse factorisation by SuperLU (SciPy), set up for symmetric matrices.

Minimum degree on AᵀA+A with diagonal pivots keeps the fill several times below that of SuperLU's
default ordering on these meshes (X. S. Li, SuperLU users' guide, section 2.5: symmetric mode).
"""

import math
from dataclasses import dataclass
from typing import Any

from fem_core.cost import INTERPRETER, Cost, Work
from fem_core.errors import SolveError
from fem_core.mesh import Mesh
from fem_core.problem import Problem
from fem_core.progress import Progress
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, refuse_extra
from fem_core.system import LinearSystem
from fem_core.types import Floats

#: Seconds of an element's matrix on the machine where `Direct.cost` was fitted.
_REFERENCE = 2.6e-7


class Direct:
    """`direct`: factorises once per matrix; a further right-hand side costs two triangular solves."""

    name = "direct"
    summary = "sparse LU factorisation (SuperLU); fast up to some 300,000 nodes, memory grows faster than the mesh"

    def cost(self, work: Work) -> Cost:
        """The factors of a strip of W nodes across have some log W entries by node, and take some W operations."""
        across = min(work.width, work.length)
        factors = 380 * math.log2(max(across, 2.0)) * work.nodes
        seconds = work.arithmetic / _REFERENCE * work.nodes * (2.0 + 0.05 * across) * 1e-6
        return Cost(work.assembly.seconds + seconds, max(work.assembly.memory, INTERPRETER + factors))

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> "_PreparedDirect":
        from scipy.sparse.linalg import splu

        refuse_extra(self.name, options)
        equilibrated = Equilibrated.of(system)
        try:
            factors = splu(
                equilibrated.A.tocsc(),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except (RuntimeError, MemoryError) as error:
            raise SolveError(f"direct: SuperLU failed ({error}); try --solver cg") from error
        return _PreparedDirect(equilibrated, factors)


@dataclass(frozen=True, eq=False)
class _PreparedDirect:
    equilibrated: Equilibrated
    factors: Any

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        progress.check()
        b = self.equilibrated.d * rhs
        x: Floats = self.factors.solve(b)
        x += self.factors.solve(b - self.equilibrated.A @ x)  # one step of refinement
        return self.equilibrated.result(x, rhs, "direct", 0, StopReason.CONVERGED, options, [])

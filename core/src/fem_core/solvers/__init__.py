"""Linear solvers: `cg` (the reference), `direct` and `mg`; others come through `fem_linear_solvers`."""

from fem_core.plugins.solver import LinearSolver, Prepared
from fem_core.solvers.base import Equilibrated
from fem_core.solvers.cg import ConjugateGradients
from fem_core.solvers.direct import Direct
from fem_core.solvers.multigrid.solver import Multigrid

__all__ = ["ConjugateGradients", "Direct", "Equilibrated", "LinearSolver", "Multigrid", "Prepared"]

"""What every linear solver offers, and the equilibrated system that they share."""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import sparse

from fem_core.errors import OptionError, SolveError
from fem_core.mesh import Mesh, name_some
from fem_core.problem import Problem
from fem_core.progress import Progress
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.system import LinearSystem, csr
from fem_core.types import Floats, Ints

History = list[tuple[int, float]]


class Prepared(Protocol):
    """A solver made ready for one matrix (scaled, factorised, a hierarchy built)."""

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        """w of K w = rhs, as the result's `u`; the lift is added by the caller."""
        ...


class LinearSolver(Protocol):
    """A method of solving, registered through `fem_linear_solvers`.

    It may also have `cost(work: Work) -> Cost`, which `fem check` asks what a solve would take: see `fem_core.cost`.
    """

    @property
    def name(self) -> str:
        """What `--solver` calls it."""
        ...

    @property
    def summary(self) -> str:
        """One line for `fem solve --help`."""
        ...

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> Prepared:
        """Whatever depends on the matrix alone. Raises SolveError if the method can't take it."""
        ...


def dot(a: Floats, b: Floats) -> float:
    """a·b in this thread: BLAS would start others, which gain nothing here and stall where a core is busy."""
    return float(np.einsum("i,i->", a, b))


def norm(a: Floats) -> float:
    """‖a‖ in this thread."""
    return math.sqrt(dot(a, a))


def refuse_extra(method: str, options: SolverOptions) -> None:
    """Raises OptionError if options were given to a method that has none of its own."""
    if options.extra:
        raise OptionError(f"solver {method!r} has no options of its own, but was given {', '.join(options.extra)}")


@dataclass(frozen=True, eq=False)
class Equilibrated:
    """A x = b with A = D K D, b = D f, w = D x and D = diag(K)^-½: the diagonal of A is 1.

    Parameters
    ----------
    K, A : csr_array
    d : float64 (n_nodes,)
        Diagonal of D.
    fixed : int32 (m,)
        Nodes whose w is held at 0.
    """

    K: "sparse.csr_array"
    A: "sparse.csr_array"
    d: Floats
    fixed: Ints

    @classmethod
    def of(cls, system: LinearSystem) -> "Equilibrated":
        """That of a system. Raises SolveError, naming the nodes, where the diagonal isn't positive."""
        K = system.matrix
        diagonal = K.diagonal()
        if len(bad := np.flatnonzero(~((diagonal > 0) & np.isfinite(diagonal)))):
            raise SolveError(f"the matrix has no positive diagonal entry at nodes {name_some(bad)}")
        d = 1 / np.sqrt(diagonal)
        values = K.data * d[K.indices]
        values *= np.repeat(d, np.diff(K.indptr))
        return cls(K, csr(K.indptr, K.indices, values), d, system.fixed)

    def result(
        self, x: Floats, rhs: Floats, method: str, iterations: int, reason: StopReason, options: SolverOptions,
        history: History,
    ) -> SolveResult:  # fmt: skip
        """The result for x, its true residuals evaluated; `converged` only if they say so too."""
        b = self.d * rhs
        norm_b, w = norm(b), self.d * x
        residual = norm(b - self.A @ x)
        if reason is StopReason.CONVERGED and not residual <= 2 * max(options.rtol * norm_b, options.atol):
            reason = StopReason.STAGNATION
        relative = _ratio(residual, norm_b)
        unscaled = rhs - self.K @ w
        unscaled[self.fixed] = 0  # there the penalty would multiply a w that is nothing but rounding
        true = _ratio(norm(unscaled), norm(rhs))
        if iterations and (not history or history[-1][0] != iterations):
            history.append((iterations, relative))
        return SolveResult(w, method, iterations, reason, relative, true, tuple(history))


def _ratio(residual: float, size: float) -> float:
    return residual / size if size else (0.0 if residual == 0 else math.inf)

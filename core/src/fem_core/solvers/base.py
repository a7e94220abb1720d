"""What the linear solvers share: the equilibrated system and the check of residuals."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from fem_core.assembly.system import LinearSystem
from fem_core.errors import OptionError, SolveError
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.support.progress import Progress
from fem_core.support.wording import name_some
from fem_core.types import Floats, Ints

#: Rows scaled at a time.
_ROWS = 1 << 14

History = list[tuple[int, float]]


def dot(a: Floats, b: Floats) -> float:
    """a·b in this thread: BLAS would start others, which gain nothing here and stall where a core is busy."""
    return float(np.einsum("i,i->", a, b))


def norm(a: Floats) -> float:
    """‖a‖ in this thread."""
    return math.sqrt(dot(a, a))


def target_of(norm_b: float, options: SolverOptions, progress: Progress) -> float:
    """‖r‖ below which iterations stop; with a warning if this is so at u = 0."""
    target = max(options.rtol * norm_b, options.atol)
    if 0 < norm_b < target:
        progress.remark(
            f"atol = {options.atol:g} is larger than the norm of the load, {norm_b:.1g}, so no iteration is done; "
            "decrease atol",
            warning=True,
        )
    return target


def refuse_extra(method: str, options: SolverOptions) -> None:
    """Raise OptionError if options were given to a method that has no options."""
    if options.extra:
        raise OptionError(f"solver {method!r} takes no options of its own; remove {', '.join(options.extra)}")


@dataclass(frozen=True, eq=False)
class Equilibrated:
    """A x = b with A = D K D, b = D f, w = D x and D = diag(K)^-½: the diagonal of A is 1.

    Parameters
    ----------
    K : csr_array
    d : float64 (n_nodes,)
        Diagonal of D.
    fixed : int32 (m,)
        Nodes where w is fixed at 0.
    """

    K: "sparse.csr_array"
    d: Floats
    fixed: Ints

    @cached_property
    def A(self) -> "sparse.csr_array":
        """Computed on first use; takes two thirds of K's memory."""
        return scaled(self.K, self.d, self.d)

    @classmethod
    def of(cls, system: LinearSystem) -> "Equilibrated":
        """Equilibrate a system. Raises SolveError, with the nodes, if the diagonal isn't positive."""
        K = system.matrix
        diagonal = K.diagonal()
        if len(bad := np.flatnonzero(~((diagonal > 0) & np.isfinite(diagonal)))):
            raise SolveError(
                f"the diagonal of the matrix must be positive; it is not positive at {name_some(bad, 'node')}"
            )
        return cls(K, 1 / np.sqrt(diagonal), system.fixed)

    def result(
        self, w: Floats, rhs: Floats, method: str, iterations: int, reason: StopReason, options: SolverOptions,
        history: History,
    ) -> SolveResult:  # fmt: skip
        """The result for w with its true residuals. It is `converged` only if the true residual is small, too."""
        norm_b = norm(self.d * rhs)
        unscaled = rhs - self.K @ w
        residual = norm(self.d * unscaled)
        unscaled[self.fixed] = 0  # there the penalty would multiply the rounding error of w
        of_equilibrated, of_system = (residual, norm_b), (norm(unscaled), norm(rhs))
        return judged(w, method, iterations, reason, options, history, of_equilibrated, of_system)


def judged(
    w: Floats, method: str, iterations: int, reason: StopReason, options: SolverOptions, history: History,
    of_equilibrated: tuple[float, float], of_system: tuple[float, float],
) -> SolveResult:  # fmt: skip
    """The result, `converged` only if the true residual is small, too. Pairs: norms of residual and right-hand side."""
    residual, norm_b = of_equilibrated
    if reason is StopReason.CONVERGED and not residual <= 2 * max(options.rtol * norm_b, options.atol):
        reason = StopReason.STAGNATION
    relative = _ratio(residual, norm_b)
    if iterations and (not history or history[-1][0] != iterations):
        history.append((iterations, relative))
    return SolveResult(w, method, iterations, reason, relative, _ratio(*of_system), tuple(history))


def scaled(M: "sparse.csr_array", left: Floats, right: Floats, dtype: type = np.float64) -> "sparse.csr_array":
    """left_i M_ij right_j, some rows at a time; the pattern stays M's own."""
    values = np.empty(M.nnz, dtype=dtype)
    for start in range(0, M.shape[0], _ROWS):
        indptr = M.indptr[start : start + _ROWS + 1]
        part = slice(indptr[0], indptr[-1])
        scale = right[M.indices[part]]
        scale *= np.repeat(left[start : start + _ROWS], np.diff(indptr))
        np.multiply(scale, M.data[part], out=values[part], casting="same_kind")
    result = sparse.csr_array((values, M.indices, M.indptr), shape=M.shape)
    result.has_canonical_format = M.has_canonical_format
    return result


def _ratio(residual: float, size: float) -> float:
    return residual / size if size else (0.0 if residual == 0 else math.inf)

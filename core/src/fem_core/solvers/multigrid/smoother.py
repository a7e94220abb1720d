"""The Chebyshev smoother: a polynomial of the matrix, so it is symmetric, parallel, and has no inner products.

Adams, Brezina, Hu, Tuminaro: Parallel multigrid smoothing: polynomial versus Gauss-Seidel, J. Comput.
Phys. 188 (2003); the recurrence is Saad, Iterative methods for sparse linear systems (2003), alg. 12.1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import eigh_tridiagonal

from fem_core.solvers.base import dot
from fem_core.solvers.multigrid.lines import Lines
from fem_core.types import Array

#: Steps of Lanczos for the largest eigenvalue, and the factor for what they underestimate.
_STEPS, _MARGIN = 8, 1.1
#: The polynomial is small on [λ/_SPAN, λ]; the coarser level reduces the rest. From 4 to 8 the number of iterations
#: changes by a tenth: it rises on near-square elements and falls on stretched ones.
_SPAN = 6.0


@dataclass(frozen=True, eq=False)
class Smoother:
    """x ← x + p(T⁻¹A) T⁻¹ (b - A x) with the Chebyshev polynomial of [λ/6, λ].

    Parameters
    ----------
    A : csr_array (n, n)
        With unit diagonal.
    λ : float
        Upper bound of the eigenvalues of T⁻¹A.
    lines : Lines or None
        T; the identity where it is None.
    degree : int
        Number of steps; each costs one product with A, but for the first from x = 0.
    """

    A: "sparse.csr_array"
    λ: float
    lines: Lines | None = None
    degree: int = 2

    def steps(self) -> list[tuple[float, float]]:
        """(α, β) of each step δ ← α T⁻¹r + β δ, x ← x + δ, r ← r - A δ."""
        centre, half = self.λ * (1 + 1 / _SPAN) / 2, self.λ * (1 - 1 / _SPAN) / 2
        ρ = half / centre
        steps = [(1 / centre, 0.0)]
        while len(steps) < self.degree:
            before, ρ = ρ, 1 / (2 * centre / half - ρ)
            steps.append((2 * ρ / half, ρ * before))
        return steps

    def smooth(self, r: Array, *, residual: bool = True) -> tuple[Array, Array]:
        """The correction for the residual r, and with `residual` the new residual; r is overwritten."""
        (α, _), *further = self.steps()
        δ = α * self._over(r)
        x = δ.copy()
        for α, β in further:
            r -= self.A @ δ
            δ *= β
            δ += α * self._over(r)
            x += δ
        if residual:
            r -= self.A @ δ
        return x, r

    def _over(self, r: Array) -> Array:
        """T⁻¹ r; r itself where T is the identity."""
        return self.lines.solve(r) if self.lines else r


def lanczos(A: "sparse.csr_array", lines: Lines | None, steps: int) -> tuple[list[float], list[float]]:
    """α and β of `steps` steps of CG on A, preconditioned by T; one β less. Fewer steps if the residual vanishes."""
    over: Callable[[Array], Array] = lines.solve if lines else lambda r: r
    r = start(A.shape[0]).astype(A.dtype, copy=False)
    z = over(r)
    p, rz = z.copy(), dot(r, z)
    α: list[float] = []
    β: list[float] = []
    while True:
        q = A @ p
        α.append(rz / dot(p, q))
        if len(α) == steps:
            return α, β
        r -= α[-1] * q
        z = over(r)
        before, rz = rz, dot(r, z)
        if rz <= 1e-10 * before:
            return α, β
        β.append(rz / before)
        p *= β[-1]
        p += z


def start(n: int) -> Array:
    """A start vector with all frequencies, in single precision."""
    return np.random.default_rng(0).random(n, np.float32) - np.float32(0.5)


def largest_eigenvalue(
    A: "sparse.csr_array", lines: Lines | None = None,
    lanczos: Callable[["sparse.csr_array", Lines | None, int], tuple[list[float], list[float]]] = lanczos,
) -> float:  # fmt: skip
    """Upper estimate of the largest eigenvalue of T⁻¹A: by Lanczos, through CG's coefficients.

    (Golub & Van Loan, Matrix computations, 4th edition, section 11.3.)
    """
    α, β = lanczos(A, lines, min(_STEPS, A.shape[0]))
    inverse = 1 / np.array(α)
    diagonal = inverse + np.concatenate([[0.0], np.array(β) * inverse[:-1]])
    ritz = eigh_tridiagonal(diagonal, np.sqrt(β) * inverse[:-1], eigvals_only=True)
    return float(_MARGIN * ritz[-1])

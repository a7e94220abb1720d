"""Conjugate gradients with Jacobi preconditioning on the equilibrated system: the reference solver.

Hestenes & Stiefel (1952), in the form of Barrett et al., Templates (1994), fig. 2.5. It exists to
compare execution models, so what it does is fixed: x₀ = 0, and the recurrence residual is compared
with max(rtol ‖b‖, atol) before each step, as SciPy does.
"""

import math
import time
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy import sparse

from fem_core.assembly.cost import Cost, Work
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, History, dot, norm, refuse_extra, target_of
from fem_core.support.progress import Progress
from fem_core.types import Floats


class ConjugateGradients:
    """`cg`: it stops on rtol, atol and maxiter, and reports the true residual every `monitor` iterations.

    Stop reasons: converged, maxiter reached, matrix not positive definite, residual not finite, and
    stagnation (the recurrence met the tolerance, the true residual is over twice as large).
    """

    name = "cg"
    summary = "conjugate gradients with equilibration and Jacobi preconditioning: the reference"

    def cost(self, work: Work) -> Cost:
        """Iterations in proportion to D + W, each a product with the matrix and some vectors."""
        iterations = math.ceil(4.6 * (work.length + work.width))
        an_iteration = 5e-5 + 1.5 * work.traffic * work.elements
        return Cost(work.assembly.seconds + iterations * an_iteration, work.assembly.memory, iterations)

    def prepare(self, system: LinearSystem, mesh: Mesh, problem: Problem, options: SolverOptions) -> "PreparedCG":
        refuse_extra(self.name, options)
        return PreparedCG(Equilibrated.of(system))


@dataclass(frozen=True, eq=False)
class PreparedCG:
    """`cg` on one matrix."""

    equilibrated: Equilibrated

    def solve(self, rhs: Floats, options: SolverOptions, progress: Progress) -> SolveResult:
        A, d = self.equilibrated.A, self.equilibrated.d
        at = _Iteration(A, d * rhs)
        iterations, reason, history = iterate(at, options, progress)
        return self.equilibrated.result(d * at.x, rhs, "cg", iterations, reason, options, history)


class Iteration(Protocol):
    """The vectors of conjugate gradients on A x = b, from x = 0, and the operations on them."""

    @property
    def norm_b(self) -> float: ...

    def advance(self, steps: int, target: float) -> tuple[int, float, bool]:
        """Take steps: at least one, at most `steps`, and none where p·Ap <= 0.

        An implementation that takes several steps at once stops when ‖r‖ < target or ‖r‖ isn't finite. Returns the
        number of steps, ‖r‖ of the recurrence, and False if p·Ap <= 0 stopped it.
        """

    def residual(self) -> float:
        """‖b - A x‖."""

    def remember(self) -> None:
        """Keep a copy of x, which is finite."""

    def recall(self) -> None:
        """Go back to the x that was remembered last, or to 0."""


class _Iteration:
    """By NumPy and SciPy, one step at a time."""

    def __init__(self, A: "sparse.csr_array", b: Floats) -> None:
        self.A, self.b, self.norm_b, self.M = A, b, norm(b), 1 / A.diagonal()
        self.x, self.r, self.p, self.finite = np.zeros_like(b), b.copy(), np.zeros_like(b), np.zeros_like(b)
        self.ρ = 1.0

    def advance(self, steps: int, target: float) -> tuple[int, float, bool]:
        z = self.M * self.r
        before, self.ρ = self.ρ, dot(self.r, z)
        self.p *= self.ρ / before
        self.p += z
        q = self.A @ self.p
        pAp = dot(self.p, q)
        if pAp <= 0:
            return 0, norm(self.r), False
        α = self.ρ / pAp
        self.x += α * self.p
        self.r -= α * q
        return 1, norm(self.r), True

    def residual(self) -> float:
        return norm(self.b - self.A @ self.x)

    def remember(self) -> None:
        self.finite[:] = self.x

    def recall(self) -> None:
        self.x = self.finite


def iterate(at: Iteration, options: SolverOptions, progress: Progress) -> tuple[int, StopReason, History]:
    """Take steps until the stopping rule or another reason ends them; report every `monitor` steps.

    Returns the number of steps, the reason, and the true residuals; x is in `at`.
    """
    norm_b = norm_r = at.norm_b
    target = target_of(norm_b, options, progress)
    remaining = RemainingTime(target / norm_b if norm_b else 1.0)
    history: History = []
    iteration, reason = 0, StopReason.CONVERGED
    while norm_b and not norm_r < target:
        if not math.isfinite(norm_r):
            at.recall()
            reason = StopReason.NOT_FINITE
            break
        if iteration >= options.maxiter:
            reason = StopReason.MAXITER
            break
        if iteration and iteration % options.monitor == 0:
            residual = at.residual() / norm_b
            history.append((iteration, residual))
            progress.solve(iteration, residual, remaining.after(residual))
            at.remember()
        progress.check()
        steps = min(options.monitor - iteration % options.monitor, options.maxiter - iteration)
        done, norm_r, definite = at.advance(steps, target)
        iteration += done
        if not definite:
            reason = StopReason.INDEFINITE
            break
    return iteration, reason, history


@dataclass
class RemainingTime:
    """Estimates the seconds to go from the decay of the residual, not from the iteration limit.

    The decay is taken over the later half of the run so far: the early plateau of CG says little.
    """

    target: float
    _points: list[tuple[float, float]] = field(default_factory=list)

    def after(self, residual: float) -> float | None:
        """Seconds until `target` at the present pace; None while the residual isn't falling."""
        now = time.perf_counter()
        if not (residual > 0 and math.isfinite(residual)):
            return None
        self._points.append((now, math.log(residual)))
        then, before = self._points[len(self._points) // 2 - 1] if len(self._points) > 1 else (now, 0.0)
        fallen = before - math.log(residual)
        if now <= then or fallen <= 0:
            return None
        return max(0.0, (math.log(residual) - math.log(self.target)) * (now - then) / fallen)

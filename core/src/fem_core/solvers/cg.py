"""Conjugate gradients with Jacobi preconditioning on the equilibrated system: the reference solver.

Hestenes & Stiefel (1952), in the form of Barrett et al., Templates (1994), fig. 2.5. It exists to
compare execution models, so what it does is fixed: x₀ = 0, and the recurrence residual is compared
with max(rtol ‖b‖, atol) before each step, as SciPy does.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from fem_core.assembly.cost import Cost, Work
from fem_core.assembly.system import LinearSystem
from fem_core.mesh.mesh import Mesh
from fem_core.problem import Problem
from fem_core.results import SolveResult, SolverOptions, StopReason
from fem_core.solvers.base import Equilibrated, History, dot, norm, refuse_extra
from fem_core.support.progress import Progress
from fem_core.types import Floats


class ConjugateGradients:
    """`cg`: stops on rtol, atol and maxiter of the options, reports the true residual at the monitor's interval.

    Stop reasons: converged, maxiter reached, matrix not positive definite, residual not finite, and
    stagnation (the recurrence met the tolerance, the true residual is over twice as large).
    """

    name = "cg"
    summary = "conjugate gradients, equilibrated and Jacobi-preconditioned: the reference"

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
        A, b = self.equilibrated.A, self.equilibrated.d * rhs
        M = 1 / A.diagonal()
        norm_b = norm(b)
        target = max(options.rtol * norm_b, options.atol)
        remaining = RemainingTime(target / norm_b if norm_b else 1.0)
        history: History = []

        x, r = np.zeros_like(b), b.copy()
        p, ρ_before = np.zeros_like(b), 1.0
        finite = x.copy()  # x when it was last known to be finite
        iteration, reason = 0, StopReason.CONVERGED
        while norm_b:
            norm_r = norm(r)
            if norm_r < target:
                break
            if not math.isfinite(norm_r):
                x, reason = finite, StopReason.NOT_FINITE
                break
            if iteration >= options.maxiter:
                reason = StopReason.MAXITER
                break
            if iteration and iteration % options.monitor == 0:
                residual = norm(b - A @ x) / norm_b
                history.append((iteration, residual))
                progress.solve(iteration, residual, remaining.after(residual))
                finite[:] = x
            progress.check()
            z = M * r
            ρ = dot(r, z)
            p *= ρ / ρ_before
            p += z
            q = A @ p
            pAp = dot(p, q)
            if pAp <= 0:
                reason = StopReason.INDEFINITE
                break
            α = ρ / pAp
            x += α * p
            r -= α * q
            ρ_before = ρ
            iteration += 1
        return self.equilibrated.result(self.equilibrated.d * x, rhs, "cg", iteration, reason, options, history)


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
